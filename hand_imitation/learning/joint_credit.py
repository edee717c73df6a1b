"""Credit by joint for the algorithms of stable-baselines3.

Twelve joints share one reward, so for each of them eleven twelfths of it are noise. Our
environments also say what part of the reward each joint earned (`info['joint_rewards']`). Here
are the pieces that let PPO, A2C and SAC, with their own training loops, use it: joints are
treated as twelve learners that share a network. `JointCredit` makes the rewards a row of twelve;
critics have twelve values; probabilities of actions are kept joint by joint.

What a joint does to the part of another one (collisions) is not credited to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer, RolloutBuffer
from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    SquashedDiagGaussianDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy, BaseModel
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import (
    ReplayBufferSamples,
    RolloutBufferSamples,
    Schedule,
)
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import nn

_HEAD = 32
"""Hidden units of each joint's own part of a critic."""


class JointCredit(VecEnvWrapper):
    """Gives rewards by joint, shape (m, n), and takes actions in [-1, 1] for all joints.

    Wrap it outermost: what counts returns wants one reward.
    """

    def __init__(self, venv: VecEnv) -> None:
        """Wrap it.

        Args:
            venv: `Sb3Vector` of either environment, with or without a `VecMonitor`.
        """
        space = venv.action_space
        assert isinstance(space, spaces.Box)
        super().__init__(venv, action_space=spaces.Box(-1.0, 1.0, space.shape, np.float32))
        self._middle, self._half = (space.high + space.low) / 2.0, (space.high - space.low) / 2.0

    def reset(self) -> Any:
        """Start all episodes."""
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        """Scale the actions to those of the environment."""
        self.venv.step_async(self._middle + self._half * np.clip(actions, -1.0, 1.0))

    def step_wait(self) -> Any:
        """Make a step."""
        observations, _, ended, infos = self.venv.step_wait()
        rewards = np.array([info['joint_rewards'] for info in infos], np.float32)
        # A tensor, since the value of a last observation may be added to a row of it.
        return observations, th.from_numpy(rewards), ended, infos


class JointGaussian(DiagGaussianDistribution):
    """A Gaussian for each joint, whose probabilities are not multiplied."""

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        """Shape (m, n)."""
        return self.distribution.log_prob(actions)

    def entropy(self) -> th.Tensor:
        """Shape (m, n)."""
        return self.distribution.entropy()


class JointSquashedGaussian(SquashedDiagGaussianDistribution):
    """The same, squashed into [-1, 1]."""

    def log_prob(self, actions: th.Tensor,
                 gaussian_actions: th.Tensor | None = None) -> th.Tensor:
        """Shape (m, n)."""
        if gaussian_actions is None:
            gaussian_actions = th.atanh(actions.clamp(-1.0 + 1e-6, 1.0 - 1e-6))
        return self.distribution.log_prob(gaussian_actions) - th.log(
            1.0 - actions ** 2 + self.epsilon)


class JointActorCriticPolicy(ActorCriticPolicy):
    """For PPO and A2C: twelve values, twelve probabilities."""

    def _build(self, lr_schedule: Schedule) -> None:
        joints = self.action_space.shape[0]
        self.action_dist = JointGaussian(joints)
        super()._build(lr_schedule)
        self.value_net = nn.Linear(self.mlp_extractor.latent_dim_vf, joints)
        self.optimizer = self.optimizer_class(
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)


class JointRolloutBuffer(RolloutBuffer):
    """For PPO and A2C: rewards, values and advantages by joint."""

    def reset(self) -> None:
        """Empty it."""
        super().reset()
        shape = self.buffer_size, self.n_envs, self.action_dim
        for name in ('rewards', 'returns', 'values', 'log_probs', 'advantages'):
            setattr(self, name, np.zeros(shape, np.float32))

    def add(self, obs: np.ndarray, action: np.ndarray, reward: np.ndarray,
            episode_start: np.ndarray, value: th.Tensor, log_prob: th.Tensor) -> None:
        """Store a step of all environments."""
        self.observations[self.pos] = obs
        self.actions[self.pos] = action
        self.rewards[self.pos] = np.asarray(reward)
        self.episode_starts[self.pos] = episode_start
        self.values[self.pos] = value.cpu().numpy()
        self.log_probs[self.pos] = log_prob.cpu().numpy()
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(self, last_values: th.Tensor, dones: np.ndarray) -> None:
        """Generalised advantages (Schulman 2016, eq. 16), joint by joint."""
        following = last_values.cpu().numpy()
        goes_on = 1.0 - dones.astype(np.float32)[:, np.newaxis]
        advantage = np.zeros_like(following)
        for step in reversed(range(self.buffer_size)):
            surprise = self.rewards[step] + self.gamma * goes_on * following - self.values[step]
            advantage = surprise + self.gamma * self.gae_lambda * goes_on * advantage
            self.advantages[step] = advantage
            following = self.values[step]
            goes_on = 1.0 - self.episode_starts[step][:, np.newaxis]
        self.returns = self.advantages + self.values

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> RolloutBufferSamples:
        # Values come flattened out of the training loops, probabilities do not.
        parts = (self.observations[batch_inds], self.actions[batch_inds],
                 self.values[batch_inds].ravel(), self.log_probs[batch_inds],
                 self.advantages[batch_inds], self.returns[batch_inds].ravel())
        return RolloutBufferSamples(*(self.to_torch(part) for part in parts))


