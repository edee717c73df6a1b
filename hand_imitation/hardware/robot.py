"""The robot on the bus: which servo drives which joint, read from YAML."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.hardware.registers import DYNAMIXEL_BAUDS, FEETECH_BAUDS, MODELS, Model
from hand_imitation.parameters import from_mapping, parameter
from hand_imitation.plain_yaml import read_yaml
from hand_imitation.resources import share_directory

if TYPE_CHECKING:
    from hand_imitation.hardware.calibration import Calibration

Protocol = Literal['dynamixel', 'feetech']

SCHEMA = 1
_LIMIT_TOLERANCE_RAD = 1e-6
_BAUDS = {'dynamixel': DYNAMIXEL_BAUDS, 'feetech': FEETECH_BAUDS}
_HIGHEST_ID = {'dynamixel': 252, 'feetech': 253}
_REMEDY = 'compare it with those in config/robots'


@dataclass(frozen=True)
class ServoJoint:
    """One joint and the servo that drives it.

    The servo's count is `middle + (offset_rad + direction * gear_ratio * joint angle)`, the
    bracket turned from radians into ticks, where `middle` is half a turn. A calibration takes
    the place of `direction` and `offset_rad`.

    Attributes:
        name: As in the joint table.
        id: The servo's id on the bus.
        model: What kind of servo it is.
        direction: +1 where the count grows with the joint's angle, else -1.
        gear_ratio: Turns of the servo per turn of the joint.
        offset_rad: Where the servo's shaft stands when the joint is at zero, from the middle
            of its turn, in the servo's own sense [rad].
        lower_rad: Lower soft limit of the joint [rad].
        upper_rad: Upper soft limit of the joint [rad].
        max_velocity_rad_s: Fastest the joint may move [rad/s].
        current_limit_a: Current the servo may draw [A].
    """

    name: str
    id: int
    model: Model
    direction: int
    gear_ratio: float
    offset_rad: float
    lower_rad: float
    upper_rad: float
    max_velocity_rad_s: float
    current_limit_a: float


@dataclass(frozen=True)
class Robot:
    """All servos of an arm on one bus.

    Attributes:
        name: What the arm is called; its calibration carries it too.
        protocol: What the bus speaks.
        baud: Bits per second on the bus.
        joints: In the order of the joint table.
    """

    name: str
    protocol: Protocol
    baud: int
    joints: tuple[ServoJoint, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Joint names, in the order of the joint table."""
        return tuple(joint.name for joint in self.joints)

    @property
    def ids(self) -> tuple[int, ...]:
        """Servo ids, in the order of the joint table."""
        return tuple(joint.id for joint in self.joints)

    def with_baud(self, baud: int) -> Robot:
        """Return the same robot at another baud rate.

        Raises:
            UserError: The servos know no such rate.
        """
        return dataclasses.replace(self, baud=_known_baud(self.protocol, baud))


@dataclass(frozen=True)
class _Joint:
    """What a robot description may say of a joint, or of all of them under `defaults`."""

    id: int = parameter(0, "The servo's id", lower=1, upper=253)
    model: str = parameter('', 'Name of the servo', choices=tuple(MODELS))
    direction: int = parameter(1, '1 or -1', lower=-1, upper=1)
    gear_ratio: float = parameter(1.0, 'Servo turns per joint turn', lower=0.05, upper=20.0)
    offset_rad: float = parameter(
        0.0, 'Servo angle at joint zero', lower=-math.pi, upper=math.pi, unit='rad')
    lower_rad: float = parameter(0.0, 'Lower soft limit', unit='rad')
    upper_rad: float = parameter(0.0, 'Upper soft limit', unit='rad')
    max_velocity_rad_s: float = parameter(
        0.0, 'Speed limit', lower=0.01, upper=100.0, unit='rad/s')
    current_limit_a: float = parameter(
        0.0, 'Current limit', lower=0.01, upper=20.0, unit='A')


_JOINT_KEYS = tuple(field.name for field in dataclasses.fields(_Joint))
_OPTIONAL_KEYS = ('direction', 'gear_ratio', 'offset_rad')
_TOP_KEYS = ('schema', 'name', 'protocol', 'baud', 'defaults', 'joints')


def robot_names() -> list[str]:
    """Names of the robots that ship with the package."""
    return sorted(path.stem for path in _robots_folder().glob('*.yaml'))


