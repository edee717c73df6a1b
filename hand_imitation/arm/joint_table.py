"""The joints of the arm: names, order and limits, read once from the URDF."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hand_imitation.errors import UserError

MAX_DESCRIPTION_BYTES = 1_000_000


@dataclass(frozen=True, eq=False)
class JointTable:
    """Everything that holds one number per joint refers to this table.

    The order is that of the revolute joints in the URDF document. Names carry no prefix.

    Attributes:
        names: Joint names.
        lower_rad: Shape (n,), lower position limits, [rad], read-only.
        upper_rad: Shape (n,), upper position limits, [rad], read-only.
        max_velocity_rad_s: Shape (n,), [rad/s], read-only.
        max_effort_nm: Shape (n,), [N m], read-only.
    """

    names: tuple[str, ...]
    lower_rad: np.ndarray
    upper_rad: np.ndarray
    max_velocity_rad_s: np.ndarray
    max_effort_nm: np.ndarray

    def __post_init__(self) -> None:
        for field in ('lower_rad', 'upper_rad', 'max_velocity_rad_s', 'max_effort_nm'):
            values = np.array(getattr(self, field), dtype=float)
            if values.shape != (len(self.names),):
                raise ValueError(f'{field} has shape {values.shape} for {len(self.names)} joints')
            values.flags.writeable = False
            object.__setattr__(self, field, values)

    @classmethod
    def from_urdf(cls, urdf_xml: str, prefix: str = '') -> JointTable:
        """Read the table from a robot description.

        Args:
            urdf_xml: URDF text. Joints that mimic others are left out.
            prefix: only joints whose name starts with it count; it is removed from the names.

        Raises:
            UserError: not XML, too large, no joints, or limits that make no sense.
        """
        joints = [joint for joint in _parse(urdf_xml).findall('joint')
                  if joint.get('type') != 'fixed' and joint.find('mimic') is None
                  and (joint.get('name') or '').startswith(prefix)]
        if not joints:
            wanted = f'no movable joints named {prefix}...' if prefix else 'no movable joints'
            raise UserError(f'robot description has {wanted}: check the file and the prefix')
        names = tuple((joint.get('name') or '')[len(prefix):] for joint in joints)
        if '' in names:
            raise UserError('robot description has a joint without a name: name every joint')
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UserError(f'robot description has two joints named {repeated[0]}: '
                            'give each its own name')
        limits = np.array([_limits(joint) for joint in joints])
        return cls(names, *limits.T)

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the place of a joint; ValueError when there is no such joint."""
        return self.names.index(name)

    def reorder(self, names: Sequence[str], values: ArrayLike,
                missing: float = math.nan) -> np.ndarray:
        """Bring values from any order into the table's, by name.

        Args:
            names: joint names, each at most once, all of them known to the table.
            values: Shape (len(names),), one value for each name.
            missing: what joints get that are not named.

        Returns:
            Shape (n,), a new array.

        Raises:
            ValueError: unknown or repeated name, or another number of values than names.
        """
        given = np.asarray(values, dtype=float)
        if given.shape != (len(names),):
            raise ValueError(f'{len(names)} joint names but values of shape {given.shape}')
        if len(set(names)) != len(names):
            raise ValueError(f'repeated joint names in {list(names)}')
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ValueError(f'unknown joint names {unknown}')
        ordered = np.full(len(self), missing, dtype=float)
        ordered[[self.index(name) for name in names]] = given
        return ordered

    def clip(self, positions_rad: ArrayLike) -> np.ndarray:
        """Return positions moved to the nearest allowed ones; NaN stays NaN.

        Args:
            positions_rad: Shape (..., n), [rad].
        """
        return np.clip(np.asarray(positions_rad, dtype=float), self.lower_rad, self.upper_rad)


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses document type declarations, and with them entities of every kind."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise UserError('robot description has a DOCTYPE, which a URDF does not need: remove it')


def _parse(urdf_xml: str) -> ElementTree.Element:
    """Parse text of unknown origin and return its `robot` element."""
    if len(urdf_xml) > MAX_DESCRIPTION_BYTES:
        raise UserError(f'robot description is larger than {MAX_DESCRIPTION_BYTES} bytes: '
                        'is it a URDF file?')
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        root = ElementTree.fromstring(urdf_xml, parser)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f'robot description is not XML ({error}): is it a URDF file?') from error
    if root.tag != 'robot':
        raise UserError(f'robot description starts with <{root.tag[:40]}>: '
                        'a URDF file starts with <robot>')
    return root


def _limits(joint: ElementTree.Element) -> tuple[float, float, float, float]:
    """Read lower, upper, velocity and effort of one joint, and judge them."""
    name = joint.get('name')
    if joint.get('type') != 'revolute':
        raise UserError(f'joint {name} is of type {joint.get("type")}: only revolute joints '
                        'with limits can be driven')
    limit = joint.find('limit')
    if limit is None:
        raise UserError(f'joint {name} has no limits: add a <limit> element')
    values = []
    for attribute in ('lower', 'upper', 'velocity', 'effort'):
        text = limit.get(attribute)
        try:
            value = float(text or '')
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f'joint {name} has {attribute}={text!r} as a limit: '
                            'give a finite number')
        values.append(value)
    lower, upper, velocity, effort = values
    if lower > upper:
        raise UserError(f'joint {name} has its lower limit {lower} above its upper limit {upper}: '
                        'swap them')
    if velocity <= 0 or effort <= 0:
        raise UserError(f'joint {name} has velocity {velocity} and effort {effort} as limits: '
                        'both must be above zero')
    return lower, upper, velocity, effort
