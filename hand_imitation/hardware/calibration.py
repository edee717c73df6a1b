"""The calibration of a robot: where each joint's zero and ends are in counts of its servo.

Files are YAML, versioned, written atomically and closed by a checksum, so that a lost or changed
digit is noticed before a servo follows it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hand_imitation.errors import UserError
from hand_imitation.hardware.robot import Robot, ServoJoint
from hand_imitation.parameters import from_mapping, parameter
from hand_imitation.plain_yaml import read_yaml, write_yaml

SCHEMA = 1
MIN_TRAVEL = 0.5
"""Least travel, as a share of what the robot description says."""
MAX_EXTRA_RAD = 0.6
"""Most travel beyond what the robot description says [rad]."""
STOP_MARGIN_RAD = 0.02
"""The servo stays this far from the ends, so that it does not press against them [rad]."""
_HEADING = ('Written by `hand-imitation calibrate`; the checksum refuses changes by hand.\n'
            'To narrow a limit, edit the robot description instead.')


@dataclass(frozen=True)
class JointCalibration:
    """One joint. Counts are those of the servo plus `shift_ticks`, within one turn.

    Attributes:
        id: The servo's id.
        model: The servo's model.
        direction: +1 where the count grows with the joint's angle, else -1.
        zero_ticks: Count where the joint is at zero.
        lower_ticks: Lowest count the joint may have.
        upper_ticks: Highest count the joint may have.
        shift_ticks: What software adds to the servo's count, so that the encoder's wrap lies
            outside the travel; 0 where the servo does it itself.
        servo_offset_ticks: What the servo's own register 'offset' must hold; 0 where it has
            none.
        previous_offset_ticks: What it held before, for undoing.
    """

    id: int = parameter(0, "The servo's id", lower=1, upper=253)
    model: str = parameter('', "The servo's model")
    direction: int = parameter(0, '1 or -1', lower=-1, upper=1)
    zero_ticks: int = parameter(0, 'Count at zero', lower=0)
    lower_ticks: int = parameter(0, 'Lowest count', lower=0)
    upper_ticks: int = parameter(0, 'Highest count', lower=0)
    shift_ticks: int = parameter(0, 'Added in software', lower=-32768, upper=32767)
    servo_offset_ticks: int = parameter(
        0, "The servo's own offset", lower=-2_000_000, upper=2_000_000)
    previous_offset_ticks: int = parameter(
        0, "The servo's own offset before", lower=-2_000_000, upper=2_000_000)


@dataclass(frozen=True)
class Calibration:
    """All joints of one robot.

    Attributes:
        robot: The robot's name.
        created: When, as ISO 8601 text.
        joints: By joint name.
    """

    robot: str
    created: str
    joints: Mapping[str, JointCalibration]


_KEYS = tuple(field.name for field in dataclasses.fields(JointCalibration))


def default_calibration_path(robot: Robot) -> Path:
    """Where a robot's calibration lies unless the user names a file."""
    config = os.environ.get('XDG_CONFIG_HOME') or '~/.config'
    return Path(config).expanduser() / 'hand_imitation' / f'{robot.name}.calibration.yaml'


def partial_path(path: Path) -> Path:
    """Where an unfinished calibration waits to be resumed."""
    return path.with_name(f'{path.name}.partial')


def previous_path(path: Path) -> Path:
    """Where the calibration before this one waits to be restored."""
    return path.with_name(f'{path.name}.previous')


def save_calibration(path: Path, calibration: Calibration, keep_previous: bool = True) -> None:
    """Write a calibration, atomically.

    Args:
        path: Where to.
        calibration: What to write.
        keep_previous: Keep what lies there as `previous_path`.

    Raises:
        UserError: It cannot be written there.
    """
    if keep_previous and path.exists():
        copied = partial_path(previous_path(path))
        try:
            shutil.copyfile(path, copied)
            os.replace(copied, previous_path(path))
        except OSError as error:
            raise UserError(f"'{path}' cannot be kept as '{previous_path(path)}' "
                            f'({error.strerror}): check who owns the folder') from error
    joints = {name: dataclasses.asdict(joint) for name, joint in calibration.joints.items()}
    content = {'schema': SCHEMA, 'robot': calibration.robot, 'created': calibration.created,
               'joints': joints}
    write_yaml(path, {**content, 'sha256': _checksum(content)}, _HEADING)


