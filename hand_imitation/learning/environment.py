"""`hand_imitation/HandImitation-v0`: look at a hand and at the arm, and pose the arm like it.

The observation is a pair of pictures, the target beside the arm; the action is a pose. Everything
the original environment (gym-handofjustice 0.0.12) offered is here under the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from hand_imitation.learning.feeds import Feed
from hand_imitation.learning.pixels_core import PixelsCore, Preprocess, details_of


class HandImitationEnv(gym.Env[np.ndarray, np.ndarray]):
    """One arm beside one target.

    Observation: uint8, RGB, (height, 2 width, 3): the target, in a mirror, then the arm.
    Action: 12 angles [rad], in the order and within the limits of the joint table. Reward: the
    weighted sum of the terms of `rewards.py`, each in `info['reward_terms']`. An episode has one
    target; it ends when at most `epsilon` pixels differ, and is cut off after 1,000 steps when
    made by `gymnasium.make`.
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 30}

    def __init__(self, cap: str | Feed = 'sample', mod: str = 'Direct',
                 epsilon: float | None = 150, preprocess: Preprocess | None = None,
                 resolution: Sequence[int] = (56, 56, 3), *, render_mode: str | None = None,
                 **options: Any) -> None:
        """Make the environment. The first five arguments are the original's.

        Args:
            cap: The feed: anything with `.read()`, or the name of a source.
            mod: 'Direct', or 'GUI' to show the arm in PyBullet's window.
            epsilon: The episode ends when no more pixels than this differ; None for never.
            preprocess: Makes a mask (above 100 is hand) of the target as shown, BGR; by default
                by the colour of skin, as in the original.
            resolution: Height, width and 3, of each of the two pictures.
            render_mode: 'rgb_array' makes `render` return the pair of pictures.
            options: crop: cut out the hand, and let the arm's camera follow its hand; off, both
                whole pictures are used. check_hand: skip pictures without a hand. finder: finds
                the hand in a picture; by default by landmarks. controller: 'direct', motors go
                for the action for 8 physics steps, or 'travel', the arm travels there and
                arrives. physics: 'pybullet' or 'motors' (see `arm_world.py`). renderer: 'fast',
                'pybullet' or 'none', which shows no arm. rewards: weights by name. side: which
                arm. mirror: the arm mirrors the person.

        Raises:
            UserError: An option makes no sense, or the feed cannot be opened.
        """
        self.render_mode = render_mode
        self.core = PixelsCore(1, cap, mod, epsilon, preprocess, resolution, **options)
        self.action_space = self.core.action_space
        self.observation_space = self.core.observation_space
        self._closed = False

    def reset(self, *, seed: int | None = None,
              options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Take the next target; with a seed, the feed starts again where it can."""
        super().reset(seed=seed)
        self.core.reset([0], self.np_random, start_again=seed is not None)
        observations, _, positions = self.core.observe()
        return observations[0], {'hand_present': self.core.targets[0].hand_present,
                                 'joint_positions': positions[0]}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Pose the arm; see the class."""
        observations, reward, reached, details = self.core.step(
            np.asarray(action, dtype=float)[np.newaxis])
        return (observations[0], float(reward[0]), bool(reached[0]), False,
                details_of(details, 0))

    def render(self) -> np.ndarray | None:
        """Return the pair of pictures, for render mode 'rgb_array'."""
        return self.core.observe()[0][0] if self.render_mode == 'rgb_array' else None

    def close(self) -> None:
        """End the physics; does no harm when closed already."""
        if not self._closed:
            self.core.close()
        self._closed = True
