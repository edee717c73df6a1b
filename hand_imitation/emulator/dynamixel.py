"""An emulated Dynamixel of the X series, and how several of them answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from hand_imitation.emulator.line import Answer, Hearing, Line, addressed
from hand_imitation.emulator.servo import EmulatedServo
from hand_imitation.hardware import dynamixel_protocol as protocol
from hand_imitation.hardware.packet import Packet
from hand_imitation.hardware.registers import (
    BUS_WATCHDOG_UNIT_S,
    DYNAMIXEL_BAUDS,
    Model,
    value_range,
)

FIRMWARE = 0x2E
_TABLE_BYTES = 700
_MAX_FAST_LENGTH = 0xFFFF
_RAM_START = 64
_ACCELERATION_RAD_S2 = 214.577 * 2 * math.pi / 3600  # per unit: 214.577 turns/min^2
_HARDWARE_BITS = {'voltage': 0x01, 'heat': 0x04, 'sensor': 0x08, 'current': 0x10,
                  'overload': 0x20}
_GOALS = {'goal_position', 'goal_velocity', 'goal_current', 'goal_pwm'}
_CURRENT_MODE, _VELOCITY_MODE, _POSITION_MODE, _EXTENDED_MODE = 0, 1, 3, 4
_CURRENT_POSITION_MODE, _PWM_MODE = 5, 16
_RANGES = {
    'id': (0, protocol.MAX_ID), 'baud': (0, 6), 'return_delay': (0, 254),
    'temperature_limit': (0, 100), 'torque_enable': (0, 1), 'status_return_level': (0, 2),
    'bus_watchdog': (0, 127), 'min_position': (0, 4095), 'max_position': (0, 4095),
    'velocity_limit': (0, 2047), 'pwm_limit': (0, 885),
    'profile_velocity': (0, 32767), 'profile_acceleration': (0, 32767),
}


class DynamixelServo(EmulatedServo):
    """One servo."""

    bauds = dict(DYNAMIXEL_BAUDS)

    def __init__(self, model: Model, id: int, baud: int = 1_000_000,
                 position: float | None = None) -> None:
        self._down = False
        self._heard_s = 0.0
        self._alerts = 0
        super().__init__(model, id, baud, position, _TABLE_BYTES)

    def _set_factory_values(self, id_: int, baud_code: int) -> None:
        volts = self.model.voltage_v
        values = {
            'model_number': self.model.number, 'firmware': FIRMWARE, 'id': id_,
            'baud': baud_code, 'return_delay': 250, 'operating_mode': _POSITION_MODE,
            'secondary_id': 255, 'protocol_type': 2, 'moving_threshold': 10,
            'temperature_limit': 70 if volts < 6 else 80, 'max_voltage': 14 * volts,
            'min_voltage': 7 * volts, 'pwm_limit': 885,
            'velocity_limit': self.model.no_load_speed_rad_s / self.model.velocity_unit_rad_s,
            'max_position': self.model.ticks_per_turn - 1, 'shutdown': 0x35,
        }
        for name, value in values.items():
            self.table[name] = value
        if 'current_limit' in self.table:
            self.table['current_limit'] = (
                self.model.stall_current_a / self.model.current_unit_a)

    def _set_power_on_values(self) -> None:
        # Whole turns are counted only while there is power.
        self.clear_turns()
        self._down = False
        self._alerts = 0
        for register in self.model.registers.values():
            if not register.eeprom:
                self.table[register.name] = 0
        values = {
            'status_return_level': 2, 'velocity_i_gain': 1600, 'velocity_p_gain': 180,
            'position_p_gain': 400, 'goal_position': self._reading(),
            'goal_velocity': self.table['velocity_limit'], 'goal_pwm': 885,
        }
        for name, value in values.items():
            self.table[name] = value
        if 'goal_current' in self.table:
            self.table['goal_current'] = self.table['current_limit']

    def _reading(self) -> int:
        return round(self.position) + self.table['offset']

    def error_byte(self, error: int = 0) -> int:
        """Return the error byte of an answer."""
        return error | protocol.ALERT if self._alerts else error

    def heard(self) -> None:
        """Reset the bus watchdog's timer."""
        self._heard_s = self._now_s

    def factory_reset(self, option: int) -> None:
        """Set EEPROM to what it was when new; FF everything, 01 not the id, 02 nor the rate."""
        id_ = self.id if option in (1, 2) else 1
        baud_code = self.table['baud'] if option == 2 else DYNAMIXEL_BAUDS[57_600]
        self._set_factory_values(id_, baud_code)
        self._eeprom.restore(self.table, eeprom=True)
        self.restart()

    def clear_turns(self) -> None:
        """Count whole turns from zero again."""
        self.motor.position_rad %= 2 * math.pi
        self.motor.switch(self.motor.on)

    def _refusal(self, address: int, data: bytes, values: list[tuple[str, int]]) -> int:
        if not data or address + len(data) > self.table.size:
            return protocol.DATA_LENGTH_ERROR
        registers = self.model.registers
        # Writes to addresses without a register are ignored, as gaps within a longer write are.
        if values and not any(registers[name].writable for name, _ in values):
            return protocol.ACCESS_ERROR
        if address < _RAM_START and self.table['torque_enable']:
            return protocol.ACCESS_ERROR
        tripped = self.table['bus_watchdog'] < 0
        for name, value in values:
            if not registers[name].writable:
                return protocol.ACCESS_ERROR
            lower, upper = _RANGES.get(name, value_range(registers[name]))
            if not lower <= value <= upper:
                return protocol.DATA_RANGE_ERROR
            if tripped and (name in _GOALS or name == 'bus_watchdog' and value != 0):
                return protocol.DATA_RANGE_ERROR
            if not self._within_limits(name, value):
                return protocol.DATA_LIMIT_ERROR
            if name == 'torque_enable' and value and self._down:
                return protocol.RESULT_FAIL
        return 0

    def _within_limits(self, name: str, value: int) -> bool:
        """Say whether a value is inside the limits that other registers set for it."""
        table = self.table
        if name == 'goal_position' and table['operating_mode'] == _POSITION_MODE:
            return table['min_position'] <= value <= table['max_position']
        limit = {'goal_current': 'current_limit', 'goal_velocity': 'velocity_limit',
                 'goal_pwm': 'pwm_limit'}.get(name)
        return limit is None or abs(value) <= table[limit]

    def _written(self, values: dict[str, int]) -> None:
        if any(self.model.registers[name].eeprom for name in values):
            self._eeprom.restore(self.table, eeprom=True)
        if 'operating_mode' in values:
            self.table['goal_position'] = self._reading()
        switched = bool(self.table['torque_enable']) != self.motor.on
        if switched:
            self.motor.switch(not self.motor.on)
            self._heard_s = self._now_s
        self._set_motion()
        # With torque comes whatever the goal is by then, even if it is an old one.
        if switched or values.keys() & _GOALS:
            self._set_goal()

    def _set_motion(self) -> None:
        """Tell the motor how it may move."""
        table, motor, model = self.table, self.motor, self.model
        speed, acceleration = table['profile_velocity'], table['profile_acceleration']
        motor.max_velocity_rad_s = speed * model.velocity_unit_rad_s if speed else math.inf
        motor.max_acceleration_rad_s2 = (
            acceleration * _ACCELERATION_RAD_S2 if acceleration else math.inf)
        motor.torque_limit = 1.0
        if table['operating_mode'] == _CURRENT_POSITION_MODE and 'goal_current' in table:
            motor.torque_limit = min(abs(table['goal_current']) / self._stall_units, 1.0)

    @property
    def _stall_units(self) -> float:
        """Stall current in units of the current registers."""
        return self.model.stall_current_a / self.model.current_unit_a

    def _set_goal(self) -> None:
        """Tell the motor where to go."""
        table, motor, model = self.table, self.motor, self.model
        mode = table['operating_mode']
        if table['bus_watchdog'] < 0:
            return
        if mode == _VELOCITY_MODE:
            motor.mode = 'velocity'
            motor.goal = table['goal_velocity'] * model.velocity_unit_rad_s
        elif mode == _CURRENT_MODE and 'goal_current' in table:
            motor.mode, motor.goal = 'torque', table['goal_current'] / self._stall_units
        elif mode == _PWM_MODE:
            motor.mode, motor.goal = 'torque', table['goal_pwm'] / 885
        else:
            motor.mode = 'position'
            motor.goal = (table['goal_position'] - table['offset']) * model.rad_per_tick

    def _measurements(self) -> dict[str, Callable[[], float]]:
        return {
            **super()._measurements(),
            'present_pwm': lambda: self.motor.torque * 885,
            'realtime_tick': lambda: int(self._now_s * 1000) % 32768,
            'position_trajectory': lambda: (
                self.motor.goal / self.model.rad_per_tick + self.table['offset']),
        }

    def _watch(self, now_s: float) -> None:
        timeout_s = self.table['bus_watchdog'] * BUS_WATCHDOG_UNIT_S
        if timeout_s <= 0 or not self.motor.on or now_s - self._heard_s < timeout_s:
            return
        trip_s = self._heard_s + timeout_s
        self.motor.advance(max(trip_s - self._now_s, 0.0))
        self._now_s = max(trip_s, self._now_s)
        self.table['bus_watchdog'] = -1
        self.motor.mode = 'brake'

    def _protect(self) -> None:
        # They stay until the servo starts anew, also when their cause is gone.
        for kind in self._faults():
            self._alerts |= _HARDWARE_BITS[kind]
        self.table['hardware_error'] = self._alerts
        if self._alerts & self.table['shutdown']:
            self._down = True
            self.table['torque_enable'] = 0
            if self.motor.on:
                self.motor.switch(False)


