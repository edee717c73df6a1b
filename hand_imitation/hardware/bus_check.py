"""Whether the servos on a bus are those of the robot; nothing is written to them.

Every mistake that can be made with cables, ids and rates ends in one line that names it and its
remedy, within 3 seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from hand_imitation.errors import UserError
from hand_imitation.hardware.bus import BusParameters, NoReplyError, RefusedError, ServoBus
from hand_imitation.hardware.registers import MODELS
from hand_imitation.hardware.robot import Robot, ServoJoint
from hand_imitation.hardware.servo_family import ServoFamily, block_of

_OTHER_IDS = range(1, 25)
_CERTAIN = 3


def check_servos(bus: ServoBus, robot: Robot) -> list[ServoJoint]:
    """Compare the servos that answer with the robot description.

    Returns:
        The joints whose servos answer: all of them, or none.

    Raises:
        UserError: Some are missing, or of another model, or two have the same id.
        BusLostError: The port is gone.
    """
    found: dict[str, int] = {}
    unclear: list[ServoJoint] = []
    for joint in robot.joints:
        # Where nobody has answered yet, perhaps nobody will: do not ask for long.
        attempts = None if found else 1
        try:
            found[joint.name] = bus.ping(joint.id, attempts)
        except NoReplyError as error:
            if error.garbled:
                unclear.append(joint)
    if not found and not unclear:
        return []
    for joint in unclear:
        if joint.name not in found and _stays_unclear(bus, joint, found):
            raise UserError(
                f'servo {joint.id} ({joint.name}) answers unclearly: two servos with this id '
                'answer at once, or its cable is bad. Connect one servo at a time and give each '
                'its own id')
    missing = [joint for joint in robot.joints
               if joint.name not in found and not _answers(bus, joint, found)]
    if missing:
        raise UserError(_missing(bus, robot, missing))
    for joint in robot.joints:
        if found[joint.name] != joint.model.number:
            raise UserError(_other_model(joint, found[joint.name]))
    for joint in robot.joints:
        if all(_is_double(bus, joint) for _ in range(_CERTAIN)):
            raise UserError(
                f'two servos answer as id {joint.id} ({joint.name}): connect one servo at a time '
                'and give each its own id')
    return list(robot.joints)


def find_baud(bus: ServoBus, family: ServoFamily, ids: Sequence[int], baud: int) -> int | None:
    """Look for a baud rate at which any of the servos answers.

    Args:
        bus: Left at whatever rate was tried last.
        family: Whose rates to try.
        ids: Of the servos.
        baud: The rate that has been tried already.
    """
    patience, bus.parameters = bus.parameters, BusParameters(
        reply_timeout_s=min(bus.parameters.reply_timeout_s, 0.006), quiet_s=0.001)
    try:
        for other in sorted(family.BAUDS, reverse=True):
            if other == baud:
                continue
            try:
                bus.set_baud(other)
            except ValueError:
                continue
            for id_ in ids:
                try:
                    bus.ping(id_, attempts=1)
                except NoReplyError:
                    continue
                return other
    finally:
        bus.parameters = patience
    return None


def silence_advice(robot: Robot, other_baud: int | None) -> str:
    """Say what to do where no servo answers.

    Args:
        robot: Whose servos are silent.
        other_baud: The rate at which they answer, if any.
    """
    if other_baud is not None:
        return (f'no servo answers at {robot.baud} baud; they answer at {other_baud}: give '
                f'baud:={other_baud}')
    return (f'no servo answers, at {robot.baud} baud or any other: are the servos powered, the '
            f'cable in, and are they {robot.protocol} servos with ids '
            f'{min(robot.ids)} to {max(robot.ids)}?')


def _stays_unclear(bus: ServoBus, joint: ServoJoint, found: dict[str, int]) -> bool:
    """Ask again; note the answer if there is one now."""
    try:
        found[joint.name] = bus.ping(joint.id)
    except NoReplyError as error:
        return error.garbled
    return False


def _answers(bus: ServoBus, joint: ServoJoint, found: dict[str, int]) -> bool:
    """Ask once more, now that others answer; note the answer."""
    try:
        found[joint.name] = bus.ping(joint.id)
    except NoReplyError:
        return False
    return True


def _is_double(bus: ServoBus, joint: ServoJoint) -> bool:
    """Say whether two servos seem to answer, by what differs even between equal ones."""
    block = block_of(joint.model, ('present_position', 'present_voltage', 'present_temperature'))
    return bus.answers_at_once(joint.id, block.address, block.size)


def _missing(bus: ServoBus, robot: Robot, missing: Sequence[ServoJoint]) -> str:
    """Name the servos that do not answer, and others that do."""
    names = ', '.join(f'{joint.id} ({joint.name})' for joint in missing)
    there = len(robot.joints) - len(missing)
    strangers = []
    for id_ in _OTHER_IDS:
        if id_ not in robot.ids:
            try:
                bus.ping(id_, attempts=1)
            except (NoReplyError, RefusedError):
                continue
            strangers.append(id_)
    text = f'no answer from servo {names}, while {there} others answer: '
    if strangers:
        ids = ', '.join(str(id_) for id_ in strangers)
        return text + (f'there is one with id {ids} that the robot description does not know, '
                       'so check the ids')
    return text + 'check cable, power and id'


def _other_model(joint: ServoJoint, number: int) -> str:
    names = [model.name for model in MODELS.values()
             if model.number == number and model.protocol == joint.model.protocol]
    what = names[0] if names else f'of model number {number}, which is unknown'
    return (f'servo {joint.id} ({joint.name}) is {what}, not a {joint.model.name}: correct the '
            'robot description, or use the other servo')
