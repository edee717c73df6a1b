"""The mechanics of a servo: speed, acceleration, inertia, load, current, heat.

Torque is counted in fractions of the stall torque t, speed relative to the no-load speed w0. A DC
motor behind a gearbox then obeys dw/dt = w0/tau * (u - w/w0 - load - friction), where u is the
voltage applied, as a fraction of the nominal, and tau the time constant of inertia.
"""

from __future__ import annotations

import math
from typing import Literal

from hand_imitation.hardware.registers import Model

STEP_S = 0.002
"""Of the integration, [s]."""
AMBIENT_C = 28.0

_INERTIA_S = 0.03  # time constant of a servo with a finger's link on it
_LOOP_RAD_S = 45.0  # natural frequency of the position loop, critically damped
_FRICTION = 0.01
_STICTION = 1.5  # times friction, below `_CREEP_RAD_S`
_CREEP_RAD_S = 0.003
_GEARBOX_DRAG = 0.15  # of a motor without current, turned from its output
_STALL_HEAT_C = 160.0  # above ambient, after long stalling
_HEAT_S = 120.0  # time constant of heating and cooling
_HAND_SPEED_RAD_S = 2.0  # at which a hand turns a limp servo


class Motor:
    """A geared motor with its position loop.

    Attributes:
        position_rad: Angle of the output, counted from tick 0, over any number of turns [rad].
        velocity_rad_s: [rad/s].
        torque: Fraction of the stall torque, signed.
        temperature_c: [C].
        strained_s: For how long the torque has been above `strain_limit` without a break [s].
        on: Whether there is current.
        mode: What the goal is about; 'brake' stops as fast as possible and stays there.
        goal: [rad], [rad/s] or fraction of the stall torque, by mode.
        max_velocity_rad_s: Of the motion to the goal [rad/s].
        max_acceleration_rad_s2: Of the motion to the goal [rad/s^2].
        torque_limit: Fraction of the stall torque.
        strain_limit: See `strained_s`.
        voltage: Supplied, fraction of the nominal.
        load: Torque from outside, fraction of the stall torque.
        jammed: Whether something holds the output fast.
        heating_c_s: Heat from outside [C/s].
        hand_rad: Where a hand is turning it [rad]; None for no hand.
    """

    def __init__(self, model: Model, position_rad: float) -> None:
        self.position_rad = position_rad
        self.velocity_rad_s = 0.0
        self.torque = 0.0
        self.temperature_c = AMBIENT_C
        self.strained_s = 0.0
        self.on = False
        self.mode: Literal['position', 'velocity', 'torque', 'brake'] = 'position'
        self.goal = position_rad
        self.max_velocity_rad_s = math.inf
        self.max_acceleration_rad_s2 = math.inf
        self.torque_limit = 1.0
        self.strain_limit = 0.85
        self.voltage = 1.0
        self.load = 0.0
        self.jammed = False
        self.heating_c_s = 0.0
        self.hand_rad: float | None = None
        self._no_load_rad_s = model.no_load_speed_rad_s
        self._kp = _LOOP_RAD_S ** 2 * _INERTIA_S / model.no_load_speed_rad_s
        self._kd = (2 * _LOOP_RAD_S * _INERTIA_S - 1) / model.no_load_speed_rad_s
        self._reference_rad = position_rad
        self._reference_rad_s = 0.0
        self._rest_s = 0.0

    def switch(self, on: bool) -> None:
        """Switch the current on or off; the motion to the goal begins where the output is."""
        self.on = on
        self._reference_rad = self.position_rad
        self._reference_rad_s = 0.0

    def advance(self, duration_s: float) -> bool:
        """Let time pass, and say whether that made a step; the rest is kept for the next call."""
        self._rest_s += duration_s
        if self._rest_s < STEP_S:
            return False
        steps = int(self._rest_s / STEP_S)
        self._rest_s -= steps * STEP_S
        while steps > 0:
            # Where nothing moves and nothing is about to, all steps that remain are the same.
            count = steps if self._step() else 1
            self._heat(count * STEP_S)
            strained = abs(self.torque) > self.strain_limit
            self.strained_s = self.strained_s + count * STEP_S if strained else 0.0
            steps -= count
        return True

    def _step(self) -> bool:
        """Make one step; say whether the motor was and stays at rest."""
        before_rad, before_rad_s = self.position_rad, self.velocity_rad_s
        if not self.on and self.hand_rad is not None:
            return self._follow_hand()
        drive = self._drive() if self.on else 0.0
        emf = self.velocity_rad_s / self._no_load_rad_s if self.on else 0.0
        limit = self.torque_limit if self.on else 0.0
        self.torque = min(max(drive * self.voltage - emf, -limit), limit)
        if self.jammed:
            self.velocity_rad_s = 0.0
            return self.torque in (-limit, limit)
        gain = self._no_load_rad_s / _INERTIA_S * STEP_S
        free_rad_s = before_rad_s + gain * (self.torque - self.load)
        friction = _FRICTION if self.on else _GEARBOX_DRAG
        speed = max(abs(free_rad_s) - gain * friction, 0.0)
        if speed < _CREEP_RAD_S and abs(self.torque - self.load) < _STICTION * friction:
            speed = 0.0
        self.velocity_rad_s = math.copysign(speed, free_rad_s)
        if self.mode == 'brake' and self.velocity_rad_s * before_rad_s <= 0:
            self._hold()
        self.position_rad = before_rad + self.velocity_rad_s * STEP_S
        return (before_rad_s == self.velocity_rad_s == self._reference_rad_s == 0.0
                and (not self.on or self.mode != 'position' or self._reference_rad == self.goal))

    def _drive(self) -> float:
        """Return the voltage the servo's own loop applies, between -1 and 1."""
        if self.mode == 'torque':
            return min(max(self.goal + self.velocity_rad_s / self._no_load_rad_s, -1.0), 1.0)
        if self.mode == 'brake':
            return -math.copysign(1.0, self.velocity_rad_s) if self.velocity_rad_s else 0.0
        self._move_reference()
        drive = (self._kp * (self._reference_rad - self.position_rad)
                 + self._kd * (self._reference_rad_s - self.velocity_rad_s)
                 + self._reference_rad_s / self._no_load_rad_s)
        return min(max(drive, -1.0), 1.0)

    def _move_reference(self) -> None:
        """Move what the position loop follows towards the goal, by a trapezoid of speed."""
        acceleration = self.max_acceleration_rad_s2
        distance = self.goal - self._reference_rad
        if self.mode == 'velocity':
            wanted = self.goal
        elif distance == self._reference_rad_s == 0.0:
            return
        elif self.max_velocity_rad_s == acceleration == math.inf:
            self._reference_rad, self._reference_rad_s = self.goal, 0.0
            return
        else:
            speed = min(self.max_velocity_rad_s, abs(distance) / STEP_S,
                        math.sqrt(2 * acceleration * abs(distance)))
            wanted = math.copysign(speed, distance)
        change = wanted - self._reference_rad_s
        limit = acceleration * STEP_S
        self._reference_rad_s += min(max(change, -limit), limit)
        self._reference_rad += self._reference_rad_s * STEP_S
        if (self.mode == 'position' and abs(self.goal - self._reference_rad) < 1e-6
                and abs(self._reference_rad_s) <= max(limit, 1e-3)):
            self._reference_rad, self._reference_rad_s = self.goal, 0.0

    def _hold(self) -> None:
        """Stay where the brake has brought the output to a halt."""
        self.mode, self.goal = 'position', self.position_rad
        self.velocity_rad_s = 0.0
        self._reference_rad, self._reference_rad_s = self.position_rad, 0.0

    def _follow_hand(self) -> bool:
        assert self.hand_rad is not None
        distance = self.hand_rad - self.position_rad
        self.torque = 0.0
        self.velocity_rad_s = math.copysign(
            min(_HAND_SPEED_RAD_S, abs(distance) / STEP_S), distance)
        self.position_rad += self.velocity_rad_s * STEP_S
        return distance == 0.0

    def _heat(self, duration_s: float) -> None:
        """Approach the temperature at which heating and cooling are in balance."""
        balance = AMBIENT_C + _STALL_HEAT_C * self.torque ** 2 + self.heating_c_s * _HEAT_S
        fraction = 1 - math.exp(-duration_s / _HEAT_S)
        self.temperature_c += fraction * (balance - self.temperature_c)
