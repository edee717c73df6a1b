"""`hand-imitation evaluate`: all policies on photographs, synthetic people and moving people."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hand_imitation.cli.report import progress_bar, say
from hand_imitation.cli.results import check_out, written_at_once
from hand_imitation.errors import UserError

if TYPE_CHECKING:
    from hand_imitation.evaluation.policy_scores import EvaluationOptions

_DOCUMENT = 'evaluation.json'


def evaluate(
    policy: Annotated[list[str] | None, typer.Option(
        help='Name of a policy, or folder of a checkpoint; may be given several times.',
        show_default='all that are installed')] = None,
    data: Annotated[Path, typer.Option(
        help='Folder of data sets by kind and split: landmarks/test, motion/test and '
        'motion/validation.')] = Path('data'),
    digits: Annotated[Path | None, typer.Option(
        help='Folder of photographs of digits with labels.csv.',
        show_default='$HAND_IMITATION_DATA/real_hands/sign_digits')] = None,
    part: Annotated[list[str] | None, typer.Option(
        help="Only this part, 'photographs', 'stills' or 'moving'; may be given several times.",
        show_default='all')] = None,
    out: Annotated[Path | None, typer.Option(
        help=f'Folder for {_DOCUMENT} and plots.')] = None,
    plots: Annotated[bool, typer.Option(
        '--plots', help='Draw the figures as PNG files in --out.')] = False,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print one JSON document instead of tables.')] = False,
) -> None:
    """Judge policies by finger states on real photographs, joint errors and tracking.

    Example: hand-imitation evaluate --data data --digits real_hands/sign_digits

    Example: hand-imitation evaluate --policy mine/checkpoint --part moving --out report --plots
    """
    try:
        # Imported late: the command line must start where these packages are missing.
        from hand_imitation.evaluation.policy_plots import PLOTS, draw_plots
        from hand_imitation.evaluation.policy_scores import evaluate as judge
    except ImportError as error:
        raise UserError(
            f"{error}: pip install 'hand_imitation[train,synthetic]', which brings it") from error
    options = _options(policy, data, digits, part)
    if plots and out is None:
        raise UserError('--plots are written to a folder: give --out')
    if out is not None:
        check_out(out, (_DOCUMENT, *PLOTS))
    document = judge(options, progress_bar)
    if out is not None:
        with written_at_once(out) as work:
            (work / _DOCUMENT).write_text(json.dumps(document, indent=1) + '\n')
            if plots:
                draw_plots(work, document)
    if as_json:
        print(json.dumps(document))
    else:
        from hand_imitation.cli.evaluate_tables import print_tables

        print_tables(document)
    _say_what_is_missing(document)


def _options(policies: list[str] | None, data: Path, digits: Path | None,
             parts: list[str] | None) -> EvaluationOptions:
    """Check what the user asked for."""
    from hand_imitation.evaluation.policy_scores import PARTS, EvaluationOptions

    unknown = [part for part in parts or () if part not in PARTS]
    if unknown:
        raise UserError(f"there is no part '{unknown[0]}': choose {', '.join(PARTS)}")
    for folder, option in ((digits, '--digits'), (data if data != Path('data') else None,
                                                  '--data')):
        if folder is not None and not folder.is_dir():
            raise UserError(f"{option} '{folder}' is no folder: give one that exists")
    if digits is not None and not (digits / 'labels.csv').exists():
        raise UserError(f"--digits '{digits}' holds no labels.csv: give the folder of photographs "
                        'D_NNN.jpg with their labels')
    usual = Path(os.environ.get('HAND_IMITATION_DATA', '.')) / 'real_hands' / 'sign_digits'
    return EvaluationOptions(
        tuple(policies or ()), data, digits or usual, tuple(dict.fromkeys(parts or PARTS)))


def _say_what_is_missing(document: dict[str, Any]) -> None:
    for name, reason in document['unavailable'].items():
        say(f'not judged: {name}: {reason}')
    for part, found in document.items():
        if isinstance(found, dict) and 'missing' in found:
            say(f'not measured: {part}: {found["missing"]}')
        elif part == 'moving' and 'missing_predictors' in found:
            say(f'not measured: predictors: {found["missing_predictors"]}')
