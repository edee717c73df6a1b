"""Draws the arm in many poses at once, without a renderer.

The arm is made of spheres, cylinders and boxes. Seen by the arm's camera, the outline of each is
convex, so what it covers in a row of pixels is one span, whose ends follow from the shape's
ellipses and edges in closed form. Spans of all poses are found together, then filled from the
farthest shape to the nearest (painter's algorithm). The masks agree with PyBullet's renderer.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import numpy as np

from hand_imitation.arm.kinematics import PALM_LINK, Kinematics, Shape
from hand_imitation.learning.arm_motion import ArmMotion

CAMERA_DISTANCE_M = 2.0
_HAND_AHEAD_M = 0.070
_HAND_HALF_SIZE_M = 0.140
_REACH_CENTRE_M = (0.0, 0.0, 0.30)
_REACH_HALF_SIZE_M = 0.46
_DEFAULT_RGBA = '0.8 0.8 0.8 1'
_KINDS = ('sphere', 'cylinder', 'box')
BACKGROUND_RGB = (255, 255, 255)
"""White, as behind the original's arm: its silhouette is what is darker than 180."""
_SHADES = 8
"""Steps of brightness across a shape, from the shaded edge to the lit one."""
_SAMPLE_X, _SAMPLE_Y = 0.0, 1.0
"""Where in a pixel PyBullet's renderer looks what it shows: at the lower left corner."""
_CYLINDER_MARGIN_M = 0.001
"""How much thicker than asked, on all sides, PyBullet draws cylinders (measured)."""
_BOX_EDGES = np.array([
    (a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)])


@dataclass(frozen=True)
class ArmCamera:
    """Where the arm is looked at from: along -x, from in front of the palm.

    Attributes:
        follows_hand: The hand fills the picture, wherever it is; otherwise the whole reach of
            the arm does.
    """

    follows_hand: bool = True

    @property
    def half_size_m(self) -> float:
        """Half of what the picture's shorter side shows at the hand's distance [m]."""
        return _HAND_HALF_SIZE_M if self.follows_hand else _REACH_HALF_SIZE_M


@dataclass(frozen=True, eq=False)
class _Rounds:
    """Spheres and cylinders at the zero pose, as the discs at their ends.

    Attributes:
        joint: Shape (s,), joint each hangs on.
        ends: Shape (s, 2, 3), centres of the end discs; for a sphere both are its centre [m].
        axes: Shape (s, 2, 3), two radii of the discs at right angles [m].
        radius: Shape (s,), of spheres [m]; 0 for cylinders.
    """

    joint: np.ndarray
    ends: np.ndarray
    axes: np.ndarray
    radius: np.ndarray


