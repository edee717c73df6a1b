"""A synthetic person: joint angles in, posed skin and true joint centres out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hand_imitation.human.angles import (
    HAND_JOINTS,
    THUMB_FLAT_RAD,
    WRIST,
    Side,
    finger_angles,
    lean_between,
    lean_from_vertical,
    palm_direction,
    thumb_side_sign,
)
from hand_imitation.human.synthetic_mesh import BONES, CHAINS, ELBOW, Body, bone_frames, unit

DIP_PER_PIP = 0.7
"""How far the last joint of a finger follows its middle joint."""

_SOLVER_ROUNDS = 6
_IDENTITY = np.eye(3)

# How far each finger's plane of bending turns towards the thumb's base, so that the tips of a
# fist come together over the scaphoid instead of pointing straight down [rad].
_CONVERGENCE_RAD = {'index': -0.03, 'middle': 0.02, 'ring': 0.08, 'little': 0.16}

_THUMB_BENDS_TO = np.array([-0.88, -0.24, -0.35])
"""Where anny's thumb bends to, in the rest frame: across the palm, the nail looking back."""
_THUMB_AZIMUTH_RAD = 0.9
"""Direction of the thumb's metacarpal in the palm's plane, from the fingers' direction."""
_THUMB_LIFT_RAD = 0.5
_THUMB_LIFT_SHARE = 0.3
"""Elevation of the metacarpal: at thumb_proximal 0, and how much of thumb_proximal it takes."""
_THUMB_ROLL = -0.5
"""How far the thumb rolls about its length for each radian it goes across the palm."""


@dataclass(frozen=True)
class Pose:
    """What the hand does.

    Attributes:
        angles: Joint angles [rad] by the formulas of `angles.py`, by name; missing ones are 0.
        spread: How far each finger leans sideways in the palm's plane, positive towards the
            thumb, against fingers held parallel [rad], by finger.
        thumb_across: Turn of the thumb's base across the palm, towards the little finger [rad].
        thumb_lift: How much more the thumb's base, and less its middle joint, takes of
            thumb_proximal [rad].
    """

    angles: Mapping[str, float] = field(default_factory=dict)
    spread: Mapping[str, float] = field(default_factory=dict)
    thumb_across: float = 0.0
    thumb_lift: float = 0.0


@dataclass(frozen=True)
class View:
    """Where the person stands.

    Attributes:
        elbow_m: Elbow in the camera's optical frame, shape (3,) [m].
        rotation: Turns the upright arm, palm to the camera, about its elbow, shape (3, 3); for
            a left hand the turn is mirrored with the hand.
    """

    elbow_m: np.ndarray
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))


@dataclass(frozen=True)
class Posed:
    """A person in a pose, in the camera's optical frame [m].

    Attributes:
        vertices: Shape (v, 3).
        joints: Shape (22, 3): MediaPipe's 21 landmarks, then the elbow.
    """

    vertices: np.ndarray
    joints: np.ndarray


