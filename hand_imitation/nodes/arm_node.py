"""What the nodes that drive a real arm have in common: life cycle, and how commands are judged."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from hand_imitation.arm.command_gate import CommandGate
from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.nodes import health, topics
from hand_imitation.nodes.messages import command_parts
from hand_imitation.nodes.ros_parameters import declare

_BREAK_S = 0.25
"""Joint states are withheld this long when the arm is armed; see `CommandGate`."""


class ArmNode(LifecycleNode):
    """Takes commands while it is active, and publishes joint states while inactive, too.

    A subclass configures, and calls `_begin` at the end of its own `__init__`.

    Args:
        kind: Name of the node.
    """

    def __init__(self, kind: str, **kwargs: Any) -> None:
        super().__init__(kind, **kwargs)
        self._parts = declare(self, kind)
        self._settings = self._parts['']
        self._table = JointTable.from_urdf(
            load_description(self._settings.side, path=self._settings.urdf or None))
        self._names = np.array([f'{self._settings.prefix}{name}' for name in self._table.names])
        self._gate = CommandGate(self._table, _BREAK_S)
        self._measured_rad: np.ndarray = np.full(len(self._table), np.nan)
        self._active = False
        self._user_error: UserError | None = None
        self._starting = False
        self._health = health.Health(self, parts=self._describe)
        self._states = self.create_publisher(
            JointState, topics.JOINT_STATES, topics.QOS[topics.JOINT_STATES])
        self.create_subscription(
            JointTrajectory, topics.JOINT_TRAJECTORY, self._on_command,
            topics.QOS[topics.JOINT_TRAJECTORY])

    def _begin(self) -> None:
        """Configure and arm where the parameters ask for it; what fails ends the node."""
        if not self._settings.autostart:
            return
        self._starting = True
        self.trigger_configure()
        if self._user_error is None and self._settings.armed:
            self.trigger_activate()
        self._starting = False
        if self._user_error is not None:
            self.close()
            self.destroy_node()
            raise self._user_error

    def close(self) -> None:
        """Let go of the arm."""

    def _take(self, targets_rad: np.ndarray, message: JointTrajectory, now_s: float) -> None:
        """Follow a command that was found good; shape (n,) [rad]."""
        raise NotImplementedError

    def _describe(self) -> Sequence[health.Part]:
        """Set the values of a report, and return the health of the parts."""
        return ()

    def _fail(self, error: UserError) -> TransitionCallbackReturn:
        """Refuse a transition for what is the user's to mend."""
        self._user_error = error
        self._health.state(health.ERROR, str(error))
        if not self._starting:  # else it is the last word of the process
            self.get_logger().error(str(error))
        return TransitionCallbackReturn.FAILURE

    def _on_command(self, message: JointTrajectory) -> None:
        if not self._active:
            self._health.tick('ignored')
            return
        now_s = time.monotonic()
        try:
            targets = self._gate.targets(
                *command_parts(message, self._settings.prefix), self._measured_rad, now_s)
        except ValueError as error:
            self._health.tick('refused')
            self._health.set(refused_reason=error)
            self.get_logger().warning(f'refused a command: {error}', throttle_duration_sec=5.0)
            return
        self._take(targets, message, now_s)
        self._health.tick('commands')
