"""What replay hands to the metrics: what a bag holds, and what each policy made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.human.angles import Side

RECORDED = 'recorded'
"""Name of the run that a bag itself tells of, as against a policy replayed on it."""


@dataclass(frozen=True, eq=False)
class Series:
    """Joint values over time, in table order and, unless said otherwise, in the arm's terms.

    Attributes:
        time_ns: Shape (m,), int64, increasing [ns].
        position_rad: Shape (m, n) [rad], NaN where missing.
        velocity_rad_s: Shape (m, n) [rad/s], NaN where missing; None where nothing is known.
    """

    time_ns: np.ndarray
    position_rad: np.ndarray
    velocity_rad_s: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(frozen=True, eq=False)
class Hold:
    """A span of time in which the arm was held for want of a usable target.

    Attributes:
        start_ns: When it began [ns].
        end_ns: When it ended [ns]; the end of the recording where it never did.
        reason: Why, a word of `arm.safety_types.REASONS` such as 'stale'.
    """

    start_ns: int
    end_ns: int
    reason: str


@dataclass(frozen=True, eq=False)
class Recording:
    """What a bag holds, apart from any policy.

    Attributes:
        source: The bag's name, without the folder it lies in.
        table: The arm's joints.
        side: Which arm it is.
        mirror: Whether it mirrors the person.
        frame_ns: Shape (f,), int64, increasing: stamps of the pictures used [ns].
        truth: The person's true pose in the arm's terms, at the stamps of the frames; None
            where the bag has none.
        pictures: From a frame's place in `frame_ns` to its picture, shape (height, width, 3),
            BGR, read from the bag at each call; it gives None for one that cannot be read. None
            where the bag has no pictures.
        truncated: Whether the bag ends in the middle, as after a crash.
        problems: What was wrong in the bag, a line each.
        latency_ms: What was recorded of each stage's latency [ms], by its name; empty where the
            bag has none.
        recorded_holds: Holds of the run recorded.
        recorded_violations: Limits violated in the run recorded, None where it does not say.
    """

    source: str
    table: JointTable
    side: Side
    mirror: bool
    frame_ns: np.ndarray
    truth: Series | None
    pictures: Callable[[int], np.ndarray | None] | None
    truncated: bool
    problems: tuple[str, ...]
    latency_ms: dict[str, np.ndarray]
    recorded_holds: tuple[Hold, ...]
    recorded_violations: int | None


@dataclass(frozen=True, eq=False)
class PolicyRun:
    """What one policy made of a recording.

    Attributes:
        policy: Its name, `RECORDED` for the run that the bag tells of.
        tracked: Shape (f,), bool: a hand was detected in the frame.
        landmarks: Shape (f, 21, 2), image points [px], NaN where none; None where not known.
        target: What it wanted, at the stamps of the frames; rows of NaN where nothing.
        command: What came out of the safety filter, 100 times a second.
        measured: Where the arm was.
        measured_source: Whether that is a simulated arm behind this policy or the recorded one.
        holds: Spans in which the arm was held.
        violations: Limits violated, counted apart from the filter.
        frame_age_ms: Shape (m,), one per row of `command`: age of the newest frame in use [ms],
            NaN where there is none; None where not known.
    """

    policy: str
    tracked: np.ndarray
    landmarks: np.ndarray | None
    target: Series
    command: Series
    measured: Series
    measured_source: Literal['simulated', 'recorded', 'none']
    holds: tuple[Hold, ...]
    violations: int
    frame_age_ms: np.ndarray | None
