"""Pictures in ROS image messages, decoded without ROS."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

MAX_PIXELS = 8192 * 8192
_CHANNELS = {
    'bgr8': 3, '8UC3': 3, 'rgb8': 3, 'bgra8': 4, '8UC4': 4, 'rgba8': 4, 'mono8': 1, '8UC1': 1,
    'yuv422_yuy2': 2, 'yuv422': 2}
_TO_BGR = {
    'rgb8': cv2.COLOR_RGB2BGR, 'bgra8': cv2.COLOR_BGRA2BGR, '8UC4': cv2.COLOR_BGRA2BGR,
    'rgba8': cv2.COLOR_RGBA2BGR, 'mono8': cv2.COLOR_GRAY2BGR, '8UC1': cv2.COLOR_GRAY2BGR,
    'yuv422_yuy2': cv2.COLOR_YUV2BGR_YUY2, 'yuv422': cv2.COLOR_YUV2BGR_UYVY}


class BadPicture(ValueError):
    """An image message that does not hold what it says."""


def raw_picture(message: Any) -> np.ndarray:
    """Return the picture of a sensor_msgs/Image.

    Args:
        message: The message; `step` may be larger than a row.

    Returns:
        Shape (height, width, 3), BGR.

    Raises:
        BadPicture: An unknown encoding, or sizes that do not fit together.
    """
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        raise BadPicture(f'encoding {str(message.encoding)[:40]!r} is not known')
    height, width, step = int(message.height), int(message.width), int(message.step)
    row = width * channels
    if not 0 < height * width <= MAX_PIXELS or step < row or len(message.data) != height * step:
        raise BadPicture(
            f'{width}x{height} {message.encoding}, step {step}, has {len(message.data)} bytes')
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)[:, :row]
    picture = np.ascontiguousarray(rows).reshape(height, width, channels)
    try:
        conversion = _TO_BGR.get(message.encoding)
        return picture if conversion is None else cv2.cvtColor(picture, conversion)
    except cv2.error as error:
        raise BadPicture(f'{width}x{height} {message.encoding}: {error.err}') from error


def compressed_picture(data: bytes) -> np.ndarray:
    """Return the picture in the bytes of a JPEG or PNG.

    Args:
        data: The file's bytes.

    Returns:
        Shape (height, width, 3), BGR.

    Raises:
        BadPicture: It cannot be decoded, or is too large.
    """
    if declared_pixels(data) > MAX_PIXELS:
        raise BadPicture('a compressed image says it is larger than 67 megapixels')
    try:
        # As it lies: a camera's picture is not to be turned for what its EXIF says.
        picture = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise BadPicture(f'a compressed image cannot be decoded: {error.err}') from error
    if picture is None:
        raise BadPicture('a compressed image cannot be decoded')
    return picture


def declared_pixels(data: bytes) -> int:
    """Return how many pixels a JPEG or PNG says it has, before memory is asked for; else 0."""
    if data[:8] == b'\x89PNG\r\n\x1a\n':
        return int.from_bytes(data[16:20], 'big') * int.from_bytes(data[20:24], 'big')
    position = 2 if data[:2] == b'\xff\xd8' else len(data)
    while position + 9 <= len(data) and data[position] == 0xff:
        marker = data[position + 1]
        # Start of frame, of any kind; the others in this range are tables.
        if 0xc0 <= marker <= 0xcf and marker not in (0xc4, 0xc8, 0xcc):
            height = int.from_bytes(data[position + 5:position + 7], 'big')
            return height * int.from_bytes(data[position + 7:position + 9], 'big')
        position += 2 + int.from_bytes(data[position + 2:position + 4], 'big')
    return 0
