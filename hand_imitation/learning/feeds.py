"""Where the environments' targets come from: feeds of pictures, and the hand in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.frame_sources import open_source
from hand_imitation.human.angles import JOINTS, Side
from hand_imitation.policy.base import LEANING_JOINTS, lean_sign

_MARGIN = 1.5
"""Side of a crop, in the hand's longer side."""


@dataclass(frozen=True, eq=False)
class Hand:
    """The hand in a picture.

    Attributes:
        image_points: Shape (k, 2), points on it, such as its landmarks [px].
        points: Shape (21, 3), its landmarks in the camera's optical frame, or None.
        side: Whose hand it is.
        forearm_direction: From elbow to wrist in the picture, shape (2,), or None.
    """

    image_points: np.ndarray
    points: np.ndarray | None = None
    side: Side = 'right'
    forearm_direction: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known to be true of a picture.

    Attributes:
        angles_rad: Shape (12,), in the order of `angles.JOINTS` and in the person's terms; NaN
            where it cannot be told [rad].
        hand: Where the hand is, or None where that is not known.
        thumb_side: As in `JointTargets`; by default the hand looks like the right arm when seen
            in a mirror, as a left hand that shows its palm does.
    """

    angles_rad: np.ndarray
    hand: Hand | None = None
    thumb_side: float = -1.0


class Feed(Protocol):
    """Anything that gives pictures.

    It may also have `labels`, those of the picture read last or None; `rewind()`, which starts
    again from the first picture; and `draw(random)`, which is preferred to `read` and gives a
    picture picked with the environment's own random numbers.
    """

    def read(self) -> Any:
        """Return the next picture, uint8, BGR, shape (h, w, 3), or `(True, picture)`."""


Finder = Callable[[np.ndarray], Hand | None]
"""Finds the hand in a picture, uint8, BGR."""


def open_feed(feed: str | Feed) -> Feed:
    """Open a feed.

    Args:
        feed: Anything with `.read()`, which is used as it is; or the name of a source as
            `hand-imitation sim --source` takes it, which is repeated without end.

    Returns:
        The feed.

    Raises:
        UserError: It has no `.read()`, or no such source can be opened.
    """
    if isinstance(feed, str):
        return SourceFeed(feed)
    if not callable(getattr(feed, 'read', None)):
        raise UserError(f'a feed must have .read(), which {type(feed).__name__} has not: give a '
                        f"cv2.VideoCapture, or the name of a source such as 'sample'")
    return feed


def next_picture(feed: Feed, random: np.random.Generator) -> np.ndarray:
    """Take a picture from a feed.

    Args:
        feed: The feed.
        random: For feeds that pick.

    Returns:
        Shape (h, w, 3), uint8, BGR.

    Raises:
        UserError: The feed ended, cannot be read, or gave something else.
    """
    draw = getattr(feed, 'draw', None)
    try:
        given = feed.read() if draw is None else draw(random)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f'the feed cannot be read ({type(error).__name__}: {error}): check the '
                        'camera or file behind it') from error
    picture = given[1] if isinstance(given, tuple) and len(given) == 2 else given
    if picture is None or (isinstance(given, tuple) and not given[0]):
        raise UserError('the feed gives no more pictures: it ended, or its camera is gone; give '
                        "one that repeats, such as the name of a file or 'sample'")
    good = isinstance(picture, np.ndarray) and picture.dtype == np.uint8
    if not good or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        what = (f'{picture.dtype} of shape {picture.shape}' if isinstance(picture, np.ndarray)
                else type(picture).__name__)
        raise UserError(f'the feed gave {what} instead of a picture: uint8, BGR, shape (height, '
                        'width, 3)')
    return picture


class SourceFeed:
    """A video, GIF, folder of images, camera or the sample, without end."""

    def __init__(self, source: str) -> None:
        self._source = open_source(source)
        self._next = 0
        self.labels: Labels | None = None
        truth = self._source.truth
        self._angles = None if truth is None else truth.positions_rad[
            :, [truth.names.index(name) for name in JOINTS]]

    def read(self) -> np.ndarray | None:
        """Return the next picture; after the last one the first."""
        picture = self._source.read()
        if picture is None and not self._source.live:
            self.rewind()
            picture = self._source.read()
        if self._angles is not None:
            self.labels = Labels(self._angles[self._next % len(self._angles)])
        self._next += 1
        return picture

    def rewind(self) -> None:
        """Start again from the first picture."""
        if not self._source.live:
            self._source.rewind()
        self._next = 0

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class LabelledPictures:
    """Pictures in memory whose truth is known, picked at random."""

    def __init__(self, pictures: np.ndarray, labels: list[Labels]) -> None:
        """Keep pictures and labels.

        Args:
            pictures: Shape (k, h, w, 3), uint8, BGR.
            labels: One for each.
        """
        if len(pictures) != len(labels) or not len(labels):
            raise UserError(f'{len(pictures)} pictures with {len(labels)} labels: give as many '
                            'of one as of the other, and at least one')
        self._pictures, self._labels = pictures, labels
        self._next = 0
        self.labels = labels[0]

    def read(self) -> np.ndarray:
        """Return the next picture in turn."""
        return self._take(self._next)

    def draw(self, random: np.random.Generator) -> np.ndarray:
        """Return one picked at random."""
        return self._take(int(random.integers(len(self._pictures))))

    def _take(self, number: int) -> np.ndarray:
        self.labels = self._labels[number]
        self._next = (number + 1) % len(self._pictures)
        return self._pictures[number]


class LandmarkFinder:
    """Finds hands with the landmarker; made when it is first needed, for that takes a second."""

    def __init__(self) -> None:
        self._perception: Any = None

    def __call__(self, picture: np.ndarray) -> Hand | None:
        """Find the hand.

        Args:
            picture: Shape (h, w, 3), uint8, BGR.

        Returns:
            The hand, or None where there is none.
        """
        if self._perception is None:
            from hand_imitation.human.perception import StillPerception

            self._perception = StillPerception()
        seen = self._perception.observe(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        if not seen.valid:
            return None
        return Hand(seen.image_points, seen.world_points, seen.side, seen.forearm_direction)

    def close(self) -> None:
        """Free the landmarker."""
        if self._perception is not None:
            self._perception.close()
        self._perception = None


def cropped(picture: np.ndarray, hand: Hand, size: tuple[int, int]) -> np.ndarray:
    """Cut out the hand with some room around it.

    Args:
        picture: Shape (h, w, 3).
        hand: Where it is.
        size: Height and width of the result [px].

    Returns:
        Shape (*size, 3); what lies outside the picture repeats its border.
    """
    low, high = hand.image_points.min(axis=0), hand.image_points.max(axis=0)
    half = max(float((high - low).max()), 2.0) * _MARGIN / 2.0
    half_size = half * np.array(size[::-1]) / min(size)
    scale = np.array(size[::-1]) / (2.0 * half_size)
    shift = -(low + high - 2.0 * half_size) / 2.0 * scale + (scale - 1.0) / 2.0
    matrix = np.array([[scale[0], 0.0, shift[0]], [0.0, scale[1], shift[1]]])
    # Shrunk first where much smaller, or thin fingers would be lost between samples.
    factor = max(1, int(1.0 / scale[0]))
    if factor > 1:
        small = cv2.resize(picture, None, fx=1.0 / factor, fy=1.0 / factor,
                           interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.array([[factor, 0.0, (factor - 1) / 2.0],
                                    [0.0, factor, (factor - 1) / 2.0], [0.0, 0.0, 1.0]])
        picture = small
    return cv2.warpAffine(picture, matrix, size[::-1], flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)


def skin_mask(picture: np.ndarray) -> np.ndarray:
    """Find what is skin-coloured, by the bounds of gym-handofjustice 0.0.12.

    Args:
        picture: Shape (h, w, 3), uint8, BGR.

    Returns:
        Shape (h, w), uint8, 255 where it is.
    """
    lab = cv2.cvtColor(picture, cv2.COLOR_BGR2LAB)
    return cv2.inRange(lab, np.array([40, 120, 120]), np.array([255, 170, 170]))


def dark_mask(picture: np.ndarray) -> np.ndarray:
    """Find the arm before a white background, by the threshold of gym-handofjustice 0.0.12.

    Args:
        picture: Shape (h, w, 3), uint8, RGB.

    Returns:
        Shape (h, w), uint8, 255 where it is.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return cv2.threshold(grey, 180, 255, cv2.THRESH_BINARY_INV)[1]


def angles_for_arm(labels: Labels, names: tuple[str, ...], side: Side,
                   mirror: bool) -> np.ndarray:
    """Bring true angles into the arm's terms and order.

    Args:
        labels: What is true.
        names: The arm's joints, in its order.
        side: Which arm it is.
        mirror: The arm mirrors the person.

    Returns:
        Shape (n,) [rad]; NaN where unknown.
    """
    sign = lean_sign(labels.thumb_side, side, mirror)
    by_name = dict(zip(JOINTS, labels.angles_rad, strict=True))
    return np.array([
        by_name.get(name, np.nan) * (sign if name in LEANING_JOINTS else 1.0) for name in names])
