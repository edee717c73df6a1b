"""Learning the pose from pictures by trial: the network of the `pixels` policy as an actor.

The learner sees the target half of the observation alone; the arm travels to each pose that is
tried, and the reward tells each joint how far it is off. Only the pose is learned. Where the hand
is, that there is one, and on which side its thumb lies earn nothing, so a checkpoint made here
takes every picture as a whole for a hand whose thumb lies clockwise of the palm.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.human.angles import HAND_JOINTS
from hand_imitation.learning.dataset import shard_files
from hand_imitation.learning.dataset_targets import pictures_of
from hand_imitation.learning.rollouts import Stage, target_of
from hand_imitation.learning.tasks import Exported, Task, data_folder
from hand_imitation.learning.train_options import TrainOptions
from hand_imitation.learning.vector_environment import HandImitationVectorEnv
from hand_imitation.policy import pixels_network as net
from hand_imitation.policy.pixels_window import FILLED

TRIES = 4
"""Poses tried on each picture."""
SIZE_PX = 56
NETWORK = {'channels': [16, 32, 48, 64], 'blocks': [0, 1, 1], 'hidden': 128}
"""Smaller than the one that ships, since most of the time goes into it."""
PICTURES = {'train': 12_000, 'validation': 1000}
"""How many to use at most."""
_HELD_OUT = 500
_JUDGED_OF_A_SOURCE = 16
_FIELDS = ('picture', 'angles_rad', 'valid', 'points_px', 'joints_m', 'right')
_SEEN_AT_ONCE = 128
_RECENT = 1024
_CERTAIN = 5.0
"""A logit."""
_EXTENT = FILLED
"""Of the hand that an exported network always reports, in sides of the picture: the policy's
window then stays where it is."""


def pixels_task(options: TrainOptions) -> Task:
    """Make the task.

    Args:
        options: Of the run; `data` or `source`, `rewards` and `resolution_px` count.
    """
    size = options.resolution_px or SIZE_PX
    layout = {'version': net.NETWORK_VERSION, 'size_px': size, **NETWORK}
    stage = partial(_stage, rewards=dict(options.rewards or {'pose': 1.0}), size=size)
    if options.data is not None:
        train, held_out = (
            partial(stage, arrays=_pictures(data_folder(options, 'pixels', split), most))
            for split, most in PICTURES.items())
        shown = f'pictures of {options.data}'
        judged = _HELD_OUT
    else:
        train = held_out = partial(stage, source=options.source or 'sample')
        judged = _JUDGED_OF_A_SOURCE
        shown = options.source or 'sample'
    network = {'features_extractor_class': TargetNetwork,
               'features_extractor_kwargs': {'layout': layout}, 'activation_fn': nn.ReLU}
    on_policy = {**network, 'net_arch': {'pi': [], 'vf': []}, 'log_std_init': -1.0}
    settings = {'environments': 256, 'n_steps': TRIES, 'gamma': 0.0, 'learning_rate': 1e-3}
    return Task(
        kind='pixels', name='pose from pictures', make=partial(train, steps=TRIES + 1),
        make_held_out=partial(held_out, judged, steps=3), judged_steps=2,
        settings={
            'ppo': {**settings, 'batch_size': 64, 'n_epochs': 2},
            'a2c': {**settings, 'environments': 64, 'use_rms_prop': False,
                    'normalize_advantage': True},
            'sac': {'environments': 128, 'train_freq': TRIES, 'gradient_steps': 2,
                    'batch_size': 128, 'gamma': 0.0, 'learning_rate': 1e-3,
                    'buffer_size': 12_000, 'learning_starts': 1024, 'target_entropy': -1.0,
                    'ent_coef': 'auto_0.01'}},
        policy_options={
            'ppo': on_policy, 'a2c': on_policy,
            'sac': {**network, 'net_arch': []}},
        export=partial(export_network, layout=layout), facts={'pictures': shown})


def _pictures(folder: Path, most: int) -> dict[str, np.ndarray]:
    """Read so many pictures of a data set, and what is true of them."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in _FIELDS}
    for path in shard_files(folder):
        with np.load(path) as shard:
            for name, arrays in parts.items():
                arrays.append(shard[name])
        if sum(map(len, parts['right'])) >= most:
            break
    return {name: np.concatenate(arrays)[:most] for name, arrays in parts.items()}


