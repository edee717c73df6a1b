"""Where and in what light the hand is seen: view, framing, light, and the finished picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hand_imitation.human.angles import WRIST, Side
from hand_imitation.human.synthetic import true_angles
from hand_imitation.human.synthetic_mesh import ELBOW, unit
from hand_imitation.learning.backgrounds import draw_background
from hand_imitation.learning.camera_effects import photograph
from hand_imitation.learning.people import Arm, Model
from hand_imitation.learning.poses import draw_pose
from hand_imitation.learning.rendering import Crop, Light, draw, pose_skin

Random = np.random.Generator

HELD_OUT_YAW_RAD = (np.radians(110.0), np.radians(130.0))
"""Turns of the hand about the forearm, from palm to camera (0) over the thumb's side (90
degrees) to the back (180), that only the test split shows."""

_FOREARM_SEEN_M = np.array([0.03, 0.05, 0.07])
"""The forearm counts as seen when these distances from the wrist are in the picture."""
_NEAREST_M = 0.22
_FORESHORTENED = 0.35
"""It has no direction in the picture when its projection is shorter than this share."""

_YAWS_RAD = {
    'palm': (0.10, 0.42, 0.50), 'thumb side': (1.20, 0.40, 0.20), 'back': (np.pi, 0.45, 0.15),
    'little side': (-1.25, 0.40, 0.07), 'any': (0.0, 10.0, 0.08),
}
"""Mean, standard deviation and share of the views."""
_THUMB_SIDE_FAMILIES = {'round', 'pinch', 'fist'}


@dataclass(frozen=True)
class Framing:
    """How tightly hands are framed.

    Attributes:
        margin: Range of the crop's side over the extent of what it frames.
        forearm_m: Range of how much forearm is framed with the hand.
        jitter: Standard deviation of the crop's place, share of its side.
        turn_rad: Standard deviation of the usual turn of the arm in the picture.
    """

    margin: tuple[float, float]
    forearm_m: tuple[float, float]
    jitter: float
    turn_rad: float


CROPS = Framing((1.10, 1.9), (-0.04, 0.10), 0.05, 0.35)
"""A hand detector's crop, or a hand photographed close."""
FRAMES = Framing((1.25, 2.4), (0.03, 0.16), 0.04, 0.35)
"""A person before a webcam, the picture cut to a square."""


@dataclass(frozen=True)
class Shot:
    """One picture and all that is true in it.

    Attributes:
        picture: sRGB, uint8, shape (size, size, 3).
        joints_m: Joint centres, optical frame, shape (22, 3).
        points_px: MediaPipe's 21 landmarks in the picture, shape (21, 2).
        angles_rad: Shape (12,) in the order of `angles.JOINTS`, all of them.
        valid: Which of them can be told from the picture, shape (12,).
        side: Which hand.
        family: Of the pose.
        yaw_rad: Turn about the forearm: 0 shows the palm, pi the back.
        background: Kind of background.
        held_out: Names of what training never shows: 'pose', 'view', 'background', 'light'.
    """

    picture: np.ndarray
    joints_m: np.ndarray
    points_px: np.ndarray
    angles_rad: np.ndarray
    valid: np.ndarray
    side: Side
    family: str
    yaw_rad: float
    background: str
    held_out: frozenset[str]


def draw_shot(
    random: Random, model: Model, size_px: int, framing: Framing = CROPS,
    held_out: frozenset[str] = frozenset(), free: float = 0.0, gentle: bool = False,
) -> Shot:
    """Take a picture of a person.

    Args:
        random: Where to draw everything from.
        model: The person.
        size_px: Side of the picture.
        framing: How the hand is framed.
        held_out: Which of 'pose', 'view', 'background' and 'light' come from those kept for
            the test.
        free: Share of poses from the free families, see `draw_pose`.
        gentle: For a good camera.

    Returns:
        The picture and its truth.
    """
    family, pose = draw_pose(random, model, 'pose' in held_out, free)
    joints, moved = model.fingers(pose)
    yaw = draw_yaw(random, family, 'view' in held_out)
    side: Side = 'left' if random.random() < 0.5 else 'right'
    joints, rotations, offsets = model.hold(joints, moved, draw_arm(random, yaw, framing), side)
    nearest = float(joints[:, 2].min())
    if nearest < _NEAREST_M:
        # A forearm that points at the camera would stick through it.
        joints[:, 2] += _NEAREST_M - nearest
        offsets[:, 2] += _NEAREST_M - nearest
    crop = draw_crop(random, joints, framing, size_px)
    mesh = pose_skin(model, rotations, offsets, side)
    light = draw_light(random, 'light' in held_out)
    layer = draw(mesh, model, crop, light)
    background_name, background = draw_background(random, size_px, 'background' in held_out)
    picture = develop(random, layer, background, light, gentle=gentle)
    angles = true_angles(joints, side)
    return Shot(picture, joints, crop.project(joints[:21]), angles,
                tellable(joints, angles, crop), side, family, yaw, background_name, held_out)


