"""What an estimate takes of the rows of a data set: the same numbers as in the policy."""

from __future__ import annotations

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.learning.shards import CROP_PX, Arrays
from hand_imitation.policy.checkpoint import Checkpoint
from hand_imitation.policy.landmarks_network import landmark_features

_PART = 64
"""Pictures looked at together."""


def features_of(
    arrays: Arrays, rows: np.ndarray, right: np.ndarray, told: np.ndarray | None,
) -> np.ndarray:
    """Describe the hands of some rows.

    Args:
        arrays: Of kind 'landmarks' or 'motion'.
        rows: Which, shape (m,).
        right: Shape (m,), bool: whether to take each for a right hand.
        told: From `told_of_crops` for all rows, or None for an estimate of landmarks alone.

    Returns:
        Shape (m, inputs), float32.
    """
    features = landmark_features(
        arrays['seen_world_m'][rows].astype(float), arrays['seen_image_px'][rows].astype(float),
        right, arrays['seen_score'][rows], arrays['seen_forearm'][rows].astype(float),
        arrays['seen_forearm_source'][rows] == 'skin')
    if told is None:
        return features
    from hand_imitation.policy.fused_estimate import look_features

    return np.concatenate([features, look_features(told[rows], right)], axis=1)


def told_of_crops(arrays: Arrays, checkpoint: Checkpoint) -> np.ndarray | None:
    """Let the network of a checkpoint look at the hands that were seen.

    Args:
        arrays: Of kind 'landmarks' or 'motion', with `seen_crop`.
        checkpoint: Of kind 'pixels' or 'fused'; with one of 'landmarks' nobody looks.

    Returns:
        Shape (k, 58), zeros where no hand was detected; None where nobody looks.

    Raises:
        UserError: The data or the network do not fit.
    """
    if checkpoint.kind == 'landmarks':
        return None
    from hand_imitation.policy.pixels_look import Looks
    from hand_imitation.policy.pixels_network import OUTPUT_COUNT

    looks = Looks(checkpoint)
    if 'seen_crop' not in arrays:
        raise UserError("the data hold no pictures of the hands that were seen: make them again "
                        "with 'hand-imitation dataset'")
    if looks.size_px != CROP_PX:
        raise UserError(f"checkpoint '{checkpoint.name}' looks at pictures of {looks.size_px} px, "
                        f'and the data hold pictures of {CROP_PX} px')
    told = np.zeros((len(arrays['detected']), OUTPUT_COUNT))
    rows = np.flatnonzero(arrays['detected'])
    for start in range(0, len(rows), _PART):
        part = rows[start:start + _PART]
        told[part] = looks(arrays['seen_crop'][part])
    return told
