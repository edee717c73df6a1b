"""Joints of the arm by the names, directions and zeros of somebody else's controller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.parameters import from_mapping, parameter
from hand_imitation.plain_yaml import read_yaml

_REMEDY = 'compare it with config/ros2_control_joints.yaml'


@dataclass(frozen=True)
class _Joint:
    """What a joint map says of a joint."""

    name: str = parameter('', "The controller's name of the joint")
    direction: int = parameter(1, '1 or -1', lower=-1, upper=1)
    offset_rad: float = parameter(
        0.0, "The controller's angle where ours is zero", lower=-6.3, upper=6.3, unit='rad')


@dataclass(frozen=True, eq=False)
class JointMap:
    """Theirs = direction * ours + offset, joint by joint.

    Attributes:
        names: The controller's joint names, in the order of its own list.
        rows: Shape (n,), for each of them the joint's place in our table.
        direction: Shape (n,), +1 or -1, in our table's order.
        offset_rad: Shape (n,), in our table's order [rad].
    """

    names: tuple[str, ...]
    rows: np.ndarray
    direction: np.ndarray
    offset_rad: np.ndarray

    def to_theirs(self, positions_rad: np.ndarray) -> np.ndarray:
        """Turn our angles, shape (n,), into the controller's, in its order [rad]."""
        return (self.direction * positions_rad + self.offset_rad)[self.rows]

    def to_ours(self, names: Sequence[str], positions_rad: Sequence[float]) -> np.ndarray:
        """Turn the controller's angles into ours.

        Args:
            names: Joints in any order; those that are not in the map are passed over.
            positions_rad: One angle per name [rad].

        Returns:
            Shape (n,), in our table's order [rad], NaN for joints without an angle.
        """
        theirs = dict(zip(names, positions_rad, strict=False))
        ours = np.full(len(self.rows), np.nan)
        ours[self.rows] = [theirs.get(name, np.nan) for name in self.names]
        return self.direction * (ours - self.offset_rad)

    def velocities_to_ours(
        self, names: Sequence[str], velocities_rad_s: Sequence[float],
    ) -> np.ndarray:
        """Turn the controller's joint velocities into ours, as `to_ours` does angles."""
        return self.to_ours(names, velocities_rad_s) + self.direction * self.offset_rad


def load_joint_map(path: str, table: JointTable, prefix: str = '') -> JointMap:
    """Load a joint map.

    Args:
        path: A YAML file; '' maps every joint to its own name.
        table: Our joints; the map must name all of them.
        prefix: Put before our names where there is no file.

    Raises:
        UserError: No such file, or something in it that does not fit.
    """
    if not path:
        count = len(table)
        names = tuple(f'{prefix}{name}' for name in table.names)
        return JointMap(names, np.arange(count), np.ones(count), np.zeros(count))
    content = read_yaml(Path(path).expanduser(), 'joint map', _REMEDY)
    try:
        return _joint_map(content, table)
    except UserError as error:
        raise UserError(f"joint map '{path}': {error}") from error


def _joint_map(content: dict, table: JointTable) -> JointMap:
    """Check the content of a file."""
    given = content.get('joints')
    if set(content) != {'joints'} or not isinstance(given, dict):
        raise UserError(f"'joints:' must stand alone, with a line for each joint; {_REMEDY}")
    unknown = [str(name) for name in given if name not in table.names]
    missing = [name for name in table.names if name not in given]
    if unknown or missing:
        raise UserError(
            (f"unknown joint '{unknown[0][:60]}'" if unknown else f"no joint '{missing[0]}'")
            + f': name these, and no others: {", ".join(table.names)}')
    joints: dict[str, _Joint] = {}
    for name, values in given.items():
        if not isinstance(values, dict):
            raise UserError(f"joint '{name}' is {values!r}: give '{{name: ...}}'")
        try:
            joints[name] = from_mapping(_Joint, values)
        except UserError as error:
            raise UserError(f"joint '{name}': {error}") from error
        if not joints[name].name or joints[name].direction == 0:
            raise UserError(f"joint '{name}' needs a name, and 1 or -1 as direction")
    names = tuple(joint.name for joint in joints.values())
    if len(set(names)) != len(names):
        raise UserError('two joints have the same name: give each its own')
    return JointMap(
        names, np.array([table.index(name) for name in joints]),
        np.array([float(joints[name].direction) for name in table.names]),
        np.array([joints[name].offset_rad for name in table.names]))
