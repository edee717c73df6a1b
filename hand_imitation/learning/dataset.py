"""Data sets of synthetic people: shards on disk, made in parallel, resumed where they stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.learning.data_card import write_card, write_contact_sheet
from hand_imitation.learning.sequences import make_motion
from hand_imitation.learning.shards import (
    SHARD_PICTURES,
    Arrays,
    make_landmarks,
    make_pixels,
)
from hand_imitation.learning.splits import find_split

KINDS = ('pixels', 'landmarks', 'motion')
VERSION = 2
"""Raised when the same seeds give other pictures."""

_POLL_S = 2.0


@dataclass(frozen=True)
class Recipe:
    """What a data set holds; two of the same recipe are the same.

    Attributes:
        kind: 'pixels' for pictures, 'landmarks' for what perception sees in them,
            'motion' for what it sees in moving hands.
        split: 'train', 'validation' or 'test'.
        images: How many pictures.
        size_px: Their side; perception has its own.
        seed: 0 for the frozen splits.
        version: Of the generator.
    """

    kind: str
    split: str
    images: int
    size_px: int = 128
    seed: int = 0
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"no data set of kind '{self.kind}': give one of {', '.join(KINDS)}")
        find_split(self.split)
        if self.images < 1:
            raise UserError(f'{self.images} images are none: give 1 or more')
        if not 32 <= self.size_px <= 512:
            raise UserError(f'pictures of {self.size_px} px cannot be made: give 32 to 512')

    @property
    def shards(self) -> int:
        """Number of files."""
        return -(-self.images // SHARD_PICTURES)

    def numbers(self, shard: int) -> range:
        """Give the pictures of one shard."""
        start = shard * SHARD_PICTURES
        return range(start, min(start + SHARD_PICTURES, self.images))


def write_dataset(
    folder: Path, recipe: Recipe, workers: int = 2, pause_file: Path | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Write a data set, or what is missing of it.

    Args:
        folder: Where to; a folder that was begun with the same recipe is continued.
        recipe: What to write. More images than before are added to those there.
        workers: Processes.
        pause_file: While this file exists, nothing is made.
        progress: Called with the share done.

    Returns:
        The data card.

    Raises:
        UserError: The folder holds another data set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, recipe)
    missing = [shard for shard in range(recipe.shards) if not _complete(folder, recipe, shard)]
    progress(1.0 - len(missing) / recipe.shards)
    tasks = [(folder, recipe, shard, pause_file) for shard in missing]
    for done, _ in enumerate(_run(tasks, workers), start=1):
        progress(1.0 - (len(missing) - done) / recipe.shards)
    arrays = load_dataset(folder)
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
              for path in shard_files(folder)}
    if 'picture' in arrays:
        write_contact_sheet(folder / 'contact_sheet.png', arrays['picture'])
    return write_card(folder, asdict(recipe), arrays, hashes)


def load_dataset(folder: Path, fields: Sequence[str] | None = None) -> Arrays:
    """Read a data set, as far as it is written.

    Args:
        folder: Where it lies.
        fields: Which arrays; None for all.

    Returns:
        Arrays with one row a picture, in the order of their numbers; see `docs/dataset.md`.

    Raises:
        UserError: There is none.
    """
    files = shard_files(folder)
    if not files:
        raise UserError(f"no data set in '{folder}': make one with 'hand-imitation dataset'")
    parts: dict[str, list[np.ndarray]] = {}
    for path in files:
        with np.load(path) as shard:
            for name in fields or shard.files:
                parts.setdefault(name, []).append(shard[name])
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def find_dataset(data: Path, kind: str, split: str) -> Path:
    """Find a data set among those that learning is given.

    Args:
        data: Folder with data sets by kind and split, such as `pixels/train`.
        kind: One of `KINDS`.
        split: 'train', 'validation' or 'test'.

    Returns:
        Its folder.

    Raises:
        UserError: It is not there.
    """
    folder = data / kind / split
    if not shard_files(folder):
        raise UserError(
            f"no data set in '{folder}': make it with 'hand-imitation dataset --kind {kind} "
            f"--split {split} --out {folder}', or give another --data")
    return folder


def shard_files(folder: Path) -> list[Path]:
    """List the files of a data set that are complete, in order."""
    return sorted(folder.glob('shard_*.npz'))


def _claim(folder: Path, recipe: Recipe) -> None:
    """Write down the recipe, or check that the folder was begun with the same."""
    path = folder / 'recipe.json'
    if path.exists():
        before = json.loads(path.read_text())
        differing = [key for key, value in asdict(recipe).items()
                     if key != 'images' and before.get(key) != value]
        if differing or before['images'] > recipe.images:
            raise UserError(
                f"'{folder}' holds another data set (it differs in "
                f"{', '.join(differing or ['images'])}): give another --out or remove it")
    elif any(folder.glob('*.npz')):
        raise UserError(f"'{folder}' holds other files: give another --out")
    path.write_text(json.dumps(asdict(recipe), indent=1))


def _complete(folder: Path, recipe: Recipe, shard: int) -> bool:
    """Whether a shard is there with all its pictures (the last one may have been shorter)."""
    path = _shard_path(folder, shard)
    if not path.exists():
        return False
    with np.load(path) as arrays:
        return len(arrays['number']) == len(recipe.numbers(shard))


def _run(tasks: list[tuple[Path, Recipe, int, Path | None]], workers: int) -> Iterator[int]:
    """Yield as shards are finished."""
    if workers <= 1 or len(tasks) <= 1:
        yield from map(_write_shard, tasks)
        return
    # Spawned, not forked: perception and rasteriser hold threads and native state.
    # Ctrl-C is the parent's to see; it ends them.
    with multiprocessing.get_context('spawn').Pool(
            min(workers, len(tasks)), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield from pool.imap_unordered(_write_shard, tasks)


def _write_shard(task: tuple[Path, Recipe, int, Path | None]) -> int:
    """Make one shard and put it in place at once, so that there are no halves."""
    folder, recipe, shard, pause_file = task
    cv2.setNumThreads(1)

    def wait() -> None:
        while pause_file is not None and pause_file.exists():
            time.sleep(_POLL_S)

    split, numbers = find_split(recipe.split), recipe.numbers(shard)
    if recipe.kind == 'pixels':
        arrays = make_pixels(split, recipe.seed, numbers, recipe.size_px, wait)
    elif recipe.kind == 'landmarks':
        arrays = make_landmarks(split, recipe.seed, numbers, wait)
    else:
        arrays = make_motion(split, recipe.seed, numbers, wait)
    path = _shard_path(folder, shard)
    unfinished = path.with_suffix(f'.{os.getpid()}.tmp')
    try:
        with unfinished.open('wb') as file:
            np.savez(file, **cast(dict[str, Any], arrays))
        unfinished.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()
    return shard


def _shard_path(folder: Path, shard: int) -> Path:
    return folder / f'shard_{shard:04d}.npz'


