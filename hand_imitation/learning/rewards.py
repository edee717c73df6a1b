"""All rewards, as pure functions: numbers in, numbers out, higher is better, 0 is perfect.

Each takes a batch: the first axis of every array counts arms. What names and units the values
have stands in `REWARDS`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

REWARDS = {
    'original': 'minus the number of mismatched silhouette pixels [px]',
    'aligned': 'mean overlap of the finger regions, masks aligned, minus 1',
    'pose': 'minus the mean absolute joint error [rad]',
    'fingertips': "minus the mean distance of the fingertips in the palm's frame [m]",
    'smoothness': 'minus the mean squared second difference of the commands [rad^2]',
    'self_collision': 'minus the depth to which fingers are inside each other [m]',
}
"""Names of the terms, and what their values mean."""

NEED_TRUTH = ('pose', 'fingertips')
"""Terms for targets whose true pose is known."""


def original(arm_masks: np.ndarray, target_masks: np.ndarray) -> np.ndarray:
    """Count mismatched pixels: the reward of gym-handofjustice 0.0.12, exactly.

    It cannot tell poses apart: nothing aligns the masks, so a small fist, which covers little,
    beats an open hand even where an open hand is shown. Kept so that this can be rerun.

    Args:
        arm_masks: Shape (m, h, w), bool.
        target_masks: Shape (m, h, w), bool.

    Returns:
        Shape (m,), 0 to minus h * w [px].
    """
    return -np.count_nonzero(arm_masks ^ target_masks, axis=(-2, -1)).astype(float)


def region_overlaps(arm_regions: np.ndarray, target_regions: np.ndarray) -> np.ndarray:
    """Overlap of aligned regions, one by one: sum of minima over sum of maxima (Ruzicka).

    For masks of zeros and ones this is intersection over union.

    Args:
        arm_regions: Shape (m, k, h, w), coverage of each pixel, 0 to 1.
        target_regions: Shape (m, k, h, w), or broadcast to it; NaN where a region is not known.

    Returns:
        Shape (m, k), 0 to 1; NaN where the target's region is not known.
    """
    both = np.minimum(arm_regions, target_regions).sum(axis=(-2, -1))
    either = np.maximum(arm_regions, target_regions).sum(axis=(-2, -1))
    return both / np.where(either == 0.0, 1.0, either)


def aligned(overlaps: np.ndarray) -> np.ndarray:
    """Reward of aligned masks, scored per region so that every finger counts the same.

    Args:
        overlaps: Shape (m, k), as from `region_overlaps`; NaN does not count.

    Returns:
        Shape (m,), -1 to 0; -1 where nothing is known.
    """
    known = np.isfinite(overlaps)
    total = np.where(known, overlaps, 0.0).sum(axis=-1)
    return total / np.maximum(known.sum(axis=-1), 1) - 1.0


def pose(positions_rad: np.ndarray, true_rad: np.ndarray) -> np.ndarray:
    """Mean absolute joint error.

    Args:
        positions_rad: Shape (m, n), measured [rad].
        true_rad: Shape (m, n), the person's pose in the arm's terms; NaN does not count [rad].

    Returns:
        Shape (m,), [rad], negative.
    """
    errors = np.abs(positions_rad - true_rad)
    known = np.isfinite(errors)
    return -np.where(known, errors, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)


def fingertips(tips_m: np.ndarray, true_tips_m: np.ndarray) -> np.ndarray:
    """Mean distance between fingertips and where the true pose would put them.

    Args:
        tips_m: Shape (m, 5, 3), in the palm's frame [m].
        true_tips_m: Shape (m, 5, 3), of the same arm in the true pose [m].

    Returns:
        Shape (m,), [m], negative.
    """
    return -np.linalg.norm(tips_m - true_tips_m, axis=-1).mean(axis=-1)


def smoothness(commands_rad: np.ndarray) -> np.ndarray:
    """Mean squared second difference of three commands in a row.

    Args:
        commands_rad: Shape (m, 3, n), the oldest first [rad].

    Returns:
        Shape (m,), [rad^2], negative.
    """
    bend = commands_rad[:, 2] - 2.0 * commands_rad[:, 1] + commands_rad[:, 0]
    return -(bend ** 2).mean(axis=-1)


def self_collision(starts_m: np.ndarray, ends_m: np.ndarray, radii_m: np.ndarray,
                   pairs: np.ndarray) -> np.ndarray:
    """Depth to which capsules are inside each other, summed over pairs.

    Args:
        starts_m: Shape (m, k, 3), where the capsules' axes start [m].
        ends_m: Shape (m, k, 3), where they end [m].
        radii_m: Shape (k,) [m].
        pairs: Shape (p, 2), which capsules must not meet.

    Returns:
        Shape (m,), [m], negative.
    """
    first, second = pairs.T
    distance = _segment_distance(
        starts_m[:, first], ends_m[:, first], starts_m[:, second], ends_m[:, second])
    depth = radii_m[first] + radii_m[second] - distance
    return -np.maximum(depth, 0.0).sum(axis=-1)


def total(terms: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Add up weighted terms.

    Args:
        terms: By name, shape (m,).
        weights: By name; a term without a weight does not count.

    Returns:
        Shape (m,).
    """
    weighted = [weight * terms[name] for name, weight in weights.items()]
    return np.sum(weighted, axis=0)


