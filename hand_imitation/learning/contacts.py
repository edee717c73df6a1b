"""Where the thumb touches: found by solving for its joints, on each person's own proportions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hand_imitation.human.angles import FINGERS, THUMB, WRIST
from hand_imitation.human.synthetic import Pose
from hand_imitation.human.synthetic_mesh import CHAINS, unit
from hand_imitation.learning.people import Model

_PADS_M = 0.013
"""Distance of the finger tips' centres when their pads touch."""
_ON_BACK_M = 0.016
"""Height of the thumb's tip over the axis of the finger it lies on."""
_ROUNDS = 4
_STEP_RAD = 0.02
_TOLERANCE_M = 0.004
"""Residuals are weighed by this against leaving the pose the solver starts from."""
_LOW = np.array([-0.4, -0.1, -0.4, -0.5, -0.2, 0.0])
_HIGH = np.array([1.5, 1.45, 1.35, 0.5, 1.5, 1.7])
_FREEDOM = np.array([0.5, 0.5, 0.45, 0.3, 0.35, 0.35])
"""Of thumb_proximal, thumb_distal, thumb_across, thumb_lift and the finger's two joints [rad]."""

_RADIUS_M = {'thumb': 0.0085, 'index': 0.0078, 'middle': 0.0080, 'ring': 0.0075,
             'little': 0.0065}

_PALM_RADIUS_M = 0.0105

Target = Callable[[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]], np.ndarray]


