"""Questions and answers on the bus: bytes as the makers send them, and lies not believed."""

import collections
import contextlib

import dynamixel_sdk
import numpy as np
import pytest
import scservo_sdk
from minimal_responder import make_port
from servo_rig import PERIOD_S, TABLE, Rig

from hand_imitation.emulator.bus import make_bus as emulated_bus
from hand_imitation.emulator.virtual_port import VirtualPort
from hand_imitation.hardware import dynamixel_protocol, feetech_protocol
from hand_imitation.hardware.bus import BusLostError, BusParameters, NoReplyError, RefusedError
from hand_imitation.hardware.dynamixel_bus import DynamixelBus
from hand_imitation.hardware.feetech_bus import FeetechBus
from hand_imitation.hardware.port import PortLostError
from hand_imitation.hardware.registers import MODELS

STS = MODELS['STS3215']
FAMILIES = ['dynamixel', 'feetech']


class ScriptedPort:
    """Plays answers: a function gets each question and gives [(delay, bytes), ...]."""

    def __init__(self, answer=lambda request: []):
        self.answer = answer
        self.time_s = 0.0
        self.coming = []
        self.sent = []

    def write(self, data):
        self.sent.append(bytes(data))
        self.time_s += len(data) * 1e-5
        self.coming += [(self.time_s + delay_s, part) for delay_s, part in self.answer(data)]
        self.coming.sort(key=lambda item: item[0])

    def read(self, timeout_s):
        end_s = self.time_s + max(timeout_s, 0.0)
        if self.coming and self.coming[0][0] <= end_s:
            self.time_s = max(self.time_s, self.coming[0][0])
        else:
            self.time_s = end_s
        data = b''
        while self.coming and self.coming[0][0] <= self.time_s:
            data += self.coming.pop(0)[1]
        return data

    def drain(self, quiet_s):
        dropped, end_s = 0, self.time_s + 0.05
        while self.time_s < end_s:
            data = self.read(quiet_s)
            if not data:
                break
            dropped += len(data)
        return dropped

    def set_baud(self, baud):
        pass

    def now_s(self):
        return self.time_s

    def sleep(self, duration_s):
        self.time_s += duration_s

    def close(self):
        pass


def make_bus(family, port):
    if family == 'dynamixel':
        return DynamixelBus(port, 1_000_000)
    return FeetechBus(port, 1_000_000, STS)


def protocol_of(family):
    return dynamixel_protocol if family == 'dynamixel' else feetech_protocol


def asked_size(family, request):
    """Bytes that a read asks for."""
    if family == 'dynamixel':
        return int.from_bytes(request[10:12], 'little')
    return request[6]


def answer(family, request, id_=1, fill=7, error=0, change=0):
    """An answer to a read: all bytes alike."""
    data = bytes([fill]) * (asked_size(family, request) + change)
    return protocol_of(family).status_packet(id_, error, data)


# Against the makers' libraries


class SdkPort:
    """What the makers' packet handlers want of a port, with a bus of ours behind it."""

    def __init__(self, responder):
        self.responder = responder
        self.is_using = False
        self.sent = []
        self.coming = b''

    def clearPort(self):  # noqa: N802
        self.coming = b''

    def writePort(self, data):  # noqa: N802
        self.sent.append(bytes(data))
        self.coming += b''.join(self.responder.take(bytes(data)))
        return len(data)

    def readPort(self, length):  # noqa: N802
        data, self.coming = self.coming[:length], self.coming[length:]
        return data

    def setPacketTimeout(self, _):  # noqa: N802
        pass

    def setPacketTimeoutMillis(self, _):  # noqa: N802
        pass

    def isPacketTimeout(self):  # noqa: N802
        return not self.coming

    def getBaudRate(self):  # noqa: N802
        return 1_000_000


def sent_by(family, act):
    """Bytes that our bus sends."""
    port = ScriptedPort()
    bus = make_bus(family, port)
    with contextlib.suppress(NoReplyError):
        act(bus)
    return port.sent[0]


def sdk(family, kind=None):
    port = SdkPort(make_port(kind or family, [2048] * 12).responder)
    if family == 'dynamixel':
        return port, dynamixel_sdk.PacketHandler(2.0)
    return port, scservo_sdk.PacketHandler(0)