def _stage(count: int, *, rewards: Mapping[str, float], size: int, steps: int,
           arrays: Mapping[str, np.ndarray] | None = None, source: str = '') -> Stage:
    """Make environments.

    Without a mirror the arm's terms for wrist and elbow are leans in the picture, clockwise
    positive, which is what the network says. Nobody looks at the arm.
    """
    return Stage(HandImitationVectorEnv(
        count, source if arrays is None else pictures_of(arrays), epsilon=None,
        resolution=(size, size, 3), rewards=rewards, max_episode_steps=steps, mirror=False,
        controller='travel', renderer='fast' if 'original' in rewards else 'none'),
        target_of, still=True)


class TargetNetwork(BaseFeaturesExtractor):
    """The network of the `pixels` policy up to its last layer, which the learner adds.

    Its batch normalisation goes by what has been seen, while learning too: a policy must judge an
    action the same way when it is tried and when it is learned from.
    """

    def __init__(self, observation_space: spaces.Box, layout: Mapping[str, Any]) -> None:
        super().__init__(observation_space, layout['hidden'])
        self.network = net.build_pixels_network(layout)
        self.network.head[-1] = nn.Identity()
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.3
        self.recent = np.zeros((0, *observation_space.shape), np.uint8)

    def see(self, observations: np.ndarray) -> None:
        """Let the normalisation follow: shape (m, 3, h, w)."""
        self.network.train()
        with th.no_grad():
            self.network(th.as_tensor(observations[:_SEEN_AT_ONCE], device=self._device()))
        self.network.eval()
        self.recent = np.concatenate([observations[:_SEEN_AT_ONCE], self.recent])[:_RECENT]

    def train(self, mode: bool = True) -> TargetNetwork:
        """Switch to learning; the normalisation stays as it is."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, pictures: th.Tensor) -> th.Tensor:
        """Shape (m, features)."""
        return self.network(pictures)

    def _device(self) -> th.device:
        return next(self.parameters()).device


def export_network(policy: Any, *, layout: Mapping[str, Any]) -> Exported:
    """Make a checkpoint of the `pixels` policy.

    Args:
        policy: Of PPO, A2C or SAC, with `TargetNetwork` features.
        layout: Of the network.
    """
    table = JointTable.from_urdf(load_description())
    actor = policy.actor if isinstance(policy, SACPolicy) else policy
    features: TargetNetwork = actor.features_extractor
    weight, bias = (_straightened(actor, features) if isinstance(policy, SACPolicy) else tuple(
        part.detach().cpu().numpy()
        for part in (policy.action_net.weight, policy.action_net.bias)))
    middle, half = (table.upper_rad + table.lower_rad) / 2, (table.upper_rad - table.lower_rad) / 2
    rows = {name: net.OUTPUTS['fingers'].start + place for place, name in enumerate(HAND_JOINTS)}
    rows.update({'wrist': net.OUTPUTS['leans'].start, 'elbow': net.OUTPUTS['leans'].start + 1})
    outputs = net.OUTPUTS['points'].stop
    whole = np.zeros((outputs, weight.shape[1]), np.float32)
    constant = np.zeros(outputs, np.float32)
    for place, name in enumerate(table.names):
        whole[rows[name]] = half[place] * weight[place]
        constant[rows[name]] = half[place] * bias[place] + middle[place]
    # A hand that fills its share of the picture, whatever is shown.
    corners = np.array([[-0.5, -0.5], [0.5, 0.5], [0.0, 0.0]]) * _EXTENT
    constant[net.OUTPUTS['points']] = np.tile(corners, (7, 1)).ravel()
    for said in ('forearm', 'thumb_side', 'detected'):
        constant[net.OUTPUTS[said]] = _CERTAIN
    place = len(features.network.head) - 1
    return ({**net.network_tensors(features.network), f'head.{place}.weight': whole,
             f'head.{place}.bias': constant}, {'network': dict(layout)})


def _straightened(actor: Any, features: TargetNetwork) -> tuple[np.ndarray, np.ndarray]:
    """Fit a layer without SAC's tanh to what the actor does on pictures seen lately.

    The network of the policy has none.
    """
    with th.no_grad():
        seen = features(th.as_tensor(features.recent, device=features._device()))
        wanted = th.tanh(actor.mu(seen)).cpu().numpy()
    inputs = np.column_stack([seen.cpu().numpy(), np.ones(len(seen))])
    ridge = 1e-3 * len(inputs) * np.eye(inputs.shape[1])
    ridge[-1, -1] = 0.0
    fitted = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ wanted).T
    return fitted[:, :-1].astype(np.float32), fitted[:, -1].astype(np.float32)
