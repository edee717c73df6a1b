"""Skin of the synthetic person: a colour and a gloss for each vertex of the body at rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hand_imitation.human.angles import FINGERS
from hand_imitation.human.synthetic_mesh import BONES, CHAINS, Body, smoothstep, unit
from hand_imitation.human.synthetic_raster import vertex_normals


@dataclass(frozen=True)
class SkinTone:
    """Colours of a person's skin, linear RGB from 0 to 1.

    Attributes:
        back: Back of the hand and forearm.
        palm: Palm and the inner side of the fingers.
        flush: What blood shows through at finger tips, knuckles and creases.
        nail: Nails.
    """

    back: tuple[float, float, float]
    palm: tuple[float, float, float]
    flush: tuple[float, float, float]
    nail: tuple[float, float, float]


LIGHT_SKIN = SkinTone((0.56, 0.32, 0.21), (0.66, 0.37, 0.26), (0.58, 0.20, 0.14),
                      (0.70, 0.42, 0.34))
DARK_SKIN = SkinTone((0.15, 0.073, 0.042), (0.36, 0.185, 0.115), (0.20, 0.075, 0.045),
                     (0.40, 0.22, 0.16))

# Creases of the palm: points (towards the thumb, towards the fingers) [m] in the rest frame.
_PALM_CREASES_M = (
    ((0.029, 0.080), (0.014, 0.070), (0.004, 0.052), (0.003, 0.032), (0.008, 0.016)),
    ((0.029, 0.081), (0.012, 0.074), (-0.008, 0.066), (-0.026, 0.056)),
    ((0.012, 0.104), (0.002, 0.090), (-0.012, 0.083), (-0.028, 0.078), (-0.043, 0.078)),
    ((0.028, 0.012), (0.014, 0.006), (-0.004, 0.006), (-0.026, 0.012)),
)


def skin_colours(body: Body, tone: SkinTone, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Paint a body.

    Args:
        body: The body at rest.
        tone: The person's colours.
        seed: For the fine mottling of the skin.

    Returns:
        Linear RGB, shape (v, 3), and gloss from 0 to 1, shape (v,).
    """
    normals = vertex_normals(body.vertices, body.faces)
    palmar = smoothstep(-0.25, 0.45, _palmwards(body, normals))
    palmar *= smoothstep(0.03, -0.02, body.vertices[:, 1])
    nail = _nails(body, normals)
    flush = _flush(body, palmar)
    crease = _creases(body, palmar)
    mottling = _mottling(body.vertices, seed)

    colour = _mix(np.array(tone.back)[None], np.array(tone.palm), palmar)
    colour = _mix(colour, np.array(tone.flush), np.clip(0.5 * flush + 0.10 * mottling, 0.0, 1.0))
    colour = colour * (1.0 + 0.05 * mottling)[:, None]
    colour = _mix(colour, np.array(tone.flush) * 0.55, 0.62 * crease)
    colour = _mix(colour, np.array(tone.nail), nail)
    return np.clip(colour, 0.0, 1.0), 0.25 + 0.5 * nail


def _palmwards(body: Body, normals: np.ndarray) -> np.ndarray:
    """How much each vertex looks the way the inner side of its bone looks, -1 to 1."""
    inner = np.zeros_like(normals)
    for column, bone in enumerate(BONES):
        direction = np.array([-0.75, -0.2, -0.65] if bone.startswith('thumb') else [0, 0, -1.0])
        inner += body.weights[:, column:column + 1] * direction
    return np.einsum('vi,vi->v', normals, unit(inner))


def _flush(body: Body, palmar: np.ndarray) -> np.ndarray:
    """Redness: finger tips and the heels of the hand inside, knuckles outside."""
    redness = np.zeros(len(body.vertices))
    for name, chain in CHAINS.items():
        size = 0.012 if name == 'thumb' else 0.010
        redness += 0.9 * _near(body, body.joints[chain[3]], size)
        for landmark in chain[0 if name != 'thumb' else 1:3]:
            redness += 0.6 * (1.0 - palmar) * _near(body, body.joints[landmark], size)
    for spot in ((0.026, -0.034, -0.02), (-0.03, -0.035, -0.015), (-0.012, -0.088, -0.01)):
        redness += 0.45 * palmar * _near(body, np.array(spot), 0.016)
    return np.clip(redness, 0.0, 1.0)


