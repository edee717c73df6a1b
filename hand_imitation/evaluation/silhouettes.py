"""Silhouettes of the arm's hand, and how far two of them agree.

The hand is drawn from the primitives of the URDF, looked at from in front of the palm along the
palm's normal, in parallel projection. Both silhouettes are of one and the same hand, so they can
be aligned in place, scale and rotation without a search: they are drawn in the palm's own frame.
Wrist and elbow, which only turn and move the hand in that view, do not count.
"""

from __future__ import annotations

import cv2
import numpy as np

from hand_imitation.arm.kinematics import PALM_LINK, Kinematics

PIXEL_M = 0.0015
"""Edge of a pixel of a silhouette [m]."""

_SPAN_Y_M = (-0.16, 0.16)
_SPAN_Z_M = (-0.05, 0.24)
_SHIFT = 4
"""Sub-pixel bits of OpenCV's polygon filler."""

_RING = np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)


class HandSilhouettes:
    """Draws silhouettes of the hand of one arm."""

    def __init__(self, kinematics: Kinematics) -> None:
        """Collect the outline points of the hand's shapes.

        Args:
            kinematics: The arm. One without a palm has no silhouettes.
        """
        self._kinematics = kinematics
        links = _links_beyond_palm(kinematics)
        self._outlines = [
            (shape.link, _outline(shape.kind, shape.size) @ shape.pose[:3, :3].T
             + shape.pose[:3, 3], shape.size[0] if shape.kind == 'sphere' else 0.0)
            for shape in kinematics.shapes if shape.link in links]

    @property
    def available(self) -> bool:
        """Whether the arm has a palm with anything to draw."""
        return bool(self._outlines)

    def masks(self, positions_rad: np.ndarray) -> np.ndarray:
        """Draw the hand in some poses.

        Args:
            positions_rad: Shape (m, n), poses in the table's order, finite [rad].

        Returns:
            Shape (m, height, width), bool; rows run from the fingers down, columns to the
            palm's +y, as the arm's camera sees it.
        """
        poses = self._kinematics.link_poses(positions_rad)
        to_palm = np.linalg.inv(poses[PALM_LINK])
        height = round((_SPAN_Z_M[1] - _SPAN_Z_M[0]) / PIXEL_M)
        width = round((_SPAN_Y_M[1] - _SPAN_Y_M[0]) / PIXEL_M)
        masks = np.zeros((len(to_palm), height, width), np.uint8)
        in_palm = {link: to_palm @ poses[link] for link, _, _ in self._outlines}
        for link, points, radius_m in self._outlines:
            pose = in_palm[link]
            placed = points @ pose[:, :3, :3].transpose(0, 2, 1) + pose[:, np.newaxis, :3, 3]
            columns = (placed[..., 1] - _SPAN_Y_M[0]) / PIXEL_M - 0.5
            rows = (_SPAN_Z_M[1] - placed[..., 2]) / PIXEL_M - 0.5
            pixels = np.round(np.stack([columns, rows], axis=-1) * 2**_SHIFT).astype(np.int32)
            for mask, outline in zip(masks, pixels, strict=True):
                if radius_m:
                    centre = (int(outline[0, 0]), int(outline[0, 1]))
                    radius = round(radius_m / PIXEL_M * 2**_SHIFT)
                    cv2.circle(mask, centre, radius, 1, cv2.FILLED, cv2.LINE_8, _SHIFT)
                else:
                    hull = cv2.convexHull(outline)
                    cv2.fillConvexPoly(mask, hull, 1, cv2.LINE_8, _SHIFT)
        return masks.astype(bool)


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of pairs of masks.

    Args:
        first: Shape (m, h, w), bool.
        second: Shape (m, h, w), bool.

    Returns:
        Shape (m,), 0 to 1; 1 for two empty masks.
    """
    both = np.count_nonzero(first & second, axis=(1, 2))
    either = np.count_nonzero(first | second, axis=(1, 2))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def _links_beyond_palm(kinematics: Kinematics) -> set[str]:
    """The palm and what moves with it, found by bending every joint beyond it."""
    if PALM_LINK not in kinematics.links:
        return set()
    base = np.zeros((1, len(kinematics.table)))
    still = kinematics.link_poses(base)
    wrists = [c for c, name in enumerate(kinematics.table.names) if name == 'wrist']
    if not wrists:
        return set(kinematics.links)
    base[0, wrists] = 0.3
    moved = kinematics.link_poses(base)
    return {link for link in kinematics.links if not np.allclose(still[link], moved[link])}


def _outline(kind: str, size: tuple[float, ...]) -> np.ndarray:
    """Points whose convex hull is the shape: shape (k, 3), [m]; a sphere's centre alone."""
    if kind == 'sphere':
        return np.zeros((1, 3))
    if kind == 'cylinder':
        radius, length = size
        ring = np.stack([radius * np.cos(_RING), radius * np.sin(_RING)], axis=1)
        return np.vstack([
            np.column_stack([ring, np.full(len(ring), end)]) for end in (-length / 2, length / 2)])
    corners = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, -1).T
    return corners * np.array(size)
