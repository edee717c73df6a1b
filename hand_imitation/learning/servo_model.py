"""Hobby servos as they are: slow, late, loaded, with play in their gears and noise in readings.

One model for many arms, in numpy. Numbers are drawn anew for every arm and episode, so that what
is learned fits servos it has not met.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from hand_imitation.arm.joint_table import JointTable

RATE_HZ = 240


@dataclass(frozen=True)
class ServoRanges:
    """Between what the numbers of servos are drawn, low and high; each joint gets its own.

    Attributes:
        speed: Top speed, as a share of the joint's limit in the URDF.
        lag_s: Time constant with which a servo approaches its goal: 1 / (proportional gain) [s].
        acceleration_s: Time from rest to top speed [s].
        delay_s: From the command's being sent until the servo acts on it; one for the arm [s].
        load_rad: Sag from gravity and friction: how far from its goal a servo stops [rad].
        backlash_rad: Play between the servo and the joint [rad].
        noise_rad: Standard deviation of measured positions [rad].
    """

    speed: tuple[float, float] = (0.5, 1.0)
    lag_s: tuple[float, float] = (0.02, 0.10)
    acceleration_s: tuple[float, float] = (0.01, 0.06)
    delay_s: tuple[float, float] = (0.005, 0.060)
    load_rad: tuple[float, float] = (0.0, 0.05)
    backlash_rad: tuple[float, float] = (0.0, 0.03)
    noise_rad: tuple[float, float] = (0.0, 0.01)


IDEAL = ServoRanges(speed=(1.0, 1.0), lag_s=(0.01, 0.01), acceleration_s=(0.0, 0.0),
                    delay_s=(0.0, 0.0), load_rad=(0.0, 0.0), backlash_rad=(0.0, 0.0),
                    noise_rad=(0.0, 0.0))
"""Servos without faults, for comparison."""


class ServoModel:
    """The servos of some arms.

    In each step of 1/240 s the shaft's speed goes for (goal - shaft) / lag, at most the top
    speed, changing at most by top speed / acceleration time; then the joint follows the shaft
    once the play is used up. Load pulls the goal away by a constant.
    """

    def __init__(self, count: int, table: JointTable, ranges: ServoRanges | None = None) -> None:
        """Make servos; `reset` draws their numbers.

        Args:
            count: How many arms.
            table: Their joints.
            ranges: Between what numbers are drawn.
        """
        self._table = table
        self._ranges = ranges or ServoRanges()
        shape = count, len(table)
        self.values = {field.name: np.zeros(shape) for field in fields(ServoRanges)}
        self._shaft, self._joint, self._speed = (np.zeros(shape) for _ in range(3))
        longest_s = max(self._ranges.delay_s)
        # The commands on their way, the newest first.
        self._sent = np.zeros((count, round(longest_s * RATE_HZ) + 1, len(table)))
        self._late = np.zeros(count, dtype=int)

    def reset(self, which: np.ndarray, positions_rad: np.ndarray,
              random: np.random.Generator) -> None:
        """Give some arms new servos, at rest.

        Args:
            which: Shape (k,), numbers of the arms.
            positions_rad: Shape (k, n), where they stand [rad].
            random: Where to draw from.
        """
        shape = len(which), len(self._table)
        for field in fields(ServoRanges):
            low, high = getattr(self._ranges, field.name)
            drawn = random.uniform(low, high, shape)
            if field.name == 'load_rad':
                drawn *= random.choice([-1.0, 1.0], shape)
            self.values[field.name][which] = drawn
        self._late[which] = np.round(self.values['delay_s'][which, 0] * RATE_HZ)
        self._shaft[which] = self._joint[which] = positions_rad
        self._speed[which] = 0.0
        self._sent[which] = positions_rad[:, np.newaxis]

    def step(self, commands_rad: np.ndarray, steps: int) -> None:
        """Let time pass with the same command.

        Args:
            commands_rad: Shape (m, n) [rad].
            steps: How many steps of 1/240 s.
        """
        values = self.values
        top = values['speed'] * self._table.max_velocity_rad_s
        change = top / np.maximum(values['acceleration_s'] * RATE_HZ, 1.0)
        gain = 1.0 / np.maximum(values['lag_s'], 1.0 / RATE_HZ)
        play = values['backlash_rad'] / 2.0
        arms = np.arange(len(commands_rad))
        for _ in range(steps):
            self._sent[:, 1:] = self._sent[:, :-1]
            self._sent[:, 0] = commands_rad
            goal = self._sent[arms, self._late] + values['load_rad']
            wanted = np.clip((goal - self._shaft) * gain, -top, top)
            self._speed += np.clip(wanted - self._speed, -change, change)
            self._shaft += self._speed / RATE_HZ
            np.clip(self._joint, self._shaft - play, self._shaft + play, out=self._joint)
            np.clip(self._joint, self._table.lower_rad, self._table.upper_rad, out=self._joint)

    def positions(self) -> np.ndarray:
        """Where the joints truly are: shape (m, n) [rad]."""
        return self._joint.copy()

    def measured(self, random: np.random.Generator) -> np.ndarray:
        """What the servos report: shape (m, n) [rad].

        Args:
            random: For the noise.
        """
        return self._joint + random.normal(size=self._joint.shape) * self.values['noise_rad']
