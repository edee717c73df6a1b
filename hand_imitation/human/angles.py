"""Joint angles of a human hand from its 3D joint centres.

The same formulas serve truth and estimates. Points are in a camera's optical frame
(REP-103: x right, y down, z away from the camera), in MediaPipe's order of 21 landmarks.
Zero is straight, positive is flexion.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

Side = Literal['left', 'right']

WRIST = 0
THUMB = (1, 2, 3, 4)
FINGERS = {
    'index': (5, 6, 7, 8),
    'middle': (9, 10, 11, 12),
    'ring': (13, 14, 15, 16),
    'little': (17, 18, 19, 20),
}
"""Landmarks of each finger: MCP, PIP, DIP, tip."""

_MCP, _PIP, _DIP, _ = (list(column) for column in zip(*FINGERS.values(), strict=True))

HAND_JOINTS = (
    'thumb_proximal', 'thumb_distal', 'index_proximal', 'index_distal',
    'middle_proximal', 'middle_distal', 'ring_proximal', 'ring_distal',
    'little_proximal', 'little_distal',
)
"""Names of the joints `finger_angles` returns, in its order."""

JOINTS = (*HAND_JOINTS, 'wrist', 'elbow')
"""All angles of a person's hand and forearm that the arm has joints for."""

THUMB_FLAT_RAD = 0.60
"""Elevation of 1-2 plus angle 1-2-3 of a flat hand with the thumb at ease [rad]."""


def finger_angles(points: np.ndarray, side: Side) -> np.ndarray:
    """Flexion of thumb and fingers.

    A finger's proximal angle is wrist-MCP against MCP-PIP, its distal angle MCP-PIP against
    PIP-DIP, both measured about the palm's lateral axis (index MCP to little MCP, turned for
    the hand's side), so that spreading the fingers does not count as bending them.

    Args:
        points: Shape (21, 3), any unit of length, optical frame.
        side: Whose hand it is anatomically, 'left' or 'right'.

    Returns:
        Shape (10,), [rad], in the order of `HAND_JOINTS`.
    """
    points = np.asarray(points, dtype=float)
    axis = _lateral_axis(points, side)
    mcp, pip, dip = points[_MCP], points[_PIP], points[_DIP]
    # Every bone of the four fingers at once: metacarpals, proximal and middle phalanges.
    bones = np.stack([mcp - points[WRIST], pip - mcp, dip - pip])
    flat = bones - (bones @ axis)[..., None] * axis
    bends = np.arctan2(
        np.cross(flat[:-1], flat[1:]) @ axis, (flat[:-1] * flat[1:]).sum(axis=-1))
    return np.array([*_thumb_angles(points, axis), *bends.T.ravel()])


def thumb_side_sign(points: np.ndarray) -> float:
    """Tell on which side of the palm the thumb lies in the image.

    Args:
        points: Shape (21, 2) or (21, 3), optical frame or pixels.

    Returns:
        +1.0 when turning from the palm's direction towards the thumb is clockwise in the
        image, -1.0 when it is counter-clockwise.
    """
    xy = np.asarray(points, dtype=float)[:, :2]
    return 1.0 if _cross(xy[9] - xy[WRIST], xy[5] - xy[17]) >= 0.0 else -1.0


def palm_direction(points: np.ndarray) -> np.ndarray | None:
    """Direction of the palm in the image plane, from wrist to middle MCP.

    Args:
        points: Shape (21, 3), optical frame.

    Returns:
        Unit vector, shape (2,), or None where the palm points at the camera (its projection
        is shorter than half its length) and has no direction to speak of.
    """
    points = np.asarray(points, dtype=float)
    x, y, z = (points[9] - points[WRIST]).tolist()
    projected = math.hypot(x, y)
    if projected < 0.5 * math.hypot(x, y, z) or projected == 0.0:
        return None
    return np.array([x / projected, y / projected])


def lean_from_vertical(direction: np.ndarray) -> float:
    """Angle of an image direction from the vertical, clockwise positive.

    Args:
        direction: Shape (2,), x right, y down.

    Returns:
        Angle in (-pi, pi] [rad]; 0 points up.
    """
    return math.atan2(direction[0], -direction[1])


def lean_between(start: np.ndarray, end: np.ndarray) -> float:
    """Angle from one image direction to another, clockwise positive.

    Args:
        start: Shape (2,), x right, y down.
        end: Shape (2,), x right, y down.

    Returns:
        Angle in (-pi, pi] [rad].
    """
    return math.atan2(_cross(start, end), start[0] * end[0] + start[1] * end[1])


def _thumb_angles(points: np.ndarray, axis: np.ndarray) -> tuple[float, float]:
    """Return thumb_proximal and thumb_distal [rad]."""
    cmc, mcp, ip, tip = (points[i] for i in THUMB)
    # The palm's normal on the side to which the fingers flex.
    normal = np.cross(axis, points[9] - points[WRIST])
    metacarpal = mcp - cmc
    elevation = np.arcsin(np.clip(_cosine(metacarpal, normal), -1.0, 1.0))
    proximal = elevation + _angle(metacarpal, ip - mcp) - THUMB_FLAT_RAD
    return float(proximal), _angle(ip - mcp, tip - ip)


def _lateral_axis(points: np.ndarray, side: Side) -> np.ndarray:
    """Unit axis about which flexion is a positive rotation."""
    lateral = points[17] - points[5]
    length = np.linalg.norm(lateral)
    if length == 0.0:
        return np.zeros(3)
    return lateral / length * (-1.0 if side == 'right' else 1.0)


def _angle(start: np.ndarray, end: np.ndarray) -> float:
    """Unsigned angle between two vectors [rad]."""
    return float(np.arctan2(np.linalg.norm(np.cross(start, end)), np.dot(start, end)))


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of the angle between two vectors; 0 where one has no length."""
    length = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.dot(first, second) / length) if length > 0.0 else 0.0


def _cross(first: np.ndarray, second: np.ndarray) -> float:
    """Third component of the cross product of two image vectors."""
    return float(first[0] * second[1] - first[1] * second[0])
