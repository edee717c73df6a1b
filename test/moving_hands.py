"""A small data set of moving hands, made of stick people instead of pictures."""

import json

import numpy as np

from hand_imitation.human.angles import JOINTS
from hand_imitation.learning.stick_people import PerceptionFaults, StickPeople

PALM_M = 0.09


def motion_arrays(sequences=3, frames=90, seed=0, faults=None, poses_rad=None):
    """Arrays as of a data set of kind 'motion'; perception sees everything unless told otherwise.

    Args:
        sequences: How many.
        frames: Of each.
        seed: Of who they are and what they do.
        faults: What is wrong with what is seen; None for nothing.
        poses_rad: Shape (frames, 12), what all of them do instead, in the order of JOINTS.
    """
    random = np.random.default_rng(seed)
    people = StickPeople(sequences, True, faults or PerceptionFaults(
        **dict.fromkeys(('bias', 'wander', 'jitter', 'lean_rad', 'missing'), (0.0, 0.0)),
        depth=(1.0, 1.0)))
    people.reset(np.arange(sequences), random)
    rows = []
    for frame in range(frames):
        if poses_rad is not None:
            people._pose[:] = poses_rad[frame]
        truth, sight, points = people.truth(), people.look(random), people.points()
        for place in range(sequences):
            rows.append(_row(place, frame, truth[place], sight, points[place],
                             bool(people._left[place])))
        people.advance(1.0 / 30.0, random)
    rows.sort(key=lambda row: (row['sequence'], row['number']))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def still_arrays(people=4, pictures=10, seed=0):
    """Arrays as of a data set of kind 'landmarks'."""
    arrays = motion_arrays(people, pictures, seed)
    rows = len(arrays['number'])
    names = ('pose', 'view', 'background', 'light')
    return arrays | {
        'number': np.arange(rows), 'person': arrays['sequence'], 'right': arrays['seen_right'],
        'family': np.where(np.arange(rows) % 5 == 0, 'pinch', 'fist'),
        **{f'held_out_{name}': np.arange(rows) % 2 == 0 for name in names}}


def write_arrays(folder, arrays, kind, split):
    """Write arrays as a data set."""
    folder.mkdir(parents=True)
    np.savez(folder / 'shard_0000.npz', **arrays)
    (folder / 'recipe.json').write_text(json.dumps({'kind': kind, 'split': split, 'seed': 0}))


def _row(place, frame, truth, sight, points, left):
    forearm = np.array([np.sin(truth[JOINTS.index('elbow')]),
                        -np.cos(truth[JOINTS.index('elbow')])])
    if left:
        forearm[0] *= -1.0
    return {
        'number': np.int32(frame), 'sequence': np.int32(place), 'person': np.int32(place),
        'time_s': np.float32(frame / 30.0), 'angles_rad': truth, 'valid': np.ones(12, bool),
        'joints_m': points * PALM_M + [0.0, 0.0, 0.5], 'seen_settled': True,
        'detected': sight.valid[place], 'seen_right': not left, 'seen_score': 0.9,
        'seen_world_m': sight.points[place] * PALM_M,
        'seen_image_px': sight.points[place, :, :2] * 60.0 + 144.0,
        'seen_forearm': forearm, 'seen_forearm_source': 'skin'}
