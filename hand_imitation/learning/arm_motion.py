"""Where points of the arm are in many poses at once: quicker than walking the links one by one.

Every joint turns all that hangs on it about a line that is fixed in the joint's parent. With the
lines taken at the zero pose, a point x on a link is at E1 E2 .. Ek x, where E1 .. Ek are the turns
of the joints between the ground and the link (product of exponentials; Brockett 1984).
"""

from __future__ import annotations

import numpy as np

from hand_imitation.arm.kinematics import Kinematics

GROUND = -1
"""The place, instead of a joint's, of a link that no joint moves."""
_PROBE_RAD = 0.5


class ArmMotion:
    """Moves points with the arm's links.

    Attributes:
        kinematics: The arm.
        zero: By link name, its pose in the root's frame at the zero pose, shape (4, 4) [m].
        joint_of: By link name, the last joint before it (its place in the table), or `GROUND`.
    """

    def __init__(self, kinematics: Kinematics) -> None:
        """Find the lines the joints turn about, by bending each one a little.

        Args:
            kinematics: The arm.
        """
        self.kinematics = kinematics
        count = len(kinematics.table)
        at_zero = kinematics.link_poses(np.zeros((1, count)))
        bent = kinematics.link_poses(_PROBE_RAD * np.eye(count))
        self.zero = {link: at_zero[link][0] for link in kinematics.links}
        moves = {link: bent[link] @ np.linalg.inv(self.zero[link]) for link in kinematics.links}
        moved = [frozenset(link for link, move in moves.items()
                           if not np.allclose(move[joint], np.eye(4)))
                 for joint in range(count)]
        self._cross = np.zeros((count, 3, 3))
        self._point = np.zeros((count, 3))
        for joint, links in enumerate(moved):
            move = moves[next(iter(links))][joint]
            self._cross[joint] = (move[:3, :3] - move[:3, :3].T) / (2.0 * np.sin(_PROBE_RAD))
            self._point[joint] = np.linalg.lstsq(
                np.eye(3) - move[:3, :3], move[:3, 3], rcond=None)[0]
        self._cross_squared = self._cross @ self._cross
        before = [[other for other in range(count) if moved[other] > moved[joint]]
                  for joint in range(count)]
        self._levels = [
            (np.array(level), np.array([_nearest(before[joint], before) for joint in level]))
            for depth in range(count)
            if (level := [j for j in range(count) if len(before[j]) == depth])]
        self.joint_of = {
            link: _nearest([j for j in range(count) if link in moved[j]], before)
            for link in kinematics.links}

    def turns(self, positions_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find how each joint has moved what hangs on it.

        Args:
            positions_rad: Shape (m, n), poses in the table's order [rad].

        Returns:
            Rotations, shape (m, n + 1, 3, 3), and offsets, shape (m, n + 1, 3) [m]: a point of
            the zero pose beyond joint j goes to `rotation @ point + offset`. The last ones, at
            `GROUND`, move nothing.
        """
        angles = np.asarray(positions_rad, dtype=float)[..., np.newaxis, np.newaxis]
        own = np.eye(3) + np.sin(angles) * self._cross + (1.0 - np.cos(angles)) * (
            self._cross_squared)
        shift = self._point - (own @ self._point[..., np.newaxis])[..., 0]
        count, joints = angles.shape[:2]
        rotation = np.empty((count, joints + 1, 3, 3))
        offset = np.zeros((count, joints + 1, 3))
        rotation[:, GROUND] = np.eye(3)
        for level, parents in self._levels:
            outer = rotation[:, parents]
            rotation[:, level] = outer @ own[:, level]
            offset[:, level] = (
                (outer @ shift[:, level][..., np.newaxis])[..., 0] + offset[:, parents])
        return rotation, offset

    def place(self, positions_rad: np.ndarray, joints: np.ndarray,
              points: np.ndarray) -> np.ndarray:
        """Move points with the arm.

        Args:
            positions_rad: Shape (m, n), poses in the table's order [rad].
            joints: Shape (k,), the joint each point hangs on (see `joint_of`).
            points: Shape (k, 3), the points at the zero pose, in the root's frame [m].

        Returns:
            Shape (m, k, 3), in the root's frame [m].
        """
        rotation, offset = self.turns(positions_rad)
        return (rotation[:, joints] @ points[..., np.newaxis])[..., 0] + offset[:, joints]

    def at_zero(self, link: str, points: np.ndarray) -> np.ndarray:
        """Bring points from a link's frame to the root's, at the zero pose.

        Args:
            link: Name of the link.
            points: Shape (k, 3) [m].

        Returns:
            Shape (k, 3) [m].
        """
        pose = self.zero[link]
        return np.atleast_2d(points) @ pose[:3, :3].T + pose[:3, 3]


def _nearest(joints: list[int], before: list[list[int]]) -> int:
    """Of the joints on the way from the ground, the last one; `GROUND` where there is none."""
    return max(joints, key=lambda joint: len(before[joint])) if joints else GROUND
