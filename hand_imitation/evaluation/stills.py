"""Poses told from single pictures of synthetic people, held against the truth.

A picture to which a policy has no answer, or none for a joint, counts with the error of the best
constant pose: the median of the truth over these very pictures, so that no other constant is
better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.evaluation.bootstrap import block_interval
from hand_imitation.evaluation.figures import interval_figures, rounded
from hand_imitation.evaluation.tracking import FINGER_JOINTS
from hand_imitation.human.angles import JOINTS
from hand_imitation.human.observation import HandObservation
from hand_imitation.learning.shards import FRAME_PX, Arrays, observation_of, shots
from hand_imitation.learning.splits import find_split
from hand_imitation.policy.base import Policy, unseen

GROUPS = {
    'fingers': FINGER_JOINTS, 'thumb': ('thumb_proximal', 'thumb_distal'), 'wrist': ('wrist',),
    'elbow': ('elbow',),
}
PALM_STEP_DEG = 30
_PINCH_JOINTS = ('thumb_proximal', 'thumb_distal', 'index_proximal', 'index_distal')


@dataclass(frozen=True, eq=False)
class Stills:
    """Pictures of hands; m rows, joints in the table's order.

    Attributes:
        table: The arm's joints.
        truth_rad: Shape (m, n), in the person's terms, NaN where the picture cannot tell [rad].
        palm_deg: Shape (m,), between the palm's normal and the way to the camera: 0 shows the
            palm, 90 the hand's edge, 180 the back [deg].
        person: Shape (m,), who it is.
        family: Shape (m,), which kind of pose it is, such as 'fist'.
        marks: Per mark, shape (m,), bool: which pictures are of that kind.
        seen: What perception saw in them.
        pictures: Makes the pictures again, for those who look for themselves.
    """

    table: JointTable
    truth_rad: np.ndarray
    palm_deg: np.ndarray
    person: np.ndarray
    family: np.ndarray
    marks: Mapping[str, np.ndarray]
    seen: Sequence[HandObservation]
    pictures: Callable[[], Iterator[np.ndarray]]

    def __len__(self) -> int:
        return len(self.seen)

    @property
    def constant_rad(self) -> np.ndarray:
        """The best constant pose, shape (n,) [rad]."""
        return np.nanmedian(self.truth_rad, axis=0)


def stills_of(arrays: Arrays, recipe: Mapping[str, Any], table: JointTable) -> Stills:
    """Take the pictures of a data set of kind 'landmarks'.

    Args:
        arrays: Of the data set, see `docs/dataset.md`.
        recipe: What it was made by.
        table: The arm's joints.

    Returns:
        The pictures.
    """
    order = [JOINTS.index(name) for name in table.names]
    truth = np.where(arrays['valid'], arrays['angles_rad'], np.nan)[:, order].astype(float)
    marks = {
        'pinches': arrays['family'] == 'pinch',
        **{f'new {name}s': np.asarray(arrays[f'held_out_{name}'], dtype=bool)
           for name in ('pose', 'view')}}
    return Stills(
        table, truth, palm_angles_deg(arrays['joints_m'], arrays['right']), arrays['person'],
        arrays['family'], marks, [observation_of(arrays, row) for row in range(len(truth))],
        partial(_made_again, arrays['number'], recipe))


def palm_angles_deg(joints_m: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Angle between the palm's normal and the way from the palm to the camera.

    Args:
        joints_m: Shape (m, 21 or more, 3), optical frame [m].
        right: Shape (m,), bool: right hands.

    Returns:
        Shape (m,), 0 to 180 [deg].
    """
    wrist, index, little = (joints_m[:, row].astype(float) for row in (0, 5, 17))
    normal = np.cross(index - wrist, little - wrist) * np.where(right, 1.0, -1.0)[:, np.newaxis]
    to_camera = -(wrist + index + little) / 3.0
    cosine = (normal * to_camera).sum(axis=1) / np.maximum(
        np.linalg.norm(normal, axis=1) * np.linalg.norm(to_camera, axis=1), 1e-12)
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def answers(
    policy: Policy, stills: Stills, progress: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Ask a policy for the pose in each picture, judged alone.

    Args:
        policy: The policy; one that goes by pixels gets the very pictures that perception saw,
            made again.
        stills: The pictures.
        progress: Called with the share done.

    Returns:
        Shape (m, n), in the person's terms, NaN where it says nothing [rad].
    """
    found = np.full(stills.truth_rad.shape, np.nan)
    for row, observation in enumerate(_shown(policy, stills)):
        policy.reset()
        targets = policy.act(observation, None, observation.stamp_s)
        if targets is not None:
            found[row] = stills.table.reorder(targets.names, targets.positions_rad)
        if row % 20 == 0:
            progress(row / len(stills))
    progress(1.0)
    return found


def plain_answers(stills: Stills) -> dict[str, np.ndarray]:
    """Give the answers of nobody, of chance, of the best constant, and of who knows the truth."""
    table, shape = stills.table, stills.truth_rad.shape
    random = np.random.default_rng(0).uniform(table.lower_rad, table.upper_rad, shape)
    return {
        'zero': np.zeros(shape), 'random': random,
        'best constant': np.broadcast_to(stills.constant_rad, shape),
        'ceiling': table.clip(stills.truth_rad)}


def score_answers(found_rad: np.ndarray, stills: Stills) -> dict[str, Any]:
    """Hold answers against the truth.

    Args:
        found_rad: Shape (m, n), from `answers` or `plain_answers` [rad].
        stills: The pictures.

    Returns:
        'error_deg': mean of `GROUPS`, that of the fingers with its 95% interval over people;
        'answered': share of the pictures with an answer for the hand; 'per_joint',
        'answered_error_deg' (of the fingers, where there was an answer), 'palm_angle',
        'families' and 'marks', each with the number of pictures.
    """
    names = stills.table.names
    answered = np.isfinite(found_rad[:, [names.index(name) for name in FINGER_JOINTS]]).all(axis=1)
    full = np.where(np.isfinite(found_rad), found_rad, stills.constant_rad)
    error = np.degrees(np.abs(full - stills.truth_rad))

    def columns(joints: Sequence[str]) -> np.ndarray:
        return error[:, [names.index(name) for name in joints]]

    fingers = columns(FINGER_JOINTS).mean(axis=1)
    interval = block_interval(fingers, stills.person)
    bins = (stills.palm_deg // PALM_STEP_DEG).astype(int).clip(0, 180 // PALM_STEP_DEG - 1)
    return {
        'pictures': len(stills),
        'answered': rounded(answered.mean(), 5),
        'error_deg': {group: _mean(columns(joints)) for group, joints in GROUPS.items()},
        'ci95': interval_figures(interval, 3),
        'answered_error_deg': _mean(fingers[answered]),
        'per_joint': {name: _mean(error[:, place]) for place, name in enumerate(names)},
        'palm_angle': [
            {'from_deg': PALM_STEP_DEG * step, 'to_deg': PALM_STEP_DEG * (step + 1),
             'pictures': int((bins == step).sum()), 'fingers_deg': _mean(fingers[bins == step]),
             'answered': rounded(answered[bins == step].mean(), 5)
             if (bins == step).any() else None}
            for step in range(180 // PALM_STEP_DEG)],
        'families': {
            str(family): {'pictures': int((stills.family == family).sum()),
                          'fingers_deg': _mean(fingers[stills.family == family])}
            for family in np.unique(stills.family)},
        'marks': {
            mark: {'pictures': int(rows.sum()), 'fingers_deg': _mean(fingers[rows]),
                   'thumb_and_index_deg': _mean(columns(_PINCH_JOINTS)[rows])}
            for mark, rows in stills.marks.items()},
    }


def _shown(policy: Policy, stills: Stills) -> Iterable[HandObservation]:
    if policy.uses_perception:
        yield from stills.seen
        return
    for observation, picture in zip(stills.seen, stills.pictures(), strict=True):
        yield unseen(replace(observation, image=picture))


def _made_again(numbers: np.ndarray, recipe: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Make the pictures of a data set that keeps only what was seen in them."""
    split = find_split(recipe['split'])
    for _, shot in shots(split, recipe['seed'], numbers.tolist(), FRAME_PX, lambda: None,
                         frames=True):
        yield shot.picture


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return rounded(known.mean() if len(known) else None, 3)