@pytest.mark.parametrize('family', FAMILIES)
def test_sends_what_the_makers_library_sends(family):
    port, handler = sdk(family)
    handler.write4ByteTxRx(port, 3, 100, 0x12345678)
    data = port.sent[-1][-6:-2] if family == 'dynamixel' else port.sent[-1][-5:-1]
    assert port.sent[-1] == sent_by(family, lambda bus: bus.write(3, 100, data))
    values = {id_: bytes([id_, 2 * id_]) for id_ in (1, 5, 12)}
    params = b''.join(bytes([id_]) + part for id_, part in values.items())
    handler.syncWriteTxOnly(port, 42, 2, list(params), len(params))
    assert port.sent[-1] == sent_by(family, lambda bus: bus.sync_write(42, values))
    ours = sent_by(family, lambda bus: bus.read(9, 60, 10))
    size = asked_size(family, ours)
    handler.readTx(port, 9, 62 - size + 8, size)
    start = 8 if family == 'dynamixel' else 5
    assert port.sent[-1][:start] == ours[:start]
    assert len(port.sent[-1]) == len(ours)


@pytest.mark.parametrize('family', FAMILIES)
def test_reads_what_the_makers_library_reads(family):
    rng = np.random.default_rng(3)
    port, handler = sdk(family)
    ours = make_port(family, [2048] * 12)
    bus = make_bus(family, ours)
    for _ in range(50):
        content = rng.integers(0, 256, 40, dtype=np.uint8).tobytes()
        # What looks like a header inside the data is where stuffing matters.
        if rng.random() < 0.5:
            content = content[:10] + b'\xff\xff\xfd' + content[13:]
        id_ = int(rng.integers(1, 13))
        for responder in (port.responder, ours.responder):
            responder.servos[id_].memory[70:110] = content
        seen = bus.read(id_, 70, 40).data
        assert seen == content
        if b'\xff\xff\xfd' in content:
            continue  # its un-stuffing spoils some of these
        data, result, _ = handler.readTxRx(port, id_, 70, 40)
        assert result == 0
        assert bytes(data) == seen


@pytest.mark.parametrize('kind', ['dynamixel', 'feetech', 'scs'])
def test_reads_and_writes_registers_of_the_second_bus(kind):
    port = make_port(kind, [700] * 4)
    model = {'dynamixel': MODELS['XL330-M288'], 'feetech': STS, 'scs': MODELS['SCS0009']}[kind]
    bus = DynamixelBus(port, 1_000_000) if kind == 'dynamixel' else FeetechBus(
        port, 1_000_000, model)
    assert bus.ping(2) == model.number
    assert bus.read_register(2, model, 'present_position') == 700
    bus.write_register(2, model, 'goal_position', 701)
    register = model.registers['goal_position']
    replies = bus.sync_read(register.address, register.size, [1, 2, 3, 4])
    assert sorted(replies) == [1, 2, 3, 4]
    assert int.from_bytes(replies[2].data, model.byte_order) == 701
    with pytest.raises(NoReplyError):
        bus.ping(9)


# What is not believed


@pytest.mark.parametrize('family', FAMILIES)
def test_reads_what_it_asked_for(family):
    port = ScriptedPort(lambda request: [(0.0, answer(family, request))])
    reply = make_bus(family, port).read(1, 60, 4)
    assert reply.data == bytes([7] * 4)
    assert 0.0 <= reply.asked_s < port.now_s()


def lies(family, request):
    """Answers that must not be believed, by name."""
    good = answer(family, request)
    bad = bytearray(good)
    bad[-3] ^= 0x10
    return {
        'nothing': b'', 'wrong id': answer(family, request, id_=2),
        'longer': answer(family, request, change=1), 'shorter': answer(family, request, change=-1),
        'corrupt': bytes(bad), 'truncated': good[:-1], 'headless': good[1:],
        'our own': request, 'empty': protocol_of(family).status_packet(1, 0),
        'rubbish': bytes(range(40)), 'half and half': good[:6] + good,
    }


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('lie', lies('dynamixel', dynamixel_protocol.read_packet(1, 60, 4)))
def test_does_not_believe(family, lie):
    port = ScriptedPort(lambda request: [(0.0, lies(family, request)[lie])])
    bus = make_bus(family, port)
    if lie == 'half and half' and family == 'dynamixel':
        assert bus.read(1, 60, 4).data == bytes([7] * 4)
        return
    with pytest.raises(NoReplyError):
        bus.read(1, 60, 4)
    assert len(port.sent) == bus.parameters.attempts
    assert port.now_s() < 0.1


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('late_s', [0.0061, 0.008, 0.0105, 0.02, 0.05, 0.2])
def test_late_answers_are_not_taken_for_later_ones(family, late_s):
    count = 0

    def answers(request):
        nonlocal count
        count += 1
        late = late_s if count % 3 == 0 else 0.0
        return [(late, answer(family, request, fill=count % 256))]

    port = ScriptedPort(answers)
    bus = make_bus(family, port)
    for _ in range(300):
        before = count
        try:
            reply = bus.read(1, 60, 4, attempts=1)
        except NoReplyError:
            continue
        assert reply.data == bytes([(before + 1) % 256] * 4)


