"""Constant, ceiling and G; credit by joint; the frozen targets of the benchmark."""

import numpy as np
import pytest

pytest.importorskip('stable_baselines3')
pytest.importorskip('cma')

from hand_imitation.arm.description import load_description  # noqa: E402
from hand_imitation.arm.joint_table import JointTable  # noqa: E402
from hand_imitation.errors import UserError  # noqa: E402
from hand_imitation.learning import rewards, yardsticks  # noqa: E402
from hand_imitation.learning.bench_tasks import (  # noqa: E402
    EPISODE_STEPS,
    FROZEN,
    HELD_OUT,
    LandmarksPlay,
    PixelsPlay,
    landmarks_subject,
)
from hand_imitation.learning.landmarks_environment import (  # noqa: E402
    HandImitationLandmarksVectorEnv,
)
from hand_imitation.learning.vector_environment import HandImitationVectorEnv  # noqa: E402


@pytest.fixture(scope='module')
def table():
    return JointTable.from_urdf(load_description())


@pytest.fixture(scope='module')
def subject():
    return landmarks_subject()


def _truths(table, count=6):
    return np.random.default_rng(3).uniform(table.lower_rad, table.upper_rad, (count, 12))


def _distance(truths):
    """A reward whose best constant is the median."""
    return lambda numbers, poses: -np.abs(poses - truths[numbers]).mean(axis=1)


def test_g_is_0_for_the_constant_and_1_at_the_ceiling():
    sticks = yardsticks.Yardsticks(-5.0, -1.0, np.zeros(12))
    assert sticks.g(-5.0) == 0.0
    assert sticks.g(-1.0) == 1.0
    assert sticks.g(-6.0) < 0.0 < sticks.g(-4.9)


def test_best_constant_is_the_median(table):
    truths = _truths(table, 7)
    pose = yardsticks.best_constant(_distance(truths), 7, table, evaluations=4000)
    best = _distance(truths)(np.arange(7), np.tile(np.median(truths, axis=0), (7, 1))).mean()
    found = _distance(truths)(np.arange(7), np.tile(pose, (7, 1))).mean()
    assert best - 0.01 < found <= best


def test_search_finds_each_target_and_keeps_the_best_restart(table):
    truths, play = _truths(table, 3), _distance(_truths(table, 3))
    numbers = np.array([2, 0])
    one = yardsticks.best_poses(play, numbers, table, evaluations=300, restarts=1)
    three = yardsticks.best_poses(play, numbers, table, evaluations=300, restarts=3)
    assert np.all(three.returns >= one.returns)
    np.testing.assert_allclose(three.returns, play(numbers, three.poses_rad))
    long = yardsticks.best_poses(play, numbers, table, evaluations=2000, restarts=1)
    assert np.degrees(np.abs(long.poses_rad - truths[numbers]).max()) < 3.0


def test_the_ceiling_is_the_better_of_truth_and_search(table, monkeypatch):
    monkeypatch.setattr(yardsticks, 'CONSTANT_EVALUATIONS', 400)
    monkeypatch.setattr(yardsticks, 'CEILING_EVALUATIONS', 400)
    truths = _truths(table)
    # What is called the truth of the first target is wrong here: search must beat it.
    called = truths.copy()
    called[0] = table.clip(called[0] + 0.5)
    sticks, about = yardsticks.measure(_distance(truths), _distance(truths), 6, called, 2, table)
    assert about['search_beats_truth'] == 0.5
    assert about['truth_return'] < sticks.ceiling < 0.0
    assert sticks.constant < sticks.ceiling


@pytest.mark.parametrize('make', [LandmarksPlay, PixelsPlay])
def test_nothing_beats_the_truth_in_the_environments(table, make):
    truths = table.clip(_truths(table, 4))
    truths[1, 10:] = np.nan if make is PixelsPlay else 0.0
    play, everyone = make(truths), np.arange(4)
    known = np.nan_to_num(truths)
    at_truth = play(everyone, known)
    # At the truth only the way there costs something.
    assert np.all(at_truth > -0.06 * EPISODE_STEPS['landmarks' if make is LandmarksPlay
                                                   else 'pixels'])
    for shift in (-0.2, 0.2):
        assert np.all(play(everyone, table.clip(known + shift)) < at_truth)
    # In another order it is the same, but for where the arms start.
    np.testing.assert_allclose(
        play(everyone[::-1], known[::-1])[::-1], at_truth, atol=0.02)


def test_the_held_out_targets_are_frozen(subject):
    assert subject.truth_rad.shape == (HELD_OUT, 12)
    assert yardsticks.fingerprint(subject.truth_rad) == FROZEN['landmarks']
    other = subject.truth_rad.copy()
    other[7, 3] += 0.01
    assert yardsticks.fingerprint(other) != FROZEN['landmarks']


def test_what_a_policy_is_judged_on_are_those_targets(subject):
    stage = subject.task.make_held_out()
    stage.begin(0)
    np.testing.assert_allclose(subject.truths_of(stage), subject.truth_rad)
    stage.close()


def test_rewards_by_joint_have_the_reward_as_mean():
    weights = {'pose': 1.0, 'smoothness': 0.1, 'self_collision': 2.0}
    env = HandImitationLandmarksVectorEnv(5, rewards=weights)
    env.reset(seed=4)
    for _ in range(3):
        _, reward, _, _, details = env.step(env.action_space.sample())
        np.testing.assert_allclose(details['joint_rewards'].mean(axis=1), reward)
    env.close()


def test_pose_by_joint_leaves_out_what_is_not_known():
    positions = np.zeros((1, 4))
    true = np.array([[0.1, np.nan, 0.3, np.nan]])
    parts = rewards.pose_by_joint(positions, true)
    np.testing.assert_allclose(parts, [[-0.2, 0.0, -0.6, 0.0]])
    np.testing.assert_allclose(parts.mean(axis=1), rewards.pose(positions, true))


def test_without_an_arm_to_see_there_is_nothing_to_compare():
    with pytest.raises(UserError, match="renderer 'none'"):
        HandImitationVectorEnv(1, renderer='none')
