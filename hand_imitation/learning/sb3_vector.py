"""Our vectorised environments as stable-baselines3 wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from hand_imitation.learning.pixels_core import details_of


class Sb3Vector(VecEnv):
    """Wraps a vectorised environment that resets in the same step, such as both of ours."""

    def __init__(self, vector: VectorEnv) -> None:
        """Wrap it.

        Args:
            vector: `HandImitationVectorEnv` or `HandImitationLandmarksVectorEnv`.
        """
        self.vector = vector
        self.render_mode = None
        super().__init__(vector.num_envs, vector.single_observation_space,
                         vector.single_action_space)
        self._actions = np.zeros(0)
        self._seed: int | None = None

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset."""
        self._seed = seed
        return [seed] * self.num_envs

    def reset(self) -> np.ndarray:
        """Start all episodes."""
        observations, _ = self.vector.reset(seed=self._seed)
        self._seed = None
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Make a step."""
        observations, rewards, terminated, truncated, details = self.vector.step(self._actions)
        last = details.pop('final_obs', None)
        shown = details.pop('final_info', details)
        details = {name: value for name, value in shown.items() if not name.startswith('_')}
        infos = [details_of(details, i) for i in range(self.num_envs)]
        ended = terminated | truncated
        for i in np.flatnonzero(ended):
            infos[i]['terminal_observation'] = last[i]
            infos[i]['TimeLimit.truncated'] = bool(truncated[i] and not terminated[i])
        return observations, rewards.astype(np.float32), ended, infos

    def close(self) -> None:
        """Close it."""
        self.vector.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, the same for each."""
        return [getattr(self.vector, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the whole."""
        setattr(self.vector, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None,
                   **kwargs: Any) -> list[Any]:
        """Call a method of the whole; its result stands for each."""
        result = getattr(self.vector, method_name)(*args, **kwargs)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Tell that nothing is wrapped."""
        return [False] * len(list(self._get_indices(indices)))
