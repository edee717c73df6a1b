"""What a learned policy is kept in: a folder with weights and what must be known of them.

`weights.safetensors` holds the numbers, `checkpoint.json` the rest: which kind of policy, the
joints it was trained for, what the network is and takes, how it came about, its figures, and the
SHA-256 of the weights. Neither can hold code, and nothing else is ever read. Whoever loads one
gets it whole or not at all, also while another is saved in its place.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hand_imitation import __version__
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError

DESCRIPTION = 'checkpoint.json'
WEIGHTS = 'weights.safetensors'
FORMAT = 'hand_imitation checkpoint'
VERSION = 1
KINDS = ('landmarks', 'pixels')
MAX_WEIGHTS_BYTES = 9_800_000
MAX_DESCRIPTION_BYTES = 200_000
"""Together they stay below 10 MB, so that a checkpoint can ship with the package."""

_NEXT = '.next'
"""Ends the name of a file that is to take another's place."""
_ATTEMPTS = 20
"""A checkpoint that is replaced this often while it is read is not one that stands still."""
_FORBIDDEN = {
    b'\x80': 'a pickled file', b'PK\x03\x04': 'a zip archive, as PyTorch saves them',
    b'\x1f\x8b': 'a gzip archive', b'\x89HDF': 'an HDF5 file', b'\x93NUMPY': 'a numpy file'}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint, read and checked.

    Attributes:
        kind: Which policy it is for, one of `KINDS`.
        tensors: Weights by name, float32, finite, read-only.
        layout: What the network is and what it takes.
        training: How it came about.
        figures: What it was measured to do.
        sha256: Of the weights.
        name: What to call it in tables: the name of its folder.
    """

    kind: str
    tensors: dict[str, np.ndarray]
    layout: dict[str, Any]
    training: dict[str, Any]
    figures: dict[str, Any]
    sha256: str
    name: str = ''

    def tensor(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Return a tensor that must be there.

        Args:
            name: Of the tensor.
            shape: What it must have; None for any length.

        Raises:
            UserError: It is missing or of another shape.
        """
        found = self.tensors.get(name)
        fits = found is not None and len(found.shape) == len(shape) and all(
            wanted is None or wanted == size
            for wanted, size in zip(shape, found.shape, strict=True))
        if found is None or not fits:
            has = 'is missing' if found is None else f'has shape {found.shape}, not {shape}'
            raise UserError(f"checkpoint '{self.name}': tensor '{name}' {has}: {_RETRAIN}")
        return found


_RETRAIN = "save it again with this version by 'hand-imitation train'"
_COPY = 'copy it again from where it came, or train it again'


def save_checkpoint(
    folder: Path, kind: str, tensors: Mapping[str, np.ndarray], table: JointTable, *,
    layout: Mapping[str, Any], training: Mapping[str, Any], figures: Mapping[str, Any],
) -> None:
    """Save a checkpoint, in the place of an earlier one if there is one in the folder.

    The weights are replaced first and the description after them; until then the new description
    lies beside the old one, where `load_checkpoint` finds it. So at every moment, of a crash too,
    one whole checkpoint can be read: the earlier one or this.

    Args:
        folder: Made if need be. Other files in it are left alone.
        kind: Which policy it is for, one of `KINDS`.
        tensors: Weights by name, float32 or float16, finite.
        table: The arm's joints, in the order the policy gives them.
        layout: What the network is and what it takes, all finite.
        training: How it came about: command, seed, data, steps, minutes, versions.
        figures: What it was measured to do. Numbers that are not finite become null.

    Raises:
        UserError: It is too large or cannot be written; an earlier one is as it was.
        ValueError: The kind is unknown, or a weight is not finite or of another type.
    """
    if kind not in KINDS:
        raise ValueError(f'no kind of checkpoint {kind!r}: choose one of {KINDS}')
    arrays = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    problem = _problem_with(arrays)
    if problem is not None:
        raise ValueError(problem)
    weights: bytes = _safetensors().numpy.save(arrays)
    described = {
        'format': FORMAT, 'version': VERSION, 'kind': kind, 'joints': list(table.names),
        'layout': _plain(layout), 'training': _plain(training), 'figures': _plain(figures),
        'saved_by': f'hand_imitation {__version__}',
        'sha256': hashlib.sha256(weights).hexdigest()}
    _demand_finite(layout)
    text = json.dumps(described, indent=1, allow_nan=False).encode()
    for content, limit in ((weights, MAX_WEIGHTS_BYTES), (text, MAX_DESCRIPTION_BYTES)):
        if len(content) > limit:
            raise UserError(f"checkpoint '{folder}' would have a file of {len(content)} bytes, "
                            f'and {limit} is the most: make the network smaller, or save float16')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_beside({folder / WEIGHTS: weights, folder / DESCRIPTION: text})
        _put_in_place(folder / WEIGHTS)
        _put_in_place(folder / DESCRIPTION)
    except OSError as error:
        raise UserError(
            f"checkpoint '{folder}' was not saved ({error.strerror or error}), an earlier one is "
            f'as it was: free some space or give another folder') from error


