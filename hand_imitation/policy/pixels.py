"""The `pixels` policy: a small network on the picture itself, which also finds the hand.

Where no hand was followed, windows of several sizes over the whole picture are searched; the best
one is laid closer around the hand it holds. From then on the window follows the landmarks that the
network tells; it is looked at together with its mirror image, and the answers are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.human.angles import JOINTS, WRIST, lean_from_vertical
from hand_imitation.human.observation import LANDMARKS, HandObservation
from hand_imitation.policy.base import JointTargets
from hand_imitation.policy.checkpoint import Checkpoint
from hand_imitation.policy.filters import GlitchFilter, OneEuroFilter
from hand_imitation.policy.geometric import MAX_LEAN_RAD
from hand_imitation.policy.pixels_look import Looks
from hand_imitation.policy.pixels_network import OUTPUTS
from hand_imitation.policy.pixels_parameters import PixelsParameters
from hand_imitation.policy.pixels_window import Window, window_around, windows_over
from hand_imitation.policy.sight import Sight

_MIDDLE_MCP = 9
_CLOSER = 2
"""How often a window found by searching is laid closer around the hand."""


@dataclass(frozen=True)
class Look:
    """What the network says of a window.

    Attributes:
        score: That it holds a hand, 0 to 1.
        angles_rad: Shape (12,), in the order of `JOINTS`, wrist and elbow as leans in the image,
            clockwise positive, NaN where they cannot be told [rad].
        points_px: Shape (21, 2), landmarks in the picture [px].
        thumb_side: As in `JointTargets`.
    """

    score: float
    angles_rad: np.ndarray
    points_px: np.ndarray
    thumb_side: float


class PixelsPolicy:
    """A network on the picture; see the module.

    Attributes:
        sight: What was seen in the last picture.
        points_px: Shape (21, 2), the landmarks found in it, or None [px].

    Args:
        table: The arm's joints; targets are clipped to its limits.
        checkpoint: Holds the network.
        parameters: Finding and filtering.

    Raises:
        UserError: The checkpoint is not for this policy.
    """

    uses_joint_positions = False
    uses_perception = False

    def __init__(self, table: JointTable, checkpoint: Checkpoint,
                 parameters: PixelsParameters | None = None) -> None:
        self._parameters = parameters or PixelsParameters()
        order = [table.index(name) for name in JOINTS]
        self._lower_rad, self._upper_rad = table.lower_rad[order], table.upper_rad[order]
        self._looks = Looks(checkpoint)
        self._glitches = GlitchFilter(self._parameters.max_velocity_rad_s)
        self._smoothing = OneEuroFilter(self._parameters.min_cutoff_hz, self._parameters.beta)
        self.sight = Sight()
        self.points_px: np.ndarray | None = None
        self._last_s = -np.inf

    def reset(self) -> None:
        """Forget the hand and the past."""
        self.sight, self.points_px = Sight(), None
        self._last_s = -np.inf

    def act(
        self, observation: HandObservation, joint_positions: np.ndarray | None, now_s: float,
    ) -> JointTargets | None:
        """Find the hand and tell its angles; see `Policy.act`."""
        if observation.image is None:
            self.sight = Sight()
            return None
        look = self._find(observation.image)
        if look is None:
            self.sight, self.points_px = Sight(), None
            return None
        self.sight, self.points_px = Sight(True, None, look.score), look.points_px
        stamp_s = observation.stamp_s
        if not 0.0 <= stamp_s - self._last_s <= self._parameters.max_gap_s:
            self._glitches.reset()
            self._smoothing.reset()
        self._last_s = stamp_s
        angles = self._smoothing(self._glitches(look.angles_rad, stamp_s), stamp_s)
        angles[-2:] *= look.thumb_side
        known = np.isfinite(angles)
        positions = np.clip(angles, self._lower_rad, self._upper_rad)[known]
        names = tuple(name for name, told in zip(JOINTS, known, strict=True) if told)
        return JointTargets(names, positions, stamp_s, look.thumb_side)

    def _find(self, picture: np.ndarray) -> Look | None:
        """Follow the hand, or look for one."""
        least = self._parameters.min_score
        if self.points_px is not None:
            look = self._look(picture, [window_around(self.points_px)])[0]
            if look.score >= least:
                return look
        height, width = picture.shape[:2]
        look = max(self._look(picture, windows_over(width, height), mirrored=False),
                   key=lambda one: one.score)
        for _ in range(_CLOSER):
            if look.score < least:
                return None
            look = self._look(picture, [window_around(look.points_px)])[0]
        return look if look.score >= least else None

    def _look(self, picture: np.ndarray, windows: Sequence[Window],
              mirrored: bool = True) -> list[Look]:
        """Look into windows, and into their mirror images."""
        cut = np.stack([window.cut(picture, self._looks.size_px) for window in windows])
        seen = self._looks(cut, mirrored)
        return [_understood(values, window)
                for values, window in zip(seen, windows, strict=True)]


def _understood(values: np.ndarray, window: Window) -> Look:
    """Put the network's words, shape (58,), into terms of the picture."""
    points = window.to_picture(values[OUTPUTS['points']].reshape(LANDMARKS, 2))
    leans = np.where(values[OUTPUTS['forearm']] > 0.0, values[OUTPUTS['leans']], np.nan)
    if np.isnan(leans[1]):
        # No forearm is seen: the palm stands in for it.
        leans[1] = lean_from_vertical(points[_MIDDLE_MCP] - points[WRIST])
    if abs(leans[1]) > MAX_LEAN_RAD:
        leans[1] = np.nan
    score = 1.0 / (1.0 + np.exp(-values[OUTPUTS['detected']][0]))
    return Look(float(score), np.concatenate([values[OUTPUTS['fingers']], leans]), points,
                1.0 if values[OUTPUTS['thumb_side']][0] > 0.0 else -1.0)
