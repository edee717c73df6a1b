"""What can be said of a signal over time: its value at a stamp, its lag, jerk and jitter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hand_imitation.evaluation.recording import Series

GRID_HZ = 100.0
GRID_NS = 10_000_000
"""Step of the even grid on which lag, jerk and jitter are taken: 100 Hz."""

MAX_GAP_NS = 250_000_000
"""Nothing is interpolated over a longer gap between two samples [ns]."""

MIN_MOTION_RAD = np.radians(10.0)
"""A joint that moves less says nothing about lag."""

LAG_RANGE_S = (-0.3, 1.0)
"""Lags looked for: a signal may also run ahead, by what a policy predicts."""

MIN_CORRELATION = 0.5
"""Below this two signals have no lag to speak of."""

REST_WINDOW_S = 0.5
REST_SAMPLES = round(REST_WINDOW_S * GRID_HZ)
REST_MOTION_RAD = np.radians(2.0)
"""The hand rests in a window in which no joint of the reference moves more than this."""


@dataclass(frozen=True)
class Lag:
    """How far one signal follows behind another.

    Attributes:
        lag_s: Positive where it follows, negative where it runs ahead [s].
        correlation: Pearson's correlation at that lag.
    """

    lag_s: float
    correlation: float


def at_times(
    series: Series, time_ns: np.ndarray, max_gap_ns: int = MAX_GAP_NS,
) -> np.ndarray:
    """Interpolate linearly between the two samples around each time.

    Args:
        series: The signal.
        time_ns: Shape (k,), int64, increasing [ns].
        max_gap_ns: No value where the samples around a time are further apart than this [ns].

    Returns:
        Shape (k, n) [rad]; NaN outside the series, in gaps, and beside missing samples.
    """
    times = np.asarray(time_ns, dtype=np.int64)
    joints = series.position_rad.shape[1]
    if len(series.time_ns) == 0:
        return np.full((len(times), joints), np.nan)
    after = np.searchsorted(series.time_ns, times)
    last = len(series.time_ns) - 1
    outside = (times < series.time_ns[0]) | (times > series.time_ns[-1])
    end = np.clip(after, 0, last)
    exact = series.time_ns[end] == times
    start = np.where(exact, end, np.maximum(end - 1, 0))
    span_ns = series.time_ns[end] - series.time_ns[start]
    share = (times - series.time_ns[start]) / np.maximum(span_ns, 1)
    first, second = series.position_rad[start], series.position_rad[end]
    # Not first + share * (second - first): at a sample itself its neighbour must not matter.
    values = np.where(share[:, np.newaxis] > 0.0,
                      first + share[:, np.newaxis] * (second - first), first)
    values[outside | (span_ns > max_gap_ns)] = np.nan
    return values


class LagSums:
    """What the correlation of two signals at every shift is made of, added up piece by piece.

    So hours of recording need no more memory than minutes.

    Attributes:
        shifts: Shape (k,), shifts of the signal looked at, in steps of the grid.
    """

    def __init__(self, joints: int, length: int) -> None:
        """Start with nothing.

        Args:
            joints: Number of joints.
            length: Samples of the whole recording on the grid; of a short one a quarter is the
                largest shift.
        """
        quarter = length // 4
        self.shifts = np.arange(
            max(round(LAG_RANGE_S[0] * GRID_HZ), -quarter),
            min(round(LAG_RANGE_S[1] * GRID_HZ), quarter) + 1)
        self._low, self._high = np.full(joints, np.inf), np.full(joints, -np.inf)
        # Samples; sums of reference and signal, their squares, and their product.
        self._sums = np.zeros((6, len(self.shifts), joints))

    @property
    def reach(self) -> slice:
        """Of the reference's samples, those that every shift can be taken of."""
        return slice(-int(self.shifts[0]), -int(self.shifts[-1]) or None)

    def add(self, reference_rad: np.ndarray, signal_rad: np.ndarray) -> None:
        """Add a piece.

        Args:
            reference_rad: Shape (m, n) [rad], NaN where missing.
            signal_rad: Shape (m + shifts[-1] - shifts[0], n), from shifts[0] samples after the
                first of the reference on.
        """
        known = np.isfinite(reference_rad)
        self._low = np.minimum(
            self._low, np.where(known, reference_rad, np.inf).min(axis=0, initial=np.inf))
        self._high = np.maximum(
            self._high, np.where(known, reference_rad, -np.inf).max(axis=0, initial=-np.inf))
        a, has_a = np.where(known, reference_rad, 0.0), known.astype(float)
        known = np.isfinite(signal_rad)
        whole, has_whole = np.where(known, signal_rad, 0.0), known.astype(float)
        a_squared, whole_squared = a * a, whole * whole
        for place in range(len(self.shifts)):
            part = slice(place, place + len(a))
            b, has_b = whole[part], has_whole[part]
            self._sums[:, place] += (
                _product(has_a, has_b), _product(a, has_b), _product(has_a, b),
                _product(a_squared, has_b), _product(has_a, whole_squared[part]), _product(a, b))

    def lags(self) -> tuple[Lag | None, list[Lag | None]]:
        """Find the lag of all joints that move together, and of each; see `lags`."""
        moving = self._high - self._low >= MIN_MOTION_RAD
        samples, of_a, of_b, a_squared, b_squared, product = self._sums
        samples = np.maximum(samples, 1.0)
        covariance = product - of_a * of_b / samples
        first = a_squared - of_a**2 / samples
        second = b_squared - of_b**2 / samples
        each = [
            _peak(self.shifts, _ratio(covariance[:, c], first[:, c], second[:, c]))
            if moving[c] else None for c in range(len(moving))]
        together = _ratio(
            *(values[:, moving].sum(axis=1) for values in (covariance, first, second)))
        return _peak(self.shifts, together) if moving.any() else None, each


