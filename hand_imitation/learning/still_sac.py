"""SAC where what is seen holds still and nothing follows from an action but its reward.

Without a future (gamma 0) there are no next observations to look at, and several actions can be
tried on one observation. One look then serves critics and actor alike, which with pictures is
nearly all the cost; what SAC is stays: twin critics, a squashed Gaussian actor, entropy with a
temperature of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch.nn import functional

from hand_imitation.learning.joint_credit import JointCritic
from hand_imitation.learning.learners import CollectingSAC
from hand_imitation.learning.rollouts import Rollout

_LOG_STD = (-5.0, 1.0)


class TriesBuffer(BaseBuffer):
    """Observations, and what was tried on each."""

    def __init__(self, buffer_size: int, observation_space: spaces.Space,
                 action_space: spaces.Space, device: Any = 'auto', n_envs: int = 1,
                 optimize_memory_usage: bool = False, *, tries: int) -> None:
        """As `ReplayBuffer`, with `buffer_size` in observations.

        Args:
            buffer_size: How many observations are kept.
            observation_space: Of the environment.
            action_space: Of the environment.
            device: Where samples go.
            n_envs: Makes no difference.
            optimize_memory_usage: Makes no difference.
            tries: Actions for each observation.
        """
        super().__init__(buffer_size, observation_space, action_space, device, n_envs)
        shape = observation_space.shape or ()
        self.observations = np.zeros((buffer_size, *shape), observation_space.dtype)
        self.actions = np.zeros((buffer_size, tries, self.action_dim), np.float32)
        self.credits = np.zeros_like(self.actions)
        self.pos: int = 0
        self.full: bool = False

    def add_rollout(self, rollout: Rollout) -> None:
        """Add an episode of every environment."""
        where = (self.pos + np.arange(rollout.observations.shape[1])) % self.buffer_size
        self.observations[where] = rollout.observations[0]
        self.actions[where] = np.clip(rollout.actions, -1.0, 1.0).swapaxes(0, 1)
        self.credits[where] = rollout.credits.swapaxes(0, 1)
        self.full = self.full or self.pos + len(where) >= self.buffer_size
        self.pos = int(where[-1] + 1) % self.buffer_size

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> ReplayBufferSamples:
        observations, actions, credits = (self.to_torch(part[batch_inds]) for part in (
            self.observations, self.actions, self.credits))
        return ReplayBufferSamples(
            observations, actions, observations, th.ones(1, device=self.device), credits)


class StillSAC(CollectingSAC):
    """See the module; its policy must share what it extracts between actor and critic."""

    def _remember(self, replay_buffer: Any, rollout: Rollout) -> None:
        replay_buffer.add_rollout(rollout)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Learn from the buffer (Haarnoja 2018, eq. 5, 7 and 18, with gamma 0)."""
        self.policy.set_training_mode(True)
        assert isinstance(self.critic, JointCritic) and self.critic.share_features_extractor
        assert self.ent_coef_optimizer is not None and self.log_ent_coef is not None
        optimizers = [self.actor.optimizer, self.critic.optimizer, self.ent_coef_optimizer]
        self._update_learning_rate(optimizers)
        extractor = self.actor.features_extractor
        losses: list[list[float]] = []
        for _ in range(gradient_steps):
            data = self.replay_buffer.sample(batch_size)
            features = self.actor.extract_features(data.observations, extractor)
            critic_loss = sum((functional.mse_loss(values(features, data.actions), data.rewards)
                               for values in self.critic.q_networks), th.zeros(()))
            latent = self.actor.latent_pi(features)
            actions, log_prob = self.actor.action_dist.log_prob_from_params(
                self.actor.mu(latent), self.actor.log_std(latent).clamp(*_LOG_STD))
            temperature = self.log_ent_coef.exp().detach()
            actor_loss = (temperature * log_prob
                          - self._slope(features, actions) * actions).mean()
            entropy_loss = -(self.log_ent_coef * (
                log_prob.detach() + float(self.target_entropy))).mean()
            for optimizer in optimizers:
                optimizer.zero_grad()
            (critic_loss + actor_loss + entropy_loss).backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append([float(part.detach())
                           for part in (critic_loss, actor_loss, temperature)])
        self._n_updates += gradient_steps
        for name, value in zip(('critic_loss', 'actor_loss', 'ent_coef'),
                               np.mean(losses, axis=0), strict=True):
            self.logger.record(f'train/{name}', value)

    def _slope(self, features: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """How the lower of both critics' values changes with each action: as `actions`.

        Taken by itself, so that the actor's loss changes neither critic.
        """
        tried = actions.detach().requires_grad_()
        seen = features.detach()
        values = th.stack([net(seen, tried) for net in self.critic.q_networks]).amin(dim=0)
        return th.autograd.grad(values.sum(), tried)[0]
