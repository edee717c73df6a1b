"""The `recorder` node: writes everything to a rosbag2 in mcap format, in pure Python."""

from __future__ import annotations

import queue
import threading
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from rclpy.node import Node
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
_QUEUE_LENGTH = 2000


class RecorderNode(Node):
    """Takes messages as bytes and writes them on a thread of its own.

    The queue between is bounded: where the disk cannot keep up, messages are dropped and
    counted, and memory stays where it is.
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
        typestore = get_typestore(Stores.ROS2_JAZZY)
        self._connections = {}
        self._queue: queue.Queue = queue.Queue(_QUEUE_LENGTH)
        for topic, kind in RECORDED.items():
            name = self.resolve_topic_name(topic)
            package = kind.__module__.split('.')[0]
            self._connections[topic] = self._writer.add_connection(
                name, f'{package}/msg/{kind.__name__}', typestore=typestore)
            self.create_subscription(
                kind, topic, partial(self._on_message, topic), topics.deep(topic), raw=True)
        self._thread = threading.Thread(target=self._write, name='writer')
        self._thread.start()
        self._health.state(health.OK, f'recording to {self._path}')

    def close(self) -> None:
        """Write what is waiting, then the bag's index and metadata."""
        self._queue.put(None)
        self._thread.join()
        self._writer.close()

    def _on_message(self, topic: str, data: bytes) -> None:
        try:
            self._queue.put_nowait((topic, self.get_clock().now().nanoseconds, data))
        except queue.Full:
            self._health.tick('dropped')
            self._health.state(health.WARN, 'the disk cannot keep up; messages are dropped')

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            topic, time_ns, data = item
            try:
                self._writer.write(self._connections[topic], time_ns, data)
                self._health.tick('messages')
            except OSError as error:
                self._health.tick('failed')
                self._health.state(health.ERROR, f'cannot write: {error.strerror}')


def main() -> None:
    """Run the node."""
    main_of([RecorderNode])


if __name__ == '__main__':
    main()