def load_calibration(path: Path | str, robot: Robot, partial: bool = False) -> Calibration:
    """Load a calibration and check that it belongs to this robot.

    Args:
        path: The file.
        robot: The robot it must be of.
        partial: Some joints may be missing.

    Returns:
        The calibration; its joints are in the robot's order.

    Raises:
        UserError: Missing, corrupt, of another robot or other servos, or not believable.
    """
    path = Path(path).expanduser()
    remedy = f"run 'hand-imitation calibrate --robot {robot.name}' to make a new one"
    content = read_yaml(path, 'calibration', remedy)
    try:
        return _calibration(content, robot, partial)
    except UserError as error:
        raise UserError(f"calibration '{path}': {error}; {remedy}") from error


def check_joint(joint: ServoJoint, found: JointCalibration) -> None:
    """Refuse a calibration that this joint cannot have.

    Args:
        joint: The joint, from the robot description.
        found: Its calibration.

    Raises:
        UserError: Another servo, or counts that are not believable.
    """
    name = joint.name
    if found.id != joint.id or found.model != joint.model.name:
        raise UserError(f"joint '{name}' was calibrated with servo {found.id} ({found.model}), "
                        f'the robot has servo {joint.id} ({joint.model.name})')
    last = joint.model.ticks_per_turn - 1
    if found.direction == 0:
        raise UserError(f"joint '{name}' has no direction")
    if found.upper_ticks > last:
        raise UserError(f"the travel of joint '{name}' wraps past 0/{last}")
    if not found.lower_ticks <= found.zero_ticks <= found.upper_ticks:
        raise UserError(f"joint '{name}' has its zero at {found.zero_ticks}, outside its travel "
                        f'from {found.lower_ticks} to {found.upper_ticks}')
    travel_rad = (found.upper_ticks - found.lower_ticks) / ticks_per_rad(joint)
    expected_rad = joint.upper_rad - joint.lower_rad
    least_rad = MIN_TRAVEL * expected_rad - 3.0 * STOP_MARGIN_RAD
    if not least_rad <= travel_rad <= expected_rad + 2.0 * MAX_EXTRA_RAD:
        raise UserError(f"joint '{name}' travels {travel_rad:.2f} rad, the robot description "
                        f'says {expected_rad:.2f}')


def ticks_per_rad(joint: ServoJoint) -> float:
    """Counts of the servo per radian of the joint."""
    return joint.gear_ratio / joint.model.rad_per_tick


def _calibration(content: dict[str, Any], robot: Robot, partial: bool) -> Calibration:
    """Check a file's content and build the calibration."""
    if content.get('schema') != SCHEMA:
        raise UserError(f"schema is {content.get('schema')!r}, this version reads {SCHEMA}")
    checksum = content.pop('sha256', None)
    if checksum != _checksum(content):
        raise UserError('it was changed or damaged (the checksum differs)')
    if content.get('robot') != robot.name:
        raise UserError(f"it is of another robot, '{content.get('robot')}' instead of "
                        f"'{robot.name}'")
    given, created = content.get('joints'), content.get('created')
    if not isinstance(given, dict) or not isinstance(created, str):
        raise UserError('it has no joints or no date')
    unknown = [name for name in given if name not in robot.names]
    missing = [name for name in robot.names if name not in given]
    if unknown:
        raise UserError(f"the robot has no joint '{str(unknown[0])[:60]}'")
    if missing and not partial:
        raise UserError(f"joint '{missing[0]}' is missing")
    joints = {}
    for joint in robot.joints:
        if joint.name in given:
            joints[joint.name] = _joint(joint, given[joint.name])
    return Calibration(robot.name, created, joints)


def _joint(joint: ServoJoint, given: Any) -> JointCalibration:
    """Check one joint of a file."""
    if not isinstance(given, dict) or set(given) != set(_KEYS):
        raise UserError(f"joint '{joint.name}' does not hold {', '.join(_KEYS)}")
    try:
        found = from_mapping(JointCalibration, given)
    except UserError as error:
        raise UserError(f"joint '{joint.name}': {error}") from error
    check_joint(joint, found)
    return found


def _checksum(content: Mapping[str, Any] | Sequence[Any]) -> str:
    """SHA-256 of a file's content, whatever the order and layout of its lines."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
