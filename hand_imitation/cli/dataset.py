"""`hand-imitation dataset`: pictures of synthetic people with the truth about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hand_imitation.cli.report import progress_bar
from hand_imitation.errors import UserError


def dataset(
    out: Annotated[Path, typer.Option(help='Folder to write to, or to continue.')],
    split: Annotated[str, typer.Option(help='train, validation or test.')] = 'train',
    kind: Annotated[str, typer.Option(
        help="'pixels': pictures; 'landmarks': what perception sees in them; "
        "'motion': what it sees in moving hands.")] = 'pixels',
    images: Annotated[int, typer.Option(help='How many pictures.')] = 1000,
    size: Annotated[int, typer.Option(help='Side of the pictures [px].')] = 128,
    workers: Annotated[int, typer.Option(help='Processes.', min=1)] = 2,
    seed: Annotated[int, typer.Option(help='0 gives the frozen splits.', min=0)] = 0,
    pause_file: Annotated[Path | None, typer.Option(
        help='Nothing is made while this file exists.')] = None,
    as_json: Annotated[bool, typer.Option('--json', help='Print the data card.')] = False,
) -> None:
    """Make a data set of synthetic people; run again, it goes on where it stopped.

    The folder gets shard_*.npz, card.json, card.md and, for pictures, contact_sheet.png.

    Example: hand-imitation dataset --out data/train --split train --images 60000
    """
    try:
        # Imported late: the command line must start where these packages are missing.
        from hand_imitation.learning.dataset import Recipe, write_dataset
    except ImportError as error:
        raise UserError(f"synthetic people need '{error.name}': pip install anny torch") from error
    recipe = Recipe(kind, split, images, size, seed)
    with progress_bar(f'{kind}, {split}') as progress:
        card = write_dataset(out, recipe, workers, pause_file, progress)
    if as_json:
        print(json.dumps(card))
    else:
        detected = (f", {100.0 * card['detected']:.1f}% of the hands detected"
                    if 'detected' in card else '')
        print(f"{card['images']} pictures of {card['people']} people in '{out}'{detected}")
