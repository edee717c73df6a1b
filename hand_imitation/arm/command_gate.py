"""Judges each command that arrives for an arm, and how the first one after arming comes about.

The commander may have followed a hand while the motors were off, and be far from where the arm
is. It starts again from the measured pose, slowly, when measurements come back after a break:
so an arm that is armed keeps its joint states to itself for a moment. A command that still
begins elsewhere is refused, and the break is tried again, longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hand_imitation.arm.joint_table import JointTable

MAX_START_RAD = 0.3
"""The first command must be this near to the measured pose. A commander that has measured the
arm begins there; one that still holds the pose of an arm that died would make it jump."""
_PATIENCE_S = 0.3
"""After a break, time for the commander to begin again."""
_LONGEST_BREAK_S = 2.5
"""Longer than any timeout for measurements that the commander may be given."""


class CommandGate:
    """Lets a command through or says why not. Pure: the time is passed in.

    Args:
        table: The arm's joints.
        break_s: For how long joint states are withheld when the arm is armed [s]; 0 for never.
    """

    def __init__(self, table: JointTable, break_s: float = 0.0) -> None:
        self._table = table
        self._first_break_s = self._break_s = break_s
        self._break_end_s = -math.inf
        self._begun = False

    def armed(self, now_s: float) -> None:
        """Note that the arm was armed: the next command is a first one.

        Args:
            now_s: The time [s], on any clock.
        """
        self._begun = False
        self._break_s = self._first_break_s
        self._break_end_s = now_s + self._break_s

    def withholds_states(self, now_s: float) -> bool:
        """Tell whether joint states are to be withheld now."""
        return now_s < self._break_end_s

    def targets(
        self, points: int, names: Sequence[str], positions: Sequence[float],
        measured_rad: np.ndarray, now_s: float,
    ) -> np.ndarray:
        """Return the targets of a command.

        Args:
            points: How many points the trajectory has.
            names: Joint names of the command, without prefix.
            positions: One angle per name [rad].
            measured_rad: Shape (n,), where the joints are; NaN where that is not known.
            now_s: The time [s], on the clock of `armed`.

        Returns:
            Shape (n,), [rad], in the table's order.

        Raises:
            ValueError: The command is refused; says why.
        """
        if points != 1:
            raise ValueError(f'{points} points instead of one')
        targets = self._table.reorder(names, positions)
        if not np.isfinite(targets).all():
            lacking = [n for n, t in zip(self._table.names, targets, strict=True)
                       if not math.isfinite(t)]
            raise ValueError(f'no finite position for {", ".join(lacking)}')
        if not self._begun:
            self._judge_start(targets, measured_rad, now_s)
            self._begun = True
        return targets

    def _judge_start(self, targets: np.ndarray, measured_rad: np.ndarray, now_s: float) -> None:
        """Raise ValueError unless the arm may begin here and now."""
        if self.withholds_states(now_s):
            raise ValueError('it was made before the arm was armed')
        way_rad = np.abs(targets - measured_rad)
        # Written so that a NaN, a joint without a measurement, is refused too.
        if (way_rad <= MAX_START_RAD).all():
            return
        if self._break_s > 0.0 and now_s > self._break_end_s + _PATIENCE_S:
            self._break_s = min(2.0 * self._break_s, _LONGEST_BREAK_S)
            self._break_end_s = now_s + self._break_s
        if not np.isfinite(way_rad).all():
            raise ValueError('not all joints have been measured')
        raise ValueError(f'it begins {way_rad.max():.2f} rad from the measured pose')
