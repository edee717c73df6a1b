"""Switching the motors of an arm of servos on and off."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.hardware.bus import BusLostError, ServoBus
from hand_imitation.hardware.registers import Register, encode
from hand_imitation.hardware.robot import Robot, TickScale
from hand_imitation.hardware.servo_errors import ServoFaultError
from hand_imitation.hardware.servo_reader import ServoReader

_ROUNDS = 5
_SEED_TOLERANCE_TICKS = 1
_ROUNDS_OFF = 10
_PATIENCE_S = 0.3

_log = logging.getLogger(__name__)


def sync_write_register(bus: ServoBus, robot: Robot, name: str, values: Sequence[int]) -> None:
    """Write one register of all servos, which nobody confirms.

    Args:
        bus: Where they are.
        robot: Which servos there are.
        name: The register.
        values: One for each servo.
    """
    register: Register = robot.joints[0].model.registers[name]
    bus.sync_write(register.address, {
        joint.id: encode(joint.model.registers[name], int(value), joint.model.byte_order)
        for joint, value in zip(robot.joints, values, strict=True)})


def seed_goals(bus: ServoBus, reader: ServoReader, robot: Robot, scale: TickScale,
               counts_turns: Sequence[bool], tolerance_rad: float,
               ) -> tuple[np.ndarray, np.ndarray]:
    """Set every goal to where the servo stands, and read back that it is so.

    A joint that stands just outside its limits gets the limit.

    Args:
        bus: Where they are.
        reader: Reads them.
        robot: Which servos there are.
        scale: Knows the limits.
        counts_turns: For each servo, whether it counts over more than one turn.
        tolerance_rad: How far outside its limits a joint may stand [rad].

    Returns:
        Goals and the turns they are in, both of shape (n,), whole numbers.

    Raises:
        UserError: A joint stands outside its limits, or does not stand still.
        StaleMeasurementError, BusLostError: The servos cannot be read.
    """
    moving = ''
    for _ in range(_ROUNDS):
        present = _column(reader.read_all(('present_position',)), 'present_position')
        turns = scale.turns(present)
        _check_start(robot, scale, present, turns, counts_turns, tolerance_rad)
        shift = turns * scale.ticks_per_turn
        goals = np.clip(present - shift, scale.lower_ticks, scale.upper_ticks) + shift
        sync_write_register(bus, robot, 'goal_position', goals.tolist())
        held = reader.read_all(('goal_position', 'present_position'))
        off = np.abs(_column(held, 'present_position') - present) > _SEED_TOLERANCE_TICKS
        off |= _column(held, 'goal_position') != goals
        if not off.any():
            return goals, turns
        moving = robot.names[int(off.argmax())]
    raise UserError(f'joint {moving} does not stand still or does not take its goal: hold it '
                    'still while the arm is armed')


def torque_on(bus: ServoBus, reader: ServoReader, robot: Robot) -> None:
    """Switch all motors on, and read back that they are.

    Raises:
        ServoFaultError: One stays off.
        StaleMeasurementError, BusLostError: The servos cannot be read.
    """
    off = np.ones(len(robot.joints), dtype=bool)
    for _ in range(_ROUNDS):
        sync_write_register(bus, robot, 'torque_enable', [1] * len(robot.joints))
        off = _column(reader.read_all(('torque_enable',)), 'torque_enable') != 1
        if not off.any():
            return
    raise ServoFaultError({
        joint.name: 'its motor does not go on: is there an error? Switch its power off and on'
        for joint, is_off in zip(robot.joints, off, strict=True) if is_off})


def torque_off(bus: ServoBus, robot: Robot) -> list[int]:
    """Try to switch every motor off, whatever goes wrong with others.

    All are told at once, then each that has not confirmed it, again and again for a while.

    Returns:
        The rows of the servos that did not confirm it.
    """
    left = list(range(len(robot.joints)))
    give_up_s = bus.port.now_s() + _PATIENCE_S
    try:
        sync_write_register(bus, robot, 'torque_enable', [0] * len(robot.joints))
        register = robot.joints[0].model.registers['torque_enable']
        replies = bus.sync_read(register.address, register.size, robot.ids)
        left = [row for row, joint in enumerate(robot.joints)
                if joint.id not in replies or replies[joint.id].data != b'\0']
    except Exception as error:  # each motor must get its own attempt
        _log.warning('motors off for all at once failed: %s', error)
    for number in range(_ROUNDS_OFF):
        if not left or number > 0 and (_is_lost(bus) or bus.port.now_s() > give_up_s):
            break
        if number > 0 or len(left) == len(robot.joints):
            # A servo that waits for the rest of a garbled packet hears nothing else.
            bus.rest()
        # The first round is for everybody; more of them must not hold up the end.
        left = [row for row in left
                if number > 0 and bus.port.now_s() > give_up_s
                or not _torque_off(bus, robot, row, attempts=1 if number == 0 else 2)]
    return left


def _is_lost(bus: ServoBus) -> bool:
    """Tell whether the port is gone, so that nothing can be said any more."""
    try:
        bus.settle()
    except BusLostError:
        return True
    return False


def _torque_off(bus: ServoBus, robot: Robot, row: int, attempts: int) -> bool:
    """Try to switch one motor off; say whether the servo confirms it."""
    joint = robot.joints[row]
    register = joint.model.registers['torque_enable']
    try:
        bus.write(joint.id, register.address, b'\0', attempts)
        return bus.read(joint.id, register.address, register.size, attempts).data == b'\0'
    except Exception as error:  # the others must get theirs
        _log.debug('motor of %s off: %s', joint.name, error)
        return False


def _check_start(robot: Robot, scale: TickScale, present: np.ndarray, turns: np.ndarray,
                 counts_turns: Sequence[bool], tolerance_rad: float) -> None:
    """Refuse to arm a joint that stands where it must not."""
    angles = scale.to_rad(present)
    outside = np.maximum(scale.lower_rad - angles, angles - scale.upper_rad)
    for row, joint in enumerate(robot.joints):
        if outside[row] > tolerance_rad or (turns[row] and not counts_turns[row]):
            raise UserError(
                f'joint {joint.name} stands at {angles[row]:.2f} rad, outside its '
                f'{scale.lower_rad[row]:.2f} to {scale.upper_rad[row]:.2f}: move it inside by '
                'hand, or calibrate again')


def _column(values: Sequence[dict[str, int]], name: str) -> np.ndarray:
    return np.array([value[name] for value in values])
