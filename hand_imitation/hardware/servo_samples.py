"""What was measured of each servo last, when, and whether to believe it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hand_imitation.arm.driver import ArmState
from hand_imitation.hardware.registers import Model
from hand_imitation.hardware.robot import Robot, TickScale

_JUMP_TICKS = 30
_JUMP_SPEED = 2.0
"""A servo that seems to move faster than this many times its no-load speed is asked again."""
_JUMP_C = 5.0
"""No servo warms faster than this between two measurements."""


@dataclass(frozen=True, eq=False)
class ServoState(ArmState):
    """One measurement of an arm of servos; arrays have shape (n,), in the joint table's order.

    What a servo has never said is NaN. A joint whose servo was silent keeps its last values,
    and its age grows.

    Attributes:
        sample_age_s: Since position, velocity and effort of each joint were asked for [s].
        ticks: Count of each servo, as read.
        temperature_c: [degrees Celsius].
        voltage_v: [V].
        current_a: Current, signed like the effort; NaN for servos that measure load only [A].
        load: Effort as a share of the full one, signed like the effort.
        hardware_error: For each servo what trouble it is in and what to do, or ''.
        retries: Questions asked again since the bus was opened.
        cycle_s: Time spent on the bus for this measurement and the command before it [s].
    """

    sample_age_s: np.ndarray
    ticks: np.ndarray
    temperature_c: np.ndarray
    voltage_v: np.ndarray
    current_a: np.ndarray
    load: np.ndarray
    hardware_error: tuple[str, ...]
    retries: int
    cycle_s: float


class Samples:
    """The newest values of every servo.

    Args:
        robot: Which servos there are.
        scale: Turns their counts into joint angles.

    Attributes:
        motion_s: Shape (n,), when each servo's motion was asked for [s].
        status_s: Shape (n,), when each servo's status was asked for [s].
        ticks: Shape (n,), counts.
        temperature_c: Shape (n,), [degrees Celsius].
        trouble: For each servo what is wrong with it, or ''.
    """

    def __init__(self, robot: Robot, scale: TickScale) -> None:
        count = len(robot.joints)
        self._models = [joint.model for joint in robot.joints]
        self._scale = scale
        self.motion_s = np.full(count, -math.inf)
        self.status_s = np.full(count, -math.inf)
        self.ticks = np.full(count, math.nan)
        self.temperature_c = np.full(count, math.nan)
        self.trouble = [''] * count
        self._velocity = np.full(count, math.nan)
        self._voltage_v = np.full(count, math.nan)
        self._current_a = np.full(count, math.nan)
        self._load = np.full(count, math.nan)
        self._doubted: list[tuple[float, float] | None] = [None] * count
        self._doubted_c = np.full(count, math.nan)
        gear = np.array([joint.gear_ratio for joint in robot.joints])
        self._direction = np.sign(scale.velocity_to_rad_s(np.ones(count)))
        stall_nm = np.array([model.stall_torque_nm for model in self._models])
        self._full_effort_nm = stall_nm * gear

    def take(self, row: int, values: Mapping[str, int], asked_s: float) -> bool:
        """Take what a servo said of itself, if it is possible.

        A count that no servo could have reached since the last one is taken only when another
        one confirms it: Feetech's checksum lets one wrong packet in 256 through.

        Args:
            row: Which servo.
            values: By the names of its registers, the position among them.
            asked_s: When it was asked [s].

        Returns:
            Whether it was taken.
        """
        ticks = float(values['present_position'])
        if not self._possible(row, ticks, asked_s):
            doubted = self._doubted[row]
            self._doubted[row] = (ticks, asked_s)
            if doubted is None or not self._near(row, doubted, ticks, asked_s):
                return False
        self._doubted[row] = None
        model = self._models[row]
        self.ticks[row], self.motion_s[row] = ticks, asked_s
        self._velocity[row] = values['present_velocity']
        self._take_effort(row, model, values)
        if 'present_temperature' in values:
            self._take_temperature(row, float(values['present_temperature']))
            self._voltage_v[row] = values['present_voltage'] * 0.1
        return True

    def _take_temperature(self, row: int, celsius: float) -> None:
        """Take a temperature; one that differs much from the last one only when it is repeated."""
        if abs(celsius - self.temperature_c[row]) > _JUMP_C:
            self._doubted_c[row], celsius = celsius, (
                celsius if abs(celsius - self._doubted_c[row]) <= _JUMP_C
                else float(self.temperature_c[row]))
        self.temperature_c[row] = celsius

    def _take_effort(self, row: int, model: Model, values: Mapping[str, int]) -> None:
        direction = self._direction[row]
        if 'present_current' in values:
            self._current_a[row] = values['present_current'] * model.current_unit_a * direction
        if 'present_load' in values:
            self._load[row] = values['present_load'] * model.load_unit * direction
        else:
            self._load[row] = self._current_a[row] / model.stall_current_a

    def _possible(self, row: int, ticks: float, asked_s: float) -> bool:
        if not math.isfinite(self.ticks[row]):
            return True
        return self._near(row, (float(self.ticks[row]), float(self.motion_s[row])), ticks, asked_s)

    def _near(self, row: int, before: tuple[float, float], ticks: float, asked_s: float) -> bool:
        """Say whether a servo can have come from one count to another in the time between."""
        model = self._models[row]
        turn = model.ticks_per_turn
        way = abs((ticks - before[0] + turn / 2) % turn - turn / 2)
        speed = _JUMP_SPEED * model.no_load_speed_rad_s / model.rad_per_tick
        return way <= _JUMP_TICKS + speed * (asked_s - before[1])

    def positions_rad(self) -> np.ndarray:
        """Return the joint angles, shape (n,), [rad]."""
        return self._scale.to_rad(self.ticks)

    def age_s(self, now_s: float) -> np.ndarray:
        """Return the age of the motion of each servo, shape (n,), [s]."""
        return now_s - self.motion_s

    def state(self, now_s: float, trouble: Sequence[str], retries: int,
              cycle_s: float) -> ServoState:
        """Put everything together."""
        return ServoState(
            position_rad=self.positions_rad(),
            velocity_rad_s=self._scale.velocity_to_rad_s(self._velocity),
            # Of the motor at its usual voltage, so an estimate.
            effort_nm=self._full_effort_nm * self._load,
            stamp_s=now_s, sample_age_s=self.age_s(now_s), ticks=self.ticks.copy(),
            temperature_c=self.temperature_c.copy(), voltage_v=self._voltage_v.copy(),
            current_a=self._current_a.copy(), load=self._load.copy(),
            hardware_error=tuple(trouble), retries=retries, cycle_s=cycle_s)
