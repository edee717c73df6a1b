"""Finds out when the command that follows a camera frame was written to the bus.

A command carries no stamp, so that it is what a joint_trajectory_controller takes. But the
commander announces on `latency` each frame right after it published the first command from it:
so the newest command that has come in by then is that one, or one made later.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Frame = TypeVar('Frame')
_BEFORE_S = 0.002
"""A command is published this long before it is announced, or less."""
_LONGEST = 100


class FrameTracker(Generic[Frame]):
    """Joins commands, announcements of frames, and writes. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: deque[tuple[int, Frame]] = deque(maxlen=_LONGEST)
        self._command, self._command_s = 0, 0.0
        self._written, self._written_s = 0, 0.0

    def commanded(self, number: int, received_s: float) -> None:
        """Note that a command came in.

        Args:
            number: Its number; grows.
            received_s: When it came [s].
        """
        with self._lock:
            self._command, self._command_s = number, received_s

    def announced(self, frame: Frame, made_s: float) -> float | None:
        """Note that the first command from a frame has been made.

        Args:
            frame: Which frame.
            made_s: When the command had been published [s], on the clock of `commanded`.

        Returns:
            When it was written [s], if it was already; else `written` will give it back.
        """
        with self._lock:
            number = self._command
            if self._command_s < made_s - _BEFORE_S:
                number += 1  # it has overtaken its command
            if 0 < number <= self._written:
                return self._written_s
            self._pending.append((number, frame))
            return None

    def written(self, number: int, written_s: float) -> list[Frame]:
        """Note a write, and return the frames whose command it carries or comes after.

        Args:
            number: Of the command written; 0 for none.
            written_s: When [s].
        """
        found: list[Frame] = []
        with self._lock:
            if number == self._written:
                return found
            self._written, self._written_s = number, written_s
            while self._pending and self._pending[0][0] <= number:
                found.append(self._pending.popleft()[1])
        return found

    def clear(self) -> None:
        """Forget the frames whose command will never be written."""
        with self._lock:
            self._pending.clear()
