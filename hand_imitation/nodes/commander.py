"""The `commander` node: the only one that commands the arm, through the safety filter."""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import JointState, TimeReference
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from hand_imitation.arm.audit import CommandAuditor
from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import (
    REASONS,
    Command,
    Measured,
    SafetyFilter,
    Target,
    resume,
    stop,
)
from hand_imitation.node_parameters import CommanderParameters
from hand_imitation.nodes import health, topics
from hand_imitation.nodes.messages import (
    latency_message,
    to_seconds,
    trajectory_message,
    without_prefix,
)
from hand_imitation.nodes.ros_parameters import declare
from hand_imitation.nodes.runtime import main_of

_LEVELS = {
    'waiting': health.WARN, 'ramping': health.OK, 'tracking': health.OK,
    'holding': health.WARN, 'stopped': health.WARN,
}


class CommanderNode(Node):
    """Runs the safety filter at a fixed rate, and at once when a new target arrives.

    It never falls silent once it commands: in a hold it repeats the last command, so that
    silence means that it is dead.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('commander', **kwargs)
        parts = declare(self, 'commander')
        parameters: CommanderParameters = parts['']
        self._prefix = parameters.prefix
        self._table = JointTable.from_urdf(
            load_description(parameters.side, path=parameters.urdf or None))
        self._names = [f'{self._prefix}{name}' for name in self._table.names]
        self._filter = SafetyFilter(self._table, parts['safety'])
        self._state = self._filter.initial_state()
        self._target: Target | None = None
        self._measured: Measured | None = None
        self._mode = 'waiting'
        self._holds = 0
        self._last_stamp_s: float | None = None
        self._frame_stamp = None
        self._period_s = 1.0 / parts['safety'].rate_hz
        self._health = health.Health(self)
        self._auditor = CommandAuditor(self._table)
        self._health.set(mode=self._mode, holds=0, limit_violations=0, reasons='')
        self._commands = self.create_publisher(
            JointTrajectory, topics.JOINT_TRAJECTORY, topics.QOS[topics.JOINT_TRAJECTORY])
        self._latency = self.create_publisher(
            TimeReference, topics.LATENCY, topics.QOS[topics.LATENCY])
        self.create_subscription(
            JointTrajectory, topics.POLICY_TRAJECTORY, self._on_target,
            topics.QOS[topics.POLICY_TRAJECTORY])
        self.create_subscription(
            JointState, topics.JOINT_STATES, self._on_joint_states,
            topics.QOS[topics.JOINT_STATES])
        self.create_service(Trigger, topics.STOP, self._on_stop)
        self.create_service(Trigger, topics.RESUME, self._on_resume)
        self.create_timer(self._period_s, self._step)

    def _on_target(self, message: JointTrajectory) -> None:
        self._health.tick('targets')
        if len(message.points) != 1:
            self._health.tick('refused')
            self._health.set(refused_reason=f'{len(message.points)} points instead of one')
            return
        stamp_s = to_seconds(message.header.stamp)
        self._frame_stamp = message.header.stamp
        self._target = Target(
            names=without_prefix(message.joint_names, self._prefix),
            positions=message.points[0].positions, stamp_s=stamp_s,
            stamp_age_s=to_seconds(self.get_clock().now()) - stamp_s,
            received_s=time.monotonic())
        self._step()

    def _on_joint_states(self, message: JointState) -> None:
        self._health.tick('joint_states')
        self._measured = Measured(
            names=without_prefix(message.name, self._prefix), positions=message.position,
            received_s=time.monotonic())
        self._auditor.measured(
            self._measured.names, self._measured.positions, self._measured.received_s)

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._state = stop(self._state)
        self._step()
        self.get_logger().warning('stopped on request; call commander/resume to go on')
        response.success, response.message = True, 'the arm holds until commander/resume'
        return response

    def _on_resume(
        self, request: Trigger.Request, response: Trigger.Response,
    ) -> Trigger.Response:
        was_stopped = self._state.stopped
        self._state = resume(self._state)
        self.get_logger().info('resumed')
        response.success = True
        response.message = (
            'the arm follows again, gradually' if was_stopped else 'it was not stopped')
        return response

    def _step(self) -> None:
        now_s = time.monotonic()
        self._state, command = self._filter.step(
            self._state, self._target, self._measured, now_s)
        if command.positions is not None:
            self._auditor.command(self._table.names, command.positions, now_s)
            self._commands.publish(
                trajectory_message(self._names, command.positions, self._period_s))
            self._health.tick('commands')
            self._trace(command)
        self._tell(command)

    def _trace(self, command: Command) -> None:
        """Say when the first command that follows a frame was made."""
        if command.stamp_s is None or command.stamp_s == self._last_stamp_s:
            return
        if command.mode not in ('ramping', 'tracking') or self._frame_stamp is None:
            return
        self._last_stamp_s = command.stamp_s
        if to_seconds(self._frame_stamp) == command.stamp_s:
            self._health.tick('frames')
            self._latency.publish(latency_message(
                'command', self._frame_stamp, self.get_clock().now().to_msg()))

    def _tell(self, command: Command) -> None:
        """Report mode and reasons; a change of mode at once."""
        if command.mode in ('holding', 'stopped') and self._mode in ('ramping', 'tracking'):
            self._holds += 1
        self._mode = command.mode
        self._health.set(
            mode=command.mode, holds=self._holds, reasons='; '.join(command.reasons),
            limit_violations=self._auditor.limit_violations)
        if self._auditor.first is not None:
            self._health.set(first_violation=self._auditor.first)
        words = [r.split()[0] for r in command.reasons]
        why = '; '.join(dict.fromkeys(REASONS[w] for w in words if w not in (
            'velocity', 'acceleration', 'clamped')))
        message = command.mode
        if command.mode in ('waiting', 'holding', 'stopped') and why:
            message += f': {why}'
        self._health.state(_LEVELS[command.mode], message)


def main() -> None:
    """Run the node."""
    main_of([CommanderNode])


if __name__ == '__main__':
    main()
