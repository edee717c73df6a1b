"""Packets and registers, held against known frames and the makers' own libraries."""

import random

import dynamixel_sdk
import pytest
import scservo_sdk
from hypothesis import given
from hypothesis import strategies as st

from hand_imitation.hardware import dynamixel_protocol as dynamixel
from hand_imitation.hardware import feetech_protocol as feetech
from hand_imitation.hardware.registers import (
    DYNAMIXEL_X,
    FEETECH_SCS,
    FEETECH_STS,
    MODELS,
    decode,
    encode,
    value_range,
)

# Bytes of which packets are made, so that headers turn up inside them.
NASTY = st.lists(st.sampled_from([0xFF, 0xFF, 0xFD, 0x00, 0x55, 0xFE, 0x01]), max_size=60).map(
    bytes)
PACKETS = st.builds(dynamixel.Packet, st.integers(0, 252), st.sampled_from([1, 2, 3, 0x83]),
                    NASTY)


class Wire:
    """Stands in for the port of a maker's library: keeps what is sent, returns what is set."""

    def __init__(self, reply: bytes = b'') -> None:
        self.is_using = False
        self.sent = b''
        self.reply = reply

    def clearPort(self) -> None:  # noqa: N802 - the library's name
        pass

    def writePort(self, packet: list[int]) -> int:  # noqa: N802
        self.sent += bytes(packet)
        return len(packet)

    def readPort(self, length: int) -> list[int]:  # noqa: N802
        data, self.reply = self.reply[:length], self.reply[length:]
        return list(data)

    def setPacketTimeout(self, length: float) -> None:  # noqa: N802
        pass

    def isPacketTimeout(self) -> bool:  # noqa: N802
        return not self.reply

    def getBaudRate(self) -> int:  # noqa: N802
        return 1_000_000


def test_known_dynamixel_frames():
    assert dynamixel.ping_packet(1) == bytes.fromhex('FFFFFD00 01 0300 01 194E')
    status = bytes.fromhex('FFFFFD00 01 0700 55 00 060426 655D')
    assert dynamixel.status_packet(1, 0, b'\x06\x04\x26') == status
    assert dynamixel.Parser().feed(status) == [
        dynamixel.Packet(1, 0x55, b'\x06\x04\x26', 0)]


def test_known_feetech_frames():
    assert feetech.ping_packet(1) == bytes.fromhex('FFFF 01 02 01 FB')
    assert feetech.read_packet(1, 56, 2) == bytes.fromhex('FFFF 01 04 02 38 02 BE')
    assert feetech.Parser().feed(bytes.fromhex('FFFF 01 04 00 18 05 DD')) == [
        feetech.Packet(1, 0x55, b'\x18\x05', 0)]


def dynamixel_sdk_frames():
    handler = dynamixel_sdk.PacketHandler(2.0)
    group_write = dynamixel_sdk.GroupSyncWrite
    group_read = dynamixel_sdk.GroupSyncRead

    def sync_write(port):
        group = group_write(port, handler, 116, 4)
        for id_ in (1, 2, 7):
            group.addParam(id_, [id_, 2, 0, 0])
        group.txPacket()

    def sync_read(port, fast):
        group = group_read(port, handler, 132, 4)
        for id_ in (1, 2, 7):
            group.addParam(id_)
        group.txPacket() if not fast else handler.syncReadTx(
            port, 132, 4, [1, 2, 7], 3, True)

    return [
        (lambda port: handler.ping(port, 5), dynamixel.ping_packet(5)),
        (lambda port: handler.readTx(port, 5, 132, 4), dynamixel.read_packet(5, 132, 4)),
        (lambda port: handler.write4ByteTxOnly(port, 5, 116, 2048),
         dynamixel.write_packet(5, 116, b'\x00\x08\x00\x00')),
        (lambda port: handler.reboot(port, 5), dynamixel.reboot_packet(5)),
        (sync_write, dynamixel.sync_write_packet(
            116, 4, {id_: bytes((id_, 2, 0, 0)) for id_ in (1, 2, 7)})),
        (lambda port: sync_read(port, False), dynamixel.sync_read_packet(132, 4, [1, 2, 7])),
        (lambda port: sync_read(port, True), dynamixel.fast_sync_read_packet(132, 4, [1, 2, 7])),
        (lambda port: handler.bulkReadTx(port, [1, 132, 0, 4, 0, 2, 146, 0, 1, 0], 10, False),
         dynamixel.bulk_read_packet([(1, 132, 4), (2, 146, 1)])),
    ]


