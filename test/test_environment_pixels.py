"""The pixels environment: every option of the original, its wish list, and bad input."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from hand_imitation.errors import UserError
from hand_imitation.frame_sources import open_source
from hand_imitation.learning.environment import HandImitationEnv
from hand_imitation.learning.feeds import Hand, LabelledPictures, Labels, cropped, open_feed
from hand_imitation.learning.registration import PIXELS
from hand_imitation.learning.sb3_vector import Sb3Vector
from hand_imitation.learning.vector_environment import HandImitationVectorEnv

PLAIN = {'crop': False, 'check_hand': False, 'physics': 'motors'}
"""Options under which any picture will do."""


class Repeating:
    """A feed as OpenCV's captures are."""

    def __init__(self, picture):
        self.picture = picture

    def read(self):
        return True, self.picture


class Listed:
    """A feed that ends."""

    def __init__(self, pictures):
        self.pictures = list(pictures)

    def read(self):
        return self.pictures.pop(0) if self.pictures else None


@pytest.fixture(scope='module')
def hand_picture():
    source = open_source('sample')
    picture = source.read()
    source.close()
    return picture


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)


def labelled(count=5, seed=0):
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (count, 40, 40, 3)).astype(np.uint8)
    return LabelledPictures(pictures, [
        Labels(random.uniform(0.0, 0.5, 12), Hand(random.uniform(10, 30, (4, 2))))
        for _ in range(count)])


def rollout(env, seed, steps=6):
    observation, _ = env.reset(seed=seed)
    random = np.random.default_rng(seed)
    seen, rewards = [observation], []
    for _ in range(steps):
        action = random.uniform(env.action_space.low, env.action_space.high)
        observation, reward, _, _, _ = env.step(action.astype(np.float32))
        seen.append(observation)
        rewards.append(reward)
    return np.array(seen), rewards


@pytest.mark.filterwarnings('ignore')
def test_both_checkers_pass():
    checker = pytest.importorskip('stable_baselines3.common.env_checker')
    env = gym.make(PIXELS)
    check_env(env.unwrapped)
    checker.check_env(env)
    env.close()


def test_spaces_are_the_originals():
    env = gym.make(PIXELS, **PLAIN)
    assert env.observation_space.shape == (56, 112, 3)
    assert env.observation_space.dtype == np.uint8
    assert env.action_space.high == pytest.approx([1.55] * 10 + [0.52, 1.04])
    assert env.action_space.low == pytest.approx([0.0] * 10 + [-0.52, -1.04])
    assert env.spec.max_episode_steps == 1000
    env.close()


def test_an_episode_is_cut_off():
    env = gym.make(PIXELS, max_episode_steps=3, epsilon=None, **PLAIN)
    env.reset(seed=0)
    assert [env.step(env.action_space.sample())[3] for _ in range(3)] == [False, False, True]
    env.close()


@pytest.mark.parametrize('physics', ['pybullet', 'motors'])
def test_two_seeded_rollouts_are_equal(physics):
    options = {'crop': True, 'physics': physics, 'rewards': {'original': 1.0, 'pose': 1.0}}
    one = HandImitationEnv(labelled(), **options)
    first = rollout(one, seed=7)
    again = rollout(one, seed=7)
    other = HandImitationEnv(labelled(), **options)
    elsewhere = rollout(other, seed=7)
    different = rollout(other, seed=8)
    for seen, rewards in (again, elsewhere):
        assert np.array_equal(first[0], seen)
        assert first[1] == rewards
    assert first[1] != different[1]
    one.close()
    other.close()


def test_a_named_source_starts_again_with_a_seed():
    env = HandImitationEnv('sample', **PLAIN)
    first, _ = env.reset(seed=0)
    second, _ = env.reset()
    again, _ = env.reset(seed=0)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    env.close()


def test_every_arm_of_a_vector_is_like_one_alone():
    feed = labelled(1)
    weights = {'original': 1.0, 'pose': 0.5, 'fingertips': 1.0, 'self_collision': 1.0,
               'smoothness': 1.0}
    vector = HandImitationVectorEnv(3, feed, epsilon=None, rewards=weights)
    alone = HandImitationEnv(labelled(1), epsilon=None, physics='motors', rewards=weights)
    many, _ = vector.reset(seed=0)
    one, _ = alone.reset(seed=0)
    assert np.array_equal(many[1], one)
    for _ in range(4):
        actions = vector.action_space.sample()
        many, rewards, _, _, infos = vector.step(actions)
        one, reward, _, _, info = alone.step(actions[1])
        assert np.array_equal(many[1], one)
        assert rewards[1] == pytest.approx(reward)
        assert infos['reward_terms']['fingertips'][1] == pytest.approx(
            info['reward_terms']['fingertips'])
        assert reward == pytest.approx(
            sum(weights[name] * value for name, value in info['reward_terms'].items()))
    vector.close()
    alone.close()


