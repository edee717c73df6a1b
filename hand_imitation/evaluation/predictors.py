"""The classic remedies against noise and lag: smooth an estimate and extrapolate it.

They are what a learned controller is held against: each is tuned on validation people for the
least tracking error, by the same safety filter and servos, and then judged on others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.evaluation.moving import MovingPeople
from hand_imitation.evaluation.plain_policies import RecordedPolicy
from hand_imitation.evaluation.tracking import Tracked, TrackingOptions, track
from hand_imitation.human.observation import HandObservation
from hand_imitation.policy.base import LEANING_JOINTS, JointTargets, Policy
from hand_imitation.policy.filters import OneEuroFilter

GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    'ema': {
        'cutoff_hz': (1.0, 1.5, 2.5, 4.0, 6.0, 10.0, 20.0),
        'horizon_s': (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
        'speed_cutoff_hz': (0.7, 1.5, 3.0, 6.0),
    },
    'one_euro': {
        'cutoff_hz': (0.7, 1.5, 3.0, 6.0, 12.0),
        'beta': (0.5, 1.0, 2.0, 4.0, 8.0),
        'horizon_s': (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
        'speed_cutoff_hz': (0.7, 1.5, 3.0, 6.0),
    },
    'kalman': {
        'acceleration': (1.0, 3.0, 10.0, 30.0, 100.0, 300.0),
        'horizon_s': (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    },
}
"""Values tried for each predictor."""
MAX_GAP_S = 0.3
"""After a longer time without an estimate a predictor starts afresh."""
_NOISE_RAD = 0.05
"""Of one estimate, for the Kalman filter; only its ratio to the acceleration matters."""


class Predictor(Protocol):
    """Turns a series of noisy angles into where they will be a little later."""

    def __call__(self, values: np.ndarray, stamp_s: float) -> np.ndarray:
        """Take the next sample, shape (n,), NaN where unknown, and predict [rad]."""


class SmoothedPredictor:
    """An average of the past, carried on at its own smoothed speed.

    Args:
        cutoff_hz: Of the average, at rest [Hz].
        horizon_s: How far to carry on [s].
        speed_cutoff_hz: Of the speed's average [Hz].
        beta: Growth of the cutoff with speed, as in `OneEuroFilter`; 0 is a plain exponential
            moving average.
    """

    def __init__(self, cutoff_hz: float, horizon_s: float, speed_cutoff_hz: float,
                 beta: float = 0.0) -> None:
        self._values = OneEuroFilter(cutoff_hz, beta)
        self._speeds = OneEuroFilter(speed_cutoff_hz, 0.0)
        self._horizon_s = horizon_s
        self._last: tuple[np.ndarray, float] | None = None

    def __call__(self, values: np.ndarray, stamp_s: float) -> np.ndarray:
        """See `Predictor`."""
        smooth = self._values(values, stamp_s)
        if self._last is None:
            speed = np.zeros_like(smooth)
        else:
            before, before_s = self._last
            speed = (smooth - before) / max(stamp_s - before_s, 1e-3)
        self._last = smooth, stamp_s
        return smooth + self._horizon_s * np.nan_to_num(self._speeds(speed, stamp_s))


class KalmanPredictor:
    """A Kalman filter that takes the speed for constant but for random accelerations.

    Process noise of a white acceleration, as in Bar-Shalom, Li and Kirubarajan, "Estimation with
    Applications to Tracking and Navigation" (2001), section 6.2.2.

    Args:
        acceleration: Root of the power density of the acceleration [rad/s^1.5].
        horizon_s: How far to predict [s].
    """

    def __init__(self, acceleration: float, horizon_s: float) -> None:
        self._density = acceleration ** 2
        self._horizon_s = horizon_s
        self._state: np.ndarray | None = None
        self._last_s = 0.0

    def __call__(self, values: np.ndarray, stamp_s: float) -> np.ndarray:
        """See `Predictor`."""
        known = np.isfinite(values)
        if self._state is None:
            # Rows: angle, speed, and the three numbers of their covariance.
            self._state = np.zeros((5, len(values)))
            self._state[2], self._state[4] = 1e3, 1e3
            self._last_s = stamp_s
        dt = stamp_s - self._last_s
        self._last_s = stamp_s
        angle, speed, p_aa, p_as, p_ss = self._state
        angle = angle + dt * speed
        p_aa = p_aa + dt * (2.0 * p_as + dt * p_ss) + self._density * dt ** 3 / 3.0
        p_as = p_as + dt * p_ss + self._density * dt ** 2 / 2.0
        p_ss = p_ss + self._density * dt
        total = p_aa + _NOISE_RAD ** 2
        gain_a, gain_s = (np.where(known, row / total, 0.0) for row in (p_aa, p_as))
        news = np.where(known, values - angle, 0.0)
        self._state = np.stack([
            angle + gain_a * news, speed + gain_s * news,
            (1.0 - gain_a) * p_aa, (1.0 - gain_a) * p_as, p_ss - gain_s * p_as])
        return np.where(known, self._state[0] + self._horizon_s * self._state[1], np.nan)


def make_predictor(kind: str, values: Mapping[str, float]) -> Predictor:
    """Make a predictor of `GRIDS`.

    Args:
        kind: 'ema', 'one_euro' or 'kalman'.
        values: Its numbers by name.
    """
    return KalmanPredictor(**values) if kind == 'kalman' else SmoothedPredictor(**values)


class PredictedPolicy:
    """A policy whose targets pass through a predictor.

    Args:
        estimate: Whose targets.
        table: The arm's joints.
        kind: Of the predictor.
        values: Its numbers.
    """

    def __init__(self, estimate: Policy, table: JointTable, kind: str,
                 values: Mapping[str, float]) -> None:
        self._estimate = estimate
        self._table = table
        self._kind, self._settings = kind, dict(values)
        self._leaning = [table.index(name) for name in LEANING_JOINTS]
        self.uses_joint_positions = estimate.uses_joint_positions
        self.uses_perception = estimate.uses_perception
        self._predictor = make_predictor(kind, values)
        self._last_s = -np.inf

    def reset(self) -> None:
        """Forget the past."""
        self._estimate.reset()
        self._restart()

    def act(
        self, observation: HandObservation, joint_positions: np.ndarray | None, now_s: float,
    ) -> JointTargets | None:
        """Predict what the policy wants; see `Policy.act`."""
        targets = self._estimate.act(observation, joint_positions, now_s)
        if targets is None:
            return None
        if targets.stamp_s - self._last_s > MAX_GAP_S:
            self._restart()
        self._last_s = targets.stamp_s
        # As leans in the image, which do not jump when a hand turns over.
        angles = self._table.reorder(targets.names, targets.positions_rad)
        angles[self._leaning] *= targets.thumb_side
        angles = self._predictor(angles, targets.stamp_s)
        angles[self._leaning] *= targets.thumb_side
        known = np.isfinite(angles)
        names = tuple(name for name, has in zip(self._table.names, known, strict=True) if has)
        return JointTargets(
            names, self._table.clip(angles)[known], targets.stamp_s, targets.thumb_side)

    def _restart(self) -> None:
        self._predictor = make_predictor(self._kind, self._settings)
        self._last_s = -np.inf


Said = Sequence[Sequence[JointTargets | None]]
"""What was said to each frame of each sequence."""


def recorded(policy: Policy, seen: Iterable[Iterable[HandObservation]]) -> Said:
    """Write down what a policy that needs no arm says.

    Args:
        policy: The policy; reset before each sequence.
        seen: Per sequence the frames.

    Returns:
        Its targets.
    """
    said = []
    for of_one in seen:
        policy.reset()
        said.append([policy.act(observation, None, observation.stamp_s)
                     for observation in of_one])
    return said


@dataclass(frozen=True)
class Tuned:
    """The best predictor found.

    Attributes:
        kind: A key of `GRIDS`.
        values: Its numbers.
        error_deg: Of the eight finger joints, on the people it was tuned on [deg].
    """

    kind: str
    values: dict[str, float]
    error_deg: float

    def of(self, said: Said, people: MovingPeople, table: JointTable,
           options: TrackingOptions) -> Tracked:
        """Follow people by it; arguments as in `tune`."""
        return _tracked(said, people, table, options, self.kind, self.values)

    def document(self) -> dict[str, Any]:
        """Give it for JSON."""
        return {'kind': self.kind, **self.values,
                'validation_error_deg': round(self.error_deg, 3)}


def tune(
    said: Said, people: MovingPeople, table: JointTable,
    options: TrackingOptions, kind: str, rounds: int = 2,
    progress: Callable[[float], None] = lambda share: None,
) -> Tuned:
    """Find the numbers with which a predictor tracks best: one after another, over their grids.

    Args:
        said: The estimates, from `recorded`.
        people: Whom they are of.
        table: The arm's joints.
        options: Under what conditions they are followed.
        kind: A key of `GRIDS`.
        rounds: How often each number is gone through.
        progress: Called with the share done.

    Returns:
        The best.
    """
    grid = GRIDS[kind]
    errors: dict[tuple[float, ...], float] = {}

    def error_of(values: dict[str, float]) -> float:
        key = tuple(values.values())
        if key not in errors:
            tracked = _tracked(said, people, table, options, kind, values)
            errors[key] = float(tracked.errors_of().mean())
        return errors[key]

    best = {name: choices[len(choices) // 2] for name, choices in grid.items()}
    steps = rounds * len(grid)
    for step in range(steps):
        name = list(grid)[step % len(grid)]
        best = min(({**best, name: choice} for choice in grid[name]), key=error_of)
        progress((step + 1) / steps)
    return Tuned(kind, best, error_of(best))


def _tracked(
    said: Said, people: MovingPeople, table: JointTable,
    options: TrackingOptions, kind: str, values: Mapping[str, float],
) -> Tracked:
    return track(
        lambda place: PredictedPolicy(RecordedPolicy(said[place]), table, kind, values),
        people, table, options)
