"""Learning the pose from landmarks by trial, as the original set out to learn it from pictures.

A still hand is shown; the arm's reward tells each joint how far it is off. Hands are those of a
data set, as real perception saw them, or stick people with the errors of perception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from hand_imitation.human.angles import JOINTS
from hand_imitation.learning.dataset import load_dataset
from hand_imitation.learning.dataset_targets import RecordedPeople
from hand_imitation.learning.landmarks_environment import HandImitationLandmarksVectorEnv
from hand_imitation.learning.learners import dense_policies
from hand_imitation.learning.rollouts import Stage, columns_of
from hand_imitation.learning.servo_model import IDEAL
from hand_imitation.learning.stick_people import PerceptionFaults
from hand_imitation.learning.tasks import Exported, Task, data_folder
from hand_imitation.learning.train_options import TrainOptions
from hand_imitation.policy.landmarks_observation import observation_sizes

TRIES = 8
"""Actions tried on each hand."""
SERVOS = replace(IDEAL, speed=(20.0, 20.0))
"""They arrive within a step: what is learned is where to go."""
SEEN = slice(0, 63 + len(JOINTS) + 1)
"""Landmarks, the formulas' estimate and whether a hand was detected, with a history of 1."""
_HELD_OUT = 1000
_FIELDS = ('angles_rad', 'valid', 'detected', 'seen_world_m', 'seen_right', 'seen_forearm')
_HIDDEN = [256, 256]
_STILL = PerceptionFaults(missing=(0.0, 0.0), delay_s=(0.0, 0.0))


def landmarks_task(options: TrainOptions) -> Task:
    """Make the task.

    Args:
        options: Of the run; `data` and `rewards` count.
    """
    rewards = dict(options.rewards or {'pose': 1.0})
    train, held_out = (None, None) if options.data is None else (
        still_hands(load_dataset(data_folder(options, 'landmarks', split), _FIELDS))
        for split in ('train', 'validation'))
    stage = partial(_stage, rewards=rewards)
    return Task(
        kind='landmarks', name='pose from landmarks',
        make=partial(stage, hands=train, steps=TRIES + 1),
        make_held_out=partial(stage, _HELD_OUT, hands=held_out, steps=3),
        judged_steps=2,
        settings={
            'ppo': {'environments': 512, 'n_steps': TRIES, 'batch_size': 128,
                    'n_epochs': 4, 'gamma': 0.0, 'learning_rate': 1e-3},
            'a2c': {'environments': 256, 'n_steps': TRIES, 'gamma': 0.0, 'learning_rate': 1e-3,
                    'use_rms_prop': False, 'normalize_advantage': True},
            'sac': {'environments': 128, 'train_freq': TRIES, 'gradient_steps': 8,
                    'batch_size': 256, 'gamma': 0.0, 'learning_rate': 1e-3,
                    'buffer_size': 50_000, 'learning_starts': 2048, 'target_entropy': -1.0,
                    'ent_coef': 'auto_0.01'}},
        policy_options=dense_policies(_HIDDEN, -1.0),
        export=partial(export_controller, history=1, action='absolute'),
        facts={'hands': 'stick people' if train is None else f'{len(train["angles_rad"]) // 2}'
               ' of real perception on synthetic people'})


def still_hands(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn single pictures into sequences that hold still, for `RecordedPeople`.

    Args:
        arrays: Of a data set of kind `landmarks`.

    Returns:
        Each hand twice, numbered in `sequence`.
    """
    twice = {name: np.repeat(array, 2, axis=0) for name, array in arrays.items()}
    return {**twice, 'sequence': np.repeat(np.arange(len(arrays['detected'])), 2)}


def _stage(count: int, *, rewards: Mapping[str, float], hands: Mapping[str, np.ndarray] | None,
           steps: int, still: bool = True) -> Stage:
    """Make environments."""
    who: dict[str, Any] = {'moving': False, 'faults': _STILL} if hands is None else {
        'people': RecordedPeople(count, hands, delay_s=(0.0, 0.0))}
    return Stage(HandImitationLandmarksVectorEnv(
        count, max_episode_steps=steps, servos=SERVOS, rewards=rewards, history=1, **who),
        partial(columns_of, columns=SEEN), still)


def export_actor(policy: Any) -> Exported:
    """Take the actor out of what was learned.

    Args:
        policy: Of PPO, A2C or SAC, with `Normalised` features and SiLU between layers.

    Returns:
        Tensors as `policy/landmarks_network.py` names them, and the layout: what the network is.
    """
    squashed = isinstance(policy, SACPolicy)
    if squashed:
        layers, last = policy.actor.latent_pi, policy.actor.mu
        features: Any = policy.actor.features_extractor
    else:
        layers, last = policy.mlp_extractor.policy_net, policy.action_net
        features = policy.features_extractor
    dense = [*(layer for layer in layers if isinstance(layer, nn.Linear)), last]
    tensors = {'controller.mean': features.mean, 'controller.scale': 1.0 / features.spread}
    for place, layer in enumerate(dense):
        tensors[f'controller.{place}.weight'] = layer.weight
        tensors[f'controller.{place}.bias'] = layer.bias
    arrays = {name: tensor.detach().cpu().numpy().astype(np.float32)
              for name, tensor in tensors.items()}
    return arrays, {
        'inputs': dense[0].in_features, 'outputs': last.out_features,
        'hidden': [layer.out_features for layer in dense[:-1]],
        'squash': 'tanh' if squashed else 'clip'}


def export_controller(policy: Any, *, history: int, action: str) -> Exported:
    """Make a checkpoint of an actor that sees what the landmarks environment shows.

    Args:
        policy: As for `export_actor`.
        history: Of the environment.
        action: 'absolute' or 'residual', of the environment.

    Returns:
        Tensors as `policy/landmarks_network.py` names them, and the layout.
    """
    arrays, layout = export_actor(policy)
    # What it does not see comes last in an observation, and counts for nothing.
    inputs = sum(observation_sizes(history, len(JOINTS)).values())
    unseen = inputs - layout['inputs']
    for name, value in (('mean', 0.0), ('scale', 1.0), ('0.weight', 0.0)):
        before = arrays[f'controller.{name}']
        pad = [(0, 0)] * (before.ndim - 1) + [(0, unseen)]
        arrays[f'controller.{name}'] = np.pad(before, pad, constant_values=value)
    return arrays, {'controller': {
        **layout, 'inputs': inputs, 'history': history, 'action': action}}
