"""The `monitor` node: listens to a run and feeds its statistics."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState, TimeReference
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from hand_imitation.evaluation.run_statistics import RunStatistics
from hand_imitation.nodes import topics
from hand_imitation.nodes.camera import ENDED
from hand_imitation.nodes.messages import to_nanoseconds, without_prefix
from hand_imitation.policy.sight import read_sight

_NICENESS = 5
_MAX_ALARMS = 20


class MonitorNode(Node):
    """Collects figures; publishes nothing.

    Args:
        statistics: Where they go.
        prefix: Prefix of the joint names in messages.

    Attributes:
        health: What each node, and each servo, said last of itself.
        alarms: Errors that were said and nobody has shown yet.
        source_ended: Whether the camera's file has ended.
    """

    def __init__(self, statistics: RunStatistics, prefix: str = '', **kwargs: Any) -> None:
        super().__init__('monitor', **kwargs)
        self._statistics = statistics
        self._prefix = prefix
        self.health: dict[str, str] = {}
        self.source_ended = False
        self.alarms: deque[str] = deque(maxlen=_MAX_ALARMS)
        self._joint_states: Subscription | None = None
        for kind, topic, callback in (
            (TimeReference, topics.LATENCY, self._on_latency),
            (PoseArray, topics.LANDMARKS, self._on_landmarks),
            (JointTrajectory, topics.POLICY_TRAJECTORY, self._on_targets),
            (JointState, topics.TRUTH_JOINT_STATES, self._on_truth),
            (DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics),
        ):
            self.create_subscription(kind, topic, callback, topics.deep(topic))
        if not statistics.uses_perception:
            self.create_subscription(
                MarkerArray, topics.MARKERS, self._on_markers, topics.deep(topics.MARKERS))
        self._commander = {
            'stop': self.create_client(Trigger, topics.STOP),
            'resume': self.create_client(Trigger, topics.RESUME)}

    def ask(self, service: str, timeout_s: float) -> str | None:
        """Ask the commander for something; not from the thread that spins this node.

        Args:
            service: 'stop' or 'resume'.
            timeout_s: How long to wait for the answer [s].

        Returns:
            Its answer, or None where none came.
        """
        answered = threading.Event()
        client = self._commander[service]
        if not client.service_is_ready():
            return None
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: answered.set())
        return future.result().message if answered.wait(timeout_s) else None

    def others(self) -> list[str]:
        """Names of nodes of ours that run already in this domain and namespace."""
        namespace = self.get_namespace()
        ours = {'camera', 'policy', 'commander', 'sim_bridge', 'servo_driver', 'ros2_control'}
        return sorted(
            name for name, space in self.get_node_names_and_namespaces()
            if space == namespace and name in ours)

    def _on_latency(self, message: TimeReference) -> None:
        self._statistics.add_latency(
            message.source, to_nanoseconds(message.time_ref),
            to_nanoseconds(message.header.stamp))

    def _on_landmarks(self, message: PoseArray) -> None:
        points = np.array([
            (p.position.x, p.position.y, p.position.z) for p in message.poses])
        self._statistics.add_landmarks(
            to_nanoseconds(message.header.stamp), points if len(points) else None)

    def _on_markers(self, message: MarkerArray) -> None:
        told = read_sight(message.markers[0].text) if message.markers else None
        if told is not None:
            self._statistics.add_sight(to_nanoseconds(message.markers[0].header.stamp), *told)

    def _on_targets(self, message: JointTrajectory) -> None:
        self._statistics.add_estimate(
            to_nanoseconds(message.header.stamp),
            without_prefix(message.joint_names, self._prefix), message.points[0].positions)

    def _on_joint_states(self, message: JointState) -> None:
        self._statistics.add_measured(
            to_nanoseconds(message.header.stamp), without_prefix(message.name, self._prefix),
            message.position)

    def _on_truth(self, message: JointState) -> None:
        if self._joint_states is None:
            # They come 100 times a second and are worth their time only against a truth.
            self._joint_states = self.create_subscription(
                JointState, topics.JOINT_STATES, self._on_joint_states,
                topics.deep(topics.JOINT_STATES))
        self._statistics.add_truth(
            to_nanoseconds(message.header.stamp), message.name, message.position)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name = status.name.rsplit('/', 1)[-1]
            is_new = self.health.get(name) != status.message
            self.health[name] = status.message
            if is_new and status.level == DiagnosticStatus.ERROR:
                self.alarms.append(f'{name}: {status.message}')
            values = {pair.key: pair.value for pair in status.values}
            if name == 'commander':
                self._statistics.add_holds(
                    to_nanoseconds(message.header.stamp), int(values.get('holds', 0)))
                self._statistics.limit_violations = int(values.get('limit_violations', 0))
            if name.startswith('servo_driver'):
                self._statistics.add_bus(name.removeprefix('servo_driver').strip(': '), values)
            if name == 'camera' and status.message == ENDED:
                self.source_ended = True


@contextlib.contextmanager
def listening(
    statistics: RunStatistics, prefix: str = '', namespace: str = '',
) -> Iterator[MonitorNode]:
    """Run a monitor on a thread of its own; signals are left to the caller.

    Args:
        statistics: Where the figures go.
        prefix: Prefix of the joint names in messages.
        namespace: Namespace of the run, or ''.

    Yields:
        The monitor.
    """
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    monitor = MonitorNode(statistics, prefix, namespace=namespace or None)
    over = threading.Event()

    def spin() -> None:
        # Counting can wait where cores are few; on Linux this is for this thread alone.
        os.nice(_NICENESS)
        executor = SingleThreadedExecutor()
        executor.add_node(monitor)
        while not over.is_set():
            executor.spin_once(timeout_sec=0.1)
        executor.remove_node(monitor)
        executor.shutdown(timeout_sec=1.0)

    thread = threading.Thread(target=spin, name='monitor')
    thread.start()
    try:
        yield monitor
    finally:
        over.set()
        thread.join()
        monitor.destroy_node()
        rclpy.try_shutdown()
