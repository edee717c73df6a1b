"""Direction of the forearm, found as skin below the wrist.

The hand landmarker knows nothing of the arm behind the wrist. Its landmarks do say where skin
is for certain, so the skin's colour is learned from the palm of the same image, and the
forearm is the run of that colour that leaves the wrist away from the fingers.
"""

from __future__ import annotations

import cv2
import numpy as np

_PALM = (0, 1, 5, 9, 13, 17)
_RING_RADII = np.linspace(0.35, 1.5, 14)
"""Distances from the wrist at which the forearm is looked for [palm lengths]."""
_RAY_ANGLES = np.radians(np.arange(-75.0, 75.1, 2.5))
"""Directions looked at, around the palm's own direction continued past the wrist [rad]."""
_MAX_COLOUR_DISTANCE = 3.5
_MIN_RINGS = 6
_MIN_WIDTH, _MAX_WIDTH = 0.25, 1.3
"""Plausible widths of a forearm [palm lengths]."""


def forearm_direction(image_rgb: np.ndarray, image_points: np.ndarray) -> np.ndarray | None:
    """Find the direction of the forearm in the image.

    Args:
        image_rgb: Shape (h, w, 3), uint8.
        image_points: Landmarks, shape (21, 2) [px] of that image.

    Returns:
        Unit vector from elbow to wrist, shape (2,), or None where no forearm is seen (out of
        the picture, or in a sleeve of another colour).
    """
    wrist = image_points[0]
    palm = image_points[9] - wrist
    length = float(np.linalg.norm(palm))
    if length < 8.0:
        return None
    skin = _skin_model(image_rgb, image_points)
    if skin is None:
        return None
    centres = _forearm_centres(image_rgb, wrist, -palm / length, length, skin)
    if len(centres) < _MIN_RINGS:
        return None
    return _fitted_direction(wrist, centres)


def _fitted_direction(wrist: np.ndarray, centres: np.ndarray) -> np.ndarray | None:
    """Unit direction, elbow to wrist, of the line through the forearm's centres."""
    middle = centres.mean(axis=0)
    direction = np.linalg.svd(centres - middle)[2][0]
    if np.dot(direction, wrist - middle) < 0.0:
        direction = -direction
    return direction


def _skin_model(
    image_rgb: np.ndarray, image_points: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and inverse covariance of the palm's colour in YCrCb."""
    height, width = image_rgb.shape[:2]
    samples = []
    centre = image_points[list(_PALM)].mean(axis=0)
    for index in _PALM:
        for share in (0.0, 0.25, 0.5, 0.75):
            samples.append(image_points[index] * (1 - share) + centre * share)
    points = np.round(samples).astype(int)
    inside = (points >= 0).all(axis=1) & (points[:, 0] < width) & (points[:, 1] < height)
    if inside.sum() < 8:
        return None
    colours = _ycrcb(image_rgb[points[inside, 1], points[inside, 0]])
    mean = np.median(colours, axis=0)
    # Light falls off along the arm, so brightness may differ far more than hue.
    covariance = np.cov(colours.T) + np.diag([20.0**2, 4.0**2, 4.0**2])
    return mean, np.linalg.inv(covariance)


def _forearm_centres(
    image_rgb: np.ndarray, wrist: np.ndarray, away: np.ndarray, length: float,
    skin: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Middle of the skin on rings around the wrist, ring by ring outwards, shape (n, 2)."""
    height, width = image_rgb.shape[:2]
    base = np.arctan2(away[1], away[0])
    angles = base + _RAY_ANGLES
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = wrist + _RING_RADII[:, None, None] * length * rays
    pixels = np.round(points).astype(int)
    inside = (
        (pixels >= 0).all(axis=2) & (pixels[..., 0] < width) & (pixels[..., 1] < height)
    )
    clipped = np.clip(pixels, 0, (width - 1, height - 1))
    offset = _ycrcb(image_rgb[clipped[..., 1], clipped[..., 0]]) - skin[0]
    distance = np.sqrt(np.einsum('...i,ij,...j->...', offset, skin[1], offset))
    is_skin = (distance < _MAX_COLOUR_DISTANCE) & inside
    # Bridge gaps of one ray, as a hair or a crease makes them.
    is_skin[:, 1:-1] |= is_skin[:, :-2] & is_skin[:, 2:]
    padded = np.pad(is_skin.astype(np.int8), ((0, 0), (1, 1)))
    changes = np.diff(padded, axis=1)
    centres: list[np.ndarray] = []
    expected = len(_RAY_ANGLES) / 2.0
    for ring, radius in enumerate(_RING_RADII):
        run = _nearest_run(changes[ring], expected)
        if run is None:
            break
        first, last = run
        # A run that ends at the picture's edge shows only one side of the arm.
        cut = not (inside[ring, max(first - 1, 0)] and inside[ring, min(last + 1, len(rays) - 1)])
        arc = _RAY_ANGLES[last] - _RAY_ANGLES[first]
        if cut or not _MIN_WIDTH <= 2.0 * radius * np.sin(min(arc, np.pi) / 2.0) <= _MAX_WIDTH:
            if centres:
                break
            continue
        expected = (first + last) / 2.0
        middle = base + (_RAY_ANGLES[first] + _RAY_ANGLES[last]) / 2.0
        centres.append(wrist + radius * length * np.array([np.cos(middle), np.sin(middle)]))
    return np.array(centres).reshape(-1, 2)


def _nearest_run(changes: np.ndarray, expected: float) -> tuple[int, int] | None:
    """First and last index of the run nearest to an index.

    Args:
        changes: +1 where a run begins and -1 behind its end.
        expected: Index near which it should be.
    """
    edges = np.flatnonzero(changes).tolist()
    runs = [(a, b - 1) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - 1 > a]
    if not runs:
        return None
    first, last = min(runs, key=lambda r: max(r[0] - expected, expected - r[1], 0.0))
    return None if max(first - expected, expected - last) > 6.0 else (first, last)


def _ycrcb(colours_rgb: np.ndarray) -> np.ndarray:
    """Colours of any shape (..., 3) in YCrCb, as floats."""
    flat = np.ascontiguousarray(colours_rgb.reshape(1, -1, 3))
    return cv2.cvtColor(flat, cv2.COLOR_RGB2YCrCb).reshape(colours_rgb.shape).astype(float)
