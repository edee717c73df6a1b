"""`hand-imitation bench env`: how fast the environments are, beside the original one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hand_imitation.cli.report import progress_bar
from hand_imitation.errors import UserError

_ROWS = {
    'batched': 'pixels, 32 arms at once, motor model',
    'single': 'pixels, one arm, PyBullet physics',
    'single_pybullet_renderer': "pixels, one arm, PyBullet's renderer too",
    'landmarks': 'landmarks, 256 arms at once',
    'landmarks_single': 'landmarks, one arm',
}


def env(
    rounds: Annotated[int, typer.Option(min=1, max=1000, help='Turns each environment gets.')] = 7,
    peer: Annotated[Path | None, typer.Option(
        metavar='DIR', help="Folder of the original's own Python environment; made where it does "
        'not exist, which takes a minute. Default: in the cache of the user.')] = None,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print one JSON document instead of a table.')] = False,
) -> None:
    """Count steps per second of the environments and of gym-handofjustice 0.0.12, in turns.

    Example: hand-imitation bench env
    """
    try:
        from hand_imitation.learning.environment_speed import measure
    except ImportError as error:
        raise UserError(
            f"{error}: pip install 'hand_imitation[train]', which brings gymnasium") from error
    from hand_imitation.learning.peer import Peer, default_folder, install, installed

    folder = peer or default_folder()
    if not installed(folder):
        Console(stderr=True).print(f"installing the original in '{folder}'", highlight=False)
        install(folder)
    original = Peer(folder)
    try:
        with progress_bar('environments') as progress:
            figures = measure(original, rounds, progress)
    finally:
        original.close()
    if as_json:
        print(json.dumps(figures))
    else:
        _print(figures)


def _print(figures: dict[str, Any]) -> None:
    """Print the figures for people."""
    table = Table('environment', 'ours', 'original', 'ratio', title='steps per second')
    for name, words in _ROWS.items():
        row = figures if name == 'batched' else figures[name]
        table.add_row(words, f'{row["ours"]:,.0f}', f'{row["peer"]:,.0f}', f'{row["ratio"]:.1f}')
    console = Console()
    console.print(table)
    agree = figures['agreement']
    console.print(
        f"masks agree with PyBullet's at IoU {agree['mask_iou_mean']:.3f} on average and "
        f'{agree["mask_iou_min"]:.3f} at least; the motor model differs from its physics by '
        f'{agree["joint_difference_deg"]:.2f} degrees a joint and step', highlight=False)
