"""The landmarks environment, its people and its servos."""

import gymnasium as gym
import numpy as np
import pytest
import skeletons
from gymnasium.utils.env_checker import check_env

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.angles import (
    finger_angles,
    lean_between,
    palm_direction,
    thumb_side_sign,
)
from hand_imitation.learning.landmarks_environment import (
    HandImitationLandmarksEnv,
    HandImitationLandmarksVectorEnv,
    LandmarksCore,
)
from hand_imitation.learning.registration import LANDMARKS
from hand_imitation.learning.sb3_vector import Sb3Vector
from hand_imitation.learning.servo_model import IDEAL, RATE_HZ, ServoModel, ServoRanges
from hand_imitation.learning.stick_people import (
    PerceptionFaults,
    StickPeople,
    draw_poses,
    estimated_angles,
)


@pytest.fixture(scope='module')
def table():
    return JointTable.from_urdf(load_description())


def faults(**values):
    """Perception that has these faults only, the same in every episode."""
    none = dict.fromkeys(('bias', 'wander', 'jitter', 'lean_rad', 'missing', 'delay_s'), 0.0)
    return PerceptionFaults(depth=(1.0, 1.0), **{
        name: (value, value) for name, value in {**none, **values}.items()})


def rollout(env, seed, steps=12):
    observations = [env.reset(seed=seed)[0]]
    random = np.random.default_rng(seed)
    rewards = []
    for _ in range(steps):
        observation, reward, *_ = env.step(random.uniform(-1, 1, env.action_space.shape))
        observations.append(observation)
        rewards.append(reward)
    return np.array(observations), np.array(rewards)


@pytest.mark.filterwarnings('ignore')
def test_both_checkers_pass():
    checker = pytest.importorskip('stable_baselines3.common.env_checker')
    env = gym.make(LANDMARKS)
    check_env(env.unwrapped)
    checker.check_env(env)
    assert env.action_space.low.min() == -1.0 and env.action_space.high.max() == 1.0


@pytest.mark.parametrize('make', [
    HandImitationLandmarksEnv, lambda: HandImitationLandmarksVectorEnv(5, max_episode_steps=7)])
def test_two_seeded_rollouts_are_equal(make):
    one, other = make(), make()
    first = rollout(one, 3)
    for env in (one, other):
        again = rollout(env, 3)
        assert np.array_equal(first[0], again[0])
        assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], rollout(other, 4)[1])


def test_one_is_like_a_vector_of_one():
    alone, vector = HandImitationLandmarksEnv(), HandImitationLandmarksVectorEnv(1)
    alone.reset(seed=5)
    vector.reset(seed=5)
    for _ in range(5):
        action = alone.action_space.sample()
        one, many = alone.step(action), vector.step(action[np.newaxis])
        assert np.array_equal(one[0], many[0][0])
        assert one[1] == many[1][0]
        assert one[4]['reward_terms']['pose'] == many[4]['reward_terms']['pose'][0]


@pytest.mark.parametrize('side', ['left', 'right'])
@pytest.mark.parametrize('palm_seen', [True, False])
def test_estimates_follow_the_formulas(side, palm_seen):
    points = skeletons.hand(side=side, palm_seen=palm_seen, clockwise=0.4, index_proximal=0.6,
                            little_distal=1.1, thumb_distal=0.4)
    angles = estimated_angles(points[np.newaxis], np.array([side == 'left']), np.array([0.1]))[0]
    assert angles[:10] == pytest.approx(finger_angles(points, side))
    sign = thumb_side_sign(points)
    forearm = np.array([np.sin(0.1 * sign), -np.cos(0.1 * sign)])
    assert angles[10] == pytest.approx(sign * lean_between(forearm, palm_direction(points)))
    assert angles[11] == 0.1


def test_perfect_perception_sees_the_truth():
    random = np.random.default_rng(0)
    people = StickPeople(50)
    people.reset(np.arange(50), random)
    for _ in range(30):
        people.advance(1.0 / 30.0, random)
        sight = people.look(random)
        assert sight.valid.all()
        assert sight.estimates_rad == pytest.approx(people.truth(), abs=1e-9)


def test_people_move_at_human_speed_and_stay_within_the_arms_reach(table):
    random = np.random.default_rng(0)
    people = StickPeople(100)
    people.reset(np.arange(100), random)
    poses = []
    for _ in range(90):
        people.advance(1.0 / 30.0, random)
        poses.append(people.truth())
    poses = np.array(poses)
    speed = np.abs(np.diff(poses, axis=0)).max() * 30.0
    assert 3.0 < speed < 12.0
    assert table.clip(poses) == pytest.approx(poses)
    still = StickPeople(4, moving=False)
    still.reset(np.arange(4), random)
    before = still.truth()
    still.advance(10.0, random)
    assert np.array_equal(before, still.truth())


