"""What a run was asked for, and the nodes' parameters that follow from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class RunOptions:
    """What the user asked for, checked.

    Attributes:
        arm: The node that drives the arm, such as 'sim_bridge'.
        arm_parameters: What was asked of it in particular.
        uses_perception: Whether the policy goes by what perception sees.
    """

    source: str
    policy: str
    side: str
    mirror: bool
    view: bool
    duration_s: float | None
    out: Path | None
    namespace: str
    prefix: str
    arm: str
    arm_parameters: dict[str, Any]
    parameters: dict[str, dict[str, Any]]
    uses_perception: bool = True


def node_parameters(options: RunOptions, record_to: Path | None) -> dict[str, Any]:
    """Parameters of all nodes, as the content of a ROS parameters file.

    Args:
        options: What the user asked for; it takes precedence over the user's YAML, which takes
            precedence over the package's.
        record_to: Folder for the recorder, or None.

    Returns:
        Sections as `--params-file` takes them.
    """
    which = {'side': options.side, 'prefix': options.prefix}
    asked: dict[str, dict[str, Any]] = {
        'camera': {'source': options.source},
        'policy': {'policy': options.policy, 'mirror': options.mirror, **which},
        'commander': which,
        options.arm: {**options.arm_parameters, **which},
        'viewer': {'mirror': options.mirror},
    }
    # Those who count and those who record shall miss nothing either; each listens for itself.
    sights = 'hand/landmarks' if options.uses_perception else 'hand/markers'
    wait_for = [options.parameters['camera']['wait_for'], 'latency', sights]
    if options.view or options.arm == 'servo_driver':
        wait_for.append('latency')
    if options.view and not options.uses_perception:
        wait_for.append(sights)
    if record_to is not None:
        asked['recorder'] = {'out': str(record_to)}
        wait_for += ['latency', sights, 'camera/image_raw/compressed']
    asked['camera']['wait_for'] = ' '.join(wait_for)
    return {
        f'/**/{node}': {'ros__parameters': {**values, **asked.get(node, {})}}
        for node, values in options.parameters.items()}


def in_options(words: str) -> str:
    """Turn launch arguments, of which nodes speak, into options of the command line."""
    return re.sub(r'\b(\w+):=', r'--\1 ', words)


def write_parameters_file(path: Path, sections: dict[str, Any]) -> None:
    """Write a ROS parameters file."""
    path.write_text(yaml.safe_dump(sections, sort_keys=False))
