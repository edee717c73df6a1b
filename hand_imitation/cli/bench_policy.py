"""`hand-imitation bench policy`: how long policies take to decide, beside dex-retargeting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hand_imitation.cli.report import progress_bar, say
from hand_imitation.errors import UserError


def policy(
    policy: Annotated[list[str] | None, typer.Option(
        help='Name of a policy, or folder of a checkpoint; may be given several times.',
        show_default='all that are installed')] = None,
    rounds: Annotated[int, typer.Option(
        min=1, max=1000, help='How often each goes through the 240 hands.')] = 5,
    peer: Annotated[Path | None, typer.Option(
        metavar='DIR', help="Folder of dex-retargeting's own Python environment; made where it "
        'does not exist, which takes 1.6 GB and minutes. Default: in the cache of the '
        'user.')] = None,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print one JSON document instead of a table.')] = False,
) -> None:
    """Time the decision on one hand seen, on one thread: ours and dex-retargeting 0.5.0 in turns.

    Example: hand-imitation bench policy
    """
    try:
        from hand_imitation.evaluation.policy_speed import loadable, measure, speed_figures
        from hand_imitation.evaluation.retargeting_peer import PEER, RetargetingPeer
    except ImportError as error:
        raise UserError(
            f"{error}: run 'hand-imitation doctor', which says how to mend it") from error
    names, unavailable = loadable(policy or [])
    for name, reason in unavailable.items():
        say(f'not measured: {name}: {reason}')
    optimiser, why_not = None, None
    try:
        optimiser = RetargetingPeer(_environment(peer))
    except UserError as error:
        if peer is not None:
            raise
        why_not = str(error)
        say(f'not measured: {PEER}: {why_not}')
    try:
        with progress_bar('policies') as progress:
            seconds = measure(names, optimiser, rounds, progress)
    finally:
        if optimiser is not None:
            optimiser.close()
    figures = speed_figures(seconds, unavailable, why_not)
    if as_json:
        print(json.dumps(figures))
    else:
        _print(figures)


def _environment(folder: Path | None) -> Path:
    """Give the peer's environment, made where it does not exist."""
    from hand_imitation.evaluation.retargeting_peer import FOLDER_VARIABLE, PEER, REQUIREMENTS
    from hand_imitation.learning.peer import default_folder, install, installed

    place = folder or default_folder(PEER, FOLDER_VARIABLE)
    if not installed(place, REQUIREMENTS):
        say(f"installing {PEER} in '{place}'")
        install(place, REQUIREMENTS)
    return place


def _print(figures: dict[str, Any]) -> None:
    """Print the figures for people."""
    table = Table(title='time to decide on one hand seen, one thread [ms]')
    table.add_column('policy')
    for column in ('p50', 'p95', 'p99', 'peer p50', 'times faster'):
        table.add_column(column, justify='right')
    for name, row in figures['policies'].items():
        table.add_row(name, *_cells(row), *(
            '-' if value is None else f'{value:.{digits}f}'
            for value, digits in ((figures['peer'], 2), (row['ratio'], 1))))
    if figures['peer_ms'] is not None:
        table.add_section()
        table.add_row(figures['peer_name'], *_cells(figures['peer_ms']), '', '')
    # Without markup, or units in brackets would be taken for styles and vanish.
    console = Console(markup=False, highlight=False)
    console.print(table)
    if figures['peer'] is None:
        low, high = figures['peer_published_ms']
        console.print(f"{figures['peer_name']} was not measured; elsewhere, on its own hands, it "
                      f'took {low} to {high} ms on average')


def _cells(row: dict[str, Any]) -> list[str]:
    return [f'{row[p]:.3f}' for p in ('p50', 'p95', 'p99')]