def test_a_vector_starts_the_next_episode_in_the_same_step():
    vector = HandImitationVectorEnv(2, labelled(), max_episode_steps=2, epsilon=None)
    vector.reset(seed=0)
    vector.step(vector.action_space.sample())
    observations, _, _, truncated, infos = vector.step(vector.action_space.sample())
    assert truncated.all()
    assert infos['_final_obs'].all()
    assert not np.array_equal(infos['final_obs'], observations)
    assert (infos['final_info']['joint_positions'] != 0.0).any()
    assert not vector.step(vector.action_space.sample())[3].any()
    vector.close()


def test_gymnasium_and_stable_baselines_vectorise():
    pytest.importorskip('stable_baselines3')
    made = gym.make_vec(PIXELS, num_envs=2, cap=labelled(), vectorization_mode='sync', **PLAIN)
    assert made.reset(seed=0)[0].shape == (2, 56, 112, 3)
    made.close()
    wrapped = Sb3Vector(HandImitationVectorEnv(2, labelled(), max_episode_steps=1, epsilon=None))
    assert wrapped.reset().shape == (2, 56, 112, 3)
    _, rewards, ended, infos = wrapped.step(np.zeros((2, 12)))
    assert ended.all() and rewards.shape == (2,)
    assert infos[0]['TimeLimit.truncated']
    assert infos[1]['terminal_observation'].shape == (56, 112, 3)
    wrapped.close()


def test_epsilon_ends_the_episode(noise):
    for epsilon, ends in ((56 * 56, True), (0, False), (None, False)):
        env = HandImitationEnv(Repeating(noise), epsilon=epsilon, **PLAIN)
        env.reset(seed=0)
        _, reward, terminated, _, info = env.step(np.zeros(12))
        assert terminated is ends
        assert info['mismatched_pixels'] == -reward
        env.close()


def test_preprocess_makes_the_mask(noise):
    env = HandImitationEnv(Repeating(noise), preprocess=lambda p: np.full(p.shape[:2], 255),
                           **PLAIN)
    observation, _ = env.reset(seed=0)
    observation, reward, *_ = env.step(np.zeros(12))
    background = (observation[:, 56:] == 255).all(axis=-1).sum()
    assert reward == -background
    env.close()


def test_resolution_may_be_any_shape(noise):
    env = HandImitationEnv(Repeating(noise), resolution=(48, 64, 3), **PLAIN)
    observation, _ = env.reset(seed=0)
    assert observation.shape == env.observation_space.shape == (48, 128, 3)
    assert (observation[:, 64:] != 255).any()
    env.close()


def test_the_target_is_shown_as_in_a_mirror(noise):
    shown = []
    for mirror in (True, False):
        env = HandImitationEnv(Repeating(noise), mirror=mirror, **PLAIN)
        shown.append(env.reset(seed=0)[0][:, :56])
        env.close()
    assert np.array_equal(shown[0], shown[1][:, ::-1])


def test_mirror_changes_the_sign_of_wrist_and_elbow_only():
    truths = []
    for mirror in (True, False):
        env = HandImitationEnv(labelled(1), mirror=mirror, physics='motors')
        env.reset(seed=0)
        truths.append(env.core.targets[0].true_rad)
        env.close()
    assert truths[0] * ([1.0] * 10 + [-1.0] * 2) == pytest.approx(truths[1])


def test_crop_brings_the_hand_to_the_middle():
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[40:80, 210:250] = 255
    hand = Hand(np.array([[210.0, 40.0], [250.0, 80.0]]))
    small = cropped(picture, hand, (56, 56))
    rows, columns = np.nonzero(small[..., 0] > 127)
    assert (rows.mean(), columns.mean()) == pytest.approx((27.5, 27.5), abs=0.6)
    assert np.ptp(rows) + 1 == pytest.approx(56 / 1.5, abs=1.5)


def test_pictures_without_a_hand_are_skipped(hand_picture):
    blank = np.full_like(hand_picture, 60)
    feed = Listed([blank, blank, hand_picture])
    env = HandImitationEnv(feed, physics='motors')
    _, info = env.reset(seed=0)
    assert info['hand_present'] and not feed.pictures
    with pytest.raises(UserError, match='no more pictures'):
        env.reset()
    env.close()


def test_a_feed_without_hands_is_named():
    env = HandImitationEnv(Repeating(np.full((64, 64, 3), 60, np.uint8)), physics='motors',
                           finder=lambda picture: None)
    with pytest.raises(UserError, match='no hand in 100 pictures'):
        env.reset(seed=0)
    env.close()


