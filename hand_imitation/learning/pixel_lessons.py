"""Pictures that the network of the `pixels` policy learns from: cut out, turned, spoilt."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hand_imitation.human.angles import WRIST, thumb_side_sign
from hand_imitation.learning.backgrounds import draw_background
from hand_imitation.learning.shards import Arrays
from hand_imitation.policy.pixels_network import OUTPUTS
from hand_imitation.policy.pixels_window import FILLED

FIELDS = ('picture', 'angles_rad', 'valid', 'points_px')
_EMPTY_SHARE = 0.1
"""Share of pictures without a hand."""
_SEARCH_SHARE = 0.25
"""Share in which the hand is anywhere and of any size, as in the search for it."""
_TURN_RAD = 0.45
_MIDDLE_MCP = 9
_SEEN_FROM = 0.3
"""A hand that fills less of the side, or more than `_SEEN_TO`, is neither there nor not."""
_SEEN_TO = 1.15


@dataclass(frozen=True, eq=False)
class Lesson:
    """Pictures and what they show.

    Attributes:
        pictures: Shape (n, size, size, 3), uint8.
        wanted: Shape (n, 58), as the network's outputs; 0 or 1 for logits.
        weight: The same shape; 0 where there is no telling.
    """

    pictures: np.ndarray
    wanted: np.ndarray
    weight: np.ndarray


class Lessons:
    """Makes lessons of a data set, never the same twice.

    Args:
        arrays: With `FIELDS`.
        size_px: Side of the pictures it makes [px].
        random: Where to draw from.
        plain: Only cut out the hand, as the policy does it; nothing is spoilt.
    """

    def __init__(self, arrays: Arrays, size_px: int, random: np.random.Generator,
                 plain: bool = False) -> None:
        self._arrays = arrays
        self._size = size_px
        self._random = random
        self._plain = plain
        self._empty = [] if plain else [_srgb(draw_background(random, 128)[1])
                                        for _ in range(400)]

    def lesson(self, rows: np.ndarray) -> Lesson:
        """Make a lesson.

        Args:
            rows: Which pictures of the data set, shape (n,).
        """
        made = [self._one(int(row)) for row in rows]
        pictures, wanted, weight = (np.stack(part) for part in zip(*made, strict=True))
        return Lesson(pictures, wanted, weight)

    def _one(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        random = self._random
        if not self._plain and random.random() < _EMPTY_SHARE:
            picture = self._empty[int(random.integers(len(self._empty)))]
            size = int(random.uniform(40, 128))
            x, y = (int(random.integers(128 - size + 1)) for _ in range(2))
            picture = cv2.resize(picture[y:y + size, x:x + size], (self._size, self._size),
                                 interpolation=cv2.INTER_LINEAR)
            wanted, weight = np.zeros((2, 58), np.float32)
            weight[OUTPUTS['detected']] = 1.0
            return self._spoil(picture), wanted, weight
        points = self._arrays['points_px'][row].astype(float)
        matrix, turn, flip = self._placement(points)
        picture = cv2.warpAffine(
            self._arrays['picture'][row], matrix, (self._size, self._size),
            flags=cv2.INTER_LINEAR, borderMode=self._border(),
            borderValue=tuple(random.uniform(0.0, 255.0, 3)) if not self._plain else 0)
        placed = points @ matrix[:, :2].T + matrix[:, 2]
        wanted, weight = self._labels(row, placed, turn, flip)
        return (picture if self._plain else self._spoil(picture)), wanted, weight

    def _border(self) -> int:
        """What lies beyond the picture."""
        kinds = (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101, cv2.BORDER_CONSTANT)
        return kinds[0] if self._plain else int(self._random.choice(kinds, p=[0.7, 0.1, 0.2]))

    def _placement(self, points: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Draw where the hand shall be: matrix, turn clockwise [rad] and -1 for a mirror image."""
        random = self._random
        low, high = points.min(axis=0), points.max(axis=0)
        middle, extent = (low + high) / 2.0, float((high - low).max())
        turn, flip, filled = 0.0, 1.0, FILLED
        shift: np.ndarray = np.zeros(2)
        if not self._plain:
            flip = float(random.choice([-1.0, 1.0]))
            turn = float(random.normal() * _TURN_RAD / 2.0)
            if random.random() < _SEARCH_SHARE:
                filled = float(np.exp(random.uniform(np.log(0.15), np.log(1.3))))
                shift = random.uniform(-0.3, 0.3, 2)
            else:
                filled = float(random.uniform(0.6, 0.95))
                shift = random.uniform(-0.08, 0.08, 2)
        # Not shrunk so far that most of it would be border.
        scale = max(filled * self._size / max(extent, 4.0), 0.45 * self._size / 128.0)
        cosine, sine = np.cos(turn), np.sin(turn)
        linear = scale * np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([flip, 1.0])
        offset = self._size * (0.5 + shift) - linear @ middle
        return np.column_stack([linear, offset]), turn, flip

    def _labels(self, row: int, placed: np.ndarray, turn: float,
                flip: float) -> tuple[np.ndarray, np.ndarray]:
        """Say what the picture shows, given where the landmarks came to lie [px]."""
        wanted, weight = np.zeros(58, np.float32), np.ones(58, np.float32)
        angles = self._arrays['angles_rad'][row].astype(float)
        side = thumb_side_sign(self._arrays['points_px'][row])
        wrist, elbow = angles[10:] * side * flip
        elbow = (elbow + turn + np.pi) % (2.0 * np.pi) - np.pi
        told = self._arrays['valid'][row][10:]
        told = told & np.isfinite([wrist, elbow]) & self._forearm_within(placed, elbow)
        share = float((placed.max(axis=0) - placed.min(axis=0)).max()) / self._size
        inside = int(((placed >= 0.0) & (placed < self._size)).all(axis=1).sum())
        wanted[OUTPUTS['fingers']] = angles[:10]
        wanted[OUTPUTS['leans']] = np.nan_to_num([wrist, elbow])
        wanted[OUTPUTS['forearm']] = told
        wanted[OUTPUTS['thumb_side']] = side * flip > 0.0
        wanted[OUTPUTS['points']] = (placed / self._size - 0.5).ravel()
        there = inside >= 17 and _SEEN_FROM <= share <= _SEEN_TO
        gone = inside < 6 or share < 0.6 * _SEEN_FROM
        wanted[OUTPUTS['detected']] = there
        weight[OUTPUTS['leans']] = told & (np.abs([wrist, elbow]) < 2.0)
        weight[OUTPUTS['detected']] = there or gone
        if not there:
            weight[OUTPUTS['fingers']] = 0.0
            weight[OUTPUTS['leans']] = weight[OUTPUTS['forearm']] = 0.0
            weight[OUTPUTS['thumb_side']] = 0.0
        if gone:
            weight[OUTPUTS['points']] = 0.0
        return wanted, weight

    def _forearm_within(self, placed: np.ndarray, elbow: float) -> bool:
        """Tell whether some forearm is left in the picture."""
        palm = float(np.linalg.norm(placed[_MIDDLE_MCP] - placed[WRIST]))
        length = 0.7 * max(palm, 0.4 * float(np.ptp(placed, axis=0).max()))
        below = placed[WRIST] - length * np.array([np.sin(elbow), -np.cos(elbow)])
        return bool(((below > -0.02 * self._size) & (below < 1.02 * self._size)).all())

    def _spoil(self, picture: np.ndarray) -> np.ndarray:
        """Change what a camera and a light may change."""
        random = self._random
        if random.random() < 0.3:
            factor = random.uniform(0.35, 0.8)
            small = max(int(factor * self._size), 8)
            picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
            picture = cv2.resize(picture, (self._size, self._size),
                                 interpolation=cv2.INTER_LINEAR)
        elif random.random() < 0.2:
            picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.4, 1.3))
        if random.random() < 0.15:
            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            picture = np.repeat(grey[..., np.newaxis], 3, axis=2)
        levels = np.linspace(0.0, 1.0, 256)[:, np.newaxis] ** np.exp(random.normal() * 0.3)
        gain = np.exp(random.normal() * 0.2 + random.normal(size=3) * 0.08)
        table = 127.5 + (levels * 255.0 * gain - 127.5) * np.exp(random.normal() * 0.2)
        table = np.clip(table + random.normal() * 15.0, 0.0, 255.0).astype(np.uint8)
        picture = cv2.LUT(picture, table[:, np.newaxis])
        if random.random() < 0.3:
            noise = random.normal(0.0, random.uniform(2.0, 12.0), picture.shape[:2])
            picture = np.clip(picture + noise[..., np.newaxis], 0.0, 255.0).astype(np.uint8)
        if random.random() < 0.15:
            size = int(random.uniform(0.1, 0.3) * self._size)
            x, y = (int(random.integers(self._size - size)) for _ in range(2))
            picture = picture.copy()
            picture[y:y + size, x:x + size] = random.integers(0, 256, 3)
        return picture


def _srgb(linear: np.ndarray) -> np.ndarray:
    """Turn linear light into 8-bit values, roughly as a camera does."""
    return (255.0 * np.clip(linear, 0.0, 1.0) ** (1.0 / 2.2)).astype(np.uint8)
