"""State of an unfinished training run on disk: arrays and JSON, never code.

A state is a folder of one file, `state.safetensors`: arrays by name and, in its header, a JSON
document. It is replaced at once, so that a crash or a full disk leaves the earlier one whole.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hand_imitation.errors import UserError

STATE = 'state.safetensors'
_HEADER = 'hand_imitation_state'
_VERSION = 1


def save_state(folder: Path, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
    """Save a state in the place of an earlier one.

    Args:
        folder: Made if need be.
        arrays: By name, of any shape and numeric type.
        values: What else there is, as JSON can hold it; big integers are fine.

    Raises:
        UserError: It cannot be written; an earlier one is as it was.
    """
    from safetensors.numpy import save_file

    path = folder / STATE
    beside = folder / f'{STATE}.{os.getpid()}.next'
    header = json.dumps({'version': _VERSION, 'values': values}, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()},
                  str(beside), {_HEADER: header})
        with open(beside, 'rb') as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except Exception as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        # A full disk is an error of safetensors' own; anything else is ours.
        if isinstance(error, OSError) or type(error).__name__ == 'SafetensorError':
            raise UserError(
                f"the state in '{folder}' was not saved ({_reason(error)}), an earlier one is as "
                'it was: free some space or give another --out') from error
        raise


def load_state(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a state.

    Args:
        folder: Where it lies.

    Returns:
        Its arrays and its values.

    Raises:
        UserError: There is none, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / STATE
    if not path.is_file():
        raise UserError(f"nothing to resume in '{folder}': leave out --resume to start anew")
    try:
        with safe_open(str(path), 'numpy') as file:
            document = json.loads((file.metadata() or {})[_HEADER])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the state in '{folder}' is damaged ({_reason(error)}): leave out "
                        '--resume to start anew') from error
    if document.get('version') != _VERSION:
        raise UserError(f"the state in '{folder}' is of another version: leave out --resume to "
                        'start anew')
    return arrays, document['values']


def module_arrays(module: Any, prefix: str) -> dict[str, np.ndarray]:
    """Give parameters and buffers of a torch module as arrays.

    Args:
        module: The module.
        prefix: Of their names.
    """
    return {f'{prefix}.{name}': tensor.detach().cpu().numpy().copy()
            for name, tensor in module.state_dict().items()}


def restore_module(module: Any, prefix: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Put back what `module_arrays` gave."""
    import torch

    state = {name: torch.from_numpy(np.array(arrays[f'{prefix}.{name}']))
             for name in module.state_dict()}
    module.load_state_dict(state)


def optimizer_arrays(optimizer: Any, prefix: str) -> dict[str, np.ndarray]:
    """Give what a torch optimiser remembers of each parameter as arrays.

    Args:
        optimizer: The optimiser; its options are the caller's to set again.
        prefix: Of their names.
    """
    return {f'{prefix}.{number}.{name}': value.detach().cpu().numpy().copy()
            for number, state in optimizer.state_dict()['state'].items()
            for name, value in state.items()}


def restore_optimizer(optimizer: Any, prefix: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Put back what `optimizer_arrays` gave."""
    import torch

    whole = optimizer.state_dict()
    whole['state'] = {}
    for name, array in arrays.items():
        if name.startswith(f'{prefix}.'):
            number, key = name[len(prefix) + 1:].split('.', 1)
            whole['state'].setdefault(int(number), {})[key] = torch.from_numpy(np.array(array))
    optimizer.load_state_dict(whole)


def random_values(generators: Mapping[str, np.random.Generator]) -> dict[str, Any]:
    """Give the states of random generators, torch's own and numpy's own, as JSON can hold it.

    Args:
        generators: Others, by name.
    """
    import random

    import torch

    legacy = np.random.get_state(legacy=False)
    assert isinstance(legacy, dict)
    legacy['state'] = {**legacy['state'], 'key': legacy['state']['key'].tolist()}
    version, numbers, gauss = random.getstate()
    values: dict[str, Any] = {
        'numpy': legacy, 'python': [version, list(numbers), gauss],
        'torch': torch.get_rng_state().numpy().tobytes().hex(),
        'generators': {name: one.bit_generator.state for name, one in generators.items()}}
    if torch.cuda.is_available():
        values['cuda'] = [state.cpu().numpy().tobytes().hex()
                          for state in torch.cuda.get_rng_state_all()]
    return values


def restore_random(values: Mapping[str, Any],
                   generators: Mapping[str, np.random.Generator]) -> None:
    """Put back what `random_values` gave."""
    import random

    import torch

    legacy = dict(values['numpy'])
    legacy['state'] = {**legacy['state'],
                       'key': np.array(legacy['state']['key'], dtype=np.uint32)}
    np.random.set_state(legacy)
    version, numbers, gauss = values['python']
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(_bytes_tensor(values['torch']))
    for name, state in values['generators'].items():
        generators[name].bit_generator.state = state
    if torch.cuda.is_available() and len(values.get('cuda', ())) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_bytes_tensor(state) for state in values['cuda']])


def _bytes_tensor(text: str) -> Any:
    import torch

    return torch.from_numpy(np.frombuffer(bytes.fromhex(text), np.uint8).copy())


def _reason(error: Exception) -> str:
    return str(getattr(error, 'strerror', None) or error)[:120]
