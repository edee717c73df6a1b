"""The `viewer` node: a window with the camera and the hand beside the arm, and the latency."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, TimeReference
from visualization_msgs.msg import MarkerArray

from hand_imitation.errors import UserError
from hand_imitation.evaluation.side_by_side import draw_hand, side_by_side
from hand_imitation.human.projection import projected
from hand_imitation.node_parameters import ViewerParameters
from hand_imitation.nodes import health, topics
from hand_imitation.nodes.messages import BadMessage, picture_from, to_seconds
from hand_imitation.nodes.ros_parameters import declare
from hand_imitation.nodes.runtime import main_of

WINDOW = 'hand_imitation (q closes)'
_REFRESH_HZ = 30.0
_QUIT_KEYS = (ord('q'), 27)
_MARKER_AGE_S = 0.3


class ViewerNode(Node):
    """Shows what happens; closing the window, q or Escape ends it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('viewer', **kwargs)
        settings: ViewerParameters = declare(self, 'viewer')['']
        if not (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
            raise UserError('the viewer needs a display: run without it, or set DISPLAY')
        self._mirror = settings.mirror
        self._pictures: deque[tuple[float, np.ndarray]] = deque(maxlen=10)
        self._arm: np.ndarray | None = None
        self._points: np.ndarray | None = None
        self._points_s = 0.0
        self._intrinsics = (1.0, (0.0, 0.0))
        self._latencies_ms: deque[float] = deque(maxlen=30)
        self._mode = ''
        self._shown = False
        self.closed = False
        self._health = health.Health(self)
        for kind, topic, callback in (
            (Image, topics.IMAGE, self._on_camera),
            (Image, topics.ARM_IMAGE, self._on_arm),
            (CameraInfo, topics.CAMERA_INFO, self._on_info),
            (MarkerArray, topics.MARKERS, self._on_markers),
            (TimeReference, topics.LATENCY, self._on_latency),
            (DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics),
        ):
            self.create_subscription(kind, topic, callback, topics.QOS[topic])
        self.create_timer(1.0 / _REFRESH_HZ, self._show)

    def close(self) -> None:
        """Close the window."""
        if self._shown:
            cv2.destroyAllWindows()

    def _on_camera(self, message: Image) -> None:
        picture = self._picture(message)
        if picture is not None:
            self._pictures.append((to_seconds(message.header.stamp), picture))

    def _on_arm(self, message: Image) -> None:
        self._arm = self._picture(message)

    def _picture(self, message: Image) -> np.ndarray | None:
        try:
            return picture_from(message)
        except BadMessage as error:
            self._health.state(health.ERROR, f'refused a picture: {error}')
            return None

    def _on_info(self, message: CameraInfo) -> None:
        self._intrinsics = message.k[0], (message.k[2], message.k[5])

    def _on_markers(self, message: MarkerArray) -> None:
        joints = message.markers[0]
        self._points = np.array([(p.x, p.y, p.z) for p in joints.points])
        self._points_s = to_seconds(joints.header.stamp)

    def _on_latency(self, message: TimeReference) -> None:
        if message.source == 'command':
            self._latencies_ms.append(
                (to_seconds(message.header.stamp) - to_seconds(message.time_ref)) * 1e3)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.rsplit('/', 1)[-1] == 'commander':
                self._mode = status.message.split(':')[0]

    def _show(self) -> None:
        if self.closed or not self._pictures or self._arm is None:
            return
        stamp_s, camera = self._pictures[-1]
        if abs(stamp_s - self._points_s) < _MARKER_AGE_S:
            # The picture in which the hand was found, so that the two fit.
            camera = min(self._pictures, key=lambda p: abs(p[0] - self._points_s))[1].copy()
            if self._points is not None and len(self._points) == 21:
                draw_hand(camera, projected(self._points, *self._intrinsics))
        note = f'{np.median(self._latencies_ms):.0f} ms' if self._latencies_ms else ''
        if not self._shown:
            cv2.namedWindow(WINDOW, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
            self._shown = True
        cv2.imshow(WINDOW, side_by_side(camera, self._arm, self._mirror, note, self._mode))
        key = cv2.waitKey(1) & 0xFF
        gone = cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) < 1
        self.closed = key in _QUIT_KEYS or gone
        self._health.tick('shown')
        self._health.state(health.OK, 'showing')


def main() -> None:
    """Run the node until its window is closed."""
    main_of([ViewerNode], done=lambda nodes: any(getattr(n, 'closed', False) for n in nodes))


if __name__ == '__main__':
    main()
