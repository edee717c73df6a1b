"""The `camera` node: publishes pictures from a webcam, a file, a folder or another topic."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState, TimeReference

from hand_imitation.errors import UserError
from hand_imitation.frame_sources import (
    MIN_FILE_RATE_HZ,
    TOPIC_PREFIX,
    FrameSource,
    open_source,
    shrunk,
)
from hand_imitation.node_parameters import CameraParameters
from hand_imitation.nodes import health, topics
from hand_imitation.nodes.messages import (
    BadMessage,
    camera_info_message,
    compressed_message,
    image_message,
    joint_state_message,
    latency_message,
    picture_from,
)
from hand_imitation.nodes.ros_parameters import declare
from hand_imitation.nodes.runtime import main_of

ENDED = 'the file has ended'
_RETRY_S = 1.0
_READ_AHEAD_S = 0.014
"""How long before its time a file's picture is decoded, and the last one compressed: after that
one has been processed, since all three want the cores."""
_OVERDUE_S = 1.0
_BLACK = 6.0
"""A picture whose brightest parts stay below this (of 255) is black."""


class CameraNode(LifecycleNode):
    """Publishes pictures with the time of their acquisition.

    Configuring opens the source, activating starts it. A live source that repeats a picture to
    the bit, as a frozen camera does, is not passed on: the arm then holds for lack of news.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('camera', **kwargs)
        self._settings: CameraParameters = declare(self, 'camera')['']
        self._health = health.Health(self)
        self._health.set(source=self._settings.source)
        self._source: FrameSource | None = None
        self._thread: threading.Thread | None = None
        self._halt = threading.Event()
        self._user_error: UserError | None = None
        self._last_picture: np.ndarray | None = None
        self._uncompressed: tuple[np.ndarray, Time] | None = None
        self._topic_subscription: Subscription | None = None
        self.ended = False
        overridable = QoSOverridingOptions.with_default_policies()

        def publisher(kind: type, topic: str, image: bool = False):
            return self.create_publisher(
                kind, topic, topics.QOS[topic],
                qos_overriding_options=overridable if image else None)

        self._image = publisher(Image, topics.IMAGE, image=True)
        self._compressed = publisher(CompressedImage, topics.IMAGE_COMPRESSED, image=True)
        self._info = publisher(CameraInfo, topics.CAMERA_INFO)
        self._truth = publisher(JointState, topics.TRUTH_JOINT_STATES)
        self._latency = publisher(TimeReference, topics.LATENCY)
        if self._settings.autostart:
            self._autostart()

    def _autostart(self) -> None:
        self.trigger_configure()
        if self._user_error is not None:
            error, self._user_error = self._user_error, None
            self.destroy_node()
            raise error
        self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the source."""
        parameters = self._settings
        try:
            if not parameters.source.startswith(TOPIC_PREFIX):
                self._source = open_source(
                    parameters.source, (parameters.capture_width, parameters.capture_height))
        except UserError as error:
            self._user_error = error
            self._health.state(health.ERROR, str(error))
            if not parameters.autostart:
                self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        self._health.state(health.OK, 'ready')
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start publishing."""
        self._halt.clear()
        self.ended = False
        self._last_picture = None
        if self._source is None:
            self._subscribe(self._settings.source.removeprefix(TOPIC_PREFIX))
        else:
            if self._source.live:
                self._expect_pictures()
            play = self._play_live if self._source.live else self._play_file
            self._thread = threading.Thread(target=self._guarded, args=(play,), name='frames')
            self._thread.start()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop publishing."""
        self._stop()
        self._health.expect(math.inf, health.OK, '')
        self._health.state(health.OK, 'inactive')
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the source."""
        self._close_source()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and close."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stop the thread and let go of the source."""
        self._stop()
        self._close_source()

    def _stop(self) -> None:
        self._halt.set()
        if self._thread is not None:
            self._thread.join(timeout=3.0)
            self._thread = None
            # The last picture, which would have been compressed just before the next one.
            self._publish_compressed()
        if self._topic_subscription is not None:
            self.destroy_subscription(self._topic_subscription)
            self._topic_subscription = None

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _guarded(self, play) -> None:
        """Run a playing thread; what goes wrong in it is said, not thrown."""
        try:
            play(self._source)
        except Exception as error:  # the source's library may raise anything
            if not self._halt.is_set():
                self._health.state(health.ERROR, f'the source failed: {error}')
                self.get_logger().error(f'the source failed: {error}')

    def _play_live(self, source: FrameSource) -> None:
        """Publish a webcam's pictures; when it gives none, try to open it again."""
        while not self._halt.is_set():
            picture = source.read()
            if picture is None:
                self._health.state(
                    health.ERROR, f"no picture from '{self._settings.source}': is it plugged in?")
                if self._halt.wait(_RETRY_S):
                    return
                source.rewind()
                continue
            self._take_live(picture, self.get_clock().now().to_msg())

    def _play_file(self, source: FrameSource) -> None:
        """Publish a file's pictures on its own time, at 30 Hz or more."""
        self._wait_for_consumers()
        file_rate_hz = self._settings.rate_hz or source.rate_hz
        rate_hz = max(file_rate_hz, MIN_FILE_RATE_HZ)
        picture: np.ndarray | None = None
        index, sent, start_s = -1, 0, time.monotonic()
        while not self._halt.is_set():
            due_s = start_s + sent / rate_hz
            if self._halt.wait(max(due_s - _READ_AHEAD_S - time.monotonic(), 0.0)):
                return
            self._publish_compressed()
            wanted = int(sent * file_rate_hz / rate_hz + 1e-6)
            while index < wanted:
                picture = source.read()
                index += 1
                if picture is None:
                    break
            if picture is None:
                if not self._settings.loop:
                    self._end()
                    return
                source.rewind()
                index, sent, start_s = -1, 0, time.monotonic()
                continue
            late_s = time.monotonic() - due_s
            if late_s > 1.0 / rate_hz:
                # A burst to catch up would lose pictures; play on from here instead.
                start_s += late_s
            elif self._halt.wait(max(-late_s, 0.0)):
                return
            self._publish(picture, self.get_clock().now().to_msg(), index)
            self._health.state(health.OK, 'playing')
            sent += 1

    def _end(self) -> None:
        self.ended = True
        self._health.state(health.OK, ENDED)
        self.get_logger().info(ENDED)

    def _wait_for_consumers(self) -> None:
        """Wait until everyone who should see the first picture listens."""
        wanted = Counter(self.resolve_topic_name(t) for t in self._settings.wait_for.split())
        deadline_s = time.monotonic() + self._settings.wait_for_timeout_s
        self._health.state(health.OK, 'waiting for consumers')
        while not self._halt.wait(0.05):
            missing = [t for t, count in wanted.items() if self._subscribers(t) < count]
            if not missing:
                # Discovery is not mutual at once: give the other side time to match as well.
                self._halt.wait(0.5)
                return
            if time.monotonic() > deadline_s:
                self.get_logger().warning(
                    f'too few listen to {", ".join(missing)}; playing anyway')
                return

    def _subscribers(self, topic: str) -> int:
        """Count a topic's subscribers, the matched ones if the topic is this node's own."""
        for publisher in (self._image, self._compressed, self._info, self._truth, self._latency):
            if publisher.topic_name == topic:
                return publisher.get_subscription_count()
        return self.count_subscribers(topic)

    def _subscribe(self, topic: str) -> None:
        kind = CompressedImage if topic.endswith('compressed') else Image
        self._topic_subscription = self.create_subscription(
            kind, topic, self._on_image, topics.QOS[topics.IMAGE])
        self._health.state(health.OK, f'waiting for {topic}')
        self._expect_pictures()

    def _expect_pictures(self) -> None:
        self._health.expect(
            _OVERDUE_S, health.ERROR,
            f"no picture from '{self._settings.source}': is it plugged in and running?")

    def _on_image(self, message: Image | CompressedImage) -> None:
        try:
            picture = picture_from(message)
        except BadMessage as error:
            self._health.tick('refused')
            self._health.state(health.ERROR, f'refused an image: {error}')
            return
        self._take_live(picture, message.header.stamp)

    def _take_live(self, picture: np.ndarray, stamp: Time) -> None:
        """Publish a picture of a live source unless it is frozen; say so when it is black."""
        last, self._last_picture = self._last_picture, picture
        frozen = last is not None and last.shape == picture.shape and np.array_equal(last, picture)
        if frozen:
            self._health.tick('frozen')
        if float(np.percentile(picture[::16, ::16], 99.0)) < _BLACK:
            self._health.state(health.WARN, 'the picture is black: is the lens covered?')
        elif frozen:
            self._health.state(health.ERROR, 'the picture is frozen: it repeats to the bit')
        else:
            self._health.state(health.OK, 'live')
        if not frozen:
            self._publish(picture, stamp, None)
            self._publish_compressed()

    def _publish(self, picture: np.ndarray, stamp: Time, index: int | None) -> None:
        """Publish a picture and what belongs to it, the picture first."""
        picture = shrunk(picture, self._settings.width)
        self._image.publish(image_message(picture, stamp, topics.CAMERA_FRAME))
        self._latency.publish(
            latency_message('camera', stamp, self.get_clock().now().to_msg()))
        height, width = picture.shape[:2]
        self._info.publish(camera_info_message(
            width, height, self._settings.focal_length * width, stamp, topics.CAMERA_FRAME))
        truth = self._source.truth if self._source is not None else None
        if truth is not None and index is not None and index < len(truth.positions_rad):
            self._truth.publish(
                joint_state_message(list(truth.names), stamp, truth.positions_rad[index]))
        self._uncompressed = picture, stamp
        self._health.tick('frames')

    def _publish_compressed(self) -> None:
        """Publish the last picture as JPEG; apart, since the policy is not to wait for it."""
        if self._uncompressed is not None and self._compressed.get_subscription_count() > 0:
            self._compressed.publish(compressed_message(
                *self._uncompressed, topics.CAMERA_FRAME, self._settings.jpeg_quality))
        self._uncompressed = None


def main() -> None:
    """Run the node."""
    main_of([CameraNode])


if __name__ == '__main__':
    main()
