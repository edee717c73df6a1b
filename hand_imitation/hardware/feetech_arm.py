"""Feetech STS and SCS servos on an arm: what to read, what to set, what their errors mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hand_imitation.errors import UserError
from hand_imitation.hardware.bus import BusParameters, ServoBus
from hand_imitation.hardware.feetech_bus import FeetechBus
from hand_imitation.hardware.port import Port
from hand_imitation.hardware.registers import FEETECH_BAUDS, Model
from hand_imitation.hardware.servo_family import ServoFamily, ServoSetup, set_where_different

_POSITION_MODE = 0
_ANSWER_EVERYTHING = 1
_UNLOCKED, _LOCKED = 0, 1
_ACCELERATION_UNIT_RAD_S2 = 100 * 2 * math.pi / 4096
_MAX_ACCELERATION = 254
_FULL_TORQUE = 1000


class FeetechFamily(ServoFamily):
    """Feetech STS and SCS; see `ServoFamily`."""

    BAUDS = FEETECH_BAUDS
    HAS_WATCHDOG = False

    def make_bus(self, port: Port, baud: int, models: Sequence[Model],
                 parameters: BusParameters) -> ServoBus:
        """Make the bus."""
        return FeetechBus(port, baud, models[0], parameters)

    def motion_names(self, model: Model) -> tuple[str, ...]:
        """Position, velocity and load; voltage and temperature come next to them."""
        return ('present_position', 'present_velocity', 'present_load', 'present_voltage',
                'present_temperature')

    def status_names(self, model: Model) -> tuple[str, ...]:
        """Everything that may change by itself, and the position once more."""
        current = ('present_current',) if 'present_current' in model.registers else ()
        return ('torque_enable', 'goal_position', *self.motion_names(model), *current)

    def make_answer(self, bus: ServoBus, ids: Sequence[int]) -> None:
        """Do nothing: reads are always answered, and what is written is read back."""

    def configure(self, bus: ServoBus, setup: ServoSetup) -> list[str]:
        """Set the mode, the ends of the travel and no delay of answers."""
        if setup.multi_turn:
            raise UserError(
                f"the count of joint '{setup.name}' passes the end of a turn inside its travel, "
                f'which a {setup.model.name} cannot do: turn its horn and calibrate again')
        wanted = {'return_delay': 0, 'status_return_level': _ANSWER_EVERYTHING,
                  'min_position': setup.lower_ticks, 'max_position': setup.upper_ticks}
        if 'operating_mode' in setup.model.registers:
            wanted['operating_mode'] = _POSITION_MODE
        if 'torque_limit' not in setup.model.registers:
            wanted['max_torque'] = _torque_limit(setup)
        bus.write_register(setup.id, setup.model, 'lock', _UNLOCKED)
        changed = set_where_different(bus, setup, wanted)
        bus.write_register(setup.id, setup.model, 'lock', _LOCKED)
        return changed

    def counts_turns(self, setup: ServoSetup) -> bool:
        """Return False: in the position mode none does."""
        return False

    def prepare(self, bus: ServoBus, setup: ServoSetup) -> None:
        """Set speed, acceleration and torque."""
        id_, model = setup.id, setup.model
        acceleration = int(setup.acceleration_rad_s2 / _ACCELERATION_UNIT_RAD_S2)
        bus.write_register(id_, model, 'acceleration', max(1, min(acceleration,
                                                                  _MAX_ACCELERATION)))
        bus.write_register(id_, model, 'goal_time', 0)
        bus.write_register(id_, model, 'goal_speed', setup.velocity_raw)
        if 'torque_limit' in model.registers:
            bus.write_register(id_, model, 'torque_limit', _torque_limit(setup))

    def start_watchdog(self, bus: ServoBus, setup: ServoSetup, silence_s: float) -> None:
        """Do nothing: they have none, which is why goals must not lead far."""

    def end_watchdog(self, bus: ServoBus, model: Model, ids: Sequence[int]) -> None:
        """Do nothing: they have none."""

    def trouble(self, status: Mapping[str, int], alarms: Sequence[str]) -> str:
        """Say what the error byte means."""
        if not alarms:
            return ''
        return f'{" and ".join(alarms)}: mend the cause, then arm again'

    def tripped(self, status: Mapping[str, int]) -> bool:
        """Return False: they have no watchdog."""
        return False


def _torque_limit(setup: ServoSetup) -> int:
    """Torque that the current limit stands for, in thousandths of the full one."""
    share = setup.current_limit_a / setup.model.stall_current_a
    return max(1, min(_FULL_TORQUE, round(share * _FULL_TORQUE)))