def lags(
    reference_rad: np.ndarray, signal_rad: np.ndarray,
) -> tuple[Lag | None, list[Lag | None]]:
    """Lag of a signal behind a reference by cross-correlation on the 100 Hz grid.

    The lag is the shift k that makes Pearson's correlation of reference[i] and signal[i + k]
    largest, over `LAG_RANGE_S`, refined by a parabola through the peak and its neighbours. An
    offset or another scale of the signal does not change it. For all joints together, their
    covariances and variances are added up before the division. The same stretch of the
    reference serves every shift, all but `LAG_RANGE_S` at its ends, or what comes and goes at
    the ends would pull the peak aside.

    Args:
        reference_rad: Shape (k, n) [rad], NaN where missing, on the grid.
        signal_rad: Shape (k, n), the same for the signal.

    Returns:
        The lag of all joints that move together, and of each. None where the reference moves
        less than 10 degrees, where the best correlation is below `MIN_CORRELATION`, and where
        it lies at the edge of the range.
    """
    sums = LagSums(reference_rad.shape[1], len(reference_rad))
    sums.add(reference_rad[sums.reach], signal_rad)
    return sums.lags()


def jerk_sums(values_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add up the squares of the third differences over the cube of the grid's step.

    Args:
        values_rad: Shape (k, n) [rad], NaN where missing, on the 100 Hz grid.

    Returns:
        Sum [rad^2/s^6] and number of them, shape (n,) each.
    """
    thirds = np.diff(values_rad, n=3, axis=0) * GRID_HZ**3
    known = np.isfinite(thirds)
    return (np.where(known, thirds, 0.0) ** 2).sum(axis=0), known.sum(axis=0)


def jitter_sums(
    reference_rad: np.ndarray, signal_rad: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Add up how much the signal trembles in windows in which the hand rests.

    Windows of `REST_WINDOW_S` count in which, and in the window before, every joint of the
    reference stays within `REST_MOTION_RAD`: what lags has arrived by then. In each the signal's
    variance about its straight line is taken, so that a slow approach is no tremble.

    Args:
        reference_rad: Shape (k, n) [rad], NaN where missing, on the 100 Hz grid.
        signal_rad: Shape (k, n), the same for the signal.

    Returns:
        Sum of the variances [rad^2] and number of windows, shape (n,) each; the first window
        only tells of rest before the second.
    """
    count, joints = len(reference_rad) // REST_SAMPLES, reference_rad.shape[1]
    windows = reference_rad[:count * REST_SAMPLES].reshape(count, REST_SAMPLES, joints)
    # A joint the reference knows nothing of (NaN all through) has no say in this.
    told = np.isfinite(reference_rad).any(axis=0)
    still = ((windows.max(axis=1) - windows.min(axis=1))[:, told] <= REST_MOTION_RAD).all(axis=1)
    resting = np.flatnonzero(still[1:] & still[:-1]) + 1
    if not told.any() or not len(resting):
        return np.zeros(joints), np.zeros(joints, dtype=int)
    inside = signal_rad[:count * REST_SAMPLES].reshape(count, REST_SAMPLES, joints)[resting]
    ramp = np.arange(REST_SAMPLES) - (REST_SAMPLES - 1) / 2.0
    centred = inside - inside.mean(axis=1, keepdims=True)
    slope = np.einsum('wtj,t->wj', centred, ramp) / (ramp @ ramp)
    residual = centred - slope[:, np.newaxis, :] * ramp[:, np.newaxis]
    variance = (residual**2).mean(axis=1)
    known = np.isfinite(variance)
    return np.where(known, variance, 0.0).sum(axis=0), known.sum(axis=0)


def root_mean(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Root of a mean of squares, from their sum and number; NaN of nothing."""
    return np.sqrt(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Sum over time of the products, per joint."""
    return np.einsum('tj,tj->j', first, second)


def _ratio(covariance: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.maximum(first, 0.0) * np.maximum(second, 0.0))
    return np.where(scale > 1e-6, covariance / np.maximum(scale, 1e-6), np.nan)


def _peak(shifts: np.ndarray, scores: np.ndarray) -> Lag | None:
    """The shift of the highest score, between samples by a parabola."""
    if not np.isfinite(scores).any():
        return None
    best = int(np.nanargmax(scores))
    if scores[best] < MIN_CORRELATION or best in (0, len(shifts) - 1):
        return None
    before, peak, after = scores[best - 1:best + 2]
    curvature = before - 2.0 * peak + after
    refined = 0.5 * (before - after) / curvature if curvature < 0.0 else 0.0
    return Lag(float((shifts[best] + refined) / GRID_HZ), float(peak))
