"""YAML files that people write by hand or that a program left: read with suspicion."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from hand_imitation.errors import UserError

MAX_YAML_BYTES = 1024 * 1024


def read_yaml(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """Read a YAML file whose top is a mapping.

    Aliases are refused, because they can multiply without end, and so is a key that stands
    twice in the same mapping, of which YAML would silently keep the last.

    Args:
        path: The file.
        what: What it is, for messages, such as 'robot description'.
        remedy: What to do where it cannot be used, for messages.

    Returns:
        Its content.

    Raises:
        UserError: No such file, too large, not plain YAML, or no mapping.
    """
    try:
        with path.open('rb') as file:
            content = file.read(MAX_YAML_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"{what} '{path}' cannot be read ({error.strerror}): {remedy}") from error
    if len(content) > MAX_YAML_BYTES:
        raise UserError(f"{what} '{path}' is larger than 1 MB: {remedy}")
    try:
        loaded = yaml.load(content.decode(), Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        line = ' '.join(str(error).split())
        raise UserError(f"{what} '{path}' is not plain YAML ({line[:200]}): {remedy}") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{what} '{path}' holds no 'name: value' lines: {remedy}")
    return loaded


def write_yaml(path: Path, content: dict[str, Any], heading: str = '') -> None:
    """Write a YAML file so that a reader, or a power cut, never meets half of it.

    Args:
        path: The file; its folder is made if need be.
        content: What to write.
        heading: Comment lines to begin with, without '#'.

    Raises:
        UserError: The file cannot be written there.
    """
    comment = ''.join(f'# {line}\n' for line in heading.splitlines())
    text = comment + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    beside = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open('w', encoding='utf-8') as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UserError(
            f"'{path}' cannot be written ({error.strerror}): give a file in a folder of yours"
        ) from error


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without aliases and without repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem='an alias is not allowed', problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen and isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem=f"'{key_node.value}' stands here twice",
                    problem_mark=key_node.start_mark)
            if isinstance(key_node, yaml.ScalarNode):
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)
