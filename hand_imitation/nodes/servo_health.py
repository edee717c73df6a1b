"""What the servo driver says on /diagnostics of each servo, and how well it follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hand_imitation.hardware.robot import Robot
from hand_imitation.hardware.servo_arm import ServoState
from hand_imitation.nodes import health
from hand_imitation.nodes.health import Part

STALE_S = 0.1
"""A joint whose last measurement is older is named; the commander then holds it."""


class ServoHealth:
    """Watches the servos, cycle by cycle.

    Args:
        robot: Which servos there are.
    """

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._state: ServoState | None = None
        self._error_sum_rad = np.zeros(len(robot.joints))
        self._error_count = np.zeros(len(robot.joints), dtype=int)
        self._error_rad: np.ndarray = np.full(len(robot.joints), np.nan)

    def reset(self) -> None:
        """Begin a new mean of the following error."""
        self._error_sum_rad[:], self._error_count[:] = 0.0, 0

    def take(self, state: ServoState, targets_rad: np.ndarray | None, fresh: np.ndarray) -> None:
        """Look at one measurement.

        Args:
            state: The measurement.
            targets_rad: Shape (n,), what was commanded last [rad]; None while nothing is.
            fresh: Shape (n,), bool, whose sample is a new one.
        """
        self._state = state
        if targets_rad is None:
            return
        self._error_rad = np.where(
            fresh, np.abs(targets_rad - state.position_rad), self._error_rad)
        self._error_sum_rad[fresh] += self._error_rad[fresh]
        self._error_count[fresh] += 1

    def silent(self) -> list[str]:
        """Return the joints whose last measurement is too old."""
        if self._state is None:
            return []
        return [joint.name for joint, age_s
                in zip(self._robot.joints, self._state.sample_age_s, strict=True)
                if not age_s <= STALE_S]

    def following_error_deg(self) -> np.ndarray:
        """Return the mean absolute following error since `reset`, shape (n,), NaN for none."""
        with np.errstate(invalid='ignore'):
            return np.degrees(self._error_sum_rad / self._error_count)

    def parts(self) -> Sequence[Part]:
        """Return a report for each servo."""
        state, mean_deg = self._state, self.following_error_deg()
        if state is None:
            return ()
        parts = []
        for row, joint in enumerate(self._robot.joints):
            age_s, error = float(state.sample_age_s[row]), state.hardware_error[row]
            level, message = health.OK, 'ok'
            if error:
                level, message = health.ERROR, error
            elif not age_s <= STALE_S:
                level, message = health.ERROR, 'does not answer: check its cable and its power'
            parts.append(Part(joint.name, level, message, f'{joint.model.name} id {joint.id}', {
                'position_rad': f'{state.position_rad[row]:.4f}',
                'temperature_c': f'{state.temperature_c[row]:.0f}',
                'voltage_v': f'{state.voltage_v[row]:.1f}',
                'current_a': f'{state.current_a[row]:.3f}',
                'load': f'{state.load[row]:.3f}',
                'error': error,
                'sample_age_s': f'{age_s:.3f}',
                'following_error_deg': f'{np.degrees(self._error_rad[row]):.2f}',
                'following_error_mean_deg': f'{mean_deg[row]:.2f}',
            }))
        return parts
