"""Who is in the picture: proportions bone by bone, girth, skin, nails, sleeve, jewellery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hand_imitation.human.angles import HAND_JOINTS, WRIST, Side, finger_angles
from hand_imitation.human.synthetic import Person, Pose
from hand_imitation.human.synthetic_mesh import (
    BONES,
    CHAINS,
    ELBOW,
    Body,
    load_body,
    reshape,
    smoothstep,
    unit,
)
from hand_imitation.human.synthetic_raster import vertex_normals
from hand_imitation.human.synthetic_skin import DARK_SKIN, LIGHT_SKIN, SkinTone, skin_colours

SUBDIVISIONS = 1
"""Of anny's mesh: vertices 2 to 3 mm apart, about a pixel of a picture of 128."""

_BONES_A_VERTEX = 4
_SOLVER_ROUNDS = 2
"""Labels are computed from the joints, so angles need not be exactly the ones asked for."""

_SPREAD_OF_LENGTH = {'all_fingers': 0.055, 'finger': 0.030, 'bone': 0.025, 'palm': 0.05,
                     'forearm': 0.10}
_SPREAD_OF_GIRTH = {'all_fingers': 0.10, 'finger': 0.035, 'bone': 0.03, 'palm': 0.055,
                    'forearm': 0.11}
"""Standard deviations of factors. Hand surveys give 5% for lengths at given hand length."""


@dataclass(frozen=True)
class Traits:
    """What makes a person.

    Attributes:
        phenotype: For `load_body`.
        length: Factor on each bone's length, by bone.
        girth: Factor on each bone's thickness, by bone.
        tone: Skin and nails.
        flush: How much blood shows, 1 on average.
        gloss: How much skin shines, 1 on average.
        sleeve_at: Where the sleeve begins, share of the way from wrist to elbow; 1 is bare.
        sleeve: Its colour, linear RGB.
        sleeve_m: How far it stands off the skin [m].
        band: Colour of a watch or bracelet, linear RGB, or None.
        ring: Finger that wears a ring, or None.
        seed: For the skin's pattern.
    """

    phenotype: Mapping[str, float]
    length: Mapping[str, float]
    girth: Mapping[str, float]
    tone: SkinTone
    flush: float
    gloss: float
    sleeve_at: float
    sleeve: tuple[float, float, float]
    sleeve_m: float
    band: tuple[float, float, float] | None
    ring: str | None
    seed: int


@dataclass(frozen=True)
class Arm:
    """How the arm is held.

    Attributes:
        rotation: Turns the upright right arm, palm to the camera, shape (3, 3).
        wrist_lean_rad: Hand against forearm in the palm's plane, positive towards the thumb.
        wrist_flexion_rad: Hand against forearm, positive towards the palm.
        centre_m: Where the middle of the hand is, optical frame, shape (3,).
    """

    rotation: np.ndarray
    wrist_lean_rad: float
    wrist_flexion_rad: float
    centre_m: np.ndarray


def draw_traits(random: np.random.Generator) -> Traits:
    """Draw a person.

    Args:
        random: The person's own generator.

    Returns:
        Somebody.
    """
    phenotype = {'gender': random.uniform(0.0, 1.0), 'weight': random.uniform(0.25, 0.8),
                 'muscle': random.uniform(0.25, 0.75), 'age': random.uniform(0.55, 0.85)}
    clothed = random.random() < 0.25
    grey = random.uniform(0.01, 0.7)
    return Traits(
        phenotype=phenotype,
        length=_factors(random, _SPREAD_OF_LENGTH),
        girth=_factors(random, _SPREAD_OF_GIRTH),
        tone=_draw_tone(random),
        flush=float(random.uniform(0.4, 1.5)),
        gloss=float(random.uniform(0.3, 1.6)),
        sleeve_at=float(random.uniform(0.05, 0.6)) if clothed else 1.0,
        sleeve=_colour(np.clip(grey * random.uniform(0.5, 1.5, 3), 0.01, 0.9)),
        sleeve_m=float(random.uniform(0.003, 0.010)),
        band=_colour(random.uniform(0.01, 0.5) * random.uniform(0.7, 1.3, 3))
        if random.random() < 0.10 else None,
        ring=str(random.choice(['index', 'middle', 'ring', 'little']))
        if random.random() < 0.10 else None,
        seed=int(random.integers(8)),
    )


