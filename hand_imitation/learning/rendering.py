"""Fast pictures of a posed person: about 5 ms where `human.synthetic_render` takes 40."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import warp as wp

from hand_imitation.human.angles import Side
from hand_imitation.human.synthetic_mesh import unit
from hand_imitation.learning import raster_kernels as kernels
from hand_imitation.learning.people import Model

_FAR_M = 1e9
_NEAR_M = 0.05
_SHADOW_MAP_PX = 160
_SHADOW_BIAS_M = 0.004
_SCATTER_M = (0.0022, 0.0010, 0.0006)
"""How far red, green and blue light travels under the skin."""
_DEVICE = 'cpu'


@dataclass(frozen=True)
class Crop:
    """A square window on what a pinhole camera sees.

    Attributes:
        centre: Its middle, x/z and y/z in the optical frame, shape (2,).
        width: Its side, in x/z.
        size_px: Its side [px].
    """

    centre: np.ndarray
    width: float
    size_px: int

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points, shape (n, 3) [m], to pixels of the crop, shape (n, 2)."""
        # What lies in the camera's own plane is nowhere in the picture.
        with np.errstate(divide='ignore', invalid='ignore'):
            on_plane = points[:, :2] / points[:, 2:3]
        return (on_plane - self.centre) * (self.size_px / self.width) + self.size_px / 2.0


@dataclass(frozen=True)
class Light:
    """Two lamps and the light of the room, linear RGB.

    Attributes:
        towards_key: Direction from the hand to the lamp that casts shadows, optical frame.
        key: Its colour and strength.
        towards_fill: Direction to a large soft light, such as a window or wall.
        fill: Its colour and strength.
        above: Light from the ceiling.
        below: Light from the floor.
        wrap: How far light creeps round the edge of the shade.
        softness_m: Radius over which a shadow's edge is blurred [m].
        highlight_power: How sharp highlights are.
        crevice: How dark it is where little of the room is seen.
    """

    towards_key: np.ndarray
    key: np.ndarray
    towards_fill: np.ndarray
    fill: np.ndarray
    above: np.ndarray
    below: np.ndarray
    wrap: float = 0.15
    softness_m: float = 0.0035
    highlight_power: float = 24.0
    crevice: float = 1.6


@dataclass(frozen=True)
class Mesh:
    """Skin in the optical frame, as the kernels take it."""

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray


def pose_skin(model: Model, rotations: np.ndarray, offsets: np.ndarray, side: Side) -> Mesh:
    """Move a person's skin with the bones.

    Args:
        model: The person.
        rotations: From `Model.hold`, shape (17, 3, 3).
        offsets: From `Model.hold`, shape (17, 3) [m].
        side: Which hand.

    Returns:
        The skin, with normals.
    """
    count = len(model.body.vertices)
    vertices = np.empty((count, 3), dtype=np.float32)
    normals = np.zeros((count, 3), dtype=np.float32)
    faces = model.body.faces if side == 'right' else model.body.faces[:, ::-1]
    faces = np.ascontiguousarray(faces, dtype=np.int32)
    moved = _array(vertices, wp.vec3)
    wp.launch(kernels.skin, dim=count, device=_DEVICE, inputs=[
        _array(model.body.vertices, wp.vec3), _array(model.bone_indices, wp.int32),
        _array(model.bone_weights, wp.float32), _array(rotations, wp.mat33),
        _array(offsets, wp.vec3), -1.0 if side == 'left' else 1.0, moved])
    wp.launch(kernels.add_face_normals, dim=1, device=_DEVICE,
              inputs=[moved, _array(faces, wp.vec3i), _array(normals, wp.vec3)])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    return Mesh(vertices, normals, faces)


def draw(mesh: Mesh, model: Model, crop: Crop, light: Light, samples: int = 2) -> np.ndarray:
    """Draw a person before nothing.

    Args:
        mesh: From `pose_skin`.
        model: Whose skin it is.
        crop: What of it is seen.
        light: The light.
        samples: Samples per pixel along each axis.

    Returns:
        Linear RGB times coverage, and coverage, float32, shape (size, size, 4).
    """
    side = crop.size_px * samples
    corners = np.concatenate(
        [crop.project(mesh.vertices) * samples, mesh.vertices[:, 2:]], axis=1)
    depth, face, weights = _visible(corners, mesh.faces, side, both_sides=False)
    covered = face >= 0
    if not covered.any():
        return np.zeros((crop.size_px, crop.size_px, 4), dtype=np.float32)
    metre_px = side / crop.width / float(np.median(depth[covered]))
    openness = _openness(depth, covered, side, samples, metre_px, light.crevice)
    irradiance, albedo, highlight = _shade(mesh, model, light, face, weights, openness)
    lit = _scatter(irradiance.reshape(side, side, 3), covered.reshape(side, side), metre_px)
    layer = np.empty((side, side, 4), dtype=np.float32)
    layer[..., :3] = lit * albedo.reshape(side, side, 3) + highlight.reshape(side, side, 3)
    layer[..., 3] = covered.reshape(side, side)
    return cv2.resize(layer, (crop.size_px, crop.size_px), interpolation=cv2.INTER_AREA)


def _array(values: np.ndarray, dtype: type) -> wp.array:
    """Hand an array to the kernels, without a copy where it has their layout."""
    kind = np.int32 if dtype in (wp.int32, wp.vec3i) else np.float32
    return wp.array(np.ascontiguousarray(values, dtype=kind), dtype=dtype, device=_DEVICE,
                    copy=False)


