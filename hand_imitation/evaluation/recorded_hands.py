"""The hands that were seen while a bag was recorded, as observations for a policy."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import numpy as np

from hand_imitation.evaluation.bag import stamp_ns
from hand_imitation.human.angles import Side, finger_angles, palm_direction
from hand_imitation.human.observation import LANDMARKS, HandObservation
from hand_imitation.human.projection import projected
from hand_imitation.policy.sight import read_sight

_WORLD = 3 * LANDMARKS
_PLACED = _WORLD + 10
"""Numbers kept of a picture's markers: the joints, the forearm's two ends, side, score, settled
and whether the forearm is skin."""
_SIDE_FRAMES = 100
_SIDES: tuple[Side, Side] = ('left', 'right')


class RecordedHands:
    """Landmarks by the stamp of their picture, completed from the markers where there are any.

    The world points are those of `hand/landmarks`. Where they lie in the picture, which hand it
    is and how the forearm leans comes from `hand/markers`; without, the hand is the one last
    told of in diagnostics, or else the one whose fingers bend forwards, and the palm stands in
    for the forearm.
    """

    def __init__(self) -> None:
        # Flat arrays, and rows by stamp: a bag may have a million pictures.
        self._world, self._world_rows = array('f'), dict[int, int]()
        self._placed, self._placed_rows = array('f'), dict[int, int]()
        self._sides: list[tuple[int, Side]] = []
        self._sights: dict[int, tuple[bool, float | None]] = {}
        self._camera: tuple[float, tuple[float, float]] | None = None

    def add_camera(self, message: Any, recorded_ns: int) -> None:
        """Take a sensor_msgs/CameraInfo."""
        focal_length_px = float(message.k[0])
        if focal_length_px > 0.0:
            self._camera = focal_length_px, (float(message.k[2]), float(message.k[5]))

    def add_landmarks(self, message: Any, recorded_ns: int) -> None:
        """Take a geometry_msgs/PoseArray; without poses no hand was seen."""
        stamp, points = stamp_ns(message) or recorded_ns, _flat(p.position for p in message.poses)
        if len(points) not in (0, _WORLD) or not np.isfinite(points).all():
            raise ValueError(f'landmarks are not {LANDMARKS} finite points')
        self._world_rows[stamp] = len(self._world) // _WORLD if points else -1
        self._world.extend(points)

    def add_markers(self, message: Any, recorded_ns: int) -> None:
        """Take a visualization_msgs/MarkerArray as `nodes.markers` makes it."""
        markers = {marker.ns: marker for marker in message.markers}
        joints, forearm = markers.get('joints'), markers.get('forearm')
        if joints is None:
            return
        sight = read_sight(joints.text)
        if sight is not None:
            self._sights[stamp_ns(joints)] = sight
        if len(joints.points) != LANDMARKS:
            return
        line = _flat(forearm.points) if forearm is not None else []
        about = dict(word.split('=', 1) for word in joints.text.split() if '=' in word)
        side = _SIDES.index(about['side']) if about.get('side') in _SIDES else np.nan
        self._placed_rows[stamp_ns(joints)] = len(self._placed) // _PLACED
        self._placed.extend([
            *_flat(joints.points), *(line if len(line) == 6 else [np.nan] * 6), side,
            float(about.get('score', 1.0)), about.get('settled', 'yes') == 'yes',
            about.get('forearm', 'skin') == 'skin'])

    def add_side(self, time_ns: int, side: Side) -> None:
        """Take which hand the policy told of."""
        self._sides.append((time_ns, side))

    def take_over(self, other: RecordedHands) -> None:
        """Take what another one has and this one has not."""
        if other._world_rows:
            self._world, self._world_rows = other._world, other._world_rows
        if other._placed_rows:
            self._placed, self._placed_rows = other._placed, other._placed_rows
        self._sides = other._sides or self._sides
        self._sights = other._sights or self._sights
        self._camera = other._camera or self._camera

    @property
    def stamps_ns(self) -> np.ndarray:
        """Stamps of all pictures that were looked at, shape (n,), increasing."""
        return np.array(sorted(self._world_rows), np.int64)

    @property
    def has_sights(self) -> bool:
        """Whether the policy recorded looked for hands itself, so that there are no landmarks."""
        return bool(self._sights)

    def sight(self, frame_ns: int) -> tuple[bool, float | None]:
        """Return what a policy that looks for hands itself saw in a picture.

        Args:
            frame_ns: The picture's stamp [ns].

        Returns:
            Whether it saw a hand, and its thumb's side where that is told.
        """
        return self._sights.get(frame_ns, (False, None))

    def observation(self, frame_ns: int, stamp_s: float) -> HandObservation:
        """Return what was seen in a picture.

        Args:
            frame_ns: The picture's stamp [ns].
            stamp_s: The stamp that the observation shall carry [s].
        """
        row = self._world_rows.get(frame_ns, -1)
        if row < 0:
            return HandObservation(valid=False, stamp_s=stamp_s)
        world_points = _row(self._world, row, _WORLD).reshape(LANDMARKS, 3)
        forearm, source = palm_direction(world_points), 'palm'
        image_points: np.ndarray = np.full((LANDMARKS, 2), np.nan)
        side, score, settled = self._told_side(frame_ns), 1.0, True
        if frame_ns in self._placed_rows and self._camera is not None:
            placed = _row(self._placed, self._placed_rows[frame_ns], _PLACED)
            points = projected(placed[:_WORLD + 6].reshape(-1, 3), *self._camera)
            image_points, score, settled = points[:LANDMARKS], placed[-3], bool(placed[-2])
            if np.isfinite(placed[-4]):
                side = _SIDES[int(placed[-4])]
            along = points[LANDMARKS + 1] - points[LANDMARKS]
            if np.linalg.norm(along) > 0.0:
                forearm = along / np.linalg.norm(along)
                source = 'skin' if placed[-1] else 'palm'
        return HandObservation(
            valid=True, stamp_s=stamp_s, world_points=world_points, image_points=image_points,
            side=side, score=float(score), settled=settled, forearm_direction=forearm,
            forearm_source=source if forearm is not None else 'none')

    def _told_side(self, frame_ns: int) -> Side:
        """Which hand diagnostics told of last before a picture, or else first."""
        if not self._sides:
            self._sides = [(0, self._likely_side())]
        place = bisect_right(self._sides, frame_ns, key=lambda said: said[0])
        return self._sides[max(place - 1, 0)][1]


    def _likely_side(self) -> Side:
        """Which hand it is, by how fingers bend: taken for the other, they bend backwards."""
        rows = len(self._world) // _WORLD
        chosen = np.unique(np.linspace(0, rows - 1, _SIDE_FRAMES).astype(int))
        bends = dict.fromkeys(_SIDES, 0.0)
        for row in chosen.tolist():
            points = _row(self._world, row, _WORLD).reshape(LANDMARKS, 3)
            for side in _SIDES:
                bends[side] += float(finger_angles(points, side)[2:].mean())
        return 'left' if bends['left'] > bends['right'] else 'right'


def _flat(points: Iterable[Any]) -> list[float]:
    """Coordinates of points, one after the other."""
    return [value for p in points for value in (p.x, p.y, p.z)]


def _row(numbers: array[float], row: int, length: int) -> np.ndarray:
    """One row of an array of rows."""
    return np.array(numbers[row * length:(row + 1) * length], np.float64)
