"""Finger regions of a hand seen and of the arm, brought to the same place, scale and rotation.

There is one region for each joint: what the bone beyond the joint covers. Regions of the hand
seen come from its landmarks, from true ones (labels) or estimated ones alike. The arm's bones
are put where the person's are: each chain starts at the person's own knuckle, its bones have the
person's lengths, the palm is turned as the person's is, and fingers are spread as the person's
are. What is left to differ are the joints. Both are then seen along the camera's axis, the palm
upright and of one length. The arm's thumb swings about another axis than a person's, so it is
brought to the same direction bone by bone: each of its regions tells one joint alone.

Wrist and elbow are told by the forearm: by its direction against the palm, and in the picture
before it was turned upright.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hand_imitation.arm.kinematics import PALM_LINK, Kinematics
from hand_imitation.human.angles import (
    FINGERS,
    JOINTS,
    THUMB,
    THUMB_FLAT_RAD,
    WRIST,
    Side,
    lean_between,
    lean_from_vertical,
    palm_direction,
    thumb_side_sign,
)
from hand_imitation.learning.arm_motion import ArmMotion

GRID = 32
"""Pixels along the edge of a region's window."""
BONE_WIDTH = 0.10
"""Half the width of a finger, in lengths of the palm."""
FOREARM_WIDTH = 0.25
_FOREARM_LENGTH = 1.0
_SOFT = 0.06
"""Width of a region's soft edge, in lengths of the palm: far less than a finger's width, and
enough for a slope where edges nearly meet."""
_STRAIGHT = 0.05
"""Sine of a bend below which its direction is not to be trusted."""


@dataclass(frozen=True, eq=False)
class TargetRegions:
    """Where the bones of a hand seen are, in lengths of the palm.

    Attributes:
        frames: Shape (4, 3, 3), for each finger the directions in space, as rows, to the thumb's
            side, along the hand and out of the palm; x right, y up, z away, the palm upright.
        bases: Shape (4, 2), where each finger starts, seen by the camera.
        lengths: Shape (4, 2), of each finger's two bones.
        leans: Shape (4, 2), sine of each bone's lean to the thumb's side.
        thumb_starts: Shape (2, 2), where the thumb's last two bones start.
        thumb_axes: Shape (2, 2, 2), for each, as rows, itself straightened and where it bends to,
            as long as the bone, as seen.
        thumb_offset_rad: Bend at the thumb's MCP where thumb_proximal is 0 [rad].
        bones: Shape (12, 2, 2), start and end of each joint's bone as seen, in the order of
            `JOINTS`; NaN where unknown.
        thumb_side: As in `JointTargets`.
        centres: Shape (12, 2), middle of each region's window.
        half_sizes: Shape (12,), half its edge.
        masks: Shape (12, GRID, GRID), coverage 0 to 1; NaN where unknown.
    """

    frames: np.ndarray
    bases: np.ndarray
    lengths: np.ndarray
    leans: np.ndarray
    thumb_starts: np.ndarray
    thumb_axes: np.ndarray
    thumb_offset_rad: float
    bones: np.ndarray
    thumb_side: float
    centres: np.ndarray
    half_sizes: np.ndarray
    masks: np.ndarray


def target_regions(points: np.ndarray, side: Side,
                   forearm_direction: np.ndarray | None = None) -> TargetRegions:
    """Find the regions of a hand seen.

    Args:
        points: Shape (21, 3), landmarks in the camera's optical frame, any unit of length.
        side: Whose hand it is anatomically.
        forearm_direction: From elbow to wrist in the picture, shape (2,); None where it is not
            seen, and then wrist and elbow have no region.

    Returns:
        The regions.
    """
    points = np.asarray(points, dtype=float)
    palm_length = np.linalg.norm(points[9] - points[WRIST])
    direction = palm_direction(points)
    upright = np.eye(3)
    upright[:2, :2] = _turn(0.0 if direction is None else lean_from_vertical(direction))
    # In lengths of the palm, x right, y up, z away.
    placed = (points - points[WRIST]) / palm_length * [1.0, -1.0, 1.0] @ upright.T
    lateral = _unit(placed[5] - placed[17])
    frames, lengths, leans = [], [], []
    for first, middle, last, _ in FINGERS.values():
        along = _unit(placed[first] - placed[first] @ lateral * lateral)
        frames.append(np.stack([lateral, along, _out(along, lateral, side)]))
        bones = np.stack([placed[middle] - placed[first], placed[last] - placed[middle]])
        lengths.append(np.linalg.norm(bones, axis=1))
        leans.append(np.clip(bones @ lateral / lengths[-1], -1.0, 1.0))
    thumb_axes, thumb_offset = _thumb(placed, _out(_unit(placed[9]), lateral, side))
    bones = _bones_seen(placed[:, :2], direction, forearm_direction)
    bases = placed[[chain[0] for chain in FINGERS.values()], :2]
    half_sizes = np.concatenate([
        np.linalg.norm(thumb_axes[:, 0], axis=-1), np.repeat(np.sum(lengths, axis=1), 2),
        [_FOREARM_LENGTH] * 2]) + 3.0 * BONE_WIDTH
    centres = np.concatenate([placed[[2, 3], :2], np.repeat(bases, 2, axis=0), np.zeros((2, 2))])
    return TargetRegions(
        frames=np.array(frames), bases=bases, lengths=np.array(lengths), leans=np.array(leans),
        thumb_starts=placed[[2, 3], :2], thumb_axes=thumb_axes[..., :2],
        thumb_offset_rad=thumb_offset, bones=bones, thumb_side=thumb_side_sign(points),
        centres=centres, half_sizes=half_sizes,
        masks=_cover(bones[np.newaxis], centres, half_sizes, _widths())[0])


