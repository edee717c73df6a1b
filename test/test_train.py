"""Training by trial: it learns, it can be stopped and gone on with, and it keeps its work."""

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('stable_baselines3')
pytest.importorskip('safetensors')

from skeletons import fist, hand, seen  # noqa: E402

from hand_imitation.arm.description import load_description  # noqa: E402
from hand_imitation.arm.joint_table import JointTable  # noqa: E402
from hand_imitation.errors import UserError  # noqa: E402
from hand_imitation.human.observation import HandObservation  # noqa: E402
from hand_imitation.learning.resume import load_state, save_state  # noqa: E402
from hand_imitation.learning.stop_flag import StopFlag  # noqa: E402
from hand_imitation.learning.train_options import TrainOptions  # noqa: E402
from hand_imitation.learning.training import train  # noqa: E402
from hand_imitation.policy import load_policy  # noqa: E402
from hand_imitation.policy.checkpoint import load_checkpoint  # noqa: E402

SMALL = {
    'ppo': {'environments': 16, 'batch_size': 16},
    'a2c': {'environments': 16},
    'sac': {'environments': 16, 'batch_size': 64, 'learning_starts': 64, 'buffer_size': 4096}}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def options(folder, algo='ppo', **given):
    return TrainOptions(**{
        'policy': 'landmarks', 'algo': algo, 'out': folder, 'steps': 1024,
        'settings': SMALL[algo], **given})


def weights(folder):
    table = JointTable.from_urdf(load_description())
    return load_checkpoint(folder / 'checkpoint', table, 'landmarks').tensors