class Model(Person):
    """A person who can be posed fast and in any view."""

    def __init__(self, traits: Traits) -> None:
        """Shape and paint the body.

        Args:
            traits: Who it is.

        Raises:
            UserError: When anny is not installed.
        """
        body = reshape(load_body(traits.phenotype, SUBDIVISIONS), traits.length, traits.girth)
        super().__init__(_dress(body, traits))
        self.colours, self.gloss = _paint(body, traits)
        order = np.argsort(-body.weights, axis=1)[:, :_BONES_A_VERTEX]
        kept = np.take_along_axis(body.weights, order, axis=1)
        self.bone_indices = np.ascontiguousarray(order, dtype=np.int32)
        self.bone_weights = np.ascontiguousarray(
            kept / kept.sum(axis=1, keepdims=True), dtype=np.float32)

    def fingers(self, pose: Pose) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Pose the hand alone, in its rest frame.

        Args:
            pose: What the hand does.

        Returns:
            Joint centres, shape (22, 3), and each bone's rotation and offset.
        """
        wanted = np.array([pose.angles.get(name, 0.0) for name in HAND_JOINTS])
        turns = wanted.copy()
        joints, transforms = self._move(turns, pose)
        for _ in range(_SOLVER_ROUNDS - 1):
            # The thumb's turns are exact as they are.
            turns[2:] += (wanted - finger_angles(joints[:21], 'right'))[2:]
            joints, transforms = self._move(turns, pose)
        return joints, transforms

    def rough(
        self, pose: Pose, chains: Sequence[str] = tuple(CHAINS),
    ) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """As `fingers`, with the rig's own angles: faster, a few degrees from those asked.

        Args:
            pose: What the hand does.
            chains: The fingers that matter; the others stay at rest.

        Returns:
            As `fingers`.
        """
        turns = np.array([pose.angles.get(name, 0.0) for name in HAND_JOINTS])
        return self._move(turns, pose, chains)

    def hold(
        self, joints: np.ndarray, transforms: Mapping[str, tuple[np.ndarray, np.ndarray]],
        arm: Arm, side: Side,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Put a posed hand before the camera.

        Args:
            joints: From `fingers`.
            transforms: From `fingers`.
            arm: How the arm is held.
            side: Which hand.

        Returns:
            Joint centres in the optical frame, shape (22, 3) [m], and each bone's rotation,
            (17, 3, 3), and offset, (17, 3), in the order of `BONES`, for a right hand: the
            renderer mirrors its vertices as the joints here have been.
        """
        wrist = joints[WRIST]
        bend = _about_z(arm.wrist_lean_rad) @ _about_x(arm.wrist_flexion_rad)
        hand = arm.rotation @ bend
        moved = (joints - wrist) @ hand.T
        moved[ELBOW] = arm.rotation @ (joints[ELBOW] - wrist)
        mirror = np.array([-1.0 if side == 'left' else 1.0, 1.0, 1.0])
        shift = arm.centre_m * mirror - (moved[:21].min(axis=0) + moved[:21].max(axis=0)) / 2.0
        rotations, offsets = [], []
        for bone in BONES:
            turn = arm.rotation if bone == 'forearm' else hand
            rotation, offset = transforms[bone]
            rotations.append(turn @ rotation)
            offsets.append(turn @ (offset - wrist) + shift)
        return (moved + shift) * mirror, np.array(rotations), np.array(offsets)


def _factors(random: np.random.Generator, spread: Mapping[str, float]) -> dict[str, float]:
    """Draw a factor for each bone."""
    def factor(name: str) -> float:
        return float(np.exp(np.clip(random.normal(), -2.5, 2.5) * spread[name]))

    everyone = factor('all_fingers')
    factors = {'palm': factor('palm'), 'forearm': factor('forearm')}
    for chain in CHAINS:
        own = everyone * factor('finger')
        factors.update({f'{chain}{i}': own * factor('bone') for i in (1, 2, 3)})
    return factors


