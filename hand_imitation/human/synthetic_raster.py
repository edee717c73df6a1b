"""A small software rasteriser: which triangle is seen at each pixel, and where on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at the origin of its optical frame (x right, y down, z away).

    Attributes:
        width: Picture width [px].
        height: Picture height [px].
        focal_px: Focal length [px]; the principal point is the middle of the picture.
    """

    width: int
    height: int
    focal_px: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points into the picture.

        Args:
            points: Shape (n, 3), optical frame [m].

        Returns:
            Shape (n, 2), [px], x to the right, y down, (0, 0) the picture's corner.
        """
        centre = np.array([self.width, self.height]) / 2.0
        return points[:, :2] / points[:, 2:3] * self.focal_px + centre


@dataclass(frozen=True)
class Fragments:
    """The pixels that show the mesh, one row each.

    Attributes:
        pixel: Index into the flattened picture, shape (n,).
        face: Which triangle is seen, shape (n,).
        weights: Weights of the triangle's three corners there, shape (n, 3).
        depth: Value of the depth that decided, shape (n,).
    """

    pixel: np.ndarray
    face: np.ndarray
    weights: np.ndarray
    depth: np.ndarray

    def interpolate(self, faces: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Interpolate values given at corners.

        Args:
            faces: Shape (m, 3), indices into values.
            values: Shape (v, k).

        Returns:
            Shape (n, k).
        """
        corners = faces[self.face]
        result = self.weights[:, 0:1] * values[corners[:, 0]]
        result += self.weights[:, 1:2] * values[corners[:, 1]]
        result += self.weights[:, 2:3] * values[corners[:, 2]]
        return result


def rasterise(
    corners_px: np.ndarray, depth: np.ndarray, faces: np.ndarray, width: int, height: int,
    *, perspective: bool = True, cull: bool = True,
) -> Fragments:
    """Find the nearest triangle at the centre of every pixel.

    Args:
        corners_px: Shape (v, 2), vertices in the picture [px].
        depth: Shape (v,), distance along the view axis, positive in front of the camera.
        faces: Shape (m, 3), counter-clockwise seen from outside.
        width: Picture width [px].
        height: Picture height [px].
        perspective: Whether weights are corrected for perspective.
        cull: Whether to leave out triangles that face away.

    Returns:
        The fragments, in the order of their pixels.
    """
    corners_px = corners_px.astype(np.float32)
    depth = depth.astype(np.float32)
    triangles = corners_px[faces]
    edge1 = triangles[:, 1] - triangles[:, 0]
    edge2 = triangles[:, 2] - triangles[:, 0]
    area = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    size = np.array([width, height])
    low = np.clip(np.ceil(triangles.min(axis=1) - 0.5), 0, size).astype(np.int32)
    high = np.clip(np.floor(triangles.max(axis=1) + 0.5), 0, size).astype(np.int32)
    extent = np.maximum(high - low, 0)
    # y points down, so what is counter-clockwise in space has negative area in the picture.
    seen = (extent.prod(axis=1) > 0) & (area < 0 if cull else area != 0)
    seen &= depth[faces].min(axis=1) > 0.0
    face, pixel_x, pixel_y = _candidates(np.flatnonzero(seen), low, extent)

    weight1, weight2 = _barycentric(face, pixel_x, pixel_y, triangles[:, 0], edge1, edge2, area)
    inside = (weight1 >= 0) & (weight2 >= 0) & (weight1 + weight2 <= 1)
    face, weight1, weight2 = face[inside], weight1[inside], weight2[inside]
    pixel = pixel_y[inside] * width + pixel_x[inside]
    weights = np.stack([1 - weight1 - weight2, weight1, weight2], axis=1)
    if perspective:
        weights /= depth[faces[face]]
        inverse = weights.sum(axis=1, keepdims=True)
        weights /= inverse
        distance = 1.0 / inverse[:, 0]
    else:
        distance = (weights * depth[faces[face]]).sum(axis=1)

    nearest = np.full(width * height, np.inf, dtype=np.float32)
    np.minimum.at(nearest, pixel, distance)
    winner = np.full(width * height, -1, dtype=np.int64)
    wins = np.flatnonzero(distance == nearest[pixel])
    winner[pixel[wins]] = wins
    seen_by = winner[winner >= 0]
    return Fragments(pixel[seen_by], face[seen_by], weights[seen_by], distance[seen_by])


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Smooth outward normals, by area-weighted mean of the faces around each vertex.

    Args:
        vertices: Shape (v, 3).
        faces: Shape (m, 3), counter-clockwise seen from outside.

    Returns:
        Unit vectors, shape (v, 3).
    """
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.empty_like(vertices)
    for axis in range(3):
        total[:, axis] = np.bincount(
            faces.ravel(), np.repeat(normal[:, axis], 3), minlength=len(vertices))
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)


def _candidates(
    faces: np.ndarray, low: np.ndarray, extent: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List every pixel in the bounding box of every face: face, x, y of each."""
    count = extent[faces].prod(axis=1)
    face = np.repeat(faces, count).astype(np.int32)
    start = np.cumsum(count) - count
    offset = (np.arange(len(face)) - np.repeat(start, count)).astype(np.int32)
    box_width = extent[face, 0]
    return face, low[face, 0] + offset % box_width, low[face, 1] + offset // box_width


def _barycentric(
    face: np.ndarray, pixel_x: np.ndarray, pixel_y: np.ndarray, origin: np.ndarray,
    edge1: np.ndarray, edge2: np.ndarray, area: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the second and third corner at the centres of the pixels."""
    inverse = np.float32(1.0) / np.where(area == 0, np.float32(1.0), area)
    to_weight1 = np.stack([edge2[:, 1], -edge2[:, 0]], axis=1) * inverse[:, None]
    to_weight2 = np.stack([-edge1[:, 1], edge1[:, 0]], axis=1) * inverse[:, None]
    dx = pixel_x.astype(np.float32) + np.float32(0.5) - origin[face, 0]
    dy = pixel_y.astype(np.float32) + np.float32(0.5) - origin[face, 1]
    return (to_weight1[face, 0] * dx + to_weight1[face, 1] * dy,
            to_weight2[face, 0] * dx + to_weight2[face, 1] * dy)
