"""The `recorder` node: writes everything to a rosbag2 in mcap format, in pure Python."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.subscription import Subscription
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, JointState, TimeReference
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from hand_imitation import __version__
from hand_imitation.errors import UserError
from hand_imitation.evaluation.bag_writer import BagWriter, Limits, versions
from hand_imitation.node_parameters import NODES, RecorderParameters, is_ros_key
from hand_imitation.nodes import health, topics
from hand_imitation.nodes.ros_parameters import declare
from hand_imitation.nodes.runtime import main_of

RECORDED = {
    topics.IMAGE_COMPRESSED: CompressedImage,
    topics.CAMERA_INFO: CameraInfo,
    topics.LANDMARKS: PoseArray,
    topics.MARKERS: MarkerArray,
    topics.POLICY_TRAJECTORY: JointTrajectory,
    topics.JOINT_TRAJECTORY: JointTrajectory,
    topics.JOINT_STATES: JointState,
    topics.TRUTH_JOINT_STATES: JointState,
    topics.ARM_IMAGE_COMPRESSED: CompressedImage,
    topics.LATENCY: TimeReference,
    topics.DIAGNOSTICS: DiagnosticArray,
}
_PERIOD_S = 0.02
"""How often the messages that came are collected."""
_QUEUE_LENGTH, _IMAGE_QUEUE_LENGTH = 1000, 200
"""Messages of a topic that may wait; memory stays bounded, and a disk may pause for seconds."""
_FLUSH_S = 0.5
_ASK_S = 2.0
"""How often nodes are looked for that have not told their parameters."""
_MEGABYTE = 1_000_000
_SECOND_NS = 1_000_000_000


class RecorderNode(Node):
    """Collects what came, 50 times a second, and writes it as it is.

    An executor would wake for every message, of which there are hundreds a second, and cost the
    time of those who make them. So the subscriptions belong to a node that nobody spins, and are
    emptied by a thread.

    Attributes:
        finished: Whether a limit was reached and the node was asked to end then.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('recorder', **kwargs)
        parameters: RecorderParameters = declare(self, 'recorder')['']
        if not parameters.out:
            raise UserError("the recorder needs 'out', a folder to write bag/ to")
        self._path = Path(parameters.out).expanduser() / 'bag'
        if self._path.exists():
            raise UserError(f"'{self._path}' exists already: choose another 'out' or remove it")
        self._health = health.Health(self)
        self.finished = False
        self._end_at_limit = parameters.end_at_limit
        kinds = {self.resolve_topic_name(topic): kind for topic, kind in RECORDED.items()}
        try:
            self._writer = BagWriter(
                self._path, {name: _type_name(kind) for name, kind in kinds.items()},
                _limits(parameters))
            self._writer.note(
                hand_imitation_version=__version__, versions=json.dumps(versions()))
        except OSError as error:
            raise UserError(f"'{self._path}' cannot be written: {error.strerror}") from error
        # Its own name even where this node is renamed; topics are resolved by this node.
        self._inputs = Node(
            'recorder_inputs', namespace=self.get_namespace(), use_global_arguments=False,
            start_parameter_services=False)
        self._taps: list[tuple[Subscription, str]] = []
        for topic, kind in RECORDED.items():
            name = self.resolve_topic_name(topic)
            length = _IMAGE_QUEUE_LENGTH if topic in topics.IMAGE_TOPICS else _QUEUE_LENGTH
            subscription = self._inputs.create_subscription(
                kind, name, _never_called, topics.deep(topic, length), raw=True)
            self._taps.append((subscription, name))
        self._told: dict[str, dict[str, Any]] = {}
        self._asked: set[str] = set()
        self._news = threading.Event()
        self.create_timer(_ASK_S, self._ask_for_parameters)
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._record, name='writer')
        self._thread.start()
        self._health.state(health.OK, f'recording to {self._path}')

    def close(self) -> None:
        """Write what is waiting, then the bag's index and metadata."""
        self._halt.set()
        self._thread.join()
        self._inputs.destroy_node()

    def _record(self) -> None:
        flushed_s = time.monotonic()
        try:
            while not self._halt.wait(_PERIOD_S) and self._writer.open:
                self._write(self._collected())
                if time.monotonic() - flushed_s > _FLUSH_S:
                    self._writer.flush()
                    flushed_s = time.monotonic()
                if self._news.is_set():
                    self._news.clear()
                    self._writer.note(parameters=json.dumps(dict(self._told)))
            if self._writer.open:
                self._write(self._collected())
            self._writer.close()
        except OSError as error:
            # The arm must not suffer for it, so the node lives on.
            self._health.state(
                health.ERROR, f'recording ended, cannot write: {error.strerror}; what was '
                'written can be replayed')
            self.get_logger().error(f"'{self._path}' cannot be written: {error.strerror}")
            return
        if not self._halt.is_set():
            self._health.state(health.OK, 'recording ended: its limit is reached')
            self.finished = self._end_at_limit

    def _collected(self) -> list[tuple[int, str, bytes]]:
        """Take all messages that came, with the time of their arrival [ns], in its order."""
        arrived = []
        for subscription, name in self._taps:
            with subscription.handle:
                while taken := subscription.handle.take_message(subscription.msg_type, True):
                    data, about = taken
                    arrived.append((about['received_timestamp'], name, data))
        return sorted(arrived, key=lambda message: message[0])

    def _write(self, arrived: list[tuple[int, str, bytes]]) -> None:
        for time_ns, name, data in arrived:
            self._writer.write(name, time_ns, data)
            self._health.tick('messages')

    def _ask_for_parameters(self) -> None:
        """Ask nodes of ours that are new in this namespace what their parameters are."""
        if not self._writer.open:
            return
        for name, space in self.get_node_names_and_namespaces():
            if name not in NODES or space != self.get_namespace() or name in self._asked:
                continue
            path = f'{space.rstrip("/")}/{name}'
            try:
                listing = self.create_client(ListParameters, f'{path}/list_parameters')
                reading = self.create_client(GetParameters, f'{path}/get_parameters')
            except Exception as error:  # SROS2 may not allow it, and recording is worth more
                self.get_logger().warning(f"parameters of '{name}' are not recorded: {error}")
                self._asked.add(name)
                continue
            if not (listing.service_is_ready() and reading.service_is_ready()):
                self.destroy_client(listing)
                self.destroy_client(reading)
                continue
            self._asked.add(name)
            listing.call_async(ListParameters.Request()).add_done_callback(
                lambda future, name=name, reading=reading: self._on_names(future, name, reading))

    def _on_names(self, future: Future, node: str, reading: Any) -> None:
        names = list(future.result().result.names)
        reading.call_async(GetParameters.Request(names=names)).add_done_callback(
            lambda future: self._on_values(future, node, names))

    def _on_values(self, future: Future, node: str, names: list[str]) -> None:
        values = {name: parameter_value_to_python(value)
                  for name, value in zip(names, future.result().values, strict=True)}
        plain = (bool, int, float, str)
        self._told[node] = {name: value for name, value in sorted(values.items())
                            if isinstance(value, plain) and not is_ros_key(name)}
        self._news.set()


def _type_name(kind: type) -> str:
    """Return a message's type as bags name it."""
    return f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'


def _limits(parameters: RecorderParameters) -> Limits:
    return Limits(
        bytes=round(parameters.max_size_mb * _MEGABYTE),
        duration_ns=round(parameters.max_duration_s * _SECOND_NS),
        split_bytes=round(parameters.split_size_mb * _MEGABYTE),
        split_duration_ns=round(parameters.split_duration_s * _SECOND_NS))


def _never_called(data: bytes) -> None:
    """Stand in for the callback that a subscription must have."""


def _is_finished(nodes: Sequence[Node]) -> bool:
    return any(isinstance(node, RecorderNode) and node.finished for node in nodes)


def main() -> None:
    """Run the node."""
    main_of([RecorderNode], done=_is_finished)


if __name__ == '__main__':
    main()