def load_robot(path_or_name: str, table: JointTable) -> Robot:
    """Load a robot description and check it against the arm.

    Args:
        path_or_name: A YAML file, or the name of one that ships with the package.
        table: The arm's joints, which the robot must drive, all of them.

    Returns:
        The robot, its joints in the table's order.

    Raises:
        UserError: No such robot, or something in the description that does not fit.
    """
    path = _find(path_or_name)
    content = read_yaml(path, 'robot description', _REMEDY)
    try:
        return _robot(content, table)
    except UserError as error:
        raise UserError(f"robot description '{path}': {error}") from error


class TickScale:
    """Turns joint angles into servo counts and back, for all joints at once.

    With a calibration its zeros, directions and ends apply; without one, those of the robot
    description. Where the count of a servo runs over more than one turn (Dynamixel in the
    extended or current-based position mode, or turned by hand while off), `turns` tells how
    many whole turns it is off, and goals must be given the same.

    Args:
        robot: The robot.
        calibration: What `hand-imitation calibrate` found, or None.

    Attributes:
        lower_rad: Shape (n,), limits of the joints [rad], read-only: the soft ones, or the
            ends the calibration found where they are narrower.
        upper_rad: Shape (n,), [rad], read-only.
        lower_ticks: Shape (n,), the lowest goal that is inside the limits, read-only.
        upper_ticks: Shape (n,), the highest goal that is inside the limits, read-only.
        ticks_per_turn: Shape (n,), read-only.
        multi_turn: Shape (n,), bool, read-only. The encoder's zero lies inside this joint's
            travel, so a mode that counts over it is needed.
        servo_offsets: What each servo's own register 'offset' must hold for the calibration to
            be true, in the robot's order; None without a calibration.
    """

    def __init__(self, robot: Robot, calibration: Calibration | None = None) -> None:
        joints = robot.joints
        self.ticks_per_turn = np.array([joint.model.ticks_per_turn for joint in joints])
        self._velocity_unit = np.array([joint.model.velocity_unit_rad_s for joint in joints])
        gear = np.array([joint.gear_ratio for joint in joints])
        direction = np.array([joint.direction for joint in joints])
        self._lower_rad = np.array([joint.lower_rad for joint in joints])
        self._upper_rad = np.array([joint.upper_rad for joint in joints])
        ticks_per_rad = self.ticks_per_turn / (2.0 * math.pi)
        offset = np.array([joint.offset_rad for joint in joints])
        self._zero = self.ticks_per_turn // 2 + offset * ticks_per_rad
        self.servo_offsets: tuple[int, ...] | None = None
        if calibration is not None:
            found = [calibration.joints[joint.name] for joint in joints]
            direction = np.array([joint.direction for joint in found])
            self._zero = np.array([float(joint.zero_ticks - joint.shift_ticks)
                                   for joint in found])
            self.servo_offsets = tuple(joint.servo_offset_ticks for joint in found)
        self._slope = direction * gear * ticks_per_rad
        self._gear, self._direction = gear, direction
        if calibration is not None:
            ends = np.array([[joint.lower_ticks - joint.shift_ticks,
                              joint.upper_ticks - joint.shift_ticks] for joint in found])
            ends_rad = np.sort((ends - self._zero[:, None]) / self._slope[:, None], axis=1)
            self._lower_rad = np.maximum(self._lower_rad, ends_rad[:, 0])
            self._upper_rad = np.minimum(self._upper_rad, ends_rad[:, 1])
        self._set_limits()

    def to_ticks(self, positions_rad: ArrayLike, turns: ArrayLike = 0) -> np.ndarray:
        """Turn joint angles into goals, kept inside the limits.

        Args:
            positions_rad: Shape (..., n), finite [rad].
            turns: Shape (n,), what `turns` said of a measurement, for servos that count over
                more than one turn.

        Returns:
            Shape (..., n), whole numbers.
        """
        ticks = np.rint(self._zero + np.asarray(positions_rad, dtype=float) * self._slope)
        within = np.clip(ticks, self.lower_ticks, self.upper_ticks)
        return within.astype(np.int64) + np.asarray(turns) * self.ticks_per_turn

    def to_rad(self, ticks: ArrayLike) -> np.ndarray:
        """Turn servo counts into joint angles, whatever turn the servo counts in.

        A count is taken to lie within half a turn of the middle of the joint's travel.

        Args:
            ticks: Shape (..., n); NaN stays NaN.

        Returns:
            Shape (..., n), [rad].
        """
        counts = np.asarray(ticks, dtype=float)
        return (counts - self._turns(counts) * self.ticks_per_turn - self._zero) / self._slope

    def turns(self, ticks: ArrayLike) -> np.ndarray:
        """Whole turns between a servo's count and the count its limits are given in.

        Args:
            ticks: Shape (n,), as measured, finite.

        Returns:
            Shape (n,), whole numbers; all zero for servos that count within one turn, unless
            the joint stands more than half a turn off the middle of its travel.
        """
        return self._turns(np.asarray(ticks, dtype=float)).astype(np.int64)

    def velocity_to_rad_s(self, raw: ArrayLike) -> np.ndarray:
        """Turn the servos' unit of velocity into joint velocities.

        Args:
            raw: Shape (..., n), signed.

        Returns:
            Shape (..., n), [rad/s].
        """
        return np.asarray(raw, dtype=float) * self._velocity_unit * self._direction / self._gear

    def speed_to_raw(self, speeds_rad_s: ArrayLike) -> np.ndarray:
        """Turn joint speeds into the servos' unit of velocity, for profiles and limits.

        Args:
            speeds_rad_s: Shape (..., n), not negative [rad/s].

        Returns:
            Shape (..., n), whole numbers of at least 1, since 0 means unlimited.
        """
        raw = np.asarray(speeds_rad_s, dtype=float) * self._gear / self._velocity_unit
        return np.maximum(1, np.floor(raw)).astype(np.int64)

    def _turns(self, counts: np.ndarray) -> np.ndarray:
        return np.floor((counts - self._middle) / self.ticks_per_turn + 0.5)

    def _set_limits(self) -> None:
        """Find the goals allowed, rounded inwards, and freeze everything."""
        self.lower_rad, self.upper_rad = self._lower_rad, self._upper_rad
        ends = np.stack([self._zero + self.lower_rad * self._slope,
                         self._zero + self.upper_rad * self._slope])
        # A hair of slack, or rounding of floats would cost a tick at a limit that is exact.
        self.lower_ticks = np.ceil(ends.min(axis=0) - 1e-6).astype(np.int64)
        self.upper_ticks = np.floor(ends.max(axis=0) + 1e-6).astype(np.int64)
        self._middle = ends.mean(axis=0)
        self.multi_turn = (self.lower_ticks < 0) | (self.upper_ticks >= self.ticks_per_turn)
        for array in (self.lower_rad, self.upper_rad, self.lower_ticks, self.upper_ticks,
                      self.ticks_per_turn, self.multi_turn):
            array.flags.writeable = False