def test_poses_are_both_open_and_closed():
    closed = draw_poses(np.random.default_rng(0), 2000)[:, 2:10].reshape(-1, 4, 2).sum(-1) > 1.0
    assert 0.3 < closed.mean() < 0.7
    assert 0.03 < closed.all(axis=1).mean() < 0.5
    assert 0.03 < (~closed).all(axis=1).mean() < 0.5


def test_faults_make_the_errors_they_say():
    random = np.random.default_rng(0)
    people = StickPeople(500, faults=PerceptionFaults())
    people.reset(np.arange(500), random)
    errors, valid = [], []
    for _ in range(40):
        people.advance(1.0 / 30.0, random)
        sight = people.look(random)
        errors.append(np.degrees(np.abs(sight.estimates_rad - people.truth()))[:, 2:10])
        valid.append(sight.valid)
    by_person = np.mean(errors, axis=(0, 2))
    assert 9.0 < by_person.mean() < 16.0
    assert np.percentile(by_person, 95) > 2.0 * np.percentile(by_person, 5)
    assert 0.03 < 1.0 - np.mean(valid) < 0.08


def test_estimates_are_late_by_the_delay():
    core = LandmarksCore(6, faults=faults(delay_s=0.1))
    random = np.random.default_rng(0)
    core.reset(np.arange(6), random)
    truths = []
    for _ in range(20):
        core.step(np.zeros((6, 12)), random)
        truths.append(core.people.truth())
    assert core.baseline() == pytest.approx(core.table.clip(truths[-4]), abs=1e-6)
    assert not np.allclose(core.baseline(), truths[-1], atol=1e-3)


def test_where_no_hand_is_detected_the_last_estimate_stays():
    core = LandmarksCore(40, faults=faults(missing=0.5))
    random = np.random.default_rng(0)
    core.reset(np.arange(40), random)
    before = core.baseline()
    core.step(np.zeros((40, 12)), random)
    observation = core.observe()
    valid = observation[:, core.layout['valid']][:, 0] > 0.0
    assert valid.any() and not valid.all()
    assert np.array_equal(core.baseline()[~valid], before[~valid])


def test_layout_says_what_is_where(table):
    env = HandImitationLandmarksEnv(history=3, servos=IDEAL, faults=None)
    env.reset(seed=0)
    action = np.linspace(-0.5, 0.5, 12)
    for _ in range(40):
        observation, *_ = env.step(action)
    shown = {name: observation[part] for name, part in env.layout.items()}
    assert {name: len(values) for name, values in shown.items()} == {
        'landmarks': 63, 'estimates': 36, 'valid': 3, 'joints': 36, 'commands': 36}
    assert shown['commands'][:12] == pytest.approx(action, abs=1e-6)
    assert shown['joints'][:12] == pytest.approx(action, abs=1e-3)
    points = shown['landmarks'].reshape(21, 3)
    assert points[0].tolist() == [0.0, 0.0, 0.0]
    assert np.linalg.norm(points[9]) == pytest.approx(1.0, abs=0.05)


def test_a_residual_of_zero_is_the_baseline():
    env = HandImitationLandmarksEnv(action='residual', residual_rad=0.2)
    env.reset(seed=0)
    for _ in range(5):
        wanted = env.core.baseline()
        commands = env.step(np.zeros(12))[4]['commands']
        assert commands == pytest.approx(wanted[0])
    wanted = env.core.baseline()[0]
    commands = env.step(np.ones(12))[4]['commands']
    assert commands == pytest.approx(env.core.table.clip(wanted + 0.2))


def test_faults_and_servos_cost_reward_and_differ_between_episodes():
    random = np.random.default_rng(0)
    means = {}
    for name, options in (('ideal', {'faults': None, 'servos': IDEAL}), ('real', {})):
        core = LandmarksCore(60, action='residual', rewards={'pose': 1.0}, **options)
        core.reset(np.arange(60), random)
        means[name] = np.mean([core.step(np.zeros((60, 12)), random)[1] for _ in range(60)])
    assert means['real'] < 2.0 * means['ideal'] < 0.0
    first = {name: values.copy() for name, values in core.servos.values.items()}
    core.reset(np.arange(30), random)
    for name, values in core.servos.values.items():
        assert not np.allclose(values[:30], first[name][:30])
        assert np.array_equal(values[30:], first[name][30:])


