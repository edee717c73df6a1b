"""What an emulated Feetech servo answers, does, and refuses."""

import pytest
from emulator_rig import Host

from hand_imitation.hardware import feetech_protocol as protocol


@pytest.fixture(params=['STS3215', 'SCS0009'])
def host(request):
    return Host('feetech', request.param, servos=3)


@pytest.fixture
def sts():
    return Host('feetech', 'STS3215', servos=3)


def test_ping_and_model(host):
    answer, = host.ask(protocol.ping_packet(2))
    assert (answer.id, answer.error, answer.params) == (2, 0, b'')
    assert host.read(2, 'model_number') == host.model.number
    assert host.ask(protocol.ping_packet(9)) == []


def test_it_moves_to_its_goal(host):
    start = host.model.ticks_per_turn // 2
    assert host.read(1, 'present_position') == start
    host.write(1, 'goal_position', start + 150)
    host.port.sleep(0.3)
    assert host.read(1, 'present_position') == start
    host.write(1, 'torque_enable', 1)
    host.port.sleep(1.0)
    assert host.read(1, 'present_position') == pytest.approx(start + 150, abs=4)
    assert host.read(1, 'moving') == 0


def test_words_of_scs_come_big_end_first():
    host = Host('feetech', 'SCS0009', servos=1)
    answer, = host.ask(protocol.read_packet(1, 56, 2))
    assert answer.params == (512).to_bytes(2, 'big')


def test_only_sts_knows_sync_read(host):
    answers = host.ask(protocol.sync_read_packet(56, 2, [3, 1, 2]))
    assert [a.id for a in answers] == ([3, 1, 2] if host.model.has_sync_read else [])


def test_only_sts_answers_a_broadcast_ping(host):
    answers = host.ask(protocol.ping_packet(protocol.BROADCAST_ID))
    assert [a.id for a in answers] == ([1, 2, 3] if host.model.has_sync_read else [])


def test_sync_write_reaches_all(host):
    order = host.model.byte_order
    host.ask(protocol.sync_write_packet(
        42, 2, {id_: (500 + id_).to_bytes(2, order) for id_ in (1, 2, 3)}))
    assert [host.read(id_, 'goal_position') for id_ in (1, 2, 3)] == [501, 502, 503]


def test_goal_speed_limits_the_speed(sts):
    sts.write(1, 'goal_speed', 800)
    sts.write(1, 'torque_enable', 1)
    sts.write(1, 'goal_position', 3500)
    sts.port.sleep(0.5)
    assert sts.read(1, 'present_velocity') == pytest.approx(800, rel=0.05)


def test_goal_time_sets_the_speed():
    host = Host('feetech', 'SCS0009', servos=1)
    host.write(1, 'goal_time', 1000)
    host.write(1, 'torque_enable', 1)
    host.write(1, 'goal_position', 812)
    host.port.sleep(0.5)
    assert host.read(1, 'present_velocity') == pytest.approx(300, rel=0.15)


def test_velocity_is_written_with_a_sign_bit(sts):
    sts.write(1, 'torque_enable', 1)
    sts.write(1, 'goal_position', 500)
    sts.port.sleep(0.2)
    answer, = sts.ask(protocol.read_packet(1, 58, 2))
    assert int.from_bytes(answer.params, 'little') & 0x8000
    assert sts.read(1, 'present_velocity') < -500


def test_the_lock_decides_what_outlasts_a_loss_of_power(host):
    host.write(1, 'temperature_limit', 60)
    assert host.read(1, 'temperature_limit') == 60
    host.fault('reset', id=1)
    host.port.sleep(0.2)
    assert host.read(1, 'temperature_limit') == 70
    host.write(1, 'lock', 0)
    host.write(1, 'temperature_limit', 60)
    host.fault('reset', id=1)
    host.port.sleep(0.2)
    assert host.read(1, 'temperature_limit') == 60
    assert host.read(1, 'lock') == 1


def test_what_measures_cannot_be_written(host):
    before = host.read(1, 'present_position')
    host.write(1, 'present_position', 7)
    assert host.read(1, 'present_position') == before


def test_an_overload_weakens_until_torque_is_written(sts):
    sts.write(1, 'torque_enable', 1)
    sts.fault('jam', id=1)
    sts.write(1, 'goal_position', 3000)
    sts.port.sleep(1.0)
    assert sts.read(1, 'present_load') == 1000
    sts.port.sleep(1.5)
    answer, = sts.ask(protocol.ping_packet(1))
    assert answer.error == protocol.OVERLOAD_ERROR
    assert sts.read(1, 'present_load') == 200
    assert sts.read(1, 'torque_enable') == 1
    sts.fault('heal', id=1)
    sts.write(1, 'torque_enable', 0)
    sts.port.sleep(0.01)
    assert sts.ask(protocol.ping_packet(1))[0].error == 0


def test_heat_switches_the_torque_off(host):
    host.write(1, 'torque_enable', 1)
    host.fault('overheat', id=1, celsius=80)
    host.port.sleep(0.1)
    answer, = host.ask(protocol.ping_packet(1))
    assert answer.error == protocol.HEAT_ERROR
    assert host.read(1, 'torque_enable') == 0


def test_the_position_wraps_at_the_end_of_the_turn(sts):
    sts.fault('move', id=1, ticks=4200)
    sts.port.sleep(3.0)
    assert sts.read(1, 'present_position') == 4200 - 4096


def test_the_middle_can_be_set(sts):
    sts.fault('move', id=1, ticks=2500)
    sts.port.sleep(1.0)
    sts.write(1, 'torque_enable', 128)
    assert sts.read(1, 'present_position') == 2048
    assert sts.read(1, 'offset') == 2500 - 2048
    assert sts.read(1, 'torque_enable') == 0


def test_status_level_silences_writes(host):
    host.write(1, 'status_return_level', 0)
    assert host.write(1, 'acceleration', 5) is None
    assert host.read(1, 'acceleration') == 5


def test_registered_write_waits_for_action(host):
    host.ask(protocol.instruction_packet(1, protocol.REG_WRITE, b'\x29\x07'))
    assert (host.read(1, 'acceleration'), host.read(1, 'registered')) == (0, 1)
    host.ask(protocol.instruction_packet(protocol.BROADCAST_ID, protocol.ACTION))
    assert (host.read(1, 'acceleration'), host.read(1, 'registered')) == (7, 0)
