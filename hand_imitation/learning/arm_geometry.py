"""What rewards need to know of the arm's shape, for many poses at once."""

from __future__ import annotations

import itertools

import numpy as np

from hand_imitation.arm.kinematics import FINGERTIP_LINKS, PALM_LINK, Kinematics
from hand_imitation.learning.arm_motion import ArmMotion


class ArmGeometry:
    """Fingertips, and fingers as capsules.

    Attributes:
        radii_m: Shape (10,), of the capsules: two for each finger, thumb first [m].
        pairs: Shape (p, 2), capsules of different fingers that do not touch in the zero pose.
    """

    def __init__(self, kinematics: Kinematics) -> None:
        """Find the fingers' bones.

        Args:
            kinematics: The arm.
        """
        self._motion = motion = ArmMotion(kinematics)
        self._palm = motion.joint_of[PALM_LINK]
        links = [(f'{finger}_proximal_link', f'{finger}_distal_link', tip)
                 for finger, tip in FINGERTIP_LINKS.items()]
        self._joints = np.array([motion.joint_of[link] for chain in links for link in chain])
        self._points = np.array([motion.zero[link][:3, 3] for chain in links for link in chain])
        ball_m = {shape.link: shape.size[0] for shape in kinematics.shapes
                  if shape.kind == 'sphere'}
        self.radii_m = np.repeat([ball_m[tip] for tip in FINGERTIP_LINKS.values()], 2)
        starts, ends = self.capsules(np.zeros((1, len(kinematics.table))))
        middles = (starts + ends)[0] / 2.0
        self.pairs = np.array([
            (a, b) for a, b in itertools.combinations(range(10), 2)
            # Neighbours' first bones stay side by side whatever they do.
            if a // 2 != b // 2 and (a % 2 or b % 2 or a < 2)
            and np.linalg.norm(middles[a] - middles[b]) > self.radii_m[a] + self.radii_m[b]])

    def _chains(self, positions_rad: np.ndarray) -> np.ndarray:
        placed = self._motion.place(positions_rad, self._joints, self._points)
        return placed.reshape(len(placed), 5, 3, 3)

    def fingertips(self, positions_rad: np.ndarray) -> np.ndarray:
        """Find the fingertips in the palm's frame, so that wrist and elbow do not count.

        Args:
            positions_rad: Shape (m, n), in the table's order [rad].

        Returns:
            Shape (m, 5, 3), thumb to little finger [m].
        """
        rotation, offset = self._motion.turns(positions_rad)
        zero = self._motion.zero[PALM_LINK]
        turn = rotation[:, self._palm] @ zero[:3, :3]
        origin = rotation[:, self._palm] @ zero[:3, 3] + offset[:, self._palm]
        return (self._chains(positions_rad)[:, :, 2] - origin[:, np.newaxis]) @ turn

    def capsules(self, positions_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the axes of the fingers' capsules.

        Args:
            positions_rad: Shape (m, n), in the table's order [rad].

        Returns:
            Starts and ends, each of shape (m, 10, 3), in the root's frame [m].
        """
        chains = self._chains(positions_rad)
        return (chains[:, :, :2].reshape(-1, 10, 3), chains[:, :, 1:].reshape(-1, 10, 3))
