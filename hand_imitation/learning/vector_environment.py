"""Many arms in one process: the pixels environment, vectorised.

Physics, pictures and rewards of all arms are computed together, which is what makes it fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from hand_imitation.errors import UserError
from hand_imitation.learning.feeds import Feed
from hand_imitation.learning.pixels_core import MAX_EPISODE_STEPS, PixelsCore, Preprocess


class HandImitationVectorEnv(VectorEnv):
    """As many `HandImitationEnv` as asked for, all fed by one feed.

    An arm whose episode ends gets a new target in the same step; its last observation and
    details are then in `infos['final_obs']` and `infos['final_info']`.
    """

    metadata = {'render_modes': [], 'autoreset_mode': AutoresetMode.SAME_STEP}

    def __init__(self, num_envs: int = 16, cap: str | Feed = 'sample', mod: str = 'Direct',
                 epsilon: float | None = 150, preprocess: Preprocess | None = None,
                 resolution: Sequence[int] = (56, 56, 3), *,
                 max_episode_steps: int = MAX_EPISODE_STEPS, physics: str = 'motors',
                 **options: Any) -> None:
        """Make the arms.

        Args:
            num_envs: How many.
            cap: As in `HandImitationEnv`, like all the others.
            mod: See there.
            epsilon: See there.
            preprocess: See there.
            resolution: See there.
            max_episode_steps: After so many steps an episode is cut off.
            physics: See there; 'motors' by default, for speed.
            options: See there.
        """
        if num_envs < 1 or max_episode_steps < 1:
            raise UserError(f'{num_envs} environments of {max_episode_steps} steps: give at '
                            'least 1 of each')
        self.core = PixelsCore(num_envs, cap, mod, epsilon, preprocess, resolution,
                               physics=physics, **options)
        self.num_envs = num_envs
        self.single_action_space = self.core.action_space
        self.single_observation_space = self.core.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._max_steps = max_episode_steps
        self._elapsed = np.zeros(num_envs, dtype=int)
        self.render_mode = None

    def reset(self, *, seed: int | list[int | None] | None = None,
              options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Give every arm a new target; with a seed, the feed starts again where it can."""
        if seed is not None:
            first = seed[0] if isinstance(seed, list) else seed
            self._np_random, self._np_random_seed = seeding.np_random(first)
        self.core.reset(range(self.num_envs), self.np_random, start_again=seed is not None)
        self._elapsed[:] = 0
        observations, _, positions = self.core.observe()
        present = np.array([target.hand_present for target in self.core.targets])
        return observations, {'hand_present': present, 'joint_positions': positions}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray,
                                                 dict[str, Any]]:
        """Pose all arms; see the class."""
        observations, rewards, reached, details = self.core.step(np.asarray(actions, dtype=float))
        self._elapsed += 1
        truncated = (self._elapsed >= self._max_steps) & ~reached
        ended = np.flatnonzero(reached | truncated)
        if len(ended):
            details = {**details, 'final_obs': observations, 'final_info': details,
                       '_final_obs': reached | truncated, '_final_info': reached | truncated}
            self.core.reset(ended, self.np_random)
            self._elapsed[ended] = 0
            observations = self.core.observe()[0]
        return observations, rewards, reached, truncated, details

    def close_extras(self, **kwargs: Any) -> None:
        """End the physics."""
        self.core.close()