def _robots_folder() -> Path:
    return share_directory() / 'config' / 'robots'


def _find(path_or_name: str) -> Path:
    """Path of a robot description given by path or by name."""
    path = Path(path_or_name).expanduser()
    if path.suffix in ('.yaml', '.yml') or len(path.parts) > 1:
        return path
    shipped = _robots_folder() / f'{path_or_name}.yaml'
    if path_or_name not in robot_names():
        raise UserError(
            f"no robot '{path_or_name}': give one of {', '.join(robot_names())}, or the path of "
            'a .yaml file')
    return shipped


def _robot(content: dict[str, Any], table: JointTable) -> Robot:
    """Check a description and build the robot."""
    for key in content:
        if key not in _TOP_KEYS:
            raise UserError(_unknown('entry', key, _TOP_KEYS))
    if content.get('schema') != SCHEMA:
        raise UserError(f"schema is {content.get('schema')!r}: this version reads {SCHEMA}")
    name, protocol = content.get('name'), content.get('protocol')
    if not isinstance(name, str) or not name.replace('-', '_').isidentifier():
        raise UserError(f'name is {name!r}: give letters, digits, underscores and dashes')
    if protocol not in ('dynamixel', 'feetech'):
        raise UserError(f"protocol is {protocol!r}: give 'dynamixel' or 'feetech'")
    given, defaults = content.get('joints'), content.get('defaults') or {}
    if not isinstance(given, dict) or not isinstance(defaults, dict):
        raise UserError("'joints' must hold a line for each joint, and 'defaults' what they share")
    for joint_name in given:
        if joint_name not in table.names:
            raise UserError(_unknown('joint', joint_name, table.names))
    missing = [joint_name for joint_name in table.names if joint_name not in given]
    if missing:
        raise UserError(f"no servo for joint '{missing[0]}': give all {len(table)} joints one")
    joints = tuple(_joint(joint_name, defaults, given[joint_name], protocol, table)
                   for joint_name in table.names)
    _check_bus(joints)
    robot = Robot(name, protocol, _known_baud(protocol, content.get('baud')), joints)
    wraps = TickScale(robot).multi_turn
    if wraps.any():
        first = joints[int(wraps.argmax())]
        raise UserError(
            f"the count of joint '{first.name}' passes 0 or {first.model.ticks_per_turn - 1} "
            'inside its limits: bring offset_rad nearer to 0')
    return robot


