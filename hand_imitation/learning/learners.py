"""PPO, A2C and SAC of stable-baselines3 on batches of our environments.

Their training is stable-baselines3's; experience comes from a `Collector`, and each joint learns
from its own part of the reward (`joint_credit.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import RolloutReturn, Schedule
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from hand_imitation.learning.joint_credit import (
    JointActorCriticPolicy,
    JointGaussian,
    JointRolloutBuffer,
)
from hand_imitation.learning.rollouts import Collector, Rollout

_FURTHEST = 5.0
_CHUNK = 4096
"""Observations judged at a time, which bounds the memory."""


class Spaces(VecEnv):
    """Tells stable-baselines3 the spaces; experience comes from elsewhere."""

    def __init__(self, count: int, observation_space: spaces.Space,
                 action_space: spaces.Space) -> None:
        self.render_mode = None
        super().__init__(count, observation_space, action_space)

    def reset(self) -> np.ndarray:
        """Give zeros."""
        space = self.observation_space
        return np.zeros((self.num_envs, *space.shape), space.dtype)

    def step_async(self, actions: np.ndarray) -> None:
        """Refuse."""
        raise NotImplementedError('steps are made by the collector')

    def step_wait(self) -> Any:
        """Refuse."""
        raise NotImplementedError('steps are made by the collector')

    def close(self) -> None:
        """Do nothing."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Give this object's own."""
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set this object's own."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None,
                   **kwargs: Any) -> list[Any]:
        """Call this object's own."""
        return [getattr(self, method_name)(*args, **kwargs)] * self.num_envs

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Tell that nothing is wrapped."""
        return [False] * self.num_envs


class Normalised(BaseFeaturesExtractor):
    """Brings every number of an observation to mean 0 and spread 1, as far as seen.

    What is further off than 5 is cut, as in `policy/landmarks_network.py`.
    """

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, observation_space.shape[0])
        size = observation_space.shape[0]
        self.register_buffer('mean', th.zeros(size))
        self.register_buffer('spread', th.ones(size))
        self.register_buffer('seen', th.zeros((), dtype=th.float64))

    def see(self, observations: np.ndarray) -> None:
        """Take more observations into account: shape (k, size)."""
        fresh = len(observations)
        total = float(self.seen) + fresh
        share = fresh / total
        change = th.as_tensor(observations.mean(axis=0)).to(self.mean) - self.mean
        variance = (1.0 - share) * self.spread ** 2 * (float(self.seen) > 0.0) + (
            share * th.as_tensor(observations.var(axis=0)).to(self.mean)
            + share * (1.0 - share) * change ** 2 * (float(self.seen) > 0.0))
        self.mean += share * change
        # What never changes is left as it is: it may do so later.
        self.spread.copy_(th.where(variance > 1e-8, variance.sqrt(), th.ones_like(variance)))
        self.seen += fresh

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """Shape (m, size)."""
        return ((observations - self.mean) / self.spread).clamp(-_FURTHEST, _FURTHEST)


def look(policy: nn.Module, observations: np.ndarray) -> None:
    """Let a policy's normalisation take observations into account: shape (t, m, ...)."""
    flat = observations.reshape(-1, *observations.shape[2:])
    for module in policy.modules():
        see = getattr(module, 'see', None)
        if see is not None:
            see(flat)


def draw_actions(policy: Any, observations: np.ndarray) -> np.ndarray:
    """Draw actions from a policy.

    Args:
        policy: Of any of the learners.
        observations: Shape (m, ...), or (k, m, ...) where all k are the same.

    Returns:
        Shape (m, n) or (k, m, n).
    """
    many = observations.ndim > len(policy.observation_space.shape) + 1
    with th.no_grad():
        # Copied, for torch wants to be able to write.
        seen = th.tensor(observations[0] if many else observations, device=policy.device)
        if isinstance(policy, SACPolicy):
            means, stds, extra = policy.actor.get_action_dist_params(seen)
            distribution = policy.actor.action_dist.proba_distribution(means, stds, **extra)
        else:
            distribution = policy.get_distribution(seen)
        drawn = [distribution.sample() for _ in range(len(observations) if many else 1)]
        return (th.stack(drawn) if many else drawn[0]).cpu().numpy()


