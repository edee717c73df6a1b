"""Confidence intervals by a block bootstrap.

Neighbouring frames are not independent: an error that lasts a second is one event, not thirty.
So whole blocks of one second are drawn, with replacement, and the spread of the mean over many
draws is the interval (B. Efron and R. Tibshirani, An Introduction to the Bootstrap, chapter 8).
Two policies are compared on the same frames and the same draws, so what made a moment hard for
both cancels out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK_NS = 1_000_000_000
DRAWS = 1000
CONFIDENCE = 0.95
MIN_BLOCKS = 3
"""With fewer blocks a spread says nothing."""
_SEED = 1


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval, all in the unit of the values.

    Attributes:
        mean: Mean over all values.
        low: Lower end, None with too few blocks.
        high: Upper end, None with too few blocks.
        count: Number of values.
    """

    mean: float
    low: float | None
    high: float | None
    count: int


def block_numbers(time_ns: np.ndarray, start_ns: int) -> np.ndarray:
    """Number the one-second blocks that times fall into.

    Args:
        time_ns: Shape (m,), int64 [ns].
        start_ns: Where block 0 begins [ns].

    Returns:
        Shape (m,), int64.
    """
    return (np.asarray(time_ns, dtype=np.int64) - start_ns) // BLOCK_NS


def block_intervals(values: np.ndarray, blocks: np.ndarray) -> list[Interval | None]:
    """Means of columns of values with the intervals of a block bootstrap.

    Each draw takes as many blocks as there are, with replacement, and its mean is the sum of
    their values over the number of their values. All columns share the draws.

    Args:
        values: Shape (m, k), NaN where missing.
        blocks: Shape (m,), the block each row belongs to.

    Returns:
        k means with their intervals, None where every value of a column is missing.
    """
    known = np.isfinite(values)
    _, places = np.unique(blocks, return_inverse=True)
    number = int(places.max(initial=-1)) + 1
    counts, sums = np.zeros((number, values.shape[1])), np.zeros((number, values.shape[1]))
    for column in range(values.shape[1]):
        has = known[:, column]
        counts[:, column] = np.bincount(places[has], minlength=number)
        sums[:, column] = np.bincount(places[has], values[has, column], minlength=number)
    means = _drawn_means(sums, counts)
    return [_interval(sums[:, c], counts[:, c], means[:, c]) for c in range(values.shape[1])]


def block_interval(values: np.ndarray, blocks: np.ndarray) -> Interval | None:
    """Do what `block_intervals` does, for one column of shape (m,)."""
    return block_intervals(values[:, np.newaxis], blocks)[0]


def paired_difference(
    first: np.ndarray, second: np.ndarray, blocks: np.ndarray,
) -> Interval | None:
    """Compare two policies on the frames where both have a value.

    Args:
        first: Shape (m,), NaN where missing.
        second: Shape (m,), the same for the other policy, in the same frames.
        blocks: Shape (m,), the block of each frame.

    Returns:
        Mean of first minus second with its interval, None where no frame has both.
    """
    return block_interval(first - second, blocks)


def _interval(sums: np.ndarray, counts: np.ndarray, drawn: np.ndarray) -> Interval | None:
    count = int(counts.sum())
    if not count:
        return None
    mean = float(sums.sum() / count)
    if np.count_nonzero(counts) < MIN_BLOCKS:
        return Interval(mean, None, None, count)
    tail = 100.0 * (1.0 - CONFIDENCE) / 2.0
    # A draw of nothing but blocks in which the value is missing has no mean.
    low, high = np.nanpercentile(drawn, [tail, 100.0 - tail])
    return Interval(mean, float(low), float(high), count)


def _drawn_means(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means of all draws, shape (DRAWS, k); the same whenever they are asked for."""
    generator = np.random.default_rng(_SEED)
    number = len(sums)
    means = np.full((DRAWS, sums.shape[1]), np.nan)
    for draw in range(DRAWS if number else 0):
        # How often each block was drawn, one draw at a time: hours need no more memory.
        times = np.bincount(generator.integers(number, size=number), minlength=number)
        total = times @ counts
        np.divide(times @ sums, total, out=means[draw], where=total > 0)
    return means