def _draw_tone(random: np.random.Generator) -> SkinTone:
    """Draw a skin between light and dark, and nails, sometimes varnished."""
    # More light to medium than dark, as in a mixed crowd; a little beyond both ends.
    share = random.beta(1.0, 2.4) * 1.15 - 0.12
    hue = np.array([1.0, np.exp(random.normal(0.08, 0.09)), np.exp(random.normal(0.02, 0.14))])
    strength = np.exp(random.normal(0.0, 0.15))

    def mix(light: tuple[float, ...], dark: tuple[float, ...]) -> tuple[float, float, float]:
        blended = np.exp((1.0 - share) * np.log(light) + share * np.log(dark))
        return _colour(np.clip(blended * hue * strength, 0.01, 0.85))

    pale = random.uniform(0.0, 0.8)
    nail = _colour((1.0 - pale) * np.array(mix(LIGHT_SKIN.back, DARK_SKIN.back))
                   + pale * np.array(mix(LIGHT_SKIN.nail, DARK_SKIN.nail)))
    if random.random() < 0.12:
        nail = _colour(random.uniform(0.01, 0.6) * np.array(
            [1.0, random.uniform(0.05, 0.9), random.uniform(0.05, 0.9)]))
    # Seen in the same light, palms are lighter than backs, in some people hardly.
    paler = random.uniform(0.0, 1.0)
    back = np.array(mix(LIGHT_SKIN.back, DARK_SKIN.back))
    palm = np.array(mix(LIGHT_SKIN.palm, DARK_SKIN.palm))
    return SkinTone(_colour(back), _colour(back + paler * (palm - back)),
                    mix(LIGHT_SKIN.flush, DARK_SKIN.flush), nail)


@lru_cache(maxsize=8)
def _shares(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares of back, palm and flush in each vertex's colour, (v, 3), and of nail, (v,).

    Colours are linear in the tone's, so painting an average body in unit colours gives them.
    """
    shares, gloss = skin_colours(load_body(None, SUBDIVISIONS), SkinTone(
        (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)), seed)
    return shares, (gloss - 0.25) / 0.5


def _paint(body: Body, traits: Traits) -> tuple[np.ndarray, np.ndarray]:
    """Colour, linear RGB, and gloss of each vertex."""
    tone = traits.tone
    back, palm, nail = np.array(tone.back), np.array(tone.palm), np.array(tone.nail)
    flush = back + traits.flush * (np.array(tone.flush) - back)
    shares, on_nail = _shares(traits.seed)
    colours = shares @ np.stack([back, palm, flush]) + on_nail[:, None] * nail
    gloss = (0.25 + 0.5 * on_nail) * traits.gloss
    up_arm = _up_the_arm(body)
    if traits.band is not None:
        on_band = (body.weights[:, 0] > 0.5) & (np.abs(up_arm - 0.10) < 0.03)
        colours[on_band], gloss[on_band] = traits.band, 0.8
    if traits.ring is not None:
        chain = CHAINS[traits.ring]
        head, end = body.joints[chain[0]], body.joints[chain[1]]
        along = (body.vertices - head) @ unit(end - head) / np.linalg.norm(end - head)
        on_ring = (body.weights[:, BONES.index(f'{traits.ring}1')] > 0.5) & (
            np.abs(along - 0.55) < 0.06)
        colours[on_ring], gloss[on_ring] = (0.6, 0.5, 0.3), 1.0
    clothed = smoothstep(traits.sleeve_at, traits.sleeve_at + 0.01, up_arm)[:, None]
    folds = 1.0 + 0.25 * np.sin(up_arm * 90.0 + 3.0 * body.vertices[:, 0] * 60.0)[:, None]
    cloth = np.array(traits.sleeve) * folds
    colours = colours + clothed * (cloth - colours)
    return (np.clip(colours, 0.0, 1.0).astype(np.float32),
            (gloss * (1.0 - clothed[:, 0])).astype(np.float32))


def _dress(body: Body, traits: Traits) -> Body:
    """Let the sleeve stand off the arm."""
    up_arm = _up_the_arm(body)
    off = smoothstep(traits.sleeve_at, traits.sleeve_at + 0.02, up_arm)
    ripple = 1.0 + 0.35 * np.sin(up_arm * 55.0 + body.vertices[:, 0] * 80.0)
    normals = vertex_normals(body.vertices, body.faces)
    shifted = body.vertices + normals * (traits.sleeve_m * off * ripple)[:, None]
    return Body(shifted, body.faces, body.weights, body.joints)


def _up_the_arm(body: Body) -> np.ndarray:
    """How far each vertex is from the wrist, 0, to the elbow, 1."""
    arm = body.joints[ELBOW] - body.joints[WRIST]
    return (body.vertices - body.joints[WRIST]) @ arm / (arm @ arm)


def _about_x(angle_rad: float) -> np.ndarray:
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _about_z(angle_rad: float) -> np.ndarray:
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _colour(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
