"""The wire between host and emulated servos: its timing, its manners, and what goes wrong."""

import random

import pytest
from emulator_rig import Host

from hand_imitation.emulator.bus import dynamixel_bus, make_bus
from hand_imitation.emulator.dynamixel import DynamixelServo
from hand_imitation.emulator.faults import PACKET_FAULTS, SERVO_FAULTS, Fault, Faults
from hand_imitation.emulator.virtual_port import VirtualPort
from hand_imitation.errors import UserError
from hand_imitation.hardware import dynamixel_protocol as dynamixel
from hand_imitation.hardware import feetech_protocol as feetech
from hand_imitation.hardware.port import PortLostError
from hand_imitation.hardware.registers import MODELS

READ_POSITION = dynamixel.read_packet(1, 132, 4)
STATUS_BYTES = dynamixel.STATUS_OVERHEAD + 4


def when_answered(bus, frame, now_s):
    """Send a frame and return the times at which the bytes of the answer come."""
    bus.receive(frame, now_s)
    bus.advance(bus.host_free_s)
    times = []
    while (next_s := bus.next_byte_s()) is not None:
        assert len(bus.outgoing(next_s - 1e-7)) == 0
        times.append(next_s)
        assert len(bus.outgoing(next_s + 1e-9)) == 1
    return times


@pytest.mark.parametrize('baud', [9_600, 57_600, 1_000_000, 4_000_000])
def test_every_byte_takes_ten_bits_and_the_return_delay_is_kept(baud):
    bus = dynamixel_bus(1, baud=baud)
    times = when_answered(bus, READ_POSITION, 1.0)
    first_s = 1.0 + len(READ_POSITION) * 10 / baud + 250 * 2e-6 + 10 / baud
    expected = [first_s + index * 10 / baud for index in range(STATUS_BYTES)]
    assert times == pytest.approx(expected, abs=1e-8)


def test_a_cycle_of_twelve_takes_the_time_the_wire_needs():
    # 12 servos at 1 Mbps, goals and 10 bytes of measurements, without return delay.
    host = Host('dynamixel')
    host.ask(dynamixel.write_packet(dynamixel.BROADCAST_ID, 9, b'\0'))
    begin_s = host.port.now_s()
    write = dynamixel.sync_write_packet(116, 4, dict.fromkeys(range(1, 13), b'\x00\x08\x00\x00'))
    read = dynamixel.sync_read_packet(126, 10, range(1, 13))
    host.port.write(write)
    host.port.write(read)
    parser, packets = dynamixel.Parser(), []
    while len(packets) < 12:
        packets += parser.feed(host.port.read(0.05))
    count = len(write) + len(read) + 12 * (dynamixel.STATUS_OVERHEAD + 10)
    assert host.port.now_s() - begin_s == pytest.approx(count * 1e-5, abs=2e-6)
    assert host.port.now_s() - begin_s < 0.0036


def test_servos_at_another_rate_understand_nothing():
    bus = dynamixel_bus(2, baud=57_600)
    host = VirtualPort(bus, baud=1_000_000)
    host.write(dynamixel.ping_packet(1))
    assert host.read(0.1) == b''
    host.set_baud(57_600)
    host.write(dynamixel.ping_packet(1))
    assert len(host.read(0.1)) == dynamixel.STATUS_OVERHEAD + 3


def test_a_host_that_talks_over_an_answer_spoils_both():
    bus = dynamixel_bus(2)
    bus.receive(READ_POSITION, 0.0)
    bus.advance(bus.host_free_s)
    middle_s = bus.host_free_s + 500e-6 + 70e-6
    bus.receive(dynamixel.write_packet(2, 65, b'\1'), middle_s)
    assert len(bus.outgoing(1.0)) == 7  # what had come before the host spoke
    assert bus.servo(2).table['led'] == 0
    assert bus.collisions == 1


def test_an_answer_that_meets_a_host_still_speaking_spoils_both():
    bus = dynamixel_bus(2)
    bus.servo(1).table['return_delay'] = 0
    both = dynamixel.write_packet(1, 65, b'\1') + dynamixel.write_packet(2, 65, b'\1') * 4
    bus.receive(both, 0.0)
    answers = dynamixel.Parser().feed(bus.outgoing(1.0))
    assert bus.servo(1).table['led'] == 1
    assert 1 not in [answer.id for answer in answers]
    assert bus.collisions >= 1


def test_a_host_that_interrupts_a_sync_read_ends_it():
    bus = dynamixel_bus(4)
    bus.receive(dynamixel.sync_read_packet(132, 4, [1, 2, 3, 4]), 0.0)
    bus.advance(bus.host_free_s)
    second_s = bus.host_free_s + 2 * 500e-6 + STATUS_BYTES * 1e-5 + 3e-5
    bus.receive(dynamixel.ping_packet(9), second_s)
    packets = dynamixel.Parser().feed(bus.outgoing(1.0))
    assert [packet.id for packet in packets] == [1]


