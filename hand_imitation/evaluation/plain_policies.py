"""Policies without any sense, and one that only repeats: what the real ones are held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.human.observation import HandObservation
from hand_imitation.policy.base import JointTargets


class ConstantPolicy:
    """Wants the same pose whatever it is shown.

    Args:
        table: The arm's joints.
        pose_rad: Shape (n,), in the table's order [rad].
    """

    uses_joint_positions = False
    uses_perception = False

    def __init__(self, table: JointTable, pose_rad: np.ndarray) -> None:
        self._names = table.names
        self._pose = table.clip(pose_rad)

    def reset(self) -> None:
        """Do nothing."""

    def act(
        self, observation: HandObservation, joint_positions: np.ndarray | None, now_s: float,
    ) -> JointTargets:
        """See `Policy.act`."""
        return JointTargets(self._names, self._pose, observation.stamp_s)


class RandomPolicy:
    """Wants any pose within the limits, another one at each frame.

    Args:
        table: The arm's joints.
        seed: Of its poses.
    """

    uses_joint_positions = False
    uses_perception = False

    def __init__(self, table: JointTable, seed: int) -> None:
        self._table = table
        self._random = np.random.default_rng(seed)

    def reset(self) -> None:
        """Do nothing; what comes next is as random."""

    def act(
        self, observation: HandObservation, joint_positions: np.ndarray | None, now_s: float,
    ) -> JointTargets:
        """See `Policy.act`."""
        pose = self._random.uniform(self._table.lower_rad, self._table.upper_rad)
        return JointTargets(self._table.names, pose, observation.stamp_s)


class RecordedPolicy:
    """Says what was said before, frame by frame.

    Args:
        targets: One per frame.
    """

    uses_joint_positions = False
    uses_perception = False

    def __init__(self, targets: Sequence[JointTargets | None]) -> None:
        self._targets = targets
        self._next = 0

    def reset(self) -> None:
        """Begin again."""
        self._next = 0

    def act(
        self, observation: HandObservation, joint_positions: np.ndarray | None, now_s: float,
    ) -> JointTargets | None:
        """Give the next targets; see `Policy.act`."""
        self._next += 1
        return self._targets[self._next - 1]
