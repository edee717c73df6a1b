"""Pictures of arms for the environments: by the fast rasteriser, or by PyBullet's own renderer."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from hand_imitation.arm.bullet import pybullet
from hand_imitation.arm.kinematics import Kinematics
from hand_imitation.arm.simulation import SimulatedArm
from hand_imitation.errors import UserError
from hand_imitation.learning.arm_world import ArmWorld, PyBulletArms
from hand_imitation.learning.rasteriser import (
    BACKGROUND_RGB,
    CAMERA_DISTANCE_M,
    ArmCamera,
    ArmRasteriser,
)

RENDERERS = ('fast', 'pybullet', 'none')


class ArmPictures(Protocol):
    """Takes pictures of arms."""

    def draw(self, positions_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ArmRasteriser.draw`."""


def make_pictures(renderer: str, world: ArmWorld, description: str, kinematics: Kinematics,
                  size: tuple[int, int], follows_hand: bool) -> ArmPictures:
    """Make a renderer.

    Args:
        renderer: 'fast' or 'pybullet'; 'none' leaves pictures white and masks empty, for
            learners that look at the target alone.
        world: The arms.
        description: URDF text.
        kinematics: The arm, read from it.
        size: Height and width [px].
        follows_hand: As in `ArmCamera`.

    Returns:
        The renderer.

    Raises:
        UserError: PyBullet's renderer is asked for without its physics.
    """
    if renderer == 'none':
        return NoPictures(size)
    rasteriser = ArmRasteriser(description, kinematics, ArmCamera(follows_hand), size)
    if renderer == 'fast':
        return rasteriser
    if not isinstance(world, PyBulletArms):
        raise UserError("renderer 'pybullet' needs physics 'pybullet': choose both, or 'fast'")
    return PyBulletPictures(world, rasteriser)


class NoPictures:
    """No arm to be seen."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size

    def draw(self, positions_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ArmRasteriser.draw`."""
        shape = len(positions_rad), *self._size
        return np.full((*shape, 3), 255, np.uint8), np.zeros(shape, dtype=bool)


class PyBulletPictures:
    """PyBullet's own renderer, with the rasteriser's camera."""

    def __init__(self, world: PyBulletArms, rasteriser: ArmRasteriser) -> None:
        self._world = world
        self._rasteriser = rasteriser

    def draw(self, positions_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ArmRasteriser.draw`; draws the arms where they are."""
        centres = self._rasteriser.look_at(positions_rad)
        shots = [self._shoot(arm, centre)
                 for arm, centre in zip(self._world.arms, centres, strict=True)]
        pictures, masks = zip(*shots, strict=True)
        return np.array(pictures), np.array(masks)

    def _shoot(self, arm: SimulatedArm, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = self._rasteriser.height, self._rasteriser.width
        half_height = self._rasteriser.camera.half_size_m * height / min(height, width)
        view = pybullet.computeViewMatrix(
            tuple(centre + [CAMERA_DISTANCE_M, 0.0, 0.0]), tuple(centre), (0, 0, 1))
        projection = pybullet.computeProjectionMatrixFOV(
            math.degrees(2.0 * math.atan(half_height / CAMERA_DISTANCE_M)), width / height, 0.5,
            4.0)
        _, _, rgba, _, segments = pybullet.getCameraImage(
            width, height, view, projection, lightDirection=(1, 0.5, 0.1), shadow=0,
            lightAmbientCoeff=0.3, lightDiffuseCoeff=0.5, lightSpecularCoeff=0.0,
            renderer=pybullet.ER_TINY_RENDERER, physicsClientId=arm.client_id)
        picture = np.array(np.asarray(rgba, np.uint8).reshape(height, width, 4)[..., :3])
        mask = np.asarray(segments).reshape(height, width) >= 0
        picture[~mask] = BACKGROUND_RGB
        return picture, mask