@pytest.mark.parametrize(('call', 'expected'), dynamixel_sdk_frames())
def test_instructions_equal_those_of_the_dynamixel_sdk(call, expected):
    port = Wire()
    call(port)
    assert port.sent == expected


def feetech_sdk_frames():
    handler = scservo_sdk.PacketHandler(0)

    def sync_write(port):
        group = scservo_sdk.GroupSyncWrite(port, handler, 42, 2)
        for id_ in (1, 2, 7):
            group.addParam(id_, [id_, 2])
        group.txPacket()

    def sync_read(port):
        group = scservo_sdk.GroupSyncRead(port, handler, 56, 2)
        for id_ in (1, 2, 7):
            group.addParam(id_)
        group.txPacket()

    return [
        (lambda port: handler.ping(port, 5), feetech.ping_packet(5)),
        (lambda port: handler.readTx(port, 5, 56, 2), feetech.read_packet(5, 56, 2)),
        (lambda port: handler.write2ByteTxOnly(port, 5, 42, 2048),
         feetech.write_packet(5, 42, b'\x00\x08')),
        (sync_write, feetech.sync_write_packet(
            42, 2, {id_: bytes((id_, 2)) for id_ in (1, 2, 7)})),
        (sync_read, feetech.sync_read_packet(56, 2, [1, 2, 7])),
    ]


@pytest.mark.parametrize(('call', 'expected'), feetech_sdk_frames())
def test_instructions_equal_those_of_the_feetech_sdk(call, expected):
    port = Wire()
    call(port)
    assert port.sent == expected


def test_the_dynamixel_sdk_reads_our_fast_sync_status():
    data = {3: b'\x00\x08\x00\x00', 9: b'\xff\xff\xfd\xfd'}
    frame = dynamixel.fast_sync_status([(id_, 0, part) for id_, part in data.items()])
    handler = dynamixel_sdk.PacketHandler(2.0)
    port = Wire(frame)
    raw, result, _ = handler.fastSyncReadRx(port, 0xFE, len(frame) - 10)
    assert result == dynamixel_sdk.COMM_SUCCESS
    port = Wire(frame)
    group = dynamixel_sdk.GroupSyncRead(port, handler, 132, 4)
    for id_ in data:
        group.addParam(id_)
    assert group.fastSyncRead() == dynamixel_sdk.COMM_SUCCESS
    for id_, part in data.items():
        assert group.getData(id_, 132, 4) == int.from_bytes(part, 'little')
    packet, = dynamixel.Parser().feed(frame)
    parts = dynamixel.fast_sync_parts(packet, [4, 4])
    assert {part.id: part.params for part in parts} == data
    assert dynamixel.fast_sync_parts(packet, [4, 5]) == []


@given(NASTY)
def test_crc_equals_that_of_the_dynamixel_sdk(data):
    handler = dynamixel_sdk.PacketHandler(2.0)
    assert dynamixel.crc16(data) == handler.updateCRC(0, data, len(data))


@given(st.lists(PACKETS, max_size=10), st.integers(1, 30))
def test_dynamixel_packets_survive_in_any_pieces(packets, piece):
    stream = b''.join(dynamixel.instruction_packet(p.id, p.instruction, p.params)
                      for p in packets)
    parser, found = dynamixel.Parser(), []
    for start in range(0, len(stream), piece):
        found += parser.feed(stream[start:start + piece])
    assert found == packets
    assert parser.discarded_bytes == parser.bad_checksums == 0