@pytest.mark.parametrize('physics', ['pybullet', 'motors'])
def test_the_travelling_controller_arrives(noise, physics):
    goal = np.array([0.4, 0.3, 1.2, 1.0, 0.2, 0.1, 0.9, 0.4, 0.0, 0.7, 0.2, -0.5])
    reached = {}
    for controller in ('direct', 'travel'):
        env = HandImitationEnv(Repeating(noise), controller=controller,
                               **{**PLAIN, 'physics': physics})
        env.reset(seed=0)
        positions = env.step(goal)[4]['joint_positions']
        reached[controller] = np.degrees(np.abs(positions - goal)).max()
        env.close()
    assert reached['travel'] < 2.0
    assert reached['direct'] > 10.0


def test_rewards_are_best_where_the_truth_is(hand_picture):
    source = open_source('sample')
    truth = source.truth.positions_rad[0]
    source.close()
    env = HandImitationEnv('sample', controller='travel', physics='motors', epsilon=None,
                           rewards={'aligned': 1.0, 'pose': 1.0, 'fingertips': 1.0})
    env.reset(seed=0)
    right = env.step(np.array(truth))[4]['reward_terms']
    fist = env.step(np.array([1.0] * 10 + [0.0, 0.0]))[4]['reward_terms']
    assert right['pose'] > -0.1  # straighter than straight is beyond the arm
    assert all(right[name] > fist[name] for name in right)
    env.close()


def test_truth_is_needed_for_rewards_that_use_it(noise):
    env = HandImitationEnv(Repeating(noise), rewards={'pose': 1.0}, **PLAIN)
    with pytest.raises(UserError, match='feed with truth'):
        env.reset(seed=0)
    env.close()


def test_render_gives_the_pair(noise):
    env = HandImitationEnv(Repeating(noise), render_mode='rgb_array', **PLAIN)
    observation, _ = env.reset(seed=0)
    assert np.array_equal(env.render(), observation)
    env.close()


@pytest.mark.parametrize('options', [
    {'resolution': (56, 56)}, {'resolution': (0, 56, 3)}, {'resolution': (56, 56, 1)},
    {'resolution': (56.5, 56, 3)}, {'resolution': (5000, 56, 3)}, {'resolution': 56},
    {'mod': 'gui'}, {'epsilon': float('nan')}, {'epsilon': -1}, {'controller': 'magic'},
    {'physics': 'magic'}, {'renderer': 'magic'}, {'renderer': 'pybullet', 'physics': 'motors'},
    {'rewards': {'magic': 1.0}}, {'rewards': {}}, {'rewards': {'pose': float('inf')}},
    {'preprocess': 3}, {'cap': 3}, {'cap': 'no_such_file.mp4'}, {'side': 'up'},
], ids=str)
def test_options_that_make_no_sense_are_named(options):
    with pytest.raises(UserError):
        HandImitationEnv(**{'physics': 'motors', **options})


@pytest.mark.parametrize('given', [
    (False, None), None, (True, np.zeros((8, 8), np.uint8)), (True, np.zeros((8, 8, 3))),
    (True, np.zeros((0, 8, 3), np.uint8)), (True, 'picture')], ids=str)
def test_feeds_that_give_no_picture_are_named(given):
    class Bad:
        def read(self):
            return given

    env = HandImitationEnv(Bad(), **PLAIN)
    with pytest.raises(UserError, match='feed'):
        env.reset(seed=0)
    env.close()


def test_a_feed_that_breaks_is_named():
    class Broken:
        def read(self):
            raise OSError('unplugged')

    env = HandImitationEnv(Broken(), **PLAIN)
    with pytest.raises(UserError, match='unplugged'):
        env.reset(seed=0)
    env.close()


@pytest.mark.parametrize('action', [
    np.full(12, np.nan), np.full(12, np.inf), np.zeros(11), np.zeros((1, 12))], ids=str)
def test_actions_that_make_no_sense_are_named(noise, action):
    env = HandImitationEnv(Repeating(noise), **PLAIN)
    env.reset(seed=0)
    with pytest.raises(UserError, match='action'):
        env.step(action)
    env.close()


def test_a_mask_of_another_size_is_named(noise):
    env = HandImitationEnv(Repeating(noise), preprocess=lambda p: p, **PLAIN)
    with pytest.raises(UserError, match='preprocess'):
        env.reset(seed=0)
    env.close()


def test_a_window_needs_a_display(monkeypatch):
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.setattr('sys.platform', 'linux')
    with pytest.raises(UserError, match='display'):
        HandImitationEnv(mod='GUI')


def test_open_feed_takes_what_has_read():
    feed = Repeating(None)
    assert open_feed(feed) is feed
