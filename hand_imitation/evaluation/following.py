"""The safety filter and an arm behind it, stepped by the stamps of a recording.

It does what the commander does live: a step at its rate, and one at once when a target arrives.
No clock is read, so the same stamps give the same commands.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hand_imitation.arm.audit import CommandAuditor
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import Command, Measured, SafetyFilter, SafetyParameters, Target
from hand_imitation.evaluation.recording import Hold, Series

if TYPE_CHECKING:
    # PyBullet takes a second to import, and a replay may do without.
    from hand_imitation.arm.simulation import SimulatedArm

HOLDING, FOLLOWING = ('holding', 'stopped'), ('ramping', 'tracking')
"""Modes of `Command` in which the arm is held, and in which at least one joint follows."""
_HOLD_REASONS = ('stopped', 'no_measurement', 'stale', 'missing', 'omitted')


def hold_reason(reasons: Sequence[str]) -> str:
    """Return the word of `REASONS` that says why the arm is held.

    Args:
        reasons: As in `Command.reasons`.
    """
    words = {reason.split()[0] for reason in reasons if reason}
    return next((word for word in _HOLD_REASONS if word in words), 'missing')


class ArmBehind(Protocol):
    """What moves, or moved, behind the safety filter."""

    def measured(self, now_ns: int) -> tuple[np.ndarray, int] | None:
        """Return the newest measurement at a time: shape (n,) [rad], and when it was made."""

    def command(self, positions_rad: np.ndarray) -> None:
        """Take a command, shape (n,) [rad]."""


class SimulatedBehind:
    """A simulated arm that follows the commands, its time that of the recording.

    Args:
        arm: Open and armed.
        start_ns: When its time begins [ns].
    """

    def __init__(self, arm: SimulatedArm, start_ns: int) -> None:
        self._arm = arm
        self._now_ns = start_ns

    def measured(self, now_ns: int) -> tuple[np.ndarray, int]:
        """See `ArmBehind`."""
        self._arm.step((now_ns - self._now_ns) * 1e-9)
        self._now_ns = now_ns
        return self._arm.read().position_rad, now_ns

    def command(self, positions_rad: np.ndarray) -> None:
        """See `ArmBehind`."""
        self._arm.write(positions_rad)


class RecordedBehind:
    """The arm as it was recorded, whatever is commanded.

    Args:
        states: Its joint states.
    """

    def __init__(self, states: Series) -> None:
        self._states = states

    def measured(self, now_ns: int) -> tuple[np.ndarray, int] | None:
        """See `ArmBehind`."""
        place = int(np.searchsorted(self._states.time_ns, now_ns, side='right')) - 1
        if place < 0:
            return None
        return self._states.position_rad[place], int(self._states.time_ns[place])

    def command(self, positions_rad: np.ndarray) -> None:
        """See `ArmBehind`."""


class IdealBehind:
    """An arm that is where it is commanded to be; it begins straight and open.

    Args:
        joints: How many joints it has.
    """

    def __init__(self, joints: int) -> None:
        self._position_rad = np.zeros(joints)

    def measured(self, now_ns: int) -> tuple[np.ndarray, int]:
        """See `ArmBehind`."""
        return self._position_rad, now_ns

    def command(self, positions_rad: np.ndarray) -> None:
        """See `ArmBehind`."""
        self._position_rad = positions_rad


class Follower:
    """Steps the filter through a recording and keeps what it commanded.

    Args:
        table: The arm's joints.
        parameters: Of the filter.
        arm: What is behind it.
        start_ns: Time of the first step [ns].
    """

    def __init__(
        self, table: JointTable, parameters: SafetyParameters, arm: ArmBehind, start_ns: int,
    ) -> None:
        self._table = table
        self._filter = SafetyFilter(table, parameters)
        self._state = self._filter.initial_state()
        self._arm = arm
        self._start_ns = start_ns
        self._ticks = 0
        self._rate_hz = parameters.rate_hz
        self._target: Target | None = None
        self._measured: Measured | None = None
        self._auditor = CommandAuditor(table)
        self._mode = 'waiting'
        self._hold: tuple[int, str] | None = None
        self._holds: list[Hold] = []
        self._times, self._commands, self._ages = array('q'), array('d'), array('d')
        self._measured_times, self._positions = array('q'), array('d')

    @property
    def measured_rad(self) -> np.ndarray | None:
        """Newest measurement, shape (n,) [rad], or None."""
        return None if self._measured is None else np.asarray(self._measured.positions)

    def advance(self, to_ns: int) -> None:
        """Step at the filter's rate up to a time [ns], that time included."""
        while (now_ns := self._tick_ns()) <= to_ns:
            self._ticks += 1
            found = self._arm.measured(now_ns)
            if found is not None:
                self._take_measured(*found)
            command = self._step(now_ns)
            if command.positions is not None:
                self._times.append(now_ns)
                self._commands.extend(command.positions.tolist())
                stamp_s = command.stamp_s if command.stamp_s is not None else np.nan
                self._ages.append((self._seconds(now_ns) - stamp_s) * 1e3)

    def deliver(
        self, names: Sequence[str], positions_rad: np.ndarray, frame_ns: int, at_ns: int,
    ) -> None:
        """Hand over a target, after `advance` to its time.

        Args:
            names: Joints, in the arm's terms.
            positions_rad: Shape (len(names),) [rad].
            frame_ns: Stamp of the frame it comes from [ns].
            at_ns: When it arrives [ns].
        """
        self._target = Target(
            names, positions_rad, self._seconds(frame_ns), (at_ns - frame_ns) * 1e-9,
            self._seconds(at_ns))
        self._step(at_ns)

    def finish(self, end_ns: int) -> tuple[Series, Series, tuple[Hold, ...], int, np.ndarray]:
        """Step to the end of the recording.

        Args:
            end_ns: The end [ns].

        Returns:
            Commands, measurements, holds, limit violations, and the age of the newest frame in
            use at each command [ms].
        """
        self.advance(end_ns)
        if self._hold is not None:
            self._holds.append(Hold(self._hold[0], end_ns, self._hold[1]))
        joints = len(self._table)
        return (
            Series(np.array(self._times, np.int64), np.array(self._commands).reshape(-1, joints)),
            Series(np.array(self._measured_times, np.int64),
                   np.array(self._positions).reshape(-1, joints)),
            tuple(self._holds), self._auditor.limit_violations, np.array(self._ages))

    def _tick_ns(self) -> int:
        return self._start_ns + round(self._ticks * 1e9 / self._rate_hz)

    def _seconds(self, time_ns: int) -> float:
        return (time_ns - self._start_ns) * 1e-9

    def _take_measured(self, positions_rad: np.ndarray, time_ns: int) -> None:
        if self._measured_times and time_ns <= self._measured_times[-1]:
            return
        self._measured = Measured(self._table.names, positions_rad, self._seconds(time_ns))
        self._auditor.measured(self._table.names, positions_rad, self._seconds(time_ns))
        self._measured_times.append(time_ns)
        self._positions.extend(positions_rad.tolist())

    def _step(self, now_ns: int) -> Command:
        now_s = self._seconds(now_ns)
        self._state, command = self._filter.step(
            self._state, self._target, self._measured, now_s)
        if command.positions is not None:
            self._auditor.command(self._table.names, command.positions, now_s)
            self._arm.command(command.positions)
        if command.mode in HOLDING and self._mode in FOLLOWING:
            self._hold = now_ns, hold_reason(command.reasons)
        elif command.mode in FOLLOWING and self._hold is not None:
            self._holds.append(Hold(self._hold[0], now_ns, self._hold[1]))
            self._hold = None
        self._mode = command.mode
        return command
