"""The one chain every command passes before it reaches a simulated or real arm.

`SafetyFilter.step` is a pure function: the state and the newest inputs go in, the next state
and one command come out. It reads no clock and keeps nothing.

Each joint has its own deadline. A joint is *followed* while its last accepted target and its
last measurement are younger than `input_timeout_s` and `measured_timeout_s`; otherwise it is
*held* at its last command. So one joint left out of the targets, one dead servo, a lost hand
and a stopped publisher are all the same case.

Speed never exceeds `brake_rad_s2` times the time left to that deadline, so the joint stands
still when the deadline comes: the last change of a goal is at most `input_timeout_s` after the
last valid input, braking included. At 6 rad/s and the defaults this bites in the last 20 ms
only, so inputs up to 80 ms apart are followed without a stutter.

Towards its target a joint speeds up and slows down by `max_acceleration_rad_s2` and stops
exactly on it. It slows down harder, up to `brake_rad_s2`, only when it must: for a deadline, a
stop, or a target that suddenly lies nearer than the stopping distance. Targets are inside the
limits, and a joint can always stop before its target, so limits are never overrun.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety_inputs import (
    Measured,
    Target,
    named,
    read_measured,
    read_target,
)
from hand_imitation.errors import UserError
from hand_imitation.parameters import check, parameter

__all__ = [
    'REASONS', 'Command', 'Measured', 'SafetyFilter', 'SafetyParameters', 'SafetyState', 'Target',
    'resume', 'stop',
]

MAX_STEP_CYCLES = 3
"""A pause longer than this many cycles moves the arm no further than this many."""

REASONS = {
    'acceleration': 'the change of speed was limited',
    'clamped': 'the target was outside the limits of the joint',
    'clock': 'the clock went backwards, time stands still until it catches up',
    'duplicate_joint': 'target refused: it names a joint twice',
    'future_stamp': 'target refused: its stamp or its receipt lies in the future',
    'jump': 'the target jumped, waiting for the next one to confirm it',
    'measured_outside': 'measured too far outside the limits to start from there',
    'missing': 'no target, or one without joints',
    'nan': 'target refused: something in it is not a finite number',
    'no_measurement': 'no fresh measurement',
    'old_stamp': 'target refused: its frame is too old',
    'omitted': 'the targets leave this joint out, so it is held',
    'out_of_order': 'target refused: its frame is older than one already used',
    'repeated_stamp': 'target refused: its frame was used already',
    'restarted': 'the arm came back at another pose and starts again from there',
    'stale': 'no valid target in time',
    'stopped': 'stopped on request, waiting for resume',
    'unknown_joint': 'target refused: it names a joint the arm does not have',
    'velocity': 'the speed was limited',
    'wrong_length': 'target refused: names and positions do not match in number',
}
"""What the first word of each of `Command.reasons` means."""


@dataclass(frozen=True)
class SafetyParameters:
    """Everything about the filter that a user can set; see each description."""

    rate_hz: float = parameter(
        100.0, 'How often a command is made', lower=20.0, upper=1000.0, unit='Hz')
    input_timeout_s: float = parameter(
        0.1, 'A joint stands still this long after its last valid target was received',
        lower=0.02, upper=2.0, unit='s')
    max_stamp_age_s: float = parameter(
        0.25, 'Refuse a target whose frame was acquired longer ago than this when it arrives',
        lower=0.02, upper=5.0, unit='s')
    future_tolerance_s: float = parameter(
        0.02, 'Refuse a target stamped further in the future than this', lower=0.0, upper=1.0,
        unit='s')
    measured_timeout_s: float = parameter(
        0.1, 'A joint stands still this long after its last measurement was received',
        lower=0.02, upper=2.0, unit='s')
    velocity_scale: float = parameter(
        1.0, 'Fraction of the velocity in the URDF that may be used', lower=0.01, upper=1.0)
    max_acceleration_rad_s2: float = parameter(
        80.0, 'Acceleration towards a target, and deceleration before it', lower=1.0,
        upper=1000.0, unit='rad/s^2')
    brake_rad_s2: float = parameter(
        300.0, 'Deceleration where it must be quick; at least max_acceleration_rad_s2',
        lower=1.0, upper=5000.0, unit='rad/s^2')
    start_ramp_s: float = parameter(
        1.5, 'Time in which the speed limit grows from zero to full when the arm starts',
        lower=0.1, upper=30.0, unit='s')
    reengage_ramp_s: float = parameter(
        0.5, 'The same after a hold or a stop', lower=0.05, upper=30.0, unit='s')
    jump_rad: float = parameter(
        1.0, 'A joint whose target moves further than this between two frames waits for the '
        'next frame to confirm it', lower=0.05, upper=10.0, unit='rad')
    restart_error_rad: float = parameter(
        0.2, 'Start again from the measured pose when measurements come back after a break and '
        'differ from the command by more than this', lower=0.02, upper=10.0, unit='rad')
    start_tolerance_rad: float = parameter(
        0.1, 'Do not start from a pose measured further outside the limits than this', lower=0.0,
        upper=1.0, unit='rad')

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check(self)
        if self.brake_rad_s2 < self.max_acceleration_rad_s2:
            raise UserError(
                f'brake_rad_s2 is {self.brake_rad_s2}: give at least max_acceleration_rad_s2, '
                f'{self.max_acceleration_rad_s2}')


@dataclass(frozen=True, eq=False)
class SafetyState:
    """All the filter knows between steps. Arrays have shape (n,), in the table's order.

    Attributes:
        now_s: Time of the last step, or None before the first.
        command: Last command [rad], or None before the arm has been measured whole.
        velocity: Speed of the last command [rad/s].
        goal: Last accepted target, inside the limits [rad]; NaN before the first.
        goal_s: When it was received [s]; -inf before the first.
        pending: Target that jumped and waits for confirmation [rad]; NaN for none.
        measured: Last measurement [rad]; NaN before the first.
        measured_s: When it was received [s]; -inf before the first.
        engaged_s: Since when the joint is followed [s]; -inf once its ramp is over.
        ramp_s: Length of its current or next ramp [s].
        stamp_s: Stamp of the last accepted target [s], or None.
        seen: Stamp and receipt of the last target looked at, to know it again.
        stopped: Whether a stop is latched.
    """

    now_s: float | None
    command: np.ndarray | None
    velocity: np.ndarray
    goal: np.ndarray
    goal_s: np.ndarray
    pending: np.ndarray
    measured: np.ndarray
    measured_s: np.ndarray
    engaged_s: np.ndarray
    ramp_s: np.ndarray
    stamp_s: float | None = None
    seen: tuple[float, float] | None = None
    stopped: bool = False


@dataclass(frozen=True, eq=False)
class Command:
    """What to send, and why it is not simply the target.

    Attributes:
        positions: Shape (n,), [rad], in the table's order, read-only; None while waiting.
        velocities: Shape (n,), speed of this step [rad/s]; None while waiting.
        mode: 'waiting' for measurements, 'ramping' or 'tracking' while at least one joint is
            followed, 'holding' while none is, 'stopped' until resume.
        reasons: One per thing changed or refused: a word of `REASONS`, then the joint's name
            where it concerns one.
        stamp_s: Stamp of the newest frame that this command follows [s], or None.
    """

    positions: np.ndarray | None
    velocities: np.ndarray | None
    mode: str
    reasons: tuple[str, ...]
    stamp_s: float | None


def stop(state: SafetyState) -> SafetyState:
    """Latch a stop: brake, then hold until `resume`."""
    return replace(state, stopped=True)


def resume(state: SafetyState) -> SafetyState:
    """End a stop; the arm follows the next valid target, through the ramp again."""
    if not state.stopped:
        return state
    forgotten = _read_only(np.full_like(state.goal_s, -np.inf))
    return replace(state, stopped=False, goal_s=forgotten, seen=None, stamp_s=None)


class SafetyFilter:
    """Turns targets into commands that are safe to send."""

    def __init__(self, table: JointTable, parameters: SafetyParameters) -> None:
        self.table = table
        self.parameters = parameters
        self._max_velocity = parameters.velocity_scale * table.max_velocity_rad_s

    def initial_state(self) -> SafetyState:
        """Return the state before anything was measured or wanted."""
        def full(value: float) -> np.ndarray:
            return _read_only(np.full(len(self.table), value))

        return SafetyState(
            now_s=None, command=None, velocity=full(0.0), goal=full(np.nan), goal_s=full(-np.inf),
            pending=full(np.nan), measured=full(np.nan), measured_s=full(-np.inf),
            engaged_s=full(-np.inf), ramp_s=full(self.parameters.start_ramp_s))

    def step(
        self, state: SafetyState, target: Target | None, measured: Measured | None, now_s: float,
    ) -> tuple[SafetyState, Command]:
        """Make one command. Pure: nothing given is changed.

        Args:
            state: From `initial_state` or the step before.
            target: The newest target; the same one again or None when there is no newer one.
            measured: The newest measurement, in the same way.
            now_s: The time, on the monotonic clock [s].

        Returns:
            The next state, and the command to send.

        Raises:
            ValueError: `now_s` is not finite, a mistake in the calling program.
        """
        if not math.isfinite(now_s):
            raise ValueError(f'now_s is {now_s}')
        reasons: list[str] = []
        last_s = now_s if state.now_s is None else state.now_s
        if now_s < last_s:
            reasons.append('clock')
            now_s = last_s
        was_held = self._held(state, now_s)
        state = replace(state, now_s=now_s)
        state = self._take_measured(state, measured, now_s, reasons)
        state = self._take_target(state, target, now_s, reasons)
        held = self._held(state, now_s)
        self._explain_holds(state, held, now_s, reasons)
        if state.command is None:
            return state, Command(None, None, 'waiting', tuple(reasons), state.stamp_s)
        engaged_s = np.where(was_held & ~held, now_s, state.engaged_s)
        ramp = np.minimum((now_s - engaged_s) / state.ramp_s, 1.0)
        state = self._move(state, held, ramp, now_s - last_s, reasons)
        state = self._end_ramps(state, held, ramp, engaged_s)
        if state.stopped:
            mode = 'stopped'
        elif held.all():
            mode = 'holding'
        else:
            mode = 'ramping' if (ramp[~held] < 1.0).any() else 'tracking'
        return state, Command(state.command, state.velocity, mode, tuple(reasons), state.stamp_s)

    def _held(self, state: SafetyState, now_s: float) -> np.ndarray:
        """Return which joints are held, shape (n,), bool."""
        if state.stopped:
            return np.ones(len(self.table), dtype=bool)
        late = now_s - state.goal_s >= self.parameters.input_timeout_s
        return late | (now_s - state.measured_s >= self.parameters.measured_timeout_s)

    def _take_measured(
        self, state: SafetyState, measured: Measured | None, now_s: float, reasons: list[str],
    ) -> SafetyState:
        """Note the measurement; seed the command from it at the start and after a break."""
        parameters, table = self.parameters, self.table
        if measured is not None:
            age_s = now_s - measured.received_s
            if not -parameters.future_tolerance_s <= age_s < parameters.measured_timeout_s:
                measured = None
        if measured is None:
            return state
        values = read_measured(measured, table)
        seen = np.isfinite(values)
        back = seen & (now_s - state.measured_s >= parameters.measured_timeout_s)
        if back.any():
            inside = np.clip(values, table.lower_rad, table.upper_rad)
            outside = back & (np.abs(values - inside) > parameters.start_tolerance_rad)
            reasons += named('measured_outside', outside, table)
            seen &= ~outside
            back &= ~outside
        state = replace(
            state,
            measured=_read_only(np.where(seen, values, state.measured)),
            measured_s=_read_only(np.where(seen, measured.received_s, state.measured_s)))
        if state.command is None:
            return self._start(state, now_s)
        moved = back & (np.abs(values - state.command) > parameters.restart_error_rad)
        if not moved.any():
            return state
        reasons += named('restarted', moved, table)
        return replace(
            state,
            command=_read_only(np.where(moved, inside, state.command)),
            velocity=_read_only(np.where(moved, 0.0, state.velocity)),
            ramp_s=_read_only(np.where(moved, parameters.start_ramp_s, state.ramp_s)))

    def _start(self, state: SafetyState, now_s: float) -> SafetyState:
        """Take the measured pose as first command, once every joint has been measured."""
        if (now_s - state.measured_s >= self.parameters.measured_timeout_s).any():
            return state
        inside = np.clip(state.measured, self.table.lower_rad, self.table.upper_rad)
        return replace(state, command=_read_only(inside))

    def _take_target(
        self, state: SafetyState, target: Target | None, now_s: float, reasons: list[str],
    ) -> SafetyState:
        """Accept the target, joint by joint, unless something about it is wrong."""
        if target is None:
            return state
        key = (target.stamp_s, target.received_s)
        new = key != state.seen
        refusals = self._refuse_by_time(state, target, now_s, new)
        values, about_values = read_target(target, self.table)
        reasons += refusals + about_values
        if not new or state.stopped:
            return state
        state = replace(state, seen=key)
        if refusals or values is None:
            return state
        wanted = ~np.isnan(values)
        close = np.abs(values - state.goal) <= self.parameters.jump_rad
        confirmed = np.abs(values - state.pending) <= self.parameters.jump_rad
        # After a hold there is nothing to compare with, and the ramp takes care of the rest.
        lapsed = now_s - state.goal_s >= self.parameters.input_timeout_s
        jumped = wanted & ~(close | confirmed | lapsed)
        reasons += named('jump', jumped, self.table)
        taken = wanted & ~jumped
        return replace(
            state,
            goal=_read_only(np.where(taken, values, state.goal)),
            goal_s=_read_only(np.where(taken, target.received_s, state.goal_s)),
            pending=_read_only(np.where(jumped, values, np.where(taken, np.nan, state.pending))),
            stamp_s=target.stamp_s)

    def _refuse_by_time(
        self, state: SafetyState, target: Target, now_s: float, new: bool,
    ) -> list[str]:
        """Return the reasons to refuse a target for its stamp or its receipt."""
        tolerance_s = self.parameters.future_tolerance_s
        reasons = []
        if target.stamp_age_s < -tolerance_s or not target.received_s <= now_s + tolerance_s:
            reasons.append('future_stamp')
        # Written so that a NaN is refused too.
        if not target.stamp_age_s <= self.parameters.max_stamp_age_s:
            reasons.append('old_stamp')
        if not math.isfinite(target.stamp_s):
            reasons.append('nan')
        elif new and state.stamp_s is not None:
            # The order counts only between neighbours: a ROS clock set back (a bag played
            # again) must not lock the arm out for longer than one hold.
            recent = now_s - state.goal_s.max() < self.parameters.input_timeout_s
            if target.stamp_s == state.stamp_s:
                reasons.append('repeated_stamp')
            elif target.stamp_s < state.stamp_s and recent:
                reasons.append('out_of_order')
        return reasons

    def _explain_holds(
        self, state: SafetyState, held: np.ndarray, now_s: float, reasons: list[str],
    ) -> None:
        """Add why joints are held."""
        if not held.any():
            return
        if state.stopped:
            reasons.append('stopped')
        unmeasured = now_s - state.measured_s >= self.parameters.measured_timeout_s
        if unmeasured.all():
            reasons.append('no_measurement')
        else:
            reasons += named('no_measurement', unmeasured, self.table)
        late = now_s - state.goal_s >= self.parameters.input_timeout_s
        if not late.all():
            reasons += named('omitted', late, self.table)
        elif np.isfinite(state.goal_s).any():
            reasons.append('stale')
        elif 'missing' not in reasons:
            reasons.append('missing')

    def _move(
        self, state: SafetyState, held: np.ndarray, ramp: np.ndarray, elapsed_s: float,
        reasons: list[str],
    ) -> SafetyState:
        """Move the command towards the goal for one step.

        With v the speed of this step, e the way to go and a the acceleration,
        v dt + v^2 / (2 a) = e leaves just enough way to stop by a, whatever the next dt:
        v = 2 e / (dt + sqrt(dt^2 + 2 e / a)).
        """
        parameters, now_s = self.parameters, state.now_s
        assert now_s is not None and state.command is not None
        dt_s = min(elapsed_s, MAX_STEP_CYCLES / parameters.rate_hz)
        if dt_s == 0.0:
            return state
        left_s = np.minimum(
            parameters.input_timeout_s - (now_s - state.goal_s),
            parameters.measured_timeout_s - (now_s - state.measured_s))
        cap = np.minimum(self._max_velocity * ramp, parameters.brake_rad_s2 * left_s)
        cap = np.where(held, 0.0, cap)
        error = np.where(held, 0.0, state.goal - state.command)
        way = np.abs(error)
        acceleration = parameters.max_acceleration_rad_s2
        stoppable = 2.0 * way / (dt_s + np.sqrt(dt_s**2 + 2.0 * way / acceleration))
        wanted = np.copysign(np.minimum(stoppable, cap), error)
        # Seen along the present motion: slowing down may use the brake and all the time that
        # passed, speeding up (also the other way, after a turn) only the acceleration.
        direction = np.copysign(1.0, state.velocity)
        speed = np.abs(state.velocity)
        gain = acceleration * dt_s
        slowest = np.maximum(speed - parameters.brake_rad_s2 * elapsed_s, -gain)
        along = wanted * direction
        velocity = np.minimum(np.maximum(along, slowest), speed + gain) * direction
        followed = ~held
        if (followed & (stoppable > cap + 1e-9)).any():
            reasons.append('velocity')
        if (followed & (np.abs(velocity - wanted) > 1e-9)).any():
            reasons.append('acceleration')
        command = state.command + velocity * dt_s
        # Never needed but for rounding.
        command = np.minimum(np.maximum(command, self.table.lower_rad), self.table.upper_rad)
        return replace(state, command=_read_only(command), velocity=_read_only(velocity))

    def _end_ramps(
        self, state: SafetyState, held: np.ndarray, ramp: np.ndarray, engaged_s: np.ndarray,
    ) -> SafetyState:
        """Note whose ramp is over: only then is the next one the shorter one."""
        over = (ramp >= 1.0) & ~held
        return replace(
            state,
            engaged_s=_read_only(np.where(over, -np.inf, engaged_s)),
            ramp_s=_read_only(np.where(over, self.parameters.reengage_ramp_s, state.ramp_s)))


def _read_only(array: np.ndarray) -> np.ndarray:
    """Return the array itself, protected against being written to."""
    array.flags.writeable = False
    return array
