#!/usr/bin/env python3
"""Write docs/parameters.md from the parameters' dataclasses.

Example:
    python scripts/make_parameter_docs.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hand_imitation.node_parameters import NODES
from hand_imitation.parameters import allowed

TARGET = Path(__file__).parent.parent / 'docs' / 'parameters.md'


def page() -> str:
    """Return the whole page."""
    lines = [
        '# Parameters', '',
        'Written by `scripts/make_parameter_docs.py`. Set them in a YAML file like '
        '`config/hand_imitation.yaml`, given by `params_file:=` or `--params-file`. They are read '
        'once at start; an unknown key or a value out of range is refused.', '']
    for node, parts in NODES.items():
        lines += [f'## `{node}`', '', '| parameter | default | allowed | what it does |',
                  '|---|---|---|---|']
        for prefix, cls in parts.items():
            for field in dataclasses.fields(cls):
                name = f'{prefix}.{field.name}'.lstrip('.')
                default = str(field.default).lower() if isinstance(
                    field.default, bool) else repr(field.default)
                lines.append(
                    f'| `{name}` | `{default}` | {allowed(field)} | '
                    f'{field.metadata["description"]} |')
        lines.append('')
    return '\n'.join(lines)


if __name__ == '__main__':
    TARGET.write_text(page())
