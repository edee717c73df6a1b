"""Who and what belongs to training, validation and test: fixed by seeds, never overlapping.

Training and validation differ in people. The test has people of its own too, and besides, what
training never shows: backgrounds and lights always, pose families in half of its pictures, and
a band of views in a quarter.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.learning.people import Traits, draw_traits

PICTURES_A_PERSON = 40


@dataclass(frozen=True)
class Split:
    """One part of the data.

    Attributes:
        name: 'train', 'validation' or 'test'.
        key: Goes into every seed, so that no two splits share a person or a picture.
        held_out: Share of the pictures that show each thing kept for the test.
        free: Share of its other pictures that show poses of the free families.
        people_sha256: Of the traits of its first people, see `fingerprint`.
    """

    name: str
    key: int
    held_out: dict[str, float]
    free: float
    people_sha256: str


SPLITS = {split.name: split for split in (
    Split('train', 11, {}, 0.4,
          'ef5065f451778557789a8948a758e2510e9e7efee6e1bc012739496b3a80eef7'),
    Split('validation', 23, {}, 0.4,
          '22d482c52d3f71ec0d738218da44f6b9de782548463cb2f48684cd79d0b3759d'),
    Split('test', 37, {'background': 1.0, 'light': 1.0, 'pose': 0.5, 'view': 0.25}, 0.0,
          '06676792d14a812ffc6aa5c2e0cb8e9f5743132172e9e83dc83f9108f01bbb88'),
)}


def find_split(name: str) -> Split:
    """Look a split up.

    Args:
        name: Its name.

    Returns:
        The split.

    Raises:
        UserError: There is none of that name.
    """
    if name not in SPLITS:
        raise UserError(f"no split '{name}': give one of {', '.join(SPLITS)}")
    return SPLITS[name]


def person(split: Split, number: int, seed: int = 0) -> Traits:
    """Draw one of a split's people.

    Args:
        split: The split.
        number: Which one, from 0.
        seed: 0 for the frozen splits; another gives another crowd.

    Returns:
        Who it is.
    """
    return draw_traits(np.random.default_rng([split.key, seed, 0, number]))


def picture_random(split: Split, number: int, seed: int = 0) -> np.random.Generator:
    """Give the generator from which one picture, or one sequence, is drawn."""
    return np.random.default_rng([split.key, seed, 1, number])


def draw_held_out(split: Split, random: np.random.Generator) -> frozenset[str]:
    """Draw which of the things kept for the test a picture shows."""
    return frozenset(
        name for name, share in split.held_out.items() if random.random() < share)


def fingerprint(split: Split, people: int = 20) -> str:
    """Hash a split's first people, to notice when a change of code changes the crowd.

    Args:
        split: The split.
        people: How many.

    Returns:
        SHA-256 of bone lengths, girths and skin, to three digits.
    """
    digest = hashlib.sha256()
    for number in range(people):
        traits = person(split, number)
        values = [*traits.length.values(), *traits.girth.values(), *traits.tone.back,
                  *traits.phenotype.values()]
        digest.update(' '.join(f'{value:.3f}' for value in values).encode())
    return digest.hexdigest()
