"""The `ros2_control` node: hands commands on to a controller of ros2_control.

The controllers' own timeouts are off by default, and so are their limits: what is handed on has
passed the commander, is kept inside limits and speeds once more, and stops when measurements or
commands do. A controller holds the last point it was given.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from hand_imitation.errors import UserError
from hand_imitation.hardware.joint_map import JointMap, load_joint_map
from hand_imitation.hardware.watchdog import Tier, Watchdog
from hand_imitation.node_parameters import CONTROLLERS
from hand_imitation.nodes import health, topics
from hand_imitation.nodes.arm_node import ArmNode
from hand_imitation.nodes.messages import joint_state_message, trajectory_message
from hand_imitation.nodes.runtime import main_of

_PERIOD_S = 0.02
"""How often silence is looked for."""
_STALE_S = 0.1
"""Without a measurement of a joint for this long, nothing is handed on."""
_MAX_STEP_S = 0.03
"""After a longer pause a command moves the joints no further than they could in this time."""
_MIN_DURATION_S = 0.005


class Ros2ControlNode(ArmNode):
    """Active, it hands commands on; inactive, it only passes the joint states back."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('ros2_control', **kwargs)
        self._watchdog = Watchdog(self._parts['watchdog'])
        self._map: JointMap | None = None
        self._measured_s: np.ndarray = np.full(len(self._table), -np.inf)
        self._last: np.ndarray | None = None
        self._last_s = 0.0
        forward = self._settings.controller == 'forward_command_controller'
        self._forward = forward
        self._controller = self.create_publisher(
            Float64MultiArray if forward else JointTrajectory,
            self._settings.command_topic or CONTROLLERS[self._settings.controller],
            topics.QOS[topics.JOINT_TRAJECTORY])
        self.create_subscription(
            JointState, self._settings.states_topic, self._on_states,
            topics.QOS[topics.JOINT_STATES])
        self.create_timer(_PERIOD_S, self._watch)
        self._begin()

    # Life cycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the joint map."""
        settings = self._settings
        theirs, ours = (self.resolve_topic_name(name)
                        for name in (settings.states_topic, topics.JOINT_STATES))
        if theirs == ours:
            return self._fail(UserError(
                f"the controller's joint states come on {theirs}, which is our own topic: start "
                'in a namespace (namespace:=hand), or give another states_topic'))
        try:
            self._map = load_joint_map(settings.joint_map, self._table, settings.prefix)
        except UserError as error:
            return self._fail(error)
        self._health.state(health.OK, 'inactive, nothing is handed on')
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hand commands on from now on."""
        now_s = time.monotonic()
        self._gate.armed(now_s)
        self._watchdog.armed(now_s)
        self._last = None
        self._active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hand nothing on; the controller holds its last point."""
        self._active = False
        self._health.state(health.OK, 'inactive, nothing is handed on')
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the joint map."""
        self._map = None
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hand nothing on."""
        self._active = False
        return TransitionCallbackReturn.SUCCESS

    def make_safe(self) -> None:
        """Hand nothing on, before anything else ends."""
        self._active = False

    # From the controller

    def _on_states(self, message: JointState) -> None:
        if self._map is None:
            return
        now_s = time.monotonic()
        position = self._map.to_ours(message.name, message.position)
        seen = np.isfinite(position)
        self._measured_rad = np.where(seen, position, self._measured_rad)
        self._measured_s = np.where(seen, now_s, self._measured_s)
        if not seen.any() or self._gate.withholds_states(now_s):
            return
        velocity = None
        if len(message.velocity) == len(message.name):
            velocity = self._map.velocities_to_ours(message.name, message.velocity)[seen]
        self._states.publish(joint_state_message(
            self._names[seen].tolist(), message.header.stamp, position[seen], velocity))
        self._health.tick('joint_states')

    # To the controller

    def _take(self, targets_rad: np.ndarray, message: JointTrajectory, now_s: float) -> None:
        self._watchdog.heard(now_s)
        if self._silent_joints(now_s):
            self._health.tick('held_back')
            return
        assert self._map is not None
        start = self._measured_rad if self._last is None else self._last
        step_s = min(now_s - self._last_s, _MAX_STEP_S)
        reach = self._table.max_velocity_rad_s * step_s
        sent = self._table.clip(np.clip(targets_rad, start - reach, start + reach))
        self._last, self._last_s = sent, now_s
        positions = self._map.to_theirs(sent)
        if self._forward:
            self._controller.publish(Float64MultiArray(data=[float(p) for p in positions]))
            return
        asked = message.points[0].time_from_start
        # A point that lies in the past, be it by rounding, is rejected by the controller.
        duration_s = max(asked.sec + asked.nanosec * 1e-9, _MIN_DURATION_S)
        self._controller.publish(
            trajectory_message(list(self._map.names), positions, duration_s))

    def _silent_joints(self, now_s: float) -> list[str]:
        late = now_s - self._measured_s > _STALE_S
        return [name for name, is_late in zip(self._table.names, late, strict=True) if is_late]

    def _watch(self) -> None:
        """Look for silence on both sides, and report."""
        if self._map is None:
            return
        now_s = time.monotonic()
        silent, tier = self._silent_joints(now_s), self._watchdog.tier(now_s)
        if self._active and tier is Tier.TORQUE_OFF:
            self.get_logger().error('the commander is silent')
            self.trigger_deactivate()
            self._health.state(
                health.ERROR, 'the commander is silent: is its node running? Inactive until '
                'activated again')
        elif not self._active:
            return
        elif silent:
            self._health.state(
                health.ERROR, f'no joint states of {", ".join(silent)} on '
                f'{self._settings.states_topic}: is the broadcaster active?')
        elif self._controller.get_subscription_count() == 0:
            self._health.state(
                health.ERROR, f'nobody listens on {self._controller.topic_name}: is the '
                'controller active?')
        elif tier is not Tier.FOLLOW:
            self._health.state(health.WARN, 'the commander is silent; the controller holds')
        else:
            self._health.state(health.OK, 'active')

    def _describe(self) -> Sequence[health.Part]:
        self._health.set(controller=self._controller.topic_name)
        return ()


def main() -> None:
    """Run the node."""
    main_of([Ros2ControlNode])


if __name__ == '__main__':
    main()