@pytest.mark.parametrize('family', FAMILIES)
def test_same_answer_twice_does_no_harm(family):
    count = 0

    def answers(request):
        nonlocal count
        count += 1
        same = answer(family, request, fill=count % 256)
        return [(0.0, same), (0.0003, same)]

    bus = make_bus(family, ScriptedPort(answers))
    for _ in range(100):
        reply = bus.read(1, 60, 4)
        assert reply.data == bytes([count % 256] * 4)


@pytest.mark.parametrize('family', FAMILIES)
def test_own_echo_is_taken_away(family):
    port = ScriptedPort(lambda request: [(0.0, request), (0.0002, answer(family, request))])
    bus = make_bus(family, port)
    for _ in range(20):
        assert bus.read(1, 60, 4).data == bytes([7] * 4)
    assert bus.statistics.echoes == 20
    assert bus.statistics.retries == 0


def sync_answers(family, order, claims=None):
    """Answers of several servos, in this order, under these ids."""
    def answers(request):
        size = asked_size(family, request)
        frames = [protocol_of(family).status_packet((claims or {}).get(id_, id_), 0,
                                                    bytes([id_]) * size) for id_ in order]
        return [(0.0003 * (number + 1), frame) for number, frame in enumerate(frames)]
    return answers


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('order, claims', [
    ([1, 2, 3, 4, 5], None), ([1, 2, 4, 5], None), ([2, 3, 4, 5], None), ([1, 2, 3, 4], None),
    ([5], None), ([], None), ([2, 1, 3, 4, 5], None), ([1, 2, 3, 4, 5], {2: 3}),
    ([1, 2, 3, 4, 5], {3: 5}), ([1, 2, 3, 4], {4: 5}), ([1, 2, 3, 5], {3: 4}),
    ([1, 3, 4, 5], {3: 2}), ([1, 2, 3, 4, 5], {1: 9}), ([1, 2, 2, 3, 4, 5], None)])
def test_nobody_is_believed_under_a_false_id(family, order, claims):
    bus = make_bus(family, ScriptedPort(sync_answers(family, order, claims)))
    replies = bus.sync_read(60, 4, [1, 2, 3, 4, 5])
    for id_, reply in replies.items():
        assert reply.data == bytes([id_] * 4)
    if order == [1, 2, 3, 4, 5] and claims is None:
        assert len(replies) == 5


@pytest.mark.parametrize('family', FAMILIES)
def test_line_that_never_falls_silent_ends_in_time(family):
    babble = [(0.0001 * number, b'\xff\xff\xfd\x00\x01') for number in range(9999)]
    port = ScriptedPort(lambda request: babble)
    bus = make_bus(family, port)
    with pytest.raises(NoReplyError) as caught:
        bus.read(1, 60, 4)
    assert caught.value.garbled
    assert port.now_s() < 0.6


def test_error_in_the_answer_is_no_measurement():
    port = ScriptedPort(lambda request: [(0.0, answer('dynamixel', request, error=0x07))])
    with pytest.raises(RefusedError, match='cannot be written'):
        make_bus('dynamixel', port).read(1, 60, 4)
    alert = ScriptedPort(lambda request: [(0.0, answer('dynamixel', request, error=0x80))])
    reply = make_bus('dynamixel', alert).read(1, 60, 4)
    assert DynamixelBus(alert, 1).alarms(reply.error) == ('hardware error',)


def test_words_for_every_feetech_error():
    bus = make_bus('feetech', ScriptedPort())
    assert bus.alarms(0) == ()
    for bit in (1, 2, 4, 8, 32):
        assert len(bus.alarms(bit)) == 1
    assert bus.alarms(0x40) == ('error 64',)
    assert len(bus.alarms(33)) == 2


def test_write_is_believed_only_when_read_back():
    model = MODELS['XL330-M288']

    def deaf(request):
        if request[7] == dynamixel_protocol.READ:
            return [(0.0, answer('dynamixel', request, fill=0))]
        return [(0.0, dynamixel_protocol.status_packet(1, 0))]

    with pytest.raises(RefusedError, match='holds 0 in profile_velocity'):
        make_bus('dynamixel', ScriptedPort(deaf)).write_register(1, model, 'profile_velocity', 5)


def test_lost_port_is_a_lost_bus():
    class Gone(ScriptedPort):
        def write(self, data):
            raise PortLostError('gone')

    for family in FAMILIES:
        bus = make_bus(family, Gone())
        for act in (lambda b: b.read(1, 60, 4), lambda b: b.write(1, 60, b'1'),
                    lambda b: b.ping(1), lambda b: b.sync_write(1, {1: b'1'}),
                    lambda b: b.sync_read(60, 4, [1, 2])):
            with pytest.raises(BusLostError):
                act(bus)


