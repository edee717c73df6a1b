"""Learning by trial: SAC, A2C and PPO on a task, with everything around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.logger import configure

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.learning.callbacks import Clock, RunCallback
from hand_imitation.learning.joint_credit import (
    JointActorCriticPolicy,
    JointReplayBuffer,
    JointRolloutBuffer,
    JointSacPolicy,
)
from hand_imitation.learning.learners import (
    CollectingA2C,
    CollectingPPO,
    CollectingSAC,
    ManyActionsPolicy,
    Spaces,
    best_actions,
)
from hand_imitation.learning.model_state import load_model, save_model
from hand_imitation.learning.rollouts import Collector, LocalCollector, Stage
from hand_imitation.learning.still_sac import StillSAC, TriesBuffer
from hand_imitation.learning.tasks import Task, judge, make_task
from hand_imitation.learning.train_options import TrainOptions
from hand_imitation.policy.checkpoint import save_checkpoint

_ENDLESS = 10 ** 12
_CLASSES: dict[str, tuple[Any, Any]] = {
    'ppo': (CollectingPPO, JointActorCriticPolicy),
    'a2c': (CollectingA2C, JointActorCriticPolicy),
    'sac': (CollectingSAC, JointSacPolicy)}


def learn_by_trial(options: TrainOptions, task: Task | None,
                   claim: Callable[[], None]) -> dict[str, Any]:
    """Learn a task.

    Args:
        options: Of the run.
        task: What to learn, or None for what the options name.
        claim: Called once before anything is written.

    Returns:
        `steps`, `minutes`, `figures`, `curve` and `interrupted`.

    Raises:
        UserError: Something the user must mend.
        OSError: The work could not be saved.
    """
    task = task or make_task(options)
    settings = {**task.settings[options.algo], **options.settings}
    count = options.environments or settings['environments']
    held_out = task.make_held_out()
    collector = _collector(options, task, count)
    try:
        model = make_model(options, task, settings, held_out, collector)
        run = _Run(options, task, model, held_out)
        if options.resume:
            run.resume()
        claim()
        return run.learn()
    finally:
        collector.close()
        held_out.close()


def _collector(options: TrainOptions, task: Task, count: int) -> Collector:
    """Make environments here or on a cluster."""
    if options.ray is None:
        return LocalCollector(task.make(count), options.seed)
    from hand_imitation.learning.ray_rollouts import RayCollector

    return RayCollector(options.ray, task.make, count, options.seed, options.say)


def make_model(options: TrainOptions, task: Task, settings: dict[str, Any], stage: Stage,
               collector: Collector) -> Any:
    """Make the learner.

    Args:
        options: Of the run.
        task: What to learn.
        settings: For the class of stable-baselines3; a learning rate falls to a fiftieth.
        stage: Any environments of the task, for the spaces.
        collector: Of experience.

    Returns:
        One of the classes in `learners.py`.
    """
    learner, policy = _CLASSES[options.algo]
    rate = float(settings['learning_rate'])
    given = {name: value for name, value in settings.items() if name != 'environments'}
    if stage.still and options.algo != 'sac':
        policy, given['n_steps'] = ManyActionsPolicy, 1
    if options.algo == 'ppo':
        given['batch_size'] = min(given['batch_size'], given['n_steps'] * collector.count)
    given['learning_rate'] = lambda remaining: rate * max(remaining, 0.02)
    extras = dict(task.policy_options[options.algo])
    if options.algo == 'sac' and stage.still:
        learner, extras['share_features_extractor'] = StillSAC, True
        given['replay_buffer_class'] = TriesBuffer
        given['replay_buffer_kwargs'] = {'tries': given['train_freq']}
    elif options.algo == 'sac':
        given['replay_buffer_class'] = JointReplayBuffer
    if options.algo == 'sac':
        # The learner counts steps of all environments, the buffer those of each.
        given['buffer_size'] = max(given['buffer_size'], collector.count)
    else:
        given['rollout_buffer_class'] = JointRolloutBuffer
    spaces = Spaces(collector.count, stage.observation_space, stage.action_space)
    model = learner(policy, spaces, seed=options.seed, verbose=0,
                    policy_kwargs=extras, **given)
    model.collector = collector
    model.steps_a_rollout = settings.get('n_steps', settings.get('train_freq'))
    return model


class _Run:
    """A model, its curve and its files."""

    def __init__(self, options: TrainOptions, task: Task, model: Any, held_out: Stage) -> None:
        self._options, self._task, self._model, self._held_out = options, task, model, held_out
        self._clock = Clock(options)
        self._curve: list[dict[str, float]] = []
        self._table = JointTable.from_urdf(load_description())

    def resume(self) -> None:
        """Restore what the run in the folder had come to."""
        kept = load_model(self._options.out / 'state', self._model, self._options)
        self._clock.spent_s = float(kept['minutes']) * 60.0
        self._curve = list(kept['curve'])
        if self._clock.share(self._model.num_timesteps) >= 1.0:
            raise UserError(
                f'the run has learned {self._model.num_timesteps} steps in '
                f'{self._clock.minutes:.1f} minutes, all that is asked for: give more --steps or '
                '--minutes')

    def learn(self) -> dict[str, Any]:
        """Learn until the budget is used up or somebody wants to stop."""
        model, options = self._model, self._options
        options.out.mkdir(parents=True, exist_ok=True)
        model.set_logger(configure(str(options.out / 'tensorboard'), ['tensorboard']))
        callback = RunCallback(
            options, self._clock, self._judge, self._save_on_the_way, self._curve)
        left = _ENDLESS if options.steps is None else options.steps - model.num_timesteps
        model.remaining = 1.0 - self._clock.share(model.num_timesteps)
        # Episodes begin in the collector, not where stable-baselines3 would begin them.
        model._last_obs = model.env.reset()
        try:
            model.learn(left, callback=callback, log_interval=None, reset_num_timesteps=False)
            callback.add_point()
            callback.log()
        finally:
            model.logger.close()
        self._save()
        share = self._clock.share(model.num_timesteps)
        return {
            'steps': int(model.num_timesteps), 'minutes': self._clock.minutes,
            'task': {'name': self._task.name, **self._task.facts},
            'figures': _figures(self._curve[-1]), 'curve': self._curve,
            'interrupted': bool(options.stop.is_set and share < 1.0)}

    def _judge(self) -> dict[str, float]:
        """Score the policy as it is."""
        def act(observations: np.ndarray) -> np.ndarray:
            return best_actions(self._model.policy, observations)

        figures = judge(self._held_out, act, self._task.judged_steps)
        if self._options.judge is not None:
            figures.update(self._options.judge(act))
        return figures

    def _save_on_the_way(self) -> None:
        """Save; a full disk is no reason to stop yet, for the earlier files are whole."""
        try:
            self._save()
        except OSError as error:
            self._options.say(f'{error}')

    def _save(self) -> None:
        """Save the state and the checkpoint."""
        model, options = self._model, self._options
        tensors, layout = self._task.export(model.policy)
        try:
            save_checkpoint(
                options.out / 'checkpoint', self._task.kind, tensors, self._table, layout=layout,
                training={
                    'command': options.command, 'task': self._task.name, **self._task.facts,
                    'algo': options.algo, 'seed': options.seed, 'steps': model.num_timesteps,
                    'minutes': round(self._clock.minutes, 3)},
                figures=_figures(self._curve[-1]) if self._curve else {})
            save_model(options.out / 'state', model,
                       {'minutes': self._clock.minutes, 'curve': self._curve})
        except UserError as error:
            raise OSError(str(error)) from error


def _figures(point: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in point.items() if name not in ('steps', 'minutes')}
