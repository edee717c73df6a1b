"""`hand-imitation train`: learns a policy, and writes a checkpoint that drops in for another."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hand_imitation.cli.report import progress_bar, say
from hand_imitation.errors import EXIT_FAILED, EXIT_INTERRUPTED, UserError
from hand_imitation.learning.stop_flag import StopFlag

_NEEDED = ('torch', 'gymnasium', 'stable_baselines3', 'tensorboard', 'safetensors')


def train(
    policy: Annotated[str, typer.Option(
        help="'landmarks' or 'pixels'.", show_default=False)],
    algo: Annotated[str, typer.Option(
        help="'sac', 'a2c' or 'ppo' learn by trial, 'supervised' from the labels of --data.",
        show_default=False)],
    out: Annotated[Path, typer.Option(
        help='Folder for checkpoint, curves and result.json.', show_default=False)],
    steps: Annotated[int | None, typer.Option(
        help='Steps of the environments to learn from, in all; supervised: pictures.')] = None,
    minutes: Annotated[float | None, typer.Option(
        help='How long to learn, in all.')] = None,
    resume: Annotated[bool, typer.Option(
        '--resume', help='Go on where the run in --out stopped.')] = False,
    seed: Annotated[int, typer.Option(help='Of everything drawn.')] = 0,
    data: Annotated[Path | None, typer.Option(
        help="Folder with data sets, such as landmarks/train and landmarks/validation in it (see "
        "'hand-imitation dataset').")] = None,
    estimate: Annotated[str | None, typer.Option(
        help='Checkpoint of a landmarks policy: learn a controller for its estimates.')] = None,
    source: Annotated[str | None, typer.Option(
        help='Pixels: where the pictures come from instead of --data, as for sim.')] = None,
    reward: Annotated[list[str] | None, typer.Option(
        help="Reward and weight, such as 'aligned=1'; may be given several times.",
        show_default="the task's own")] = None,
    resolution: Annotated[int | None, typer.Option(
        help='Pixels: side of the pictures [px].', show_default="the task's own")] = None,
    ray: Annotated[str | None, typer.Option(
        help="Address of a Ray cluster that collects the experience, such as 'auto'.")] = None,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print the result as one JSON document.')] = False,
) -> None:
    """Train a policy. Ctrl-C stops it and keeps the work.

    Example: hand-imitation train --policy landmarks --algo ppo --minutes 10 --out runs/ppo

    Example: hand-imitation train --policy pixels --algo supervised --data data --minutes 60
    --out runs/pixels
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"training needs {', '.join(missing)}: pip install "
                        "'hand_imitation[train]'")
    from hand_imitation.learning.train_options import TrainOptions
    from hand_imitation.learning.training import train as learn

    stop = StopFlag()
    with _stopping_on_interrupt(stop), progress_bar(f'{policy}, {algo}') as progress:
        try:
            result = learn(TrainOptions(
                policy=policy, algo=algo, out=out, steps=steps, minutes=minutes, seed=seed,
                resume=resume, data=data, estimate=estimate, ray=ray, source=source,
                rewards=_rewards(reward), resolution_px=resolution, stop=stop, say=say,
                progress=progress, command=_command()))
        except OSError as error:
            say(f'error: failed midway: {error}; what was saved before is in \'{out}\', and '
                '--resume goes on from there')
            sys.exit(EXIT_FAILED)
    if as_json:
        print(json.dumps(result))
    else:
        _print(result)
    if result['interrupted']:
        say(f'interrupted after {result["steps"]} steps; go on with: {_command()}'
            + ('' if resume else ' --resume'))
        sys.exit(EXIT_INTERRUPTED)


@contextmanager
def _stopping_on_interrupt(stop: StopFlag) -> Iterator[None]:
    """Let the first Ctrl-C stop gently, and a second one at once."""
    def handle(number: int, frame: Any) -> None:
        if stop.is_set:
            raise KeyboardInterrupt
        stop.set()
        say('stopping; saving what has been learned')

    before = {number: signal.signal(number, handle)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _rewards(texts: list[str] | None) -> dict[str, float] | None:
    """Parse rewards and weights."""
    if not texts:
        return None
    weights = {}
    for text in texts:
        name, _, weight = text.partition('=')
        try:
            weights[name] = float(weight or 1.0)
        except ValueError as error:
            raise UserError(f"--reward '{text}' has no number: write it as 'aligned=1'") from error
    return weights


def _command() -> str:
    return ' '.join(['hand-imitation', *sys.argv[1:]])


def _print(result: dict[str, Any]) -> None:
    """Print what came of it."""
    table = Table(title=f'{result["policy"]}, {result["algo"]}')
    table.add_column('figure')
    table.add_column('value', justify='right')
    table.add_row('steps', str(result['steps']))
    table.add_row('minutes', f'{result["minutes"]:.2f}')
    for name, value in result['figures'].items():
        if isinstance(value, (int, float)):
            table.add_row(name.replace('_', ' ') + ', held out', f'{value:.3f}')
    table.add_row('checkpoint', result['checkpoint'])
    Console(markup=False).print(table)
