"""What `hand-imitation bench train` learns: hands that hold still, shown one after another.

Both tasks pay the error of each joint, and the arm goes where it is sent within a step, so the
true pose is the best there is and all that is to be learned is where to go. With pictures the
learner looks at the target alone, so the arm beside it is not drawn. Held-out targets are frozen:
the same 2,000 everywhere, known by their hash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.angles import JOINTS
from hand_imitation.learning.dataset import shard_files
from hand_imitation.learning.dataset_targets import pictures_of
from hand_imitation.learning.feeds import LabelledPictures, Labels, angles_for_arm, cropped
from hand_imitation.learning.landmarks_environment import (
    HandImitationLandmarksVectorEnv,
    LandmarksCore,
)
from hand_imitation.learning.landmarks_task import SERVOS, export_controller
from hand_imitation.learning.learners import dense_policies
from hand_imitation.learning.pixels_core import PixelsCore
from hand_imitation.learning.rollouts import Stage, columns_of, target_of
from hand_imitation.learning.stick_people import Sight
from hand_imitation.learning.tasks import Exported, Task
from hand_imitation.learning.vector_environment import HandImitationVectorEnv
from hand_imitation.learning.yardsticks import Play

HELD_OUT = 2000
FROZEN_SEED = 0
"""Of the held-out people; runs are seeded from 1 on."""
FROZEN = {
    'landmarks': '2e6b1429b3c9d084c280ec3d28281862c500620ba53fc323f58e3ade9c23cbc4',
    'pixels': '47fa8466bc6bc3e92fe8e0a0025b6457a8805bec8e0ce61528c83b0b8631177d',
}
"""`yardsticks.fingerprint` of the held-out targets."""
TRAINING_TARGETS = 128
"""On which the best constant pose is searched."""
EPISODE_STEPS = {'landmarks': 20, 'pixels': 1}
PIXELS_DATA = {'train': Path('pixels/train'), 'test': Path('pixels/test')}
_POSE = {'pose': 1.0}
_TRAINING_SEED = 1_000_000
_TRIES = 8
"""Poses tried on each picture."""
_SIZE = (56, 56)
_FIELDS = ('picture', 'angles_rad', 'valid', 'points_px', 'joints_m', 'right')
_HISTORY = 8
_SEEN = slice(0, 63 + _HISTORY * (len(JOINTS) + 1))
"""Landmarks, and a history of estimates and of whether a hand was detected."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Something to learn, and its frozen targets.

    Attributes:
        task: For `training.train`, whose figures are those on the frozen targets.
        truth_rad: Shape (2000, n), their true poses, NaN where not known [rad].
        play: Tries poses on them.
        train_play: Tries poses on training targets.
        train_targets: How many of those there are.
        truths_of: The true poses of what training environments show, shape (m, n) [rad].
        table: Joints and their limits.
    """

    task: Task
    truth_rad: np.ndarray
    play: Play
    train_play: Play
    train_targets: int
    truths_of: Callable[[Stage], np.ndarray]
    table: JointTable


def landmarks_subject() -> Subject:
    """Still stick people, seen with the errors of perception (`PerceptionFaults`)."""
    def stage(count: int, steps: int) -> Stage:
        return Stage(HandImitationLandmarksVectorEnv(
            count, max_episode_steps=steps, moving=False, servos=SERVOS, history=_HISTORY,
            rewards=_POSE), partial(columns_of, columns=_SEEN))

    table = LandmarksCore(1).table
    order = [JOINTS.index(name) for name in table.names]

    def truths_of(shown: Stage) -> np.ndarray:
        return shown.vector.core.people.truth()[:, order]  # type: ignore[attr-defined]

    steps = EPISODE_STEPS['landmarks']
    truths = []
    for count, seed in ((HELD_OUT, FROZEN_SEED), (TRAINING_TARGETS, _TRAINING_SEED)):
        people = stage(count, steps)
        people.begin(seed)
        truths.append(truths_of(people))
        people.close()
    return Subject(_landmarks_task(stage, steps), truths[0], LandmarksPlay(truths[0]),
                   LandmarksPlay(truths[1]), TRAINING_TARGETS, truths_of, table)


def _landmarks_task(stage: Any, steps: int) -> Task:
    hidden = [256, 256]
    on_policy_settings = {'environments': 256, 'n_steps': steps, 'gamma': 0.0,
                          'learning_rate': 1e-3}
    return Task(
        kind='landmarks', name='still hands by their landmarks', make=partial(stage, steps=steps),
        # One step more, so that the last one is not the next episode's first.
        make_held_out=partial(stage, HELD_OUT, steps + 1), judged_steps=steps,
        settings={
            'ppo': {**on_policy_settings, 'batch_size': 1024, 'n_epochs': 4},
            'a2c': {**on_policy_settings, 'n_steps': 5, 'use_rms_prop': False,
                    'normalize_advantage': True},
            'sac': {'environments': 64, 'train_freq': 1, 'gradient_steps': 4, 'batch_size': 512,
                    'gamma': 0.0, 'learning_rate': 1e-3, 'tau': 0.02, 'buffer_size': 200_000,
                    'learning_starts': 2048, 'target_entropy': -1.0, 'ent_coef': 'auto_0.01'}},
        policy_options=dense_policies(hidden, -1.0),
        export=partial(export_controller, history=_HISTORY, action='absolute'))


class _Poses:
    """People of whom nothing is known but their poses; see `stick_people.People`."""

    def __init__(self, poses_rad: np.ndarray) -> None:
        self._poses = poses_rad
        count = len(poses_rad)
        self._sight = Sight(np.zeros((count, 21, 3)), np.zeros((count, 12)),
                            np.zeros(count, dtype=bool))

    def reset(self, which: np.ndarray, random: np.random.Generator) -> None:
        """See `People.reset`."""

    def advance(self, seconds: float, random: np.random.Generator) -> None:
        """See `People.advance`."""

    def truth(self) -> np.ndarray:
        """See `People.truth`."""
        return self._poses

    def look(self, random: np.random.Generator) -> Sight:
        """See `People.look`; whoever holds one pose need not look."""
        return self._sight

    def delays_s(self) -> np.ndarray:
        """See `People.delays_s`."""
        return np.zeros(len(self._poses))


class LandmarksPlay:
    """Holds poses before still people; see `yardsticks.Play`."""

    def __init__(self, truth_rad: np.ndarray) -> None:
        """Remember the targets, shape (k, n), in the table's order [rad]."""
        self._truth = truth_rad
        self._numbers = np.zeros(0, int)
        self._core = LandmarksCore(1)

    def __call__(self, numbers: np.ndarray, poses_rad: np.ndarray) -> np.ndarray:
        """Play an episode for each: returns, shape (m,)."""
        table = self._core.table
        if not np.array_equal(numbers, self._numbers):
            order = [table.names.index(name) for name in JOINTS]
            self._numbers, self._core = numbers, LandmarksCore(
                len(numbers), people=_Poses(self._truth[numbers][:, order]), servos=SERVOS,
                history=1, rewards=_POSE)
        random = np.random.default_rng(0)
        self._core.reset(np.arange(len(numbers)), random)
        middle = (table.upper_rad + table.lower_rad) / 2.0
        actions = (poses_rad - middle) / (table.upper_rad - middle)
        return np.sum([self._core.step(actions, random)[1]
                       for _ in range(EPISODE_STEPS['landmarks'])], axis=0)