def _out(along: np.ndarray, lateral: np.ndarray, side: Side) -> np.ndarray:
    """Direction out of the palm; y points up here, which turns handedness round."""
    return _unit(np.cross(along, lateral)) * (1.0 if side == 'right' else -1.0)


def _thumb(placed: np.ndarray, out: np.ndarray) -> tuple[np.ndarray, float]:
    """Planes in which the thumb's last two bones bend, and where thumb_proximal is 0.

    Args:
        placed: Shape (21, 3), landmarks.
        out: Out of the palm, shape (3,).

    Returns:
        Shape (2, 2, 3), each bone straightened and bent by a right angle; and [rad], by the
        formula of thumb_proximal in `angles.py`.
    """
    bones = np.diff(placed[list(THUMB)], axis=0)
    axes = []
    for before, bone in zip(bones[:2], bones[1:], strict=True):
        straight = _unit(before)
        sideways = bone - bone @ straight * straight
        if np.linalg.norm(sideways) < _STRAIGHT * np.linalg.norm(bone):
            # Too straight to tell: thumbs bend towards the palm's middle.
            middle = placed[9] / 2.0 + out - placed[2]
            sideways = middle - middle @ straight * straight
        axes.append(np.stack([straight, _unit(sideways)]) * np.linalg.norm(bone))
    elevation = float(np.arcsin(np.clip(_unit(bones[0]) @ out, -1.0, 1.0)))
    return np.array(axes), THUMB_FLAT_RAD - elevation


class ArmRegions:
    """The arm's bones, put where a person's are."""

    def __init__(self, kinematics: Kinematics) -> None:
        """Find the directions of the arm's bones at the zero pose.

        Args:
            kinematics: The arm.
        """
        self._motion = ArmMotion(kinematics)
        self._order = [kinematics.table.index(name) for name in JOINTS]
        links = [f'{finger}_{part}_link' for finger in FINGERS for part in ('proximal', 'distal')]
        self._joints = np.array([self._motion.joint_of[link] for link in links])
        # A finger's links point along their own z.
        self._directions = np.array([self._motion.zero[link][:3, 2] for link in links])
        self._palm = self._motion.joint_of[PALM_LINK]

    def bones(self, target: TargetRegions, positions_rad: np.ndarray) -> np.ndarray:
        """Find the arm's bones, put where the person's are.

        Args:
            target: The hand seen.
            positions_rad: Shape (m, 12), in the table's order, wrist and elbow in the person's
                terms: positive towards the thumb of the hand seen [rad].

        Returns:
            Shape (m, 12, 2, 2), in the order of `JOINTS`, as `TargetRegions.bones`.
        """
        rotation, _ = self._motion.turns(positions_rad)
        palm = rotation[:, self._palm] @ self._motion.zero[PALM_LINK][:3, :3]
        directions = (rotation[:, self._joints] @ self._directions[..., np.newaxis])[..., 0]
        # In the palm's frame: out of it, to the thumb, along. Spread as the person's are.
        out, _, along = np.moveaxis((directions @ palm).reshape(-1, 4, 2, 3), -1, 0)
        flat = np.sqrt(1.0 - target.leans ** 2) / np.maximum(np.hypot(out, along), 1e-9)
        spread = np.broadcast_to(target.leans, out.shape)
        fingers = np.stack([spread, along * flat, out * flat], axis=-1) @ target.frames
        steps = fingers[..., :2] * target.lengths[..., np.newaxis]
        ends = target.bases[:, np.newaxis] + np.cumsum(steps, axis=2)
        starts = np.concatenate([np.broadcast_to(
            target.bases[:, np.newaxis], ends[:, :, :1].shape), ends[:, :, :1]], axis=2)
        chains = np.stack([starts, ends], axis=3).reshape(-1, 8, 2, 2)
        return np.concatenate([
            self._thumbs(target, positions_rad), chains, self._forearms(target, positions_rad)],
            axis=1)

    def _thumbs(self, target: TargetRegions, positions_rad: np.ndarray) -> np.ndarray:
        """The thumb's last two bones, each bent from where the one before it is seen."""
        bends = positions_rad[:, self._order[:2]] + [target.thumb_offset_rad, 0.0]
        turns = np.stack([np.cos(bends), np.sin(bends)], axis=-1)
        ways = (turns[..., np.newaxis, :] @ target.thumb_axes)[..., 0, :]
        starts = np.broadcast_to(target.thumb_starts, ways.shape)
        return np.stack([starts, starts + ways], axis=2)

    def _forearms(self, target: TargetRegions, positions_rad: np.ndarray) -> np.ndarray:
        """The forearm against the palm, and in the picture: shape (m, 2, 2, 2)."""
        wrist, elbow = (positions_rad[:, column] for column in self._order[10:])
        leans = np.stack([-wrist, elbow], axis=1) * target.thumb_side
        away = -_FOREARM_LENGTH * np.stack([np.sin(leans), np.cos(leans)], axis=-1)
        return np.stack([np.zeros_like(away), away], axis=2)

    def masks(self, target: TargetRegions, positions_rad: np.ndarray) -> np.ndarray:
        """Draw the arm's regions in the windows of a target's.

        Args:
            target: The hand seen.
            positions_rad: As in `bones`.

        Returns:
            Shape (m, 12, GRID, GRID), coverage 0 to 1.
        """
        return _cover(self.bones(target, positions_rad), target.centres, target.half_sizes,
                      _widths())


