"""A controller is learned by trial for an estimate, and what is saved leads an arm."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('stable_baselines3')

from skeletons import hand, seen  # noqa: E402
from stick_data import write_hands, write_sequences  # noqa: E402

from hand_imitation.arm.description import load_description  # noqa: E402
from hand_imitation.arm.joint_table import JointTable  # noqa: E402
from hand_imitation.evaluation.policy_rows import parts_of  # noqa: E402
from hand_imitation.learning import controller_task  # noqa: E402
from hand_imitation.learning.train_options import TrainOptions  # noqa: E402
from hand_imitation.learning.training import train  # noqa: E402
from hand_imitation.policy import load_policy  # noqa: E402
from hand_imitation.policy.checkpoint import load_checkpoint  # noqa: E402

TABLE = JointTable.from_urdf(load_description())
SETTINGS = {'ppo': {'environments': 40, 'n_steps': 4, 'batch_size': 80},
            'sac': {'environments': 40, 'learning_starts': 40, 'buffer_size': 4000}}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    write_hands(folder / 'landmarks' / 'train', 80, 0)
    write_sequences(folder / 'motion' / 'train', 4, 1)
    write_sequences(folder / 'motion' / 'validation', 2, 2)
    return folder


@pytest.mark.parametrize('algo', ['ppo', 'sac'])
def test_what_is_learned_is_a_policy_and_comes_apart(data, tmp_path, monkeypatch, algo):
    monkeypatch.setattr(controller_task, '_COMPOSED', 2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    result = train(TrainOptions(
        policy='landmarks', algo=algo, out=tmp_path / 'run', steps=400, data=data,
        estimate='landmarks', settings=SETTINGS[algo]))
    torch.set_num_threads(before)
    assert np.isfinite(result['figures']['joint_error_deg'])
    checkpoint = load_checkpoint(tmp_path / 'run' / 'checkpoint', TABLE, 'landmarks')
    assert {'estimate', 'predictor', 'controller'} == set(checkpoint.layout)
    parts = parts_of(str(tmp_path / 'run'), TABLE)
    assert {'estimate', 'no RL', 'RL only'} == set(parts)
    joints = np.zeros(len(TABLE))
    for policy in (load_policy(str(tmp_path / 'run'), TABLE), *parts.values()):
        for frame in range(5):
            targets = policy.act(seen(hand(), stamp_s=frame / 30.0), joints, frame / 30.0)
            assert np.isfinite(targets.positions_rad).all()
