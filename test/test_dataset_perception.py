import numpy as np
import pytest

pytest.importorskip('anny')
pytest.importorskip('torch')
pytest.importorskip('mediapipe')

from hand_imitation.human.angles import finger_angles  # noqa: E402
from hand_imitation.human.hand_model import find_hand_model  # noqa: E402
from hand_imitation.learning import sequences  # noqa: E402
from hand_imitation.learning.shards import make_landmarks, observation_of  # noqa: E402
from hand_imitation.learning.splits import SPLITS  # noqa: E402

find_hand_model('')
VALIDATION = SPLITS['validation']


@pytest.fixture(scope='module')
def landmarks():
    return make_landmarks(VALIDATION, 0, range(40), lambda: None)


def test_perception_takes_them_for_hands(landmarks):
    assert landmarks['detected'].mean() >= 0.9
    seen = landmarks['detected']
    assert (landmarks['seen_right'] == landmarks['right'])[seen].mean() >= 0.7


def test_perception_sees_the_hand_where_it_is(landmarks):
    seen = landmarks['detected']
    size = np.linalg.norm(np.ptp(landmarks['points_px'][seen], axis=1), axis=1)
    off = np.linalg.norm(
        landmarks['seen_image_px'][seen] - landmarks['points_px'][seen], axis=2)
    assert np.median(off / size[:, None]) < 0.08


def test_an_observation_is_rebuilt(landmarks):
    row = int(np.flatnonzero(landmarks['detected'])[0])
    observation = observation_of(landmarks, row)
    assert observation.valid
    angles = finger_angles(observation.world_points, observation.side)
    assert np.isfinite(angles).all()


def test_a_sequence_moves_like_a_person(monkeypatch):
    monkeypatch.setattr(sequences, 'SEQUENCE_FRAMES', 60)
    frames = sequences.make_motion(VALIDATION, 0, range(60), lambda: None)
    np.testing.assert_allclose(np.diff(frames['time_s']), 1.0 / sequences.RATE_HZ, atol=1e-5)
    speed = np.abs(np.diff(frames['angles_rad'][:, 2:10], axis=0)) * sequences.RATE_HZ
    # Fingers move, and no faster than fingers can.
    assert 1.0 < speed.max() < 20.0
    assert frames['detected'].mean() > 0.5
    assert len(set(frames['person'])) == 1