@given(st.lists(st.builds(feetech.Packet, st.integers(0, 253), st.integers(1, 0x7F), NASTY),
                max_size=10), st.integers(1, 30))
def test_feetech_packets_survive_in_any_pieces(packets, piece):
    stream = b''.join(feetech.instruction_packet(p.id, p.instruction, p.params)
                      for p in packets)
    parser, found = feetech.Parser(status=False), []
    for start in range(0, len(stream), piece):
        found += parser.feed(stream[start:start + piece])
    assert found == packets
    assert parser.discarded_bytes == parser.bad_checksums == 0


@pytest.mark.parametrize(('module', 'parser'), [
    (dynamixel, dynamixel.Parser), (feetech, feetech.Parser)])
def test_parsers_find_their_way_back_after_rubbish(module, parser):
    # A header that announces more than comes holds packets back until enough bytes are there;
    # none of those that come whole after it may be lost for good.
    chance = random.Random(5)
    good = module.status_packet(7, 0, b'\x01\x02\x03\x04')
    for _ in range(300):
        found = parser()
        rubbish = chance.choice([
            chance.randbytes(chance.randrange(20)), good[:chance.randrange(len(good))],
            b'\xff\xff', b'\xff\xff\xfd\x00\x07\x05\x00\x55'])
        packets = found.feed(rubbish)
        packets += found.feed(good * 80)
        assert packets.count(module.Packet(7, 0x55, b'\x01\x02\x03\x04', 0)) >= 75


@pytest.mark.parametrize(('module', 'parser'), [
    (dynamixel, dynamixel.Parser), (feetech, feetech.Parser)])
def test_a_changed_byte_is_never_taken_for_a_packet(module, parser):
    good = module.status_packet(7, 0, bytes(range(10)))
    for place in range(len(good)):
        for other in range(256):
            if other == good[place]:
                continue
            changed = good[:place] + bytes((other,)) + good[place + 1:]
            assert parser().feed(changed) == []


def test_parsers_keep_little_of_endless_rubbish():
    for parser in (dynamixel.Parser(), feetech.Parser()):
        total = 0
        for _ in range(200):
            rubbish = random.Random(total).randbytes(1000)
            total += len(rubbish)
            parser.feed(rubbish)
        parser.reset()
        assert parser.discarded_bytes > 0.9 * total


@pytest.mark.parametrize('model', MODELS.values(), ids=lambda model: model.name)
def test_registers_do_not_overlap_and_hold_their_range(model):
    registers = sorted(model.registers.values(), key=lambda register: register.address)
    for first, second in zip(registers, registers[1:], strict=False):
        assert first.end <= second.address, (first, second)
    for name, register in model.registers.items():
        assert register.name == name
        lower, upper = value_range(register)
        for value in (lower, upper, 0, 1):
            data = encode(register, value, model.byte_order)
            assert decode(register, data, model.byte_order) == value
        with pytest.raises(ValueError, match=register.name):
            encode(register, upper + 1, model.byte_order)


def test_signs_are_written_as_each_maker_does():
    assert encode(DYNAMIXEL_X['present_current'], -2) == b'\xfe\xff'
    assert encode(FEETECH_STS['present_velocity'], -2) == b'\x02\x80'
    assert encode(FEETECH_STS['present_load'], -2) == b'\x02\x04'
    assert encode(FEETECH_STS['offset'], -2) == b'\x02\x08'
    assert encode(FEETECH_SCS['goal_position'], 0x0102, 'big') == b'\x01\x02'


def test_sync_writes_refuse_data_of_another_length():
    for module in (dynamixel, feetech):
        with pytest.raises(ValueError, match='4 bytes'):
            module.sync_write_packet(116, 4, {1: b'\0\0\0\0', 2: b'\0'})