class ArmRasteriser:
    """Draws one arm."""

    def __init__(self, description: str, kinematics: Kinematics, camera: ArmCamera,
                 size: tuple[int, int]) -> None:
        """Collect the shapes.

        Args:
            description: URDF text, for the colours.
            kinematics: The arm, read from the same text.
            camera: Where it is looked at from.
            size: Height and width of the pictures [px].
        """
        self.motion = ArmMotion(kinematics)
        self.camera = camera
        self.height, self.width = size
        self._focal_px = min(size) / 2.0 / camera.half_size_m * CAMERA_DISTANCE_M
        self._palm_joint = self.motion.joint_of[PALM_LINK]
        self._palm_point = self.motion.at_zero(PALM_LINK, np.array([0.0, 0.0, _HAND_AHEAD_M]))
        rounds = [shape for shape in kinematics.shapes if shape.kind != 'box']
        boxes = [shape for shape in kinematics.shapes if shape.kind == 'box']
        self._rounds = self._collect_rounds(rounds)
        self._box_joint = np.array([self.motion.joint_of[s.link] for s in boxes], dtype=int)
        corners = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3, indexing='ij')).reshape(3, -1).T
        self._box_corners = np.array([
            self.motion.at_zero(s.link, corners * s.size @ s.pose[:3, :3].T + s.pose[:3, 3])
            for s in boxes], np.float32).reshape(len(boxes), 8, 3)
        colours = dict(zip(kinematics.shapes, _colours(description), strict=True))
        self._palette = _palette(np.array([colours[shape] for shape in rounds + boxes]))

    def draw(self, positions_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw poses.

        Args:
            positions_rad: Shape (m, n), in the table's order [rad].

        Returns:
            Pictures, shape (m, height, width, 3), uint8, RGB, and masks of what is arm, shape
            (m, height, width), bool.
        """
        count = len(positions_rad)
        rotation, offset = (
            part.astype(np.float32) for part in self.motion.turns(positions_rad))
        centre = self._look_at(rotation, offset)
        spans = [self._round_spans(rotation, offset, centre)]
        if len(self._box_joint):
            spans.append(self._box_spans(rotation, offset, centre))
        indices = self._fill(count, spans)
        shown = self._palette.take(indices, axis=0).reshape(count, self.height, self.width, 3)
        return shown, (indices > 0).reshape(count, self.height, self.width)

    def look_at(self, positions_rad: np.ndarray) -> np.ndarray:
        """Find the point in the middle of the picture.

        Args:
            positions_rad: Shape (m, n) [rad].

        Returns:
            Shape (m, 3), in the root's frame [m].
        """
        return self._look_at(*self.motion.turns(positions_rad))

    def _look_at(self, rotation: np.ndarray, offset: np.ndarray) -> np.ndarray:
        if not self.camera.follows_hand:
            return np.broadcast_to(np.array(_REACH_CENTRE_M, rotation.dtype), (len(rotation), 3))
        joint = self._palm_joint
        return rotation[:, joint] @ self._palm_point[0].astype(rotation.dtype) + offset[:, joint]

    def _collect_rounds(self, shapes: list[Shape]) -> _Rounds:
        """Bring spheres and cylinders to the zero pose."""
        ends, axes, radius = [], [], []
        for shape in shapes:
            margin = _CYLINDER_MARGIN_M if shape.kind == 'cylinder' else 0.0
            half = shape.size[1] / 2.0 + margin if shape.kind == 'cylinder' else 0.0
            thick = shape.size[0] + margin
            local = np.array([[0.0, 0.0, -half], [0.0, 0.0, half], [thick, 0.0, 0.0],
                              [0.0, thick, 0.0], [0.0, 0.0, 0.0]])
            placed = self.motion.at_zero(
                shape.link, local @ shape.pose[:3, :3].T + shape.pose[:3, 3])
            ends.append(placed[:2])
            axes.append(placed[2:4] - placed[4])
            radius.append(shape.size[0] if shape.kind == 'sphere' else 0.0)
        joints = np.array([self.motion.joint_of[shape.link] for shape in shapes])
        return _Rounds(joints, np.array(ends, np.float32), np.array(axes, np.float32),
                       np.array(radius, np.float32))

    def _project(self, points: np.ndarray,
                 centre: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Project points.

        Args:
            points: Shape (m, s, k, 3) [m].
            centre: Shape (m, 3), the middle of each picture [m].

        Returns:
            Pixels, shape (2, m, s, k); what a metre across is there [px], shape (m, s, k); and
            what a metre towards the camera is, shape (2, m, s, k).
        """
        relative = points - centre[:, np.newaxis, np.newaxis]
        distance = CAMERA_DISTANCE_M - relative[..., 0]
        scale = self._focal_px / distance
        across = np.stack([relative[..., 1] * scale, -relative[..., 2] * scale])
        middle = np.array([self.width, self.height], relative.dtype) / 2.0
        return across + middle[:, np.newaxis, np.newaxis, np.newaxis], scale, across / distance

    def _round_spans(self, rotation: np.ndarray, offset: np.ndarray,
                     centre: np.ndarray) -> tuple[np.ndarray, ...]:
        """Spans of spheres and cylinders.

        A disc with centre c and radii a, b covers, in row y, the span whose middle is
        c_x + m s and whose half is w sqrt(1 - s^2), where R^2 = a_y^2 + b_y^2, s = (y - c_y) / R,
        m = (a_x a_y + b_x b_y) / R and w = |a_x b_y - b_x a_y| / R. A cylinder's outline is that
        of its two discs and the two lines that touch both.
        """
        rounds = self._rounds
        turn = rotation[:, rounds.joint].transpose(0, 1, 3, 2)
        ends = rounds.ends @ turn + offset[:, rounds.joint, np.newaxis]
        axes = rounds.axes @ turn
        depth = ends[..., 0].mean(axis=-1)
        ends, scale, nearer = self._project(ends, centre)
        first, second = (
            np.stack([axes[..., i, 1, np.newaxis] * scale, -axes[..., i, 2, np.newaxis] * scale])
            + nearer * axes[..., i, 0, np.newaxis] for i in (0, 1))
        # A sphere looks like a disc that faces the camera.
        size = rounds.radius[:, np.newaxis] * scale
        sphere = (rounds.radius > 0.0)[:, np.newaxis]
        for axis, (x, y) in ((first, (size, 0.0)), (second, (0.0, size))):
            axis[0], axis[1] = np.where(sphere, x, axis[0]), np.where(sphere, y, axis[1])
        reach = np.sqrt(first[1] ** 2 + second[1] ** 2) + 1e-6
        lean = (first[0] * first[1] + second[0] * second[1]) / reach
        width = np.abs(first[0] * second[1] - second[0] * first[1]) / reach
        touch = _touching(ends, first, second)
        shape, row = self._rows((ends[1] - reach).min(axis=-1), (ends[1] + reach).max(axis=-1))
        y = row.astype(np.float32) + np.float32(_SAMPLE_Y)
        discs = np.stack([ends[1], 1.0 / reach, ends[0], lean, width])
        left = np.full(len(row), np.inf, np.float32)
        right = np.full(len(row), -np.inf, np.float32)
        for disc in (0, 1):
            y0, inverse, x0, slope, half = discs[..., disc].reshape(5, -1)[:, shape]
            s = (y - y0) * inverse
            room = 1.0 - s * s
            inside = room >= 0.0
            half *= np.sqrt(np.maximum(room, 0.0))
            middle = x0 + slope * s
            np.minimum(left, middle - half, out=left, where=inside)
            np.maximum(right, middle + half, out=right, where=inside)
        rims = np.stack([ends + touch, ends - touch])
        edges_left, edges_right = _edge_spans(rims[..., 0], rims[..., 1], shape, y)
        return (shape, row, np.minimum(left, edges_left), np.maximum(right, edges_right), depth)

    def _box_spans(self, rotation: np.ndarray, offset: np.ndarray,
                   centre: np.ndarray) -> tuple[np.ndarray, ...]:
        """Spans of boxes: between the outermost edges that cross the row."""
        turn = rotation[:, self._box_joint].transpose(0, 1, 3, 2)
        corners = self._box_corners @ turn + offset[:, self._box_joint, np.newaxis]
        depth = corners[..., 0].mean(axis=-1)
        corners = self._project(corners, centre)[0]
        shape, row = self._rows(corners[1].min(axis=-1), corners[1].max(axis=-1))
        y = row.astype(np.float32) + np.float32(_SAMPLE_Y)
        edges = np.moveaxis(corners[..., _BOX_EDGES], -2, 0)
        return (shape, row, *_edge_spans(edges[..., 0], edges[..., 1], shape, y), depth)

    def _rows(self, top: np.ndarray, bottom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """List the rows of pixels that each shape reaches.

        Args:
            top: Shape (m, s) [px].
            bottom: Shape (m, s) [px].

        Returns:
            Shape, counted through all pictures, and row of each.
        """
        start = np.clip(np.ceil(top - _SAMPLE_Y), 0, self.height).astype(np.int32).ravel()
        stop = np.clip(np.floor(bottom - _SAMPLE_Y) + 1, 0, self.height).astype(np.int32).ravel()
        return _runs(start, np.maximum(stop - start, 0))

    def _fill(self, count: int, spans: list[tuple[np.ndarray, ...]]) -> np.ndarray:
        """Fill spans from the farthest shape to the nearest.

        Args:
            count: Number of pictures.
            spans: For each kind of shape what `_round_spans` gives.

        Returns:
            Which colour of the palette each pixel has, shape (count * height * width,).
        """
        kinds = [part[4].shape[1] for part in spans]
        firsts = np.cumsum([0, *kinds])
        places = [np.divmod(part[0], kind) for part, kind in zip(spans, kinds, strict=True)]
        picture = np.concatenate([place[0] for place in places])
        shape = np.concatenate([
            place[1] + first for place, first in zip(places, firsts[:-1], strict=True)])
        row, left, right = (np.concatenate([part[i] for part in spans]) for i in (1, 2, 3))
        depth = np.concatenate([part[4] for part in spans], axis=1)
        rank = np.empty(depth.shape, np.int16)
        np.put_along_axis(rank, np.argsort(depth, axis=1), np.arange(firsts[-1])[None], axis=1)
        start = np.clip(np.ceil(left - _SAMPLE_X), 0, self.width)
        stop = np.clip(np.floor(right - _SAMPLE_X) + 1, 0, self.width)
        order = np.argsort(rank[picture, shape], kind='stable')
        order = order[(stop > start)[order]]
        first_column = start[order].astype(np.int32)
        which, column = _runs(first_column, stop[order].astype(np.int32) - first_column)
        left, right = left[order], right[order]
        scale = _SHADES / np.maximum(right - left, 1e-6)
        shade = (column + (_SAMPLE_X - left)[which]) * scale[which]
        colour = (1 + shape[order] * _SHADES)[which] + np.clip(
            shade, 0, _SHADES - 1).astype(np.int32)
        line = (picture[order] * self.height + row[order]) * self.width
        indices = np.zeros(count * self.height * self.width, dtype=np.int32)
        # Where pixels repeat, numpy keeps the last value, which is the nearest shape's.
        indices[line[which] + column] = colour
        return indices


def _touching(ends: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where the lines along a cylinder touch its end discs, from the discs' centres.

    The point a cos t + b sin t of a disc's rim moves along d where (cos t, sin t) is
    proportional to (a x d, b x d).

    Args:
        ends: Shape (2, m, s, 2), centres of the discs [px].
        first: Radius a of each, same shape.
        second: Radius b of each, same shape.

    Returns:
        Same shape; the opposite points touch too.
    """
    along = (ends[..., 1] - ends[..., 0])[..., np.newaxis]
    cosine = first[0] * along[1] - first[1] * along[0]
    sine = second[0] * along[1] - second[1] * along[0]
    length = np.sqrt(cosine ** 2 + sine ** 2) + 1e-9
    return first * (cosine / length) + second * (sine / length)


def _edge_spans(start: np.ndarray, end: np.ndarray, shape: np.ndarray,
                y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the outermost places where a shape's edges cross a row.

    Args:
        start: Shape (e, 2, m, s), where the edges of each shape start [px].
        end: Shape (e, 2, m, s), where they end [px].
        shape: Shape (k,), whose row it is, counted through all pictures.
        y: Shape (k,), the row's height in the picture [px].

    Returns:
        Left and right, each of shape (k,) [px]; infinite where no edge crosses.
    """
    count = len(start)
    x0, y0, x1, y1 = (part.reshape(count, -1) for part in (
        start[:, 0], start[:, 1], end[:, 0], end[:, 1]))
    rise = y1 - y0
    slope = (x1 - x0) / np.where(rise == 0.0, 1.0, rise)
    edges = np.stack([np.minimum(y0, y1), np.maximum(y0, y1), slope, x0 - slope * y0])
    low, high, slope, at_zero = edges[:, :, shape]
    crosses = (y >= low) & (y <= high)
    x = slope * y + at_zero
    infinity = np.float32(np.inf)
    return (np.where(crosses, x, infinity).min(axis=0),
            np.where(crosses, x, -infinity).max(axis=0))


def _runs(start: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List the numbers start, start + 1, .. of several runs: which run, and the number."""
    which = np.repeat(np.arange(len(start), dtype=np.int32), count)
    first = (np.cumsum(count) - count).astype(np.int32)
    return which, np.arange(len(which), dtype=np.int32) - (first - start)[which]


def _palette(colours: np.ndarray) -> np.ndarray:
    """Colour of each shape at each step of brightness, after the background's.

    Args:
        colours: Shape (s, 3), 0 to 1.

    Returns:
        Shape (1 + s * _SHADES, 3), uint8.
    """
    # Light comes from the front and a little from the right, on something round.
    across = (np.arange(_SHADES) + 0.5) / _SHADES * 2.0 - 1.0
    # Even the palest stays darker than the original's threshold between arm and background.
    brightness = 0.35 + 0.42 * np.sqrt(1.0 - across ** 2) + 0.08 * across
    shaded = colours[:, np.newaxis] * brightness[:, np.newaxis] * 255.0
    return np.vstack([[BACKGROUND_RGB], shaded.reshape(-1, 3)]).clip(0, 255).astype(np.uint8)


def _colours(description: str) -> list[np.ndarray]:
    """Colours of all primitive visuals, RGB 0 to 1, in the order of `Kinematics.shapes`."""
    robot = ElementTree.fromstring(description)
    named = {element.get('name'): element for element in robot.findall('material')}
    colours = []
    for visual in robot.iterfind('link/visual'):
        if any(visual.find(f'geometry/{kind}') is not None for kind in _KINDS):
            material = visual.find('material')
            colour = None
            if material is not None:
                own = material.find('color')
                colour = named[material.get('name')].find('color') if own is None else own
            text = colour.get('rgba') if colour is not None else None
            colours.append(np.array([float(v) for v in (text or _DEFAULT_RGBA).split()][:3]))
    return colours
