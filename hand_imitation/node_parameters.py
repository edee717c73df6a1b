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

from hand_imitation.arm.safety import SafetyParameters
from hand_imitation.errors import UserError
from hand_imitation.hardware.servo_arm import ServoArmParameters
from hand_imitation.hardware.watchdog import WatchdogParameters
from hand_imitation.human.perception import PerceptionParameters
from hand_imitation.parameters import from_mapping, parameter
from hand_imitation.plain_yaml import read_yaml
from hand_imitation.policy import DEFAULT_POLICY
from hand_imitation.policy.geometric import GeometricParameters
from hand_imitation.policy.landmarks import LandmarksParameters
from hand_imitation.policy.pixels_parameters import PixelsParameters

SIDES = ('left', 'right')
SERVO_FAMILIES = ('dynamixel', 'feetech')
CONTROLLERS = {
    'joint_trajectory_controller': '/joint_trajectory_controller/joint_trajectory',
    'forward_command_controller': '/forward_position_controller/commands',
}
"""Controllers that `ros2_control` can hand commands to, and the topics they usually have."""
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

    policy: str = parameter(
        DEFAULT_POLICY, 'Name of the policy, or folder of a checkpoint.')
    side: str = parameter('right', 'Which arm is driven.', choices=SIDES)
    mirror: bool = parameter(
        True, 'The arm leans like a mirror image of the person; changes the sign of wrist and '
        'elbow, and nothing else.')
    person: str = parameter(
        '', "Calibration of the person, from 'hand-imitation calibrate person'; empty does "
        'without.')
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
class ServoDriverParameters:
    """The `servo_driver` node, beside its watchdog and the patience on the bus."""

    side: str = parameter('right', 'Which arm is driven.', choices=SIDES)
    prefix: str = parameter('', 'Put before every joint name in messages.')
    urdf: str = parameter('', "URDF or xacro of the arm; empty takes the package's own.")
    driver: str = parameter('dynamixel', 'Kind of servos.', choices=SERVO_FAMILIES)
    port: str = parameter('/dev/ttyUSB0', 'Serial port of the bus.')
    baud: int = parameter(
        0, "Bits per second on the bus; 0 takes the robot's.", lower=0, upper=4_000_000)
    robot: str = parameter(
        '', 'Robot description, name or path of a YAML file; empty takes the one of the package '
        'for this kind of servos.')
    calibration: str = parameter(
        '', "Calibration file; empty takes the robot's usual place, 'none' goes by the robot "
        'description alone.')
    rate_hz: float = parameter(
        100.0, 'Cycles on the bus: a command is sent and all servos are read.', lower=20.0,
        upper=500.0, unit='Hz')
    realtime_priority: int = parameter(
        10, "Real-time priority of the node's process, where the system permits one; 0 asks for "
        'none.', lower=0, upper=99)
    armed: bool = parameter(False, 'Switch the motors on at start.')
    autostart: bool = parameter(
        True, 'Configure at start; false leaves that to a lifecycle manager.')


@dataclass(frozen=True)
class Ros2ControlParameters:
    """The `ros2_control` node, beside its watchdog."""

    side: str = parameter('right', 'Which arm is driven.', choices=SIDES)
    prefix: str = parameter('', 'Put before every joint name in messages.')
    urdf: str = parameter('', "URDF or xacro of the arm; empty takes the package's own.")
    controller: str = parameter(
        'joint_trajectory_controller', 'Kind of controller that takes the commands.',
        choices=tuple(CONTROLLERS))
    command_topic: str = parameter(
        '', "The controller's topic; empty takes /joint_trajectory_controller/joint_trajectory, "
        'or /forward_position_controller/commands.')
    states_topic: str = parameter(
        '/joint_states', 'Where the joint states of ros2_control come from.')
    joint_map: str = parameter(
        '', 'YAML file that maps our joints to those of the controller; empty where they have '
        'the same names.')
    armed: bool = parameter(False, 'Hand commands on from the start.')
    autostart: bool = parameter(
        True, 'Configure at start; false leaves that to a lifecycle manager.')


@dataclass(frozen=True)
class RecorderParameters:
    """The `recorder` node."""

    out: str = parameter('', 'Folder to write the bag to, as bag/; it must not exist yet.')
    max_size_mb: float = parameter(
        0.0, 'Recording ends at this size; 0 for no limit.', lower=0.0, upper=1e9, unit='MB')
    max_duration_s: float = parameter(
        0.0, 'Recording ends after this time; 0 for no limit.', lower=0.0, upper=1e7, unit='s')
    split_size_mb: float = parameter(
        0.0, 'At this size another file is begun; 0 for one file.', lower=0.0, upper=1e9,
        unit='MB')
    split_duration_s: float = parameter(
        0.0, 'After this time another file is begun; 0 for one file.', lower=0.0, upper=1e7,
        unit='s')
    end_at_limit: bool = parameter(
        False, 'End the node, not only the recording, when a limit is reached.')


@dataclass(frozen=True)
class ReplayerParameters:
    """The `replayer` node."""

    bag: str = parameter('', 'Folder of the rosbag2 to play.')
    topics: str = parameter(
        '', "Topics of the bag that have other names than ours, such as "
        "'camera/image_raw=/eye/image', separated by blanks.")
    start_s: float = parameter(
        0.0, 'Leave out what is before this time after the first picture.', lower=0.0, upper=1e7,
        unit='s')
    end_s: float = parameter(
        0.0, 'Leave out what is after this time after the first picture; 0 for nothing.',
        lower=0.0, upper=1e7, unit='s')
    arm: bool = parameter(
        False, 'Publish the recorded joint states; only where no other arm does.')
    side: str = parameter('right', 'Which arm it is.', choices=SIDES)
    prefix: str = parameter('', 'Put before every joint name in messages.')
    width: int = parameter(
        640, 'Larger pictures are scaled down to this width; 0 publishes them as they are.',
        lower=0, upper=7680, unit='px')
    focal_length: float = parameter(
        0.9, 'Focal length in picture widths, for camera_info.', lower=0.1, upper=10.0,
        unit='picture widths')
    jpeg_quality: int = parameter(
        90, 'Quality of the compressed picture.', lower=1, upper=100)
    wait_for: str = parameter(
        'camera/image_raw joint_trajectory', 'It begins when each of these topics (separated by '
        'blanks) has a subscriber, or two if it is named twice.')
    wait_for_timeout_s: float = parameter(
        60.0, 'It begins after this time whoever listens.', lower=0.0, upper=600.0, unit='s')


@dataclass(frozen=True)
class ViewerParameters:
    """The `viewer` node."""

    mirror: bool = parameter(True, "Show the person's picture as in a mirror.")


NODES: dict[str, dict[str, type]] = {
    'camera': {'': CameraParameters},
    'policy': {
        '': PolicyParameters, 'perception': PerceptionParameters,
        'geometric': GeometricParameters, 'landmarks': LandmarksParameters,
        'pixels': PixelsParameters,
    },
    'commander': {'': CommanderParameters, 'safety': SafetyParameters},
    'sim_bridge': {'': SimBridgeParameters},
    'servo_driver': {
        '': ServoDriverParameters, 'watchdog': WatchdogParameters, 'bus': ServoArmParameters,
    },
    'ros2_control': {'': Ros2ControlParameters, 'watchdog': WatchdogParameters},
    'recorder': {'': RecorderParameters},
    'replayer': {'': ReplayerParameters},
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
    sections = read_yaml(path, 'parameters file', 'compare it with config/hand_imitation.yaml')
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