def best_actions(policy: Any, observations: np.ndarray) -> np.ndarray:
    """Give the actions a policy holds for best: shape (m, n), -1 to 1."""
    with th.no_grad():
        parts = [policy._predict(th.as_tensor(part, device=policy.device), deterministic=True)
                 for part in np.array_split(observations, -(-len(observations) // _CHUNK))]
        return th.cat(parts).clamp(-1.0, 1.0).cpu().numpy()


def dense_policies(hidden: list[int], log_std: float) -> dict[str, dict[str, Any]]:
    """Give the `policy_kwargs` of networks of dense layers on numbers, by algorithm.

    Args:
        hidden: Widths of the layers.
        log_std: How far PPO and A2C try actions at first, as a logarithm.
    """
    shared = {'activation_fn': nn.SiLU, 'features_extractor_class': Normalised}
    on_policy = {**shared, 'net_arch': {'pi': hidden, 'vf': hidden}, 'log_std_init': log_std}
    return {'ppo': on_policy, 'a2c': on_policy, 'sac': {**shared, 'net_arch': hidden}}


class _Collecting:
    """What all three share: a collector, a budget, and what is told about rollouts.

    Attributes:
        collector: Set before learning.
        remaining: Share of the budget that is left, 1 to 0; set by the trainer.
        going: Unset to stop, before the next rollout and with the last one learned from.
    """

    collector: Collector
    remaining: float = 1.0
    going: bool = True
    policy: Any
    device: Any
    logger: Any
    num_timesteps: int
    _current_progress_remaining: float

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Draw actions: shape (m, n)."""
        return draw_actions(self.policy, observations)

    def _update_current_progress_remaining(self, num_timesteps: int, total: int) -> None:
        # A budget may be in minutes.
        self._current_progress_remaining = self.remaining

    def _collect(self, callback: BaseCallback, steps: int) -> Rollout:
        """Collect, count and tell."""
        callback.on_rollout_start()
        rollout = self.collector.collect(self.policy, self.act, steps)
        self.num_timesteps += rollout.steps
        look(self.policy, rollout.observations)
        self.logger.record('rollout/reward', float(rollout.rewards.mean()))
        self.logger.record(
            'rollout/cumulative_reward', float(rollout.rewards.sum(axis=0).mean()))
        callback.update_locals({'rollout': rollout})
        callback.on_step()
        return rollout


class ManyActionsGaussian(JointGaussian):
    """Judges several actions for one observation: shape (m, k * n)."""

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        """Shape (m, k * n)."""
        mean = self.distribution.mean
        each = actions.reshape(len(mean), -1, mean.shape[1])
        several = th.distributions.Normal(mean[:, None], self.distribution.stddev[:, None])
        return several.log_prob(each).reshape(actions.shape)


class ManyActionsPolicy(JointActorCriticPolicy):
    """For PPO and A2C where an observation is seen once and many actions are tried."""

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.action_dist = ManyActionsGaussian(self.action_space.shape[0])


class _OnPolicy(_Collecting):
    """What PPO and A2C share."""

    gamma: float
    steps_a_rollout: int

    def collect_rollouts(self, env: VecEnv, callback: BaseCallback, rollout_buffer: Any,
                         n_rollout_steps: int) -> bool:
        """Fill the buffer, see `OnPolicyAlgorithm.collect_rollouts`."""
        if not self.going:
            return False
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        rollout = self._collect(callback, self.steps_a_rollout)
        if isinstance(self.policy, ManyActionsPolicy):
            self._fill_with_tries(rollout_buffer, rollout)
            callback.on_rollout_end()
            return True
        credits = rollout.credits.copy()
        for (step, number), seen in rollout.cut.items():
            # An episode that was cut off would have gone on.
            if self.gamma > 0.0 and not rollout.terminated[step, number]:
                credits[step, number] += self.gamma * self._values(seen[np.newaxis])[0].numpy()
        for step in range(self.steps_a_rollout):
            observations, actions = rollout.observations[step], rollout.actions[step]
            with th.no_grad():
                values, log_prob, _ = self.policy.evaluate_actions(
                    th.as_tensor(observations, device=self.device),
                    th.as_tensor(actions, device=self.device))
            started = (np.zeros(self.collector.count, bool) if step == 0
                       else rollout.ended[step - 1])
            rollout_buffer.add(observations, actions, credits[step], started, values, log_prob)
        last = (self._values(rollout.last) if self.gamma > 0.0
                else th.zeros_like(values).cpu())
        rollout_buffer.compute_returns_and_advantage(last, rollout.ended[-1])
        callback.on_rollout_end()
        return True

    def _fill_with_tries(self, buffer: JointRolloutBuffer, rollout: Rollout) -> None:
        """Judge every action by how well the others did that were tried on the same target.

        That baseline needs no learning (Kool 2019, REINFORCE with leave-one-out). The critic's
        own opinion counts as one more of the others.
        """
        tries, count, joints = rollout.credits.shape
        observations = rollout.observations[0]
        flat = rollout.actions.transpose(1, 0, 2).reshape(count, tries * joints)
        with th.no_grad():
            values, log_prob, _ = self.policy.evaluate_actions(
                th.as_tensor(observations, device=self.device),
                th.as_tensor(flat, device=self.device))
        values = values.cpu().numpy()
        # The first tries start further away; that is nobody's merit.
        credits = rollout.credits - rollout.credits.mean(axis=1, keepdims=True) + (
            rollout.credits.mean(axis=(0, 1)))
        total = credits.sum(axis=0)
        advantages = credits - (total - credits + values) / tries
        buffer.observations[0] = observations
        buffer.actions = flat[np.newaxis]
        buffer.values[0], buffer.returns = values, total[np.newaxis] / tries
        buffer.log_probs = log_prob.cpu().numpy()[np.newaxis]
        buffer.advantages = advantages.transpose(1, 0, 2).reshape(1, count, tries * joints)
        buffer.pos, buffer.full = 1, True

    def _values(self, observations: np.ndarray) -> th.Tensor:
        with th.no_grad():
            return th.cat([
                self.policy.predict_values(th.as_tensor(part, device=self.device)).cpu()
                for part in np.array_split(observations, -(-len(observations) // _CHUNK))])


class CollectingPPO(_OnPolicy, PPO):
    """PPO on a collector."""


class CollectingA2C(_OnPolicy, A2C):
    """A2C on a collector."""


class CollectingSAC(_Collecting, SAC):
    """SAC on a collector."""

    steps_a_rollout: int

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, train_freq: Any, replay_buffer: Any,
        action_noise: Any = None, learning_starts: int = 0, log_interval: int | None = None,
    ) -> RolloutReturn:
        """Add to the replay buffer, see `OffPolicyAlgorithm.collect_rollouts`."""
        if not self.going:
            return RolloutReturn(0, 0, False)
        self.policy.set_training_mode(False)
        rollout = self._collect(callback, self.steps_a_rollout)
        self._remember(replay_buffer, rollout)
        self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
        callback.on_rollout_end()
        return RolloutReturn(rollout.steps, int(rollout.ended.sum()), True)

    def _remember(self, replay_buffer: Any, rollout: Rollout) -> None:
        """Put what happened into the replay buffer."""
        for step in range(len(rollout.observations)):
            infos = [{'TimeLimit.truncated': bool(ended and not terminated)}
                     for ended, terminated in zip(
                         rollout.ended[step], rollout.terminated[step], strict=True)]
            replay_buffer.add(
                rollout.observations[step], rollout.following(step), rollout.actions[step],
                rollout.credits[step], rollout.ended[step], infos)
