"""How a signal moved: its lag, jerk and jitter over a whole recording, a stretch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hand_imitation.evaluation.recording import Series
from hand_imitation.evaluation.signals import (
    GRID_HZ,
    GRID_NS,
    REST_SAMPLES,
    Lag,
    LagSums,
    at_times,
    jerk_sums,
    jitter_sums,
    root_mean,
)

_STRETCH = 120 * round(GRID_HZ)
"""Samples taken at once, a multiple of the windows in which rest is looked for."""


@dataclass(frozen=True, eq=False)
class Motion:
    """How one signal moved, taken on the 100 Hz grid.

    Attributes:
        lag: Lag of all joints together behind the reference.
        joint_lags: Lag of each joint.
        jerk_rad_s3: Shape (n,).
        jitter_rad: Shape (n,), while the hand rests.
    """

    lag: Lag | None
    joint_lags: list[Lag | None]
    jerk_rad_s3: np.ndarray
    jitter_rad: np.ndarray


def motion_of(signal: Series, reference: Series | None) -> Motion:
    """Take a signal's lag, jerk and jitter on the 100 Hz grid.

    Args:
        signal: The signal.
        reference: What it follows; without one only the jerk is known.

    Returns:
        The figures.
    """
    joints = signal.position_rad.shape[1]
    unknown = np.full(joints, np.nan)
    jerk_rad_s3 = _jerk(signal) if len(signal) > 1 else unknown
    if reference is None or len(reference) < 2 or len(signal) < 2:
        return Motion(None, [None] * joints, jerk_rad_s3, unknown)
    start_ns = int(max(signal.time_ns[0], reference.time_ns[0]))
    length = (int(min(signal.time_ns[-1], reference.time_ns[-1])) - start_ns) // GRID_NS + 1
    if length < GRID_HZ:
        return Motion(None, [None] * joints, jerk_rad_s3, unknown)
    sums = LagSums(joints, length)
    early, late = int(sums.shifts[0]), int(sums.shifts[-1])
    for first, last in _stretches(-early, length - late):
        sums.add(_on_grid(reference, start_ns, first, last),
                 _on_grid(signal, start_ns, first + early, last + late))
    together, each = sums.lags()
    variance, windows = np.zeros(joints), np.zeros(joints, dtype=int)
    for first, last in _stretches(0, length):
        # With the window before, which tells whether the hand had come to rest.
        before = max(first - REST_SAMPLES, 0)
        total, count = jitter_sums(
            *(_on_grid(series, start_ns, before, last) for series in (reference, signal)))
        variance, windows = variance + total, windows + count
    return Motion(together, each, jerk_rad_s3, root_mean(variance, windows))


def _jerk(signal: Series) -> np.ndarray:
    # On its own grid, which starts at its first sample: 100 Hz samples are taken as they are.
    start_ns = int(signal.time_ns[0])
    length = (int(signal.time_ns[-1]) - start_ns) // GRID_NS + 1
    joints = signal.position_rad.shape[1]
    squares, number = np.zeros(joints), np.zeros(joints, dtype=int)
    for first, last in _stretches(0, length):
        # A third difference is of four samples.
        total, count = jerk_sums(_on_grid(signal, start_ns, max(first - 3, 0), last))
        squares, number = squares + total, number + count
    return root_mean(squares, number)


def _stretches(first: int, last: int) -> Iterator[tuple[int, int]]:
    for start in range(first, last, _STRETCH):
        yield start, min(start + _STRETCH, last)


def _on_grid(series: Series, start_ns: int, first: int, last: int) -> np.ndarray:
    """Samples first to last of the grid that begins at a time."""
    return at_times(series, start_ns + GRID_NS * np.arange(first, last, dtype=np.int64))