def by_joint(terms: Mapping[str, np.ndarray], weights: Mapping[str, float],
             parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Split the reward by joint, so that each joint can be told what it did itself.

    Args:
        terms: As in `total`.
        weights: As in `total`.
        parts: For terms that are sums over joints, their parts, shape (m, n), whose mean over
            joints is the term; every other term counts the same for each joint.

    Returns:
        Shape (m, n); its mean over joints is the reward.
    """
    split = [weight * parts.get(name, terms[name][:, np.newaxis])
             for name, weight in weights.items()]
    return np.sum(np.broadcast_arrays(*split), axis=0)


def pose_by_joint(positions_rad: np.ndarray, true_rad: np.ndarray) -> np.ndarray:
    """Split `pose` by joint.

    Args:
        positions_rad: As in `pose`.
        true_rad: As in `pose`.

    Returns:
        Shape (m, n) [rad], negative, 0 where the truth is not known; the mean is `pose`.
    """
    errors = np.abs(positions_rad - true_rad)
    known = np.isfinite(errors)
    share = errors.shape[-1] / np.maximum(known.sum(axis=-1, keepdims=True), 1)
    return -np.where(known, errors, 0.0) * share


def smoothness_by_joint(commands_rad: np.ndarray) -> np.ndarray:
    """Split `smoothness` by joint.

    Args:
        commands_rad: As in `smoothness`.

    Returns:
        Shape (m, n) [rad^2], negative; the mean is `smoothness`.
    """
    return -(commands_rad[:, 2] - 2.0 * commands_rad[:, 1] + commands_rad[:, 0]) ** 2


def _segment_distance(start1: np.ndarray, end1: np.ndarray, start2: np.ndarray,
                      end2: np.ndarray) -> np.ndarray:
    """Distance between segments (Ericson, Real-Time Collision Detection, 5.1.9).

    Args:
        start1: Shape (..., 3).
        end1: Shape (..., 3).
        start2: Shape (..., 3).
        end2: Shape (..., 3).

    Returns:
        Shape (...,).
    """
    way1, way2, apart = end1 - start1, end2 - start2, start1 - start2
    a, e = (np.maximum((way * way).sum(axis=-1), 1e-12) for way in (way1, way2))
    b, c, f = ((u * v).sum(axis=-1) for u, v in ((way1, way2), (way1, apart), (way2, apart)))
    slope = a * e - b * b
    s = np.clip(np.where(slope > 1e-12, (b * f - c * e) / np.maximum(slope, 1e-12), 0.0), 0, 1)
    t = np.clip((b * s + f) / e, 0.0, 1.0)
    s = np.clip((b * t - c) / a, 0.0, 1.0)
    return np.linalg.norm(apart + s[..., None] * way1 - t[..., None] * way2, axis=-1)