def test_instructions_without_answers_may_follow_one_another():
    bus = dynamixel_bus(2)
    bus.receive(dynamixel.sync_write_packet(65, 1, {1: b'\1'})
                + dynamixel.sync_write_packet(65, 1, {2: b'\1'}), 0.0)
    bus.advance(1.0)
    assert [servo.table['led'] for servo in bus.servos] == [1, 1]
    first, second = bus.wire
    # Each counts from its own last byte.
    assert second.time_s - first.time_s == pytest.approx(16 * 1e-5)
    assert bus.collisions == 0


def test_half_a_packet_is_forgotten_after_a_while():
    bus = dynamixel_bus(1)
    bus.receive(READ_POSITION[:9], 0.0)
    bus.receive(READ_POSITION, 1.0)
    assert len(dynamixel.Parser().feed(bus.outgoing(2.0))) == 1


def test_echo_brings_back_what_was_sent_before_the_answer():
    host = Host('dynamixel', servos=1, faults=Faults.parse(['echo']))
    host.port.write(READ_POSITION)
    data = b''
    while more := host.port.read(0.1):
        data += more
    assert data.startswith(READ_POSITION)
    assert len(dynamixel.Parser().feed(data)) == 2


def test_two_servos_with_one_id_spoil_each_others_answers():
    host = Host('dynamixel', servos=2)
    host.bus.add(DynamixelServo(MODELS['XL330-M288'], 1, position=1234))
    assert host.ask(READ_POSITION) == []
    assert len(host.ask(dynamixel.read_packet(2, 132, 4))) == 1


def answers_under(fault, count=1500, kind='dynamixel'):
    """Ask a servo often; return host, and the answers to each question."""
    host = Host(kind, servos=3, faults=Faults.parse([fault]), seed=7)
    module = host.protocol
    name = 'present_position'
    register = host.registers[name]
    frame = module.read_packet(1, register.address, register.size)
    return host, [host.ask(frame, 0.03) for _ in range(count)]


@pytest.mark.parametrize('kind', ['dynamixel', 'feetech'])
@pytest.mark.parametrize('name', ['drop', 'corrupt', 'truncate', 'noise'])
def test_packets_are_lost_about_as_often_as_asked_for(name, kind):
    host, answers = answers_under(f'{name}:p=0.1', kind=kind)
    missing = sum(not any(a.id == 1 and a.error == 0 for a in found) for found in answers)
    # Both ways: an instruction, or its answer.
    expected = {'drop': 0.19, 'corrupt': 0.19, 'truncate': 0.1, 'noise': 0.0}[name]
    assert missing / len(answers) == pytest.approx(expected, abs=0.035)
    assert host.bus.faults.counts[name] > 0


@pytest.mark.parametrize('name', ['corrupt', 'truncate'])
def test_spoiled_bytes_never_make_a_wrong_answer(name):
    _, answers = answers_under(f'{name}:p=0.5')
    seen = {(a.id, a.params) for found in answers for a in found}
    assert seen == {(1, b'\x00\x08\x00\x00')}


def test_wrong_ids_lengths_and_twins_have_right_checksums():
    _, answers = answers_under('wrong_id:p=0.5', 200)
    assert {a.id for found in answers for a in found} == {1, 2, 3}
    _, answers = answers_under('wrong_length:p=0.5', 200)
    assert {len(a.params) for found in answers for a in found} == {3, 4, 5}
    _, answers = answers_under('duplicate:p=0.5', 200)
    assert {len(found) for found in answers} == {1, 2}


def test_a_late_answer_comes_whole_and_late():
    bus = dynamixel_bus(1, faults=Faults.parse(['delay:p=1,ms=20']))
    bus.receive(READ_POSITION, 0.0)
    usual_s = len(READ_POSITION) * 1e-5 + 500e-6 + STATUS_BYTES * 1e-5
    assert bus.outgoing(usual_s + 0.0199) == b''
    assert len(bus.outgoing(usual_s + 0.0201)) == STATUS_BYTES


def test_a_fault_of_one_servo_leaves_the_others_alone():
    host = Host('dynamixel', servos=3, faults=Faults.parse(['drop:p=1,id=2']))
    answers = host.ask(dynamixel.sync_read_packet(132, 4, [1, 2, 3]))
    assert [a.id for a in answers] == [1, 3]


def test_faults_begin_and_end_when_they_say():
    host = Host('dynamixel', servos=2, faults=Faults.parse(['dead:id=2,at=1,for=0.5']))
    alive = []
    for _ in range(4):
        alive.append(len(host.ask(dynamixel.ping_packet(2), 0.01)))
        host.port.sleep(0.5)
    assert alive == [1, 1, 0, 1]


@pytest.mark.parametrize('name', [*PACKET_FAULTS, *SERVO_FAULTS])
def test_every_fault_begins_and_ends_without_a_mistake(name):
    for kind in ('dynamixel', 'feetech'):
        host = Host(kind, servos=2, faults=Faults.parse([f'{name}:at=0.01,for=0.1']))
        for _ in range(20):
            host.ask(host.protocol.ping_packet(1), 0.01)
        host.port.sleep(0.3)
        assert host.bus.faults.next_s is None
        assert host.bus.faults.active == {}