def _creases(body: Body, palmar: np.ndarray) -> np.ndarray:
    """Folds of the skin inside the fingers and across the palm, 0 to 1."""
    depth = np.zeros(len(body.vertices))
    for name, chain in CHAINS.items():
        for i in (1, 2):
            bone = slice(BONES.index(f'{name}{i}'), BONES.index(f'{name}{i}') + 2)
            ours = smoothstep(0.5, 0.9, body.weights[:, bone].sum(axis=1))
            joint = body.joints[chain[i]]
            direction = unit(body.joints[chain[i + 1]] - body.joints[chain[i - 1]])
            along = (body.vertices - joint) @ direction
            depth = np.maximum(depth, ours * palmar * np.exp(-(along / 0.0011) ** 2))
        if name in FINGERS:
            base = body.joints[chain[0]]
            direction = unit(body.joints[chain[1]] - base)
            along = (body.vertices - base) @ direction - 0.011
            ours = smoothstep(0.6, 0.9, body.weights[:, BONES.index(f'{name}1')])
            depth = np.maximum(depth, 0.8 * ours * palmar * np.exp(-(along / 0.0012) ** 2))
    palm = body.weights[:, BONES.index('palm')] + body.weights[:, BONES.index('thumb1')]
    for line in _PALM_CREASES_M:
        points = np.array(line) * [1.0, -1.0]
        distance = _distance_to_line(body.vertices[:, :2], points)
        depth = np.maximum(depth, 0.5 * smoothstep(0.3, 0.7, palm) * smoothstep(0.5, 0.9, palmar)
                           * np.exp(-(distance / 0.0019) ** 2))
    return depth


def _nails(body: Body, normals: np.ndarray) -> np.ndarray:
    """Where the nails are, 0 to 1."""
    nails = np.zeros(len(body.vertices))
    for name, chain in CHAINS.items():
        tip, joint = body.joints[chain[3]], body.joints[chain[2]]
        direction = unit(tip - joint)
        outward = np.array([0.95, 0.25, 0.1]) if name == 'thumb' else np.array([0.0, 0.0, 1.0])
        outward = unit(outward - np.dot(outward, direction) * direction)
        offset = body.vertices - tip
        along = offset @ direction
        half_width = 0.0062 if name == 'thumb' else 0.0048 if name != 'little' else 0.004
        lateral = offset @ np.cross(direction, outward)
        on_back = smoothstep(0.45, 0.7, normals @ outward)
        inside = smoothstep(1.15, 0.85, ((along + 0.0015) / 0.0075) ** 4
                            + (lateral / half_width) ** 4)
        ours = body.weights[:, BONES.index(f'{name}3')] > 0.8
        nails = np.maximum(nails, ours * on_back * inside)
    return nails


def _mottling(points: np.ndarray, seed: int) -> np.ndarray:
    """Smooth random pattern of several sizes, about -1 to 1."""
    random = np.random.default_rng(seed)
    pattern = np.zeros(len(points))
    for wavelength_m, strength in ((0.06, 0.5), (0.02, 0.4), (0.007, 0.3)):
        for _ in range(12):
            wave = unit(random.normal(size=3)) * 2.0 * np.pi / wavelength_m
            pattern += strength / 4.0 * np.cos(points @ wave + random.uniform(0.0, 2.0 * np.pi))
    return pattern


def _near(body: Body, centre: np.ndarray, size: float) -> np.ndarray:
    """1 at a point, fading with distance."""
    return np.exp(-(((body.vertices - centre) / size) ** 2).sum(axis=1))


def _distance_to_line(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Distance of points to a smoothed line through a few points, in their plane."""
    t = np.linspace(0.0, len(line) - 1.0, 60)
    dense = np.stack([np.interp(t, np.arange(len(line)), column) for column in line.T], axis=1)
    kernel = np.ones(11) / 11.0
    padded = np.pad(dense, ((5, 5), (0, 0)), mode='edge')
    dense = np.stack([np.convolve(column, kernel, mode='valid') for column in padded.T], axis=1)
    distance = np.full(len(points), np.inf)
    for start, end in zip(dense[:-1], dense[1:], strict=True):
        step = end - start
        t_near = np.clip((points - start) @ step / max(step @ step, 1e-12), 0.0, 1.0)
        near = start + t_near[:, None] * step
        distance = np.minimum(distance, np.linalg.norm(points - near, axis=1))
    return distance


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Blend rows of two colours by a share from 0 to 1."""
    return first + share[:, None] * (second - first)