def pixels_subject(data: Path, pictures: int) -> Subject:
    """Pictures of synthetic people, of a data set of kind `pixels`.

    Args:
        data: Folder with `pixels/train` and `pixels/test`.
        pictures: How many training pictures to use at most.
    """
    train = cropped_pictures(data / PIXELS_DATA['train'], pictures)
    test = cropped_pictures(data / PIXELS_DATA['test'], HELD_OUT)
    table = LandmarksCore(1).table
    truths = [np.array([angles_for_arm(labels, table.names, 'right', True) for labels in one])
              for one in (test[1], train[1][:TRAINING_TARGETS])]
    return Subject(_pixels_task(train, test), truths[0], PixelsPlay(truths[0]),
                   PixelsPlay(truths[1]), len(truths[1]),
                   lambda shown: shown.vector.core.truths(),  # type: ignore[attr-defined]
                   table)


class InOrder:
    """A feed of labelled pictures, one after the other and again from the first."""

    def __init__(self, pictures: np.ndarray, labels: list[Labels]) -> None:
        """As `LabelledPictures`."""
        self._pictures, self._labels = pictures, labels
        self._next = 0
        self.labels = labels[0]

    def read(self) -> np.ndarray:
        """Give the next picture."""
        number = self._next % len(self._labels)
        self.labels = self._labels[number]
        self._next += 1
        return self._pictures[number]

    def rewind(self) -> None:
        """Start again from the first one."""
        self._next = 0


def cropped_pictures(folder: Path, count: int) -> tuple[np.ndarray, list[Labels]]:
    """Read pictures of a data set and cut out the hands once, as the environment would.

    Args:
        folder: Of a data set of kind `pixels`.
        count: How many at most.

    Returns:
        Pictures, shape (k, 56, 56, 3), BGR, and what is true of them.

    Raises:
        UserError: There is no data set.
    """
    files = shard_files(folder)
    if not files:
        raise UserError(f"no data set in '{folder}': make one with 'hand-imitation dataset "
                        f"--split {folder.name} --out {folder}'")
    pictures: list[np.ndarray] = []
    labels: list[Labels] = []
    for path in files:
        with np.load(path) as shard:
            arrays = {name: shard[name] for name in _FIELDS}
        feed = pictures_of(arrays)
        for _ in range(min(len(arrays['valid']), count - len(labels))):
            picture = np.ascontiguousarray(feed.read())
            assert feed.labels.hand is not None
            pictures.append(cropped(picture, feed.labels.hand, _SIZE))
            labels.append(replace(feed.labels, hand=None))
        if len(labels) == count:
            break
    return np.array(pictures), labels


