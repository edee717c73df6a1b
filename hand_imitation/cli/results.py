"""Writes results so that nobody takes a part of them for the whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hand_imitation.errors import UserError


def check_out(out: Path, names: Sequence[str]) -> None:
    """Make sure that results can be written, without writing.

    Args:
        out: The folder; it need not exist.
        names: What will be written. Anything else in it is somebody else's.

    Raises:
        UserError: They cannot, or the folder holds other things.
    """
    nearest = next(p for p in (out.resolve(), *out.resolve().parents) if p.exists())
    if not nearest.is_dir():
        raise UserError(f"'{nearest}' is a file: give a folder for --out")
    others = [p.name for p in out.iterdir() if p.name not in names] if out.is_dir() else []
    if others:
        raise UserError(
            f"'{out}' holds other things, such as '{others[0]}': give an empty or a new folder")
    if not os.access(nearest, os.W_OK):
        raise UserError(f"'{nearest}' may not be written to: give another folder")


@contextlib.contextmanager
def written_at_once(out: Path) -> Iterator[Path]:
    """Write results beside their folder, and move them there when all is done.

    Args:
        out: The folder, checked by `check_out`.

    Yields:
        A folder to write to. It vanishes where an exception passes.
    """
    parent = next(p for p in out.resolve().parents if p.is_dir())
    with tempfile.TemporaryDirectory(prefix='.hand_imitation_', dir=parent) as folder:
        work = Path(folder) / 'results'
        work.mkdir()
        yield work
        out.mkdir(parents=True, exist_ok=True)
        for path in sorted(work.iterdir()):
            target = out / path.name
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
