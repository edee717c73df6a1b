"""An independent count of what the safety filter promises never to let through.

Written without the filter's code or its idea of state: it looks at nothing but the numbers
that were sent and measured, joint by joint, by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hand_imitation.arm.joint_table import JointTable

COMMAND_TOLERANCE_RAD = 1e-6
"""A command beyond a limit by no more than this is rounding."""

SPEED_TOLERANCE = 0.01
"""A command faster than a joint's velocity by no more than this fraction is rounding."""

SEED_AGE_S = 0.1
"""How old a measurement may be to excuse a command that goes where the arm already is."""


class CommandAuditor:
    """Counts violations in a stream of commands and measurements.

    A command counts once per joint and kind of violation. A step that is too fast is excused
    when it goes to where the joint was just measured, since it asks for no motion: so the
    filter starts again after the arm came back at another pose.

    Attributes:
        counts: Violations by kind: 'command_form' (a joint missing, twice or unknown),
            'command_position', 'command_speed', 'measured_position'.
        first: What the first violation was, in words, or None.
    """

    def __init__(
        self, table: JointTable, measured_tolerance_rad: float = math.radians(2.0),
    ) -> None:
        """Start with nothing counted.

        Args:
            table: The arm's joints.
            measured_tolerance_rad: A measured joint may be beyond its limit by this [rad]: the
                arm sags and overshoots, and its sensor has play.
        """
        self.counts = dict.fromkeys(
            ('command_form', 'command_position', 'command_speed', 'measured_position'), 0)
        self.first: str | None = None
        self._measured_tolerance_rad = measured_tolerance_rad
        self._lower = {n: float(v) for n, v in zip(table.names, table.lower_rad, strict=True)}
        self._upper = {n: float(v) for n, v in zip(table.names, table.upper_rad, strict=True)}
        self._speed = {
            n: float(v) for n, v in zip(table.names, table.max_velocity_rad_s, strict=True)}
        self._last_command: dict[str, tuple[float, float]] = {}
        self._last_measured: dict[str, tuple[float, float]] = {}

    @property
    def limit_violations(self) -> int:
        """Violations of every kind together."""
        return sum(self.counts.values())

    def command(
        self, names: Sequence[str], positions: Sequence[float] | np.ndarray, time_s: float,
    ) -> None:
        """Look at one command.

        Args:
            names: Joint names, without prefix.
            positions: One angle per name [rad].
            time_s: When it was made [s], on any one clock. The time of arrival will not do:
                commands that bunch up on their way look faster than they are.
        """
        if len(names) != len(positions) or sorted(names) != sorted(self._lower):
            self._count('command_form', f'command with {len(names)} names at {time_s:.3f} s')
        for name, value in zip(names, positions, strict=False):
            if name not in self._lower:
                continue
            position = float(value)
            if not self._inside(name, position, COMMAND_TOLERANCE_RAD):
                self._count('command_position', f'{name} sent to {position:.4f} rad')
            if not self._slow_enough(name, position, time_s):
                self._count('command_speed', f'{name} sent to {position:.4f} rad too fast')
            if math.isfinite(position):
                self._last_command[name] = (position, time_s)

    def measured(
        self, names: Sequence[str], positions: Sequence[float] | np.ndarray, time_s: float,
    ) -> None:
        """Look at one measurement; joints that are not the arm's are ignored.

        Args:
            names: Joint names, without prefix.
            positions: One angle per name [rad]; NaN says that there is none.
            time_s: When it was measured [s], on the clock of the commands.
        """
        for name, value in zip(names, positions, strict=False):
            position = float(value)
            if name not in self._lower or math.isnan(position):
                continue
            if not self._inside(name, position, self._measured_tolerance_rad):
                self._count('measured_position', f'{name} measured at {position:.4f} rad')
            self._last_measured[name] = (position, time_s)

    def _inside(self, name: str, position: float, tolerance_rad: float) -> bool:
        # False for NaN, too.
        lower, upper = self._lower[name] - tolerance_rad, self._upper[name] + tolerance_rad
        return lower <= position <= upper

    def _slow_enough(self, name: str, position: float, time_s: float) -> bool:
        if name not in self._last_command:
            return True
        before, before_s = self._last_command[name]
        allowed_rad = self._speed[name] * max(time_s - before_s, 0.0) * (1.0 + SPEED_TOLERANCE)
        # What is not finite was counted as a position and has no speed.
        if not math.isfinite(position) or abs(position - before) <= allowed_rad + 1e-12:
            return True
        measured, measured_s = self._last_measured.get(name, (math.nan, -math.inf))
        return (
            abs(time_s - measured_s) <= SEED_AGE_S
            and abs(position - measured) <= self._measured_tolerance_rad)

    def _count(self, kind: str, words: str) -> None:
        self.counts[kind] += 1
        if self.first is None:
            self.first = words
