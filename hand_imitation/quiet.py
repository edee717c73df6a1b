"""Keeps native libraries from writing where a person or a program reads our output."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

STDOUT = 1
STDERR = 2


@contextmanager
def quiet(*descriptors: int) -> Iterator[None]:
    """Discard what native code writes inside the block.

    It works on file descriptors, so for the whole process: keep the block short.

    Args:
        descriptors: what to silence; standard output when none is given.
    """
    with ExitStack() as stack:
        for descriptor in descriptors or (STDOUT,):
            stack.enter_context(_discarded(descriptor))
        yield


@contextmanager
def _discarded(descriptor: int) -> Iterator[None]:
    """Point one descriptor at nothing, and back again."""
    try:
        saved = os.dup(descriptor)
    except OSError:  # it is closed; nothing to protect
        yield
        return
    _flush()
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, descriptor)
    os.close(sink)
    try:
        yield
    finally:
        # C keeps its own buffer when stdout is a pipe: empty it before the real one is back.
        _flush()
        os.dup2(saved, descriptor)
        os.close(saved)


def _flush() -> None:
    """Empty the buffers of Python and of C."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    ctypes.CDLL(None).fflush(None)
