"""Tells Gymnasium the environments' names; importing `hand_imitation.learning` does it."""

from __future__ import annotations

import gymnasium as gym

PIXELS = 'hand_imitation/HandImitation-v0'
LANDMARKS = 'hand_imitation/HandImitationLandmarks-v0'
_PIXELS_STEPS = 1000
_LANDMARKS_STEPS = 300


def register() -> None:
    """Register both environments, once."""
    if PIXELS not in gym.registry:
        gym.register(
            PIXELS, entry_point='hand_imitation.learning.environment:HandImitationEnv',
            vector_entry_point=(
                'hand_imitation.learning.vector_environment:HandImitationVectorEnv'),
            max_episode_steps=_PIXELS_STEPS)
    if LANDMARKS not in gym.registry:
        module = 'hand_imitation.learning.landmarks_environment'
        gym.register(
            LANDMARKS, entry_point=f'{module}:HandImitationLandmarksEnv',
            vector_entry_point=f'{module}:HandImitationLandmarksVectorEnv',
            max_episode_steps=_LANDMARKS_STEPS)


register()
