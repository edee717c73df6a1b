"""Data sets of stick people, for tests of what learns from landmarks."""

import numpy as np

from hand_imitation.learning.sequences import RATE_HZ, SEQUENCE_FRAMES
from hand_imitation.learning.stick_people import PerceptionFaults, StickPeople


def write_hands(folder, count, seed):
    """Write a data set of kind landmarks."""
    _save(folder, _hands(count, seed))


def write_sequences(folder, count, seed):
    """Write a data set of kind motion: each hand goes to another pose and back, and again."""
    poses = _hands(2 * count, seed)
    share = 0.5 - 0.5 * np.cos(np.arange(SEQUENCE_FRAMES) / RATE_HZ * 4.0)
    arrays = {}
    for name, values in poses.items():
        start, end = (np.repeat(values[side::2], SEQUENCE_FRAMES, axis=0) for side in (0, 1))
        if name in ('angles_rad', 'seen_world_m', 'seen_image_px', 'points_px'):
            along = np.tile(share, count).reshape(-1, *[1] * (values.ndim - 1))
            start = np.float32(start + along * (end - start))
        arrays[name] = start
    arrays['detected'] = np.ones(len(arrays['detected']), bool)
    arrays['seen_settled'] = arrays['detected']
    arrays['sequence'] = np.repeat(np.arange(count), SEQUENCE_FRAMES)
    _save(folder, arrays)


def _hands(count, seed):
    random = np.random.default_rng(seed)
    people = StickPeople(count, moving=False, faults=PerceptionFaults())
    people.reset(np.arange(count), random)
    points = people.points()
    seen = people.look(random).points
    truth = people.truth()
    forearm = np.column_stack([np.sin(truth[:, 11]), -np.cos(truth[:, 11])])
    return {
        'angles_rad': np.float32(truth), 'valid': np.ones((count, 12), bool),
        'points_px': np.float32(points[..., :2] * 50.0), 'detected': random.random(count) < 0.95,
        'seen_world_m': np.float32(seen * 0.1),
        'seen_image_px': np.float32(seen[..., :2] * 50.0 + 100.0), 'seen_right': ~people._left,
        'seen_score': np.full(count, 0.9, np.float32), 'seen_forearm': np.float32(forearm),
        'seen_forearm_source': np.full(count, 'skin'), 'person': np.arange(count) // 40,
        'yaw_rad': random.uniform(-1.0, 1.0, count)}


def _save(folder, arrays):
    folder.mkdir(parents=True)
    np.savez(folder / 'shard_0000.npz', **arrays)