def _visible(
    corners: np.ndarray, faces: np.ndarray, side: int, both_sides: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth, face (-1 where there is none) and weights of the nearest triangle, by pixel."""
    depth = np.full(side * side, _FAR_M, dtype=np.float32)
    face = np.full(side * side, -1, dtype=np.int32)
    weights = np.zeros((side * side, 2), dtype=np.float32)
    wp.launch(kernels.draw, dim=1, device=_DEVICE, inputs=[
        _array(corners, wp.vec3), _array(faces, wp.vec3i), side, side, int(both_sides),
        -_FAR_M if both_sides else _NEAR_M, _array(depth, wp.float32),
        _array(face, wp.int32), _array(weights, wp.vec2)])
    return depth, face, weights


def _shade(
    mesh: Mesh, model: Model, light: Light, face: np.ndarray, weights: np.ndarray,
    openness: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light received, skin colour and highlight of each pixel, shape (n, 3) each."""
    towards = unit(np.asarray(light.towards_key, dtype=np.float32))
    lamps = kernels.Lamps()
    lamps.towards_key, lamps.key = wp.vec3(*towards), wp.vec3(*light.key)
    lamps.towards_fill, lamps.fill = wp.vec3(*unit(light.towards_fill)), wp.vec3(*light.fill)
    lamps.above, lamps.below = wp.vec3(*light.above), wp.vec3(*light.below)
    lamps.wrap, lamps.highlight_power = light.wrap, light.highlight_power
    shadow, nearest = _shadow_map(mesh, towards, light.softness_m)
    irradiance, albedo, highlight = (
        np.zeros((len(face), 3), dtype=np.float32) for _ in range(3))
    wp.launch(kernels.shade, dim=len(face), device=_DEVICE, inputs=[
        _array(mesh.faces, wp.vec3i), _array(mesh.vertices, wp.vec3),
        _array(mesh.normals, wp.vec3), _array(model.colours, wp.vec3),
        _array(model.gloss, wp.float32), _array(face, wp.int32), _array(weights, wp.vec2),
        _array(openness, wp.float32), lamps, shadow, _array(nearest, wp.float32),
        _array(irradiance, wp.vec3), _array(albedo, wp.vec3), _array(highlight, wp.vec3)])
    return irradiance, albedo, highlight


def _shadow_map(
    mesh: Mesh, towards: np.ndarray, softness_m: float,
) -> tuple[kernels.ShadowMap, np.ndarray]:
    """Look at the mesh from the lamp."""
    helper = np.array([0.0, 1.0, 0.0] if abs(towards[1]) < 0.9 else [1.0, 0.0, 0.0])
    right = unit(np.cross(towards, helper)).astype(np.float32)
    down = np.cross(towards, right).astype(np.float32)
    flat = mesh.vertices @ np.stack([right, down], axis=1)
    low = flat.min(axis=0) - 0.01
    scale = float((_SHADOW_MAP_PX - 1) / (flat.max(axis=0) + 0.01 - low).max())
    distance = -(mesh.vertices @ towards)
    corners = np.concatenate([(flat - low) * scale, distance[:, None]], axis=1)
    nearest, _, _ = _visible(corners, mesh.faces, _SHADOW_MAP_PX, both_sides=True)
    shadow = kernels.ShadowMap()
    shadow.right, shadow.down = wp.vec3(*right), wp.vec3(*down)
    shadow.low_right, shadow.low_down = float(low[0]), float(low[1])
    shadow.scale, shadow.size = scale, _SHADOW_MAP_PX
    shadow.bias, shadow.softness = _SHADOW_BIAS_M, softness_m
    return shadow, nearest


def _openness(
    depth: np.ndarray, covered: np.ndarray, side: int, samples: int, metre_px: float,
    crevice: float,
) -> np.ndarray:
    """How open to the room each point is: skin lying deeper than its surroundings is not."""
    small = side // samples
    mask = covered.reshape(side, side).astype(np.float32)
    plane = np.stack([np.where(mask > 0, depth.reshape(side, side), 0.0), mask], axis=2)
    plane = cv2.resize(plane, (small, small), interpolation=cv2.INTER_AREA)
    own = plane[..., 0] / np.maximum(plane[..., 1], 1e-6)
    closed = np.zeros((small, small), dtype=np.float32)
    for radius_m, strength in ((0.004, 0.5), (0.012, 0.6)):
        around = cv2.GaussianBlur(plane, (0, 0), max(radius_m * metre_px / samples, 0.4))
        behind = own - around[..., 0] / np.maximum(around[..., 1], 1e-6)
        closed += strength * np.clip(behind / radius_m, 0.0, 1.5)
    openness = cv2.resize(np.exp(-crevice * closed), (side, side))
    return openness.ravel()


def _scatter(irradiance: np.ndarray, covered: np.ndarray, metre_px: float) -> np.ndarray:
    """Let light travel a little under the skin, red the farthest."""
    mask = covered.astype(np.float32)
    result = np.empty_like(irradiance)
    for channel, distance_m in enumerate(_SCATTER_M):
        sigma = max(distance_m * metre_px, 0.3)
        plane = cv2.merge([np.ascontiguousarray(irradiance[..., channel]), mask])
        blurred = cv2.GaussianBlur(plane, (0, 0), sigma)
        result[..., channel] = blurred[..., 0] / np.maximum(blurred[..., 1], 1e-3)
    return result