@pytest.mark.parametrize('family', FAMILIES)
def test_slow_answers_come_through_when_asked_again(family):
    port = ScriptedPort(lambda request: [(0.015, answer(family, request))])
    assert make_bus(family, port).read(1, 60, 4).data == bytes([7] * 4)


def test_patience_can_be_set():
    port = ScriptedPort(lambda request: [(0.015, answer('feetech', request))])
    with pytest.raises(NoReplyError):
        FeetechBus(port, 1_000_000, STS).read(1, 60, 4, attempts=1)
    patient = FeetechBus(port, 1_000_000, STS, BusParameters(reply_timeout_s=0.05))
    port.sleep(1.0)
    assert patient.read(1, 60, 4, attempts=1).data == bytes([7] * 4)


# Against the emulator, which knows the truth


FAULTS = {
    'lost': [('drop', 0.05)], 'corrupt': [('corrupt', 0.05)], 'truncated': [('truncate', 0.05)],
    'late': [('delay', 0.05)], 'twice': [('duplicate', 0.05)], 'wrong id': [('wrong_id', 0.05)],
    'wrong length': [('wrong_length', 0.05)], 'noise': [('noise', 0.05)],
    'all': [(name, 0.01) for name in (
        'drop', 'corrupt', 'truncate', 'delay', 'duplicate', 'wrong_id', 'wrong_length', 'noise')],
}


@pytest.mark.parametrize('kind', ['dynamixel', 'feetech', 'scs'])
@pytest.mark.parametrize('faults', FAULTS.values(), ids=FAULTS)
def test_every_measurement_is_true(kind, faults):
    """Each count was the servo's own between question and answer, however bad the line."""
    rig = Rig(kind, seed=5)
    rig.arm.open()
    rig.arm.arm()
    for name, chance in faults:
        rig.fault(name, p=chance)
    history = collections.deque(maxlen=1500)
    move = rig.bus._move_servos

    def remember(now_s):
        move(now_s)
        history.append((now_s, [servo.position for servo in rig.bus.servos]))

    rig.bus._move_servos = remember
    middle = (TABLE.lower_rad + TABLE.upper_rad) / 2
    last_s, checked = np.zeros(12), 0
    for number in range(120):
        # Each joint on its own way, so that no servo's count can pass for another's.
        phases = 2 * np.pi * 0.5 * number * PERIOD_S + np.arange(12)
        began_s = rig.now_s()
        rig.arm.write(middle + 0.4 * np.sin(phases))
        state = rig.arm.read()
        times = np.array([time_s for time_s, _ in history])
        places = np.array([positions for _, positions in history])
        asked_s = state.stamp_s - state.sample_age_s
        for row in np.flatnonzero(asked_s > last_s):
            first = max(0, np.searchsorted(times, asked_s[row]) - 1)
            past = np.searchsorted(times, asked_s[row] + 0.016) + 1
            window = places[first:past, row]
            assert window.min() - 1.1 <= state.ticks[row] <= window.max() + 1.1
            checked += 1
        last_s = asked_s
        assert (np.abs(state.temperature_c - 28) < 15).all()
        rig.port.sleep(began_s + PERIOD_S - rig.now_s())
    assert checked > 100


def sent_instructions(bus):
    """Let a Dynamixel bus note the instructions it sends; returns where."""
    sent, write = [], bus.port.write

    def note(data):
        sent.append(data[7])
        write(data)

    bus.port.write = note
    return sent


def test_all_dynamixels_answer_with_one_packet_and_fall_back_where_one_is_silent():
    emulated = emulated_bus('dynamixel')
    bus = DynamixelBus(VirtualPort(emulated), 1_000_000)
    register = MODELS['XL330-M288'].registers['present_position']
    ids = [servo.id for servo in emulated.servos]
    sent = sent_instructions(bus)
    replies = bus.sync_read(register.address, register.size, ids)
    assert sent == [0x8A] and list(replies) == ids
    assert {reply.data for reply in replies.values()} == {(2048).to_bytes(4, 'little')}
    emulated.servo(5).alive = False
    replies = bus.sync_read(register.address, register.size, ids)
    assert sent == [0x8A, 0x8A, 0x82] and set(replies) >= set(ids[:3]) and 5 not in replies
    sent.clear()
    bus.sync_read(register.address, register.size, ids)
    assert sent == [0x82], 'the fast way rests for a while'
    emulated.servo(5).alive = True
    bus.port.sleep(1.0)
    sent.clear()
    assert list(bus.sync_read(register.address, register.size, ids)) == ids
    assert sent == [0x8A]
