"""The `replayer` node: plays a recording for the other nodes, with its timing and its time."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState, TimeReference

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.evaluation.bag import Bag
from hand_imitation.evaluation.bag_contents import Contents, parse_remaps, read_contents
from hand_imitation.evaluation.recording import Series
from hand_imitation.evaluation.replay_frames import chosen_frames
from hand_imitation.frame_sources import shrunk
from hand_imitation.node_parameters import ReplayerParameters
from hand_imitation.nodes import health, topics
from hand_imitation.nodes.messages import (
    camera_info_message,
    compressed_message,
    image_message,
    joint_state_message,
    latency_message,
)
from hand_imitation.nodes.ros_parameters import declare
from hand_imitation.nodes.runtime import main_of

_CLOCK_HZ = 200.0
_LEAD_S = 1.0
"""Before the first picture the arm and the clock have run this long."""
_SETTLE_S = 0.7
"""After the last picture, time for its command to come through."""
_SECOND_NS = 1_000_000_000


class _Event(NamedTuple):
    """Something to publish at its time [ns]; `row` counts in its series."""

    time_ns: int
    kind: str
    row: int


class ReplayerNode(Node):
    """Publishes pictures, truth and, if asked for, joint states as they were recorded.

    Its time, on /clock, is that of the recording: the nodes that follow it have `use_sim_time`.

    Attributes:
        finished: Whether everything has been played.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('replayer', **kwargs)
        self._settings: ReplayerParameters = declare(self, 'replayer')['']
        parameters = self._settings
        if not parameters.bag:
            raise UserError("the replayer needs 'bag', the folder of a rosbag2")
        self._bag = Bag(Path(parameters.bag).expanduser())
        table = JointTable.from_urdf(load_description(parameters.side))
        contents = read_contents(self._bag, table, parse_remaps(parameters.topics.split()))
        self._frames = chosen_frames(
            contents, parameters.start_s, parameters.end_s or np.inf)
        assert contents.pictures is not None
        self._pictures = contents.pictures
        self._first = int(np.searchsorted(self._pictures.stamps_ns, self._frames[0]))
        self._start_ns = int(self._frames[0]) - round(_LEAD_S * _SECOND_NS)
        self._end_ns = int(self._frames[-1])
        self._names = [f'{parameters.prefix}{name}' for name in table.names]
        self._truth, self._states = self._series(contents)
        self.finished = False
        self._health = health.Health(self)
        self._health.set(bag=self._bag.name, pictures=len(self._frames))

        def publisher(kind: type, topic: str):
            return self.create_publisher(kind, topic, topics.QOS[topic])

        self._clock_publisher = publisher(Clock, topics.CLOCK)
        self._image = publisher(Image, topics.IMAGE)
        self._compressed = publisher(CompressedImage, topics.IMAGE_COMPRESSED)
        self._info = publisher(CameraInfo, topics.CAMERA_INFO)
        self._truths = publisher(JointState, topics.TRUTH_JOINT_STATES)
        self._latency = publisher(TimeReference, topics.LATENCY)
        self._arm = publisher(JointState, topics.JOINT_STATES) if parameters.arm else None
        self._halt = threading.Event()
        self._decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix='decoder')
        self._thread = threading.Thread(target=self._guarded, name='player')
        self._thread.start()

    def close(self) -> None:
        """Stop playing and let go of the bag."""
        self._halt.set()
        self._thread.join(timeout=5.0)
        self._decoder.shutdown(cancel_futures=True)
        self._bag.close()

    def _series(self, contents: Contents) -> tuple[Series | None, Series | None]:
        """The person's true pose, and the recorded arm."""
        truth = states = None
        if contents.truth is not None:
            truth = contents.truth.series(int(self._frames[0]), self._end_ns)
        if self._settings.arm:
            if contents.states is None:
                raise UserError(
                    f"'{self._bag.name}' holds no joint states of an arm: simulate one")
            states = contents.states.series(self._start_ns, self._end_ns + _SECOND_NS)
        return truth, states

    def _guarded(self) -> None:
        """Run the playing thread; what goes wrong in it is said, and ends the node."""
        try:
            self._wait_for_consumers()
            self._play()
        except Exception as error:  # the bag may be damaged in any way
            self._health.state(health.ERROR, f'the bag cannot be played: {error}')
            self.get_logger().error(f'the bag cannot be played: {error}')
        self.finished = not self._halt.is_set()

    def _wait_for_consumers(self) -> None:
        """Wait until everyone listens; the clock stands still, so that nobody waits for it."""
        wanted = Counter(self.resolve_topic_name(t) for t in self._settings.wait_for.split())
        deadline_s = time.monotonic() + self._settings.wait_for_timeout_s
        self._health.state(health.OK, 'waiting for consumers')
        while not self._halt.wait(0.05):
            self._tell_time(self._start_ns)
            missing = [t for t, n in wanted.items() if self.count_subscribers(t) < n]
            if not missing:
                # Discovery is not mutual at once: give the other side time to match as well.
                self._halt.wait(0.5)
                return
            if time.monotonic() > deadline_s:
                self.get_logger().warning(
                    f'too few listen to {", ".join(missing)}; playing anyway')
                return

    def _play(self) -> None:
        """Publish everything at its time."""
        begun_s = time.monotonic()
        ahead = self._ahead(0)
        self._health.state(health.OK, 'playing')
        for event in heapq.merge(
                self._ticks(), self._events('picture', self._frames),
                self._events('truth', self._truth), self._events('arm', self._states)):
            due_s = begun_s + (event.time_ns - self._start_ns) * 1e-9
            if self._halt.wait(max(due_s - time.monotonic(), 0.0)):
                return
            if event.kind == 'picture':
                # Whoever sees it must not think that it comes from the future.
                self._tell_time(event.time_ns)
                self._publish_picture(event, ahead.result())
                ahead = self._ahead(event.row + 1)
            elif event.kind == 'clock':
                self._tell_time(event.time_ns)
            else:
                self._publish_joints(event)
        self._health.state(health.OK, 'the recording has ended')

    def _ticks(self) -> Iterator[_Event]:
        """Times of the clock, up to when the last command has come through."""
        period_ns = round(_SECOND_NS / _CLOCK_HZ)
        end_ns = self._end_ns + round(_SETTLE_S * _SECOND_NS)
        return (_Event(time_ns, 'clock', 0) for time_ns in range(
            self._start_ns, end_ns, period_ns))

    def _events(self, kind: str, series: Series | np.ndarray | None) -> Iterator[_Event]:
        times = series.time_ns if isinstance(series, Series) else series
        stamps = [] if times is None else times.tolist()
        return (_Event(time_ns, kind, row) for row, time_ns in enumerate(stamps))

    def _ahead(self, row: int) -> Future[np.ndarray | None]:
        """Decode a picture while the one before it is being looked at."""
        if row < len(self._frames):
            return self._decoder.submit(self._pictures, self._first + row)
        nothing: Future[np.ndarray | None] = Future()
        nothing.set_result(None)
        return nothing

    def _publish_picture(self, event: _Event, picture: np.ndarray | None) -> None:
        if picture is None:
            self._health.tick('unreadable')
            return
        stamp = to_message(event.time_ns)
        picture = shrunk(picture, self._settings.width)
        self._image.publish(image_message(picture, stamp, topics.CAMERA_FRAME))
        self._latency.publish(latency_message('camera', stamp, stamp))
        height, width = picture.shape[:2]
        self._info.publish(camera_info_message(
            width, height, self._settings.focal_length * width, stamp, topics.CAMERA_FRAME))
        if self._compressed.get_subscription_count() > 0:
            self._compressed.publish(compressed_message(
                picture, stamp, topics.CAMERA_FRAME, self._settings.jpeg_quality))
        self._health.tick('frames')

    def _publish_joints(self, event: _Event) -> None:
        is_truth = event.kind == 'truth'
        series, publisher = (
            (self._truth, self._truths) if is_truth else (self._states, self._arm))
        assert series is not None and publisher is not None
        row = series.position_rad[event.row]
        known = np.flatnonzero(np.isfinite(row))
        prefix = self._settings.prefix
        names = [self._names[i].removeprefix(prefix) if is_truth else self._names[i]
                 for i in known]
        publisher.publish(joint_state_message(names, to_message(event.time_ns), row[known]))

    def _tell_time(self, time_ns: int) -> None:
        self._clock_publisher.publish(Clock(clock=to_message(time_ns)))


def to_message(time_ns: int) -> Time:
    """Return a time [ns] as a message."""
    return Time(sec=time_ns // _SECOND_NS, nanosec=time_ns % _SECOND_NS)


def _is_finished(nodes: Sequence[Node]) -> bool:
    return any(isinstance(node, ReplayerNode) and node.finished for node in nodes)


def main() -> None:
    """Run the node."""
    main_of([ReplayerNode], done=_is_finished)


if __name__ == '__main__':
    main()
