"""Pictures of the synthetic person: light, shadow, skin that scatters, and a room behind."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hand_imitation.human.synthetic_mesh import smoothstep, unit
from hand_imitation.human.synthetic_raster import Camera, Fragments, rasterise, vertex_normals


@dataclass(frozen=True)
class Light:
    """One lamp and the light of the room, linear RGB.

    Attributes:
        towards_lamp: Direction from the hand to the lamp, optical frame, shape (3,).
        lamp: Colour and strength of the lamp.
        above: Light from the ceiling.
        below: Light from the floor.
    """

    towards_lamp: tuple[float, float, float]
    lamp: tuple[float, float, float]
    above: tuple[float, float, float]
    below: tuple[float, float, float]


DAYLIGHT = Light((0.45, -0.75, -0.75), (1.05, 1.0, 0.92), (0.34, 0.36, 0.40),
                 (0.20, 0.17, 0.15))
LAMPLIGHT = Light((-0.75, -0.55, -0.65), (1.65, 1.38, 1.05), (0.34, 0.30, 0.30),
                  (0.20, 0.18, 0.19))

_SHADOW_MAP_PX = 400
_SHADOW_BIAS_M = 0.0025
_SCATTER_M = (0.0022, 0.0010, 0.0006)
"""How far red, green and blue light travels under the skin."""


def render(
    vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray, gloss: np.ndarray,
    camera: Camera, light: Light, background: np.ndarray, *, samples: int = 2,
) -> np.ndarray:
    """Draw a person before a background.

    Args:
        vertices: Shape (v, 3), optical frame [m].
        faces: Shape (m, 3).
        colours: Skin, linear RGB, shape (v, 3).
        gloss: Shape (v,), 0 to 1.
        camera: The camera.
        light: The light.
        background: Linear RGB, shape (height, width, 3).
        samples: Samples per pixel along each axis.

    Returns:
        sRGB picture, uint8, shape (height, width, 3).
    """
    window = _Window.around(camera.project(vertices), camera, samples)
    picture = to_srgb(background)
    if window.empty:
        return picture
    corners = camera.project(vertices) * samples - [window.left, window.top]
    fragments = rasterise(corners, vertices[:, 2], faces, window.width, window.height)
    radiance = _shade(fragments, vertices, faces, colours, gloss, light, window)
    layer = np.zeros((window.height * window.width, 4), dtype=np.float32)
    layer[fragments.pixel, :3] = to_display(radiance)
    layer[fragments.pixel, 3] = 1.0
    rows = slice(window.top // samples, (window.top + window.height) // samples)
    columns = slice(window.left // samples, (window.left + window.width) // samples)
    shown = cv2.resize(layer.reshape(window.height, window.width, 4), None, fx=1.0 / samples,
                       fy=1.0 / samples, interpolation=cv2.INTER_AREA)
    behind = picture[rows, columns] * (1.0 - shown[:, :, 3:])
    picture[rows, columns] = shown[:, :, :3] * 255.0 + behind + 0.5
    return picture


def to_display(linear: np.ndarray) -> np.ndarray:
    """Map linear light to display values, rolling off softly before white."""
    soft = linear * (1.0 + linear / 4.0) / (1.0 + linear * 0.55)
    return np.clip(soft, 0.0, 1.0) ** np.float32(1.0 / 2.2)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Map linear light to an uint8 picture."""
    return (to_display(linear) * 255.0 + 0.5).astype(np.uint8)


