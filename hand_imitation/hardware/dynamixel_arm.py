"""Dynamixel X servos on an arm: what to read, what to set, what their errors mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hand_imitation.hardware.bus import BusParameters, ServoBus
from hand_imitation.hardware.dynamixel_bus import DynamixelBus
from hand_imitation.hardware.port import Port
from hand_imitation.hardware.registers import (
    BUS_WATCHDOG_UNIT_S,
    DYNAMIXEL_BAUDS,
    HARDWARE_ERRORS,
    Model,
    encode,
)
from hand_imitation.hardware.servo_family import ServoFamily, ServoSetup, set_where_different

_POSITION_MODE, _MULTI_TURN_MODE, _CURRENT_POSITION_MODE = 3, 4, 5
_ANSWER_EVERYTHING = 2
_ACCELERATION_UNIT_RAD_S2 = 214.577 * 2 * math.pi / 60**2
_REVERSE = 0x01  # the only bit of drive_mode that the calibration takes care of
_TRIPPED = -1


class DynamixelFamily(ServoFamily):
    """Dynamixel X; see `ServoFamily`."""

    BAUDS = DYNAMIXEL_BAUDS
    HAS_WATCHDOG = True

    def make_bus(self, port: Port, baud: int, models: Sequence[Model],
                 parameters: BusParameters) -> ServoBus:
        """Make the bus."""
        return DynamixelBus(port, baud, parameters)

    def motion_names(self, model: Model) -> tuple[str, ...]:
        """Position, velocity, and current or load."""
        effort = 'present_current' if 'present_current' in model.registers else 'present_load'
        return 'present_position', 'present_velocity', effort

    def status_names(self, model: Model) -> tuple[str, ...]:
        """Everything that may change by itself, and the position once more."""
        return ('torque_enable', 'hardware_error', 'bus_watchdog', 'goal_position',
                'present_voltage', 'present_temperature', *self.motion_names(model))

    def make_answer(self, bus: ServoBus, ids: Sequence[int]) -> None:
        """Set the status return level, which nobody confirms if it is low."""
        # The same address in all models.
        bus.sync_write(68, {id_: bytes((_ANSWER_EVERYTHING,)) for id_ in ids})

    def configure(self, bus: ServoBus, setup: ServoSetup) -> list[str]:
        """Set the mode, no delay of answers, and a drive mode without surprises."""
        drive = bus.read_register(setup.id, setup.model, 'drive_mode')
        wanted = {'return_delay': 0, 'drive_mode': drive & _REVERSE,
                  'operating_mode': _mode(setup)}
        if wanted['operating_mode'] == _POSITION_MODE:
            wanted |= {'min_position': setup.lower_ticks, 'max_position': setup.upper_ticks}
        return set_where_different(bus, setup, wanted)

    def counts_turns(self, setup: ServoSetup) -> bool:
        """Say whether its mode is one of those that do."""
        return _mode(setup) != _POSITION_MODE

    def prepare(self, bus: ServoBus, setup: ServoSetup) -> None:
        """Set speed, acceleration and current, and clear the watchdog."""
        id_, model = setup.id, setup.model
        bus.write_register(id_, model, 'status_return_level', _ANSWER_EVERYTHING)
        bus.write_register(id_, model, 'bus_watchdog', 0)
        velocity = min(setup.velocity_raw, bus.read_register(id_, model, 'velocity_limit'))
        bus.write_register(id_, model, 'profile_velocity', velocity)
        acceleration = max(1, int(setup.acceleration_rad_s2 / _ACCELERATION_UNIT_RAD_S2))
        bus.write_register(id_, model, 'profile_acceleration', acceleration)
        if 'goal_current' in model.registers:
            current = int(setup.current_limit_a / model.current_unit_a)
            most = bus.read_register(id_, model, 'current_limit')
            bus.write_register(id_, model, 'goal_current', min(current, most))

    def start_watchdog(self, bus: ServoBus, setup: ServoSetup, silence_s: float) -> None:
        """Set the bus watchdog."""
        bus.write_register(setup.id, setup.model, 'bus_watchdog',
                           max(1, round(silence_s / BUS_WATCHDOG_UNIT_S)))

    def end_watchdog(self, bus: ServoBus, model: Model, ids: Sequence[int]) -> None:
        """Switch the bus watchdog off."""
        register = model.registers['bus_watchdog']
        bus.sync_write(register.address, {id_: encode(register, 0) for id_ in ids})

    def trouble(self, status: Mapping[str, int], alarms: Sequence[str]) -> str:
        """Say what the register hardware_error means."""
        error = status['hardware_error']
        if not error:
            return ''
        words = [text for bit, text in HARDWARE_ERRORS.items() if error & bit]
        return (f'{" and ".join(words) or "error"} (hardware error 0x{error:02X}): mend the '
                'cause, then switch its power off and on')

    def tripped(self, status: Mapping[str, int]) -> bool:
        """Say whether the bus watchdog has tripped."""
        return status['bus_watchdog'] == _TRIPPED


def _mode(setup: ServoSetup) -> int:
    """Choose the operating mode: with a limit to the current wherever there is one."""
    if 'goal_current' in setup.model.registers:
        return _CURRENT_POSITION_MODE
    return _MULTI_TURN_MODE if setup.multi_turn else _POSITION_MODE
