"""What silence of the commander leads to, step by step: warn, hold, torque off.

A commander that holds the arm still speaks at full rate. Silence means that it is dead, and only
silence goes further than a hold. Pure: the time is passed in.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from hand_imitation.errors import UserError
from hand_imitation.parameters import check, parameter


class Tier(enum.IntEnum):
    """How far it has come; a larger one is worse."""

    FOLLOW = 0
    WARN = 1
    HOLD = 2
    TORQUE_OFF = 3


@dataclass(frozen=True)
class WatchdogParameters:
    """When each step is taken, counted from the last command that was accepted."""

    warn_after_s: float = parameter(
        0.05, 'Warn when the commander has been silent for this long', lower=0.01, upper=10.0,
        unit='s')
    hold_after_s: float = parameter(
        0.1, 'Stop where the servos were last sent to when it has been silent for this long',
        lower=0.02, upper=10.0, unit='s')
    torque_off_after_s: float = parameter(
        2.0, 'Switch the motors off when it has been silent for this long', lower=0.1,
        upper=600.0, unit='s')
    first_command_s: float = parameter(
        30.0, 'Switch the motors off when no command comes within this time of arming',
        lower=1.0, upper=3600.0, unit='s')

    def __post_init__(self) -> None:
        """Refuse values out of range or out of order."""
        check(self)
        if not self.warn_after_s <= self.hold_after_s <= self.torque_off_after_s:
            raise UserError(
                'the watchdog warns, holds and switches off in this order: give warn_after_s <= '
                'hold_after_s <= torque_off_after_s')


class Watchdog:
    """Judges the silence of the commander while the motors are on.

    Args:
        parameters: The times.
    """

    def __init__(self, parameters: WatchdogParameters) -> None:
        self.parameters = parameters
        self._armed_s = math.inf
        self._heard_s: float | None = None

    def armed(self, now_s: float) -> None:
        """Note that the motors were switched on; what was heard before does not count."""
        self._armed_s, self._heard_s = now_s, None

    def heard(self, now_s: float) -> None:
        """Note that a command was accepted."""
        self._heard_s = now_s

    def silence_s(self, now_s: float) -> float | None:
        """Return the time since the last command [s], or None before the first."""
        return None if self._heard_s is None else now_s - self._heard_s

    def tier(self, now_s: float) -> Tier:
        """Say how far the silence has come.

        Args:
            now_s: The time [s], on the clock of `armed` and `heard`.

        Returns:
            FOLLOW before the first command too: the arm then holds the pose it was armed in.
        """
        silence_s = self.silence_s(now_s)
        if silence_s is None:
            late = now_s - self._armed_s >= self.parameters.first_command_s
            return Tier.TORQUE_OFF if late else Tier.FOLLOW
        if silence_s >= self.parameters.torque_off_after_s:
            return Tier.TORQUE_OFF
        if silence_s >= self.parameters.hold_after_s:
            return Tier.HOLD
        return Tier.WARN if silence_s >= self.parameters.warn_after_s else Tier.FOLLOW
