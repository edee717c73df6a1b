"""A landmarks data set of stick people, for tests of what learns from one."""

import numpy as np

from hand_imitation.learning.shards import CROP_PX
from hand_imitation.learning.stick_people import PerceptionFaults, StickPeople


def write_hands(folder, count, seed, crops=False):
    """Write the data set; with crops, each is a picture of noise."""
    random = np.random.default_rng(seed)
    people = StickPeople(count, moving=False, faults=PerceptionFaults())
    people.reset(np.arange(count), random)
    points = people.points()
    seen = people.look(random).points
    truth = people.truth()
    forearm = np.column_stack([np.sin(truth[:, 11]), -np.cos(truth[:, 11])])
    folder.mkdir(parents=True)
    arrays = {
        'angles_rad': np.float32(truth), 'valid': np.ones((count, 12), bool),
        'points_px': np.float32(points[..., :2] * 50.0), 'detected': random.random(count) < 0.95,
        'seen_world_m': np.float32(seen * 0.1),
        'seen_image_px': np.float32(seen[..., :2] * 50.0 + 100.0), 'seen_right': ~people._left,
        'seen_score': np.full(count, 0.9, np.float32), 'seen_forearm': np.float32(forearm),
        'seen_forearm_source': np.full(count, 'skin'), 'person': np.arange(count) // 40,
        'yaw_rad': random.uniform(-1.0, 1.0, count)}
    if crops:
        arrays['seen_crop'] = random.integers(0, 256, (count, CROP_PX, CROP_PX, 3), np.uint8)
    np.savez(folder / 'shard_0000.npz', **arrays)
