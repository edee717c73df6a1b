"""What goes on around learning: budget, curves, checkpoints, stopping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from hand_imitation.learning.train_options import TrainOptions

_LOG_EVERY_S = 1.0
_LOSSES = {'train/policy_gradient_loss': 'train/actor_loss', 'train/policy_loss':
           'train/actor_loss', 'train/value_loss': 'train/critic_loss'}
"""What PPO and A2C call the losses, and what SAC does; TensorBoard shows one name for all."""


@dataclass
class Clock:
    """Counts steps and time against the budget, over all the runs that continue each other.

    Attributes:
        options: What was asked for.
        spent_s: Time learned in the runs before [s].
    """

    options: TrainOptions
    spent_s: float = 0.0
    started_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.started_s = self.options.clock()

    @property
    def minutes(self) -> float:
        """Time learned so far."""
        return (self.spent_s + self.options.clock() - self.started_s) / 60.0

    def share(self, steps: int) -> float:
        """Share of the budget that is used up; 1.0 when it is time to stop."""
        shares = [0.0]
        if self.options.steps is not None:
            shares.append(steps / self.options.steps)
        if self.options.minutes is not None:
            shares.append(self.minutes / self.options.minutes)
        return min(max(shares), 1.0)


class RunCallback(BaseCallback):
    """Called after each rollout, before the model learns from it."""

    def __init__(self, options: TrainOptions, clock: Clock,
                 evaluate: Callable[[], Mapping[str, float]], save: Callable[[], None],
                 curve: list[dict[str, float]]) -> None:
        """Prepare.

        Args:
            options: What was asked for.
            clock: The budget.
            evaluate: Gives figures on held-out targets.
            save: Writes the checkpoint.
            curve: Where figures are added, with `steps` and `minutes`.
        """
        super().__init__()
        self._options, self._clock = options, clock
        self._evaluate, self._save, self._curve = evaluate, save, curve
        now = options.clock()
        self._evaluated_s, self._saved_s, self._logged_s = now, now, 0.0

    def _on_step(self) -> bool:
        model: Any = self.model
        now = self._options.clock()
        share = self._clock.share(model.num_timesteps)
        model.remaining = 1.0 - share
        self._options.progress(share)
        if now - self._evaluated_s >= self._options.evaluate_every_s:
            self.add_point()
            self._evaluated_s = self._options.clock()
        if now - self._saved_s >= self._options.save_every_s:
            self._save()
            self._saved_s = self._options.clock()
        if now - self._logged_s >= _LOG_EVERY_S:
            self.log()
            self._logged_s = now
        out_of_time = self._options.minutes is not None and share >= 1.0
        model.going = not (out_of_time or self._options.stop.is_set)
        return True

    def add_point(self) -> None:
        """Judge the policy and add what is found to the curve and to TensorBoard."""
        figures = dict(self._evaluate())
        self._curve.append({'steps': self.model.num_timesteps,
                            'minutes': round(self._clock.minutes, 4), **figures})
        for name, value in figures.items():
            self.logger.record(f'held_out/{name}', value)

    def log(self) -> None:
        """Write what has been recorded to TensorBoard."""
        values = self.logger.name_to_value
        for theirs, ours in _LOSSES.items():
            if theirs in values:
                self.logger.record(ours, values[theirs])
        self.logger.dump(self.model.num_timesteps)
