"""Collects experience: steps environments with a policy.

Learners act between -1 and 1 in every environment, and may see a part of the observation only;
`Stage` is what lies between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv

Act = Callable[[np.ndarray], np.ndarray]
"""From observations to actions, which are clipped to -1 to 1; shape (m, n)."""


View = Callable[[np.ndarray], np.ndarray]
"""From observations, shape (m, ...), to what a learner sees of them, shape (m, ...)."""


def _everything(observations: np.ndarray) -> np.ndarray:
    return observations


def columns_of(observations: np.ndarray, columns: slice) -> np.ndarray:
    """See some numbers only: shape (m, k)."""
    return observations[:, columns]


def target_of(observations: np.ndarray) -> np.ndarray:
    """See the target of a pair of pictures only, channels first: shape (m, 3, h, w)."""
    width = observations.shape[2] // 2
    return np.ascontiguousarray(observations[:, :, :width].transpose(0, 3, 1, 2))


@dataclass(frozen=True, eq=False)
class Rollout:
    """What happened in some environments; t counts steps, m environments, n joints.

    Attributes:
        observations: Shape (t, m, ...); (1, m, ...) from a stage that stands still.
        actions: Shape (t, m, n), as given, before they were clipped.
        credits: Shape (t, m, n), the reward by joint.
        rewards: Shape (t, m).
        ended: Shape (t, m), bool: an episode was over after this step.
        terminated: Shape (t, m), bool: and there is nothing to be had after it.
        last: Shape (m, ...), observed after the last step.
        cut: What was observed at the end of episodes, by step and environment.
    """

    observations: np.ndarray
    actions: np.ndarray
    credits: np.ndarray
    rewards: np.ndarray
    ended: np.ndarray
    terminated: np.ndarray
    last: np.ndarray
    cut: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Steps of all environments together."""
        return int(self.rewards.size)

    def following(self, step: int) -> np.ndarray:
        """What was observed after a step, in the same episodes: shape (m, ...)."""
        final = step + 1 == len(self.observations)
        following = (self.last if final else self.observations[step + 1]).copy()
        for number in np.flatnonzero(self.ended[step]):
            following[number] = self.cut[step, int(number)]
        return following


def joined(rollouts: list[Rollout]) -> Rollout:
    """Put rollouts of equal length side by side.

    Args:
        rollouts: One or more.

    Returns:
        All their environments.
    """
    cut, first = {}, 0
    for rollout in rollouts:
        for (step, number), seen in rollout.cut.items():
            cut[step, first + number] = seen
        first += rollout.rewards.shape[1]
    rows = {name: np.concatenate([getattr(one, name) for one in rollouts], axis=1) for name in (
        'observations', 'actions', 'credits', 'rewards', 'ended', 'terminated')}
    return Rollout(**rows, last=np.concatenate([one.last for one in rollouts]), cut=cut)


