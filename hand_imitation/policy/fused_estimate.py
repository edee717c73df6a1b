"""What landmarks and picture say together.

Landmarks alone cannot tell whether a finger bends at its knuckle or at its middle joint when it
points at the camera; the picture shows it. So the network of the `pixels` policy looks at the
window that the landmarks tell, and what it says joins what the landmarks say.
"""

from __future__ import annotations

import numpy as np

from hand_imitation.human.observation import HandObservation
from hand_imitation.policy.checkpoint import Checkpoint
from hand_imitation.policy.landmarks_estimate import Estimate
from hand_imitation.policy.landmarks_network import FEATURES
from hand_imitation.policy.pixels_look import Looks, of_mirror_images
from hand_imitation.policy.pixels_network import OUTPUT_COUNT
from hand_imitation.policy.pixels_window import window_around


class FusedEstimate(Estimate):
    """Tells the pose by a network on landmarks, and on what another network says of the picture.

    Args:
        checkpoint: Holds both.

    Raises:
        UserError: It is of another version, or damaged.
    """

    inputs = FEATURES + OUTPUT_COUNT

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self._looks = Looks(checkpoint)

    def features(self, observation: HandObservation) -> np.ndarray:
        """See `Estimate.features`; the observation has its image."""
        assert observation.image is not None
        window = window_around(observation.image_points)
        cut = window.cut(observation.image, self._looks.size_px)[np.newaxis]
        return np.concatenate([
            super().features(observation),
            look_features(self._looks(cut), np.array([observation.side == 'right']))], axis=1)


def look_features(told: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Describe what the network says of windows as if all hands were right ones.

    Args:
        told: Shape (m, 58), see `pixels_network.OUTPUTS`.
        right: Shape (m,), bool: right hands, as the landmarker says.

    Returns:
        The same shape, float32.
    """
    return np.where(right[:, np.newaxis], told, of_mirror_images(told)).astype(np.float32)
