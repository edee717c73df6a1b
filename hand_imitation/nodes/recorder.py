"""The `recorder` node: writes everything to a rosbag2 in mcap format, in pure Python."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from rclpy.subscription import Subscription
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, CompressedImage, JointState, TimeReference
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from hand_imitation import __version__
from hand_imitation.errors import UserError
from hand_imitation.node_parameters import RecorderParameters
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
_QUEUE_LENGTH = 1000
"""Messages of a topic that may wait; memory stays bounded, and a disk may pause for seconds."""


class RecorderNode(Node):
    """Collects what came, 50 times a second, and writes it as it is.

    An executor would wake for every message, of which there are hundreds a second, and cost the
    time of those who make them. So the subscriptions belong to a node that nobody spins, and are
    emptied by a thread.
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
        self._writer = Writer(self._path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_custom_data('hand_imitation_version', __version__)
        try:
            self._writer.open()
        except OSError as error:
            raise UserError(f"'{self._path}' cannot be written: {error.strerror}") from error
        # Its own name even where this node is renamed; topics are resolved by this node.
        self._inputs = Node(
            'recorder_inputs', namespace=self.get_namespace(), use_global_arguments=False,
            start_parameter_services=False)
        typestore = get_typestore(Stores.ROS2_JAZZY)
        self._taps: list[tuple[Subscription, Connection]] = []
        for topic, kind in RECORDED.items():
            name = self.resolve_topic_name(topic)
            package = kind.__module__.split('.')[0]
            connection = self._writer.add_connection(
                name, f'{package}/msg/{kind.__name__}', typestore=typestore)
            subscription = self._inputs.create_subscription(
                kind, name, _never_called, topics.deep(topic, _QUEUE_LENGTH), raw=True)
            self._taps.append((subscription, connection))
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._record, name='writer')
        self._thread.start()
        self._health.state(health.OK, f'recording to {self._path}')

    def close(self) -> None:
        """Write what is waiting, then the bag's index and metadata."""
        self._halt.set()
        self._thread.join()
        self._writer.close()
        self._inputs.destroy_node()

    def _record(self) -> None:
        while not self._halt.wait(_PERIOD_S):
            self._write(self._collected())
        self._write(self._collected())

    def _collected(self) -> list[tuple[int, Connection, bytes]]:
        """Take all messages that came, with the time of their arrival [ns], in its order."""
        arrived = []
        for subscription, connection in self._taps:
            with subscription.handle:
                while taken := subscription.handle.take_message(subscription.msg_type, True):
                    data, about = taken
                    arrived.append((about['received_timestamp'], connection, data))
        return sorted(arrived, key=lambda message: message[0])

    def _write(self, arrived: list[tuple[int, Connection, bytes]]) -> None:
        for time_ns, connection, data in arrived:
            try:
                self._writer.write(connection, time_ns, data)
                self._health.tick('messages')
            except OSError as error:
                self._health.tick('failed')
                self._health.state(health.ERROR, f'cannot write: {error.strerror}')


def _never_called(data: bytes) -> None:
    """Stand in for the callback that a subscription must have."""


def main() -> None:
    """Run the node."""
    main_of([RecorderNode])


if __name__ == '__main__':
    main()
