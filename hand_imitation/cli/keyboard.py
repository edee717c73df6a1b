"""Keys pressed while a command runs."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from types import TracebackType

ENTER = '\n'
END = ''
"""What `Keyboard.read` returns once nothing more can come."""


class Keyboard:
    """Single keys from a terminal, or characters from a pipe.

    A context manager: while it is open a key counts without Enter and is not shown. Ctrl-C still
    interrupts.
    """

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()
        self._before: list | None = None

    def __enter__(self) -> Keyboard:
        if os.isatty(self._descriptor):
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def read(self, timeout_s: float) -> str | None:
        """Wait for a key.

        Args:
            timeout_s: How long to wait [s].

        Returns:
            The key, `ENTER` for Enter; None where none was pressed, `END` where the pipe ended
            or the terminal closed.
        """
        ready, _, _ = select.select([self._descriptor], [], [], timeout_s)
        if not ready:
            return None
        try:
            key = os.read(self._descriptor, 1).decode(errors='replace')
        except OSError:
            return END
        return ENTER if key == '\r' else key