def develop(
    random: Random, layer: np.ndarray, background: np.ndarray, light: Light, *, gentle: bool,
) -> np.ndarray:
    """Put the hand before the background and photograph both.

    Args:
        random: Where shadow and camera are drawn from.
        layer: From `rendering.draw`.
        background: Reflectance of what is behind, linear RGB, shape (size, size, 3).
        light: What lights both.
        gentle: For a good camera.

    Returns:
        sRGB, uint8, shape (size, size, 3).
    """
    behind = _cast_shadow(random, background * _light_level(light), layer[..., 3], light)
    linear = layer[..., :3] + (1.0 - layer[..., 3:]) * behind
    return photograph(random, linear, layer[..., 3], gentle=gentle)


def draw_light(random: Random, held_out: bool = False) -> Light:
    """Draw the light.

    Args:
        random: Where to draw from.
        held_out: Whether to draw from the lights kept for the test: strong colour from below.

    Returns:
        The light.
    """
    if held_out:
        towards = np.array([random.normal(0.0, 0.6), random.uniform(0.4, 1.0),
                            -random.uniform(0.1, 1.0)])
        key = random.uniform(0.6, 1.8) * (0.25 + 1.2 * random.dirichlet(np.ones(3)))
    else:
        # A flash or a window behind the camera, or a lamp above to any side.
        towards = (np.array([random.normal(0, 0.15), -0.15, -1.0]) if random.random() < 0.15
                   else np.array([random.normal(0.0, 0.8), random.uniform(-1.2, 0.2),
                                  random.uniform(-1.0, 0.35)]))
        key = random.uniform(0.15, 1.7) * _warmth(random, 0.22)
    room = random.uniform(0.25, 0.85) * _warmth(random, 0.12)
    below = room * random.uniform(0.3, 1.0) * _warmth(random, 0.12)
    return Light(
        towards_key=unit(towards), key=key,
        towards_fill=unit(np.array([random.normal(0.0, 1.0), random.normal(-0.2, 0.5),
                                    random.uniform(-1.0, 0.2)])),
        fill=random.uniform(0.0, 0.5) * _warmth(random, 0.2),
        above=room, below=below, wrap=random.uniform(0.08, 0.30),
        softness_m=float(np.exp(random.uniform(np.log(0.0015), np.log(0.012)))),
        highlight_power=random.uniform(10.0, 40.0), crevice=random.uniform(1.1, 2.5))


def draw_yaw(random: Random, family: str, held_out: bool) -> float:
    """Draw the turn about the forearm, outside the held-out band unless asked for it.

    Args:
        random: Where to draw from.
        family: Of the pose; some are seen more often from the thumb's side.
        held_out: Whether to draw inside the band.

    Returns:
        Angle [rad], -pi to pi; 0 shows the palm, pi / 2 the thumb's side.
    """
    low, high = HELD_OUT_YAW_RAD
    if held_out:
        return float(random.uniform(low, high))
    shares = np.array([share for _, _, share in _YAWS_RAD.values()])
    if family in _THUMB_SIDE_FAMILIES:
        shares = shares * [0.7, 2.2, 0.7, 1.0, 1.0]
    while True:
        mean, spread, _ = list(_YAWS_RAD.values())[
            int(random.choice(len(shares), p=shares / shares.sum()))]
        yaw = (random.normal(mean, spread) + np.pi) % (2.0 * np.pi) - np.pi
        if not low <= yaw <= high:
            return float(yaw)


