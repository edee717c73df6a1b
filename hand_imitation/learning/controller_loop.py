"""The loop a controller is in, for many arms at once: commander, servos, and time.

`CommanderModel` does what `arm.safety.SafetyFilter` does to targets that come in time and in
order, and is tested against it; it leaves out what concerns other faults. `ArmLoop` steps it with
servos as `evaluation.tracking` does: the commander ticks at 100 Hz and steps at once when a
target comes, and servos move at 240 Hz.
"""

from __future__ import annotations

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import MAX_STEP_CYCLES, SafetyParameters
from hand_imitation.learning.servo_model import RATE_HZ, ServoModel, ServoRanges


class CommanderModel:
    """Commands of many arms; all arrays have shape (m, n).

    Args:
        count: How many arms.
        table: Their joints.
        parameters: Of the safety filter.
    """

    def __init__(self, count: int, table: JointTable, parameters: SafetyParameters) -> None:
        self._table = table
        self._parameters = parameters
        self._max_velocity = parameters.velocity_scale * table.max_velocity_rad_s
        shape = count, len(table)
        self.commands: np.ndarray = np.zeros(shape)
        self._velocity: np.ndarray = np.zeros(shape)
        self._goal: np.ndarray = np.zeros(shape)
        self._goal_s: np.ndarray = np.full(shape, -np.inf)
        self._engaged_s: np.ndarray = np.full(shape, -np.inf)
        self._pending: np.ndarray = np.full(shape, np.nan)
        self._now_s = 0.0

    def reset(self, which: np.ndarray, positions_rad: np.ndarray) -> None:
        """Put some arms somewhere, following, at rest and past any ramp.

        Args:
            which: Shape (k,), numbers of the arms.
            positions_rad: Shape (k, n) [rad].
        """
        self.commands[which] = self._goal[which] = self._table.clip(positions_rad)
        self._velocity[which] = 0.0
        self._goal_s[which] = self._now_s
        self._engaged_s[which] = -np.inf
        self._pending[which] = np.nan

    def step(self, targets: np.ndarray | None, now_s: float) -> None:
        """Make one command for each arm.

        Args:
            targets: Shape (m, n), NaN for joints left out, or None for no new targets [rad].
            now_s: The time [s].
        """
        parameters = self._parameters
        elapsed_s = now_s - self._now_s
        self._now_s = now_s
        was_held = now_s - self._goal_s >= parameters.input_timeout_s
        if targets is not None:
            self._take(self._table.clip(targets), was_held, now_s)
        left_s = parameters.input_timeout_s - (now_s - self._goal_s)
        held = left_s <= 0.0
        self._engaged_s = np.where(was_held & ~held, now_s, self._engaged_s)
        ramp = np.minimum((now_s - self._engaged_s) / parameters.reengage_ramp_s, 1.0)
        dt_s = min(elapsed_s, MAX_STEP_CYCLES / parameters.rate_hz)
        if dt_s > 0.0:
            self._move(held, ramp, left_s, dt_s, elapsed_s)

    def _take(self, targets: np.ndarray, lapsed: np.ndarray, now_s: float) -> None:
        """Accept targets that are near the goal before, or confirmed; see `_take_target` there."""
        jump_rad = self._parameters.jump_rad
        wanted = np.isfinite(targets)
        close = np.abs(targets - self._goal) <= jump_rad
        confirmed = np.abs(targets - self._pending) <= jump_rad
        taken = wanted & (close | confirmed | lapsed)
        jumped = wanted & ~taken
        self._goal = np.where(taken, targets, self._goal)
        self._goal_s = np.where(taken, now_s, self._goal_s)
        self._pending = np.where(
            jumped, targets, np.where(taken, np.nan, self._pending))

    def _move(self, held: np.ndarray, ramp: np.ndarray, left_s: np.ndarray, dt_s: float,
              elapsed_s: float) -> None:
        """Move towards the goals; the formulas are explained at `SafetyFilter._move`."""
        acceleration, brake = (self._parameters.max_acceleration_rad_s2,
                               self._parameters.brake_rad_s2)
        cap = np.where(held, 0.0, np.minimum(self._max_velocity * ramp, brake * left_s))
        error = np.where(held, 0.0, self._goal - self.commands)
        way = np.abs(error)
        stoppable = 2.0 * way / (dt_s + np.sqrt(dt_s ** 2 + 2.0 * way / acceleration))
        wanted = np.copysign(np.minimum(stoppable, cap), error)
        direction = np.copysign(1.0, self._velocity)
        speed = np.abs(self._velocity)
        gain = acceleration * dt_s
        slowest = np.maximum(speed - brake * elapsed_s, -gain)
        self._velocity = direction * np.minimum(
            np.maximum(wanted * direction, slowest), speed + gain)
        self.commands = self._table.clip(self.commands + self._velocity * dt_s)


class ArmLoop:
    """Arms that follow targets at 30 Hz.

    Args:
        count: How many arms.
        table: Their joints.
        frame_s: From one target to the next [s].
        latency_s: From a picture until its target is with the commander [s].
        servos: Between what servos' numbers are drawn.
        safety: Parameters of the safety filter.
    """

    def __init__(self, count: int, table: JointTable, frame_s: float, latency_s: float = 0.020,
                 servos: ServoRanges | None = None,
                 safety: SafetyParameters | None = None) -> None:
        parameters = safety or SafetyParameters()
        self._tick_s = 1.0 / parameters.rate_hz
        self._frame_s, self._latency_s = frame_s, latency_s
        self._commander = CommanderModel(count, table, parameters)
        self.servos = ServoModel(count, table, servos)
        # The first targets are due now; ticks and steps before are taken to have been made.
        self._frames = 0
        self._ticks = int(latency_s / self._tick_s + 1e-6) + 1
        self._steps = int(latency_s * RATE_HZ + 1e-6)
        self._commander.step(None, latency_s)
        self.trace: np.ndarray = np.zeros((1, count, len(table)))

    def reset(self, which: np.ndarray, positions_rad: np.ndarray,
              random: np.random.Generator) -> None:
        """Put some arms somewhere, with other servos.

        Args:
            which: Shape (k,), numbers of the arms.
            positions_rad: Shape (k, n) [rad].
            random: Where servos are drawn from.
        """
        self.servos.reset(which, positions_rad, random)
        self._commander.reset(which, positions_rad)

    def step(self, targets_rad: np.ndarray) -> np.ndarray:
        """Deliver the targets of one picture, and let time pass until the next ones are due.

        Args:
            targets_rad: Shape (m, n), NaN for joints left out [rad].

        Returns:
            When the joints were where, from the picture on [s]: shape (k,). The positions are
            in `trace`, shape (k, m, n) [rad].
        """
        picture_s = self._frames * self._frame_s
        self._commander.step(targets_rad, picture_s + self._latency_s)
        self._frames += 1
        due_s = self._frames * self._frame_s + self._latency_s
        times, trace = [], []
        while True:
            tick_s = self._ticks * self._tick_s
            until_s = min(tick_s, due_s)
            while (self._steps + 1) / RATE_HZ <= until_s + 1e-9:
                self.servos.step(self._commander.commands, 1)
                self._steps += 1
                times.append(self._steps / RATE_HZ - picture_s)
                trace.append(self.servos.positions())
            if tick_s > due_s + 1e-9:
                break
            self._commander.step(None, tick_s)
            self._ticks += 1
        self.trace = np.array(trace)
        return np.array(times)
