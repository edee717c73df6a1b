"""What the landmarks of one picture say: by the network, or by the formulas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.human.angles import HAND_JOINTS, finger_angles, thumb_side_sign
from hand_imitation.human.observation import HandObservation
from hand_imitation.human.person import PersonCalibration
from hand_imitation.policy.checkpoint import Checkpoint
from hand_imitation.policy.geometric import SideVote, image_terms
from hand_imitation.policy.landmarks_network import (
    ESTIMATE_VERSION,
    ESTIMATES,
    FEATURES,
    LOG_LENGTHS,
    Network,
    landmark_features,
)

_FINGERS = len(HAND_JOINTS)


@dataclass(frozen=True, eq=False)
class Pose:
    """What the landmarks of one picture say.

    Attributes:
        angles_rad: Shape (12,), in the order of `JOINTS` [rad]; wrist and elbow as leans in the
            image, clockwise positive, NaN where they cannot be told.
        thumb_side: As in `JointTargets`.
        log_lengths: Shape (20,), logarithms of the lengths of the bones.
        points: Shape (21, 3), the world points they come from.
    """

    angles_rad: np.ndarray
    thumb_side: float
    log_lengths: np.ndarray
    points: np.ndarray


class Estimate:
    """Tells the pose by the network.

    Args:
        checkpoint: Holds the network.

    Raises:
        UserError: It is of another version, or damaged.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        layout = checkpoint.layout['estimate']
        given = {name: layout.get(name) for name in ('version', 'inputs', 'outputs')}
        if given != {'version': ESTIMATE_VERSION, 'inputs': FEATURES, 'outputs': len(ESTIMATES)}:
            raise UserError(
                f"checkpoint '{checkpoint.name}' has an estimate of another version: train it "
                "again by 'hand-imitation train --policy landmarks --algo supervised'")
        self._network = Network(checkpoint, 'estimate', layout)

    def reset(self) -> None:
        """Do nothing: each picture is judged alone."""

    def __call__(self, observation: HandObservation) -> Pose:
        """Estimate the pose.

        Args:
            observation: A valid one, all its points finite.
        """
        forearm = observation.forearm_direction
        right = observation.side == 'right'
        features = landmark_features(
            observation.world_points[np.newaxis], observation.image_points[np.newaxis],
            np.array([right]), np.array([observation.score]),
            np.full((1, 2), np.nan) if forearm is None else forearm[np.newaxis],
            np.array([observation.forearm_source == 'skin']))
        told = self._network(features)[0].astype(float)
        mirror = 1.0 if right else -1.0
        angles = image_terms(observation, told[:_FINGERS])
        angles[_FINGERS:] += mirror * told[_FINGERS:-1]
        return Pose(angles, 1.0 if mirror * told[-1] >= 0.0 else -1.0,
                    features[0, LOG_LENGTHS], observation.world_points)


class Formulas:
    """Tells the pose by the formulas of `human/angles.py`, as the `geometric` policy does.

    Args:
        person: Corrections for the person seen, or None.
    """

    def __init__(self, person: PersonCalibration | None) -> None:
        self._person = person
        self._sides = SideVote()

    def reset(self) -> None:
        """Forget which hand it was."""
        self._sides.reset()

    def __call__(self, observation: HandObservation) -> Pose:
        """See `Estimate`."""
        points = observation.world_points
        fingers = finger_angles(points, observation.side)
        side = self._sides.vote(observation.side, fingers)
        if side != observation.side:
            fingers = finger_angles(points, side)
        if self._person is not None:
            fingers = self._person.apply(fingers)
        features = landmark_features(
            points[np.newaxis], observation.image_points[np.newaxis], np.array([True]),
            np.zeros(1), np.zeros((1, 2)), np.array([False]))
        return Pose(image_terms(observation, fingers), thumb_side_sign(points),
                    features[0, LOG_LENGTHS], points)


class UsualBones:
    """The bone lengths of the person seen, relative to each other, as medians.

    What `geometric.BoneLengths` does, quicker: medians are taken once in a while.

    Args:
        frames: How many frames to remember.
        every: After how many frames medians are taken anew.
    """

    def __init__(self, frames: int = 90, every: int = 15) -> None:
        self._lengths = np.zeros((frames, 20), dtype=np.float32)
        self._every = every
        self.reset()

    def reset(self) -> None:
        """Forget the person."""
        self._seen = 0
        self._usual: np.ndarray | None = None

    def accept(self, log_lengths: np.ndarray, max_deviation: float) -> bool:
        """Judge a skeleton, and remember it if it is believable.

        Args:
            log_lengths: Shape (20,), logarithms of the lengths of its bones.
            max_deviation: Largest mean absolute difference from the person's.

        Returns:
            Whether it is believable; everything is while the person is unknown.
        """
        relative = log_lengths - log_lengths.sum() / 20.0
        if self._usual is not None and np.abs(
                relative - self._usual).sum() > 20.0 * max_deviation:
            return False
        self._lengths[self._seen % len(self._lengths)] = relative
        self._seen += 1
        if self._seen % self._every == 0:
            self._usual = np.median(self._lengths[:self._seen], axis=0)
        return True