def draw_arm(random: Random, yaw_rad: float, framing: Framing) -> Arm:
    """Draw how the arm is held before the camera.

    Args:
        random: Where to draw from.
        yaw_rad: Turn about the forearm.
        framing: Says how far the arm usually leans.

    Returns:
        The arm.
    """
    pitch = float(np.clip(random.normal(0.0, 0.30), -0.8, 0.8))
    choice = random.random()
    roll = (random.normal(0.0, framing.turn_rad) if choice < 0.85
            else random.uniform(-np.pi / 2, np.pi / 2))
    rotation = rotation_about(2, roll) @ rotation_about(0, pitch) @ rotation_about(1, yaw_rad)
    distance = np.exp(random.uniform(np.log(0.28), np.log(1.1)))
    centre = np.array([*(random.normal(0.0, 0.10, 2) * distance), distance])
    return Arm(rotation, float(np.clip(random.normal(0.0, 0.17), -0.5, 0.5)),
               float(np.clip(random.normal(-0.08, 0.25), -0.8, 0.7)), centre)


def draw_crop(random: Random, joints: np.ndarray, framing: Framing, size_px: int) -> Crop:
    """Frame the hand.

    Args:
        random: Where to draw from.
        joints: Optical frame, shape (22, 3) [m].
        framing: How tightly.
        size_px: Side of the picture.

    Returns:
        The crop.
    """
    down = unit(joints[ELBOW] - joints[WRIST])
    framed = np.vstack([joints[:21], joints[WRIST] + random.uniform(*framing.forearm_m) * down])
    on_plane = framed[:, :2] / framed[:, 2:]
    low, high = on_plane.min(axis=0), on_plane.max(axis=0)
    # A fist is seldom photographed so close that it fills the picture like an open hand.
    open_hand = random.uniform(0.45, 0.95) * 0.17 / float(joints[:21, 2].mean())
    extent = max(float((high - low).max()), open_hand)
    least, most = framing.margin
    width = extent * (least + (most - least) * random.beta(1.2, 2.2))
    room = np.maximum((width - (high - low)) / 2.0, 0.0)
    shift = np.clip(random.normal(0.0, framing.jitter, 2) * width, -room, room)
    return Crop((low + high) / 2.0 + shift, width, size_px)


def tellable(joints: np.ndarray, angles: np.ndarray, crop: Crop) -> np.ndarray:
    """Which angles a picture shows: wrist and elbow need a forearm with a direction.

    Args:
        joints: Optical frame, shape (22, 3) [m].
        angles: From `true_angles`, shape (12,).
        crop: What is seen.

    Returns:
        Shape (12,), bool.
    """
    valid = np.ones(len(angles), dtype=bool)
    down = unit(joints[ELBOW] - joints[WRIST])
    shown = crop.project(joints[WRIST] + _FOREARM_SEEN_M[:, None] * down)
    inside = ((shown > 0.0) & (shown < crop.size_px)).all()
    elbow = bool(inside) and float(np.linalg.norm(down[:2])) > _FORESHORTENED
    valid[11] = elbow
    valid[10] = elbow and bool(np.isfinite(angles[10]))
    return valid


def _light_level(light: Light) -> np.ndarray:
    """Light on a surface that faces the camera, linear RGB."""
    facing = max(float(-light.towards_key[2]), 0.25)
    return (0.5 * (light.above + light.below) + facing * light.key + 0.5 * light.fill
            ).astype(np.float32)


def _cast_shadow(
    random: Random, background: np.ndarray, hand: np.ndarray, light: Light,
) -> np.ndarray:
    """Let the hand shade a wall or table close behind it."""
    if random.random() > 0.45:
        return background
    size = len(hand)
    away = -light.towards_key[:2] / max(abs(float(light.towards_key[2])), 0.3)
    shift = away * random.uniform(0.02, 0.20) * size
    move = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
    moved = cv2.warpAffine(hand, move, (size, size))
    soft = cv2.GaussianBlur(moved, (0, 0), random.uniform(0.01, 0.06) * size)
    return background * (1.0 - random.uniform(0.15, 0.7) * soft[..., None])


def _warmth(random: Random, strength: float) -> np.ndarray:
    """Colour of a light, from warm to cool, mean about 1."""
    warm = random.normal(0.0, strength)
    return np.exp(np.array([warm, 0.15 * random.normal(0.0, strength), -warm]))


def rotation_about(axis: int, angle_rad: float) -> np.ndarray:
    """Turn about a coordinate axis.

    Args:
        axis: 0, 1 or 2.
        angle_rad: Right-handed.

    Returns:
        Rotation, shape (3, 3).
    """
    matrix = np.eye(3)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix
