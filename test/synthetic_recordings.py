"""Recordings of an arm that follows a known motion, with faults to inject.

The hand rests, then moves every joint at a rate of its own, and rests again. Without a fault the
arm is exactly where the hand is, so whatever the metrics say comes from the fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.evaluation.recording import PolicyRun, Recording, Series

START_NS = 1_700_000_000_000_000_000
FRAME_NS = 33_333_333
DURATION_S = 20.0
RESTS_S = ((0.0, 3.0), (11.0, 14.0))
TABLE = JointTable.from_urdf(load_description('right'))
CURLS_A_SECOND = {
    'thumb': 0.45, 'index': 0.5, 'middle': 0.65, 'ring': 0.8, 'little': 0.35, 'wrist': 0.4,
    'elbow': 0.3}


@dataclass(frozen=True)
class Synthetic:
    """What a recording is made of; a fault changes one or more of these.

    `pose_at` is the arm's pose, by the time since the start [s]: target, command and measured
    alike. `kept` and `tracked` tell of each frame whether it was recorded, and a hand seen.
    """

    pose_at: Callable[[np.ndarray], np.ndarray]
    kept: np.ndarray
    tracked: np.ndarray

    @property
    def frame_ns(self) -> np.ndarray:
        return all_frames()[self.kept]


def all_frames() -> np.ndarray:
    return START_NS + FRAME_NS * np.arange(round(DURATION_S * 1e9 / FRAME_NS), dtype=np.int64)


def hand_at(time_s: np.ndarray) -> np.ndarray:
    """Pose of the hand, shape (k, 12) [rad]; still in the rests, smooth everywhere."""
    moved_s = np.zeros_like(time_s)
    for begin, end in _motions():
        span = end - begin
        share = np.clip((time_s - begin) / span, 0.0, 1.0)
        # A slow start and stop, with a steady middle.
        moved_s += span * (share - np.sin(2.0 * np.pi * share) / (2.0 * np.pi))
    pose = np.empty((len(time_s), len(TABLE)))
    for column, name in enumerate(TABLE.names):
        finger = name.split('_')[0]
        swing = np.sin(2.0 * np.pi * CURLS_A_SECOND[finger] * moved_s)
        if finger in ('wrist', 'elbow'):
            pose[:, column] = 0.35 * swing
        else:
            # Never nearer to a limit than an injected offset is large.
            pose[:, column] = 0.65 + (0.45 if name.endswith('distal') else 0.4) * swing
    return pose


def sound() -> Synthetic:
    frames = len(all_frames())
    return Synthetic(hand_at, np.ones(frames, dtype=bool), np.ones(frames, dtype=bool))


def offset(joint: str, by_rad: float) -> Synthetic:
    shift = np.zeros(len(TABLE))
    shift[TABLE.index(joint)] = by_rad
    return replace(sound(), pose_at=lambda time_s: hand_at(time_s) + shift)


def delay(frames: int) -> Synthetic:
    late_s = frames * FRAME_NS * 1e-9
    return replace(sound(), pose_at=lambda time_s: hand_at(time_s - late_s))


def dropped_frames(share: float) -> Synthetic:
    whole = sound()
    return replace(whole, kept=_all_but(share, len(whole.kept)))


def lost_hand(share: float) -> Synthetic:
    whole = sound()
    return replace(whole, tracked=_all_but(share, len(whole.tracked)))


def jitter(deviation_rad: float) -> Synthetic:
    def trembling(time_s: np.ndarray) -> np.ndarray:
        # The same instant trembles the same way in every signal.
        noise = [np.random.default_rng(round(t * 1e9) % 2**63).normal(size=len(TABLE))
                 for t in time_s]
        return hand_at(time_s) + deviation_rad * np.array(noise)

    return replace(sound(), pose_at=trembling)


def swapped(first: str, second: str) -> Synthetic:
    order = list(range(len(TABLE)))
    for part in ('proximal', 'distal'):
        one, other = TABLE.index(f'{first}_{part}'), TABLE.index(f'{second}_{part}')
        order[one], order[other] = other, one
    return replace(
        sound(), pose_at=lambda time_s: np.ascontiguousarray(hand_at(time_s)[:, order]))


def recording_of(made: Synthetic, source: str = 'synthetic', **changes) -> Recording:
    """The recording, with the hand's pose as truth."""
    frame_ns = made.frame_ns
    truth = Series(frame_ns, hand_at(_elapsed_s(frame_ns)))
    values = {
        'source': source, 'table': TABLE, 'side': 'right', 'mirror': True, 'frame_ns': frame_ns,
        'truth': truth, 'pictures': None, 'truncated': False, 'problems': (), 'latency_ms': {},
        'recorded_holds': (), 'recorded_violations': 0, **changes}
    return Recording(**values)


def run_of(made: Synthetic, policy: str = 'synthetic', **changes) -> PolicyRun:
    """What the arm did."""
    frame_ns = made.frame_ns
    tracked = made.tracked[made.kept]
    target = made.pose_at(_elapsed_s(frame_ns))
    target[~tracked] = np.nan
    even_ns = np.arange(START_NS, int(all_frames()[-1]) + 1, 10_000_000, dtype=np.int64)
    arm = Series(even_ns, made.pose_at(_elapsed_s(even_ns)))
    values = {
        'policy': policy, 'tracked': tracked, 'landmarks': None,
        'target': Series(frame_ns, target), 'command': arm, 'measured': arm,
        'measured_source': 'simulated', 'holds': (), 'violations': 0, 'frame_age_ms': None,
        **changes}
    return PolicyRun(**values)


def _motions() -> list[tuple[float, float]]:
    edges = [edge for rest in RESTS_S for edge in rest][1:] + [DURATION_S - 1.0]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _all_but(share: float, count: int) -> np.ndarray:
    """Which of the frames stay: all but a share, spread by chance, never the first or last."""
    gone = 1 + np.random.default_rng(4).choice(count - 2, round(share * count), replace=False)
    kept = np.ones(count, dtype=bool)
    kept[gone] = False
    return kept


def _elapsed_s(time_ns: np.ndarray) -> np.ndarray:
    return (time_ns - START_NS) * 1e-9
