"""What can be learned by trial: which environment, which network, and what comes out of it.

A task is a recipe: environments are made from it here, or on the machines of a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hand_imitation.learning.rollouts import Stage
from hand_imitation.learning.train_options import TrainOptions

Exported = tuple[dict[str, np.ndarray], dict[str, Any]]
"""Tensors and layout of a checkpoint."""


@dataclass(frozen=True)
class Task:
    """One thing to learn.

    Attributes:
        kind: Of the checkpoint.
        name: For people.
        make: Makes training environments, so many; it is sent to other machines with `--ray`.
        make_held_out: Makes the environments that the policy is judged in.
        judged_steps: Length of an episode there.
        settings: By algorithm: arguments for the class of stable-baselines3, and
            `environments`.
        policy_options: By algorithm: `policy_kwargs` for it.
        export: Makes a checkpoint of the learned policy.
    """

    kind: str
    name: str
    make: Callable[[int], Stage]
    make_held_out: Callable[[], Stage]
    judged_steps: int
    settings: Mapping[str, Mapping[str, Any]]
    policy_options: Mapping[str, Mapping[str, Any]]
    export: Callable[[Any], Exported]
    facts: Mapping[str, Any] = field(default_factory=dict)


def make_task(options: TrainOptions) -> Task:
    """Make the task that the options ask for.

    Args:
        options: Of the run.

    Raises:
        UserError: Its data are missing, or its options make no sense.
    """
    if options.policy == 'pixels':
        from hand_imitation.learning.pixels_task import pixels_task

        return pixels_task(options)
    if options.estimate is not None:
        from hand_imitation.learning.controller_task import controller_task

        return controller_task(options)
    from hand_imitation.learning.landmarks_task import landmarks_task

    return landmarks_task(options)


def judge(stage: Stage, act: Callable[[np.ndarray], np.ndarray], steps: int,
          seed: int = 0) -> dict[str, float]:
    """Score a policy on targets that do not change from one time to the next.

    Args:
        stage: The environments; one episode must last longer than `steps`.
        act: The policy.
        steps: How many to make.
        seed: Of the environments.

    Returns:
        Mean reward of a step, mean return of an episode, and the mean joint error [deg] in the
        second half of the episodes, where the truth is known.
    """
    seen = stage.begin(seed)
    rewards, errors = [], []
    for step in range(steps):
        seen, reward, details = stage.step(act(seen))
        rewards.append(reward)
        truth = details['truth'] if 'truth' in details else _truths(stage)
        if truth is not None and step >= steps // 2:
            errors.append(np.abs(details['joint_positions'] - truth))
    figures = {'reward': float(np.mean(rewards)),
               'episode_return': float(np.sum(rewards, axis=0).mean())}
    if errors and np.isfinite(errors).any():
        figures['joint_error_deg'] = float(np.degrees(np.nanmean(errors)))
    return figures


def _truths(stage: Stage) -> np.ndarray | None:
    """True poses of the targets of the pixels environment [rad]."""
    truths = getattr(getattr(stage.vector, 'core', None), 'truths', None)
    return None if truths is None else truths()


def data_folder(options: TrainOptions, kind: str, split: str) -> Path:
    """Find a data set.

    Args:
        options: Of the run, with `data`.
        kind: Of the data set.
        split: Of it.

    Raises:
        UserError: It is not there.
    """
    from hand_imitation.learning.dataset import find_dataset

    assert options.data is not None
    return find_dataset(options.data, kind, split)
