"""What a guided calibration asks for, accepts and refuses, step by step.

Knows neither terminal nor bus nor clock: counts and keys go in, instructions and results come
out. For each joint the user holds its zero, then its far end, then, where the joint goes both
ways, its other end. Counts wrap once a turn; they are followed over the wrap from sample to
sample.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Collection, Mapping

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.hardware.calibration import (
    MAX_EXTRA_RAD,
    MIN_TRAVEL,
    STOP_MARGIN_RAD,
    JointCalibration,
    check_joint,
    ticks_per_rad,
)
from hand_imitation.hardware.robot import Robot, ServoJoint
from hand_imitation.policy.base import LEANING_JOINTS

STILL_S = 0.4
"""A joint must have been still for this long when a position is taken [s]."""
STILL_RAD = 0.03
"""Still means that it stayed within this angle [rad]."""
OTHERS_RAD = 0.15
"""Another joint that moves further than this while one is measured moves with it [rad]."""
BOTH_WAYS = 0.3
"""A motion is of unclear direction if it goes back by this share of how far it goes."""
WRAP_MARGIN = 1.0 / 64.0
"""A travel that comes nearer to the encoder's wrap than this, in turns, is moved away."""
_MAX_STEP = 0.25
"""Counts that change by more than this between two samples, in turns, cannot be followed."""
_MAX_GAP_S = 0.3
"""Nor can a servo that is silent for longer than this [s]: it may have been turned right round."""


class Step(enum.Enum):
    """What is being measured."""

    ZERO = 'zero'
    FAR_END = 'far end'
    NEAR_END = 'near end'
    DONE = 'done'


class Key(enum.Enum):
    """What the user can do."""

    ACCEPT = 'Enter'
    AGAIN = 'b'
    SKIP = 's'
    QUIT = 'q'


class Follower:
    """Follows counts that wrap once a turn.

    Args:
        ticks_per_turn: Shape (n,).

    Attributes:
        counts: Shape (n,), as if they did not wrap; NaN before the first sample.
        lost: Shape (n,), bool; whether a step was too large, or a silence too long, to be sure
            of the turn since `forgive`.
    """

    def __init__(self, ticks_per_turn: np.ndarray) -> None:
        self._turn = np.asarray(ticks_per_turn, dtype=float)
        self.counts = np.full(self._turn.shape, np.nan)
        self.lost = np.zeros(self._turn.shape, dtype=bool)
        self._seen_s = np.full(self._turn.shape, np.nan)

    def feed(self, ticks: np.ndarray, now_s: float) -> None:
        """Take a sample, shape (n,), at a time [s]; NaN where a servo did not answer."""
        self.lost |= now_s - self._seen_s > _MAX_GAP_S
        self._seen_s = np.where(np.isnan(ticks), self._seen_s, now_s)
        first = np.isnan(self.counts)
        step = np.mod(ticks - self.counts + self._turn / 2.0, self._turn) - self._turn / 2.0
        self.lost |= np.abs(step) > _MAX_STEP * self._turn
        followed = np.where(first, np.mod(ticks, self._turn), self.counts + step)
        self.counts = np.where(np.isnan(ticks), self.counts, followed)

    def forgive(self) -> None:
        """Begin anew where following was lost."""
        self.lost[:] = False


