"""Learning by trial to lead an arm: a controller on top of an estimate and its predictor."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.learning.controller_data import composed_hands, joined_hands
from hand_imitation.learning.controller_environment import (
    JERK_WEIGHT,
    ControllerVectorEnv,
    Hands,
    hand_joints,
)
from hand_imitation.learning.controller_predictor import recorded_hands, said_of
from hand_imitation.learning.dataset import load_dataset
from hand_imitation.learning.landmarks_task import export_actor
from hand_imitation.learning.learners import dense_policies
from hand_imitation.learning.rollouts import Stage
from hand_imitation.learning.tasks import Exported, Task, data_folder
from hand_imitation.learning.train_options import TrainOptions
from hand_imitation.policy import find_checkpoint
from hand_imitation.policy.checkpoint import Checkpoint
from hand_imitation.policy.landmarks_controller import (
    CONTROLLER_VERSION,
    Predict,
)

RESIDUAL_RAD = 0.25
"""How far from where the predictor would send a joint the controller may send it."""
_JOINTS = 10
_COMPOSED, _REPEATED = 300, 3
_HELD_OUT_ARMS, _JUDGED_STEPS = 30, 100
_HIDDEN = [64, 64]


def controller_task(options: TrainOptions) -> Task:
    """Make the task.

    Args:
        options: Of the run; `estimate` is the checkpoint to build on, `data` holds
            `landmarks/train`, `motion/train` and `motion/validation`, and `rewards` may give the
            weight of `jerk`.

    Raises:
        UserError: Data or checkpoint are missing.
    """
    if options.estimate is None or options.data is None:
        raise UserError('a controller is learned for an estimate, on data: give --estimate and '
                        '--data')
    estimate = find_checkpoint(options.estimate, _table(), 'landmarks')
    if 'estimate' not in estimate.layout:
        raise UserError(f"checkpoint '{options.estimate}' holds no estimate: train one by "
                        "'hand-imitation train --policy landmarks --algo supervised'")
    real = recorded_hands(load_dataset(data_folder(options, 'motion', 'train')), estimate)
    stills = load_dataset(data_folder(options, 'landmarks', 'train'))
    composed = composed_hands(stills, said_of(stills, estimate), _COMPOSED,
                              np.random.default_rng(options.seed))
    held_out = recorded_hands(load_dataset(data_folder(options, 'motion', 'validation')), estimate)
    stage = partial(_stage, estimate=estimate,
                    jerk_weight=(options.rewards or {}).get('jerk', JERK_WEIGHT))
    return Task(
        kind='landmarks', name='controller',
        make=partial(stage, hands=joined_hands([composed, *[real] * _REPEATED]), steps=60),
        make_held_out=partial(stage, _HELD_OUT_ARMS * _JOINTS, hands=held_out,
                              steps=_JUDGED_STEPS + 1),
        judged_steps=_JUDGED_STEPS,
        settings={
            'ppo': {'environments': 640, 'n_steps': 30, 'batch_size': 1920, 'n_epochs': 4,
                    'gamma': 0.9, 'gae_lambda': 0.9, 'learning_rate': 5e-4},
            'a2c': {'environments': 640, 'n_steps': 8, 'gamma': 0.9, 'gae_lambda': 0.9,
                    'learning_rate': 5e-4, 'use_rms_prop': False, 'normalize_advantage': True},
            'sac': {'environments': 320, 'train_freq': 1, 'gradient_steps': 2,
                    'batch_size': 1024, 'gamma': 0.9, 'learning_rate': 5e-4,
                    'buffer_size': 500_000, 'learning_starts': 3200, 'target_entropy': -2.0,
                    'ent_coef': 'auto_0.01'}},
        policy_options=dense_policies(_HIDDEN, -1.5),
        export=partial(_export, estimate=estimate),
        facts={'estimate': estimate.sha256, 'sequences': {
            'composed': _COMPOSED, 'motion/train': len(real.truth_rad)}})


def _stage(count: int, *, hands: Hands, estimate: Checkpoint, jerk_weight: float,
           steps: int) -> Stage:
    """Make environments, ten for each arm."""
    predict = Predict(estimate, 'predictor') if 'predictor' in estimate.layout else None
    return Stage(ControllerVectorEnv(
        -(-count // _JOINTS), hands, hand_joints(_table()), predict=predict,
        residual_rad=RESIDUAL_RAD, jerk_weight=jerk_weight, max_episode_steps=steps))


def _export(policy: Any, *, estimate: Checkpoint) -> Exported:
    """Add the controller to what the estimate's checkpoint holds."""
    tensors, layout = export_actor(policy)
    kept = {name: values for name, values in estimate.tensors.items()
            if not name.startswith('controller.')}
    return {**kept, **tensors}, {
        **{name: part for name, part in estimate.layout.items() if name != 'controller'},
        'controller': {**layout, 'sees': 'joints', 'version': CONTROLLER_VERSION,
                       'residual_rad': RESIDUAL_RAD}}


def _table() -> JointTable:
    return JointTable.from_urdf(load_description())