class DynamixelLine(Line):
    """How Dynamixels answer, one by one and together."""

    status_packet = staticmethod(protocol.status_packet)
    ping_slot_s = 0.003

    def __init__(self) -> None:
        self.parser = protocol.Parser()

    def answers(self, packet: Packet, servos: Hearing) -> Iterator[Answer]:
        """Carry out an instruction and yield the answers in the order they come."""
        handler = _TOGETHER.get(packet.instruction)
        if handler is not None:
            yield from handler(packet.params, servos)
            return
        for servo in addressed(packet.id, servos):
            servo.heard()
            answer = _answer(servo, packet, packet.id == protocol.BROADCAST_ID)
            if answer is not None:
                yield answer


def _answer(servo: EmulatedServo, packet: Packet, broadcast: bool) -> Answer | None:
    """Carry out an instruction for one servo."""
    instruction, params = packet.instruction, packet.params
    id_, level = servo.id, servo.table['status_return_level']
    # Where the delay is changed, or the rate, that concerns the next answer.
    error, data, needed = 0, b'', 2
    if instruction == protocol.PING:
        data, needed = servo.read(0, 2) + servo.read(6, 1), 0
    elif instruction == protocol.READ:
        needed = 1
        address, size = _word(params, 0), _word(params, 2)
        if len(params) != 4 or not size or address + size > servo.table.size:
            error = protocol.DATA_LENGTH_ERROR
        else:
            data = servo.read(address, size)
    elif instruction in (protocol.WRITE, protocol.REG_WRITE):
        write = servo.write if instruction == protocol.WRITE else servo.register_write
        error = write(_word(params, 0), params[2:])
    elif instruction == protocol.ACTION:
        servo.action()
    elif instruction == protocol.FACTORY_RESET and params[:1] in (b'\xff', b'\x01', b'\x02'):
        if not (broadcast and params[0] == 0xFF):
            servo.factory_reset(params[0])
    elif instruction == protocol.REBOOT:
        servo.restart()
    elif instruction == protocol.CLEAR and params == b'\x01\x44\x58\x4c\x22':
        assert isinstance(servo, DynamixelServo)
        servo.clear_turns()
    else:
        error = protocol.INSTRUCTION_ERROR
    if level < needed or broadcast and instruction != protocol.PING:
        return None
    return Answer(id_, servo.error_byte(error), data, servo.return_delay_s, chained=False)


