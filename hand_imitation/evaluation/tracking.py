"""How closely an arm with servos as they are follows moving people, whatever leads it.

The policy acts on each frame as it does live; its targets pass the safety filter, stepped as the
commander steps it; the commands go to modelled servos, whose noisy readings go back to filter and
policy. All sequences are run at once: to the filter, which treats each joint by itself, they are
one arm with many joints.

Errors count at the very instant, with no lag taken out. What is judged is where the joint is, not
what its sensor reads: noise of readings is no movement, and would hide how smooth each policy is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import Measured, SafetyFilter, SafetyParameters, Target
from hand_imitation.evaluation.moving import MovingPeople
from hand_imitation.evaluation.recording import Series
from hand_imitation.evaluation.signals import (
    GRID_HZ,
    MIN_MOTION_RAD,
    at_times,
    jerk_sums,
    lags,
    root_mean,
)
from hand_imitation.human.angles import Side
from hand_imitation.learning.servo_model import RATE_HZ, ServoModel, ServoRanges
from hand_imitation.policy.base import JointTargets, Policy, in_arm_terms

FINGER_JOINTS = tuple(
    f'{finger}_{part}' for finger in ('index', 'middle', 'ring', 'little')
    for part in ('proximal', 'distal'))
"""The eight joints that stand for the hand where one figure must."""


@dataclass(frozen=True)
class TrackingOptions:
    """Under what conditions an arm follows.

    Attributes:
        latency_s: From a frame's being taken until its target is with the commander [s].
        settle_s: The first part of each sequence does not count: the filter's start ramp is
            under way, which is no policy's doing [s].
        seed: Servos are drawn from it, and the noise of their readings: the same seed gives
            each policy the same servos.
        servos: Between what numbers of servos are drawn.
        safety: Parameters of the safety filter.
        side: Which arm it is.
        mirror: The arm mirrors the person.
    """

    latency_s: float = 0.020
    settle_s: float = 1.5
    seed: int = 0
    servos: ServoRanges = field(default_factory=ServoRanges)
    safety: SafetyParameters = field(default_factory=SafetyParameters)
    side: Side = 'right'
    mirror: bool = True


@dataclass(frozen=True, eq=False)
class Tracked:
    """What came of it, for b sequences and n joints in the table's order.

    Attributes:
        names: Of the joints.
        joint_rad: Shape (b, k, n), where the joints were, at 100 Hz, in the arm's terms [rad].
        truth_rad: Shape (b, k, n), where the people were, NaN where untold [rad].
        error_deg: Shape (b, n), mean absolute difference of the two [deg].
        lag_ms: Shape (b,), of all joints together, NaN where they hardly move [ms].
        joint_lag_ms: Shape (b, n), of each joint [ms].
        jerk_rad_s3: Shape (b, n), root mean square of third differences at 100 Hz [rad/s^3].
        target_share: Shape (b,), share of the frames for which the policy had a target.
    """

    names: tuple[str, ...]
    joint_rad: np.ndarray
    truth_rad: np.ndarray
    error_deg: np.ndarray
    lag_ms: np.ndarray
    joint_lag_ms: np.ndarray
    jerk_rad_s3: np.ndarray
    target_share: np.ndarray

    def errors_of(self, joints: Sequence[str] | None = FINGER_JOINTS) -> np.ndarray:
        """Mean error of some joints in each sequence, shape (b,) [deg]; None for all joints."""
        return np.nanmean(self.error_deg[:, self._columns(joints)], axis=1)

    def jerks_of(self, joints: Sequence[str] | None = FINGER_JOINTS) -> np.ndarray:
        """Root mean square jerk of some joints in each sequence, shape (b,) [rad/s^3]."""
        return np.sqrt((self.jerk_rad_s3[:, self._columns(joints)] ** 2).mean(axis=1))

    def _columns(self, joints: Sequence[str] | None) -> list[int]:
        return [self.names.index(name) for name in (self.names if joints is None else joints)]


def track(
    make_policy: Callable[[int], Policy], people: MovingPeople, table: JointTable,
    options: TrackingOptions | None = None,
) -> Tracked:
    """Let an arm follow each of some people.

    Args:
        make_policy: Gives the policy for one of the sequences, by its place among them; each
            needs one of its own.
        people: Whom to follow.
        table: The arm's joints.
        options: Under what conditions.

    Returns:
        How well they were followed.
    """
    options = options or TrackingOptions()
    policies = [make_policy(place) for place in range(len(people))]
    truth = people.in_arm_terms(table, options.side, options.mirror)
    start = table.clip(np.nan_to_num(truth[:, 0]))
    arms = _Arms(table, options, start)
    has_target = np.zeros((len(people), len(people.time_s)), dtype=bool)
    for frame, time_s in enumerate(people.time_s):
        now_s = float(time_s) + options.latency_s
        arms.advance(now_s)
        targets = [
            policy.act(people.seen[place][frame],
                       arms.measured_rad[place] if policy.uses_joint_positions else None, now_s)
            for place, policy in enumerate(policies)]
        has_target[:, frame] = [target is not None for target in targets]
        arms.deliver(targets, float(time_s), now_s)
    arms.advance(float(people.time_s[-1]) + 2.0 / RATE_HZ)
    grid_s = np.arange(
        np.ceil(options.settle_s * GRID_HZ), np.floor(people.time_s[-1] * GRID_HZ) + 1) / GRID_HZ
    at_ns = np.round(grid_s * 1e9).astype(np.int64)
    frame_ns = np.round(people.time_s * 1e9).astype(np.int64)
    wanted = np.stack([at_times(Series(frame_ns, of_one), at_ns) for of_one in truth])
    return _judged(table.names, arms.positions_at(grid_s), wanted, has_target.mean(axis=1))


class _Arms:
    """One arm for each sequence: filter, servos, and what they did."""

    def __init__(self, table: JointTable, options: TrackingOptions, start_rad: np.ndarray) -> None:
        self._options = options
        self._shape = start_rad.shape
        self._table = table
        self._names = [tuple(f'{place}/{name}' for name in table.names)
                       for place in range(len(start_rad))]
        self._together = _side_by_side(table, self._names)
        self._filter = SafetyFilter(self._together, options.safety)
        self._state = self._filter.initial_state()
        self._random = np.random.default_rng(options.seed)
        self._servos = ServoModel(len(start_rad), table, options.servos)
        self._servos.reset(np.arange(len(start_rad)), start_rad, self._random)
        self._command = start_rad
        self._positions = [self._servos.positions()]
        self._ticks = 0
        self.measured_rad = self._servos.measured(self._random)

    def advance(self, to_s: float) -> None:
        """Let servos move and the commander tick up to a time, that time included."""
        while (now_s := self._ticks / self._options.safety.rate_hz) <= to_s + 1e-9:
            self._ticks += 1
            self._move(now_s)
            self.measured_rad = self._servos.measured(self._random)
            self._step(None, now_s)
        self._move(to_s)

    def deliver(
        self, targets: Sequence[JointTargets | None], stamp_s: float, now_s: float,
    ) -> None:
        """Hand the commander the targets of one frame; it takes a step at once."""
        names: list[str] = []
        positions: list[np.ndarray] = []
        for place, target in enumerate(targets):
            if target is None:
                continue
            target = in_arm_terms(target, self._options.side, self._options.mirror)
            if target.names == self._table.names:
                names += self._names[place]
            else:
                names += [f'{place}/{name}' for name in target.names]
            positions.append(target.positions_rad)
        if names:
            self._step(Target(tuple(names), np.concatenate(positions), stamp_s, now_s - stamp_s,
                              now_s), now_s)

    def positions_at(self, time_s: np.ndarray) -> np.ndarray:
        """Where the joints were at times: shape (b, k, n) [rad].

        Between the servos' steps by the cubic through the two positions with the slopes of their
        neighbours (Catmull and Rom 1974): a straight line would put kinks into the third
        differences.
        """
        positions = np.array(self._positions)
        place = np.clip(time_s * RATE_HZ, 1, len(positions) - 2 - 1e-6)
        first = np.floor(place).astype(int)
        t = (place - first)[:, np.newaxis, np.newaxis]
        before, here, after, beyond = (positions[first + step] for step in (-1, 0, 1, 2))
        slope, next_slope = (after - before) / 2.0, (beyond - here) / 2.0
        way = after - here
        found = here + t * (slope + t * (3.0 * way - 2.0 * slope - next_slope + t * (
            slope + next_slope - 2.0 * way)))
        return found.transpose(1, 0, 2)

    def _move(self, to_s: float) -> None:
        for _ in range(int(to_s * RATE_HZ + 1e-6) + 1 - len(self._positions)):
            self._servos.step(self._command, 1)
            self._positions.append(self._servos.positions())

    def _step(self, target: Target | None, now_s: float) -> None:
        measured = Measured(self._together.names, self.measured_rad.ravel(), now_s)
        self._state, command = self._filter.step(self._state, target, measured, now_s)
        if command.positions is not None:
            self._command = command.positions.reshape(self._shape)


def _side_by_side(table: JointTable, names: Sequence[tuple[str, ...]]) -> JointTable:
    """Make one table of many arms' joints."""
    return JointTable(
        tuple(name for of_one in names for name in of_one),
        *(np.tile(values, len(names)) for values in (
            table.lower_rad, table.upper_rad, table.max_velocity_rad_s, table.max_effort_nm)))


def _judged(
    names: tuple[str, ...], joint_rad: np.ndarray, truth_rad: np.ndarray,
    target_share: np.ndarray,
) -> Tracked:
    """Hold what was done against what was shown."""
    together_ms, each_ms, jerks = [], [], []
    for joints, truth in zip(joint_rad, truth_rad, strict=True):
        # An arm that hardly moves follows nobody, whatever its tremble correlates with.
        moves = np.ptp(joints, axis=0) >= MIN_MOTION_RAD
        together, each = lags(np.where(moves, truth, np.nan), joints)
        together_ms.append(np.nan if together is None else 1e3 * together.lag_s)
        each_ms.append([np.nan if lag is None else 1e3 * lag.lag_s for lag in each])
        jerks.append(root_mean(*jerk_sums(joints)))
    error = np.abs(joint_rad - truth_rad)
    known = np.isfinite(error)
    mean = np.where(known, error, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return Tracked(
        names, joint_rad, truth_rad, np.degrees(np.where(known.any(axis=1), mean, np.nan)),
        np.array(together_ms), np.array(each_ms), np.array(jerks), target_share)
