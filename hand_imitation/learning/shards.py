"""Makes one shard: pictures, or what perception sees in pictures, with their truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from hand_imitation.human.angles import Side
from hand_imitation.human.observation import HandObservation
from hand_imitation.human.perception import StillPerception
from hand_imitation.learning.people import Model
from hand_imitation.learning.scenes import CROPS, FRAMES, Shot, draw_shot
from hand_imitation.learning.splits import (
    PICTURES_A_PERSON,
    Split,
    draw_held_out,
    person,
    picture_random,
)

SHARD_PICTURES = 12 * PICTURES_A_PERSON
FRAME_PX = 224
"""Side of the pictures that perception looks at; it enlarges them to 300."""

Arrays = dict[str, np.ndarray]


def make_pixels(
    split: Split, seed: int, numbers: range, size_px: int, wait: Callable[[], None],
) -> Arrays:
    """Make a shard of pictures.

    Args:
        split: Of the data.
        seed: Of the data.
        numbers: Which pictures of the split.
        size_px: Side of the pictures.
        wait: Called before each picture; returns when work may go on.

    Returns:
        Arrays with one row a picture, see `docs/dataset.md`.
    """
    rows = []
    for number, shot in shots(split, seed, numbers, size_px, wait, frames=False):
        rows.append({'picture': shot.picture, **truth_row(number, shot)})
    return stacked(rows)


def make_landmarks(
    split: Split, seed: int, numbers: range, wait: Callable[[], None],
) -> Arrays:
    """Make a shard of what perception sees in pictures of whole hands and forearms.

    Args:
        split: Of the data.
        seed: Of the data.
        numbers: Which pictures of the split.
        wait: Called before each picture; returns when work may go on.

    Returns:
        Arrays with one row a picture, see `docs/dataset.md`.
    """
    perception = StillPerception()
    rows = []
    for number, shot in shots(split, seed, numbers, FRAME_PX, wait, frames=True):
        rows.append({**seen_row(perception.observe(shot.picture)), **truth_row(number, shot)})
    perception.close()
    return stacked(rows)


def shots(
    split: Split, seed: int, numbers: Iterable[int], size_px: int, wait: Callable[[], None],
    *, frames: bool,
) -> Iterator[tuple[int, Shot]]:
    """Take the pictures of a data set, person after person.

    Args:
        split: Of the data.
        seed: Of the data.
        numbers: Which pictures of the split.
        size_px: Side of the pictures.
        wait: Called before each picture; returns when work may go on.
        frames: Whole hands with forearms, which perception looks at; else crops of hands.

    Yields:
        The number and the picture.
    """
    model, who = None, -1
    for number in numbers:
        wait()
        if model is None or number // PICTURES_A_PERSON != who:
            who = number // PICTURES_A_PERSON
            model = Model(person(split, who, seed))
        random = picture_random(split, number, seed)
        held_out = draw_held_out(split, random)
        yield number, draw_shot(random, model, size_px, FRAMES if frames else CROPS, held_out,
                                split.free, gentle=frames)


def truth_row(number: int, shot: Shot) -> dict[str, Any]:
    """Give what is true in a picture, by the names in `docs/dataset.md`."""
    return {
        'number': np.int32(number),
        'person': np.int32(number // PICTURES_A_PERSON),
        'angles_rad': np.float32(shot.angles_rad),
        'valid': shot.valid,
        'points_px': np.float32(shot.points_px),
        'joints_m': np.float32(shot.joints_m),
        'right': shot.side == 'right',
        'yaw_rad': np.float32(shot.yaw_rad),
        'family': np.array(shot.family, dtype='U16'),
        'background': np.array(shot.background, dtype='U16'),
        **{f'held_out_{name}': name in shot.held_out
           for name in ('pose', 'view', 'background', 'light')},
    }


def seen_row(observation: HandObservation) -> dict[str, Any]:
    """Give what perception saw, by the names in `docs/dataset.md`."""
    forearm = observation.forearm_direction
    return {
        'detected': observation.valid,
        'seen_world_m': np.float32(observation.world_points),
        'seen_image_px': np.float32(observation.image_points),
        'seen_right': observation.side == 'right',
        'seen_score': np.float32(observation.score),
        'seen_forearm': np.float32(np.full(2, np.nan) if forearm is None else forearm),
        'seen_forearm_source': np.array(observation.forearm_source, dtype='U8'),
    }


def observation_of(arrays: Arrays, row: int) -> HandObservation:
    """Rebuild what perception saw in one picture, for any policy.

    Args:
        arrays: Of a landmarks data set.
        row: Which picture.

    Returns:
        The observation, without the image.
    """
    forearm = np.asarray(arrays['seen_forearm'][row], dtype=float)
    side: Side = 'right' if arrays['seen_right'][row] else 'left'
    return HandObservation(
        valid=bool(arrays['detected'][row]), stamp_s=0.0,
        image_points=np.asarray(arrays['seen_image_px'][row], dtype=float),
        world_points=np.asarray(arrays['seen_world_m'][row], dtype=float), side=side,
        score=float(arrays['seen_score'][row]),
        forearm_direction=None if np.isnan(forearm).any() else forearm,
        forearm_source=str(arrays['seen_forearm_source'][row]))


def stacked(rows: list[dict[str, Any]]) -> Arrays:
    """Turn rows into arrays."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