def scalars(folder):
    """Read the curves that TensorBoard shows, by name: [(step, value)]."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for path in sorted((folder / 'tensorboard').iterdir()):
        events = EventAccumulator(str(path))
        events.Reload()
        for name in events.Tags()['scalars']:
            found.setdefault(name, []).extend((e.step, e.value) for e in events.Scalars(name))
    return found


def test_ppo_learns_the_pose_by_trial(tmp_path):
    result = train(options(tmp_path, steps=60_000, settings={}, evaluate_every_s=1.0))
    # The best constant pose is off by 20 degrees.
    assert result['figures']['joint_error_deg'] < 9.0


def test_small_networks_learn_on_one_thread(tmp_path):
    torch.set_num_threads(2)
    threads = []
    train(options(tmp_path, progress=lambda share: threads.append(torch.get_num_threads())))
    assert set(threads) == {1}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(('algo', 'steps', 'settings'), [
    ('a2c', 60_000, {}), ('sac', 40_000, {})])
def test_the_others_learn_too(tmp_path, algo, steps, settings):
    result = train(options(tmp_path, algo, steps=steps, settings=settings))
    assert result['figures']['joint_error_deg'] < 17.0


def test_curves_have_losses_rewards_and_figures(tmp_path):
    for algo in SMALL:
        folder = tmp_path / algo
        train(options(folder, algo))
        curves = scalars(folder)
        for name in ('train/actor_loss', 'train/critic_loss', 'rollout/reward',
                     'rollout/cumulative_reward', 'held_out/joint_error_deg'):
            assert curves[name], (algo, name)
            assert all(np.isfinite(value) for _, value in curves[name])


@pytest.mark.parametrize('algo', sorted(SMALL))
def test_the_same_seed_gives_the_same_policy(tmp_path, algo):
    for name, seed in (('one', 3), ('two', 3), ('other', 4)):
        train(options(tmp_path / name, algo, seed=seed))
    one, two, other = (weights(tmp_path / name) for name in ('one', 'two', 'other'))
    assert all((one[key] == two[key]).all() for key in one)
    assert any((one[key] != other[key]).any() for key in one)


class StopAfter:
    """Sets a flag when it has been told the progress so many times."""

    def __init__(self, times):
        self.flag, self._left = StopFlag(), times

    def __call__(self, share):
        self._left -= 1
        if self._left == 0:
            self.flag.set()


@pytest.mark.parametrize('algo', sorted(SMALL))
def test_a_stopped_run_goes_on_where_it_was(tmp_path, algo):
    begun, twin = tmp_path / 'begun', tmp_path / 'twin'
    stop = StopAfter(3)
    first = train(options(begun, algo, stop=stop.flag, progress=stop, evaluate_every_s=0.0))
    assert first['interrupted'] and 0 < first['steps'] < 1024
    arrays, values = load_state(begun / 'state')
    assert values['steps'] == first['steps'] and values['updates'] > 0
    assert any('exp_avg' in name or 'square_avg' in name for name in arrays)
    if algo == 'sac':
        # Eight tries on each observation.
        assert len(arrays['replay.observations']) == first['steps'] // 8
    shutil.copytree(begun, twin)
    again = [train(options(folder, algo, resume=True)) for folder in (begun, twin)]
    assert not again[0]['interrupted'] and again[0]['steps'] >= 1024
    assert again[0]['minutes'] > first['minutes']
    assert again[0]['curve'][:len(first['curve'])] == first['curve']
    # Everything drawn is restored too: who resumes the same comes to the same.
    one, two = weights(begun), weights(twin)
    assert all((one[key] == two[key]).all() for key in one)
    steps = [step for step, _ in scalars(begun)['rollout/reward']]
    assert min(steps) < first['steps'] < max(steps)


@pytest.mark.parametrize('algo', sorted(SMALL))
def test_a_resumed_run_comes_to_what_one_comes_to_that_was_not_stopped(tmp_path, algo):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    train(options(whole, algo))
    stop = StopAfter(4)
    first = train(options(parts, algo, stop=stop.flag, progress=stop))
    assert first['interrupted'] and first['steps'] == 512
    last = train(options(parts, algo, resume=True))
    one, two = weights(whole), weights(parts)
    assert last['steps'] == 1024
    assert all((one[key] == two[key]).all() for key in one)


def test_a_run_of_another_kind_is_not_resumed(tmp_path):
    train(options(tmp_path, steps=512))
    with pytest.raises(UserError, match='--algo ppo, not sac'):
        train(options(tmp_path, 'sac', resume=True))
    with pytest.raises(UserError, match='--seed 0, not 1'):
        train(options(tmp_path, seed=1, resume=True))
    with pytest.raises(UserError, match='all that is asked for'):
        train(options(tmp_path, steps=512, resume=True))
    with pytest.raises(UserError, match='holds a run already'):
        train(options(tmp_path))
    (tmp_path / 'state' / 'state.safetensors').write_bytes(b'\x80\x04pickle')
    with pytest.raises(UserError, match='damaged'):
        train(options(tmp_path, resume=True))


def test_states_hold_arrays_and_numbers(tmp_path):
    arrays = {'a': np.arange(6, dtype=np.uint8).reshape(2, 3), 'b': np.array(True),
              'c': np.zeros((0, 4)), 'd': np.array(2 ** 40)}
    save_state(tmp_path, arrays, {'big': 2 ** 127, 'words': ['a']})
    found, values = load_state(tmp_path)
    assert values == {'big': 2 ** 127, 'words': ['a']}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and (found[name] == array).all()
    assert [path.name for path in tmp_path.iterdir()] == ['state.safetensors']
    assert json.dumps(values)


@pytest.mark.parametrize('algo', sorted(SMALL))
def test_what_was_learned_from_landmarks_is_a_policy(tmp_path, algo):
    train(options(tmp_path, algo, steps=512))
    table = JointTable.from_urdf(load_description())
    policy = load_policy(str(tmp_path / 'checkpoint'), table)
    for step, shown in enumerate((hand(), fist())):
        targets = policy.act(seen(shown, stamp_s=float(step)), None, float(step))
        assert targets is not None and np.isfinite(targets.positions_rad).all()


@pytest.mark.parametrize('algo', sorted(SMALL))
def test_what_was_learned_from_pictures_is_a_policy(tmp_path, algo):
    pytest.importorskip('mediapipe')
    settings = {'environments': 4, **({'learning_starts': 4} if algo == 'sac' else {})}
    result = train(TrainOptions('pixels', algo, tmp_path, steps=32, source='sample',
                                settings=settings))
    assert np.isfinite(result['figures']['joint_error_deg'])
    table = JointTable.from_urdf(load_description())
    policy = load_policy(str(tmp_path / 'checkpoint'), table)
    picture = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    targets = policy.act(HandObservation(valid=False, stamp_s=0.0, image=picture), None, 0.0)
    assert targets is not None and np.isfinite(targets.positions_rad).all()
