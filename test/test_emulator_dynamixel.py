"""What an emulated Dynamixel answers, does, and refuses."""

import math

import pytest
from emulator_rig import Host

from hand_imitation.hardware import dynamixel_protocol as protocol

ACCESS, RANGE, LIMIT, ALERT = 7, 4, 6, 0x80
OVERLOADED, TOO_HOT = 0x20, 0x04


@pytest.fixture
def host():
    return Host('dynamixel', servos=3)


def goal(ticks: int) -> bytes:
    return ticks.to_bytes(4, 'little', signed=True)


def test_ping_tells_model_and_firmware(host):
    answer, = host.ask(protocol.ping_packet(2))
    assert answer.id == 2 and answer.error == 0
    assert answer.params[:2] == (1200).to_bytes(2, 'little') and len(answer.params) == 3


def test_everybody_answers_a_broadcast_ping_in_turn(host):
    answers = host.ask(protocol.ping_packet(protocol.BROADCAST_ID))
    assert [answer.id for answer in answers] == [1, 2, 3]


def test_a_servo_that_is_not_there_says_nothing(host):
    assert host.ask(protocol.ping_packet(9)) == []
    assert host.ask(protocol.write_packet(9, 64, b'\1')) == []


def test_it_moves_to_its_goal_and_reports_how(host):
    assert host.write(1, 'goal_position', 2500) == 0
    host.port.sleep(0.5)
    assert host.read(1, 'present_position') == 2048  # no torque yet
    assert host.write(1, 'torque_enable', 1) == 0
    host.port.sleep(0.05)
    assert host.read(1, 'present_velocity') > 50
    assert host.read(1, 'moving') == 1
    host.port.sleep(0.5)
    assert abs(host.read(1, 'present_position') - 2500) <= 4
    assert host.read(1, 'present_velocity') == 0
    assert host.read(2, 'present_position') == 2048


@pytest.mark.parametrize('units', [50, 200])
def test_profile_velocity_limits_the_speed(host, units):
    host.write(1, 'profile_velocity', units)
    host.write(1, 'torque_enable', 1)
    host.write(1, 'goal_position', 3800)
    fastest = 0
    for _ in range(40):
        host.port.sleep(0.01)
        fastest = max(fastest, host.read(1, 'present_velocity'))
    assert 0.95 * units <= fastest <= 1.1 * units


def test_profile_acceleration_limits_the_start(host):
    host.write(1, 'profile_acceleration', 20)  # 20 * 214.577 turns/min^2 = 7.5 rad/s^2
    host.write(1, 'torque_enable', 1)
    host.write(1, 'goal_position', 4000)
    begin_s = host.port.now_s()
    host.port.sleep(0.3)
    speed_rad_s = host.read(1, 'present_velocity') * host.model.velocity_unit_rad_s
    expected = 20 * 214.577 * 2 * math.pi / 3600 * (host.port.now_s() - begin_s)
    assert speed_rad_s == pytest.approx(expected, rel=0.2)


def test_it_cannot_be_faster_than_its_motor(host):
    host.write(1, 'torque_enable', 1)
    host.write(1, 'goal_position', 0)
    host.port.sleep(0.15)
    speed_rad_s = abs(host.read(1, 'present_velocity')) * host.model.velocity_unit_rad_s
    assert 0.5 * 10.8 < speed_rad_s < 10.8


def test_torque_on_twice_does_not_disturb_a_motion(host):
    for id_ in (1, 2):
        host.write(id_, 'torque_enable', 1)
        host.write(id_, 'profile_velocity', 150)
    host.ask(protocol.sync_write_packet(116, 4, {1: goal(3500), 2: goal(3500)}))
    for _ in range(10):
        host.ask(protocol.sync_write_packet(64, 1, {2: b'\1'}), 0.02)
    assert host.read(1, 'present_position') > 2300
    assert host.bus.servo(2).position == host.bus.servo(1).position


def test_torque_on_moves_to_an_old_goal(host):
    host.write(1, 'goal_position', 3000)
    host.fault('move', id=1, ticks=1500)
    host.port.sleep(1.0)
    host.fault('release', id=1)
    host.write(1, 'torque_enable', 1)
    host.port.sleep(1.0)
    assert host.read(1, 'present_position') == pytest.approx(3000, abs=4)


def test_eeprom_is_locked_while_torque_is_on(host):
    host.write(1, 'torque_enable', 1)
    assert host.write(1, 'return_delay', 0) == ACCESS
    assert host.read(1, 'return_delay') == 250
    host.write(1, 'torque_enable', 0)
    assert host.write(1, 'return_delay', 0) == 0
    assert host.read(1, 'return_delay') == 0


