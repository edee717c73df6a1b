"""Hands that move at human speeds, and what perception, following them, sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hand_imitation.human.angles import WRIST, Side
from hand_imitation.human.perception import StreamPerception
from hand_imitation.human.synthetic import Pose, true_angles
from hand_imitation.human.synthetic_mesh import ELBOW, unit
from hand_imitation.human.synthetic_motion import Keyframe, play
from hand_imitation.learning.backgrounds import draw_background
from hand_imitation.learning.people import Arm, Model
from hand_imitation.learning.poses import draw_pose
from hand_imitation.learning.rendering import Crop, draw, pose_skin
from hand_imitation.learning.scenes import (
    FRAMES,
    Shot,
    develop,
    draw_arm,
    draw_light,
    draw_yaw,
    rotation_about,
    tellable,
)
from hand_imitation.learning.shards import Arrays, seen_row, stacked, truth_row
from hand_imitation.learning.splits import Split, draw_held_out, person, picture_random

RATE_HZ = 30
SEQUENCE_FRAMES = 240
"""Eight seconds. Divides the pictures of a shard."""

_FRAME_PX = 288
_PEOPLE_FROM = 1_000_000
"""People of sequences have numbers of their own."""
_MOVE_S = (0.25, 0.9)
_HOLD_S = (0.0, 0.7)
"""Reaching a finger pose takes people 0.25 s in haste and 0.9 s at ease."""
_SWAY_RATES_HZ = (0.08, 0.6)
_SWAY_RAD = {'yaw': 0.25, 'pitch': 0.12, 'roll': 0.25, 'wrist_lean': 0.12, 'wrist_flexion': 0.15}
_FORESEEN_MARGIN = 1.15
_FRESH_NOISE = 2.0
"""Of 255, different in each picture; the rest of the camera stays as it is."""


@dataclass(frozen=True)
class _Moment:
    """The hand at one instant."""

    joints: np.ndarray
    rotations: np.ndarray
    offsets: np.ndarray
    family: str
    yaw_rad: float


def make_motion(
    split: Split, seed: int, numbers: range, wait: Callable[[], None],
) -> Arrays:
    """Make a shard of sequences, each of another person.

    Args:
        split: Of the data.
        seed: Of the data.
        numbers: Which frames of the split; from a multiple of `SEQUENCE_FRAMES` on.
        wait: Called before each frame; returns when work may go on.

    Returns:
        Arrays with one row a frame, see `docs/dataset.md`.
    """
    rows: list[dict[str, Any]] = []
    for start in range(numbers.start, numbers.stop, SEQUENCE_FRAMES):
        frames = min(SEQUENCE_FRAMES, numbers.stop - start)
        rows += _sequence(split, seed, start // SEQUENCE_FRAMES, frames, wait)
    return stacked(rows)


def film(
    split: Split, seed: int, sequence: int, frames: int, wait: Callable[[], None],
) -> Iterator[Shot]:
    """Film one person.

    Args:
        split: Of the data.
        seed: Of the data.
        sequence: Which one of the split.
        frames: How many, at most `SEQUENCE_FRAMES`.
        wait: Called before each frame; returns when work may go on.

    Yields:
        The frames, `RATE_HZ` to the second.
    """
    who = _PEOPLE_FROM + sequence
    random = picture_random(split, who, seed)
    held_out = draw_held_out(split, random)
    model = Model(person(split, who, seed))
    side: Side = 'left' if random.random() < 0.5 else 'right'
    moments = _act(random, model, side, held_out, split.free)[:frames]
    crop = _fixed_crop(random, moments)
    light = draw_light(random, 'light' in held_out)
    background_name, background = draw_background(random, _FRAME_PX, 'background' in held_out)
    camera = int(random.integers(2 ** 31))
    for moment in moments:
        wait()
        mesh = pose_skin(model, moment.rotations, moment.offsets, side)
        layer = draw(mesh, model, crop, light)
        # The same camera in every frame.
        picture = develop(np.random.default_rng(camera), layer, background, light, gentle=True)
        noise = random.normal(0.0, _FRESH_NOISE, picture.shape)
        picture = np.clip(picture + noise, 0.0, 255.0).astype(np.uint8)
        angles = true_angles(moment.joints, side)
        yield Shot(picture, moment.joints, crop.project(moment.joints[:21]), angles,
                   tellable(moment.joints, angles, crop), side, moment.family, moment.yaw_rad,
                   background_name, held_out)


def _sequence(
    split: Split, seed: int, sequence: int, frames: int, wait: Callable[[], None],
) -> list[dict[str, Any]]:
    """Film one person, and let perception follow."""
    perception = StreamPerception()
    rows = []
    for frame, shot in enumerate(film(split, seed, sequence, frames, wait)):
        observation = perception.observe(shot.picture, frame / RATE_HZ)
        rows.append({
            **seen_row(observation),
            **truth_row(sequence * SEQUENCE_FRAMES + frame, shot),
            'person': np.int32(_PEOPLE_FROM + sequence), 'sequence': np.int32(sequence),
            'time_s': np.float32(frame / RATE_HZ), 'seen_settled': observation.settled,
        })
    perception.close()
    return rows


def _act(
    random: np.random.Generator, model: Model, side: Side, held_out: frozenset[str],
    free: float,
) -> list[_Moment]:
    """Move from pose to pose while the arm sways."""
    poses = _choreography(random, model, 'pose' in held_out, free)
    yaw = draw_yaw(random, poses[0][0], 'view' in held_out)
    arm = draw_arm(random, yaw, FRAMES)
    sways = {name: amount * _waves(random, len(poses)) for name, amount in _SWAY_RAD.items()}
    if 'view' in held_out:
        sways['yaw'] *= 0.3
    mirror = np.array([-1.0 if side == 'left' else 1.0, 1.0, 1.0])
    moments: list[_Moment] = []
    for i, (family, pose) in enumerate(poses):
        sway = {name: float(values[i]) for name, values in sways.items()}
        turned = (rotation_about(2, sway['roll']) @ rotation_about(0, sway['pitch'])
                  @ arm.rotation @ rotation_about(1, sway['yaw']))
        now = Arm(turned, arm.wrist_lean_rad + sway['wrist_lean'],
                  arm.wrist_flexion_rad + sway['wrist_flexion'], arm.centre_m)
        joints, rotations, offsets = model.hold(*model.fingers(pose), now, side)
        if moments:
            # The elbow stays where it is; the hand moves.
            step = moments[0].joints[ELBOW] - joints[ELBOW]
            joints, offsets = joints + step, offsets + step * mirror
        moments.append(_Moment(joints, rotations, offsets, family, yaw + sway['yaw']))
    return _away_from_camera(moments)


def _choreography(
    random: np.random.Generator, model: Model, held_out: bool, free: float,
) -> list[tuple[str, Pose]]:
    """Family and pose at each frame."""
    family, pose = draw_pose(random, model, held_out, free)
    keys = [Keyframe(family, pose, 0.0, float(random.uniform(*_HOLD_S)))]
    while sum(key.move_s + key.hold_s for key in keys) * RATE_HZ < SEQUENCE_FRAMES + RATE_HZ:
        family, pose = draw_pose(random, model, held_out, free)
        keys.append(Keyframe(family, pose, float(random.uniform(*_MOVE_S)),
                             float(random.uniform(*_HOLD_S))))
    return play(keys, RATE_HZ)[:SEQUENCE_FRAMES]


def _waves(random: np.random.Generator, frames: int) -> np.ndarray:
    """Slow irregular movement, about -1 to 1, 0 at first."""
    time_s = np.arange(frames) / RATE_HZ
    waves = np.zeros(frames)
    for _ in range(3):
        rate, phase = random.uniform(*_SWAY_RATES_HZ), random.uniform(0.0, 2.0 * np.pi)
        waves += np.sin(2.0 * np.pi * rate * time_s + phase) / 2.0
    return waves - waves[0]


def _away_from_camera(moments: list[_Moment], nearest_m: float = 0.25) -> list[_Moment]:
    """Step back as one if any part would come too near the camera."""
    closest = min(float(moment.joints[:, 2].min()) for moment in moments)
    back = np.array([0.0, 0.0, max(nearest_m - closest, 0.0)])
    return [replace(moment, joints=moment.joints + back, offsets=moment.offsets + back)
            for moment in moments]


def _fixed_crop(random: np.random.Generator, moments: list[_Moment]) -> Crop:
    """One window for the whole sequence."""
    forearm = random.uniform(*FRAMES.forearm_m)
    points = []
    for moment in moments:
        joints = moment.joints
        down = unit(joints[ELBOW] - joints[WRIST])
        framed = np.vstack([joints[:21], joints[WRIST] + forearm * down])
        points.append(framed[:, :2] / framed[:, 2:])
    everywhere = np.concatenate(points)
    low, high = everywhere.min(axis=0), everywhere.max(axis=0)
    width = float((high - low).max()) * random.uniform(_FORESEEN_MARGIN, 1.7)
    return Crop((low + high) / 2.0, width, _FRAME_PX)
