"""Arms that move: many at once, in PyBullet or by a model of their motors alone."""

from __future__ import annotations

import os
import sys
from typing import Protocol

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.simulation import PHYSICS_RATE_HZ, SimulatedArm
from hand_imitation.errors import UserError

PHYSICS_STEPS = 8
"""Physics steps in a step of the environment, as many as the original makes."""

_POSITION_GAIN = 0.15
"""Share of its error that a motor removes in a physics step, as in `SimulatedArm`."""

PHYSICS = ('pybullet', 'motors')


class ArmWorld(Protocol):
    """Some arms of one kind."""

    def place(self, which: np.ndarray, positions_rad: np.ndarray) -> None:
        """Put arms somewhere at once, at rest.

        Args:
            which: Shape (k,), numbers of the arms.
            positions_rad: Shape (k, n) [rad].
        """

    def move(self, targets_rad: np.ndarray, steps: int = PHYSICS_STEPS) -> None:
        """Let every motor go for its target.

        Args:
            targets_rad: Shape (m, n) [rad], within the limits.
            steps: Number of physics steps.
        """

    def positions(self) -> np.ndarray:
        """Measure all arms: shape (m, n) [rad]."""

    def close(self) -> None:
        """End it."""


def make_world(physics: str, count: int, description: str, table: JointTable,
               gui: bool = False) -> ArmWorld:
    """Make arms.

    Args:
        physics: 'pybullet': rigid bodies, gravity, collisions; or 'motors': only what the motors
            do, ten times as fast. They stay within half a degree of each other on average.
        count: How many arms.
        description: URDF text.
        table: Its joints.
        gui: Show the first arm in PyBullet's window.

    Returns:
        The arms, at the zero pose.

    Raises:
        UserError: There is no such physics, or no window for it.
    """
    if physics not in PHYSICS:
        raise UserError(f"no physics '{physics}': choose one of {', '.join(PHYSICS)}")
    if gui and sys.platform.startswith('linux') and not os.environ.get('DISPLAY'):
        # PyBullet would end the whole process.
        raise UserError("there is no display for PyBullet's window: set DISPLAY, or run headless "
                        "with mod='Direct'")
    if physics == 'motors':
        if gui:
            raise UserError("only physics 'pybullet' has a window: choose it, or run headless")
        return MotorArms(count, table)
    return PyBulletArms(count, description, table, gui)


class PyBulletArms:
    """Each arm in a physics world of its own."""

    def __init__(self, count: int, description: str, table: JointTable, gui: bool) -> None:
        self._arms = [SimulatedArm(description, table, gui and i == 0) for i in range(count)]
        for arm in self._arms:
            arm.open()
            arm.arm()

    @property
    def arms(self) -> list[SimulatedArm]:
        """The simulated arms, for PyBullet's own camera."""
        return self._arms

    def place(self, which: np.ndarray, positions_rad: np.ndarray) -> None:
        """See `ArmWorld.place`."""
        for number, positions in zip(which, positions_rad, strict=True):
            self._arms[number].set_positions(positions)

    def move(self, targets_rad: np.ndarray, steps: int = PHYSICS_STEPS) -> None:
        """See `ArmWorld.move`."""
        for arm, targets in zip(self._arms, targets_rad, strict=True):
            arm.write(targets)
            arm.step(steps / PHYSICS_RATE_HZ)

    def positions(self) -> np.ndarray:
        """See `ArmWorld.positions`."""
        return np.array([arm.read().position_rad for arm in self._arms])

    def close(self) -> None:
        """See `ArmWorld.close`."""
        for arm in self._arms:
            arm.close()


class MotorArms:
    """Arms whose motors are strong enough for all that PyBullet adds.

    PyBullet's position motors remove a share of the error in each step, at most as fast as the
    joint's limit allows; this is that rule alone.
    """

    def __init__(self, count: int, table: JointTable) -> None:
        self._positions = np.zeros((count, len(table)))
        self._table = table

    def place(self, which: np.ndarray, positions_rad: np.ndarray) -> None:
        """See `ArmWorld.place`."""
        self._positions[which] = self._table.clip(positions_rad)

    def move(self, targets_rad: np.ndarray, steps: int = PHYSICS_STEPS) -> None:
        """See `ArmWorld.move`."""
        targets = self._table.clip(targets_rad)
        reach = self._table.max_velocity_rad_s / PHYSICS_RATE_HZ
        for _ in range(steps):
            self._positions += np.clip(
                _POSITION_GAIN * (targets - self._positions), -reach, reach)

    def positions(self) -> np.ndarray:
        """See `ArmWorld.positions`."""
        return self._positions.copy()

    def close(self) -> None:
        """See `ArmWorld.close`."""


def travelled(start_rad: np.ndarray, goal_rad: np.ndarray, speed_rad_s: np.ndarray,
              time_s: float) -> np.ndarray:
    """Travel from pose to pose: all joints start and arrive together, none too fast.

    Args:
        start_rad: Shape (..., n) [rad].
        goal_rad: Shape (..., n) [rad].
        speed_rad_s: Shape (n,), how fast each joint may go [rad/s].
        time_s: How long the journey has lasted [s].

    Returns:
        Shape (..., n), where the joints are to be now [rad].
    """
    way = goal_rad - start_rad
    duration = np.max(np.abs(way) / speed_rad_s, axis=-1, keepdims=True)
    share = np.minimum(time_s / np.maximum(duration, 1e-9), 1.0)
    return start_rad + share * way