def test_what_cannot_be_written_is_refused(host):
    assert host.write(1, 'present_position', 5) == ACCESS
    assert host.write(1, 'torque_enable', 2) == RANGE
    assert host.write(1, 'baud', 9) == RANGE
    assert host.write(1, 'goal_position', 4096) == LIMIT
    assert host.write(1, 'goal_position', -1) == LIMIT
    assert host.write(1, 'goal_current', 2000) == LIMIT
    host.write(1, 'max_position', 3000)
    assert host.write(1, 'goal_position', 3001) == LIMIT
    assert host.read(1, 'goal_position') == 2048


def test_an_unknown_instruction_is_called_so(host):
    answer, = host.ask(protocol.instruction_packet(1, 0x44))
    assert answer.error == protocol.INSTRUCTION_ERROR


def test_status_return_level(host):
    host.write(1, 'status_return_level', 1)
    assert host.write(1, 'led', 1) is None
    assert host.read(1, 'led') == 1
    host.write(1, 'status_return_level', 0)
    assert host.ask(protocol.read_packet(1, 65, 1)) == []
    assert len(host.ask(protocol.ping_packet(1))) == 1


def test_registered_write_waits_for_action(host):
    answer, = host.ask(protocol.instruction_packet(
        1, protocol.REG_WRITE, b'\x41\x00\x01'))
    assert answer.error == 0
    assert (host.read(1, 'led'), host.read(1, 'registered')) == (0, 1)
    assert host.ask(protocol.instruction_packet(
        protocol.BROADCAST_ID, protocol.ACTION)) == []
    assert (host.read(1, 'led'), host.read(1, 'registered')) == (1, 0)


def test_writing_to_all_is_not_confirmed(host):
    assert host.ask(protocol.write_packet(protocol.BROADCAST_ID, 65, b'\1')) == []
    assert [host.read(id_, 'led') for id_ in (1, 2, 3)] == [1, 1, 1]


def test_sync_write_and_sync_read(host):
    wanted = {1: 2100, 2: 2200, 3: 1900}
    assert host.ask(protocol.sync_write_packet(
        116, 4, {id_: goal(ticks) for id_, ticks in wanted.items()})) == []
    answers = host.ask(protocol.sync_read_packet(116, 4, [3, 1]))
    assert [(a.id, a.params) for a in answers] == [(3, goal(1900)), (1, goal(2100))]


def test_fast_sync_read_is_one_packet(host):
    answer, = host.ask(protocol.fast_sync_read_packet(132, 4, [1, 2, 3]))
    parts = protocol.fast_sync_parts(answer, [4, 4, 4])
    assert [(part.id, part.error, part.params) for part in parts] == [
        (id_, 0, goal(2048)) for id_ in (1, 2, 3)]


def test_after_a_silent_servo_nobody_answers_a_sync_read(host):
    host.fault('dead', id=2)
    assert [a.id for a in host.ask(protocol.sync_read_packet(132, 4, [1, 2, 3]))] == [1]
    assert host.ask(protocol.fast_sync_read_packet(132, 4, [1, 2, 3])) == []
    assert len(host.ask(protocol.fast_sync_read_packet(132, 4, [1, 3]))) == 1


def test_bulk_instructions(host):
    answers = host.ask(protocol.bulk_read_packet([(1, 132, 4), (3, 146, 1)]))
    assert [(a.id, len(a.params)) for a in answers] == [(1, 4), (3, 1)]
    host.ask(protocol.instruction_packet(
        protocol.BROADCAST_ID, protocol.BULK_WRITE,
        b'\x01\x41\x00\x01\x00\x01' + b'\x03\x74\x00\x04\x00' + goal(2222)))
    assert host.read(1, 'led') == 1
    assert host.read(3, 'goal_position') == 2222
    answer, = host.ask(protocol.instruction_packet(
        protocol.BROADCAST_ID, protocol.FAST_BULK_READ,
        b'\x01\x41\x00\x01\x00' + b'\x03\x74\x00\x04\x00'))
    parts = protocol.fast_sync_parts(answer, [1, 4])
    assert [(part.id, part.params) for part in parts] == [(1, b'\1'), (3, goal(2222))]


def test_bus_watchdog_stops_within_120_ms_and_stays_tripped(host):
    host.write(1, 'bus_watchdog', 5)
    host.write(1, 'profile_velocity', 100)
    host.write(1, 'torque_enable', 1)
    host.write(1, 'goal_position', 4000)
    silent_s = host.port.now_s()
    servo = host.bus.servo(1)
    while host.port.now_s() < silent_s + 0.09:
        host.port.sleep(0.002)
    assert servo.motor.velocity_rad_s > 1.0
    while host.port.now_s() < silent_s + 0.12:
        host.port.sleep(0.002)
    assert servo.motor.velocity_rad_s == 0.0
    stopped = servo.position
    assert stopped < 2300
    assert host.read(1, 'bus_watchdog') == -1
    assert host.write(1, 'goal_position', 2048) == RANGE
    host.ask(protocol.sync_write_packet(116, 4, {1: goal(2048)}))
    host.port.sleep(0.5)
    assert host.read(1, 'present_position') == pytest.approx(stopped, abs=2)
    assert host.write(1, 'bus_watchdog', 5) == RANGE
    assert host.write(1, 'bus_watchdog', 0) == 0
    host.port.sleep(0.5)
    assert host.read(1, 'present_position') == pytest.approx(stopped, abs=2)
    assert host.write(1, 'goal_position', 2048) == 0
    host.port.sleep(0.5)
    assert host.read(1, 'present_position') == pytest.approx(2048, abs=4)