def _word(data: bytes, start: int) -> int:
    return int.from_bytes(data[start:start + 2], 'little')


def _read_each(requests: Sequence[tuple[int, int, int]],
               servos: Hearing) -> Iterator[Answer]:
    """Answer one after the other; each waits to hear the one before it."""
    for id_, address, size in requests:
        found = servos.get(id_, ())
        if not found:
            return
        for servo in found:
            servo.heard()
            if not _readable(servo, address, size):
                return
            yield Answer(id_, servo.error_byte(), servo.read(address, size),
                         servo.return_delay_s, chained=id_ != requests[0][0])


def _read_fast(requests: Sequence[tuple[int, int, int]],
               servos: Hearing) -> Iterator[Answer]:
    """Answer with one packet, to which each adds its part; it ends where one is missing."""
    parts = []
    for id_, address, size in requests:
        found = servos.get(id_, ())
        if not found or not _readable(found[0], address, size):
            break
        found[0].heard()
        parts.append((id_, found[0].error_byte(), found[0].read(address, size)))
    length = 1 + sum(4 + size for _, _, size in requests)
    if not parts or length > _MAX_FAST_LENGTH:
        return
    frame = protocol.fast_sync_status(parts, length)
    delay_s = servos[requests[0][0]][0].return_delay_s
    yield Answer(protocol.BROADCAST_ID, 0, b'', delay_s, chained=False, frame=frame)


