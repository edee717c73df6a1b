"""Parameters of every node, and the check of a YAML file against them.

A node's parameters are one or more dataclasses, each under a prefix: `hands` of
`PerceptionParameters` is the ROS parameter `perception.hands` of the node `policy`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hand_imitation.arm.safety import SafetyParameters
from hand_imitation.errors import UserError
from hand_imitation.human.perception import PerceptionParameters
from hand_imitation.parameters import from_mapping, parameter
from hand_imitation.policy.geometric import GeometricParameters

_MAX_YAML_BYTES = 1024 * 1024
SIDES = ('left', 'right')
# Set by ROS itself, whatever the node declares.
_ROS_KEYS = ('use_sim_time', 'qos_overrides', 'start_type_description_service')


@dataclass(frozen=True)
class CameraParameters:
    """The `camera` node."""

    source: str = parameter(
        'sample', "Camera index or device, video, GIF, folder of images, 'topic:/name', or "
        "'sample'.")
    loop: bool = parameter(False, 'Play a file again from the start when it ends.')
    rate_hz: float = parameter(
        0.0, "Pictures per second of a file; 0 takes the file's own. Files are published at "
        '30 Hz or more, by repeating pictures of slower ones.', lower=0.0, upper=240.0, unit='Hz')
    width: int = parameter(
        640, 'Working width: larger pictures are scaled down; 0 publishes them as they come.',
        lower=0, upper=7680, unit='px')
    capture_width: int = parameter(
        1280, 'Width asked of a webcam.', lower=16, upper=7680, unit='px')
    capture_height: int = parameter(
        720, 'Height asked of a webcam.', lower=16, upper=4320, unit='px')
    focal_length: float = parameter(
        0.9, "Focal length in picture widths, for camera_info; a typical webcam's is 0.9.",
        lower=0.1, upper=10.0, unit='picture widths')
    jpeg_quality: int = parameter(
        90, 'Quality of the compressed picture.', lower=1, upper=100)
    wait_for: str = parameter(
        'camera/image_raw joint_trajectory', 'A file starts when each of these topics '
        '(separated by blanks) has a subscriber, or two if it is named twice, so that no picture '
        'is lost.')
    wait_for_timeout_s: float = parameter(
        30.0, 'A file starts after this time whoever listens.', lower=0.0, upper=600.0, unit='s')
    autostart: bool = parameter(
        True, 'Configure and activate at start; false leaves that to a lifecycle manager.')


@dataclass(frozen=True)
class PolicyParameters:
    """The `policy` node."""

    policy: str = parameter('geometric', 'Name of the policy, or path of a checkpoint.')
    side: str = parameter('right', 'Which arm is driven.', choices=SIDES)
    mirror: bool = parameter(
        True, 'The arm leans like a mirror image of the person; changes the sign of wrist and '
        'elbow, and nothing else.')
    prefix: str = parameter('', 'Put before every joint name in messages.')


@dataclass(frozen=True)
class CommanderParameters:
    """The `commander` node, beside its safety filter."""

    side: str = parameter('right', 'Which arm is driven.', choices=SIDES)
    prefix: str = parameter('', 'Put before every joint name in messages.')
    urdf: str = parameter('', "URDF or xacro of the arm; empty takes the package's own.")


@dataclass(frozen=True)
class SimBridgeParameters:
    """The `sim_bridge` node."""

    side: str = parameter('right', 'Which arm is simulated.', choices=SIDES)
    prefix: str = parameter('', 'Put before every joint name in messages.')
    urdf: str = parameter('', "URDF or xacro of the arm; empty takes the package's own.")
    gui: bool = parameter(False, "Show PyBullet's window.")
    state_rate_hz: float = parameter(
        100.0, 'Rate of joint_states.', lower=1.0, upper=240.0, unit='Hz')
    camera_rate_hz: float = parameter(
        20.0, "Rate of the arm's camera; 0 turns it off.", lower=0.0, upper=60.0, unit='Hz')
    camera_width: int = parameter(
        320, "Width of the arm camera's picture.", lower=32, upper=1920, unit='px')
    camera_height: int = parameter(
        240, "Height of the arm camera's picture.", lower=32, upper=1080, unit='px')


@dataclass(frozen=True)
class RecorderParameters:
    """The `recorder` node."""

    out: str = parameter('', 'Folder to write the bag to; it must not exist yet.')


@dataclass(frozen=True)
class ViewerParameters:
    """The `viewer` node."""

    mirror: bool = parameter(True, "Show the person's picture as in a mirror.")


NODES: dict[str, dict[str, type]] = {
    'camera': {'': CameraParameters},
    'policy': {
        '': PolicyParameters, 'perception': PerceptionParameters,
        'geometric': GeometricParameters,
    },
    'commander': {'': CommanderParameters, 'safety': SafetyParameters},
    'sim_bridge': {'': SimBridgeParameters},
    'recorder': {'': RecorderParameters},
    'viewer': {'': ViewerParameters},
}
"""Per node: its dataclasses by the prefix of their parameters."""


def grouped(node: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Build a node's parameter dataclasses from flat values.

    Args:
        node: Name of the node, a key of `NODES`.
        values: Values by full parameter name, such as 'perception.hands'.

    Returns:
        An instance of each dataclass of the node, by its prefix.

    Raises:
        UserError: An unknown key or a value out of range.
    """
    classes = NODES[node]
    parts: dict[str, dict[str, Any]] = {prefix: {} for prefix in classes}
    for key, value in values.items():
        prefix, _, name = key.rpartition('.')
        if prefix not in classes or name not in _field_names(classes[prefix]):
            known = [f'{p}.{f}'.lstrip('.') for p, c in classes.items() for f in _field_names(c)]
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise UserError(f"node '{node}' has no parameter '{key}': did you mean '{near[0]}'?")
        parts[prefix][name] = value
    result: dict[str, Any] = {}
    for prefix, values_of_part in parts.items():
        try:
            result[prefix] = from_mapping(classes[prefix], values_of_part)
        except UserError as error:
            raise UserError(f"node '{node}': {prefix + '.' if prefix else ''}{error}") from error
    return result


