"""Keeps native libraries from writing where a person reads our output."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def native_stderr_held_back() -> Iterator[None]:
    """Hold back what native code writes to standard error, and show it only on failure.

    It works on the file descriptor, so for the whole process: keep the block short.

    Yields:
        Nothing; standard error is back in place afterwards.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except BaseException:
            sink.seek(0)
            os.write(saved, sink.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
