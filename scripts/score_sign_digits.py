#!/usr/bin/env python3
"""Score `hand-imitation predict` on photographs of people showing the digits 0 to 9.

The folder holds D_NNN.jpg by digit and person, and labels.csv.

Example:
    python scripts/score_sign_digits.py sign_digits
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli.predict import predict_file
from hand_imitation.cli.report import progress_bar
from hand_imitation.errors import UserError
from hand_imitation.evaluation.finger_states import FOUR_FINGERS, read_labels, score
from hand_imitation.human.perception import StillPerception
from hand_imitation.policy import POLICIES, load_policy


def score_folder(folder: Path, policy: str) -> dict[str, Any]:
    """Run a policy on every labelled photograph.

    Args:
        folder: Holds the photographs and labels.csv.
        policy: Name of the policy.

    Returns:
        As `finger_states.score`.

    Raises:
        UserError: Labels or photographs cannot be read, or there is no such policy.
    """
    images = read_labels(folder / 'labels.csv')
    loaded = load_policy(policy, JointTable.from_urdf(load_description()))
    perception = StillPerception()
    joints = []
    with progress_bar('photographs') as progress:
        for count, image in enumerate(images):
            result = predict_file(folder / image.file, perception, loaded)
            if 'error' in result:
                raise UserError(f'{result["error"]}: give the whole folder of photographs')
            joints.append(result['joints'])
            progress((count + 1) / len(images))
    perception.close()
    return score(images, joints)


def print_tables(figures: dict[str, Any]) -> None:
    """Print the figures for people."""
    console = Console()
    people = Table('people', 'images', 'undetected', 'fingers right', 'hands right')
    for name, group in figures['people'].items():
        people.add_row(
            name, str(group['images']), str(group['undetected']),
            _percent(group['fingers_right']), _percent(group['hands_right']))
    digits = Table('digit', *FOUR_FINGERS, 'thumb', title='share right')
    for digit, shares in figures['digits'].items():
        digits.add_row(
            digit, *(_percent(shares[finger]) for finger in FOUR_FINGERS),
            _percent(figures['thumb']['digits'].get(digit)))
    confusion = Table(
        'finger', 'right', 'extended taken\nfor curled', 'curled taken\nfor extended',
        'undetected', title='confusion')
    rows = {**figures['confusion'], 'thumb, where defined': figures['thumb']['confusion']}
    for finger, counts in rows.items():
        confusion.add_row(finger, *(str(count) for count in counts.values()))
    for table in (people, digits, confusion):
        console.print(table)
    console.print(f'thumb, where defined: {_percent(figures["thumb"]["right"])} right',
                  highlight=False)


def main() -> int:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='holds the photographs and labels.csv')
    parser.add_argument('--policy', default='geometric', help=f'one of {", ".join(POLICIES)}')
    parser.add_argument('--json', action='store_true', help='print one JSON document')
    options = parser.parse_args()
    try:
        figures = score_folder(options.folder, options.policy)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(figures))
    else:
        print_tables(figures)
    return 0


def _percent(share: float | None) -> str:
    return '-' if share is None else f'{100.0 * share:.1f}%'


if __name__ == '__main__':
    sys.exit(main())