class JointReplayBuffer(ReplayBuffer):
    """For SAC: rewards by joint, each joint a sample of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """As `ReplayBuffer`."""
        super().__init__(*args, **options)
        self.rewards = np.zeros((self.buffer_size, self.n_envs, self.action_dim), np.float32)

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> ReplayBufferSamples:
        which = batch_inds, np.random.randint(0, self.n_envs, len(batch_inds))
        ended = self.dones[which] * (1.0 - self.timeouts[which])
        parts = (self.observations[which], self.actions[which], self.next_observations[which],
                 np.repeat(ended, self.action_dim)[:, np.newaxis],
                 self.rewards[which].reshape(-1, 1))
        return ReplayBufferSamples(*(self.to_torch(part) for part in parts))


class _JointValues(nn.Module):
    """Values of each joint's own action: a shared trunk, and a small head for each joint."""

    def __init__(self, features: int, joints: int, net_arch: list[int]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*create_mlp(features, -1, net_arch))
        width = net_arch[-1] if net_arch else features
        self.state = nn.Linear(width, joints * _HEAD)
        self.action = nn.Parameter(th.randn(joints, _HEAD))
        self.out = nn.Parameter(th.randn(joints, _HEAD) / _HEAD ** 0.5)
        self.bias = nn.Parameter(th.zeros(joints))

    def forward(self, features: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """Shape of the actions: (m, joints), or (m, k, joints) with k actions for each state."""
        between = (1,) * (actions.ndim - 2)
        state = self.state(self.trunk(features)).reshape(
            len(actions), *between, *self.action.shape)
        hidden = th.relu(state + actions[..., None] * self.action)
        return (hidden * self.out).sum(dim=-1) + self.bias


class JointCritic(BaseModel):
    """For SAC: two estimates of each joint's value, in a column with a row for each joint."""

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Box,
                 net_arch: list[int], features_extractor: BaseFeaturesExtractor,
                 features_dim: int, activation_fn: type[nn.Module] = nn.ReLU,
                 normalize_images: bool = True, n_critics: int = 2,
                 share_features_extractor: bool = True) -> None:
        """As `ContinuousCritic` of stable-baselines3."""
        super().__init__(observation_space, action_space, normalize_images=normalize_images,
                         features_extractor=features_extractor)
        self.share_features_extractor = share_features_extractor
        self.q_networks = nn.ModuleList(
            _JointValues(features_dim, action_space.shape[0], net_arch)
            for _ in range(n_critics))

    def forward(self, obs: th.Tensor, actions: th.Tensor) -> tuple[th.Tensor, ...]:
        """For each estimate, shape (m * joints, 1)."""
        assert self.features_extractor is not None
        with th.set_grad_enabled(th.is_grad_enabled() and not self.share_features_extractor):
            features = self.extract_features(obs, self.features_extractor)
        return tuple(values(features, actions).reshape(-1, 1) for values in self.q_networks)


class JointSacPolicy(SACPolicy):
    """For SAC: see `JointCritic`; give it a target entropy for one joint."""

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Actor:
        """An actor whose probabilities are kept by joint."""
        actor = super().make_actor(features_extractor)
        actor.action_dist = JointSquashedGaussian(self.action_space.shape[0])
        return actor

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None,
                    ) -> JointCritic:
        """A critic of each joint."""
        return JointCritic(
            **self._update_features_extractor(self.critic_kwargs, features_extractor),
        ).to(self.device)