def load_checkpoint(folder: Path, table: JointTable, kind: str | None = None) -> Checkpoint:
    """Read a checkpoint and check everything about it.

    Args:
        folder: Where it is.
        table: The arm's joints; the checkpoint must be for the same in the same order.
        kind: What it must be for, or None for any of `KINDS`.

    Returns:
        The checkpoint.

    Raises:
        UserError: It is missing, damaged, of another kind or for other joints.
    """
    folder = Path(folder)
    if not folder.is_dir():
        is_what = 'is no folder' if folder.exists() else 'does not exist'
        raise UserError(f"checkpoint '{folder}' {is_what}: give the folder that holds "
                        f'{DESCRIPTION} and {WEIGHTS}')
    described, weights = _read_pair(folder)
    _check_description(folder, described, table, kind)
    if hashlib.sha256(weights).hexdigest() != described['sha256']:
        raise UserError(f"checkpoint '{folder}': {WEIGHTS} is not the file that {DESCRIPTION} "
                        f'describes (another SHA-256): {_COPY}')
    tensors = _tensors(folder, weights)
    for values in tensors.values():
        values.flags.writeable = False
    return Checkpoint(
        described['kind'], tensors, described['layout'], described['training'],
        described['figures'], described['sha256'], folder.resolve().name)


