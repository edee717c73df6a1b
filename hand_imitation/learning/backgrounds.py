"""What is behind the hand: procedural pictures of paper, walls, rooms, clothes and clutter."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Random = np.random.Generator


def draw_background(
    random: Random, size_px: int, held_out: bool = False,
) -> tuple[str, np.ndarray]:
    """Draw what is behind the hand.

    Args:
        random: Where to draw from.
        size_px: Side of the square picture [px].
        held_out: Whether to use the kinds kept for the test.

    Returns:
        The kind's name and the picture, linear RGB, float32, shape (size, size, 3).
    """
    kinds = HELD_OUT_KINDS if held_out else KINDS
    weights = np.array([weight for _, weight in kinds.values()])
    name = str(random.choice(list(kinds), p=weights / weights.sum()))
    picture = kinds[name][0](random, size_px)
    sigma = random.choice([0.0, 0.4, 1.0, 2.5], p=[0.3, 0.2, 0.25, 0.25]) * size_px / 128
    if sigma > 0.0:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    return name, np.clip(picture, 0.0, 1.5).astype(np.float32)


def _paper(random: Random, size: int) -> np.ndarray:
    """A sheet or a plain wall: one light colour, a fall-off of light, faint folds, an edge."""
    tint = 1.0 + random.normal(0.0, 0.04, 3)
    picture = _slope(random, size, 0.35) * (random.uniform(0.35, 0.95) * tint)
    picture *= 1.0 + random.uniform(0.0, 0.04) * _clouds(random, size, 6)[..., None]
    for _ in range(int(random.integers(0, 4))):
        _line(random, picture, random.uniform(0.8, 1.1), 1)
    if random.random() < 0.35:
        beyond = _random_colour(random) * random.uniform(0.3, 1.2)
        picture = np.where(_half_plane(random, size)[..., None], beyond, picture)
    return picture


def _wall(random: Random, size: int) -> np.ndarray:
    """A wall of any colour with light falling across it."""
    return _slope(random, size, 0.8) * _random_colour(random)


def _cloudy(random: Random, size: int) -> np.ndarray:
    """Two colours mixed by smooth noise of several sizes, as anything far out of focus."""
    share = 1.0 / (1.0 + np.exp(-random.uniform(1.0, 6.0) * _clouds(random, size, 5)))
    first, second = _random_colour(random), _random_colour(random)
    return first + share[..., None] * (second - first)


def _noisy(random: Random, size: int) -> np.ndarray:
    """Noise in each colour by itself, as foliage or patterned cloth."""
    start = int(random.integers(2, 5))
    planes = [_clouds(random, size, 7, start) for _ in range(3)]
    grey = _clouds(random, size, 7, start)
    mixed = np.stack([0.7 * grey + 0.4 * plane for plane in planes], axis=2)
    return _random_colour(random) * np.exp(0.9 * mixed)


def _clutter(random: Random, size: int) -> np.ndarray:
    """Things: boxes, balls, sticks, writing."""
    picture = _cloudy(random, size) if random.random() < 0.5 else _wall(random, size)
    for _ in range(int(random.integers(3, 22))):
        colour = [float(c) for c in _random_colour(random)]
        centre = tuple(int(v) for v in random.integers(-size // 8, size * 9 // 8, 2))
        extent = tuple(int(v) for v in random.integers(2, max(size // 3, 3), 2))
        kind = random.random()
        angle = float(random.uniform(0.0, 180.0))
        if kind < 0.4:
            box = cv2.boxPoints((centre, extent, angle)).astype(np.int32)
            cv2.fillConvexPoly(picture, box, colour, cv2.LINE_AA)
        elif kind < 0.65:
            cv2.ellipse(picture, centre, extent, angle, 0.0, 360.0, colour, -1, cv2.LINE_AA)
        elif kind < 0.9:
            _line(random, picture, None, int(random.integers(1, max(size // 10, 2))))
        else:
            text = ''.join(chr(int(c)) for c in random.integers(65, 122, 6))
            cv2.putText(picture, text, centre, cv2.FONT_HERSHEY_SIMPLEX,
                        random.uniform(0.3, 1.2) * size / 128, colour, 1, cv2.LINE_AA)
    return picture


def _room(random: Random, size: int) -> np.ndarray:
    """Wall, window, furniture, out of focus."""
    picture = _wall(random, size)
    for _ in range(int(random.integers(2, 8))):
        low = random.integers(-size // 4, size, 2)
        high = low + random.integers(size // 10, size, 2)
        colour = _random_colour(random) * random.choice([0.5, 1.0, 1.6])
        shaded = _slope(random, size, 0.5) * colour
        rows = slice(max(int(low[1]), 0), max(int(high[1]), 0))
        columns = slice(max(int(low[0]), 0), max(int(high[0]), 0))
        picture[rows, columns] = shaded[rows, columns]
    return cv2.GaussianBlur(picture, (0, 0), random.uniform(0.5, 5.0) * size / 128)


def _clothes(random: Random, size: int) -> np.ndarray:
    """The person's own shirt: folds, perhaps stripes, perhaps a bit of face or neck above."""
    folds = _clouds(random, size, 5)
    picture = np.exp(0.35 * folds)[..., None] * _random_colour(random)
    if random.random() < 0.5:
        angle, period = random.uniform(0.0, np.pi), random.uniform(0.03, 0.15) * size
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        phase = (x * np.cos(angle) + y * np.sin(angle)) / period + 0.3 * folds
        stripe = (np.sin(2.0 * np.pi * phase) > random.uniform(-0.6, 0.6))[..., None]
        picture = np.where(stripe, np.exp(0.35 * folds)[..., None] * _random_colour(random),
                           picture)
    if random.random() < 0.6:
        skin = np.array([0.56, 0.32, 0.21]) * random.uniform(0.25, 1.1) * (
            1.0 + random.normal(0.0, 0.06, 3))
        picture = np.ascontiguousarray(picture, dtype=np.float32)
        blob: np.ndarray = np.zeros((size, size), dtype=np.float32)
        centre = tuple(int(v) for v in random.integers(0, size, 2))
        extent = tuple(int(v) for v in random.integers(size // 10, size // 2, 2))
        cv2.ellipse(blob, centre, extent, float(random.uniform(0.0, 180.0)), 0.0, 360.0, 1.0, -1)
        blob = cv2.GaussianBlur(blob, (0, 0), random.uniform(0.5, 3.0) * size / 128)[..., None]
        picture = picture + blob * (_slope(random, size, 0.7) * skin - picture)
    return picture


def _checks(random: Random, size: int) -> np.ndarray:
    """Tiles or squared cloth."""
    angle, period = random.uniform(0.0, np.pi / 2), random.uniform(0.08, 0.3) * size
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    u = np.floor((x * np.cos(angle) + y * np.sin(angle)) / period)
    v = np.floor((y * np.cos(angle) - x * np.sin(angle)) / period)
    odd = ((u + v) % 2 > 0.5)[..., None]
    return np.where(odd, _random_colour(random), _random_colour(random)) * _slope(random, size,
                                                                                 0.6)


def _shelves(random: Random, size: int) -> np.ndarray:
    """Books on shelves."""
    picture = np.ones((size, size, 3), np.float32) * _random_colour(random) * 0.3
    row = 0
    while row < size:
        height = int(random.integers(size // 5, size // 2))
        column = 0
        while column < size:
            width = int(random.integers(max(size // 30, 2), size // 8))
            top = row + int(random.integers(1, max(height // 3, 2)))
            picture[top:row + height, column:column + width] = _random_colour(random)
            column += width
        row += height + max(size // 40, 2)
    return picture


def _leaves(random: Random, size: int) -> np.ndarray:
    """Leaves before a bright sky."""
    picture = _slope(random, size, 0.4) * np.array([0.7, 0.8, 1.0])
    for _ in range(int(random.integers(60, 200))):
        green = random.uniform(0.03, 0.4) * np.array([random.uniform(0.4, 1.1), 1.0, 0.3])
        centre = tuple(int(v) for v in random.integers(0, size, 2))
        extent = (int(random.integers(size // 40 + 2, size // 10)),
                  int(random.integers(1, size // 25 + 2)))
        cv2.ellipse(picture, centre, extent, float(random.uniform(0.0, 180.0)), 0.0, 360.0,
                    [float(c) for c in green], -1, cv2.LINE_AA)
    return picture


KINDS: dict[str, tuple[Callable[[Random, int], np.ndarray], float]] = {
    'paper': (_paper, 0.34), 'wall': (_wall, 0.10), 'cloudy': (_cloudy, 0.12),
    'noisy': (_noisy, 0.06), 'clutter': (_clutter, 0.14), 'room': (_room, 0.14),
    'clothes': (_clothes, 0.10),
}
"""How to draw each kind, and its share."""
HELD_OUT_KINDS: dict[str, tuple[Callable[[Random, int], np.ndarray], float]] = {
    'checks': (_checks, 1.0), 'shelves': (_shelves, 1.0), 'leaves': (_leaves, 1.0),
}
"""Kinds that only the test split shows."""


def _random_colour(random: Random) -> np.ndarray:
    """Any colour, greys and browns more often than bright ones, linear RGB."""
    grey = np.exp(random.uniform(np.log(0.02), np.log(0.85)))
    vivid = random.beta(1.0, 2.5)
    hue = random.dirichlet(np.ones(3)) * 3.0
    return np.clip(grey * ((1.0 - vivid) + vivid * hue), 0.005, 1.0)


def _slope(random: Random, size: int, most: float) -> np.ndarray:
    """Light that falls off to one side, mean about 1, shape (size, size, 1)."""
    angle, strength = random.uniform(0.0, 2.0 * np.pi), random.uniform(0.0, most)
    ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    return np.ascontiguousarray(
        1.0 + strength * (np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None])
    )[..., None] * np.ones(3, np.float32)


def _clouds(random: Random, size: int, octaves: int, start: int = 1) -> np.ndarray:
    """Smooth noise of several sizes, standard deviation about 1."""
    total = np.zeros((size, size), dtype=np.float32)
    norm = 0.0
    for octave in range(start, octaves):
        cells = 2 ** octave + 1
        if cells > size:
            break
        strength = 0.65 ** (octave - start)
        noise = random.standard_normal((cells, cells)).astype(np.float32)
        total += strength * cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
        norm += strength ** 2
    return total / np.sqrt(max(norm, 1e-6)) * 1.3


def _line(random: Random, picture: np.ndarray, factor: float | None, width: int) -> None:
    """Draw a line right through the picture: a fold, an edge, a cable."""
    size = len(picture)
    ends = random.uniform(-0.2, 1.2, (2, 2)) * size
    middle = picture[size // 2, size // 2]
    colour = _random_colour(random) if factor is None else middle * factor
    cv2.line(picture, tuple(int(v) for v in ends[0]), tuple(int(v) for v in ends[1]),
             [float(c) for c in colour], width, cv2.LINE_AA)


def _half_plane(random: Random, size: int) -> np.ndarray:
    """True beyond a straight edge near the picture's border."""
    angle, offset = random.uniform(0.0, 2.0 * np.pi), random.uniform(0.25, 0.6) * size
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) - size / 2.0
    return x * np.cos(angle) + y * np.sin(angle) > offset