def read_parameters_file(path: Path) -> dict[str, dict[str, Any]]:
    """Read a ROS parameters file and check every key and value in it.

    Args:
        path: A YAML file with sections '/**/NODE' or 'NODE', each with 'ros__parameters'.

    Returns:
        Flat values by node.

    Raises:
        UserError: No such file, not YAML, an unknown node or key, a value out of range.
    """
    sections = _load_yaml(path)
    result: dict[str, dict[str, Any]] = {}
    for section, body in sections.items():
        node = str(section).rsplit('/', 1)[-1]
        if node not in NODES:
            raise UserError(
                f"{path}: no node '{section}': sections are {', '.join(NODES)}, each as "
                f"'/**/{next(iter(NODES))}:'"
            )
        if not isinstance(body, dict) or set(body) != {'ros__parameters'}:
            raise UserError(f"{path}: section '{section}' must hold 'ros__parameters:' alone")
        try:
            flat = {
                key: value for key, value in _flattened(body['ros__parameters'] or {})
                if not is_ros_key(key)
            }
            grouped(node, flat)
        except UserError as error:
            raise UserError(f'{path}: {error}') from error
        result.setdefault(node, {}).update(flat)
    return result


def is_ros_key(key: str) -> bool:
    """Tell whether a parameter belongs to ROS itself and not to a node of ours."""
    return key.split('.')[0] in _ROS_KEYS


def _field_names(cls: type) -> list[str]:
    """Names of a dataclass's fields."""
    return [field.name for field in dataclasses.fields(cls)]


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases, which ROS refuses too and which can multiply without end."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem='an alias is not allowed', problem_mark=mark)
        return super().compose_node(parent, index)


def _load_yaml(path: Path) -> dict[str, Any]:
    """Load a YAML file whose top is a mapping."""
    try:
        with path.open('rb') as file:
            content = file.read(_MAX_YAML_BYTES + 1)
        if len(content) > _MAX_YAML_BYTES:
            raise UserError(f"parameters file '{path}' is larger than 1 MB: give a smaller one")
        loaded = yaml.load(content.decode(), Loader=_PlainLoader)
    except OSError as error:
        raise UserError(
            f"parameters file '{path}' cannot be read ({error.strerror}): give a YAML file"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = ' '.join(str(error).split())
        raise UserError(
            f"parameters file '{path}' is not plain YAML ({line[:200]}): compare it with "
            f'config/hand_imitation.yaml') from error
    if not isinstance(loaded, dict):
        raise UserError(
            f"parameters file '{path}' holds no sections: start from config/hand_imitation.yaml")
    return loaded


def _flattened(tree: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings with dotted names."""
    if not isinstance(tree, dict):
        raise UserError("'ros__parameters' must hold 'name: value' lines")
    for key, value in tree.items():
        name = f'{prefix}{key}'
        if isinstance(value, dict):
            yield from _flattened(value, f'{name}.')
        else:
            yield name, value