def _pixels_task(train: tuple[np.ndarray, list[Labels]],
                 test: tuple[np.ndarray, list[Labels]]) -> Task:
    on_policy = {'net_arch': {'pi': [], 'vf': []}, 'activation_fn': nn.ReLU,
                 'features_extractor_class': TargetCnn, 'log_std_init': -1.0}
    settings = {'environments': 128, 'n_steps': _TRIES, 'gamma': 0.0, 'learning_rate': 1e-3}
    return Task(
        kind='pixels', name='still hands by their picture',
        make=lambda count: _pixels_stage(count, LabelledPictures(*train), _TRIES + 1),
        make_held_out=lambda: _pixels_stage(len(test[1]), InOrder(*test), 2),
        judged_steps=EPISODE_STEPS['pixels'],
        settings={
            'ppo': {**settings, 'batch_size': 128, 'n_epochs': 2},
            'a2c': {**settings, 'use_rms_prop': False, 'normalize_advantage': True},
            'sac': {'environments': 128, 'train_freq': _TRIES, 'gradient_steps': 2,
                    'batch_size': 128, 'gamma': 0.0, 'learning_rate': 1e-3,
                    'buffer_size': 20_000, 'learning_starts': 1024, 'target_entropy': -1.0,
                    'ent_coef': 'auto_0.01'}},
        policy_options={
            'ppo': on_policy, 'a2c': on_policy,
            'sac': {'net_arch': [], 'activation_fn': nn.ReLU,
                    'features_extractor_class': TargetCnn}},
        export=_weights)


def _pixels_stage(count: int, feed: Any, steps: int) -> Stage:
    return Stage(HandImitationVectorEnv(
        count, feed, epsilon=None, resolution=(*_SIZE, 3), crop=False, check_hand=False,
        controller='travel', renderer='none', rewards=_POSE, max_episode_steps=steps),
        target_of, still=True)


class TargetCnn(BaseFeaturesExtractor):
    """A small network for the target's picture; the pose is one layer away from its output."""

    def __init__(self, observation_space: spaces.Box, width: int = 16, out: int = 256) -> None:
        super().__init__(observation_space, out)
        sizes = [3, width, 2 * width, 3 * width, 4 * width]
        layers: list[nn.Module] = []
        for before, after in zip(sizes, sizes[1:], strict=False):
            kernel = 5 if before == 3 else 3
            layers += [nn.Conv2d(before, after, kernel, 2, kernel // 2),
                       nn.GroupNorm(4, after), nn.ReLU()]
        side = observation_space.shape[1]
        for _ in sizes[1:]:
            side = -(-side // 2)
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(sizes[-1] * side * side, out), nn.ReLU())

    def forward(self, pictures: th.Tensor) -> th.Tensor:
        """Shape (m, out); light and contrast are taken out first."""
        flat = pictures.flatten(1)
        mean = flat.mean(dim=1)
        spread = ((flat * flat).mean(dim=1) - mean * mean).clamp(min=0.0).sqrt()
        shift, scale = mean[:, None, None, None], (spread + 0.05)[:, None, None, None]
        return self.layers((pictures - shift) / scale)


def _weights(policy: Any) -> Exported:
    """All weights of a policy, by the names they have there."""
    return ({name: tensor.detach().cpu().numpy() for name, tensor in policy.state_dict().items()
             if name.startswith(('features_extractor', 'action_net', 'actor'))},
            {'network': 'hand_imitation.learning.bench_tasks.TargetCnn'})


class PixelsPlay:
    """Holds poses before pictures; see `yardsticks.Play`."""

    def __init__(self, truth_rad: np.ndarray) -> None:
        """Remember the targets, shape (k, n), in the arm's terms and order [rad]."""
        self._truth = truth_rad
        self._numbers = np.zeros(0, int)
        self._core: PixelsCore | None = None

    def __call__(self, numbers: np.ndarray, poses_rad: np.ndarray) -> np.ndarray:
        """Play an episode for each: returns, shape (m,)."""
        everyone = np.arange(len(numbers))
        if self._core is None or not np.array_equal(numbers, self._numbers):
            # What is shown makes no difference to a pose that is given.
            blank = np.broadcast_to(np.zeros((8, 8, 3), np.uint8), (len(numbers), 8, 8, 3))
            labels = [Labels(truth) for truth in self._truth[numbers]]
            self._numbers, self._core = numbers, PixelsCore(
                len(numbers), InOrder(blank, labels), epsilon=None, resolution=(8, 8, 3),
                crop=False, check_hand=False, controller='travel', physics='motors',
                renderer='none', rewards=_POSE)
            self._core.reset(everyone, np.random.default_rng(0))
        self._core.world.place(everyone, np.zeros_like(poses_rad))
        return np.sum([self._core.step(poses_rad)[1]
                       for _ in range(EPISODE_STEPS['pixels'])], axis=0)