class Person:
    """A forearm and hand that takes poses."""

    def __init__(self, body: Body, side: Side = 'right') -> None:
        """Prepare a body for posing.

        Args:
            body: From `synthetic_mesh.load_body`.
            side: Which hand to show; the left one is the right one mirrored.
        """
        self.body = body
        self.side = side
        self.faces = body.faces if side == 'right' else body.faces[:, ::-1]
        self._bones = bone_frames(body.joints)

    def pose(self, pose: Pose, view: View) -> Posed:
        """Put the person in a pose.

        The asked angles are reached by correcting the turn of each joint until the formulas,
        applied to the joint centres, give them.

        Args:
            pose: The angles to reach.
            view: Where the elbow is and how the arm is turned.

        Returns:
            Vertices and joint centres.
        """
        wanted = np.array([pose.angles.get(name, 0.0) for name in HAND_JOINTS])
        turns = wanted.copy()
        for _ in range(_SOLVER_ROUNDS):
            joints, _ = self._move(turns, pose)
            # The thumb's turns are exact as they are.
            turns[2:] += (wanted - finger_angles(joints[:21], 'right'))[2:]
        joints, transforms = self._move(turns, pose)
        joints, transforms = self._lean(joints, transforms, pose, view.rotation)
        vertices = self._skin(transforms)
        if self.side == 'left':
            mirror = np.array([-1.0, 1.0, 1.0])
            joints, vertices = joints * mirror, vertices * mirror
        return Posed(vertices + view.elbow_m, joints + view.elbow_m)

    def _move(
        self, turns: np.ndarray, pose: Pose, chains: Sequence[str] = tuple(CHAINS),
    ) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Turn the bones of some fingers by rig angles; the forearm and palm stay at rest.

        Returns:
            Joint centres, and for each bone the rotation and offset that move its rest points.
        """
        turn = dict(zip(HAND_JOINTS, turns, strict=True))
        rest = self.body.joints
        moved = {'forearm': (np.eye(3), np.zeros(3)), 'palm': (np.eye(3), np.zeros(3))}
        joints = rest.copy()
        for name in chains:
            chain = CHAINS[name]
            rotations = (self._thumb_rotations(turn, pose) if name == 'thumb'
                         else self._finger_rotations(name, turn, pose))
            parent = moved['palm']
            for i, rotation in enumerate(rotations, start=1):
                parent = _turn_about(parent, rest[chain[i - 1]], rotation)
                moved[f'{name}{i}'] = parent
                joints[chain[i]] = parent[0] @ rest[chain[i]] + parent[1]
        return joints, moved

    def _finger_rotations(
        self, name: str, turn: Mapping[str, float], pose: Pose,
    ) -> list[np.ndarray]:
        """Rotations at MCP, PIP and DIP, in the rest frame."""
        direction = self._bones[f'{name}1'][1]
        flexion = turn[f'{name}_proximal']
        bend = turn[f'{name}_distal']
        # Ligaments pull bent fingers together: a fist has no spread.
        lean = np.arctan2(direction[0], -direction[1])
        sideways = pose.spread.get(name, 0.0) * np.cos(np.clip(flexion, 0.0, np.pi / 2)) - lean
        axis = _flexion_axis(np.array([0.0, -1.0, 0.0]), _CONVERGENCE_RAD[name])
        first = _rotation(axis, flexion) @ _rotation(np.array([0.0, 0.0, 1.0]), sideways)
        own = _flexion_axis(direction, 0.0)
        return [first, _rotation(own, bend), _rotation(own, DIP_PER_PIP * max(bend, 0.0))]

    def _thumb_rotations(self, turn: Mapping[str, float], pose: Pose) -> list[np.ndarray]:
        """Rotations at CMC, MCP and IP, in the rest frame."""
        bones = [self._bones[f'thumb{i}'][1] for i in (1, 2, 3)]
        proximal = turn['thumb_proximal']
        lift = _THUMB_LIFT_RAD + _THUMB_LIFT_SHARE * proximal + pose.thumb_lift
        bend = THUMB_FLAT_RAD + proximal - lift
        azimuth = _THUMB_AZIMUTH_RAD - pose.thumb_across
        metacarpal = np.array([np.cos(lift) * np.sin(azimuth), -np.cos(lift) * np.cos(azimuth),
                               -np.sin(lift)])
        # Crossing the palm, the thumb also turns its pad towards the fingers.
        roll = _rotation(metacarpal, _THUMB_ROLL * pose.thumb_across)
        rotations = [roll @ _shortest_rotation(bones[0], metacarpal)]
        for before, after, angle in zip(bones[:2], bones[1:], (bend, turn['thumb_distal']),
                                        strict=True):
            axis = unit(_cross(before, _THUMB_BENDS_TO))
            rotations.append(_rotation(axis, angle) @ _shortest_rotation(after, before))
        return rotations

    def _lean(
        self, joints: np.ndarray, transforms: dict[str, tuple[np.ndarray, np.ndarray]],
        pose: Pose, rotation: np.ndarray,
    ) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Bend the wrist, then turn the whole arm about its elbow, now the origin."""
        wrist, elbow = joints[WRIST], joints[ELBOW]
        bend = lift = 0.0
        wanted = pose.angles.get('wrist', 0.0), pose.angles.get('elbow', 0.0)
        for _ in range(_SOLVER_ROUNDS):
            hand = _turn_about((np.eye(3), np.zeros(3)), wrist,
                               _rotation(np.array([0.0, 0.0, 1.0]), bend))
            arm_rotation = _rotation(np.array([0.0, 0.0, 1.0]), lift) @ rotation
            arm = arm_rotation, -arm_rotation @ elbow
            placed = _apply(_chain(arm, hand), joints)
            placed[ELBOW] = 0.0
            placed[WRIST] = _apply(arm, wrist)
            angles = true_angles(placed, 'right')
            sign = thumb_side_sign(placed[:21])
            if not np.isnan(angles[10]):
                bend += wanted[0] - angles[10]
            lift += sign * (wanted[1] - angles[11])
        chained = {bone: _chain(arm, move if bone == 'forearm' else _chain(hand, move))
                   for bone, move in transforms.items()}
        return placed, chained

    def _skin(self, transforms: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Move the rest vertices with their bones (linear blend skinning)."""
        rotations = np.stack([transforms[bone][0] for bone in BONES])
        offsets = np.stack([transforms[bone][1] for bone in BONES])
        weights = self.body.weights
        blended = (weights @ rotations.reshape(len(BONES), 9)).reshape(-1, 3, 3)
        return (np.einsum('vij,vj->vi', blended, self.body.vertices) + weights @ offsets)


def true_angles(joints: np.ndarray, side: Side) -> np.ndarray:
    """The 12 angles of a person, from joint centres alone.

    Args:
        joints: Shape (22, 3), optical frame: MediaPipe's landmarks, then the elbow.
        side: Whose hand it is.

    Returns:
        Shape (12,) [rad] in the order of `JOINTS`; the wrist is NaN where the palm points at
        the camera.
    """
    points = joints[:21]
    sign = thumb_side_sign(points)
    forearm = (joints[WRIST] - joints[ELBOW])[:2]
    palm = palm_direction(points)
    wrist = np.nan if palm is None else sign * lean_between(forearm, palm)
    elbow = sign * lean_from_vertical(forearm)
    return np.array([*finger_angles(points, side), wrist, elbow])


def rotation_xyz(angles_rad: np.ndarray) -> np.ndarray:
    """Rotation about the camera's x, then y, then z axis.

    Args:
        angles_rad: Shape (3,).

    Returns:
        Shape (3, 3).
    """
    x, y, z = (_rotation(axis, angle) for axis, angle in zip(np.eye(3), angles_rad, strict=True))
    return z @ y @ x


def _flexion_axis(direction: np.ndarray, towards_thumb_rad: float) -> np.ndarray:
    """Axis in the palm's plane about which a straight finger bends towards the palm."""
    axis = unit(_cross(direction, np.array([0.0, 0.0, -1.0])))
    return _rotation(np.array([0.0, 0.0, 1.0]), -towards_thumb_rad) @ axis


def _rotation(axis: np.ndarray, angle_rad: float) -> np.ndarray:
    """Rotation about a unit axis (Rodrigues' formula), shape (3, 3)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return _IDENTITY + np.sin(angle_rad) * cross + (1.0 - np.cos(angle_rad)) * cross @ cross


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product of two vectors; numpy's own takes ten times as long."""
    ax, ay, az = a
    bx, by, bz = b
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def _shortest_rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Rotation that takes one unit vector to another without twist, shape (3, 3)."""
    axis = _cross(start, end)
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        return _IDENTITY
    return _rotation(axis / sine, np.arctan2(sine, np.dot(start, end)))


def _turn_about(
    parent: tuple[np.ndarray, np.ndarray], centre: np.ndarray, rotation: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Turn about a rest point, then move with the parent."""
    return _chain(parent, (rotation, centre - rotation @ centre))


def _chain(
    outer: tuple[np.ndarray, np.ndarray], inner: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Compose two rigid moves."""
    return outer[0] @ inner[0], outer[0] @ inner[1] + outer[1]


def _apply(move: tuple[np.ndarray, np.ndarray], points: np.ndarray) -> np.ndarray:
    """Move points, shape (..., 3)."""
    return points @ move[0].T + move[1]
