"""People reduced to their joints: hands that move at human speed, and how perception sees them.

For training only: what is wrong with an estimate follows MediaPipe's measured error (see
`PerceptionFaults`); scores use real perception on pictures. Everything is computed for many
people at once, and wrist and elbow are in the person's terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hand_imitation.human.angles import FINGERS, THUMB_FLAT_RAD, WRIST

LANDMARKS = 21
_DIP_PER_PIP = 0.7
_MAX_RAD = np.array([1.3, 1.3, *([1.55] * 8), 0.45, 0.9])
_MIN_RAD = np.array([*([0.0] * 10), -0.45, -0.9])
_MCP = np.array([[0.28, 0.94, 0.0], [0.02, 1.0, 0.0], [-0.22, 0.94, 0.0], [-0.42, 0.82, 0.0]])
"""Knuckles of index to little finger, in lengths of the palm: to the thumb, up, out."""
_BONES = np.array([[0.46, 0.27, 0.21], [0.51, 0.31, 0.22], [0.47, 0.30, 0.22],
                   [0.37, 0.22, 0.20]])
_CMC = np.array([0.26, 0.24, 0.08])
_THUMB_BONES = np.array([0.48, 0.36, 0.28])
_SPREAD_RAD = np.array([0.12, 0.02, -0.10, -0.24])
_PROXIMAL = [list(row) for row in zip(*FINGERS.values(), strict=True)]


@dataclass(frozen=True)
class PerceptionFaults:
    """What is wrong with estimates; low and high, drawn anew for each episode.

    With the defaults the mean error of the eight finger joints is 12 degrees, and 5 to 23 in nine
    of ten episodes: MediaPipe's is 9 on the sample clip and 20 on pictures of hands alone.

    Attributes:
        bias: Standard deviation of a landmark's constant error, in lengths of the palm.
        wander: The same of an error that changes with a time constant of 0.2 s.
        jitter: The same of an error new in each picture.
        depth: How much larger errors are along the camera's axis.
        lean_rad: Standard deviation of the forearm's direction [rad].
        missing: Share of pictures without a detection, in runs of 4 on average.
        delay_s: From the picture until its estimate is there [s].
    """

    bias: tuple[float, float] = (0.01, 0.055)
    wander: tuple[float, float] = (0.005, 0.03)
    jitter: tuple[float, float] = (0.002, 0.012)
    depth: tuple[float, float] = (1.0, 2.0)
    lean_rad: tuple[float, float] = (0.01, 0.08)
    missing: tuple[float, float] = (0.0, 0.10)
    delay_s: tuple[float, float] = (0.02, 0.10)


@dataclass(frozen=True, eq=False)
class Sight:
    """What perception says of a picture of each person.

    Attributes:
        points: Shape (m, 21, 3), landmarks from the wrist, in lengths of the palm, optical frame.
        estimates_rad: Shape (m, 12), in the order of `JOINTS` [rad].
        valid: Shape (m,), bool: a hand was detected.
    """

    points: np.ndarray
    estimates_rad: np.ndarray
    valid: np.ndarray


class People(Protocol):
    """Somebody before each camera."""

    def reset(self, which: np.ndarray, random: np.random.Generator) -> None:
        """Let others take the place of some people, shape (k,)."""

    def advance(self, seconds: float, random: np.random.Generator) -> None:
        """Let time pass."""

    def truth(self) -> np.ndarray:
        """The people's poses now: shape (m, 12), in the order of `JOINTS` [rad]."""

    def look(self, random: np.random.Generator) -> Sight:
        """Take a picture of everybody now, and let perception look at it."""

    def delays_s(self) -> np.ndarray:
        """How long perception takes: shape (m,) [s]."""


