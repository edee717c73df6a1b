"""Places the hand in front of the camera, so that its 3D points fall on the 2D ones."""

from __future__ import annotations

import numpy as np


def placed_points(
    world_points: np.ndarray, image_points: np.ndarray, focal_length_px: float,
    centre_px: tuple[float, float],
) -> np.ndarray:
    """Move a hand from its own origin to where the camera sees it.

    The landmarker gives the hand's shape in metres round its own centre and, apart from that,
    where it lies in the image. The translation t that makes (X + t) project onto the image
    points solves f (x + tx) = (u - cx) (z + tz), and likewise for y, which is linear in t.

    Args:
        world_points: Shape (n, 3) [m], optical frame, origin anywhere.
        image_points: Shape (n, 2) [px].
        focal_length_px: Focal length [px].
        centre_px: Principal point [px].

    Returns:
        Shape (n, 3) [m], optical frame of the camera.
    """
    offset = image_points - np.array(centre_px)
    count = len(world_points)
    system = np.zeros((2 * count, 3))
    system[:count, 0] = system[count:, 1] = focal_length_px
    system[:, 2] = -offset.T.ravel()
    depth = world_points[:, 2]
    right = np.concatenate([
        offset[:, 0] * depth - focal_length_px * world_points[:, 0],
        offset[:, 1] * depth - focal_length_px * world_points[:, 1],
    ])
    translation = np.linalg.lstsq(system, right, rcond=None)[0]
    return world_points + translation


def projected(
    points: np.ndarray, focal_length_px: float, centre_px: tuple[float, float],
) -> np.ndarray:
    """Project points into the image of a pinhole camera.

    Args:
        points: Shape (n, 3) [m], optical frame.
        focal_length_px: Focal length [px].
        centre_px: Principal point [px].

    Returns:
        Shape (n, 2) [px].
    """
    depth = np.maximum(points[:, 2:3], 1e-6)
    return points[:, :2] / depth * focal_length_px + np.array(centre_px)
