"""Opening a bus: every mistake is named with its remedy, in time, and nothing has moved."""

import dataclasses
import re

import pytest
from servo_rig import Rig

from hand_imitation.errors import UserError
from hand_imitation.hardware.registers import MODELS

KINDS = ['dynamixel', 'feetech', 'scs']


@pytest.fixture(params=KINDS)
def rig(request):
    return Rig(request.param)


def refused(rig, *patterns):
    """Open; expect one line that names the trouble, within 3 s, with nothing set in motion."""
    with pytest.raises(UserError) as caught:
        rig.arm.open()
    text = str(caught.value)
    assert '\n' not in text
    for pattern in patterns:
        assert re.search(pattern, text), text
    assert rig.now_s() < 3.0
    assert not any(servo.motor.on for servo in rig.bus.servos)
    assert not rig.bus.wire, 'something was written to a servo'
    with pytest.raises(RuntimeError):
        rig.arm.read()
    return text


def test_no_power(rig):
    rig.fault('dead')
    refused(rig, 'no servo answers', 'powered')


@pytest.mark.parametrize('kind, baud', [
    ('dynamixel', 57_600), ('dynamixel', 4_000_000), ('feetech', 115_200), ('feetech', 38_400),
    ('scs', 500_000)])
def test_wrong_baud(kind, baud):
    rig = Rig(kind, baud=baud)
    refused(rig, 'no servo answers at 1000000 baud', f'they answer at {baud}', f'baud:={baud}')


@pytest.mark.parametrize('id_', [1, 7, 12])
def test_missing_servo(rig, id_):
    rig.fault('dead', id=id_)
    name = rig.robot.joints[id_ - 1].name
    refused(rig, rf'\b{id_} \({name}\)', '11 others answer')


def test_only_one_servo_there(rig):
    for id_ in range(1, 12):
        rig.fault('dead', id=id_)
    refused(rig, '1 others answer')


def test_id_changed_by_mistake(rig):
    rig.bus.servo(4).table['id'] = 20
    refused(rig, r'\b4 \(index_distal\)', 'one with id 20')


def test_two_servos_with_one_id(rig):
    double = rig.bus.servo(6)
    double.table['id'] = 3
    # Two servos never stand at quite the same place, so that their answers differ.
    text = refused(rig, r'\b3\b|\b6\b')
    assert 'id' in text


def test_two_servos_with_one_id_and_none_missing(rig):
    extra = type(rig.bus.servos[0])(rig.robot.joints[0].model, 3, rig.robot.baud, 700)
    extra.on_write = rig.bus.servos[0].on_write
    rig.bus.servos.append(extra)
    refused(rig, r'two servos answer as id 3 \(index_proximal\)')


@pytest.mark.parametrize('kind, other', [
    ('dynamixel', 'XM430-W350'), ('dynamixel', 'XL430-W250'), ('feetech', 'SCS0009')])
def test_another_model(kind, other):
    rig = Rig(kind)
    if other == 'SCS0009':
        rig.bus.servo(5).table['model_number'] = 9999
        refused(rig, r'5 \(middle_proximal\)', 'model number 9999', 'STS3215')
        return
    rig.bus.servo(5).table['model_number'] = MODELS[other].number
    refused(rig, r'5 \(middle_proximal\)', other, 'XL330-M288')


def test_unplugged_before_and_while_opening(rig):
    rig.bus.faults.unplugged = True
    with pytest.raises(UserError, match='plugged in'):
        rig.arm.open()
    rig.bus.faults.unplugged = False
    rig.ports.clear()
    rig.open_port()
    rig.fault('unplug', at=0.02)
    with pytest.raises(UserError, match='plug'):
        rig.arm.open()


def test_motors_that_were_left_on_are_switched_off(rig):
    for servo in rig.bus.servos:
        servo.write(servo.model.registers['torque_enable'].address, b'\1')
    assert all(servo.motor.on for servo in rig.bus.servos)
    rig.arm.open()
    assert not any(servo.motor.on for servo in rig.bus.servos)


def test_sets_what_lasts_once_and_says_so(rig):
    rig.arm.open()
    assert rig.arm.changes
    rig.arm.close()
    rig.arm.open()
    assert not rig.arm.changes


def test_silent_servos_are_made_to_answer():
    rig = Rig('dynamixel')
    for servo in rig.bus.servos:
        servo.table['status_return_level'] = 0
    rig.arm.open()
    assert rig.arm.read().sample_age_s.max() < 0.02


def test_drive_mode_with_surprises_is_mended():
    rig = Rig('dynamixel')
    rig.bus.servo(2).table['drive_mode'] = 0b1101
    rig.arm.open()
    assert rig.bus.servo(2).table['drive_mode'] == 1


def test_lossy_line_still_opens(rig):
    rig.fault('drop', p=0.02)
    rig.arm.open()
    assert rig.now_s() < 3.0


def test_feetech_count_across_the_end_of_a_turn_is_refused():
    rig = Rig('feetech')
    joint = dataclasses.replace(rig.arm._setups[3], multi_turn=True)
    rig.arm._setups[3] = joint
    with pytest.raises(UserError, match='calibrate'):
        rig.arm.open()
