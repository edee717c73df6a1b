"""Learning from random weights, held against yardsticks: for `hand-imitation bench train`."""

from __future__ import annotations

import csv
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

from hand_imitation.learning.bench_tasks import FROZEN, FROZEN_SEED, HELD_OUT, Subject
from hand_imitation.learning.learners import best_actions
from hand_imitation.learning.reinforcement import make_model
from hand_imitation.learning.rollouts import LocalCollector
from hand_imitation.learning.tasks import judge
from hand_imitation.learning.train_options import TrainOptions
from hand_imitation.learning.training import train, versions
from hand_imitation.learning.yardsticks import Yardsticks, fingerprint, measure

PEER_G = 0.0
"""The original as published: 20 million steps in 36 days, and its return ends where a constant
pose's lies (docs/results.md); it cannot be rerun in the time of a benchmark."""
POINTS = 8
"""Of a curve."""
_LAST_RATE = 0.02
"""Share of the learning rate that is left at the end, as in `reinforcement.make_model`."""
CURVE_COLUMNS = ('environment', 'algo', 'seed', 'minutes', 'steps', 'return', 'g')


@dataclass(frozen=True)
class Budget:
    """How long each run learns.

    Attributes:
        minutes: CPU minutes of one thread, judging on held-out targets included; what else the
            machine does makes no difference.
        steps: Of the environments, or None.
    """

    minutes: float
    steps: int | None = None


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        algo: 'sac', 'a2c', 'ppo' or 'supervised'.
        seed: Of weights and experience.
        minutes: CPU minutes it took.
        steps: Of the environments; supervised: pictures.
        curve: `minutes`, `steps`, `return` and `g` on the held-out targets.
    """

    algo: str
    seed: int
    minutes: float
    steps: int
    curve: list[dict[str, float]]

    @property
    def g(self) -> float:
        """At the end."""
        return self.curve[-1]['g']


def yardsticks(name: str, subject: Subject, searched: int,
               keep: Path | None) -> tuple[Yardsticks, dict[str, Any]]:
    """Measure constant and ceiling, or take them from a file that was written for these targets.

    Args:
        name: 'landmarks' or 'pixels'.
        subject: What is learned.
        searched: On how many targets the truth is held against direct search.
        keep: Folder with the file, or None.

    Returns:
        The yardsticks, and how they came about.
    """
    found_hash = fingerprint(subject.truth_rad)
    asked = {'targets_sha256': found_hash, 'searched_targets': searched}
    path = None if keep is None else keep / f'yardsticks_{name}.json'
    if path is not None and path.exists():
        about = json.loads(path.read_text())
        if {key: about.get(key) for key in asked} == asked:
            pose = np.array(list(about['constant_rad'].values()))
            return Yardsticks(about['constant_return'], about['ceiling_return'], pose), about
    sticks, about = measure(subject.play, subject.train_play, subject.train_targets,
                            np.nan_to_num(subject.truth_rad), searched, subject.table)
    about = {**about, **asked, 'targets_seed': FROZEN_SEED,
             'targets_are_the_frozen_ones': found_hash == FROZEN[name] and (
                 len(subject.truth_rad) == HELD_OUT)}
    if path is not None:
        path.write_text(json.dumps(about, indent=1))
    return sticks, about


def learn(subject: Subject, sticks: Yardsticks, algo: str, seed: int, budget: Budget,
          progress: Callable[[float], None]) -> Run:
    """Let one policy learn from random weights.

    Args:
        subject: What is learned.
        sticks: What it is held against.
        algo: 'sac', 'a2c' or 'ppo', by trial; 'supervised': the actor of PPO, told the truth.
        seed: Of weights and experience.
        budget: How long.
        progress: Told the share done.

    Returns:
        What came of it.
    """
    th.set_num_threads(1)
    every_s = budget.minutes * 60.0 / POINTS
    with tempfile.TemporaryDirectory() as folder:
        options = TrainOptions(
            subject.task.kind, 'ppo' if algo == 'supervised' else algo, Path(folder) / 'run',
            steps=budget.steps, minutes=budget.minutes, seed=seed, evaluate_every_s=every_s,
            save_every_s=1e9, progress=progress, clock=time.process_time)
        if algo == 'supervised':
            points = _supervised(subject, options)
        else:
            points = train(options, subject.task)['curve']
    curve = [{'minutes': float(point['minutes']), 'steps': int(point['steps']),
              'return': float(point['episode_return']),
              'g': float(sticks.g(point['episode_return']))}
             for point in points]
    return Run(algo, seed, curve[-1]['minutes'], int(curve[-1]['steps']), curve)


def _supervised(subject: Subject, options: TrainOptions) -> list[dict[str, float]]:
    """Teach PPO's actor the true poses of the same pictures, by the error that is the reward."""
    task = subject.task
    settings = dict(task.settings['ppo'])
    count = settings['environments']
    held_out, stage = task.make_held_out(), task.make(count)
    collector = LocalCollector(stage, options.seed)
    model = make_model(options, task, settings, held_out, collector)
    policy, table = model.policy, subject.table
    half = th.as_tensor((table.upper_rad - table.lower_rad) / 2.0, dtype=th.float32)
    middle = th.as_tensor((table.upper_rad + table.lower_rad) / 2.0, dtype=th.float32)
    rate = float(settings['learning_rate'])
    optimizer = th.optim.Adam(policy.parameters(), lr=rate)
    assert options.minutes is not None
    points: list[Any] = []
    started, seen, share = options.clock(), 0, 0.0
    try:
        while share < 1.0:
            pictures = th.as_tensor(stage.begin())
            truth = th.as_tensor(subject.truths_of(stage), dtype=th.float32)
            known = th.isfinite(truth)
            poses = middle + half * policy.get_distribution(pictures).distribution.mean
            errors = th.where(known, (poses - th.nan_to_num(truth)).abs(), 0.0)
            loss = (errors.sum(dim=1) / known.sum(dim=1).clamp(min=1)).mean()
            optimizer.param_groups[0]['lr'] = rate * max(1.0 - share, _LAST_RATE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += count
            share = (options.clock() - started) / 60.0 / options.minutes
            if options.steps is not None:
                share = max(share, seen / options.steps)
            options.progress(min(share, 1.0))
            if share >= min((len(points) + 1) / POINTS, 1.0):
                figures = judge(held_out, lambda given: best_actions(policy, given),
                                task.judged_steps)
                minutes = (options.clock() - started) / 60.0
                points.append({'minutes': minutes, 'steps': seen, **figures})
    finally:
        collector.close()
        held_out.close()
    return points


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Put the runs of one environment together, the worst seed of each algorithm first.

    Args:
        runs: All of them.
    """
    by_algo: dict[str, list[Run]] = {}
    for run in runs:
        by_algo.setdefault(run.algo, []).append(run)
    document: dict[str, Any] = {
        algo: {'worst': min(run.g for run in some),
               'mean': float(np.mean([run.g for run in some])),
               'g': {str(run.seed): run.g for run in some},
               'return': {str(run.seed): run.curve[-1]['return'] for run in some},
               'steps': {str(run.seed): run.steps for run in some},
               'minutes': max(run.minutes for run in some)}
        for algo, some in by_algo.items()}
    if 'supervised' in document:
        told = document['supervised']['mean']
        for algo in document.keys() - {'supervised'}:
            document[algo]['worst_of_supervised'] = document[algo]['worst'] / told
    return document


def document_of(environments: dict[str, dict[str, Any]], budget: Budget) -> dict[str, Any]:
    """Make the document of `hand-imitation bench train --json`.

    Args:
        environments: By name, what `summary` gives with `yardsticks` beside it.
        budget: Of each run.
    """
    trials = [figures['worst'] for environment in environments.values()
              for algo, figures in environment.items() if algo in ('sac', 'a2c', 'ppo')]
    return {
        'ours': min(trials), 'peer': PEER_G, 'ratio': None, 'unit': 'G, the worst of all runs',
        'peer_is': 'as published, 20 M steps in 36 days; a ratio to 0 says nothing',
        **environments, 'minutes': budget.minutes, 'steps': budget.steps,
        'hardware': f'1 thread; {os.cpu_count()} cores, {platform.machine()}, no GPU used',
        'versions': versions()}


def write_curves(path: Path, name: str, runs: Iterable[Run]) -> None:
    """Write curves as CSV.

    Args:
        path: Of the file.
        name: Of the environment.
        runs: Theirs.
    """
    with path.open('w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(CURVE_COLUMNS)
        for run in runs:
            for point in run.curve:
                writer.writerow([name, run.algo, run.seed, f'{point["minutes"]:.3f}',
                                 int(point['steps']), f'{point["return"]:.5f}',
                                 f'{point["g"]:.4f}'])
