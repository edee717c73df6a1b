"""`hand-imitation bench safety`: what the package promises, tried against emulated servos."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from hand_imitation.errors import EXIT_MISSED
from hand_imitation.evaluation.promises.outcome import Outcome


def safety(
    full: Annotated[bool, typer.Option(
        '--full', help='As often as the promises speak of, such as a million targets: takes '
        'most of an hour.')] = False,
    soak: Annotated[float, typer.Option(
        min=0.0, metavar='MINUTES', help='Run each family of servos with random faults for that '
        'long, in real time, too.')] = 0.0,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print one JSON document instead of a table.')] = False,
) -> None:
    """Inject every fault against emulated servos and measure what came over the wire.

    Exit code 1 when a promise is not kept.

    Example: hand-imitation bench safety

    Example: hand-imitation bench safety --full --soak 10
    """
    outcomes = list(_outcomes(full, soak))
    if as_json:
        print(json.dumps([outcome.as_dict() for outcome in outcomes]))
    else:
        Console(markup=False).print(_table(outcomes))
    sys.exit(0 if all(outcome.held for outcome in outcomes) else EXIT_MISSED)


def _outcomes(full: bool, soak_minutes: float) -> Iterator[Outcome]:
    """Try everything, with a bar on the terminal."""
    # Imported late: PyBullet's URDF, numpy and the emulator take a second.
    from hand_imitation.evaluation.promises.every import play
    from hand_imitation.evaluation.promises.rig import FAMILIES
    from hand_imitation.evaluation.promises.soak import soak

    with Progress(
            TextColumn('{task.description}'), BarColumn(), TextColumn('{task.percentage:.0f}%'),
            TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        row = bar.add_task('promises', total=1.0)

        def show(share: float, words: str) -> None:
            bar.update(row, completed=share, description=words or 'done')

        yield from play(full, show)
        for family in FAMILIES if soak_minutes else ():
            yield from soak(family, soak_minutes, progress=show)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table('', 'promise', 'fault', 'bound', 'measured')
    for outcome in outcomes:
        mark = Text('held', 'green') if outcome.held else Text('BROKEN', 'red')
        table.add_row(mark, outcome.promise, outcome.fault, outcome.bound, outcome.measured)
    return table