def _read_pair(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Read description and weights that belong together, also while they are replaced.

    Where no description fits the weights, the last one read is returned with them, and the
    caller finds out.
    """
    for _ in range(_ATTEMPTS):
        text = _read(folder, DESCRIPTION, MAX_DESCRIPTION_BYTES)
        described = _parsed(folder, text)
        weights = _read(folder, WEIGHTS, MAX_WEIGHTS_BYTES)
        _refuse_other_formats(folder, weights)
        sha256 = hashlib.sha256(weights).hexdigest()
        if described.get('sha256') == sha256:
            return described, weights
        # Saving stopped between the two files, or is at it now.
        try:
            coming = _parsed(folder, _read(
                folder, DESCRIPTION + _NEXT, MAX_DESCRIPTION_BYTES))
        except UserError:
            coming = {}
        if coming.get('sha256') == sha256:
            return coming, weights
        if _read(folder, DESCRIPTION, MAX_DESCRIPTION_BYTES) == text:
            break
    return described, weights


def _read(folder: Path, name: str, limit: int) -> bytes:
    """Read a regular file of limited size."""
    path = folder / name
    try:
        # Non-blocking, so that a pipe in its place does not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, 'rb') as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UserError(f"checkpoint '{folder}': {name} is no file: {_COPY}")
            content = file.read(limit + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise UserError(
                f"checkpoint '{folder}' has no {name}: give the folder that holds {DESCRIPTION} "
                f'and {WEIGHTS}') from error
        raise UserError(f"checkpoint '{folder}': {name} cannot be read "
                        f'({error.strerror or error}): {_COPY}') from error
    if len(content) > limit:
        raise UserError(f"checkpoint '{folder}': {name} is larger than {limit} bytes: it is not "
                        f'one of ours, give another')
    return content


def _parsed(folder: Path, text: bytes) -> dict[str, Any]:
    """Parse a description."""
    try:
        described = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UserError(f"checkpoint '{folder}': {DESCRIPTION} is not JSON or is truncated "
                        f'({str(error)[:80]}): {_COPY}') from error
    if not isinstance(described, dict) or described.get('format') != FORMAT:
        raise UserError(f"checkpoint '{folder}': {DESCRIPTION} does not say 'format': "
                        f"'{FORMAT}': it is something else, give another folder")
    return described


def _refuse_constant(name: str) -> float:
    raise ValueError(f'{name} is no number')


def _refuse_other_formats(folder: Path, weights: bytes) -> None:
    """Name formats that are no safetensors, above all those that could run code."""
    for start, what in _FORBIDDEN.items():
        # A safetensors file starts with the length of its header, 8 bytes, and a '{'.
        if weights.startswith(start) and weights[8:9] != b'{':
            raise UserError(
                f"checkpoint '{folder}': {WEIGHTS} is {what}; such files can hold code and are "
                f'never opened: {_RETRAIN}')


def _check_description(
    folder: Path, described: dict[str, Any], table: JointTable, kind: str | None,
) -> None:
    """Check everything but the weights."""
    def refuse(problem: str, remedy: str) -> None:
        raise UserError(f"checkpoint '{folder}' {problem}: {remedy}")

    version = described.get('version')
    if version != VERSION:
        refuse(f'is of format version {str(version)[:20]}, not {VERSION}',
               'update hand_imitation' if isinstance(version, int) and version > VERSION
               else _RETRAIN)
    found = described.get('kind')
    if found not in KINDS:
        refuse(f"is of kind '{str(found)[:40]}'", f'give one of kind {" or ".join(KINDS)}')
    if kind is not None and found != kind:
        refuse(f"is of kind '{found}', not '{kind}'", f'give one of kind {kind}')
    joints = described.get('joints')
    if joints != list(table.names):
        refuse(_other_joints(joints, table), 'train it again for this arm, or use the arm it is '
               'for')
    for part in ('layout', 'training', 'figures'):
        if not isinstance(described.get(part), dict):
            refuse(f"has no '{part}' in {DESCRIPTION}", _COPY)
    if not isinstance(described.get('sha256'), str):
        refuse(f"has no 'sha256' in {DESCRIPTION}", _COPY)


def _other_joints(joints: Any, table: JointTable) -> str:
    """Say how the joints of a checkpoint differ from the arm's."""
    if not isinstance(joints, list) or not all(isinstance(name, str) for name in joints):
        return 'does not name its joints'
    if sorted(joints) == sorted(table.names):
        place = next(n for n, pair in enumerate(zip(joints, table.names, strict=True))
                     if pair[0] != pair[1])
        return (f'has its joints in another order (number {place + 1} is {joints[place][:40]}, '
                f"the arm's is {table.names[place]})")
    return f'is for other joints ({len(joints)} there, {len(table)} in the arm)'


def _tensors(folder: Path, weights: bytes) -> dict[str, np.ndarray]:
    """Parse weights, and widen them to float32."""
    safetensors = _safetensors()
    try:
        tensors = safetensors.numpy.load(weights)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"checkpoint '{folder}': {WEIGHTS} is truncated or no safetensors file "
                        f'({str(error)[:80]}): {_COPY}') from error
    problem = _problem_with(tensors)
    if problem is not None:
        raise UserError(f"checkpoint '{folder}': {problem}: {_RETRAIN}")
    return {name: values.astype(np.float32) for name, values in tensors.items()}


def _safetensors() -> Any:
    """Import what reads and writes weights; late, since only learned policies need it."""
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        if error.name != 'safetensors':
            raise
        raise UserError('checkpoints need safetensors, which is not installed: '
                        'pip install safetensors') from error
    return safetensors


def _problem_with(tensors: Mapping[str, np.ndarray]) -> str | None:
    """Say what is wrong with weights, or None."""
    if not tensors:
        return 'there are no weights'
    for name, values in tensors.items():
        if values.dtype not in (np.float32, np.float16):
            return f"tensor '{name}' is {values.dtype}, not float32 or float16"
        if not np.isfinite(values).all():
            return f"tensor '{name}' has values that are not finite"
    return None


def _plain(value: Any) -> Any:
    """Turn what numpy and pathlib made into what JSON can hold; NaN and inf become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def _demand_finite(value: Any) -> None:
    """Refuse a layout with numbers that are not finite."""
    if isinstance(value, Mapping):
        for inner in value.values():
            _demand_finite(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _demand_finite(inner)
    elif isinstance(value, (float, np.ndarray, np.floating)) and not np.isfinite(value).all():
        raise ValueError('the layout has numbers that are not finite')


def _write_beside(contents: Mapping[Path, bytes]) -> None:
    """Write what is to take the place of files, down to the disk, all or nothing."""
    beside = {path.with_name(path.name + _NEXT): content for path, content in contents.items()}
    for path in beside:
        path.unlink(missing_ok=True)
    try:
        for path, content in beside.items():
            # Exclusive: a link in its place must not lead to somebody else's file.
            with open(path, 'xb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
    except OSError:
        for path in beside:
            path.unlink(missing_ok=True)
        raise


def _put_in_place(path: Path) -> None:
    path.with_name(path.name + _NEXT).replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
