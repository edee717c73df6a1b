"""Data sets of synthetic people as targets of the environments (see docs/dataset.md)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.human.angles import thumb_side_sign
from hand_imitation.learning.feeds import Hand, LabelledPictures, Labels
from hand_imitation.learning.stick_people import Sight, estimated_angles


def pictures_of(arrays: Mapping[str, np.ndarray]) -> LabelledPictures:
    """Make a feed for the pixels environment of a data set of kind `pixels`.

    Args:
        arrays: As `dataset.load_dataset` gives them.

    Returns:
        Its pictures with their truth, picked at random.
    """
    labels = []
    for angles, valid, points, joints, right in zip(
            *(arrays[name] for name in ('angles_rad', 'valid', 'points_px', 'joints_m', 'right')),
            strict=True):
        forearm = (joints[0] - joints[21])[:2].astype(float) if valid[11] else None
        hand = Hand(points.astype(float), joints[:21].astype(float),
                    'right' if right else 'left', forearm)
        labels.append(Labels(np.where(valid, angles, np.nan).astype(float), hand,
                             thumb_side_sign(joints)))
    # The data set is RGB, feeds are BGR.
    return LabelledPictures(arrays['picture'][..., ::-1], labels)


class RecordedPeople:
    """Motion sequences and what real perception saw of them, for the landmarks environment.

    Everybody starts somewhere in a sequence picked at random; at its end it is played backwards.
    """

    def __init__(self, count: int, arrays: Mapping[str, np.ndarray], rate_hz: float = 30.0,
                 delay_s: tuple[float, float] = (0.02, 0.06)) -> None:
        """Prepare the sequences.

        Args:
            count: How many people there are at a time.
            arrays: Of a data set of kind `motion`.
            rate_hz: Pictures per second of the sequences.
            delay_s: How long perception takes, low and high; one for each episode [s].

        Raises:
            UserError: There is no sequence in which a hand was detected.
        """
        self._rate_hz, self._delay_s = rate_hz, delay_s
        self._truth = np.array(arrays['angles_rad'], dtype=float)
        self._valid = np.array(arrays['detected'], dtype=bool)
        world = np.array(arrays['seen_world_m'], dtype=float)
        length = np.linalg.norm(world[:, 9] - world[:, 0], axis=-1)[:, None, None]
        self._points = (world - world[:, :1]) / np.maximum(length, 1e-6)
        self._estimates = _estimates(self._points, arrays)
        number = np.asarray(arrays['sequence'])
        starts = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
        self._bounds = np.array([
            (start, stop) for start, stop in zip(starts, [*starts[1:], len(number)], strict=True)
            if self._valid[start:stop].any() and stop - start > 1], dtype=int)
        if not len(self._bounds):
            raise UserError('no hand was detected in any of the sequences: give a data set of '
                            "kind 'motion'")
        for start, stop in self._bounds:
            _fill(self._truth[start:stop], np.isfinite(self._truth[start:stop]))
            seen = np.isfinite(self._estimates[start:stop]) & self._valid[start:stop, np.newaxis]
            _fill(self._estimates[start:stop], seen)
        self._sequence = np.zeros(count, dtype=int)
        self._time_s, self._late_s = np.zeros(count), np.zeros(count)

    def reset(self, which: np.ndarray, random: np.random.Generator) -> None:
        """See `People.reset`."""
        self._sequence[which] = random.integers(len(self._bounds), size=len(which))
        start, stop = self._bounds[self._sequence[which]].T
        self._time_s[which] = random.random(len(which)) * (stop - start) / self._rate_hz
        low, high = self._delay_s
        self._late_s[which] = random.uniform(low, high, len(which))

    def advance(self, seconds: float, random: np.random.Generator) -> None:
        """See `People.advance`."""
        self._time_s += seconds

    def truth(self) -> np.ndarray:
        """See `People.truth`."""
        return self._truth[self._rows()]

    def look(self, random: np.random.Generator) -> Sight:
        """See `People.look`; what was seen is what was recorded."""
        rows = self._rows()
        return Sight(self._points[rows], self._estimates[rows], self._valid[rows])

    def delays_s(self) -> np.ndarray:
        """See `People.delays_s`."""
        return self._late_s.copy()

    def _rows(self) -> np.ndarray:
        """The row each of the people is at, forwards and backwards in turn."""
        start, stop = self._bounds[self._sequence].T
        last = stop - start - 1
        step = np.round(self._time_s * self._rate_hz).astype(int) % (2 * last)
        return start + np.where(step > last, 2 * last - step, step)


def _estimates(points: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Angles from what was seen: shape (rows, 12), NaN where there is no forearm [rad]."""
    forearm = np.asarray(arrays['seen_forearm'], dtype=float)
    lean = np.arctan2(forearm[:, 0], -forearm[:, 1])
    sign = np.array([thumb_side_sign(hand) for hand in points])
    return estimated_angles(points, ~np.asarray(arrays['seen_right'], dtype=bool), sign * lean)


def _fill(values: np.ndarray, known: np.ndarray) -> None:
    """Replace, in place, what is not known by the last that was, column by column."""
    for column, good in zip(values.T, known.T, strict=True):
        rows = np.flatnonzero(good)
        if len(rows):
            nearest = np.clip(np.searchsorted(rows, np.arange(len(column)), 'right') - 1, 0, None)
            column[:] = column[rows[nearest]]
        else:
            column[:] = 0.0
