"""The servos during a calibration: read, never driven, and given their offsets at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.hardware.bus import BusParameters, NoReplyError, RefusedError, ServoBus
from hand_imitation.hardware.bus_check import check_servos, find_baud, silence_advice
from hand_imitation.hardware.dynamixel_arm import DynamixelFamily
from hand_imitation.hardware.feetech_arm import FeetechFamily
from hand_imitation.hardware.port import Port
from hand_imitation.hardware.registers import decode
from hand_imitation.hardware.robot import Robot, ServoJoint, TickScale
from hand_imitation.hardware.servo_family import ServoFamily

_OFFSET_TOLERANCE_RAD = 0.05
_SETTLE_S = 0.05
_FAMILIES: dict[str, ServoFamily] = {'dynamixel': DynamixelFamily(), 'feetech': FeetechFamily()}


def bus_of(robot: Robot, port: Port) -> ServoBus:
    """Make the bus a robot's servos hang on."""
    models = [joint.model for joint in robot.joints]
    return _FAMILIES[robot.protocol].make_bus(port, robot.baud, models, BusParameters())


def check_offsets(bus: ServoBus, robot: Robot, scale: TickScale) -> None:
    """Refuse servos whose own offsets are not those of the calibration.

    Args:
        bus: The bus they hang on.
        robot: The robot.
        scale: With the calibration; without one nothing is checked.

    Raises:
        UserError: A servo was exchanged, reset or given another offset since.
        NoReplyError, RefusedError, BusLostError: The servos cannot be read.
    """
    if scale.servo_offsets is None:
        return
    for joint, offset in zip(robot.joints, scale.servo_offsets, strict=True):
        if 'offset' not in joint.model.registers:
            continue
        held = bus.read_register(joint.id, joint.model, 'offset')
        if held != offset:
            raise UserError(
                f'servo {joint.id} ({joint.name}) holds offset {held}, the calibration was made '
                f"with {offset}: run 'hand-imitation calibrate --joint {joint.name} ...' or, if "
                'the calibration was stopped while it wrote, the same command again')


class ServosAtRest:
    """All servos of a robot, torque off.

    Args:
        robot: The robot.
        bus: The bus they hang on.
    """

    def __init__(self, robot: Robot, bus: ServoBus) -> None:
        self._robot = robot
        self._bus = bus

    def open(self) -> None:
        """Check that every servo is there and of its model, and switch all torque off.

        Raises:
            UserError: A servo is missing, of another model, or does not let go.
        """
        family = _FAMILIES[self._robot.protocol]
        family.make_answer(self._bus, self._robot.ids)
        if not check_servos(self._bus, self._robot):
            other = find_baud(self._bus, family, self._robot.ids, self._robot.baud)
            raise UserError(silence_advice(self._robot, other))
        for joint in self._robot.joints:
            # Two servos of one id may agree on their model; on where they stand they do not.
            self._read(joint, 'present_position')
        for joint in self._robot.joints:
            self._write(joint, 'torque_enable', 0)

    def ticks(self) -> np.ndarray:
        """Read the positions.

        Returns:
            Shape (n,), counts in the robot's order; NaN where a servo did not answer.
        """
        model = self._robot.joints[0].model
        register = model.registers['present_position']
        replies = self._bus.sync_read(register.address, register.size, self._robot.ids)
        return np.array([
            decode(register, replies[id_].data, model.byte_order) if id_ in replies else np.nan
            for id_ in self._robot.ids])

    def offsets(self) -> dict[str, int]:
        """Read the servos' own offset registers, by joint name, of those that have one.

        Raises:
            UserError: A servo does not answer.
        """
        return {joint.name: self._read(joint, 'offset') for joint in self._robot.joints
                if 'offset' in joint.model.registers}

    def set_offsets(self, wanted: Mapping[str, int]) -> Iterator[str]:
        """Give servos their own offsets, one after the other; those that have them are left.

        Args:
            wanted: By joint name.

        Yields:
            Names of the joints whose offset was changed.

        Raises:
            UserError: An offset does not take effect.
        """
        for joint in self._robot.joints:
            if joint.name not in wanted or 'offset' not in joint.model.registers:
                continue
            held = self._read(joint, 'offset')
            if held != wanted[joint.name]:
                self._change_offset(joint, held, wanted[joint.name])
                yield joint.name

    def _change_offset(self, joint: ServoJoint, held: int, offset: int) -> None:
        """Write an offset, torque being off, and see that the count follows."""
        before = self._read(joint, 'present_position')
        self._write(joint, 'torque_enable', 0)
        lockable = 'lock' in joint.model.registers
        if lockable:
            self._write(joint, 'lock', 0)
        try:
            self._write(joint, 'offset', offset)
        finally:
            if lockable:
                self._write(joint, 'lock', 1)
        self._bus.port.sleep(_SETTLE_S)
        after = self._read(joint, 'present_position')
        turn = joint.model.ticks_per_turn
        missed = (after - before + offset - held + turn // 2) % turn - turn // 2
        if abs(missed) > _OFFSET_TOLERANCE_RAD / joint.model.rad_per_tick:
            raise UserError(
                f"the count of servo {joint.id} ('{joint.name}') went from {before} to {after} "
                f'when its offset went from {held} to {offset}: hold the joints still and run '
                'the same command again')

    def _read(self, joint: ServoJoint, register: str) -> int:
        try:
            return self._bus.read_register(joint.id, joint.model, register)
        except (NoReplyError, RefusedError) as error:
            if isinstance(error, NoReplyError) and error.garbled:
                raise UserError(
                    f'servo {joint.id} ({joint.name}) answers unclearly: two servos with this id '
                    'answer at once, or its cable is bad. Connect one servo at a time and give '
                    'each its own id') from error
            raise UserError(f"'{joint.name}': {error}: check its plug, then run the same command "
                            'again') from error

    def _write(self, joint: ServoJoint, register: str, value: int) -> None:
        try:
            self._bus.write_register(joint.id, joint.model, register, value)
        except (NoReplyError, RefusedError) as error:
            raise UserError(f"'{joint.name}': {error}: check its plug, then run the same command "
                            'again') from error
