"""Scores which fingers are extended and which are curled against labelled photographs.

A finger is curled when its proximal and distal angles add up to more than `CURLED_ABOVE_RAD`.
The four fingers are scored together; the thumb, which many gestures leave undefined, apart.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hand_imitation.errors import UserError

FOUR_FINGERS = ('index', 'middle', 'ring', 'little')
CURLED_ABOVE_RAD = 1.0
TUNING_PEOPLE = range(0, 30)
"""Whoever tunes on photographs uses these people only."""
HELD_OUT_PEOPLE = range(30, 60)
_MISSED, _WRONG, _RIGHT = 'undetected', 'wrong', 'right'


@dataclass(frozen=True)
class LabelledImage:
    """One photograph of a person showing a digit.

    Attributes:
        file: Name of the image.
        digit: What is shown, 0 to 9.
        person: Who shows it.
        extended: Per finger whether it is extended; a finger left out is not defined.
    """

    file: str
    digit: int
    person: int
    extended: dict[str, bool]


def read_labels(path: Path) -> list[LabelledImage]:
    """Read the labels of a set of photographs.

    Args:
        path: A CSV file with the columns file (named D_NNN.jpg by digit and person), digit,
            thumb, index, middle, ring and little: 1 extended, 0 curled, empty not defined.

    Returns:
        The photographs in the file's order.

    Raises:
        UserError: The file cannot be read, or is not of that form.
    """
    try:
        with path.open(newline='') as file:
            return [_labelled(row) for row in csv.DictReader(file)]
    except OSError as error:
        raise UserError(
            f"labels '{path}' cannot be read: {error.strerror}; give the folder that holds the "
            f'photographs and labels.csv') from error
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(
            f"labels '{path}' are not of the form 'file,digit,thumb,index,middle,ring,little' "
            f'({error}): give the labels.csv of the photographs') from error


def extended_fingers(joints: Mapping[str, float]) -> dict[str, bool]:
    """Tell which fingers are extended.

    Args:
        joints: Angles by joint name [rad].

    Returns:
        Per finger, the thumb included, whether it is extended.
    """
    return {
        finger: joints[f'{finger}_proximal'] + joints[f'{finger}_distal'] <= CURLED_ABOVE_RAD
        for finger in ('thumb', *FOUR_FINGERS)}


def score(
    images: Sequence[LabelledImage], joints: Sequence[Mapping[str, float] | None],
) -> dict[str, Any]:
    """Score angles against labels.

    Args:
        images: The photographs.
        joints: Angles by joint name [rad] for each, or None where no hand was found; then all
            its fingers are wrong.

    Returns:
        'people': per group of people 'images', 'undetected', and the shares 'fingers_right'
        and 'hands_right' (all four fingers); 'digits': per digit and finger the share right;
        'confusion': per finger how many of each kind; 'thumb': shares and confusion where the
        thumb is labelled. A share of nothing is None.
    """
    outcomes = [_outcomes(image, found) for image, found in zip(images, joints, strict=True)]
    judged = list(zip(images, outcomes, strict=True))
    groups = {
        '000-029': [o for image, o in judged if image.person in TUNING_PEOPLE],
        '030-059': [o for image, o in judged if image.person in HELD_OUT_PEOPLE],
        'all': outcomes,
    }
    digits = {
        digit: [o for image, o in judged if image.digit == digit]
        for digit in sorted({image.digit for image in images})}
    return {
        'people': {name: _group(group) for name, group in groups.items()},
        'digits': {
            str(digit): {finger: _share(o[finger] for o in group) for finger in FOUR_FINGERS}
            for digit, group in digits.items()},
        'confusion': {finger: _confusion(judged, finger) for finger in FOUR_FINGERS},
        'thumb': {
            'right': _share(o['thumb'] for o in outcomes if 'thumb' in o),
            'digits': {
                str(digit): _share(o['thumb'] for o in group) for digit, group in digits.items()
                if group and all('thumb' in o for o in group)},
            'confusion': _confusion(judged, 'thumb'),
        },
    }


def _labelled(row: dict[str, str]) -> LabelledImage:
    extended = {
        finger: bool(int(row[finger])) for finger in ('thumb', *FOUR_FINGERS) if row[finger]}
    if not set(FOUR_FINGERS) <= set(extended):
        raise ValueError(f'{row["file"]} lacks a finger')
    person = int(Path(row['file']).stem.split('_')[1])
    return LabelledImage(row['file'], int(row['digit']), person, extended)


def _outcomes(image: LabelledImage, joints: Mapping[str, float] | None) -> dict[str, str]:
    """Per labelled finger: right, wrong or undetected."""
    if joints is None:
        return dict.fromkeys(image.extended, _MISSED)
    found = extended_fingers(joints)
    return {
        finger: _RIGHT if found[finger] == extended else _WRONG
        for finger, extended in image.extended.items()}


def _group(outcomes: list[dict[str, str]]) -> dict[str, Any]:
    hands = [[o[finger] for finger in FOUR_FINGERS] for o in outcomes]
    return {
        'images': len(hands),
        'undetected': sum(_MISSED in hand for hand in hands),
        'fingers_right': _share(finger for hand in hands for finger in hand),
        'hands_right': _share(
            _RIGHT if set(hand) == {_RIGHT} else _WRONG for hand in hands),
    }


def _confusion(
    judged: list[tuple[LabelledImage, dict[str, str]]], finger: str,
) -> dict[str, int]:
    counts = dict.fromkeys(
        ('right', 'extended_taken_for_curled', 'curled_taken_for_extended', 'undetected'), 0)
    for image, outcomes in judged:
        outcome = outcomes.get(finger)
        if outcome == _WRONG:
            extended = image.extended[finger]
            outcome = 'extended_taken_for_curled' if extended else 'curled_taken_for_extended'
        if outcome is not None:
            counts[outcome] += 1
    return counts


def _share(outcomes: Iterable[str]) -> float | None:
    """Share that is right, or None of nothing."""
    right = [outcome == _RIGHT for outcome in outcomes]
    return sum(right) / len(right) if right else None
