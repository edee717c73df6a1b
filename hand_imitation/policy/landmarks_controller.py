"""What the controller of the `landmarks` policy sees, and how what it says becomes a target.

One small network serves all joints of thumb and fingers: for each it sees the joint's last
estimates, where the joint is, where it was sent, and what the rest of the hand does. It says how
far from the newest estimate to send the joint, so that the arm, which is late, is where the hand
is by then. The environment it learns in and the policy use the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.human.angles import HAND_JOINTS
from hand_imitation.policy.checkpoint import Checkpoint
from hand_imitation.policy.landmarks_network import Network

RATE_HZ = 30.0
"""Of the pictures that a controller learns from; at other rates the nearest slots are used."""
HISTORY = 12
"""Slots of 1/30 s that estimates are remembered in."""
GOALS = 4
"""Targets that are remembered."""
CONTROLLER_VERSION = 1
"""Raised when `controller_inputs` changes."""

_JOINTS = len(HAND_JOINTS)
_OTHERS = np.arange(_JOINTS) ^ 1
"""The other joint of the same finger."""
_ONE_HOT = np.eye(_JOINTS, dtype=np.float32)
CONTROLLER_INPUTS = 3 * HISTORY - 1 + 2 + GOALS + 3 + 2 * _JOINTS
"""Numbers that the controller sees of each joint."""


class Past:
    """What is remembered of some hands and the arms that follow them.

    Attributes:
        estimates: Shape (m, HISTORY, 10), in the order of `HAND_JOINTS`, the newest first [rad];
            where nothing was seen, what was seen before stands in.
        seen: Shape (m, HISTORY), 1 where something was seen.
        goals: Shape (m, GOALS, 10), where the joints were sent, the newest first [rad].
    """

    def __init__(self, count: int) -> None:
        self.estimates = np.zeros((count, HISTORY, _JOINTS), dtype=np.float32)
        self.seen = np.zeros((count, HISTORY), dtype=np.float32)
        self.goals = np.zeros((count, GOALS, _JOINTS), dtype=np.float32)

    def begin(self, which: np.ndarray | slice, estimates_rad: np.ndarray) -> None:
        """Begin with one estimate; the goals before it are taken to be the same.

        Args:
            which: Numbers of the hands, k of them.
            estimates_rad: Shape (k, 10) [rad].
        """
        self.estimates[which] = self.goals[which] = estimates_rad[:, np.newaxis]
        self.seen[which] = 0.0
        self.seen[which, 0] = 1.0

    def add(self, estimates_rad: np.ndarray, seen: np.ndarray) -> None:
        """Begin a new slot.

        Args:
            estimates_rad: Shape (m, 10) [rad], or anything that can be broadcast to it.
            seen: Shape (m,), bool; elsewhere the estimate before is kept.
        """
        self.estimates[:, 1:] = self.estimates[:, :-1].copy()
        self.seen[:, 1:] = self.seen[:, :-1].copy()
        self.seen[:, 0] = seen
        self.estimates[:, 0] = np.where(
            seen[:, np.newaxis], estimates_rad, self.estimates[:, 1])

    def sent(self, goals_rad: np.ndarray) -> None:
        """Note where the joints are sent: shape (m, 10) [rad]."""
        self.goals[:, 1:] = self.goals[:, :-1].copy()
        self.goals[:, 0] = goals_rad


def controller_inputs(past: Past, measured_rad: np.ndarray) -> np.ndarray:
    """Make what the controller sees.

    Args:
        past: What is remembered of m hands.
        measured_rad: Shape (m, 10), where the joints are, NaN where that is not known [rad].

    Returns:
        Shape (m, 10, CONTROLLER_INPUTS), float32.
    """
    count = len(measured_rad)
    newest = past.estimates[:, 0]
    known = np.isfinite(measured_rad)
    # Without a measurement the joint is taken to be where it was sent.
    measured = np.where(known, measured_rad, past.goals[:, 0])
    told = np.empty((count, _JOINTS, CONTROLLER_INPUTS), dtype=np.float32)
    column = HISTORY
    told[..., 0] = newest
    told[..., 1:column] = (past.estimates[:, 1:] - newest[:, np.newaxis]).transpose(0, 2, 1)
    told[..., column:column + HISTORY] = past.seen[:, np.newaxis]
    column += HISTORY
    told[..., column] = measured - newest
    told[..., column + 1] = known
    column += 2
    told[..., column:column + GOALS] = (past.goals - newest[:, np.newaxis]).transpose(0, 2, 1)
    column += GOALS
    told[..., column] = newest.take(_OTHERS, axis=1)
    told[..., column + 1] = told[..., 2].take(_OTHERS, axis=1)
    told[..., column + 2] = told[..., 5].take(_OTHERS, axis=1)
    column += 3
    # Fingers begin and end their movements together: how fast the whole hand moved, and when,
    # tells each of them more than its own noisy estimates.
    speed = np.abs(past.estimates[:, :-1] - past.estimates[:, 1:]).sum(axis=2) / _JOINTS
    told[..., column:column + HISTORY - 1] = speed[:, np.newaxis]
    column += HISTORY - 1
    told[..., column:column + _JOINTS] = newest[:, np.newaxis]
    told[..., column + _JOINTS:] = _ONE_HOT
    return told


class Controller(Protocol):
    """Says where to send the joints of one arm."""

    def reset(self) -> None:
        """Forget the past."""

    def __call__(
        self, angles_rad: np.ndarray, smooth_rad: np.ndarray, points: np.ndarray,
        measured_rad: np.ndarray | None, stamp_s: float, thumb_side: float,
    ) -> np.ndarray:
        """Say where to send the joints.

        Args:
            angles_rad: Shape (12,), the newest estimate, in the order of `JOINTS` [rad]; wrist
                and elbow as leans in the image, NaN where they cannot be told.
            smooth_rad: The same, smoothed.
            points: Shape (21, 3), the landmarks it comes from.
            measured_rad: Shape (12,), where the joints are, in the arm's terms; or None [rad].
            stamp_s: When the picture was taken [s].
            thumb_side: As in `JointTargets`.

        Returns:
            Shape (12,), in the terms of the estimate [rad].
        """


def squashing(layout: Mapping[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Give what brings an actor's outputs between -1 and 1: 'tanh', or else clipping."""
    if layout.get('squash') == 'tanh':
        return np.tanh
    return lambda values: np.minimum(np.maximum(values, -1.0), 1.0)


