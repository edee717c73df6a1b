"""Forward kinematics of the arm from its URDF, for many poses at once, without a simulator."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import numpy as np

from hand_imitation.arm.joint_table import JointTable

FINGERTIP_LINKS = {
    finger: f'{finger}_tip_link' for finger in ('thumb', 'index', 'middle', 'ring', 'little')}
"""The frame in the centre of each finger's round tip."""

PALM_LINK = 'palm_link'


@dataclass(frozen=True, eq=False)
class Shape:
    """A primitive that a link is drawn with.

    Attributes:
        link: Link it belongs to, without prefix.
        kind: 'sphere', 'cylinder' (along its own z) or 'box'.
        size: [m]: radius; radius and length; or the three edges.
        pose: Shape (4, 4), from the shape's frame to the link's, [m].
    """

    link: str
    kind: str
    size: tuple[float, ...]
    pose: np.ndarray


@dataclass(frozen=True, eq=False)
class _Joint:
    """One joint of the tree; `column` is its place in the joint table, None for a fixed one."""

    parent: str
    child: str
    origin: np.ndarray
    axis: np.ndarray
    column: int | None


class Kinematics:
    """Where the links of an arm are.

    Attributes:
        table: The joints, in the order of the columns of a pose.
        shapes: What the links are drawn with; meshes are left out.
        links: Names of all links.
    """

    def __init__(self, description: str, table: JointTable, prefix: str = '') -> None:
        """Read the tree.

        Args:
            description: URDF text, one that `table` was read from.
            table: The joints.
            prefix: What the names in the description carry before those of the table.
        """
        self.table = table
        robot = ElementTree.fromstring(description)
        self._joints = [_joint(element, table, prefix) for element in robot.findall('joint')]
        children = {joint.child for joint in self._joints}
        names = [_name(link, prefix) for link in robot.findall('link')]
        self._roots = [name for name in names if name not in children]
        self.links = tuple(names)
        self.shapes = tuple(
            shape for link in robot.findall('link') for shape in _shapes(link, prefix))

    def link_poses(self, positions_rad: np.ndarray) -> dict[str, np.ndarray]:
        """Find every link, by the product of exponentials along the tree.

        Args:
            positions_rad: Shape (m, n), poses in the table's order [rad]; NaN makes the links
                beyond that joint NaN.

        Returns:
            By link name, shape (m, 4, 4), from the link's frame to the root's, [m].
        """
        positions = np.atleast_2d(np.asarray(positions_rad, dtype=float))
        poses = {root: np.broadcast_to(np.eye(4), (len(positions), 4, 4)) for root in self._roots}
        waiting = list(self._joints)
        while waiting:
            ready = [joint for joint in waiting if joint.parent in poses]
            if not ready:
                raise ValueError(f'link {waiting[0].parent} hangs on no other link')
            for joint in ready:
                pose = poses[joint.parent] @ joint.origin
                if joint.column is not None:
                    pose = pose @ _turns(joint.axis, positions[:, joint.column])
                poses[joint.child] = pose
            waiting = [joint for joint in waiting if joint.child not in poses]
        return poses

    def fingertips(self, positions_rad: np.ndarray, relative_to_palm: bool = False) -> np.ndarray:
        """Find the fingertips.

        Args:
            positions_rad: Shape (m, n), poses in the table's order [rad].
            relative_to_palm: In the palm's frame, so that wrist and elbow do not count.

        Returns:
            Shape (m, 5, 3), thumb to little finger, in the root's frame or the palm's [m]; NaN
            for a finger that the arm does not have, and where a joint before it is NaN.
        """
        poses = self.link_poses(positions_rad)
        count = len(np.atleast_2d(positions_rad))
        nowhere = np.full((count, 3), np.nan)
        tips = np.stack([
            poses[link][:, :3, 3] if link in poses else nowhere
            for link in FINGERTIP_LINKS.values()], axis=1)
        if not relative_to_palm or PALM_LINK not in poses:
            return tips
        palm = poses[PALM_LINK]
        return (tips - palm[:, np.newaxis, :3, 3]) @ palm[:, :3, :3]


def _name(element: ElementTree.Element, prefix: str) -> str:
    return (element.get('name') or '').removeprefix(prefix)


def _joint(element: ElementTree.Element, table: JointTable, prefix: str) -> _Joint:
    name = _name(element, prefix)
    parent, child = element.find('parent'), element.find('child')
    axis = element.find('axis')
    if parent is None or child is None:
        raise ValueError(f'joint {name} lacks a parent or a child')
    direction = _numbers(axis.get('xyz') if axis is not None else None, (1.0, 0.0, 0.0))
    return _Joint(
        parent=(parent.get('link') or '').removeprefix(prefix),
        child=(child.get('link') or '').removeprefix(prefix),
        origin=_origin(element), axis=direction / np.linalg.norm(direction),
        column=table.index(name) if name in table.names else None)


def _shapes(link: ElementTree.Element, prefix: str) -> list[Shape]:
    """Read what a link is drawn with."""
    shapes = []
    for visual in link.findall('visual'):
        geometry = visual.find('geometry')
        primitive = next(iter(geometry), None) if geometry is not None else None
        if primitive is None or primitive.tag not in ('sphere', 'cylinder', 'box'):
            continue
        size = {
            'sphere': lambda e: (float(e.get('radius')),),
            'cylinder': lambda e: (float(e.get('radius')), float(e.get('length'))),
            'box': lambda e: tuple(_numbers(e.get('size'), (0.0, 0.0, 0.0))),
        }[primitive.tag](primitive)
        shapes.append(Shape(_name(link, prefix), primitive.tag, size, _origin(visual)))
    return shapes


def _origin(element: ElementTree.Element) -> np.ndarray:
    """Transform of an `<origin>`: shape (4, 4); roll, pitch and yaw about fixed axes."""
    origin = element.find('origin')
    pose = np.eye(4)
    if origin is not None:
        roll, pitch, yaw = _numbers(origin.get('rpy'), (0.0, 0.0, 0.0))
        pose[:3, :3] = (
            _turns(np.array([0.0, 0.0, 1.0]), np.array([yaw]))[0, :3, :3]
            @ _turns(np.array([0.0, 1.0, 0.0]), np.array([pitch]))[0, :3, :3]
            @ _turns(np.array([1.0, 0.0, 0.0]), np.array([roll]))[0, :3, :3])
        pose[:3, 3] = _numbers(origin.get('xyz'), (0.0, 0.0, 0.0))
    return pose


def _numbers(text: str | None, default: tuple[float, float, float]) -> np.ndarray:
    return np.array([float(v) for v in text.split()] if text else default, dtype=float)


def _turns(axis: np.ndarray, angles_rad: np.ndarray) -> np.ndarray:
    """Rotations about an axis by Rodrigues' formula: shape (m, 4, 4)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sine = np.sin(angles_rad)[:, np.newaxis, np.newaxis]
    cosine = np.cos(angles_rad)[:, np.newaxis, np.newaxis]
    turns = np.zeros((len(angles_rad), 4, 4))
    turns[:, :3, :3] = np.eye(3) + sine * cross + (1.0 - cosine) * (cross @ cross)
    turns[:, 3, 3] = 1.0
    return turns
