"""`hand-imitation bench train`: how much policies learn from random weights in a few minutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hand_imitation.cli.report import progress_bar, say
from hand_imitation.errors import UserError

ENVIRONMENTS = ('landmarks', 'pixels')
ALGORITHMS = ('ppo', 'sac', 'a2c')


def train(
    minutes: Annotated[float, typer.Option(
        min=0.01, help='How long each run learns: minutes of computing on one core.')] = 30.0,
    seeds: Annotated[int, typer.Option(min=1, max=100, help='Runs of each algorithm.')] = 3,
    steps: Annotated[int | None, typer.Option(
        min=1, help='Stop a run after so many steps, if that is earlier.')] = None,
    policy: Annotated[list[str] | None, typer.Option(
        help="'landmarks', 'pixels', or both by giving it twice.",
        show_default='landmarks, and pixels where --data is given')] = None,
    algo: Annotated[list[str] | None, typer.Option(
        help="'ppo', 'sac' or 'a2c'; may be given several times.",
        show_default='ppo and sac')] = None,
    data: Annotated[Path | None, typer.Option(
        help="Folder with pixels/train and pixels/test (see 'hand-imitation dataset').")] = None,
    pictures: Annotated[int, typer.Option(
        min=128, help='How many of the training pictures to use at most.')] = 36000,
    searched: Annotated[int, typer.Option(
        min=1, max=2000, help='On how many held-out targets direct search looks for a pose '
        'better than the true one: 6,000 evaluations each.')] = 64,
    out: Annotated[Path | None, typer.Option(
        help='Folder for learning curves (CSV, PNG), and for yardsticks to use again.')] = None,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print one JSON document instead of a table.')] = False,
) -> None:
    """Learn from random weights, and say how far between constant and ceiling that leads.

    G = (policy - constant) / (ceiling - constant), of mean episode returns on 2,000 frozen
    held-out targets. Constant: the best pose for everything, by CMA-ES, 5,000 evaluations on
    training targets. Ceiling: the better of the true pose and CMA-ES for each target.

    Example: hand-imitation bench train --minutes 4 --data data --out curves
    """
    names = tuple(policy or (ENVIRONMENTS if data is not None else ENVIRONMENTS[:1]))
    algorithms = tuple(algo or ('ppo', 'sac'))
    _check('--policy', names, ENVIRONMENTS)
    _check('--algo', algorithms, ALGORITHMS)
    if 'pixels' in names and data is None:
        raise UserError("pixels learn from pictures of a data set: give --data, made with "
                        "'hand-imitation dataset'")
    try:
        from hand_imitation.learning import bench_training as bench
        from hand_imitation.learning.bench_tasks import landmarks_subject, pixels_subject
    except ImportError as error:
        raise UserError(f"{error}: pip install 'hand_imitation[train,sim,perception]'") from error
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    budget, environments = bench.Budget(minutes, steps), {}
    for name in names:
        if name == 'landmarks':
            subject = landmarks_subject()
        else:
            assert data is not None
            subject = pixels_subject(data, pictures)
        say(f'{name}: constant and ceiling')
        sticks, about = bench.yardsticks(name, subject, searched, out)
        runs: list[bench.Run] = []
        # What supervision reaches with pictures is what trial is held against.
        everything = [*algorithms, *(('supervised',) if name == 'pixels' else ())]
        for seed in range(1, seeds + 1):
            for method in everything:
                with progress_bar(f'{name}, {method}, seed {seed}') as progress:
                    runs.append(bench.learn(subject, sticks, method, seed, budget, progress))
                say(f'{name}, {method}, seed {seed}: G {runs[-1].g:.3f}')
                if out is not None:
                    bench.write_curves(out / f'curves_{name}.csv', name, runs)
        environments[name] = {**bench.summary(runs), 'yardsticks': about}
    document = bench.document_of(environments, budget)
    if out is not None:
        from hand_imitation.learning.curve_plot import plot_curves

        (out / 'bench_train.json').write_text(json.dumps(document, indent=1))
        plot_curves(sorted(out.glob('curves_*.csv')), out / 'learning_curves.png')
    if as_json:
        print(json.dumps(document))
    else:
        _print(document, names)


def _check(option: str, given: tuple[str, ...], choices: tuple[str, ...]) -> None:
    for value in given:
        if value not in choices:
            raise UserError(f"no {option} '{value}': choose from {', '.join(choices)}")


def _print(document: dict[str, Any], names: tuple[str, ...]) -> None:
    """Print the figures for people."""
    table = Table('environment', 'algorithm', 'worst G', 'G of each seed', 'of supervised',
                  'minutes', title='learning from random weights')
    for name in names:
        for algo, row in document[name].items():
            if algo == 'yardsticks':
                continue
            share = row.get('worst_of_supervised')
            table.add_row(name, algo, f'{row["worst"]:.2f}',
                          ' '.join(f'{g:.2f}' for g in row['g'].values()),
                          '' if share is None else f'{share:.2f}', f'{row["minutes"]:.1f}')
    console = Console()
    console.print(table)
    for name in names:
        sticks = document[name]['yardsticks']
        console.print(
            f'{name}: mean return of the best constant pose {sticks["constant_return"]:.3f}, of '
            f'the ceiling {sticks["ceiling_return"]:.3f}; direct search on '
            f'{sticks["searched_targets"]} targets was better than the truth on '
            f'{100 * sticks["search_beats_truth"]:.0f}%', highlight=False)
        if not sticks['targets_are_the_frozen_ones']:
            console.print(f'{name}: these are not the frozen targets', highlight=False)
    console.print(f'the original, as published: G about {document["peer"]:.0f} in 36 days')
