"""What the landmarks environment shows, and an actor that was trained on it.

The environment (`learning/landmarks_environment.py`) and the policy put their observations
together here, so that an actor meets the same numbers in both.
"""

from __future__ import annotations

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.policy.checkpoint import Checkpoint
from hand_imitation.policy.landmarks_controller import squashing
from hand_imitation.policy.landmarks_network import Network

ACTIONS = ('absolute', 'residual')
_LIMIT = 10.0


def palm_lengths(points: np.ndarray) -> np.ndarray:
    """Give landmarks from the wrist, in lengths of the palm.

    Args:
        points: Shape (m, 21, 3), any unit.

    Returns:
        The same shape.
    """
    from_wrist = points - points[:, :1]
    length = np.sqrt((from_wrist[:, 9] ** 2).sum(axis=-1))[:, np.newaxis, np.newaxis]
    return np.asarray(from_wrist / np.maximum(length, 1e-6))


def observation_sizes(history: int, joints: int) -> dict[str, int]:
    """Name the parts of an observation and tell how many numbers each has, in order."""
    return {'landmarks': 63, 'estimates': history * joints, 'valid': history,
            'joints': history * joints, 'commands': history * joints}


def assembled(points: np.ndarray, estimates: np.ndarray, valid: np.ndarray, joints: np.ndarray,
              commands: np.ndarray) -> np.ndarray:
    """Put an observation together.

    Args:
        points: Shape (m, 63), see `palm_lengths`.
        estimates: Shape (m, history, n), the newest first; like all angles here scaled so that
            joint limits are at -1 and 1.
        valid: Shape (m, history), whether a hand was detected.
        joints: Shape (m, history, n), measured.
        commands: Shape (m, history, n), the own past ones.

    Returns:
        Shape (m, numbers), float32.
    """
    count = len(points)
    parts = [points, estimates.reshape(count, -1), valid, joints.reshape(count, -1),
             commands.reshape(count, -1)]
    return np.concatenate(parts, axis=1).clip(-_LIMIT, _LIMIT).astype(np.float32)


class ObservationController:
    """An actor that sees what the landmarks environment shows; a `Controller`.

    Wrist and elbow are measured in the arm's terms, which a policy does not know, so for them
    the command stands in for the measurement.

    Args:
        checkpoint: Holds the actor.
        lower_rad: Shape (12,), limits of the joints in the order of `JOINTS` [rad].
        upper_rad: Shape (12,) [rad].

    Raises:
        UserError: It is of another form, or damaged.
    """

    def __init__(self, checkpoint: Checkpoint, lower_rad: np.ndarray,
                 upper_rad: np.ndarray) -> None:
        layout = checkpoint.layout['controller']
        joints, history = len(lower_rad), layout.get('history')
        if layout.get('action') not in ACTIONS or not isinstance(history, int) or layout.get(
                'inputs') != sum(observation_sizes(history, joints).values()):
            raise UserError(
                f"checkpoint '{checkpoint.name}' has a controller of another form: train it "
                "again by 'hand-imitation train --policy landmarks'")
        self._network = Network(checkpoint, 'controller', layout)
        self._squash = squashing(layout)
        self._residual_rad = (float(layout.get('residual_rad', 0.4))
                              if layout['action'] == 'residual' else None)
        self._lower_rad, self._upper_rad = lower_rad, upper_rad
        self._middle = (upper_rad + lower_rad) / 2.0
        self._half = (upper_rad - lower_rad) / 2.0
        self._past = {name: np.zeros((1, history, joints))
                      for name in ('estimates', 'joints', 'commands')}
        self._begun = False

    def reset(self) -> None:
        """See `Controller.reset`."""
        self._begun = False

    def __call__(
        self, angles_rad: np.ndarray, smooth_rad: np.ndarray, points: np.ndarray,
        measured_rad: np.ndarray | None, stamp_s: float, thumb_side: float,
    ) -> np.ndarray:
        """See `Controller`."""
        # The environment is in the person's terms, estimates are leans in the image.
        turn = np.ones_like(angles_rad)
        turn[-2:] = thumb_side
        known = np.isfinite(angles_rad)
        newest = np.where(known, (angles_rad * turn - self._middle) / self._half, 0.0)
        past = self._past
        sent = past['commands'][0, 0].copy() if self._begun else newest
        joints = sent.copy()
        if measured_rad is not None and np.isfinite(measured_rad[:-2]).all():
            joints[:-2] = ((measured_rad - self._middle) / self._half)[:-2]
        for name, value in (('estimates', newest), ('joints', joints)):
            past[name][:, 1:] = past[name][:, :-1].copy()
            past[name][:, 0 if self._begun else slice(None)] = value
        if not self._begun:
            past['commands'][:] = newest
        self._begun = True
        action = self._squash(self._network(assembled(
            palm_lengths(points[np.newaxis]).reshape(1, 63), past['estimates'],
            np.ones((1, past['joints'].shape[1])), past['joints'], past['commands']))[0])
        goals = (self._middle + action * self._half if self._residual_rad is None
                 else newest * self._half + self._middle + self._residual_rad * action)
        goals = np.minimum(np.maximum(goals, self._lower_rad), self._upper_rad)
        past['commands'][:, 1:] = past['commands'][:, :-1].copy()
        past['commands'][:, 0] = (goals - self._middle) / self._half
        return np.where(known, goals * turn, np.nan)
