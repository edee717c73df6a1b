"""An emulated Feetech servo, STS or SCS, and how several of them answer."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hand_imitation.emulator.line import Answer, Hearing, Line, addressed
from hand_imitation.emulator.servo import EmulatedServo
from hand_imitation.hardware import feetech_protocol as protocol
from hand_imitation.hardware.packet import Packet
from hand_imitation.hardware.registers import FEETECH_BAUDS, Model

_BITS = {'voltage': protocol.VOLTAGE_ERROR, 'sensor': protocol.SENSOR_ERROR,
         'heat': protocol.HEAT_ERROR, 'current': protocol.CURRENT_ERROR,
         'overload': protocol.OVERLOAD_ERROR}
_ACCELERATION_TICKS_S2 = 100  # per unit
_MAX_READ = 200  # bytes at once
_SET_MIDDLE = 128  # written to torque_enable: this is the middle from now on
_POSITION_MODE, _VELOCITY_MODE, _PWM_MODE = 0, 1, 2


class FeetechServo(EmulatedServo):
    """One servo.

    Its position register holds one turn only: beyond either end of it, it wraps.
    """

    bauds = dict(FEETECH_BAUDS)

    def __init__(self, model: Model, id: int, baud: int = 1_000_000,
                 position: float | None = None) -> None:
        self._overloaded = False
        super().__init__(model, id, baud, position)

    def _set_factory_values(self, id_: int, baud_code: int) -> None:
        volts = self.model.voltage_v
        values = {
            'firmware': 0x0903, 'model_number': self.model.number, 'id': id_, 'baud': baud_code,
            'return_delay': 0, 'status_return_level': 1, 'temperature_limit': 70,
            'max_voltage': 14 * volts, 'min_voltage': 6 * volts, 'max_torque': 1000, 'phase': 12,
            'shutdown': 0x2C, 'led_alarm': 0x2F, 'position_p_gain': 32, 'position_d_gain': 32,
            'min_startup_force': 16, 'dead_zone_clockwise': 1, 'dead_zone_counterclockwise': 1,
            'max_position': self.model.ticks_per_turn - 1, 'current_limit': 500,
            'angular_resolution': 1, 'protective_torque': 20, 'protection_time': 200,
            'overload_torque': 80, 'overcurrent_time': 200,
        }
        for name, value in values.items():
            if name in self.table:
                self.table[name] = value

    def _set_power_on_values(self) -> None:
        self._overloaded = False
        for register in self.model.registers.values():
            if not register.eeprom:
                self.table[register.name] = 0
        self.table['lock'] = 1
        self.table['goal_position'] = self._reading()
        if 'torque_limit' in self.table:
            self.table['torque_limit'] = self.table['max_torque']

    @property
    def _offset(self) -> int:
        return self.table.get('offset', 0)

    def _reading(self) -> int:
        return (round(self.position) - self._offset) % self.model.ticks_per_turn

    @property
    def _overload_s(self) -> float:  # type: ignore[override]
        return max(self.table['protection_time'] * 0.01, 0.01)

    def error_byte(self, error: int = 0) -> int:
        """Return the error byte of an answer, which is the state of the servo."""
        return self.table['status']

    def heard(self) -> None:
        """Do nothing: there is no watchdog."""

    def factory_reset(self, option: int) -> None:
        """Set EEPROM to what it was when new, except for the id."""
        self._set_factory_values(self.id, self.table['baud'])
        self._eeprom.restore(self.table, eeprom=True)
        self.restart()

    def _refusal(self, address: int, data: bytes, values: list[tuple[str, int]]) -> int:
        """Refuse silently what makes no sense: the error byte has no word for it."""
        if not data or address + len(data) > self.table.size:
            return 1
        return int(any(name == 'id' and value > protocol.MAX_ID for name, value in values))

    def write(self, address: int, data: bytes) -> int:
        """Write registers as a host does; what may only be read keeps its value."""
        kept = {register.name: self.table[register.name]
                for register in self.table.touched(address, len(data))
                if not register.writable}
        error = super().write(address, data)
        for name, value in kept.items():
            self.table[name] = value
        return error

    def _written(self, values: dict[str, int]) -> None:
        if values.get('torque_enable') == _SET_MIDDLE:
            self._set_middle()
        # While the lock is on, EEPROM can be changed, but not for longer than until power off.
        if not self.table['lock']:
            self._eeprom.restore(self.table, eeprom=True)
        if 'torque_enable' in values:
            self._overloaded = False
            self.motor.strained_s = 0.0
            if (self.table['torque_enable'] == 1) != self.motor.on:
                self.motor.switch(not self.motor.on)
        self._set_motion()

    def _set_middle(self) -> None:
        if 'offset' in self.table:
            half = self.model.ticks_per_turn // 2
            self.table['offset'] = (round(self.position) % (2 * half)) - half
            self._eeprom['offset'] = self.table['offset']
        self.table['torque_enable'] = int(self.motor.on)

    def _set_motion(self) -> None:
        """Tell the motor what the registers ask for."""
        table, motor, tick_rad = self.table, self.motor, self.model.rad_per_tick
        mode = table.get('operating_mode', _POSITION_MODE)
        acceleration = table['acceleration'] * _ACCELERATION_TICKS_S2 * tick_rad
        motor.max_acceleration_rad_s2 = acceleration or math.inf
        limit = table.get('torque_limit', table['max_torque']) / 1000
        if self._overloaded:
            limit = min(limit, table['protective_torque'] / 100)
        motor.torque_limit = min(limit, 1.0)
        motor.strain_limit = 0.85 * motor.torque_limit if self._overloaded else (
            table['overload_torque'] / 100)
        if mode == _VELOCITY_MODE:
            motor.mode, motor.goal = 'velocity', table['goal_speed'] * tick_rad
            return
        if mode == _PWM_MODE:
            motor.mode, motor.goal = 'torque', table['goal_time'] / 1000
            return
        lower, upper = table['min_position'], table['max_position']
        wanted = table['goal_position']
        goal = (min(max(wanted, lower), upper) if lower < upper else wanted) + self._offset
        turn = self.model.ticks_per_turn
        # Within the turn in which the output stands.
        goal += turn * math.floor((self.position - self._offset) / turn)
        motor.mode, motor.goal = 'position', goal * tick_rad
        speed = abs(table['goal_speed']) * tick_rad
        if not speed and table['goal_time']:
            speed = abs(motor.goal - motor.position_rad) / (table['goal_time'] / 1000)
        motor.max_velocity_rad_s = speed or math.inf

    def _watch(self, now_s: float) -> None:
        """Do nothing: there is no watchdog."""

    def _protect(self) -> None:
        faults = self._faults()
        mask = self.table['shutdown']
        if 'overload' in faults and not self._overloaded:
            self._overloaded = True
            self._set_motion()
        status = protocol.OVERLOAD_ERROR if self._overloaded else 0
        for kind in faults:
            status |= _BITS[kind]
        self.table['status'] = status
        # On overload the torque is lowered; anything else that the mask names ends it.
        if status & mask & ~protocol.OVERLOAD_ERROR and self.motor.on:
            self.table['torque_enable'] = 0
            self.motor.switch(False)


class FeetechLine(Line):
    """How Feetech servos answer, one by one and together."""

    status_packet = staticmethod(protocol.status_packet)
    ping_slot_s = 0.003

    def __init__(self) -> None:
        self.parser = protocol.Parser(status=False)

    def answers(self, packet: Packet, servos: Hearing) -> Iterator[Answer]:
        """Carry out an instruction and yield the answers in the order they come."""
        params = packet.params
        if packet.instruction == protocol.SYNC_READ:
            yield from _sync_read(params, servos)
        elif packet.instruction == protocol.SYNC_WRITE:
            size = params[1] if len(params) > 1 else 0
            for start in range(2, len(params) - size, size + 1):
                for servo in servos.get(params[start], ()):
                    servo.write(params[0], params[start + 1:start + 1 + size])
        else:
            broadcast = packet.id == protocol.BROADCAST_ID
            for servo in addressed(packet.id, servos):
                answer = _answer(servo, packet, broadcast)
                if answer is not None:
                    yield answer


def _sync_read(params: bytes, servos: Hearing) -> Iterator[Answer]:
    """Answer one after the other; each waits to hear the one before it. SCS does not know it."""
    if len(params) < 3:
        return
    address, size, ids = params[0], params[1], params[2:]
    for id_ in ids if 0 < size <= _MAX_READ else ():
        found = [servo for servo in servos.get(id_, ()) if servo.model.has_sync_read]
        if not found:
            return
        for servo in found:
            yield Answer(id_, servo.error_byte(), servo.read(address, size),
                         servo.return_delay_s, chained=id_ != ids[0])


def _answer(servo: EmulatedServo, packet: Packet, broadcast: bool) -> Answer | None:
    """Carry out an instruction for one servo."""
    instruction, params = packet.instruction, packet.params
    id_, level, data, always = servo.id, servo.table['status_return_level'], b'', False
    if instruction == protocol.PING:
        # SCS servos would all speak at once.
        always = not broadcast or servo.model.has_sync_read
        if not always:
            return None
    elif instruction == protocol.READ:
        if len(params) != 2 or broadcast or not 0 < params[1] <= _MAX_READ:
            return None
        data, always = servo.read(params[0], params[1]), True
    elif instruction in (protocol.WRITE, protocol.REG_WRITE):
        if len(params) < 2:
            return None
        write = servo.write if instruction == protocol.WRITE else servo.register_write
        write(params[0], params[1:])
    elif instruction == protocol.ACTION:
        servo.action()
    elif instruction == protocol.FACTORY_RESET:
        servo.factory_reset(0)
    else:
        return None
    if not always and (level == 0 or broadcast):
        return None
    return Answer(id_, servo.error_byte(), data, servo.return_delay_s, chained=False)
