"""Square windows of a picture, as the network of the `pixels` policy looks at them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

FILLED = 0.75
"""Share of a window's side that the hand shall fill."""


@dataclass(frozen=True)
class Window:
    """A square in a picture.

    Attributes:
        centre: Shape (2,), x and y [px].
        side: Its side [px].
    """

    centre: np.ndarray
    side: float

    def cut(self, picture: np.ndarray, size_px: int) -> np.ndarray:
        """Cut it out; beyond the picture its border goes on.

        Args:
            picture: Shape (h, w, 3), uint8.
            size_px: Side of what comes out [px].

        Returns:
            Shape (size_px, size_px, 3), uint8.
        """
        scale = size_px / self.side
        # Before it is shrunk by much, fine detail is averaged; else every nth pixel is picked.
        steps = int(np.log2(max(1.0 / scale, 1.0)))
        if steps:
            factor = 2 ** steps
            smaller = cv2.resize(picture, None, fx=1.0 / factor, fy=1.0 / factor,
                                 interpolation=cv2.INTER_AREA)
            shrunk = np.array([smaller.shape[1] / picture.shape[1],
                               smaller.shape[0] / picture.shape[0]])
            return Window(self.centre * shrunk, self.side * float(shrunk[0])).cut(
                smaller, size_px)
        matrix = np.array([[scale, 0.0, size_px / 2.0 - scale * self.centre[0]],
                           [0.0, scale, size_px / 2.0 - scale * self.centre[1]]])
        return cv2.warpAffine(picture, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR,
                              borderMode=cv2.BORDER_REPLICATE)

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Bring points from the window to the picture.

        Args:
            points: Shape (n, 2), in sides of the window from its middle.

        Returns:
            Shape (n, 2) [px].
        """
        return self.centre + np.asarray(points, dtype=float) * self.side


def window_around(points: np.ndarray, filled: float = FILLED) -> Window:
    """Lay a window around a hand.

    Args:
        points: Shape (21, 2), its landmarks [px].
        filled: Share of the side that the hand shall fill.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    return Window((low + high) / 2.0, max(float((high - low).max()), 4.0) / filled)


def windows_over(width: int, height: int) -> list[Window]:
    """Lay windows of several sizes over a whole picture, to look for a hand in.

    Args:
        width: Of the picture [px].
        height: Of the picture [px].

    Returns:
        The largest first; each size covers the picture, neighbours overlapping by half or more.
    """
    short, long = min(width, height), max(width, height)
    sides = [float(long)] if long < 1.2 * short else [float(long), float(short)]
    sides.append(0.6 * short)
    found = []
    for side in sides:
        across, down = _centres(width, side), _centres(height, side)
        found += [Window(np.array([x, y]), side) for y in down for x in across]
    return found


def _centres(length: int, side: float) -> np.ndarray:
    """Centres of windows along one edge."""
    if side >= length:
        return np.array([length / 2.0])
    count = 1 + int(np.ceil((length - side) / (0.5 * side)))
    return np.linspace(side / 2.0, length - side / 2.0, count)
