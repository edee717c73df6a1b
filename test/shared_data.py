"""Finds recordings of real hands, which are not part of the package; tests skip without them."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def real_hands(name: str) -> Path:
    """Path of a recording in the folder HAND_IMITATION_DATA names, or beside the repository."""
    folder = Path(os.environ.get('HAND_IMITATION_DATA', ROOT.parent / 'shared' / 'data'))
    path = folder / 'real_hands' / name
    if not path.exists():
        pytest.skip(f'{path} is not there: set HAND_IMITATION_DATA to the folder of real_hands')
    return path
