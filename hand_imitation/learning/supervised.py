"""What learning from labelled data is given and gives back, whichever network learns.

`train --algo supervised` calls the trainer of its policy with these.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.learning.stop_flag import StopFlag


class ScalarWriter(Protocol):
    """Where curves go, such as TensorBoard's SummaryWriter."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Add a point to a curve."""


class NoWriter:
    """Writes nothing."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """See `ScalarWriter.add_scalar`."""


Progress = Callable[[float], None]
"""Called with the share done, 0 to 1."""


@dataclass(frozen=True)
class SupervisedOptions:
    """What a supervised trainer is asked to do.

    It stops after `minutes` or `steps`, whichever is first, or when `stop` is set; then it saves
    its state for a later `resume`, and its checkpoint, and returns.

    Attributes:
        out: Folder of the run, which exists. The checkpoint goes to `checkpoint` in it, by
            `save_checkpoint`; the state to resume from to `state`, by `resume.save_state`.
        data: Folder that holds data sets by kind and split, such as `pixels/train`.
        minutes: How long to learn, or None. A resumed run learns so long in all.
        steps: How many pictures or rows to see, or None; in all, like minutes.
        seed: Of weights and batches.
        resume: Continue from `out/state`.
        writer: Where curves go, with steps counted in pictures or rows seen.
        stop: See above.
        device: 'cpu' or 'cuda'.
        command: The command line, to be kept in the checkpoint's `training`.
    """

    out: Path
    data: Path
    minutes: float | None = None
    steps: int | None = None
    seed: int = 0
    resume: bool = False
    writer: ScalarWriter = field(default_factory=NoWriter)
    stop: StopFlag = field(default_factory=StopFlag)
    device: str = 'cpu'
    command: str = ''

    def __post_init__(self) -> None:
        if self.minutes is None and self.steps is None:
            raise UserError('nothing says when to stop: give --minutes or --steps')

    @property
    def checkpoint(self) -> Path:
        """Folder of the checkpoint."""
        return self.out / 'checkpoint'

    @property
    def state(self) -> Path:
        """Folder of the state to resume from."""
        return self.out / 'state'

    def load(self, kind: str, split: str,
             fields: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
        """Read a data set.

        Args:
            kind: 'pixels', 'landmarks' or 'motion'.
            split: 'train', 'validation' or 'test'.
            fields: Which arrays; None for all.

        Returns:
            As `dataset.load_dataset`.

        Raises:
            UserError: It is not there.
        """
        from hand_imitation.learning.dataset import load_dataset

        return load_dataset(self.folder(kind, split), fields)

    def folder(self, kind: str, split: str) -> Path:
        """Find a data set.

        Args:
            kind: 'pixels', 'landmarks' or 'motion'.
            split: 'train', 'validation' or 'test'.

        Raises:
            UserError: It is not there.
        """
        from hand_imitation.learning.dataset import find_dataset

        return find_dataset(self.data, kind, split)


@dataclass
class Budget:
    """Counts minutes and steps against what was asked for.

    Attributes:
        options: What was asked for.
        spent_s: Time learnt before, in the runs that this one continues [s].
    """

    options: SupervisedOptions
    spent_s: float = 0.0
    started_s: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Time learnt so far, in all [s]."""
        return self.spent_s + time.monotonic() - self.started_s

    def share(self, steps: int) -> float:
        """Share of the budget that is used up, 1.0 or more when it is time to stop.

        Args:
            steps: Pictures or rows seen so far.
        """
        minutes, most = self.options.minutes, self.options.steps
        return max(self.seconds / (60.0 * minutes) if minutes is not None else 0.0,
                   steps / most if most is not None else 0.0)


@dataclass(frozen=True)
class SupervisedResult:
    """What came of it.

    Attributes:
        steps: Pictures or rows seen, in all.
        minutes: Time learnt, in all.
        figures: On the validation data, by name; `joint_error_deg` is the mean.
        interrupted: Stopped by `stop` before the budget was used up.
    """

    steps: int
    minutes: float
    figures: dict[str, Any]
    interrupted: bool

    def __post_init__(self) -> None:
        if not math.isfinite(self.minutes):
            raise ValueError('minutes must be finite')
