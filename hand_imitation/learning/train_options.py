"""What `hand-imitation train` is asked to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.learning.stop_flag import StopFlag
from hand_imitation.learning.supervised import Progress

POLICIES = ('landmarks', 'pixels')
ALGORITHMS = ('sac', 'a2c', 'ppo', 'supervised')
Act = Callable[[np.ndarray], np.ndarray]
Judge = Callable[[Act], Mapping[str, float]]
"""Scores a policy, given as a function from what it sees to actions between -1 and 1."""


def _nothing(share: float) -> None:
    """Show no progress."""


def _silence(words: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class TrainOptions:
    """One run.

    Attributes:
        policy: One of `POLICIES`.
        algo: One of `ALGORITHMS`.
        out: Folder of the run.
        steps: Steps of the environments in all, or pictures seen when learning is supervised.
        minutes: Time to learn, in all; whichever of both is first.
        seed: Of everything drawn.
        resume: Continue the run in `out`.
        data: Folder with data sets by kind and split, such as `pixels/train`.
        estimate: A checkpoint, by name or path, for whose estimates to learn a controller.
        ray: Address of a Ray cluster to collect experience on, or None.
        source: For pixels, where targets come from instead of `data`.
        rewards: Weights of the environment's rewards, or None for the task's own.
        resolution_px: For pixels, the side of the pictures, or None for the task's own.
        environments: How many, or None for the task's own.
        settings: Of the algorithm, over the task's own, by the names of stable-baselines3.
        evaluate_every_s: How often the policy is judged on held-out targets.
        save_every_s: How often a checkpoint is written.
        judge: Scores the policy besides; its figures join the curve and TensorBoard.
        stop: Set by whoever wants the run to stop.
        progress: Told the share done.
        say: Told what a person should know.
        command: The command line, for the record.
        clock: Counts the seconds that `minutes` bounds; `time.process_time` leaves out what
            other work takes of the machine.
    """

    policy: str
    algo: str
    out: Path
    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    resume: bool = False
    data: Path | None = None
    estimate: str | None = None
    ray: str | None = None
    source: str | None = None
    rewards: Mapping[str, float] | None = None
    resolution_px: int | None = None
    environments: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    evaluate_every_s: float = 30.0
    save_every_s: float = 60.0
    judge: Judge | None = None
    stop: StopFlag = field(default_factory=StopFlag)
    progress: Progress = _nothing
    say: Callable[[str], None] = _silence
    command: str = ''
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        for name, choices in (('policy', POLICIES), ('algo', ALGORITHMS)):
            if getattr(self, name) not in choices:
                raise UserError(f"no --{name} '{getattr(self, name)}': choose one of "
                                f'{", ".join(choices)}')
        if self.steps is None and self.minutes is None:
            raise UserError('nothing says when to stop: give --steps or --minutes')
        if self.steps is not None and self.steps < 1:
            raise UserError(f'--steps {self.steps} are none: give 1 or more')
        if self.minutes is not None and not 0.0 < self.minutes < 1e6:
            raise UserError(f'--minutes {self.minutes} is no time to learn: give more than 0')
        if self.seed < 0:
            raise UserError(f'--seed {self.seed} is negative: give 0 or more')
        if self.algo == 'supervised' and self.data is None:
            raise UserError('learning from labelled data needs some: give --data, made with '
                            "'hand-imitation dataset'")
        if self.algo == 'supervised' and self.ray is not None:
            raise UserError('--ray collects experience, and supervised learning has none: leave '
                            'it out')
        if self.estimate is not None and (self.policy, self.algo == 'supervised') != (
                'landmarks', False):
            raise UserError('--estimate is for a controller: give it with --policy landmarks '
                            'and one of sac, a2c, ppo')
        if self.policy != 'pixels' and (self.source or self.resolution_px):
            raise UserError('--source and --resolution are for --policy pixels: leave them out')
        if self.source is not None and self.data is not None:
            raise UserError('targets come from --source or from --data: give one of them')
        if self.data is not None and not self.data.is_dir():
            raise UserError(f"no folder '{self.data}': give the one that holds the data sets")
