"""What the synthetic person does: gestures, and smooth movement from one to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from hand_imitation.human.angles import FINGERS
from hand_imitation.human.synthetic import Pose

_REST_SPREAD_RAD = {'index': 0.13, 'middle': 0.02, 'ring': -0.10, 'little': -0.26}
_REST_RAD = {'index': (0.10, 0.20), 'middle': (0.10, 0.36), 'ring': (0.16, 0.32),
             'little': (0.08, 0.28)}
_CLOSED_RAD = {'proximal': 1.22, 'distal': 1.52}
_FIST_RAD = {'proximal': 1.42, 'distal': 1.55}
# Tendons and habit: a finger that closes takes its neighbours along.
_FOLLOWING = {
    'index': {'middle': 0.10},
    'middle': {'index': 0.06, 'ring': 0.22, 'little': 0.08},
    'ring': {'middle': 0.22, 'little': 0.30, 'index': 0.05},
    'little': {'ring': 0.38, 'middle': 0.08},
}
_DIGITS = {1: ('index',), 2: ('index', 'middle'), 3: ('thumb', 'index', 'middle'),
           4: ('index', 'middle', 'ring', 'little'),
           5: ('thumb', 'index', 'middle', 'ring', 'little')}


class _Thumb(NamedTuple):
    """Where a closed thumb lies [rad]."""

    proximal: float
    distal: float
    across: float
    lift: float


# Fitted so that the thumb lies on the fingers, or on the palm, and goes through neither.
_THUMB_ON_PALM = _Thumb(0.70, 0.90, 0.85, -0.20)
_THUMB_ON_MIDDLE = _Thumb(0.79, 1.15, 0.36, 0.14)
_THUMBS = {0: _THUMB_ON_MIDDLE, 1: _THUMB_ON_MIDDLE, 2: _Thumb(1.20, 0.84, 0.54, 0.16),
           4: _THUMB_ON_PALM}
_THUMB_OFF = _Thumb(0.30, 0.30, 0.10, 0.15)
_THUMB_AT_INDEX = _Thumb(0.51, 0.46, 0.53, 0.0)


@dataclass(frozen=True)
class Keyframe:
    """A pose to reach and to hold.

    Attributes:
        name: What the person does, for people.
        pose: The pose.
        move_s: Time to get there.
        hold_s: Time to stay.
    """

    name: str
    pose: Pose
    move_s: float
    hold_s: float


def rest() -> Pose:
    """Open hand at ease."""
    angles = {}
    for name in FINGERS:
        angles[f'{name}_proximal'], angles[f'{name}_distal'] = _REST_RAD[name]
    angles['thumb_distal'] = 0.15
    return Pose(angles, _REST_SPREAD_RAD)


def thumb_off(pose: Pose) -> Pose:
    """Take the thumb off the fingers, so that they can pass.

    Args:
        pose: Any pose.

    Returns:
        The same fingers, the thumb beside them.
    """
    return _with_thumb(pose, _THUMB_OFF)


def spread() -> Pose:
    """All fingers straight and wide apart."""
    wide = {'index': 0.26, 'middle': 0.04, 'ring': -0.20, 'little': -0.46}
    return Pose({'thumb_proximal': -0.08}, wide, thumb_across=-0.22)


def close_fingers(*names: str) -> Pose:
    """Close some fingers, the others as open as tendons let them be.

    Args:
        names: Of 'thumb', 'index', 'middle', 'ring' and 'little'.

    Returns:
        The pose; a closed thumb lies across the palm.
    """
    pose = rest()
    angles = dict(pose.angles)
    for name in FINGERS:
        for joint, closed in _CLOSED_RAD.items():
            share = 1.0 if name in names else max(
                (_FOLLOWING[other].get(name, 0.0) for other in names if other != 'thumb'),
                default=0.0)
            key = f'{name}_{joint}'
            angles[key] = angles[key] + share * (closed - angles[key])
    pose = replace(pose, angles=angles)
    return _with_thumb(pose, _THUMB_ON_PALM) if 'thumb' in names else pose


def digit(number: int) -> Pose:
    """Show a number with the fingers, the thumb over the closed ones.

    Args:
        number: 0 (a fist) to 5; 3 is thumb, index and middle.

    Returns:
        The pose.
    """
    shown = _DIGITS.get(number, ())
    angles = dict(rest().angles)
    for name in FINGERS:
        if name not in shown:
            for joint, closed in _FIST_RAD.items():
                angles[f'{name}_{joint}'] = closed
        else:
            angles.update({f'{name}_proximal': 0.06, f'{name}_distal': 0.12})
    pose = Pose(angles, {**_REST_SPREAD_RAD, 'index': 0.16, 'middle': -0.02})
    return pose if 'thumb' in shown else _with_thumb(pose, _THUMBS[number])


def fist() -> Pose:
    """All fingers closed, the thumb over them."""
    return digit(0)


def pinch() -> Pose:
    """Tips of thumb and index together."""
    pose = rest()
    angles = {**pose.angles, 'index_proximal': 0.66, 'index_distal': 0.95}
    return _with_thumb(replace(pose, angles=angles), _THUMB_AT_INDEX)


def lean(pose: Pose, *, wrist: float = 0.0, elbow: float = 0.0) -> Pose:
    """Lean the hand or the arm.

    Args:
        pose: The fingers' pose.
        wrist: [rad], positive towards the thumb.
        elbow: [rad], positive towards the thumb.

    Returns:
        The pose, leaning.
    """
    return replace(pose, angles={**pose.angles, 'wrist': wrist, 'elbow': elbow})


def blend(first: Pose, second: Pose, share: float) -> Pose:
    """Mix two poses, every angle by itself.

    Args:
        first: The pose at share 0.
        second: The pose at share 1.
        share: 0 to 1.

    Returns:
        The mixture.
    """
    def mix(a: float, b: float) -> float:
        return a + share * (b - a)

    def mix_all(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
        return {name: mix(a.get(name, 0.0), b.get(name, 0.0)) for name in {**a, **b}}

    return Pose(mix_all(first.angles, second.angles), mix_all(first.spread, second.spread),
                mix(first.thumb_across, second.thumb_across),
                mix(first.thumb_lift, second.thumb_lift))


def play(keyframes: Sequence[Keyframe], rate_hz: float) -> list[tuple[str, Pose]]:
    """Move through keyframes along minimum-jerk curves (Flash and Hogan 1985).

    Args:
        keyframes: In order; the first is where the person already is.
        rate_hz: Poses per second.

    Returns:
        What is being done and the pose, for each instant.
    """
    poses = []
    before = keyframes[0].pose
    for keyframe in keyframes:
        moving = round(keyframe.move_s * rate_hz)
        for i in range(1, moving + 1):
            t = i / moving
            share = t ** 3 * (10.0 - 15.0 * t + 6.0 * t * t)
            poses.append((keyframe.name, blend(before, keyframe.pose, share)))
        poses.extend([(keyframe.name, keyframe.pose)] * round(keyframe.hold_s * rate_hz))
        before = keyframe.pose
    return poses


def sway(time_s: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Small slow movement of an arm held up, never the same twice.

    Args:
        time_s: The instant.
        seed: Who sways.

    Returns:
        Offset of the elbow, shape (3,) [m], and turn of the arm about x, y and z,
        shape (3,) [rad].
    """
    random = np.random.default_rng(seed)
    waves = np.zeros(6)
    for _ in range(3):
        rate, phase = random.uniform(0.1, 0.45, size=6), random.uniform(0.0, 2.0 * np.pi, size=6)
        waves += np.sin(2.0 * np.pi * rate * time_s + phase) / 3.0
    return waves[:3] * [0.006, 0.003, 0.010], waves[3:] * [0.07, 0.10, 0.0]


def _with_thumb(pose: Pose, thumb: _Thumb) -> Pose:
    """Put the thumb somewhere else."""
    angles = {**pose.angles, 'thumb_proximal': thumb.proximal, 'thumb_distal': thumb.distal}
    return replace(pose, angles=angles, thumb_across=thumb.across, thumb_lift=thumb.lift)
