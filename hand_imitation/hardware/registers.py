"""Servo models and their registers, as data.

Addresses and units are those of the makers' control tables. The same thing has the same name in
both families, wherever both have it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Signed = Literal['', 'twos_complement', 'sign_15', 'sign_11', 'sign_10']
ByteOrder = Literal['little', 'big']


@dataclass(frozen=True)
class Register:
    """One register of a servo.

    Attributes:
        name: What it holds.
        address: Of its first byte.
        size: Bytes.
        signed: How negative values are written: not at all, as two's complement, or as the
            magnitude with this bit set.
        writable: Whether a host may write it.
        eeprom: Whether it outlasts a loss of power; such registers can be locked.
    """

    name: str
    address: int
    size: int
    signed: Signed = ''
    writable: bool = True
    eeprom: bool = False

    @property
    def end(self) -> int:
        """Address behind its last byte."""
        return self.address + self.size


@dataclass(frozen=True)
class Model:
    """One model of servo; figures of the motor are the maker's at its usual voltage.

    Attributes:
        name: As printed on it.
        number: What its register model_number reads.
        protocol: Whose packets it understands.
        registers: All of them, by name.
        ticks_per_turn: Of the position registers.
        velocity_unit_rad_s: One unit of the velocity registers, [rad/s].
        stall_torque_nm: [N m].
        stall_current_a: [A].
        no_load_speed_rad_s: [rad/s].
        voltage_v: [V].
        current_unit_a: One unit of the current registers, [A]; 0 where it measures load only.
        load_unit: One unit of present_load, as a fraction of the full torque.
        byte_order: Of its registers.
        has_sync_read: Whether one instruction can read several servos.
    """

    name: str
    number: int
    protocol: Literal['dynamixel', 'feetech']
    registers: Mapping[str, Register]
    ticks_per_turn: int
    velocity_unit_rad_s: float
    stall_torque_nm: float
    stall_current_a: float
    no_load_speed_rad_s: float
    voltage_v: float
    current_unit_a: float = 0.0
    load_unit: float = 0.001
    byte_order: ByteOrder = 'little'
    has_sync_read: bool = True

    @property
    def rad_per_tick(self) -> float:
        """Angle of one tick of the position registers, [rad]."""
        return 2 * math.pi / self.ticks_per_turn


def encode(register: Register, value: int, byte_order: ByteOrder = 'little') -> bytes:
    """Return a value as the bytes of a register.

    Raises:
        ValueError: the register cannot hold the value.
    """
    bits = 8 * register.size
    lower, upper = value_range(register)
    if not lower <= value <= upper:
        raise ValueError(f'{register.name} holds {lower} to {upper}, not {value}')
    if register.signed == 'twos_complement':
        value %= 1 << bits
    elif register.signed and value < 0:
        value = -value | 1 << _sign_bit(register)
    return value.to_bytes(register.size, byte_order)


def decode(register: Register, data: bytes, byte_order: ByteOrder = 'little') -> int:
    """Return the value that the bytes of a register mean.

    Raises:
        ValueError: another number of bytes than the register has.
    """
    if len(data) != register.size:
        raise ValueError(f'{register.name} has {register.size} bytes, not {len(data)}')
    value = int.from_bytes(data, byte_order, signed=register.signed == 'twos_complement')
    if register.signed in ('', 'twos_complement'):
        return value
    sign = 1 << _sign_bit(register)
    return -(value & (sign - 1)) if value & sign else value & (sign - 1)


def value_range(register: Register) -> tuple[int, int]:
    """Return the least and the greatest value a register can hold."""
    if register.signed == '':
        return 0, (1 << 8 * register.size) - 1
    if register.signed == 'twos_complement':
        limit = 1 << 8 * register.size - 1
        return -limit, limit - 1
    limit = (1 << _sign_bit(register)) - 1
    return -limit, limit


def _sign_bit(register: Register) -> int:
    return int(register.signed.removeprefix('sign_'))


def _table(*registers: Register) -> Mapping[str, Register]:
    return MappingProxyType({register.name: register for register in registers})


def _eeprom(name: str, address: int, size: int = 1, signed: Signed = '') -> Register:
    return Register(name, address, size, signed, eeprom=True)


def _ram(name: str, address: int, size: int = 1, signed: Signed = '') -> Register:
    return Register(name, address, size, signed)


def _measured(name: str, address: int, size: int = 1, signed: Signed = '') -> Register:
    return Register(name, address, size, signed, writable=False)


_TWOS: Signed = 'twos_complement'

_DYNAMIXEL_COMMON = (
    Register('model_number', 0, 2, writable=False, eeprom=True),
    Register('model_information', 2, 4, writable=False, eeprom=True),
    Register('firmware', 6, 1, writable=False, eeprom=True),
    _eeprom('id', 7),
    _eeprom('baud', 8),
    _eeprom('return_delay', 9),
    _eeprom('drive_mode', 10),
    _eeprom('operating_mode', 11),
    _eeprom('secondary_id', 12),
    _eeprom('protocol_type', 13),
    _eeprom('offset', 20, 4, _TWOS),
    _eeprom('moving_threshold', 24, 4),
    _eeprom('temperature_limit', 31),
    _eeprom('max_voltage', 32, 2),
    _eeprom('min_voltage', 34, 2),
    _eeprom('pwm_limit', 36, 2),
    _eeprom('velocity_limit', 44, 4),
    _eeprom('max_position', 48, 4),
    _eeprom('min_position', 52, 4),
    _eeprom('startup', 60),
    _eeprom('shutdown', 63),
    _ram('torque_enable', 64),
    _ram('led', 65),
    _ram('status_return_level', 68),
    _measured('registered', 69),
    _measured('hardware_error', 70),
    _ram('velocity_i_gain', 76, 2),
    _ram('velocity_p_gain', 78, 2),
    _ram('position_d_gain', 80, 2),
    _ram('position_i_gain', 82, 2),
    _ram('position_p_gain', 84, 2),
    _ram('feedforward_2_gain', 88, 2),
    _ram('feedforward_1_gain', 90, 2),
    # Reads -1 once it has tripped.
    _ram('bus_watchdog', 98, 1, _TWOS),
    _ram('goal_pwm', 100, 2, _TWOS),
    _ram('goal_velocity', 104, 4, _TWOS),
    _ram('profile_acceleration', 108, 4),
    _ram('profile_velocity', 112, 4),
    _ram('goal_position', 116, 4, _TWOS),
    _measured('realtime_tick', 120, 2),
    _measured('moving', 122),
    _measured('moving_status', 123),
    _measured('present_pwm', 124, 2, _TWOS),
    _measured('present_velocity', 128, 4, _TWOS),
    _measured('present_position', 132, 4, _TWOS),
    _measured('velocity_trajectory', 136, 4, _TWOS),
    _measured('position_trajectory', 140, 4, _TWOS),
    _measured('present_voltage', 144, 2),
    _measured('present_temperature', 146),
)
DYNAMIXEL_X = _table(
    *_DYNAMIXEL_COMMON, _eeprom('current_limit', 38, 2), _ram('goal_current', 102, 2, _TWOS),
    _measured('present_current', 126, 2, _TWOS))
"""X series with a current sensor."""
DYNAMIXEL_X_LOAD = _table(*_DYNAMIXEL_COMMON, _measured('present_load', 126, 2, _TWOS))
"""X series that estimates its load."""

_FEETECH_COMMON = (
    Register('firmware', 0, 2, writable=False, eeprom=True),
    Register('model_number', 3, 2, writable=False, eeprom=True),
    _eeprom('id', 5),
    _eeprom('baud', 6),
    _eeprom('return_delay', 7),
    _eeprom('status_return_level', 8),
    _eeprom('temperature_limit', 13),
    _eeprom('max_voltage', 14),
    _eeprom('min_voltage', 15),
    _eeprom('max_torque', 16, 2),
    _eeprom('phase', 18),
    # Which errors switch the torque off.
    _eeprom('shutdown', 19),
    _eeprom('led_alarm', 20),
    _eeprom('position_p_gain', 21),
    _eeprom('position_d_gain', 22),
    _eeprom('position_i_gain', 23),
    _eeprom('min_startup_force', 24, 2),
    _eeprom('dead_zone_clockwise', 26),
    _eeprom('dead_zone_counterclockwise', 27),
    _ram('torque_enable', 40),
    _ram('acceleration', 41),
    _ram('goal_time', 44, 2),
    _measured('present_load', 60, 2, 'sign_10'),
    _measured('present_voltage', 62),
    _measured('present_temperature', 63),
    _measured('registered', 64),
    _measured('status', 65),
    _measured('moving', 66),
)
FEETECH_STS = _table(
    *_FEETECH_COMMON,
    _eeprom('min_position', 9, 2),
    _eeprom('max_position', 11, 2),
    _eeprom('current_limit', 28, 2),
    _eeprom('angular_resolution', 30),
    _eeprom('offset', 31, 2, 'sign_11'),
    _eeprom('operating_mode', 33),
    _eeprom('protective_torque', 34),
    _eeprom('protection_time', 35),
    _eeprom('overload_torque', 36),
    _eeprom('velocity_p_gain', 37),
    _eeprom('overcurrent_time', 38),
    _eeprom('velocity_i_gain', 39),
    _ram('goal_position', 42, 2, 'sign_15'),
    _ram('goal_speed', 46, 2, 'sign_15'),
    _ram('torque_limit', 48, 2),
    _ram('lock', 55),
    _measured('present_position', 56, 2, 'sign_15'),
    _measured('present_velocity', 58, 2, 'sign_15'),
    _measured('present_current', 69, 2, 'sign_15'),
)
FEETECH_SCS = _table(
    *_FEETECH_COMMON,
    _eeprom('min_position', 9, 2),
    _eeprom('max_position', 11, 2),
    _eeprom('protective_torque', 37),
    _eeprom('protection_time', 38),
    _eeprom('overload_torque', 39),
    _ram('goal_position', 42, 2),
    _ram('goal_speed', 46, 2),
    _ram('lock', 48),
    _measured('present_position', 56, 2),
    _measured('present_velocity', 58, 2, 'sign_15'),
)

DYNAMIXEL_BAUDS: Mapping[int, int] = MappingProxyType({
    9_600: 0, 57_600: 1, 115_200: 2, 1_000_000: 3, 2_000_000: 4, 3_000_000: 5, 4_000_000: 6})
"""Baud rate to what the register baud holds."""
FEETECH_BAUDS: Mapping[int, int] = MappingProxyType({
    1_000_000: 0, 500_000: 1, 250_000: 2, 128_000: 3, 115_200: 4, 76_800: 5, 57_600: 6,
    38_400: 7})
"""Baud rate to what the register baud holds."""

RETURN_DELAY_UNIT_S = 2e-6
"""One unit of return_delay in both families, [s]."""
BUS_WATCHDOG_UNIT_S = 0.02
"""One unit of a Dynamixel's bus_watchdog, [s]."""
HARDWARE_ERRORS: Mapping[int, str] = MappingProxyType({
    0x01: 'voltage out of range', 0x04: 'too hot', 0x08: 'encoder', 0x10: 'electrical shock',
    0x20: 'overloaded'})
