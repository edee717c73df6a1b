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
from dataclasses import replace

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety_inputs import named, read_measured, read_target
from hand_imitation.arm.safety_types import (
    REASONS,
    Command,
    Measured,
    SafetyParameters,
    SafetyState,
    Target,
)

__all__ = [
    'REASONS', 'Command', 'Measured', 'SafetyFilter', 'SafetyParameters', 'SafetyState', 'Target',
    'resume', 'stop',
]

MAX_STEP_CYCLES = 3
"""A pause longer than this many cycles moves the arm no further than this many."""


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
        state = self._take_measured(state, measured, now_s, reasons)
        state = self._take_target(state, target, now_s, reasons)
        held = self._held(state, now_s)
        self._explain_holds(state, held, now_s, reasons)
        if state.command is None:
            waiting = Command(None, None, 'waiting', tuple(reasons), state.stamp_s)
            return replace(state, now_s=now_s), waiting
        engaging = was_held & ~held
        if engaging.any():
            engaged_s = np.where(engaging, now_s, state.engaged_s)
            state = replace(state, engaged_s=_read_only(engaged_s))
        ramp = np.minimum((now_s - state.engaged_s) / state.ramp_s, 1.0)
        state = self._move(state, held, ramp, now_s, now_s - last_s, reasons)
        state = self._end_ramps(state, held, ramp)
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
        if refusals or values is None:
            return replace(state, seen=key)
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
            seen=key,
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
        self, state: SafetyState, held: np.ndarray, ramp: np.ndarray, now_s: float,
        elapsed_s: float, reasons: list[str],
    ) -> SafetyState:
        """Move the command towards the goal for one step.

        With v the speed of this step, e the way to go and a the acceleration,
        v dt + v^2 / (2 a) = e leaves just enough way to stop by a, whatever the next dt:
        v = 2 e / (dt + sqrt(dt^2 + 2 e / a)).
        """
        parameters = self.parameters
        dt_s = min(elapsed_s, MAX_STEP_CYCLES / parameters.rate_hz)
        if dt_s == 0.0 or state.command is None:
            return replace(state, now_s=now_s)
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
        return replace(
            state, now_s=now_s, command=_read_only(command), velocity=_read_only(velocity))

    def _end_ramps(
        self, state: SafetyState, held: np.ndarray, ramp: np.ndarray,
    ) -> SafetyState:
        """Note whose ramp is over: only then is the next one the shorter one."""
        over = (ramp >= 1.0) & ~held & (state.engaged_s > -np.inf)
        if not over.any():
            return state
        reengage_s = self.parameters.reengage_ramp_s
        return replace(
            state,
            engaged_s=_read_only(np.where(over, -np.inf, state.engaged_s)),
            ramp_s=_read_only(np.where(over, reengage_s, state.ramp_s)))


def _read_only(array: np.ndarray) -> np.ndarray:
    """Return the array itself, protected against being written to."""
    array.flags.writeable = False
    return array
