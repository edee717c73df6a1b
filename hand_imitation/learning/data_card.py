"""Says what is in a data set: counts, ranges, detection, hashes, and a sheet of examples."""

from __future__ import annotations

import json
import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hand_imitation.human.angles import JOINTS

_SHEET_COLUMNS, _SHEET_ROWS = 16, 10
_YAW_EDGES_DEG = (0, 30, 60, 90, 120, 150, 180)


def write_card(
    folder: Path, recipe: dict[str, Any], arrays: dict[str, np.ndarray], hashes: dict[str, str],
) -> dict[str, Any]:
    """Write card.json and card.md.

    Args:
        folder: Where to.
        recipe: Of the data set.
        arrays: The data set.
        hashes: SHA-256 of each file.

    Returns:
        The card.
    """
    card: dict[str, Any] = {
        'recipe': recipe,
        'images': len(arrays['number']),
        'people': len(np.unique(arrays['person'])),
        'right_hands': round(float(arrays['right'].mean()), 4),
        'pose_families': _counts(arrays['family']),
        'backgrounds': _counts(arrays['background']),
        'held_out': {name: round(float(arrays[f'held_out_{name}'].mean()), 4)
                     for name in ('pose', 'view', 'background', 'light')},
        'angles_deg': _angle_percentiles(arrays),
        'valid': {joint: round(float(share), 4) for joint, share in
                  zip(JOINTS, arrays['valid'].mean(axis=0), strict=True)},
        'versions': {'python': platform.python_version(),
                     **{name: version(name) for name in ('anny', 'numpy', 'warp-lang')}},
        'sha256': hashes,
    }
    if 'detected' in arrays:
        card['detected'] = round(float(arrays['detected'].mean()), 4)
        card['detected_by_palm_angle_deg'] = _detection_by_yaw(arrays)
        card['detected_by_family'] = {
            name: round(float(arrays['detected'][arrays['family'] == name].mean()), 3)
            for name in card['pose_families']}
    (folder / 'card.json').write_text(json.dumps(card, indent=1))
    (folder / 'card.md').write_text(_markdown(card))
    return card


def write_contact_sheet(path: Path, pictures: np.ndarray) -> None:
    """Write examples from all over the data set, side by side.

    Args:
        path: PNG to write.
        pictures: RGB, uint8, shape (n, size, size, 3).
    """
    count = min(_SHEET_COLUMNS * _SHEET_ROWS, len(pictures))
    chosen = pictures[np.linspace(0, len(pictures) - 1, count).astype(int)]
    columns = min(_SHEET_COLUMNS, count)
    rows = -(-count // columns)
    size = pictures.shape[1]
    sheet = np.zeros((rows * size, columns * size, 3), dtype=np.uint8)
    for i, picture in enumerate(chosen):
        row, column = divmod(i, columns)
        sheet[row * size:(row + 1) * size, column * size:(column + 1) * size] = picture
    if not cv2.imwrite(str(path), sheet[..., ::-1]):
        raise OSError(f"cannot write '{path}'")


def _counts(names: np.ndarray) -> dict[str, int]:
    return dict(sorted(Counter(names.tolist()).items()))


def _angle_percentiles(arrays: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Least, quartiles and most of each angle where it is valid [deg]."""
    result = {}
    for i, joint in enumerate(JOINTS):
        angles = arrays['angles_rad'][arrays['valid'][:, i], i]
        result[joint] = ([round(float(value), 1) for value in
                          np.degrees(np.percentile(angles, [0, 25, 50, 75, 100]))]
                         if len(angles) else [])
    return result


def _detection_by_yaw(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Share detected by how far the palm is turned from the camera."""
    yaw = np.degrees(np.abs(arrays['yaw_rad']))
    shares = {}
    for low, high in zip(_YAW_EDGES_DEG[:-1], _YAW_EDGES_DEG[1:], strict=True):
        among = (yaw >= low) & (yaw <= high)
        if among.any():
            shares[f'{low} to {high}'] = round(float(arrays['detected'][among].mean()), 3)
    return shares


def _markdown(card: dict[str, Any]) -> str:
    """The card for people."""
    recipe = card['recipe']
    lines = [
        f"# Synthetic people: {recipe['kind']}, {recipe['split']}", '',
        f"{card['images']} pictures of {card['people']} people, seed {recipe['seed']}, made by "
        f"`hand-imitation dataset --kind {recipe['kind']} --split {recipe['split']} "
        f"--images {recipe['images']} --size {recipe['size_px']} --seed {recipe['seed']}`. "
        'Every hand is made by program; no photograph is in it.', '']
    if 'detected' in card:
        lines += [f"Perception detects {100.0 * card['detected']:.1f}% of the hands.", '',
                  '| palm turned from the camera [deg] | detected |', '|---|---|',
                  *(f'| {turn} | {100.0 * share:.1f}% |'
                    for turn, share in card['detected_by_palm_angle_deg'].items()), '']
    lines += ['| joint | least, quartiles, most [deg] | can be told |', '|---|---|---|',
              *(f"| {joint} | {', '.join(f'{value:.0f}' for value in values)} | "
                f"{100.0 * card['valid'][joint]:.0f}% |"
                for joint, values in card['angles_deg'].items()), '']
    for title, key in (('pose family', 'pose_families'), ('background', 'backgrounds')):
        lines += [f'| {title} | pictures |', '|---|---|',
                  *(f'| {name} | {count} |' for name, count in card[key].items()), '']
    return '\n'.join(lines)
