"""Estimate and predictor of the landmarks policy are learned, saved, stopped and resumed."""

import numpy as np
import pytest

pytest.importorskip('torch')

from stick_data import write_hands

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.learning import supervised_landmarks
from hand_imitation.learning.controller_data import composed_hands
from hand_imitation.learning.supervised import StopFlag, SupervisedOptions
from hand_imitation.learning.supervised_landmarks import train_estimate
from hand_imitation.policy.checkpoint import load_checkpoint
from hand_imitation.policy.landmarks import LandmarksPolicy

TABLE = JointTable.from_urdf(load_description())


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    write_hands(folder / 'landmarks' / 'train', 400, 0)
    write_hands(folder / 'landmarks' / 'validation', 80, 1)
    return folder


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch):
    monkeypatch.setattr(supervised_landmarks, '_COMPOSED', 2)


def test_it_learns_and_what_is_saved_is_a_policy(data, tmp_path):
    told = []
    result = train_estimate(
        SupervisedOptions(out=tmp_path, data=data, steps=20_000, command='train'), told.append)
    arrays = np.load(data / 'landmarks' / 'validation' / 'shard_0000.npz')
    spread = np.abs(arrays['angles_rad'] - np.median(arrays['angles_rad'], axis=0))
    assert result.figures['fingers_deg'] < 0.7 * np.degrees(spread[:, 2:10].mean())
    assert not result.interrupted and told[-1] == pytest.approx(1.0, abs=0.05)
    checkpoint = load_checkpoint(tmp_path / 'checkpoint', TABLE, 'landmarks')
    assert {'estimate', 'predictor'} == set(checkpoint.layout)
    assert LandmarksPolicy(TABLE, checkpoint).uses_joint_positions


def test_a_stopped_run_is_resumed(data, tmp_path):
    stop = StopFlag()
    stop.set()
    stopped = train_estimate(
        SupervisedOptions(out=tmp_path, data=data, steps=5_000, stop=stop), lambda share: None)
    assert stopped.interrupted and stopped.steps == 0
    # What there is can be used already.
    assert 'predictor' not in load_checkpoint(tmp_path / 'checkpoint', TABLE).layout
    resumed = train_estimate(
        SupervisedOptions(out=tmp_path, data=data, steps=5_000, resume=True), lambda share: None)
    assert resumed.steps >= 3_000 and not resumed.interrupted
    write_hands(tmp_path / 'other' / 'landmarks' / 'train', 40, 2)
    write_hands(tmp_path / 'other' / 'landmarks' / 'validation', 40, 3)
    with pytest.raises(UserError, match='learned from'):
        train_estimate(SupervisedOptions(
            out=tmp_path, data=tmp_path / 'other', steps=9_000, resume=True), lambda share: None)


def test_composed_hands_move_on_smoothly_with_estimates_that_do_not(data):
    random = np.random.default_rng(4)
    arrays = dict(np.load(data / 'landmarks' / 'train' / 'shard_0000.npz'))
    estimates = arrays['angles_rad'][:, :10] + 0.1
    estimates[~arrays['detected']] = np.nan
    hands = composed_hands(arrays, estimates, 5, random)
    assert hands.truth_rad.shape == (5, 240, 10) and np.isfinite(hands.truth_rad).all()
    assert np.abs(np.diff(hands.truth_rad, axis=1)).max() < 0.5
    assert np.isfinite(hands.estimates_rad[:, 0]).all()
    error = np.abs(hands.estimates_rad - hands.truth_rad)
    assert 0.03 < np.nanmean(error) < 0.3
    with pytest.raises(UserError, match='nobody'):
        composed_hands(arrays, np.full_like(estimates, np.nan), 5, random)
