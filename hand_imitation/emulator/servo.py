"""What the emulated servos of both makers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from hand_imitation.emulator.motor import Motor
from hand_imitation.emulator.table import ControlTable
from hand_imitation.hardware.registers import RETURN_DELAY_UNIT_S, Model

WriteListener = Callable[['EmulatedServo', str, int, bool], None]
"""Gets the servo, a register's name, its new value, and whether the write was accepted."""

BOOT_S = 0.15
"""For how long a servo that starts anew is deaf [s]."""
FAULT_KINDS = ('voltage', 'sensor', 'heat', 'current', 'overload')
"""What can be wrong with a servo, whichever maker's."""


class EmulatedServo(ABC):
    """Registers, a motor, and what connects them. Time is passed in.

    Attributes:
        model: What it is.
        table: Its registers.
        motor: Its mechanics.
        alive: Whether it answers and listens at all.
        volts: What it is supplied with [V].
        on_write: Told of every register a host writes.
    """

    bauds: dict[int, int]

    def __init__(self, model: Model, id: int, baud: int, position: float | None = None,
                 table_size: int = 256) -> None:
        """Make a servo that has just been switched on.

        Args:
            model: What it is.
            id: On the bus.
            baud: Rate of the bus.
            position: Where its output stands [ticks]; the middle by default.
            table_size: Bytes of its registers.
        """
        middle = model.ticks_per_turn // 2
        start = float(middle if position is None else position)
        self._meters: dict[str, Callable[[], float]] = {
            name: measure for name, measure in self._measurements().items()
            if name in model.registers}
        self._rates = {code: rate for rate, code in self.bauds.items()}
        self.model = model
        self.motor = Motor(model, start * model.rad_per_tick)
        self.alive = True
        self.volts = model.voltage_v
        self.on_write: WriteListener | None = None
        self.table = ControlTable(model, table_size)
        self._eeprom = ControlTable(model, table_size)
        self._now_s = 0.0
        self._awake_s = 0.0
        self._registered: tuple[int, bytes] | None = None
        self._injected: set[str] = set()
        self._set_factory_values(id, self.bauds[baud])
        self._eeprom.restore(self.table, eeprom=True)
        self.power_on()

    @property
    def id(self) -> int:
        """Its id on the bus."""
        return self.table['id']

    @property
    def baud(self) -> int:
        """Rate at which it listens and speaks."""
        return self._rates.get(self.table['baud'], 0)

    @property
    def return_delay_s(self) -> float:
        """Time between an instruction and its answer [s]."""
        return self.table['return_delay'] * RETURN_DELAY_UNIT_S

    @property
    def position(self) -> float:
        """Where the output stands, without offset [ticks]."""
        return self.motor.position_rad / self.model.rad_per_tick

    @property
    def listening(self) -> bool:
        """Whether it would hear an instruction now."""
        return self.alive and self._now_s >= self._awake_s

    def advance(self, now_s: float) -> None:
        """Let time pass until `now_s`."""
        if now_s <= self._now_s:
            return
        self.motor.voltage = self.volts / self.model.voltage_v
        self._watch(now_s)
        stepped = self.motor.advance(now_s - self._now_s)
        self._now_s = now_s
        if stepped:
            self._protect()

    def read(self, address: int, size: int) -> bytes:
        """Return registers as they are now."""
        for register in self.table.touched(address, size):
            measure = self._meters.get(register.name)
            if measure is not None:
                self.table[register.name] = measure()
        return self.table.read(address, size)

    def write(self, address: int, data: bytes) -> int:
        """Write registers as a host does.

        Returns:
            Error byte without alerts: 0 where it was accepted.
        """
        values = self.table.values_after(address, data)
        error = self._refusal(address, data, [(r.name, value) for r, value in values])
        if error == 0:
            self.table.store(address, data, values)
            self._written({r.name: value for r, value in values})
        if self.on_write is not None:
            for register, value in values:
                self.on_write(self, register.name, value, error == 0 and register.writable)
        return error

    def register_write(self, address: int, data: bytes) -> int:
        """Keep a write for `action`; returns an error byte like `write`."""
        values = self.table.values_after(address, data)
        error = self._refusal(address, data, [(r.name, value) for r, value in values])
        if error == 0:
            self._registered = address, data
            self.table['registered'] = 1
        return error

    def action(self) -> None:
        """Carry out the write that was kept, if any."""
        if self._registered is not None:
            self.write(*self._registered)
        self._registered = None
        self.table['registered'] = 0

    def power_on(self) -> None:
        """Start anew: no torque, RAM at its defaults, EEPROM as it was saved."""
        self.table.restore(self._eeprom, eeprom=True)
        self._registered = None
        self.motor.switch(False)
        self.motor.strained_s = 0.0
        self._set_power_on_values()

    def restart(self) -> None:
        """Start anew, which takes a while in which the servo is deaf."""
        self.power_on()
        self._awake_s = self._now_s + BOOT_S

    def inject(self, kind: str) -> None:
        """Let one of `FAULT_KINDS` happen, whatever the motor really does."""
        self._injected.add(kind)
        self._protect()

    def heal(self) -> None:
        """Take all causes of faults away; what the servo remembers of them stays."""
        self._injected.clear()
        self.motor.load = 0.0
        self.motor.jammed = False
        self.motor.heating_c_s = 0.0
        self.volts = self.model.voltage_v

    def status(self) -> dict[str, Any]:
        """Return how it is doing, for people and programs."""
        table, motor = self.table, self.motor
        return {
            'id': self.id, 'model': self.model.name, 'baud': self.baud, 'alive': self.alive,
            'torque': motor.on, 'position': round(self.position, 2),
            'goal': table['goal_position'],
            'velocity_rad_s': round(motor.velocity_rad_s, 4),
            'torque_fraction': round(motor.torque, 4),
            'temperature_c': round(motor.temperature_c, 2), 'volts': self.volts,
            'error': self.error_byte(), 'faults': sorted(self._faults())}

    def _faults(self) -> set[str]:
        """Return which of `FAULT_KINDS` are there now."""
        table, faults = self.table, set(self._injected)
        volts = round(self.volts * 10)
        if not table['min_voltage'] <= volts <= table['max_voltage']:
            faults.add('voltage')
        if self.motor.temperature_c > table['temperature_limit']:
            faults.add('heat')
        if self.motor.strained_s >= self._overload_s:
            faults.add('overload')
        return faults

    _overload_s = 1.0

    @abstractmethod
    def error_byte(self, error: int = 0) -> int:
        """Return the error byte of an answer: this error, and alerts."""

    @abstractmethod
    def factory_reset(self, option: int) -> None:
        """Set EEPROM to what it was when new, and start anew."""

    @abstractmethod
    def heard(self) -> None:
        """Take note that an instruction was for this servo."""

    @abstractmethod
    def _set_factory_values(self, id_: int, baud_code: int) -> None:
        """Set the registers in EEPROM."""

    @abstractmethod
    def _set_power_on_values(self) -> None:
        """Set the registers in RAM."""

    @abstractmethod
    def _refusal(self, address: int, data: bytes, values: list[tuple[str, int]]) -> int:
        """Return the error for a write, 0 where it is allowed."""

    @abstractmethod
    def _written(self, values: dict[str, int]) -> None:
        """Do what follows from registers that were written."""

    def _measurements(self) -> dict[str, Callable[[], float]]:
        """Return how each register that measures gets its value."""
        return {
            'present_position': self._reading,
            'present_velocity': self._velocity_units,
            'present_current': lambda: (self.motor.torque * self.model.stall_current_a
                                        / self.model.current_unit_a),
            'present_load': lambda: self.motor.torque * 1000,
            'present_voltage': lambda: self.volts * 10,
            'present_temperature': lambda: self.motor.temperature_c,
            'moving': lambda: abs(self._velocity_units()) > self._moving_units,
        }

    def _velocity_units(self) -> float:
        return self.motor.velocity_rad_s / self.model.velocity_unit_rad_s

    _moving_units = 10

    @abstractmethod
    def _reading(self) -> int:
        """Return what the position register reads."""

    @abstractmethod
    def _watch(self, now_s: float) -> None:
        """Look after a watchdog that might trip before `now_s`."""

    @abstractmethod
    def _protect(self) -> None:
        """Notice faults, and switch off where that is called for."""