def room(camera: Camera, seed: int, wall: tuple[float, float, float]) -> np.ndarray:
    """Draw a room out of focus: wall, window, shelf, things on it.

    Args:
        camera: For the picture's size.
        seed: What stands where.
        wall: Colour of the wall, linear RGB.

    Returns:
        Linear RGB, float32, shape (height, width, 3).
    """
    random = np.random.default_rng(seed)
    width, height = 320, max(round(320 * camera.height / camera.width), 1)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / width
    picture = np.array(wall, dtype=np.float32) * (1.1 - 0.5 * y - 0.25 * x)[:, :, None]
    shelf = int(height * random.uniform(0.60, 0.68))
    cv2.rectangle(picture, (0, shelf), (width, height), [0.5 * c for c in wall], -1)
    cv2.rectangle(picture, (0, shelf), (width, shelf + 6), (0.30, 0.20, 0.12), -1)
    left = int(random.uniform(0.02, 0.08) * width)
    pane = [min(2.1 * c + 0.16, 1.0) for c in wall]
    cv2.rectangle(picture, (left, 12), (left + 62, int(height * 0.46)), pane, -1)
    cv2.line(picture, (left + 31, 12), (left + 31, int(height * 0.46)), [0.8 * c for c in wall], 3)
    for side in (0.0, 0.70):
        edge = side * width + 6
        while edge < (side + 0.28) * width:
            thing_width, thing_height = random.integers(7, 20), random.integers(16, 52)
            grey = random.uniform(0.05, 0.35)
            colour = [float(c) for c in grey * random.uniform(0.6, 1.3, size=3)]
            cv2.rectangle(picture, (int(edge), shelf - int(thing_height)),
                          (int(edge + thing_width), shelf), colour, -1)
            edge += thing_width + random.integers(2, 16)
    picture = cv2.GaussianBlur(picture, (0, 0), 5.0)
    return cv2.resize(picture, (camera.width, camera.height), interpolation=cv2.INTER_CUBIC)


@dataclass(frozen=True)
class _Window:
    """The part of the supersampled picture that the person fills [samples]."""

    left: int
    top: int
    width: int
    height: int
    samples: int
    focal: float

    @classmethod
    def around(cls, corners_px: np.ndarray, camera: Camera, samples: int) -> _Window:
        """Fit a window, on whole pixels, around projected vertices."""
        size = np.array([camera.width, camera.height])
        low = np.clip(np.floor(corners_px.min(axis=0)) - 1, 0, size).astype(int)
        high = np.clip(np.ceil(corners_px.max(axis=0)) + 1, 0, size).astype(int)
        left, top = (int(value) * samples for value in low)
        width, height = (int(value) * samples for value in high - low)
        return cls(left, top, width, height, samples, camera.focal_px * samples)

    @property
    def empty(self) -> bool:
        """Whether nobody is in the picture."""
        return self.width == 0 or self.height == 0


def _shade(
    fragments: Fragments, vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray,
    gloss: np.ndarray, light: Light, window: _Window,
) -> np.ndarray:
    """Light that each fragment sends to the camera, linear RGB, shape (n, 3)."""
    normals = vertex_normals(vertices, faces)
    values = np.hstack([vertices, normals, colours, gloss[:, None]]).astype(np.float32)
    point, normal, colour, shine = np.split(fragments.interpolate(faces, values), [3, 6, 9],
                                            axis=1)
    normal = unit(normal)
    lamp = unit(np.array(light.towards_lamp, dtype=np.float32))
    lamp_colour = np.array(light.lamp, dtype=np.float32)
    lit = _unshadowed(vertices, faces, point, lamp)
    # Light bends round skin a little: the edge of the shade is not at 90 degrees.
    direct = np.clip((normal @ lamp + 0.15) / 1.15, 0.0, 1.0) * lit
    up = 0.5 - 0.5 * normal[:, 1:2]
    room_light = (up * np.array(light.above, dtype=np.float32)
                  + (1.0 - up) * np.array(light.below, dtype=np.float32))
    irradiance = direct[:, None] * lamp_colour
    irradiance += _openness(fragments, window)[:, None] * room_light
    irradiance = _scatter(irradiance, fragments, window)
    half = unit(lamp - unit(point))
    highlight = np.clip((normal * half).sum(axis=1), 0.0, 1.0) ** 24 * lit
    return colour * irradiance + 0.16 * shine * highlight[:, None] * lamp_colour


