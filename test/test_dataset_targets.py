"""Data sets as targets: made here of stick people, in the form that `dataset` writes."""

import numpy as np
import pytest

from hand_imitation.errors import UserError
from hand_imitation.human.angles import thumb_side_sign
from hand_imitation.learning.dataset_targets import RecordedPeople, pictures_of
from hand_imitation.learning.environment import HandImitationEnv
from hand_imitation.learning.landmarks_environment import HandImitationLandmarksVectorEnv
from hand_imitation.learning.stick_people import StickPeople

FRAMES = 40


@pytest.fixture(scope='module')
def motion():
    """Three sequences; perception is perfect, but misses every tenth picture."""
    random = np.random.default_rng(0)
    people = StickPeople(3)
    people.reset(np.arange(3), random)
    frames = []
    for frame in range(FRAMES):
        people.advance(1.0 / 30.0, random)
        truth, points = people.truth(), people.points()
        for i in range(3):
            lean = truth[i, 11] * thumb_side_sign(points[i])
            seen = frame % 10 != 5
            frames.append({
                'sequence': i, 'angles_rad': truth[i], 'detected': seen,
                'seen_world_m': 0.09 * points[i] * seen + 0.01, 'seen_right': not people._left[i],
                'seen_forearm': [np.sin(lean), -np.cos(lean)] if seen else [np.nan, np.nan]})
    frames.sort(key=lambda row: row['sequence'])
    return {name: np.array([row[name] for row in frames]) for name in frames[0]}


def test_recordings_are_played_as_they_are(motion):
    people = RecordedPeople(50, motion)
    random = np.random.default_rng(0)
    people.reset(np.arange(50), random)
    truths, missed = [], 0
    for _ in range(3 * FRAMES):
        people.advance(1.0 / 30.0, random)
        sight = people.look(random)
        truth = people.truth()
        assert sight.estimates_rad[sight.valid] == pytest.approx(truth[sight.valid], abs=1e-5)
        assert np.isfinite(sight.estimates_rad).all()
        missed += (~sight.valid).sum()
        truths.append(truth)
    assert 0.06 < missed / (150 * FRAMES) < 0.14
    # Forwards and backwards, without a leap.
    assert np.abs(np.diff(truths, axis=0)).max() < 0.45


def test_the_landmarks_environment_takes_recordings(motion):
    env = HandImitationLandmarksVectorEnv(4, people=RecordedPeople(4, motion), action='residual')
    env.reset(seed=0)
    for _ in range(30):
        observations, rewards, *_ = env.step(np.zeros((4, 12)))
    assert np.isfinite(observations).all() and (rewards > -0.6).all()


def test_recordings_without_a_hand_are_named(motion):
    with pytest.raises(UserError, match='no hand'):
        RecordedPeople(2, {**motion, 'detected': np.zeros_like(motion['detected'])})


def test_the_pixels_environment_takes_pictures():
    random = np.random.default_rng(0)
    people = StickPeople(6)
    people.reset(np.arange(6), random)
    points = people.points()
    forearm = np.zeros((6, 1, 3))
    forearm[:, 0, 1] = 2.5
    joints = np.concatenate([points, forearm], axis=1)
    valid = np.ones((6, 12), bool)
    valid[:3, 10:] = False
    arrays = {
        'picture': random.integers(0, 256, (6, 64, 64, 3)).astype(np.uint8),
        'angles_rad': people.truth(), 'valid': valid, 'joints_m': joints,
        'points_px': 32.0 + 10.0 * points[..., :2], 'right': ~people._left}
    feed = pictures_of(arrays)
    env = HandImitationEnv(feed, physics='motors', rewards={'aligned': 1.0, 'pose': 1.0})
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.zeros(12))
    assert np.isfinite(reward) and info['reward_terms']['aligned'] > -1.0
    assert np.array_equal(feed.read(), arrays['picture'][feed._next - 1, ..., ::-1])
    assert np.isnan(pictures_of(arrays).labels.angles_rad[10:]).all()
    env.close()