def servo(table, **values):
    """One arm whose servos have these numbers, standing at the lower limits."""
    ranges = {name: getattr(IDEAL, name) for name in ServoRanges.__dataclass_fields__}
    model = ServoModel(1, table, ServoRanges(**{
        **ranges, **{name: (value, value) for name, value in values.items()}}))
    model.reset(np.array([0]), table.lower_rad[np.newaxis], np.random.default_rng(0))
    return model


def test_servos_go_no_faster_than_they_can(table):
    model = servo(table, speed=0.5)
    before = model.positions()
    model.step(table.upper_rad[np.newaxis], 12)
    speed = (model.positions() - before)[0] * RATE_HZ / 12
    assert speed == pytest.approx(0.5 * table.max_velocity_rad_s, rel=0.01)


def test_servos_lag_exponentially(table):
    model = servo(table, lag_s=0.05)
    goal = table.lower_rad + 0.05  # small enough that speed is no limit
    model.step(goal[np.newaxis], 12)
    left = (goal - model.positions()[0]) / 0.05
    assert left == pytest.approx(np.exp(-1.0), abs=0.03)


def test_servos_start_late(table):
    model = servo(table, delay_s=0.05)
    model.step(table.upper_rad[np.newaxis], 12)
    assert np.array_equal(model.positions()[0], table.lower_rad)
    model.step(table.upper_rad[np.newaxis], 1)
    assert (model.positions()[0] > table.lower_rad).all()


def test_servos_gather_speed(table):
    model = servo(table, acceleration_s=0.05)
    model.step(table.upper_rad[np.newaxis], 6)
    top = table.max_velocity_rad_s
    # Half the time to top speed at a constant acceleration: an eighth of the way.
    assert model.positions()[0] - table.lower_rad == pytest.approx(top * 0.05 / 8.0, rel=0.3)


def test_play_is_used_up_before_a_joint_turns_back(table):
    model = servo(table, backlash_rad=0.04)
    middle = (table.lower_rad + table.upper_rad) / 2.0
    model.step(middle[np.newaxis], 480)
    there = model.positions()[0]
    assert middle - there == pytest.approx(0.02, abs=1e-6)
    model.step((middle - 0.03)[np.newaxis], 480)
    assert model.positions()[0] == pytest.approx(there, abs=1e-6)


def test_loaded_servos_stop_short(table):
    model = servo(table, load_rad=0.05)
    middle = (table.lower_rad + table.upper_rad) / 2.0
    model.step(middle[np.newaxis], 480)
    assert np.abs(model.positions()[0] - middle) == pytest.approx(0.05, abs=1e-6)


def test_readings_are_noisy_and_positions_are_not(table):
    model = servo(table, noise_rad=0.01)
    random = np.random.default_rng(0)
    readings = np.array([model.measured(random)[0] for _ in range(400)])
    assert readings.std(axis=0) == pytest.approx(0.01, rel=0.3)
    assert np.array_equal(model.positions()[0], table.lower_rad)


def test_a_policy_learns():
    """A still hand, perfect estimates and servos: a few seconds bring some of the way."""
    sb3 = pytest.importorskip('stable_baselines3')
    env = Sb3Vector(HandImitationLandmarksVectorEnv(
        32, max_episode_steps=20, moving=False, faults=None, servos=IDEAL, history=1,
        rewards={'pose': 1.0}))
    model = sb3.PPO('MlpPolicy', env, seed=0, n_steps=40, batch_size=256, gamma=0.7,
                    gae_lambda=0.7, learning_rate=1e-3, device='cpu',
                    policy_kwargs={'log_std_init': -1.0})

    def score():
        env.seed(1)
        observation, rewards = env.reset(), []
        for _ in range(20):
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, _, _ = env.step(action)
            rewards.append(reward.mean())
        return np.mean(rewards)

    before = score()
    model.learn(12_800)
    assert score() > before + 0.05


@pytest.mark.parametrize('options', [
    {'action': 'magic'}, {'history': 0}, {'rewards': {'original': 1.0}}, {'rewards': {}}],
    ids=str)
def test_options_that_make_no_sense_are_named(options):
    with pytest.raises(UserError):
        HandImitationLandmarksEnv(**options)


@pytest.mark.parametrize('action', [np.full(12, np.nan), np.full(12, np.inf), np.zeros(3)],
                         ids=str)
def test_actions_that_make_no_sense_are_named(action):
    env = HandImitationLandmarksEnv()
    env.reset(seed=0)
    with pytest.raises(UserError, match='action'):
        env.step(action)