class StickPeople:
    """People who reach for one pose after another along minimum-jerk curves."""

    def __init__(self, count: int, moving: bool = True,
                 faults: PerceptionFaults | None = None) -> None:
        """Make them; `reset` draws who they are.

        Args:
            count: How many.
            moving: Otherwise each holds one pose for the whole episode.
            faults: What is wrong with estimates; None for perfect ones.
        """
        self._moving = moving
        self._faults = faults
        self._count = count
        self._pose: np.ndarray
        self._pose, self._start, self._goal = (np.zeros((count, 12)) for _ in range(3))
        self._time, self._reach_s, self._hold_s = (np.zeros(count) for _ in range(3))
        self._spread = np.zeros((count, 4))
        self._bones = np.zeros((count, 5, 3))
        self._view = np.tile(np.eye(3), (count, 1, 1))
        self._left = np.zeros(count, dtype=bool)
        self._across = np.zeros(count)
        self._levels = {name: np.zeros(count) for name in PerceptionFaults.__dataclass_fields__}
        self._bias, self._wander = (np.zeros((count, LANDMARKS, 3)) for _ in range(2))
        self._lost: np.ndarray = np.zeros(count, dtype=bool)

    def reset(self, which: np.ndarray, random: np.random.Generator) -> None:
        """See `People.reset`."""
        count = len(which)
        self._bones[which] = np.stack([_THUMB_BONES, *_BONES]) * np.exp(
            random.normal(0.0, 0.05, (count, 1, 1)) + random.normal(0.0, 0.04, (count, 5, 3)))
        self._spread[which] = _SPREAD_RAD + random.normal(0.0, 0.07, (count, 4))
        self._across[which] = random.uniform(0.1, 0.9, count)
        self._left[which] = random.random(count) < 0.5
        self._view[which] = _views(random, count)
        self._goal[which] = self._pose[which] = self._start[which] = draw_poses(random, count)
        self._time[which], self._reach_s[which] = 0.0, 1e-3
        self._hold_s[which] = random.uniform(0.0, 0.5, count) if self._moving else np.inf
        if self._faults is not None:
            for name, level in self._levels.items():
                low, high = getattr(self._faults, name)
                level[which] = random.uniform(low, high, count)
            shape = count, LANDMARKS, 3
            self._bias[which] = random.normal(size=shape) * self._scale('bias', which)
            self._wander[which] = random.normal(size=shape) * self._scale('wander', which)
            self._lost[which] = random.random(count) < self._levels['missing'][which]

    def advance(self, seconds: float, random: np.random.Generator) -> None:
        """See `People.advance`."""
        self._time += seconds
        done = np.flatnonzero(self._time >= self._reach_s + self._hold_s)
        if len(done):
            self._start[done], self._goal[done] = self._goal[done], draw_poses(random, len(done))
            furthest = np.abs(self._goal[done] - self._start[done]).max(axis=1)
            # Mean speeds of 1.5 to 5 rad/s are what fingers do in gestures.
            self._reach_s[done] = np.maximum(furthest / random.uniform(1.5, 5.0, len(done)), 0.2)
            self._hold_s[done] = random.exponential(0.25, len(done))
            self._time[done] = 0.0
        t = np.clip(self._time / self._reach_s, 0.0, 1.0)[:, np.newaxis]
        share = t ** 3 * (10.0 - 15.0 * t + 6.0 * t * t)
        self._pose = self._start + share * (self._goal - self._start)
        if self._faults is not None:
            keep = np.exp(-seconds / 0.2)
            fresh = random.normal(size=self._wander.shape) * self._scale('wander')
            self._wander = keep * self._wander + np.sqrt(1.0 - keep ** 2) * fresh
            # Runs of 4 pictures at 30 Hz, lost in the asked share of the time.
            share_lost = self._levels['missing']
            again = np.where(self._lost, 0.75, 0.25 * share_lost / (1.0 - share_lost))
            self._lost = random.random(self._count) < again

    def truth(self) -> np.ndarray:
        """See `People.truth`."""
        return self._pose.copy()

    def points(self) -> np.ndarray:
        """True landmarks: shape (m, 21, 3), from the wrist, in lengths of the palm, optical."""
        points = _points(self._pose, self._bones, self._spread, self._across)
        points = points @ self._view.transpose(0, 2, 1)
        # Upright as seen, then leaning as wrist and elbow say; the thumb is clockwise here.
        seen = np.arctan2(points[:, 9, 0], -points[:, 9, 1])
        turn = self._pose[:, 10] + self._pose[:, 11] - seen
        cosine, sine = np.cos(turn)[:, np.newaxis], np.sin(turn)[:, np.newaxis]
        x, y = points[..., 0].copy(), points[..., 1].copy()
        points[..., 0], points[..., 1] = cosine * x - sine * y, sine * x + cosine * y
        points[self._left, :, 0] *= -1.0
        return points

    def look(self, random: np.random.Generator) -> Sight:
        """See `People.look`."""
        points = self.points()
        elbow = self._pose[:, 11].copy()
        valid = np.ones(self._count, dtype=bool)
        if self._faults is not None:
            error = self._bias + self._wander + random.normal(size=points.shape) * (
                self._scale('jitter'))
            error[..., 2] *= self._levels['depth'][:, np.newaxis]
            points = points + error - error[:, :1]
            elbow += random.normal(size=self._count) * self._levels['lean_rad']
            valid = ~self._lost
        return Sight(points, estimated_angles(points, self._left, elbow), valid)

    def delays_s(self) -> np.ndarray:
        """See `People.delays_s`."""
        return self._levels['delay_s'].copy()

    def _scale(self, name: str, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        return self._levels[name][which][:, np.newaxis, np.newaxis]


def draw_poses(random: np.random.Generator, count: int) -> np.ndarray:
    """Draw poses: each finger open, closed or between, neighbours alike, thumb on its own.

    Args:
        random: Where to draw from.
        count: How many.

    Returns:
        Shape (count, 12), in the order of `JOINTS` [rad].
    """
    # In a third of the poses the fingers go together, in the others each for itself.
    together = random.beta(0.6, 0.6, (count, 1))
    alone = random.beta(0.5, 0.5, (count, 4))
    closure = np.where(random.random((count, 1)) < 0.35, together, alone)
    pull = 0.15 * (np.roll(closure, 1, axis=1) + np.roll(closure, -1, axis=1)) / 2.0
    closure = np.clip(0.85 * closure + pull, 0.0, 1.0)[..., np.newaxis]
    bends = closure * [1.35, 1.5] + random.normal(0.0, [0.18, 0.20], (count, 4, 2))
    thumb = random.beta(0.8, 0.8, (count, 1)) * [1.0, 1.0] + random.normal(0.0, 0.15, (count, 2))
    lean = random.normal(0.0, [0.15, 0.30], (count, 2))
    poses = np.concatenate([thumb, bends.reshape(count, 8), lean], axis=1)
    return np.clip(poses, _MIN_RAD, _MAX_RAD)


def estimated_angles(points: np.ndarray, left: np.ndarray, elbow_rad: np.ndarray) -> np.ndarray:
    """The formulas of `human/angles.py` for many hands at once.

    Args:
        points: Shape (m, 21, 3), optical frame.
        left: Shape (m,), bool: left hands.
        elbow_rad: Shape (m,), the forearm's lean, positive towards the thumb [rad].

    Returns:
        Shape (m, 12), in the order of `JOINTS` [rad].
    """
    # Mirrored, a left hand is a right one.
    points = np.where(left[:, None, None], points * [-1.0, 1.0, 1.0], points)
    axis = _unit(points[:, 5] - points[:, 17])[:, np.newaxis]
    mcp, pip, dip = (points[:, rows] for rows in _PROXIMAL[:3])
    bones = np.stack([mcp - points[:, :1], pip - mcp, dip - pip], axis=1)
    axis_of_bones = axis[:, np.newaxis]
    flat = bones - (bones * axis_of_bones).sum(-1, keepdims=True) * axis_of_bones
    bends = np.arctan2((np.cross(flat[:, :-1], flat[:, 1:]) * axis_of_bones).sum(-1),
                       (flat[:, :-1] * flat[:, 1:]).sum(-1))
    normal = _unit(np.cross(axis[:, 0], points[:, 9] - points[:, WRIST]))
    thumb = np.diff(points[:, 1:5], axis=1)
    elevation = np.arcsin(np.clip((_unit(thumb[:, 0]) * normal).sum(-1), -1.0, 1.0))
    proximal = elevation + _angle(thumb[:, 0], thumb[:, 1]) - THUMB_FLAT_RAD
    palm = points[:, 9] - points[:, WRIST]
    across = points[:, 5, :2] - points[:, 17, :2]
    sign = np.where(palm[:, 0] * across[:, 1] - palm[:, 1] * across[:, 0] >= 0.0, 1.0, -1.0)
    lean = sign * np.arctan2(palm[:, 0], -palm[:, 1])
    wrist = (lean - elbow_rad + np.pi) % (2.0 * np.pi) - np.pi
    return np.column_stack([
        proximal, _angle(thumb[:, 1], thumb[:, 2]), bends.transpose(0, 2, 1).reshape(-1, 8),
        wrist, elbow_rad])


def _points(pose: np.ndarray, bones: np.ndarray, spread: np.ndarray,
            across: np.ndarray) -> np.ndarray:
    """Landmarks of right hands in the rest frame: to the thumb, down, from palm to back."""
    count = len(pose)
    points = np.zeros((count, LANDMARKS, 3))
    # In thumb, up, out coordinates; the axis of bending is the line through the knuckles.
    lateral = _unit(_MCP[0] - _MCP[3])
    along = _unit(_MCP - (_MCP @ lateral)[:, np.newaxis] * lateral)
    bends = pose[:, 2:10].reshape(count, 4, 2)
    angles = np.stack([bends[..., 0], bends.sum(-1), bends @ [1.0, 1.0 + _DIP_PER_PIP]], axis=2)
    forward = np.cos(angles)[..., None] * along[:, np.newaxis] + (
        np.sin(angles)[..., None] * np.array([0.0, 0.0, 1.0]))
    lean = spread * np.cos(bends[..., 0])
    steps = np.cos(lean)[..., None, None] * forward + np.sin(lean)[..., None, None] * lateral
    chain = _MCP[:, np.newaxis] + np.cumsum(steps * bones[:, 1:, :, np.newaxis], axis=2)
    for finger, rows in enumerate(FINGERS.values()):
        points[:, rows[0]] = _MCP[finger]
        points[:, rows[1:]] = chain[:, finger]
    points[:, 1:5] = _thumbs(pose, bones[:, 0], across, lateral)
    return points * [1.0, -1.0, -1.0]


def _thumbs(pose: np.ndarray, bones: np.ndarray, across: np.ndarray,
            lateral: np.ndarray) -> np.ndarray:
    """The thumb's landmarks, shape (m, 4, 3), to the thumb, up, out."""
    # Of the whole bend at the base a third lifts the metacarpal, as people's thumbs do.
    lift = 0.40 + 0.30 * pose[:, 0]
    bend = THUMB_FLAT_RAD + pose[:, 0] - lift
    up = np.array([0.0, 0.0, 1.0])
    ahead = np.cross(up, lateral)
    azimuth = 0.95 - 0.7 * across * pose[:, 0]
    flat = np.sin(azimuth)[:, None] * lateral + np.cos(azimuth)[:, None] * ahead
    first = np.cos(lift)[:, None] * flat + np.sin(lift)[:, None] * up
    # It bends across the palm, away from its own side.
    inward = 0.35 * up - lateral
    sideways = _unit(inward - (first * inward).sum(-1, keepdims=True) * first)
    steps = [first]
    for angle in (bend, bend + pose[:, 1]):
        steps.append(np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * sideways)
    chain = np.cumsum(np.stack(steps, axis=1) * bones[..., np.newaxis], axis=1) + _CMC
    return np.concatenate([np.broadcast_to(_CMC, (len(pose), 1, 3)), chain], axis=1)


def _views(random: np.random.Generator, count: int) -> np.ndarray:
    """Turns of hands about the forearm and about the line across it, shape (count, 3, 3)."""
    yaw, pitch = random.normal(0.0, 0.45, count), random.normal(0.0, 0.25, count)
    turn = np.zeros((count, 2, 3, 3))
    turn[:] = np.eye(3)
    for place, axes, angle in ((0, (0, 2), yaw), (1, (1, 2), pitch)):
        i, j = axes
        turn[:, place, i, i] = turn[:, place, j, j] = np.cos(angle)
        turn[:, place, i, j], turn[:, place, j, i] = -np.sin(angle), np.sin(angle)
    return turn[:, 1] @ turn[:, 0]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.arctan2(np.linalg.norm(np.cross(first, second), axis=-1),
                      (first * second).sum(-1))
