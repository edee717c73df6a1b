"""Conversions between plain Python and ROS messages."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from builtin_interfaces.msg import Duration, Time
from cv_bridge import CvBridge, CvBridgeError
from geometry_msgs.msg import Point, Pose, PoseArray
from rclpy.time import Time as ClockTime
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState, TimeReference
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hand_imitation.nodes import topics

_BRIDGE = CvBridge()
_MAX_PIXELS = 8192 * 8192
_MAX_REASON = 100


class BadMessage(ValueError):
    """A message that does not hold what it says; it is dropped and counted."""


def to_seconds(stamp: Time | ClockTime) -> float:
    """Return a stamp in seconds; doubles hold today's to a quarter of a microsecond."""
    if isinstance(stamp, ClockTime):
        return stamp.nanoseconds * 1e-9
    return stamp.sec + stamp.nanosec * 1e-9


def to_nanoseconds(stamp: Time) -> int:
    """Return a stamp in whole nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def to_duration(seconds: float) -> Duration:
    """Return a duration message, from seconds >= 0."""
    nanoseconds = round(seconds * 1e9)
    return Duration(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def image_message(picture_bgr: np.ndarray, stamp: Time, frame_id: str) -> Image:
    """Return a picture, shape (h, w, 3), BGR, as a message."""
    message = _BRIDGE.cv2_to_imgmsg(picture_bgr, 'bgr8')
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message


def picture_from(message: Image | CompressedImage, encoding: str = 'bgr8') -> np.ndarray:
    """Return the picture in a message.

    Args:
        message: Any encoding that cv_bridge knows.
        encoding: 'bgr8' or 'rgb8'.

    Returns:
        Shape (h, w, 3), uint8.

    Raises:
        BadMessage: Its size, step or encoding do not fit together.
    """
    try:
        if isinstance(message, CompressedImage):
            picture = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
            if picture is None:
                raise BadMessage('the compressed image cannot be decoded')
            return picture if encoding == 'bgr8' else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        pixels = message.height * message.width
        if not 0 < pixels <= _MAX_PIXELS or len(message.data) != message.height * message.step:
            raise BadMessage(
                f'image of {message.width}x{message.height}, step {message.step}, has '
                f'{len(message.data)} bytes')
        return _BRIDGE.imgmsg_to_cv2(message, encoding)
    except BadMessage:
        raise
    except (CvBridgeError, ValueError, TypeError, cv2.error, KeyError) as error:
        reason = ' '.join(str(error).split())[:_MAX_REASON]
        encoding_given = message_encoding(message)[:_MAX_REASON]
        raise BadMessage(f'image of encoding {encoding_given!r}: {reason}') from error


def message_encoding(message: Image | CompressedImage) -> str:
    """Return what an image message says of its encoding."""
    return message.format if isinstance(message, CompressedImage) else message.encoding


def compressed_message(
    picture_bgr: np.ndarray, stamp: Time, frame_id: str, quality: int,
) -> CompressedImage:
    """Return a picture, shape (h, w, 3), BGR, as a JPEG message."""
    _, data = cv2.imencode('.jpg', picture_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    message = CompressedImage(format='bgr8; jpeg compressed bgr8')
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.data = data.tobytes()
    return message


def camera_info_message(
    width: int, height: int, focal_length_px: float, stamp: Time, frame_id: str,
) -> CameraInfo:
    """Return a nominal pinhole camera without distortion, its axis in the middle."""
    f, cx, cy = focal_length_px, width / 2.0, height / 2.0
    message = CameraInfo(
        width=width, height=height, distortion_model='plumb_bob', d=[0.0] * 5,
        k=[f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0])
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message


def landmarks_message(world_points: np.ndarray | None, stamp: Time) -> PoseArray:
    """Return 21 points [m] as poses; none where there is no hand."""
    message = PoseArray()
    message.header.stamp = stamp
    message.header.frame_id = topics.CAMERA_FRAME
    if world_points is not None:
        message.poses = [
            Pose(position=Point(x=float(x), y=float(y), z=float(z))) for x, y, z in world_points]
    return message


def trajectory_message(
    names: list[str], positions_rad: np.ndarray, time_from_start_s: float = 0.0,
    stamp: Time | None = None,
) -> JointTrajectory:
    """Return one point of a trajectory, positions only; the stamp is zero unless given."""
    message = JointTrajectory(joint_names=names, points=[JointTrajectoryPoint(
        positions=[float(p) for p in positions_rad],
        time_from_start=to_duration(time_from_start_s))])
    if stamp is not None:
        message.header.stamp = stamp
    return message


def joint_state_message(
    names: list[str], stamp: Time, position_rad: np.ndarray,
    velocity_rad_s: np.ndarray | None = None, effort_nm: np.ndarray | None = None,
) -> JointState:
    """Return joint states."""
    message = JointState(name=names, position=[float(p) for p in position_rad])
    message.header.stamp = stamp
    if velocity_rad_s is not None:
        message.velocity = [float(v) for v in velocity_rad_s]
    if effort_nm is not None:
        message.effort = [float(e) for e in effort_nm]
    return message


def latency_message(stage: str, frame_stamp: Time, finished: Time) -> TimeReference:
    """Return that a stage finished with a frame."""
    message = TimeReference(time_ref=frame_stamp, source=stage)
    message.header.stamp = finished
    return message


def without_prefix(names: list[str], prefix: str) -> list[str]:
    """Return joint names as the rest of the package knows them."""
    return [name.removeprefix(prefix) for name in names]


def command_parts(
    message: JointTrajectory, prefix: str,
) -> tuple[int, list[str], Sequence[float]]:
    """Take a command apart, for `CommandGate.targets`.

    Args:
        message: A command, or anything else of its type.
        prefix: Prefix of the joint names in messages.

    Returns:
        The number of points, the joint names without prefix, and the first point's positions.
    """
    positions = message.points[0].positions if message.points else ()
    return len(message.points), without_prefix(message.joint_names, prefix), positions
