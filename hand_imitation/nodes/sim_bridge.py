"""The `sim_bridge` node: the arm in PyBullet, driven and read like a real one."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory

from hand_imitation.arm.command_gate import CommandGate
from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.simulation import SimulatedArm
from hand_imitation.node_parameters import SimBridgeParameters
from hand_imitation.nodes import health, topics
from hand_imitation.nodes.messages import (
    command_parts,
    compressed_message,
    image_message,
    joint_state_message,
)
from hand_imitation.nodes.ros_parameters import declare
from hand_imitation.nodes.runtime import main_of

_MAX_STEP_S = 0.1
"""After a longer pause the simulated time skips, or it would never catch up."""
_SILENCE_S = 0.5
_PATIENCE_S = 0.1
"""How long a picture that is due waits for the policy's word."""
_JPEG_QUALITY = 90


class SimBridgeNode(Node):
    """Steps the physics in real time, takes commands, publishes joint states and pictures.

    On silence the motors hold the last command, as position servos do.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('sim_bridge', **kwargs)
        self._settings: SimBridgeParameters = declare(self, 'sim_bridge')['']
        parameters = self._settings
        description = load_description(parameters.side, path=parameters.urdf or None)
        self._table = JointTable.from_urdf(description)
        self._names = [f'{parameters.prefix}{name}' for name in self._table.names]
        self._arm = SimulatedArm(description, self._table, gui=parameters.gui)
        self._arm.open()
        self._arm.arm()
        self._last_s = time.monotonic()
        self._last_command_s = -np.inf
        self._gate = CommandGate(self._table)
        self._next_picture_s = 0.0
        self._frame_done = False
        self._health = health.Health(self)
        overridable = QoSOverridingOptions.with_default_policies()
        self._states = self.create_publisher(
            JointState, topics.JOINT_STATES, topics.QOS[topics.JOINT_STATES])
        self._image = self.create_publisher(
            Image, topics.ARM_IMAGE, topics.QOS[topics.ARM_IMAGE],
            qos_overriding_options=overridable)
        self._compressed = self.create_publisher(
            CompressedImage, topics.ARM_IMAGE_COMPRESSED,
            topics.QOS[topics.ARM_IMAGE_COMPRESSED], qos_overriding_options=overridable)
        self.create_subscription(
            JointTrajectory, topics.JOINT_TRAJECTORY, self._on_command,
            topics.QOS[topics.JOINT_TRAJECTORY])
        self.create_subscription(
            JointTrajectory, topics.POLICY_TRAJECTORY, self._on_policy,
            topics.QOS[topics.POLICY_TRAJECTORY])
        self.create_timer(1.0 / parameters.state_rate_hz, self._step)

    def close(self) -> None:
        """End the simulation."""
        self._arm.close()

    def _on_command(self, message: JointTrajectory) -> None:
        now_s = time.monotonic()
        try:
            self._arm.write(self._gate.targets(
                *command_parts(message, self._settings.prefix),
                self._arm.read().position_rad, now_s))
        except ValueError as error:
            self._refuse(str(error))
            return
        self._last_command_s = now_s
        self._health.tick('commands')
        if self._frame_done:
            # The frame has come through and the next one is not there yet: at any other moment,
            # rendering makes the policy late where cores are few.
            self._frame_done = False
            self._picture_if_due(0.0)

    def _refuse(self, reason: str) -> None:
        self._health.tick('refused')
        self._health.set(refused_reason=reason)
        self.get_logger().warning(f'refused a command: {reason}', throttle_duration_sec=5.0)

    def _step(self) -> None:
        now_s = time.monotonic()
        self._arm.step(min(now_s - self._last_s, _MAX_STEP_S))
        self._last_s = now_s
        state = self._arm.read()
        self._states.publish(joint_state_message(
            self._names, self.get_clock().now().to_msg(), state.position_rad,
            state.velocity_rad_s, state.effort_nm))
        self._health.tick('joint_states')
        silent = now_s - self._last_command_s > _SILENCE_S
        self._health.state(
            health.WARN if silent else health.OK,
            'no commands; holding the last one' if silent else 'moving as commanded')
        self._picture_if_due(_PATIENCE_S)

    def _on_policy(self, message: JointTrajectory) -> None:
        """Note that the policy is done with a frame; what it says is the commander's business."""
        self._frame_done = True

    def _picture_if_due(self, patience_s: float) -> None:
        """Take a picture if it has been due for some time."""
        if self._settings.camera_rate_hz == 0.0:
            return
        now_s, period_s = time.monotonic(), 1.0 / self._settings.camera_rate_hz
        if now_s >= self._next_picture_s + patience_s:
            self._next_picture_s = max(self._next_picture_s + period_s, now_s)
            self._take_picture()

    def _take_picture(self) -> None:
        """Render only for those who look: it costs more than all physics."""
        wants_raw = self._image.get_subscription_count() > 0
        wants_compressed = self._compressed.get_subscription_count() > 0
        if not (wants_raw or wants_compressed):
            return
        stamp = self.get_clock().now().to_msg()
        picture = self._arm.render(
            self._settings.camera_width, self._settings.camera_height)[..., ::-1]
        picture = np.ascontiguousarray(picture)
        if wants_raw:
            self._image.publish(image_message(picture, stamp, topics.ARM_CAMERA_FRAME))
        if wants_compressed:
            self._compressed.publish(compressed_message(
                picture, stamp, topics.ARM_CAMERA_FRAME, _JPEG_QUALITY))
        self._health.tick('pictures')


def main() -> None:
    """Run the node."""
    main_of([SimBridgeNode])


if __name__ == '__main__':
    main()
