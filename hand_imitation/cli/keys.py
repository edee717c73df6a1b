"""What single keys do while a run goes on."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from hand_imitation.cli.keyboard import END, Keyboard

_POLL_S = 0.1


@contextmanager
def listening_to_keys(actions: Mapping[str, Callable[[], None]]) -> Iterator[bool]:
    """Call an action for each key that is pressed, in a thread of its own.

    Args:
        actions: What to do, by key; other keys do nothing.

    Yields:
        Whether there is a terminal to press keys in. A program in the background has none.
    """
    if not _has_terminal():
        yield False
        return
    over = threading.Event()
    with Keyboard() as keyboard:

        def listen() -> None:
            while not over.is_set():
                key = keyboard.read(_POLL_S)
                if key == END:
                    return
                if key is not None and key in actions:
                    actions[key]()

        thread = threading.Thread(target=listen, name='keys', daemon=True)
        thread.start()
        try:
            yield True
        finally:
            over.set()
            thread.join(timeout=2.0)


def _has_terminal() -> bool:
    """Tell whether standard input is a terminal whose keys go to this program."""
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (AttributeError, OSError, ValueError):  # closed, or not our terminal
        return False