def test_bus_watchdog_is_content_while_it_is_talked_to(host):
    host.write(1, 'bus_watchdog', 5)
    host.write(1, 'torque_enable', 1)
    for _ in range(50):
        host.port.sleep(0.04)
        assert host.read(1, 'bus_watchdog') == 5


def test_a_hardware_error_shuts_down_until_reboot(host):
    host.write(1, 'torque_enable', 1)
    host.fault('overload', id=1)
    assert host.read(1, 'hardware_error') == OVERLOADED
    assert host.read(1, 'torque_enable') == 0
    answer, = host.ask(protocol.ping_packet(1))
    assert answer.error == ALERT
    assert host.write(1, 'torque_enable', 1) == ALERT | protocol.RESULT_FAIL
    host.fault('heal', id=1)
    assert host.read(1, 'hardware_error') == OVERLOADED
    host.ask(protocol.reboot_packet(1))
    assert host.ask(protocol.ping_packet(1), 0.01) == []  # it is booting
    host.port.sleep(0.2)
    assert host.read(1, 'hardware_error') == 0
    assert host.read(1, 'torque_enable') == 0
    assert host.write(1, 'torque_enable', 1) == 0


def test_an_error_that_is_not_in_shutdown_only_alerts(host):
    host.write(1, 'shutdown', 0x04)
    host.write(1, 'torque_enable', 1)
    host.fault('overload', id=1)
    assert host.read(1, 'hardware_error') == OVERLOADED
    assert host.read(1, 'torque_enable') == 1


def test_a_jammed_servo_overloads_and_heats(host):
    host.write(1, 'torque_enable', 1)
    host.fault('jam', id=1)
    host.write(1, 'goal_position', 3000)
    host.port.sleep(0.5)
    assert host.read(1, 'present_current') == pytest.approx(1470, abs=30)
    assert host.read(1, 'hardware_error') == 0
    host.port.sleep(1.0)
    assert host.read(1, 'hardware_error') == OVERLOADED
    assert host.bus.servo(1).motor.temperature_c > 29.0


def test_heat_from_outside_ends_in_shutdown(host):
    host.write(1, 'torque_enable', 1)
    host.fault('overheat', id=1, rate=10)
    host.port.sleep(2.0)
    assert 40 <= host.read(1, 'present_temperature') <= 50
    host.port.sleep(4.0)
    assert host.read(1, 'hardware_error') == TOO_HOT
    assert host.read(1, 'torque_enable') == 0


def test_undervoltage_is_measured_and_reported(host):
    host.fault('undervoltage', id=2, volts=3)
    host.port.sleep(0.1)
    assert host.read(2, 'present_voltage') == 30
    assert host.read(2, 'hardware_error') == 0x01
    assert host.read(1, 'hardware_error') == 0


def test_a_current_limit_weakens_current_based_position_mode(host):
    host.write(1, 'operating_mode', 5)
    host.write(1, 'goal_current', 200)
    host.write(1, 'torque_enable', 1)
    host.fault('load', id=1, fraction=0.5)
    host.port.sleep(0.2)
    assert host.read(1, 'present_current') <= 201
    assert abs(host.read(1, 'present_position') - 2048) > 100


def test_a_limp_servo_is_turned_by_hand(host):
    host.fault('move', id=1, ticks=3000)
    host.port.sleep(0.2)
    assert 2100 < host.read(1, 'present_position') < 2600
    host.port.sleep(1.5)
    assert host.read(1, 'present_position') == 3000


def test_a_new_id_and_rate_hold_from_the_next_packet_on(host):
    assert host.write(3, 'id', 7) == 0
    assert len(host.ask(protocol.ping_packet(7))) == 1
    assert host.write(7, 'baud', 1) == 0
    assert host.ask(protocol.ping_packet(7)) == []
    host.port.set_baud(57_600)
    assert len(host.ask(protocol.ping_packet(7))) == 1
    assert host.ask(protocol.ping_packet(1)) == []


def test_factory_reset_can_spare_id_and_rate(host):
    host.write(2, 'return_delay', 0)
    host.ask(protocol.instruction_packet(2, protocol.FACTORY_RESET, b'\x02'))
    host.port.sleep(0.2)
    assert host.read(2, 'return_delay') == 250


def test_an_xl430_measures_load_in_place_of_current():
    host = Host('dynamixel', 'XL430-W250', servos=1)
    assert host.ask(protocol.ping_packet(1))[0].params[:2] == (1060).to_bytes(2, 'little')
    assert 'present_current' not in host.registers
    assert host.read(1, 'present_load') == 0
