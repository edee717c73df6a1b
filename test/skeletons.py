"""A hand of straight bones bent by known angles: what formulas and policies are tested on.

It is built without the formulas under test. Points are in the optical frame: x right, y down,
z away from the camera. Unless turned, the hand shows its palm, fingers up.
"""

import numpy as np

from hand_imitation.human.observation import HandObservation

FINGER_NAMES = ('index', 'middle', 'ring', 'little')
FLAT_THUMB = {'thumb_elevation': 0.35, 'thumb_proximal_bend': 0.25}
_MCP_M = {'index': (0.026, -0.088), 'middle': (0.004, -0.092),
          'ring': (-0.016, -0.086), 'little': (-0.034, -0.076)}
_PHALANGES_M = (0.042, 0.026, 0.020)
_THUMB_BONES_M = (0.042, 0.032, 0.026)
_TOWARDS_CAMERA = np.array([0.0, 0.0, -1.0])


def hand(
    side: str = 'right', palm_seen: bool = True, clockwise: float = 0.0, spread: float = 0.0,
    thumb_elevation: float = 0.35, thumb_proximal_bend: float = 0.25, **bends: float,
) -> np.ndarray:
    """Make a hand.

    Args:
        side: 'left' or 'right'.
        palm_seen: The palm faces the camera; otherwise the back does.
        clockwise: Turned this much in the picture [rad].
        spread: Each finger points this much away from its neighbour [rad].
        thumb_elevation: Landmarks 1-2 out of the palm's plane, on the palm's side [rad].
        thumb_proximal_bend: Between 1-2 and 2-3 [rad].
        bends: Flexion [rad] by name, such as `index_proximal` or `thumb_distal`.

    Returns:
        Shape (21, 3) [m].
    """
    points = np.zeros((21, 3))
    lateral = _flat(np.subtract(_MCP_M['index'], _MCP_M['little']))
    lateral /= np.linalg.norm(lateral)
    for number, name in enumerate(FINGER_NAMES):
        first = 5 + 4 * number
        points[first] = _flat(_MCP_M[name])
        straight = turned(_unit(points[first]), _TOWARDS_CAMERA, spread * (number - 1.5))
        bend = bends.pop(f'{name}_proximal', 0.0)
        distal = bends.pop(f'{name}_distal', 0.0)
        for step, extra in enumerate((0.0, distal, 0.7 * distal)):
            bend += extra
            bone = _PHALANGES_M[step] * turned(straight, lateral, bend)
            points[first + step + 1] = points[first + step] + bone
    _add_thumb(points, thumb_elevation, thumb_proximal_bend, bends.pop('thumb_distal', 0.0))
    assert not bends, f'no such joints: {bends}'
    if side == 'left':
        points[:, 0] *= -1.0
    if not palm_seen:
        points = turned(points, np.array([0.0, 1.0, 0.0]), np.pi)
    return turned(points, np.array([0.0, 0.0, 1.0]), clockwise)


def fist(**options) -> np.ndarray:
    """A hand with all four fingers at 90 degrees in both joints."""
    joints = (f'{name}_{part}' for name in FINGER_NAMES for part in ('proximal', 'distal'))
    return hand(**dict.fromkeys(joints, np.pi / 2), **options)


def seen(
    points: np.ndarray, stamp_s: float = 0.0, side: str = 'right',
    forearm: tuple[float, float] | None = (0.0, -1.0), **options,
) -> HandObservation:
    """An observation of a hand, the forearm pointing up unless told otherwise."""
    return HandObservation(
        valid=True, stamp_s=stamp_s, image_points=320.0 + 1000.0 * points[:, :2],
        world_points=points, side=side, score=0.9,  # type: ignore[arg-type]
        forearm_direction=None if forearm is None else np.array(forearm), **options)


def turned(vectors: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    """Vectors, shape (..., 3), turned about a unit axis (Rodrigues' formula)."""
    along = (vectors @ axis)[..., None] * axis
    return (along + np.cos(angle) * (vectors - along)
            + np.sin(angle) * np.cross(np.broadcast_to(axis, vectors.shape), vectors))


def random_rotation(generator: np.random.Generator) -> np.ndarray:
    """A rotation matrix, every orientation equally likely."""
    matrix, triangle = np.linalg.qr(generator.normal(size=(3, 3)))
    matrix *= np.sign(np.diag(triangle))
    return matrix * np.sign(np.linalg.det(matrix))


def _add_thumb(points: np.ndarray, elevation: float, bend: float, distal: float) -> None:
    outwards = np.array([np.sin(0.8), -np.cos(0.8), 0.0])
    hinge = np.cross(outwards, _TOWARDS_CAMERA)
    points[1] = (0.02, -0.02, 0.0)
    angle = elevation
    for step, extra in enumerate((0.0, bend, distal)):
        angle += extra
        bone = np.cos(angle) * outwards + np.sin(angle) * _TOWARDS_CAMERA
        points[step + 2] = points[step + 1] + _THUMB_BONES_M[step] * bone
    # Elevations are angles from the palm's plane, so the hinge must lie in it.
    assert abs(hinge[2]) < 1e-12


def _flat(point) -> np.ndarray:
    return np.array([point[0], point[1], 0.0])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
