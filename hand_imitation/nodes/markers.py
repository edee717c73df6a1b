"""The hand as RViz markers, placed where the camera sees it."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from hand_imitation.human.observation import HandObservation
from hand_imitation.human.projection import placed_points
from hand_imitation.human.skeleton import BONES
from hand_imitation.nodes import topics
from hand_imitation.policy.sight import Sight, sight_text

_JOINT_COLOUR = ColorRGBA(r=0.95, g=0.35, b=0.15, a=1.0)
_BONE_COLOUR = ColorRGBA(r=0.15, g=0.75, b=0.45, a=1.0)
_FOREARM_LENGTH_M = 0.1


def hand_markers(
    observation: HandObservation, focal_length_px: float, centre_px: tuple[float, float],
    stamp: Time,
) -> MarkerArray:
    """Draw the hand as points and lines, and the forearm's direction as a line to the wrist.

    The text of the points, which RViz does not show, says what else was seen of the hand, so
    that a recording can be replayed from its landmarks.

    Args:
        observation: What was seen; without a hand the markers are deleted.
        focal_length_px: Of the camera [px].
        centre_px: Principal point of the camera [px].
        stamp: The picture's stamp.

    Returns:
        Markers in the camera's optical frame.
    """
    joints, bones = _marker(0, 'joints', stamp), _marker(1, 'bones', stamp)
    forearm = _marker(2, 'forearm', stamp)
    if not observation.valid:
        joints.action = bones.action = forearm.action = Marker.DELETE
        return MarkerArray(markers=[joints, bones, forearm])
    placed = placed_points(
        observation.world_points, observation.image_points, focal_length_px, centre_px)
    points = [_point(p) for p in placed]
    joints.text = (
        f'side={observation.side} score={observation.score:.3f} '
        f'settled={"yes" if observation.settled else "no"} forearm={observation.forearm_source}')
    joints.type, joints.points, joints.color = Marker.SPHERE_LIST, points, _JOINT_COLOUR
    joints.scale.x = joints.scale.y = joints.scale.z = 0.008
    bones.type, bones.color = Marker.LINE_LIST, _BONE_COLOUR
    bones.points = [points[i] for bone in BONES for i in bone]
    bones.scale.x = 0.004
    if observation.forearm_direction is None:
        forearm.action = Marker.DELETE
    else:
        behind = np.array([*observation.forearm_direction, 0.0]) * _FOREARM_LENGTH_M
        forearm.type, forearm.color = Marker.LINE_LIST, _BONE_COLOUR
        forearm.points = [_point(placed[0] - behind), points[0]]
        forearm.scale.x = 0.004
    return MarkerArray(markers=[joints, bones, forearm])


def sight_markers(sight: Sight, thumb_side: float | None, stamp: Time) -> MarkerArray:
    """Say what a policy saw that looks for hands itself; there are no landmarks to draw.

    As in `hand_markers`, the text of the points says it, for the figures of a run and for who
    replays a recording.

    Args:
        sight: What the policy saw.
        thumb_side: As in `JointTargets`, None without targets.
        stamp: The picture's stamp.

    Returns:
        Markers that delete those of before.
    """
    joints, bones = _marker(0, 'joints', stamp), _marker(1, 'bones', stamp)
    forearm = _marker(2, 'forearm', stamp)
    joints.action = bones.action = forearm.action = Marker.DELETE
    joints.text = sight_text(sight, thumb_side)
    return MarkerArray(markers=[joints, bones, forearm])


def _marker(identity: int, namespace: str, stamp: Time) -> Marker:
    marker = Marker(id=identity, ns=namespace, action=Marker.ADD)
    marker.header.stamp = stamp
    marker.header.frame_id = topics.CAMERA_FRAME
    marker.pose.orientation.w = 1.0
    return marker


def _point(point: np.ndarray) -> Point:
    return Point(x=float(point[0]), y=float(point[1]), z=float(point[2]))
