"""Filters on joint angles: glitches out first, then smoothing with a known lag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hand_imitation.parameters import parameter


@dataclass(frozen=True)
class FilterParameters:
    """What every policy that smooths its angles can be told."""

    min_cutoff_hz: float = parameter(
        1.5, 'Smoothing cutoff of a hand at rest; lower is steadier.', lower=0.1, upper=30.0,
        unit='Hz')
    beta: float = parameter(
        2.0, 'Growth of the cutoff with speed; higher lags less. A joint that moves at v rad/s '
        'lags by 1 / (2 pi (min_cutoff_hz + beta v)) s.', lower=0.0, upper=100.0,
        unit='Hz per rad/s')
    max_velocity_rad_s: float = parameter(
        25.0, 'Faster than this a single estimate is a glitch and waits for the next to '
        'confirm it.', lower=1.0, upper=1000.0, unit='rad/s')
    max_gap_s: float = parameter(
        0.3, 'After a longer time without a hand the past is forgotten.', lower=0.0, upper=10.0,
        unit='s')


class GlitchFilter:
    """Holds back a value that jumps faster than a hand can move, until the next confirms it.

    A real motion that is this fast is delayed by one sample; a single wild estimate never
    passes.

    Args:
        max_velocity_rad_s: Fastest believable motion [rad/s].
    """

    def __init__(self, max_velocity_rad_s: float) -> None:
        self._max_velocity = max_velocity_rad_s
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next value passes as it is."""
        self._accepted: np.ndarray | None = None
        self._suspect: np.ndarray | None = None
        self._last_s = 0.0

    def __call__(self, values: np.ndarray, stamp_s: float) -> np.ndarray:
        """Filter the next sample.

        Args:
            values: Shape (n,) [rad]; NaN where unknown, which stays NaN.
            stamp_s: Time of the sample [s].

        Returns:
            Shape (n,) [rad].
        """
        if self._accepted is None or self._suspect is None:
            self._accepted, self._suspect = values.copy(), values.copy()
            self._last_s = stamp_s
            return values.copy()
        reach = self._max_velocity * max(stamp_s - self._last_s, 1e-3)
        self._last_s = stamp_s
        # NaN compares False: an unknown past value lets the new one through.
        jumped = np.abs(values - self._accepted) > reach
        unconfirmed = ~(np.abs(values - self._suspect) <= reach)
        self._suspect = values.copy()
        result = np.where(jumped & unconfirmed, self._accepted, values)
        self._accepted = np.where(np.isnan(result), self._accepted, result)
        return result


class OneEuroFilter:
    """Smooths more the slower a value moves.

    Casiez, Roussel and Vogel, "1 Euro Filter", CHI 2012: an exponential average whose cutoff
    is min_cutoff + beta * speed. While a value moves at a constant speed v it lags by
    1 / (2 pi (min_cutoff + beta v)) seconds.

    Args:
        min_cutoff_hz: Cutoff at rest [Hz].
        beta: Growth of the cutoff with speed [Hz per rad/s].
        speed_cutoff_hz: Cutoff of the speed estimate [Hz].
    """

    def __init__(
        self, min_cutoff_hz: float, beta: float, speed_cutoff_hz: float = 2.0,
    ) -> None:
        self._min_cutoff = min_cutoff_hz
        self._beta = beta
        self._speed_cutoff = speed_cutoff_hz
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next value passes as it is."""
        self._value: np.ndarray | None = None
        self._raw: np.ndarray | None = None
        self._speed: np.ndarray | None = None
        self._last_s = 0.0

    def __call__(self, values: np.ndarray, stamp_s: float) -> np.ndarray:
        """Filter the next sample.

        Args:
            values: Shape (n,) [rad]; NaN where unknown, which stays NaN.
            stamp_s: Time of the sample [s].

        Returns:
            Shape (n,) [rad].
        """
        if self._value is None or self._raw is None or self._speed is None:
            self._value, self._raw = values.copy(), values.copy()
            self._speed = np.zeros_like(values)
            self._last_s = stamp_s
            return values.copy()
        period = max(stamp_s - self._last_s, 1e-3)
        self._last_s = stamp_s
        known, begun = ~np.isnan(values), ~np.isnan(self._value)
        raw_speed = np.where(known & begun, (values - self._raw) / period, 0.0)
        self._speed = self._speed + _weight(self._speed_cutoff, period) * (
            raw_speed - self._speed)
        weight = _weight(self._min_cutoff + self._beta * np.abs(self._speed), period)
        moved = self._value + weight * (values - self._value)
        self._value = np.where(begun, np.where(known, moved, self._value), values)
        self._raw = np.where(known, values, self._raw)
        return np.where(known, self._value, np.nan)


def _weight(cutoff_hz: np.ndarray | float, period_s: float) -> np.ndarray | float:
    """Weight of the newest sample in an exponential average of a given cutoff."""
    share = 2.0 * np.pi * cutoff_hz * period_s
    return share / (1.0 + share)
