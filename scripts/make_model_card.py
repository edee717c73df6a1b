#!/usr/bin/env python3
"""Write the tables of docs/MODEL_CARD.md from the checkpoints in the package.

What stands between `<!-- NAME -->` and `<!-- /NAME -->` is replaced; the rest is left alone.

Example:
    python scripts/make_model_card.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.policy import SHIPPED
from hand_imitation.policy.checkpoint import Checkpoint, load_checkpoint

TARGET = Path(__file__).parent.parent / 'docs' / 'MODEL_CARD.md'


def page() -> str:
    """Return the whole page, with the tables as the checkpoints are now."""
    table = JointTable.from_urdf(load_description())
    text = TARGET.read_text()
    for folder in sorted(path for path in SHIPPED.iterdir() if path.is_dir()):
        block = '\n'.join(_table(load_checkpoint(folder, table, folder.name)))
        marks = f'<!-- {folder.name} -->', f'<!-- /{folder.name} -->'
        pattern = re.compile(f'{re.escape(marks[0])}.*?{re.escape(marks[1])}', re.DOTALL)
        replaced = f'{marks[0]}\n\n{block}\n\n{marks[1]}'
        text, count = pattern.subn(lambda _, new=replaced: new, text)
        if count != 1:
            raise SystemExit(f"{TARGET.name} has no place for '{folder.name}': add {marks[0]} "
                             f'and {marks[1]}')
    return text


def _table(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield the lines of one checkpoint's table."""
    numbers = sum(values.size for values in checkpoint.tensors.values())
    yield '| what | value |'
    yield '|---|---|'
    yield f'| weights | {numbers:,} numbers, SHA-256 `{checkpoint.sha256}` |'
    for part in (checkpoint.training, checkpoint.figures):
        for name, value in _flat(part):
            yield f'| {name} | {value} |'


def _flat(values: dict[str, Any], before: str = '') -> Iterator[tuple[str, str]]:
    """Yield names and values, those inside others behind their names."""
    for key, value in values.items():
        name = f'{before}{key.replace("_", " ")}'
        if not isinstance(value, dict):
            yield name, f'`{value}`' if key == 'command' else _words(value)
        elif any(isinstance(inner, dict) for inner in value.values()):
            yield from _flat(value, f'{name}: ')
        else:
            yield name, ', '.join(
                f'{inner.replace("_", " ")} {_words(found)}' for inner, found in value.items())


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.4g}'
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == '__main__':
    TARGET.write_text(page())