def touch_tip(model: Model, pose: Pose, finger: str) -> Pose:
    """Bring the pads of thumb and finger together, moving both.

    Args:
        model: Whose hand.
        pose: Where to start.
        finger: Which finger.

    Returns:
        The pose, touching as far as the hand can reach.
    """
    def target(joints: np.ndarray,
               moved: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        chain = CHAINS[finger]
        return joints[chain[3]] + _PADS_M * _palmar(joints, moved, finger, 3)

    return _reach(model, pose, target, ('thumb', finger), finger)


def lie_on(model: Model, pose: Pose, finger: str, along: float) -> Pose:
    """Lay the thumb's tip on the back of a closed finger's middle bone.

    Args:
        model: Whose hand.
        pose: A pose with that finger closed.
        finger: Which finger.
        along: Where on the bone, from 0 at the middle joint to 1 at the last.

    Returns:
        The pose with another thumb.
    """
    def target(joints: np.ndarray,
               moved: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        chain = CHAINS[finger]
        place = joints[chain[1]] + along * (joints[chain[2]] - joints[chain[1]])
        return place - _ON_BACK_M * _palmar(joints, moved, finger, 2)

    return _reach(model, pose, target, ('thumb', finger))


def cross_palm(model: Model, pose: Pose, across: float, up: float) -> Pose:
    """Lay the thumb's tip on the palm.

    Args:
        model: Whose hand.
        pose: Where to start.
        across: From 0 under the index to 1 under the little finger.
        up: From 0 at the wrist to 1 at the knuckles.

    Returns:
        The pose with another thumb.
    """
    def target(joints: np.ndarray, _: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        knuckle = joints[5] + across * (joints[17] - joints[5])
        return joints[0] + up * (knuckle - joints[0]) + [0.0, 0.0, -0.022]

    return _reach(model, pose, target, ('thumb',))


def beside_index(model: Model, pose: Pose, along: float) -> Pose:
    """Press the thumb's tip to the side of the index's first bone.

    Args:
        model: Whose hand.
        pose: Where to start.
        along: From 0 at the knuckle to 1 at the middle joint.

    Returns:
        The pose with another thumb.
    """
    def target(joints: np.ndarray, _: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        aside = unit(joints[5] - joints[9])
        return joints[5] + along * (joints[6] - joints[5]) + 0.017 * aside

    return _reach(model, pose, target, ('thumb', 'index'))


def overlap_m(joints: np.ndarray) -> float:
    """How deep the thumb's last two bones go into finger or palm, taking bones as capsules.

    Args:
        joints: Shape (22, 3) [m].

    Returns:
        Depth [m], negative where there is room.
    """
    worst = -np.inf
    for a, b in zip(THUMB[1:3], THUMB[2:], strict=True):
        for finger, chain in FINGERS.items():
            # From the wrist: the first bone is the one in the palm.
            for i, (c, d) in enumerate(zip((WRIST, *chain[:3]), chain, strict=True)):
                gap = _segment_distance(joints[a], joints[b], joints[c], joints[d])
                radius = _PALM_RADIUS_M if i == 0 else _RADIUS_M[finger]
                worst = max(worst, _RADIUS_M['thumb'] + radius - gap)
    return float(worst)


def _reach(
    model: Model, pose: Pose, target: Target, chains: Sequence[str], finger: str | None = None,
) -> Pose:
    """Gauss-Newton on the thumb's parameters, and on the finger's where one is given."""
    count = 4 if finger is None else 6
    start = _parameters(pose, finger)
    low, high = np.minimum(_LOW[:count], start), np.maximum(_HIGH[:count], start)

    def miss(values: np.ndarray) -> np.ndarray:
        joints, moved = model.rough(_with_parameters(pose, values, finger), chains)
        return (joints[CHAINS['thumb'][3]] - target(joints, moved)) / _TOLERANCE_M

    values = start
    for _ in range(_ROUNDS):
        here = miss(values)
        if np.linalg.norm(here) < 0.4:
            break
        slope = np.stack([(miss(values + step) - here) / _STEP_RAD
                          for step in _STEP_RAD * np.eye(count)], axis=1)
        stay = np.diag(1.0 / _FREEDOM[:count])
        system = np.concatenate([slope, stay])
        right = np.concatenate([-here, stay @ (start - values)])
        step = np.linalg.lstsq(system, right, rcond=None)[0]
        values = np.clip(values + np.clip(step, -0.5, 0.5), low, high)
    return _with_parameters(pose, values, finger)


def _parameters(pose: Pose, finger: str | None) -> np.ndarray:
    values = [pose.angles.get('thumb_proximal', 0.0), pose.angles.get('thumb_distal', 0.0),
              pose.thumb_across, pose.thumb_lift]
    if finger is not None:
        values += [pose.angles[f'{finger}_proximal'], pose.angles[f'{finger}_distal']]
    return np.array(values)


def _with_parameters(pose: Pose, values: np.ndarray, finger: str | None) -> Pose:
    angles = {**pose.angles, 'thumb_proximal': values[0], 'thumb_distal': values[1]}
    if finger is not None:
        angles.update({f'{finger}_proximal': values[4], f'{finger}_distal': values[5]})
    return replace(pose, angles=angles, thumb_across=values[2], thumb_lift=values[3])


def _palmar(
    joints: np.ndarray, moved: dict[str, tuple[np.ndarray, np.ndarray]], finger: str, bone: int,
) -> np.ndarray:
    """Direction to which a finger's bone turns its inner side."""
    chain = CHAINS[finger]
    along = unit(joints[chain[bone]] - joints[chain[bone - 1]])
    inner = moved[f'{finger}{bone}'][0] @ np.array([0.0, 0.0, -1.0])
    return unit(inner - np.dot(inner, along) * along)


def _segment_distance(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> float:
    """Distance of two segments (closest points by clamped normal equations)."""
    u, v, w = b - a, d - c, a - c
    uu, uv, vv, uw, vw = u @ u, u @ v, v @ v, u @ w, v @ w
    scale = uu * vv - uv * uv
    s = min(max((uv * vw - vv * uw) / scale, 0.0), 1.0) if scale > 1e-12 else 0.0
    t = min(max((uv * s + vw) / vv, 0.0), 1.0)
    s = min(max((uv * t - uw) / uu, 0.0), 1.0)
    gap = w + s * u - t * v
    return float(np.sqrt(gap @ gap))