def _joint(name: str, defaults: Mapping[str, Any], given: Any, protocol: str,
           table: JointTable) -> ServoJoint:
    """Check what is said of one joint."""
    if not isinstance(given, dict):
        raise UserError(f"joint '{name}' is {given!r}: give '{{id: 1, ...}}'")
    merged = {**defaults, **given}
    for key in _JOINT_KEYS:
        if key not in merged and key not in _OPTIONAL_KEYS:
            raise UserError(f"joint '{name}' has no {key}: give one here or under 'defaults'")
    try:
        checked = from_mapping(_Joint, merged)
    except UserError as error:
        raise UserError(f"joint '{name}': {error}") from error
    model = MODELS[checked.model]
    if model.protocol != protocol:
        raise UserError(f"joint '{name}': {model.name} does not speak the {protocol} protocol: "
                        "give another model, or another 'protocol'")
    if checked.id > _HIGHEST_ID[protocol]:
        raise UserError(f"joint '{name}': id is {checked.id}: give at most "
                        f'{_HIGHEST_ID[protocol]}')
    if checked.direction == 0:
        raise UserError(f"joint '{name}': direction is 0: give 1 or -1")
    _check_limits(name, checked, table)
    return ServoJoint(**{**dataclasses.asdict(checked), 'name': name, 'model': model})


def _check_limits(name: str, joint: _Joint, table: JointTable) -> None:
    """Refuse limits that the arm's own description does not allow."""
    index = table.index(name)
    lower, upper = float(table.lower_rad[index]), float(table.upper_rad[index])
    fastest = float(table.max_velocity_rad_s[index])
    if not joint.lower_rad < joint.upper_rad:
        raise UserError(f"joint '{name}': lower_rad {joint.lower_rad} is not below upper_rad "
                        f'{joint.upper_rad}: swap or widen them')
    if (joint.lower_rad < lower - _LIMIT_TOLERANCE_RAD
            or joint.upper_rad > upper + _LIMIT_TOLERANCE_RAD):
        raise UserError(f"joint '{name}': {joint.lower_rad} to {joint.upper_rad} rad goes beyond "
                        f'the arm, which allows {lower} to {upper}: narrow it')
    if joint.max_velocity_rad_s > fastest + _LIMIT_TOLERANCE_RAD:
        raise UserError(f"joint '{name}': max_velocity_rad_s {joint.max_velocity_rad_s} is above "
                        f"the arm's {fastest}: lower it")


def _check_bus(joints: tuple[ServoJoint, ...]) -> None:
    """Refuse servos that cannot share a bus."""
    owners: dict[int, str] = {}
    for joint in joints:
        if joint.id in owners:
            raise UserError(f"joints '{owners[joint.id]}' and '{joint.name}' both have id "
                            f'{joint.id}: give each servo its own')
        owners[joint.id] = joint.name
        # A word in the wrong byte order is a wild goal (256 is read as 1), and SCS servos do
        # not know the sync read that STS servos answer.
        if joint.model.byte_order != joints[0].model.byte_order:
            raise UserError(
                f"'{joints[0].name}' ({joints[0].model.name}) and '{joint.name}' "
                f'({joint.model.name}) send their bytes in different orders: use servos of one '
                'series on a bus')


def _known_baud(protocol: Protocol, baud: Any) -> int:
    """Return a baud rate that servos of this kind can be set to."""
    known = _BAUDS[protocol]
    if isinstance(baud, bool) or baud not in known:
        raise UserError(f'baud is {baud!r}: {protocol} servos know '
                        f'{", ".join(str(rate) for rate in sorted(known))}')
    return int(baud)


def _unknown(kind: str, name: Any, known: tuple[str, ...]) -> str:
    """Say that there is no such thing, and which was probably meant."""
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
    return f"unknown {kind} '{str(name)[:60]}': did you mean '{near[0]}'?"
