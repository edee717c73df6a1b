"""From targets to goals that a servo may be sent: limits, lead, speed."""

from __future__ import annotations

import numpy as np

from hand_imitation.hardware.robot import Robot, TickScale

_SLOW_BELOW_LIMIT_C = 10
_HOT_SPEED = 0.5


class GoalLimiter:
    """Says how far each goal may move; keeps nothing from one call to the next.

    Args:
        robot: How fast the joints may move.
        scale: Between which limits.
        max_lead_rad: How far a goal may be ahead of its joint [rad].
    """

    def __init__(self, robot: Robot, scale: TickScale, max_lead_rad: float) -> None:
        self._scale = scale
        self._max_lead_rad = max_lead_rad
        self._max_velocity_rad_s = np.array([joint.max_velocity_rad_s for joint in robot.joints])

    def step(self, goals_rad: np.ndarray, targets_rad: np.ndarray, present_rad: np.ndarray,
             passed_s: float, speed_share: np.ndarray) -> np.ndarray:
        """Move goals towards targets.

        Args:
            goals_rad: Shape (n,), sent last [rad].
            targets_rad: Shape (n,), where they are to go [rad].
            present_rad: Shape (n,), where the joints are [rad].
            passed_s: Since the goals were sent [s].
            speed_share: Shape (n,), share of its speed that each joint is allowed.

        Returns:
            Shape (n,), [rad]: inside the limits, near the joints, and not too fast. Where these
            contradict each other, too fast is what it never is.
        """
        wanted = np.clip(targets_rad, self._scale.lower_rad, self._scale.upper_rad)
        wanted = np.clip(wanted, present_rad - self._max_lead_rad,
                         present_rad + self._max_lead_rad)
        wanted = np.clip(wanted, self._scale.lower_rad, self._scale.upper_rad)
        most = self._max_velocity_rad_s * speed_share * passed_s
        return goals_rad + np.clip(wanted - goals_rad, -most, most)


def speed_share(temperature_c: np.ndarray, limit_c: np.ndarray) -> np.ndarray:
    """Share of its speed that each joint is allowed, by its servo's temperature.

    Args:
        temperature_c: Shape (n,), [degrees Celsius].
        limit_c: Shape (n,), at which the servos switch off [degrees Celsius].
    """
    return np.where(temperature_c >= limit_c - _SLOW_BELOW_LIMIT_C, _HOT_SPEED, 1.0)
