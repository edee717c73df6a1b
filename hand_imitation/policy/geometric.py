"""The `geometric` policy: closed-form angles from landmarks, no training."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.human.angles import (
    JOINTS,
    Side,
    finger_angles,
    lean_between,
    lean_from_vertical,
    palm_direction,
    thumb_side_sign,
)
from hand_imitation.human.observation import HandObservation
from hand_imitation.human.person import PersonCalibration
from hand_imitation.parameters import parameter
from hand_imitation.policy.base import JointTargets
from hand_imitation.policy.filters import FilterParameters, GlitchFilter, OneEuroFilter

_PARENTS = (0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
"""Landmark at the near end of the bone that ends at landmark 1, 2, .. 20."""
MAX_LEAN_RAD = np.radians(150.0)
"""Nearer to straight down, left and right are a hair apart and the arm would swing over."""


@dataclass(frozen=True)
class GeometricParameters(FilterParameters):
    """Filtering of the geometric policy."""

    max_bone_deviation: float = parameter(
        0.45, "Mean relative deviation from the person's own bone lengths above which a frame "
        'is no believable hand and is passed over.', lower=0.05, upper=10.0)


class GeometricPolicy:
    """Closed-form retargeting, by the formulas of `hand_imitation.human.angles`.

    Args:
        table: The arm's joints; targets are clipped to its limits.
        parameters: Filtering.
        person: Corrections for the person seen, or None.
    """

    uses_joint_positions = False
    uses_perception = True

    def __init__(
        self, table: JointTable, parameters: GeometricParameters | None = None,
        person: PersonCalibration | None = None,
    ) -> None:
        self._table = table
        self._parameters = parameters or GeometricParameters()
        self._person = person
        order = [table.index(name) for name in JOINTS]
        self._lower_rad = table.lower_rad[order]
        self._upper_rad = table.upper_rad[order]
        self._glitches = GlitchFilter(self._parameters.max_velocity_rad_s)
        self._smoothing = OneEuroFilter(self._parameters.min_cutoff_hz, self._parameters.beta)
        self._bones = BoneLengths()
        self._sides = SideVote()
        self._last_s = -np.inf

    def reset(self) -> None:
        """Forget the person and the past."""
        self._bones.reset()
        self._restart()

    def act(
        self, observation: HandObservation, joint_positions: np.ndarray | None, now_s: float,
    ) -> JointTargets | None:
        """Angles of the hand seen, filtered; see `Policy.act`."""
        usable = observation.valid and observation.settled
        if not usable or not np.isfinite(observation.world_points).all():
            return None
        stamp_s = observation.stamp_s
        if not 0.0 <= stamp_s - self._last_s <= self._parameters.max_gap_s:
            self._restart()
        if not self._bones.accept(
                observation.world_points, self._parameters.max_bone_deviation):
            return None
        self._last_s = stamp_s
        fingers = finger_angles(observation.world_points, observation.side)
        side = self._sides.vote(observation.side, fingers)
        if side != observation.side:
            fingers = finger_angles(observation.world_points, side)
        if self._person is not None:
            fingers = self._person.apply(fingers)
        leans = image_terms(observation, fingers)
        filtered = self._smoothing(self._glitches(leans, stamp_s), stamp_s)
        thumb_side = thumb_side_sign(observation.world_points)
        filtered[-2:] *= thumb_side
        known = np.isfinite(filtered)
        positions = np.clip(filtered, self._lower_rad, self._upper_rad)[known]
        names = tuple(name for name, is_known in zip(JOINTS, known, strict=True) if is_known)
        return JointTargets(names, positions, stamp_s, thumb_side)

    def _restart(self) -> None:
        self._glitches.reset()
        self._smoothing.reset()
        self._sides.reset()


def image_terms(observation: HandObservation, fingers_rad: np.ndarray) -> np.ndarray:
    """Angles of the 12 joints with wrist and elbow as leans in the image.

    They are filtered in these terms, since which way the thumb points flips at once when a
    hand turns over, and the lean does not.

    Args:
        observation: A valid observation.
        fingers_rad: What `finger_angles` makes of it, shape (10,) [rad].

    Returns:
        Shape (12,), [rad], in the order of `JOINTS`; wrist and elbow clockwise positive, NaN
        where they cannot be told.
    """
    palm, forearm = palm_direction(observation.world_points), observation.forearm_direction
    wrist = lean_between(forearm, palm) if palm is not None and forearm is not None else np.nan
    elbow = lean_from_vertical(forearm) if forearm is not None else np.nan
    if abs(elbow) > MAX_LEAN_RAD:
        elbow = np.nan
    return np.array([*fingers_rad, wrist, elbow])


class BoneLengths:
    """The bone lengths of the person seen, as running medians over the last frames.

    They are taken relative to their mean, so that neither the distance nor the size of a hand
    counts.

    Args:
        frames: How many frames to remember.
    """

    def __init__(self, frames: int = 90) -> None:
        self._lengths: deque[np.ndarray] = deque(maxlen=frames)

    def reset(self) -> None:
        """Forget the person."""
        self._lengths.clear()

    def accept(self, points: np.ndarray, max_deviation: float) -> bool:
        """Judge a skeleton, and remember it if it is believable.

        Args:
            points: Shape (21, 3).
            max_deviation: Largest mean absolute logarithm of the ratios between its bones and
                the person's.

        Returns:
            Whether it is believable; everything is while the person is unknown.
        """
        lengths = np.log(_relative_lengths(points))
        if len(self._lengths) >= 10:
            usual = np.median(self._lengths, axis=0)
            if np.abs(lengths - usual).mean() > max_deviation:
                return False
        self._lengths.append(lengths)
        return True


class SideVote:
    """Which hand it is, steadily: the landmarker's word can flip from frame to frame.

    Args:
        frames: Over how many frames the landmarker's word is averaged.
    """

    def __init__(self, frames: int = 15) -> None:
        self._votes: deque[float] = deque(maxlen=frames)

    def reset(self) -> None:
        """Forget the past votes."""
        self._votes.clear()

    def vote(self, side: Side, fingers_rad: np.ndarray) -> Side:
        """Add the landmarker's word on a frame.

        Args:
            side: The landmarker's word.
            fingers_rad: What `finger_angles` makes of the frame by that word, shape (10,) [rad].

        Returns:
            The side most frames agree on. Fingers do not bend backwards: where they would by
            the landmarker's word, it was wrong.
        """
        if fingers_rad[2:].mean() < -0.35:
            side = 'left' if side == 'right' else 'right'
        self._votes.append(1.0 if side == 'right' else -1.0)
        return 'right' if sum(self._votes) >= 0.0 else 'left'


def _relative_lengths(points: np.ndarray) -> np.ndarray:
    """Lengths of the 20 bones relative to their mean, so that distance does not count."""
    lengths = np.linalg.norm(points[1:] - points[list(_PARENTS)], axis=1)
    return np.maximum(lengths, 1e-9) / max(float(lengths.mean()), 1e-9)