@pytest.mark.parametrize(('spec', 'remedy'), [
    ('explode', 'choose from'), ('drop:q=1', 'it has p'), ('drop:p', 'key=value'),
    ('drop:p=2', 'cannot be'), ('delay:ms=x', 'give a number'), ('dead:id=nan', 'cannot be')])
def test_bad_faults_are_refused_with_a_remedy(spec, remedy):
    with pytest.raises(UserError, match=remedy):
        Fault.parse(spec)


@pytest.mark.parametrize(('arguments', 'remedy'), [
    (('lego',), 'dynamixel or feetech'), (('dynamixel', 12, 1_000_000, 'STS3215'), 'XL330'),
    (('dynamixel', 12, 12_345), '57600'), (('feetech', 0), 'at least one'),
    (('feetech', 300), 'from 0 to 252')])
def test_bad_buses_are_refused_with_a_remedy(arguments, remedy):
    with pytest.raises(UserError, match=remedy):
        make_bus(*arguments)


def test_the_same_seed_makes_the_same_mistakes():
    runs = []
    for seed in (1, 1, 2):
        host = Host('dynamixel', servos=1, faults=Faults.parse(['drop:p=0.5']), seed=seed)
        runs.append([len(host.ask(READ_POSITION, 0.01)) for _ in range(60)])
    assert runs[0] == runs[1] != runs[2]


def test_what_the_host_writes_is_recorded_as_the_servos_understood_it():
    host = Host('dynamixel', servos=2)
    seen = []
    host.bus.on_write = seen.append
    for ticks in (2000, 2010, 2005):
        host.ask(dynamixel.sync_write_packet(
            116, 4, {id_: ticks.to_bytes(4, 'little') for id_ in (1, 2)}))
    host.write(1, 'goal_position', 5000)
    # Half of a register changes it too.
    host.ask(dynamixel.write_packet(2, 116, b'\xff'))
    assert [(e.id, e.value, e.accepted) for e in seen[-3:]] == [
        (2, 2005, True), (1, 5000, False), (2, 0x7FF, True)]
    assert list(host.bus.wire) == seen
    figures = host.bus.record.figures()
    assert figures['1']['goal_position'] == {
        'count': 3, 'refused': 1, 'min': 2000, 'max': 2010, 'last': 2005, 'max_step': 10,
        'last_s': pytest.approx(seen[-4].time_s, abs=1e-3),
        'max_gap_s': pytest.approx(0.05, abs=0.01)}


def test_unplugging_loses_the_port_but_not_the_servos():
    bus = dynamixel_bus(1)
    port = VirtualPort(bus)
    port.write(dynamixel.write_packet(1, 64, b'\1'))
    port.unplug()
    with pytest.raises(PortLostError):
        port.read(0.01)
    port.replug()
    with pytest.raises(PortLostError):
        port.write(READ_POSITION)
    again = VirtualPort(bus, now_s=port.now_s())
    again.write(READ_POSITION)
    assert len(again.read(0.1)) == STATUS_BYTES
    assert bus.servo(1).motor.on


def test_feetech_and_dynamixel_share_the_rules_of_the_wire():
    bus = make_bus('feetech', 12)
    times = when_answered(bus, feetech.sync_read_packet(56, 6, range(1, 13)), 0.0)
    assert len(times) == 12 * 12
    assert times[-1] == pytest.approx((8 + 12 + 12 * 12) * 1e-5, abs=1e-8)


@pytest.mark.parametrize(('kind', 'model'), [
    ('dynamixel', 'XL330-M288'), ('dynamixel', 'XL430-W250'), ('feetech', 'STS3215'),
    ('feetech', 'SCS0009')])
def test_no_packet_can_upset_the_servos(kind, model):
    chance = random.Random(3)
    host = Host(kind, model, servos=4)
    instructions = [*range(1, 17), 0x20, 0x82, 0x83, 0x8A, 0x92, 0x93, 0x9A, 0xFF]
    for count in range(4000):
        params = bytes(chance.choice([0, 1, 2, 3, 4, 5, 7, 64, 116, 254, 255,
                                      chance.randrange(256)])
                       for _ in range(chance.choice([0, 1, 2, 3, 4, 5, 6, 9, 20, 120])))
        host.bus.receive(host.protocol.instruction_packet(
            chance.choice([0, 1, 2, 3, 254]), chance.choice(instructions), params), count * 0.02)
        host.bus.outgoing(count * 0.02 + 0.015)
    assert host.bus.instructions > 3000
    host.bus.status()


def test_rubbish_from_the_host_does_not_upset_the_bus():
    chance = random.Random(4)
    for kind in ('dynamixel', 'feetech'):
        host = Host(kind, servos=2)
        for _ in range(2000):
            host.bus.receive(chance.randbytes(chance.randrange(40)), host.port.now_s())
            host.port.sleep(chance.random() * 0.01)
        host.port.sleep(1.0)
        assert len(host.ask(host.protocol.ping_packet(1))) == 1