def _unshadowed(vertices: np.ndarray, faces: np.ndarray, point: np.ndarray,
                lamp: np.ndarray) -> np.ndarray:
    """Share of the lamp seen from each point, by a shadow map with soft edges."""
    right = unit(np.cross(lamp, np.array([0.0, 1.0, 0.0], dtype=np.float32)))
    axes = np.stack([right, np.cross(lamp, right)]).astype(np.float32)
    flat = vertices.astype(np.float32) @ axes.T
    low = flat.min(axis=0) - 0.01
    scale = (_SHADOW_MAP_PX - 1) / (flat.max(axis=0) + 0.01 - low).max()
    distance = -(vertices @ lamp)
    offset = 1.0 - distance.min()
    seen = rasterise((flat - low) * scale, distance + offset, faces, _SHADOW_MAP_PX,
                     _SHADOW_MAP_PX, perspective=False, cull=False)
    nearest = np.full(_SHADOW_MAP_PX ** 2, np.inf, dtype=np.float32)
    nearest[seen.pixel] = seen.depth
    place = (point @ axes.T - low) * scale
    own = -(point @ lamp) + offset - _SHADOW_BIAS_M
    angles = np.arange(8) * 2.4
    radius = 0.0035 * scale * np.sqrt((np.arange(8) + 0.5) / 8)
    lit = np.zeros(len(point), dtype=np.float32)
    for dx, dy in zip(radius * np.cos(angles), radius * np.sin(angles), strict=True):
        column = np.clip(place[:, 0] + dx, 0, _SHADOW_MAP_PX - 1).astype(np.int32)
        row = np.clip(place[:, 1] + dy, 0, _SHADOW_MAP_PX - 1).astype(np.int32)
        # A blocker is in full shade only when clearly in front, else edges would speckle.
        behind = own - nearest[row * _SHADOW_MAP_PX + column]
        lit += 1.0 - smoothstep(0.0, 0.003, behind).astype(np.float32)
    return lit / 8.0


def _openness(fragments: Fragments, window: _Window) -> np.ndarray:
    """How open to the room each point is: skin lying deeper than its surroundings is not."""
    shape = window.height // window.samples, window.width // window.samples
    flat = np.zeros(window.height * window.width, dtype=np.float32)
    flat[fragments.pixel] = fragments.depth
    depth = flat.reshape(window.height, window.width)
    mask = (depth > 0).astype(np.float32)
    small_depth = cv2.resize(depth, shape[::-1], interpolation=cv2.INTER_AREA)
    small_mask = cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_AREA)
    metre_px = window.focal / window.samples / float(np.median(fragments.depth))
    own = small_depth / np.maximum(small_mask, 1e-6)
    closed = np.zeros(shape, dtype=np.float32)
    for radius_m, strength in ((0.004, 0.5), (0.012, 0.6)):
        sigma = radius_m * metre_px
        around = (cv2.GaussianBlur(small_depth, (0, 0), sigma)
                  / np.maximum(cv2.GaussianBlur(small_mask, (0, 0), sigma), 1e-6))
        closed += strength * np.clip((own - around) / radius_m, 0.0, 1.5)
    openness = cv2.resize(np.exp(-1.6 * closed), (window.width, window.height))
    return openness.ravel()[fragments.pixel]


def _scatter(irradiance: np.ndarray, fragments: Fragments, window: _Window) -> np.ndarray:
    """Let light travel a little under the skin, red the farthest."""
    metre_px = window.focal / float(np.median(fragments.depth))
    flat = np.zeros((window.height * window.width, 4), dtype=np.float32)
    flat[fragments.pixel, :3] = irradiance
    flat[fragments.pixel, 3] = 1.0
    plane = flat.reshape(window.height, window.width, 4)
    result = np.empty_like(irradiance, dtype=np.float32)
    for channel, distance_m in enumerate(_SCATTER_M):
        sigma = max(distance_m * metre_px, 0.3)
        blurred = cv2.GaussianBlur(plane[:, :, [channel, 3]], (0, 0), sigma)
        value, share = blurred.reshape(-1, 2)[fragments.pixel].T
        result[:, channel] = value / np.maximum(share, 1e-3)
    return result