def _bones_seen(seen: np.ndarray, direction: np.ndarray | None,
                forearm: np.ndarray | None) -> np.ndarray:
    """The bone of each joint in the hand seen, shape (12, 2, 2)."""
    bones = np.full((12, 2, 2), np.nan)
    chains = [THUMB[1:], *(chain[:3] for chain in FINGERS.values())]
    for i, (first, middle, last) in enumerate(chains):
        bones[2 * i], bones[2 * i + 1] = seen[[first, middle]], seen[[middle, last]]
    if forearm is not None:
        lean = lean_from_vertical(forearm)
        bones[11] = _forearm(lean)
        if direction is not None:
            bones[10] = _forearm(-lean_between(forearm, direction))
    return bones


def _forearm(lean: float) -> np.ndarray:
    """The forearm below a wrist at the origin, leaning clockwise: shape (2, 2)."""
    return np.array([[0.0, 0.0], [-np.sin(lean), -np.cos(lean)]]) * _FOREARM_LENGTH


def _cover(bones: np.ndarray, centres: np.ndarray, half_sizes: np.ndarray,
           widths: np.ndarray) -> np.ndarray:
    """Share of each pixel of a window that a bone of some width covers.

    Args:
        bones: Shape (m, k, 2, 2), start and end.
        centres: Shape (k, 2), middles of the windows.
        half_sizes: Shape (k,).
        widths: Shape (k,), half the bones' widths.

    Returns:
        Shape (m, k, GRID, GRID), float32.
    """
    line = ((np.arange(GRID) + 0.5) / GRID * 2.0 - 1.0).astype(np.float32)
    bones = ((bones - centres[:, np.newaxis]) / half_sizes[:, np.newaxis, np.newaxis])
    bones = bones.astype(np.float32)
    start, way = bones[..., 0, :], bones[..., 1, :] - bones[..., 0, :]
    dx = line - start[..., 0, np.newaxis]
    dy = line[::-1] - start[..., 1, np.newaxis]
    length = np.maximum((way ** 2).sum(axis=-1), 1e-9)[..., np.newaxis]
    along = (dx * way[..., :1] / length)[..., np.newaxis, :] + (
        dy * way[..., 1:] / length)[..., np.newaxis]
    np.clip(along, 0.0, 1.0, out=along)
    x = dx[..., np.newaxis, :] - along * way[..., 0, np.newaxis, np.newaxis]
    y = dy[..., np.newaxis] - along * way[..., 1, np.newaxis, np.newaxis]
    distance = np.sqrt(x * x + y * y) * half_sizes.astype(np.float32)[:, None, None]
    edge = widths.astype(np.float32)[:, None, None]
    return np.clip(0.5 + (edge - distance) / np.float32(_SOFT), 0.0, 1.0)


def _widths() -> np.ndarray:
    return np.array([BONE_WIDTH] * 10 + [FOREARM_WIDTH] * 2)


def _turn(lean: float) -> np.ndarray:
    """Rotation, x right and y up, that brings a direction leaning clockwise upright."""
    return np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