class CalibrationSession:
    """The guided calibration of some joints of a robot.

    Args:
        robot: The robot.
        offsets: What the servos' own offset registers hold, by joint name; a joint whose servo
            has none is left out.
        done: Joints that need no more doing, as from a session that was interrupted.
        only: Joints to do; None for all that are not done.

    Attributes:
        results: What was found so far, by joint name, `done` included.
        message: What came of the last key, for the user.
        refused: Whether that was a refusal.
        quit: Whether the user has had enough.
    """

    def __init__(self, robot: Robot, offsets: Mapping[str, int],
                 done: Mapping[str, JointCalibration] | None = None,
                 only: Collection[str] | None = None) -> None:
        self.robot = robot
        self.results: dict[str, JointCalibration] = dict(done or {})
        self.message, self.refused, self.quit = '', False, False
        self._offsets = dict(offsets)
        self._turn = np.array([j.model.ticks_per_turn for j in robot.joints], dtype=float)
        self._per_rad = np.array([ticks_per_rad(joint) for joint in robot.joints])
        self._waiting = [
            i for i, joint in enumerate(robot.joints)
            if (joint.name not in self.results if only is None else joint.name in only)]
        self._history: deque[tuple[float, np.ndarray]] = deque()
        self._follower = Follower(self._turn)
        self._start = self._lowest = self._highest = self._follower.counts
        self._begin()

    @property
    def joint(self) -> ServoJoint | None:
        """The joint whose turn it is, or None at the end."""
        return self.robot.joints[self._waiting[0]] if self._waiting else None

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do, or the user has had enough."""
        return self.quit or not self._waiting

    @property
    def instruction(self) -> str:
        """What the user shall do now."""
        joint = self.joint
        if joint is None:
            return 'All joints are done.'
        leaning = joint.name in LEANING_JOINTS
        if self.step is Step.ZERO:
            how = 'in the middle, in line with the arm' if leaning else 'straight'
            return f'Hold {joint.name} {how}.'
        if self.step is Step.FAR_END:
            where = "towards the arm's thumb" if leaning else 'into the palm'
        else:
            where = 'away from the thumb' if leaning else 'back, away from the palm'
        return f'Move {joint.name} {where}, as far as it goes, and hold it there.'

    def angles_rad(self) -> np.ndarray:
        """How far each joint is from where the step's measurement began, without direction.

        Returns:
            Shape (n,), [rad]; NaN where unknown.
        """
        return (self._follower.counts - self._start) / self._per_rad

    def feed(self, ticks: np.ndarray, now_s: float) -> None:
        """Take a measurement of all servos.

        Args:
            ticks: Shape (n,), counts in the robot's order; NaN where a servo did not answer.
            now_s: The time [s].
        """
        self._follower.feed(ticks, now_s)
        self._history.append((now_s, np.where(np.isnan(ticks), np.nan, self._follower.counts)))
        while self._history and self._history[0][0] < now_s - STILL_S:
            self._history.popleft()
        self._start = np.where(np.isnan(self._start), self._follower.counts, self._start)
        self._lowest = np.fmin(self._lowest, self._follower.counts)
        self._highest = np.fmax(self._highest, self._follower.counts)

    def press(self, key: Key) -> None:
        """Take a key; `message` and `refused` tell what came of it."""
        self.message, self.refused = '', False
        joint = self.joint
        if joint is None:
            return
        if key is Key.QUIT:
            self.quit = True
        elif key is Key.SKIP:
            self.message = f'{joint.name} is left for later.'
            self._next()
        elif key is Key.AGAIN:
            self.message = f'{joint.name} once more.'
            self._begin()
        else:
            try:
                self._accept(joint)
            except UserError as error:
                self.message, self.refused = str(error), True

    def _begin(self) -> None:
        """Begin the next joint at its zero."""
        self.step = Step.ZERO if self._waiting else Step.DONE
        self._zero = self._far = np.nan
        self._follower.forgive()
        self._mark()

    def _mark(self) -> None:
        """Watch from here on who moves, and how far."""
        counts = self._follower.counts
        self._start, self._lowest, self._highest = counts.copy(), counts.copy(), counts.copy()

    def _next(self) -> None:
        self._waiting.pop(0)
        self._begin()

    def _accept(self, joint: ServoJoint) -> None:
        """Take the present position for what the step asks."""
        index = self._waiting[0]
        count = self._steady_count(joint, index)
        if self.step is Step.ZERO:
            self._zero, self.step = count, Step.FAR_END
        elif self.step is Step.FAR_END:
            self._check_motion(joint, index, count, joint.upper_rad)
            if joint.lower_rad >= 0.0:
                self._finish(joint, index, self._zero, count)
                return
            self._far, self.step = count, Step.NEAR_END
        else:
            self._check_others(joint, index)
            if (count - self._zero) * (self._far - self._zero) >= 0.0:
                raise UserError('that is on the same side as before: move it to the other end, '
                                'or press b to begin this joint again')
            self._check_travel(joint, index, count, -joint.lower_rad)
            self._finish(joint, index, count, self._far)
            return
        self.message = 'Taken.'
        self._mark()

    def _steady_count(self, joint: ServoJoint, index: int) -> float:
        """Count of the joint, which must have been still and followed without a break."""
        recent = np.array([counts[index] for _, counts in self._history])
        if recent.size < 3 or np.isnan(recent[-1]) or np.isnan(recent).mean() > 0.5:
            raise UserError(f'servo {joint.id} does not answer: check its plug, then press Enter')
        if self.step is Step.ZERO:
            # How it came to its zero does not matter.
            self._follower.forgive()
        if self._follower.lost[index]:
            self._begin()
            raise UserError('its count jumped, so it cannot be followed: move more slowly, and '
                            'begin this joint again at its zero')
        if np.nanmax(recent) - np.nanmin(recent) > STILL_RAD * self._per_rad[index]:
            raise UserError('it is still moving: hold it still for half a second, then press '
                            'Enter')
        return float(round(np.nanmedian(recent)))

    def _check_motion(self, joint: ServoJoint, index: int, count: float,
                      expected_rad: float) -> None:
        """Refuse a motion to the far end that leaves something unclear."""
        self._check_others(joint, index)
        self._check_travel(joint, index, count, expected_rad)
        up, down = self._highest[index] - self._zero, self._zero - self._lowest[index]
        if min(up, down) > BOTH_WAYS * max(up, down):
            self._begin()
            raise UserError('it went both ways, so its direction is unclear: begin this joint '
                            'again at its zero and move it one way only')
        if abs(count - self._zero) < 0.8 * max(up, down):
            raise UserError('it has been further than this: hold it at the very end, then press '
                            'Enter')

    def _check_others(self, joint: ServoJoint, index: int) -> None:
        """Refuse a motion that was another joint's, or another's too."""
        moved = (self._highest - self._lowest) / self._per_rad
        others = np.where(np.arange(len(moved)) == index, 0.0, np.nan_to_num(moved))
        worst = int(others.argmax())
        if others[worst] <= OTHERS_RAD:
            return
        other = self.robot.joints[worst]
        moved_alone = moved[index] <= OTHERS_RAD
        self._begin()
        if moved_alone:
            raise UserError(
                f'{other.name} (servo {other.id}) moved instead of {joint.name} (servo '
                f'{joint.id}): move the right joint, or, if you did, correct the ids in the robot '
                'description; begin this joint again at its zero')
        raise UserError(f'{other.name} moved too: hold it still, and begin {joint.name} again at '
                        'its zero')

    def _check_travel(self, joint: ServoJoint, index: int, count: float,
                      expected_rad: float) -> None:
        """Refuse a travel that does not go with the robot description."""
        travel_rad = abs(count - self._zero) / self._per_rad[index]
        if travel_rad < MIN_TRAVEL * expected_rad:
            raise UserError(
                f'it moved by {travel_rad:.2f} rad only, of {expected_rad:.2f}: move it as far '
                'as it goes, or correct the robot description')
        if travel_rad > expected_rad + MAX_EXTRA_RAD:
            raise UserError(
                f'it moved by {travel_rad:.2f} rad, far more than {expected_rad:.2f}: was its '
                'zero right? If so, correct gear_ratio in the robot description; b begins this '
                'joint again')

    def _finish(self, joint: ServoJoint, index: int, near: float, far: float) -> None:
        """Turn what was measured into a calibration and go on to the next joint."""
        margin = STOP_MARGIN_RAD * self._per_rad[index]
        direction = 1 if far > self._zero else -1
        ends = [self._zero if near == self._zero else near + direction * margin,
                far - direction * margin]
        found = place(joint, direction, self._zero, min(ends), max(ends),
                      self._offsets.get(joint.name))
        check_joint(joint, found)
        self.results[joint.name] = found
        travel_rad = (found.upper_ticks - found.lower_ticks) / self._per_rad[index]
        self.message = f'{joint.name}: {travel_rad:.2f} rad, direction {direction:+d}.'
        self._next()


def place(joint: ServoJoint, direction: int, zero: float, lowest: float, highest: float,
          offset: int | None) -> JointCalibration:
    """Lay a travel into one turn of the count, so that the wrap is outside of it.

    Nothing is changed where it is already. Otherwise the middle of the travel becomes the
    middle of the turn: a Feetech's own offset does that (its count is the encoder's minus the
    offset), and for a Dynamixel, whose homing offset leaves the wrap where it is, software.

    Args:
        joint: The joint.
        direction: +1 or -1.
        zero: Count at zero, as followed, so it may lie outside one turn.
        lowest: Lowest count of the travel.
        highest: Highest count of the travel.
        offset: What the servo's own offset register holds; None where it has none.

    Returns:
        The joint's calibration.

    Raises:
        UserError: The travel does not fit into a turn, or cannot be moved.
    """
    turn = joint.model.ticks_per_turn
    guard = turn * WRAP_MARGIN
    if highest - lowest > turn - 2.0 * guard:
        raise UserError(f'the servo of {joint.name} makes a whole turn, so its count is no '
                        'measure: correct the gear')
    whole_turns = turn * round(np.floor((lowest + highest) / 2.0 / turn))
    held, move, shift = offset or 0, 0, 0
    servo_offset = held
    inside = guard <= lowest - whole_turns and highest - whole_turns <= turn - 1 - guard
    if not inside:
        move = turn // 2 - round((lowest + highest) / 2.0 - whole_turns)
        if joint.model.protocol == 'dynamixel':
            shift = move
        elif offset is None:
            raise UserError(
                f'the count of {joint.name} wraps inside its travel, and this servo has no '
                'offset: take its horn off, turn it by a quarter, and begin this joint again')
        else:
            servo_offset = _within_half_a_turn(held - move, turn)
            # The register lacks one value of a turn, so the count may end up one tick off.
            missed = held - move - servo_offset
            move += missed - turn * round(missed / turn)
    moved = move - whole_turns
    return JointCalibration(
        id=joint.id, model=joint.model.name, direction=direction, zero_ticks=round(zero + moved),
        lower_ticks=int(np.ceil(lowest + moved)), upper_ticks=int(np.floor(highest + moved)),
        shift_ticks=shift, servo_offset_ticks=servo_offset, previous_offset_ticks=held)


def _within_half_a_turn(offset: int, turn: int) -> int:
    """Bring an offset into what the register holds: less than half a turn either way."""
    half = turn // 2
    within = (offset + half) % turn - half
    return max(within, 1 - half)