class Stage:
    """A vectorised environment as a learner meets it."""

    def __init__(self, vector: VectorEnv, view: View | None = None, still: bool = False) -> None:
        """Wrap it.

        Args:
            vector: One of ours: it resets in the same step and gives `joint_rewards`.
            view: Makes what the learner sees of observations; None for all of them.
            still: What the learner sees does not change in an episode; it is given once, and
                every rollout is an episode, if those of `vector` are not shorter.
        """
        self.vector, self._view, self.still = vector, view or _everything, still
        box, whole = vector.single_action_space, vector.single_observation_space
        assert isinstance(box, spaces.Box) and isinstance(whole, spaces.Box)
        self._middle = (box.high + box.low).astype(float) / 2.0
        self._half = (box.high - box.low).astype(float) / 2.0
        self.action_space = spaces.Box(-1.0, 1.0, box.shape, np.float32)
        self.observation_space = spaces.Box(
            self._view(whole.low[np.newaxis])[0], self._view(whole.high[np.newaxis])[0],
            dtype=whole.dtype.type)
        self._now: np.ndarray | None = None

    @property
    def random(self) -> np.random.Generator:
        """What the environment draws from."""
        return self.vector.np_random

    def begin(self, seed: int | None = None) -> np.ndarray:
        """Begin new episodes everywhere.

        Args:
            seed: Start the random numbers anew from it, too.

        Returns:
            What the learner sees.
        """
        self._now = self._view(self.vector.reset(seed=seed)[0])
        return self._now

    def forget(self) -> None:
        """Let the next rollout begin new episodes everywhere."""
        self._now = None

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """Make a step.

        Args:
            actions: Shape (m, n), -1 to 1.

        Returns:
            What the learner sees next, rewards, and the environment's details.
        """
        goals = self._middle + np.clip(actions.astype(float), -1.0, 1.0) * self._half
        observations, rewards, terminated, truncated, details = self.vector.step(goals)
        self._now = self._view(observations)
        return self._now, rewards, {
            **details, 'terminated': terminated, 'ended': terminated | truncated}

    def collect(self, act: Act, steps: int) -> Rollout:
        """Make some steps.

        Args:
            act: The policy.
            steps: How many, in each environment.

        Returns:
            What happened.
        """
        now = self.begin() if self._now is None or self.still else self._now
        if self.still:
            return self._collect_still(act, now, steps)
        rows, cut = [], {}
        for step in range(steps):
            actions = act(now)
            following, rewards, details = self.step(actions)
            shown: Mapping[str, Any] = details.get('final_info', details)
            rows.append((now, actions, shown['joint_rewards'].astype(np.float32),
                         rewards.astype(np.float32), details['ended'], details['terminated']))
            if details['ended'].any():
                last = self._view(details['final_obs'])
                cut.update({(step, int(number)): last[number].copy()
                            for number in np.flatnonzero(details['ended'])})
            now = following
        observed, given, credited, rewarded, ended, terminated = (
            np.stack(column) for column in zip(*rows, strict=True))
        return Rollout(observed, given, credited, rewarded, ended, terminated, now, cut)

    def _collect_still(self, act: Act, seen: np.ndarray, steps: int) -> Rollout:
        """Make an episode in which nothing changes for the learner."""
        # All actions at once: the same picture need not be looked at again and again.
        actions = act(np.broadcast_to(seen, (steps, *seen.shape)))
        rows = []
        for given in actions:
            _, rewards, details = self.step(given)
            shown: Mapping[str, Any] = details.get('final_info', details)
            rows.append((shown['joint_rewards'].astype(np.float32),
                         rewards.astype(np.float32)))
        credits, rewards = (np.stack(column) for column in zip(*rows, strict=True))
        ended = np.zeros(rewards.shape, dtype=bool)
        ended[-1] = True
        return Rollout(seen[np.newaxis].copy(), actions, credits, rewards, ended, ended, seen)

    def close(self) -> None:
        """Close the environment."""
        self.vector.close()


class Collector(Protocol):
    """Where a learner's rollouts come from.

    Attributes:
        count: Number of environments.
    """

    count: int

    def collect(self, policy: Any, act: Act, steps: int) -> Rollout:
        """Make some steps.

        Args:
            policy: The learner's policy, a torch module whose weights can be sent elsewhere.
            act: The same as a function, for use here.
            steps: How many, in each environment.
        """

    def forget(self) -> None:
        """Let the next rollout begin new episodes everywhere."""

    def generators(self) -> dict[str, np.random.Generator]:
        """What is drawn from here, by name; kept for a run that resumes."""

    def close(self) -> None:
        """Give back what it holds."""


class LocalCollector:
    """Steps environments in this process."""

    def __init__(self, stage: Stage, seed: int) -> None:
        """Seed the environment.

        Args:
            stage: The environment.
            seed: Of its random numbers.
        """
        self._stage = stage
        self.count = stage.vector.num_envs
        stage.begin(seed)

    def collect(self, policy: Any, act: Act, steps: int) -> Rollout:
        """See `Collector.collect`."""
        return self._stage.collect(act, steps)

    def forget(self) -> None:
        """See `Collector.forget`."""
        self._stage.forget()

    def generators(self) -> dict[str, np.random.Generator]:
        """See `Collector.generators`."""
        return {'environment': self._stage.random}

    def close(self) -> None:
        """See `Collector.close`."""
        self._stage.close()
