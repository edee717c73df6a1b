"""Percentiles of durations over a whole run, in bounded memory."""

from __future__ import annotations

import numpy as np

_BIN_S = 5e-5
_BINS = 4000
"""Durations up to 0.2 s are told apart; longer ones count as that."""


class CycleTimes:
    """A histogram of durations, fine enough for percentiles to 0.05 ms."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)
        self.count = 0
        self.longest_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one duration [s], of at least zero."""
        self._counts[min(int(duration_s / _BIN_S), _BINS - 1)] += 1
        self.count += 1
        self.longest_s = max(self.longest_s, duration_s)

    def percentile_ms(self, percent: float) -> float | None:
        """Return a percentile [ms], the upper end of its bin, or None before anything was counted.

        Args:
            percent: From 0 to 100.
        """
        if self.count == 0:
            return None
        rank = np.searchsorted(np.cumsum(self._counts), percent / 100.0 * self.count)
        return float(min((int(rank) + 1) * _BIN_S, self.longest_s) * 1e3)
