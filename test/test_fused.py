"""The `fused` policy: what landmarks and picture say together, in training and in the policy."""

import numpy as np
import pytest

pytest.importorskip('torch')

from stick_data import write_hands

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.angles import JOINTS
from hand_imitation.learning import supervised_landmarks
from hand_imitation.learning.controller_predictor import said_of
from hand_imitation.learning.estimate_features import told_of_crops
from hand_imitation.learning.shards import CROP_PX, observation_of
from hand_imitation.learning.supervised import SupervisedOptions
from hand_imitation.policy import load_policy
from hand_imitation.policy.checkpoint import load_checkpoint, save_checkpoint
from hand_imitation.policy.landmarks import LandmarksParameters
from hand_imitation.policy.pixels_network import (
    build_pixels_network,
    default_layout,
    network_tensors,
)

TABLE = JointTable.from_urdf(load_description())
TINY = {**default_layout(CROP_PX), 'channels': [8, 8, 8], 'blocks': [0, 0], 'hidden': 16}


def looking(folder, **changes):
    """A checkpoint with a network that looks at pictures; its weights are random."""
    layout = {**TINY, **changes}
    save_checkpoint(folder, 'pixels', network_tensors(build_pixels_network(layout)), TABLE,
                    layout={'network': layout}, training={}, figures={})
    return load_checkpoint(folder, TABLE)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    write_hands(folder / 'landmarks' / 'train', 200, 0, crops=True)
    write_hands(folder / 'landmarks' / 'validation', 40, 1, crops=True)
    return folder


@pytest.fixture(scope='module')
def learned(data, tmp_path_factory):
    """The folder of a checkpoint."""
    out = tmp_path_factory.mktemp('run')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervised_landmarks, '_COMPOSED', 2)
        supervised_landmarks.train_estimate(SupervisedOptions(
            out=out, data=data, steps=8_000, looks=looking(out / 'looks')), lambda share: None)
    return out / 'checkpoint'


def rows(data):
    with np.load(data / 'landmarks' / 'validation' / 'shard_0000.npz') as arrays:
        return dict(arrays)


def test_one_checkpoint_holds_both_networks(learned):
    checkpoint = load_checkpoint(learned, TABLE, 'fused')
    assert {'network', 'estimate', 'predictor'} == set(checkpoint.layout)
    assert checkpoint.training['looks']


def test_the_policy_says_what_was_learned(data, learned):
    arrays = rows(data)
    said = said_of(arrays, load_checkpoint(learned, TABLE))
    policy = load_policy(str(learned), TABLE, {'landmarks': LandmarksParameters(
        use_controller=False, smooth=False)})
    assert policy.uses_perception and policy.uses_picture
    for row in np.flatnonzero(arrays['detected'])[:20]:
        policy.reset()
        targets = policy.act(observation_of(arrays, row), None, 0.0).as_dict()
        np.testing.assert_allclose(
            [targets[name] for name in JOINTS[:10]], np.minimum(said[row], 1.55), atol=2e-3)


def test_the_picture_counts(data, learned):
    arrays = rows(data)
    told = told_of_crops(arrays, load_checkpoint(learned, TABLE))
    black = told_of_crops({**arrays, 'seen_crop': np.zeros_like(arrays['seen_crop'])},
                          load_checkpoint(learned, TABLE))
    seen = arrays['detected']
    assert np.abs(told - black)[seen].max() > 1e-3 and not told[~seen].any()


def test_without_a_picture_it_says_nothing(data, learned):
    arrays = rows(data)
    row = int(np.flatnonzero(arrays['detected'])[0])
    del arrays['seen_crop']
    assert load_policy(str(learned), TABLE).act(observation_of(arrays, row), None, 0.0) is None


def test_data_without_pictures_are_refused(tmp_path, data):
    arrays = rows(data)
    del arrays['seen_crop']
    with pytest.raises(UserError, match='make them again'):
        told_of_crops(arrays, looking(tmp_path))


def test_a_network_for_other_pictures_is_refused(tmp_path, data):
    with pytest.raises(UserError, match='64 px'):
        told_of_crops(rows(data), looking(tmp_path, size_px=64))


def test_a_layout_that_asks_for_gigabytes_is_refused_before_it_gets_them(tmp_path):
    import resource

    layout = {**TINY, 'channels': [1024] * 6, 'blocks': [8] * 5, 'hidden': 4096}
    save_checkpoint(tmp_path, 'pixels', {'a': np.zeros(1, np.float32)}, TABLE,
                    layout={'network': layout}, training={}, figures={})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match='layout'):
        load_policy(str(tmp_path), TABLE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