def _readable(servo: EmulatedServo, address: int, size: int) -> bool:
    return bool(servo.table['status_return_level']) and (
        size > 0 and address + size <= servo.table.size)


def _sync_requests(params: bytes) -> list[tuple[int, int, int]]:
    return [(id_, _word(params, 0), _word(params, 2)) for id_ in params[4:]]


def _bulk_requests(params: bytes) -> list[tuple[int, int, int]]:
    return [(params[start], _word(params, start + 1), _word(params, start + 3))
            for start in range(0, len(params) - 4, 5)]


def _sync_read(params: bytes, servos: Hearing) -> Iterator[Answer]:
    return _read_each(_sync_requests(params), servos)


def _bulk_read(params: bytes, servos: Hearing) -> Iterator[Answer]:
    return _read_each(_bulk_requests(params), servos)


def _fast_sync_read(params: bytes, servos: Hearing) -> Iterator[Answer]:
    return _read_fast(_sync_requests(params), servos)


def _fast_bulk_read(params: bytes, servos: Hearing) -> Iterator[Answer]:
    return _read_fast(_bulk_requests(params), servos)


def _sync_write(params: bytes, servos: Hearing) -> Iterator[Answer]:
    address, size = _word(params, 0), _word(params, 2)
    for start in range(4, len(params) - size, size + 1):
        for servo in servos.get(params[start], ()):
            servo.heard()
            servo.write(address, params[start + 1:start + 1 + size])
    return iter(())


def _bulk_write(params: bytes, servos: Hearing) -> Iterator[Answer]:
    start = 0
    while start + 5 <= len(params):
        end = start + 5 + _word(params, start + 3)
        for servo in servos.get(params[start], ()):
            servo.heard()
            if end <= len(params):
                servo.write(_word(params, start + 1), params[start + 5:end])
        start = end
    return iter(())


_TOGETHER = {
    protocol.SYNC_READ: _sync_read, protocol.SYNC_WRITE: _sync_write,
    protocol.FAST_SYNC_READ: _fast_sync_read, protocol.BULK_READ: _bulk_read,
    protocol.BULK_WRITE: _bulk_write, protocol.FAST_BULK_READ: _fast_bulk_read,
}
