"""Credit by joint: the same arithmetic as stable-baselines3, joint by joint."""

import numpy as np
import pytest

pytest.importorskip('stable_baselines3')

import torch as th  # noqa: E402
from gymnasium import spaces  # noqa: E402
from stable_baselines3.common.buffers import RolloutBuffer  # noqa: E402
from stable_baselines3.common.distributions import (  # noqa: E402
    DiagGaussianDistribution,
    SquashedDiagGaussianDistribution,
)

from hand_imitation.learning.joint_credit import (  # noqa: E402
    JointGaussian,
    JointRolloutBuffer,
    JointSquashedGaussian,
    _JointValues,
)
from hand_imitation.learning.rollouts import Rollout  # noqa: E402
from hand_imitation.learning.still_sac import TriesBuffer  # noqa: E402

JOINTS = 3
SEEN = spaces.Box(-1.0, 1.0, (5,), np.float32)
ACTIONS = spaces.Box(-1.0, 1.0, (JOINTS,), np.float32)


@pytest.mark.parametrize(('ours', 'theirs'), [
    (JointGaussian, DiagGaussianDistribution),
    (JointSquashedGaussian, SquashedDiagGaussianDistribution)])
def test_probabilities_of_joints_multiply_to_that_of_the_action(ours, theirs):
    th.manual_seed(0)
    means, stds = th.randn(7, JOINTS), th.zeros(7, JOINTS)
    one, other = (kind(JOINTS).proba_distribution(means, stds) for kind in (ours, theirs))
    actions = one.get_actions()
    assert one.log_prob(actions).shape == (7, JOINTS)
    th.testing.assert_close(one.log_prob(actions).sum(dim=1), other.log_prob(actions),
                            rtol=1e-3, atol=1e-3)


def test_advantages_are_those_of_each_joint_alone():
    random = np.random.default_rng(1)
    steps, count = 6, 2
    joint = JointRolloutBuffer(steps, SEEN, ACTIONS, 'cpu', 0.9, 0.8, count)
    alone = [RolloutBuffer(steps, SEEN, ACTIONS, 'cpu', 0.9, 0.8, count) for _ in range(JOINTS)]
    for step in range(steps):
        seen, actions = random.normal(size=(count, 5)), random.normal(size=(count, JOINTS))
        credits = random.normal(size=(count, JOINTS)).astype(np.float32)
        values = th.as_tensor(random.normal(size=(count, JOINTS)), dtype=th.float32)
        started = np.array([step == 3, False])
        joint.add(seen, actions, credits, started, values, values)
        for number, buffer in enumerate(alone):
            buffer.add(seen, actions, credits[:, number], started, values[:, number],
                       values[:, number])
    last, ended = th.ones(count, JOINTS), np.array([False, True])
    joint.compute_returns_and_advantage(last, ended)
    for number, buffer in enumerate(alone):
        buffer.compute_returns_and_advantage(last[:, number], ended)
        np.testing.assert_allclose(joint.advantages[..., number], buffer.advantages, rtol=1e-5,
                                   atol=1e-6)
        np.testing.assert_allclose(joint.returns[..., number], buffer.returns, rtol=1e-5,
                                   atol=1e-6)


def test_a_joint_is_valued_by_its_own_action():
    th.manual_seed(2)
    values = _JointValues(4, JOINTS, [16])
    features, actions = th.randn(5, 4), th.randn(5, JOINTS)
    changed = actions.clone()
    changed[:, 1] += 0.5
    differs = (values(features, actions) - values(features, changed)).abs() > 1e-6
    assert differs[:, 1].any() and not differs[:, [0, 2]].any()
    # Several actions for one state are valued as if each came with it.
    several = values(features, th.stack([actions, changed], dim=1))
    th.testing.assert_close(several[:, 1], values(features, changed))


def test_the_buffer_of_tries_keeps_what_belongs_together():
    tries, count = 2, 4
    buffer = TriesBuffer(6, SEEN, ACTIONS, 'cpu', count, tries=tries)
    for start in (0.0, 10.0):
        number = start + np.arange(count, dtype=np.float32)
        seen = np.tile(number[np.newaxis, :, np.newaxis], (1, 1, 5))
        acted = np.tile(number[np.newaxis, :, np.newaxis] / 100.0, (tries, 1, JOINTS))
        buffer.add_rollout(Rollout(
            seen, acted, acted - 1.0, acted[..., 0], np.ones((tries, count), bool),
            np.ones((tries, count), bool), seen[0]))
    # 8 observations came, 6 fit: the first two are gone.
    assert buffer.full
    data = buffer.sample(50)
    assert data.actions.shape == data.rewards.shape == (50, tries, JOINTS)
    seen = data.observations[:, 0]
    assert {2.0, 3.0, 10.0, 11.0, 12.0, 13.0} >= set(seen.tolist())
    th.testing.assert_close(data.actions[:, 1, 2], seen / 100.0)
    th.testing.assert_close(data.rewards, data.actions - 1.0)
