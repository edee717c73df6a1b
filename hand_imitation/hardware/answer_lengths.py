"""How many bytes to ask for, so that a late answer cannot pass for the one asked for now."""

from __future__ import annotations

import math

_LEAST = 2
"""With fewer, a Feetech answer could be as long as its question, and taken for an echo of it."""
_USUAL = 4
_MOST = 24
_LATE_S = 0.5
"""Answers later than this are not expected."""


class AnswerLengths:
    """Remembers which lengths are still owed by servos that did not answer."""

    def __init__(self) -> None:
        self._turn = 0
        self._owed_s: dict[int, float] = {}

    def owe(self, size: int, now_s: float) -> None:
        """Note that an answer of this length may still come [bytes, s]."""
        # One more and one less too, in case a byte gets lost or is added on the way.
        for near in (size - 1, size, size + 1):
            self._owed_s[near] = now_s

    def extra(self, size: int, now_s: float) -> int:
        """Choose how many bytes to ask for beyond those that are wanted.

        Two questions in a row get different lengths even if nothing is owed, since an answer
        may come twice.

        Args:
            size: Bytes that are wanted.
            now_s: The time [s].

        Returns:
            The fewest that make a length that nobody owes, or that has been owed for longest.
        """
        self._turn += 1
        usual = [_LEAST + (self._turn + number) % _USUAL for number in range(_USUAL)]
        oldest, oldest_s = usual[0], math.inf
        for extra in (*usual, *range(_LEAST + _USUAL, _MOST)):
            owed_s = self._owed_s.get(size + extra, -math.inf)
            if owed_s < now_s - _LATE_S:
                return extra
            if owed_s < oldest_s:
                oldest, oldest_s = extra, owed_s
        return oldest