class Predict:
    """Says how far from the newest estimates joints are to be sent, by a network.

    Args:
        checkpoint: Holds the network.
        name: 'predictor', learned by supervision, which sees `controller_inputs`; or 'controller',
            learned by trial, which sees what the predictor says besides.

    Raises:
        UserError: It is of another version, or damaged.
    """

    def __init__(self, checkpoint: Checkpoint, name: str) -> None:
        layout = checkpoint.layout[name]
        inputs = CONTROLLER_INPUTS + (name == 'controller')
        given = {key: layout.get(key) for key in ('version', 'inputs', 'outputs')}
        if given != {'version': CONTROLLER_VERSION, 'inputs': inputs, 'outputs': 1}:
            raise UserError(
                f"checkpoint '{checkpoint.name}' has a {name} of another version: train it "
                "again by 'hand-imitation train --policy landmarks --estimate CHECKPOINT'")
        self._network = Network(checkpoint, name, layout)
        self._residual_rad = float(layout['residual_rad'])
        self._squash = squashing(layout)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Predict: inputs of shape (k, n) give shape (k,) [rad]."""
        return self._residual_rad * self._squash(self._network(inputs)[:, 0])


class JointController:
    """Predictor and controller for the joints of thumb and fingers; wrist and elbow are smoothed.

    Args:
        checkpoint: Holds one of the two networks or both.
        lower_rad: Shape (12,), limits of the joints in the order of `JOINTS` [rad].
        upper_rad: Shape (12,) [rad].

    Raises:
        UserError: A network is of another version, or damaged.
    """

    def __init__(self, checkpoint: Checkpoint, lower_rad: np.ndarray,
                 upper_rad: np.ndarray) -> None:
        self._predictor, self._learned = (
            Predict(checkpoint, name) if name in checkpoint.layout else None
            for name in ('predictor', 'controller'))
        self._lower_rad, self._upper_rad = lower_rad[:_JOINTS], upper_rad[:_JOINTS]
        self._past = Past(1)
        self._last_s: float | None = None

    def reset(self) -> None:
        """See `Controller.reset`."""
        self._last_s = None

    def __call__(
        self, angles_rad: np.ndarray, smooth_rad: np.ndarray, points: np.ndarray,
        measured_rad: np.ndarray | None, stamp_s: float, thumb_side: float,
    ) -> np.ndarray:
        """See `Controller`."""
        estimates = np.minimum(
            np.maximum(angles_rad[:_JOINTS], self._lower_rad), self._upper_rad)
        if self._last_s is None:
            self._past.begin(slice(None), estimates[np.newaxis])
            self._last_s = stamp_s
            return smooth_rad
        self._remember(estimates, stamp_s)
        measured = (np.full((1, _JOINTS), np.nan) if measured_rad is None
                    else measured_rad[np.newaxis, :_JOINTS])
        inputs = controller_inputs(self._past, measured)[0]
        ahead = np.zeros(_JOINTS) if self._predictor is None else self._predictor(inputs)
        goals = estimates + ahead
        if self._learned is not None:
            goals += self._learned(np.column_stack([inputs, ahead]).astype(np.float32))
        goals = np.minimum(np.maximum(goals, self._lower_rad), self._upper_rad)
        self._past.sent(goals[np.newaxis])
        return np.concatenate([goals, smooth_rad[_JOINTS:]])

    def _remember(self, estimates: np.ndarray, stamp_s: float) -> None:
        """Put an estimate into its slot; pictures that did not come leave slots unseen."""
        assert self._last_s is not None
        slots = round((stamp_s - self._last_s) * RATE_HZ)
        for _ in range(min(slots, HISTORY) - 1):
            self._past.add(estimates, np.zeros(1, dtype=bool))
            self._past.sent(self._past.goals[:, 0])
        if slots > 0:
            self._past.add(estimates, np.ones(1, dtype=bool))
            self._last_s += slots / RATE_HZ
            # Slots follow the pictures, whose rate is not quite 30 Hz.
            self._last_s += 0.1 * (stamp_s - self._last_s)
        else:
            self._past.estimates[:, 0] = estimates
