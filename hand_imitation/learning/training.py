"""Trains a policy: `train` is what `hand-imitation train` runs, and benchmarks too."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hand_imitation import __version__
from hand_imitation.errors import UserError
from hand_imitation.learning.supervised import SupervisedOptions, SupervisedResult
from hand_imitation.learning.train_options import TrainOptions

CHECKPOINT, STATE, RUN, RESULT = 'checkpoint', 'state', 'run.json', 'result.json'
_PACKAGES = ('torch', 'stable-baselines3', 'gymnasium', 'numpy')


def train(options: TrainOptions, task: Any = None) -> dict[str, Any]:
    """Train a policy.

    Args:
        options: What to do.
        task: A `tasks.Task` to learn instead of the one that the options name.

    Returns:
        The result, which is in `result.json` too: `policy`, `algo`, `seed`, `steps`, `minutes`,
        `figures` on held-out targets, `curve` (such figures on the way, with `steps` and
        `minutes`), `versions`, `checkpoint`, and whether the run was `interrupted`.

    Raises:
        UserError: Something the user must mend.
        OSError: The work could not be saved.
    """
    _check_folder(options)
    with _threads_for(options.policy):
        if options.algo == 'supervised':
            learned = _supervised(options)
        else:
            from hand_imitation.learning.reinforcement import learn_by_trial

            learned = learn_by_trial(options, task, lambda: claim(options))
    result = {
        'policy': options.policy, 'algo': options.algo, 'seed': options.seed, **learned,
        'versions': versions(), 'checkpoint': str(options.out / CHECKPOINT)}
    _write(options.out / RESULT, result)
    return result


@contextmanager
def _threads_for(policy: str) -> Iterator[None]:
    """Keep torch to one thread where networks are small.

    Several threads gain nothing there, and where another program wants one of the cores they wait
    for each other all the time.
    """
    import torch

    before = torch.get_num_threads()
    if policy == 'landmarks':
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def versions() -> dict[str, str]:
    """Versions of what learning depends on."""
    found = {'hand_imitation': __version__, 'python': platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def claim(options: TrainOptions) -> None:
    """Write down whose run a folder holds."""
    _write(options.out / RUN, _identity(options))


def _identity(options: TrainOptions) -> dict[str, Any]:
    """What a run that resumes another must have in common with it."""
    return {'policy': options.policy, 'algo': options.algo, 'seed': options.seed}


def _check_folder(options: TrainOptions) -> None:
    """Refuse a folder that cannot be written, or holds another run."""
    folder = options.out
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out '{folder}' is no folder: give another")
    nearest = folder
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"--out '{folder}' cannot be written: give another, or mend its "
                        'permissions')
    run = folder / RUN
    if not options.resume:
        if run.exists():
            raise UserError(f"--out '{folder}' holds a run already: continue it with --resume, "
                            'or give another')
        return
    if not run.exists():
        raise UserError(f"nothing to resume in '{folder}': leave out --resume to start anew")
    try:
        before = json.loads(run.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"'{run}' cannot be read: start anew in another --out") from error
    for name, value in _identity(options).items():
        if before.get(name) != value:
            raise UserError(f"the run in '{folder}' has --{name} {before.get(name)}, not {value}:"
                            f' give the same to resume it, or another --out')


def _supervised(options: TrainOptions) -> dict[str, Any]:
    """Learn from labelled data."""
    import torch
    from torch.utils.tensorboard import SummaryWriter

    learn: Any
    if options.policy == 'pixels':
        from hand_imitation.learning.supervised_pixels import train_pixels as learn
    else:
        from hand_imitation.learning.supervised_landmarks import train_estimate as learn
    assert options.data is not None
    asked = SupervisedOptions(
        options.out, options.data, options.minutes, options.steps, options.seed, options.resume,
        stop=options.stop, device='cuda' if torch.cuda.is_available() else 'cpu',
        command=options.command)
    for split in ('train', 'validation'):
        asked.folder('pixels' if options.policy == 'pixels' else 'landmarks', split)
    options.out.mkdir(parents=True, exist_ok=True)
    claim(options)
    with SummaryWriter(str(options.out / 'tensorboard')) as writer:
        result: SupervisedResult = learn(replace(asked, writer=writer), options.progress)
    return {'steps': result.steps, 'minutes': result.minutes, 'figures': result.figures,
            'curve': [], 'interrupted': result.interrupted}


def _write(path: Path, document: dict[str, Any]) -> None:
    """Put a JSON file in place at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix('.next')
    try:
        beside.write_text(json.dumps(document, indent=1))
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