"""Bits of a Dynamixel's hardware_error."""

_RPM_0_229 = 0.229 * 2 * math.pi / 60
_STS_STEP = 2 * math.pi / 4096
_SCS_STEP = 2 * math.pi / 1024

MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in (
    Model('XL330-M288', 1200, 'dynamixel', DYNAMIXEL_X, 4096, _RPM_0_229,
          stall_torque_nm=0.52, stall_current_a=1.47, no_load_speed_rad_s=10.8, voltage_v=5.0,
          current_unit_a=0.001),
    Model('XL330-M077', 1190, 'dynamixel', DYNAMIXEL_X, 4096, _RPM_0_229,
          stall_torque_nm=0.215, stall_current_a=1.47, no_load_speed_rad_s=40.1, voltage_v=5.0,
          current_unit_a=0.001),
    Model('XM430-W350', 1020, 'dynamixel', DYNAMIXEL_X, 4096, _RPM_0_229,
          stall_torque_nm=4.1, stall_current_a=2.3, no_load_speed_rad_s=4.8, voltage_v=12.0,
          current_unit_a=0.00269),
    Model('XL430-W250', 1060, 'dynamixel', DYNAMIXEL_X_LOAD, 4096, _RPM_0_229,
          stall_torque_nm=1.5, stall_current_a=1.4, no_load_speed_rad_s=6.4, voltage_v=12.0),
    Model('STS3215', 777, 'feetech', FEETECH_STS, 4096, _STS_STEP,
          stall_torque_nm=1.9, stall_current_a=2.4, no_load_speed_rad_s=4.7, voltage_v=7.4,
          current_unit_a=0.0065),
    Model('SCS0009', 1284, 'feetech', FEETECH_SCS, 1024, _SCS_STEP,
          stall_torque_nm=0.22, stall_current_a=1.0, no_load_speed_rad_s=10.5, voltage_v=6.0,
          byte_order='big', has_sync_read=False),
)})
"""The models we know, by name."""
