"""Dynamixel Protocol 2.0: packets to bytes and back, without any input or output.

A packet is `FF FF FD 00 ID LEN_L LEN_H INST params CRC_L CRC_H`, where LEN counts what follows
it. In a status packet INST is 55 and an error byte comes before the params. Wherever INST and
params hold `FF FF FD`, an `FD` is stuffed in behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hand_imitation.hardware.packet import (
    ACTION,
    BROADCAST_ID,
    FACTORY_RESET,
    PING,
    READ,
    REG_WRITE,
    STATUS,
    SYNC_READ,
    SYNC_WRITE,
    WRITE,
    Packet,
)

__all__ = [
    'ACTION', 'BROADCAST_ID', 'BULK_READ', 'BULK_WRITE', 'CLEAR', 'CONTROL_TABLE_BACKUP',
    'FACTORY_RESET', 'FAST_BULK_READ', 'FAST_SYNC_READ', 'PING', 'READ', 'REBOOT', 'REG_WRITE',
    'STATUS', 'SYNC_READ', 'SYNC_WRITE', 'WRITE', 'Packet', 'Parser', 'bulk_read_packet',
    'crc16', 'fast_sync_parts', 'fast_sync_read_packet', 'fast_sync_status',
    'instruction_packet', 'ping_packet', 'read_packet', 'reboot_packet', 'status_packet',
    'sync_read_packet', 'sync_write_packet', 'write_packet',
]

REBOOT, CLEAR, CONTROL_TABLE_BACKUP = 0x08, 0x10, 0x20
FAST_SYNC_READ, BULK_READ, BULK_WRITE, FAST_BULK_READ = 0x8A, 0x92, 0x93, 0x9A

MAX_ID = 252
STATUS_OVERHEAD = 11
"""Bytes of a status packet without params."""
ALERT = 0x80
"""Bit of the error byte: the register hardware_error is not zero."""
(RESULT_FAIL, INSTRUCTION_ERROR, CRC_ERROR, DATA_RANGE_ERROR, DATA_LENGTH_ERROR,
 DATA_LIMIT_ERROR, ACCESS_ERROR) = range(1, 8)
ERRORS = {
    RESULT_FAIL: 'could not carry out the instruction',
    INSTRUCTION_ERROR: 'unknown instruction',
    CRC_ERROR: 'wrong checksum',
    DATA_RANGE_ERROR: 'value out of range',
    DATA_LENGTH_ERROR: 'data too short',
    DATA_LIMIT_ERROR: 'value outside the limits set in the servo',
    ACCESS_ERROR: 'register cannot be written now, or not at all',
}
"""What the error byte means, without `ALERT`."""

_HEADER = b'\xff\xff\xfd'
_STUFFED = b'\xff\xff\xfd\xfd'
_PREFIX = 7  # bytes up to and with the length
_MAX_LENGTH = 1024  # of INST to CRC; the longest packet of any servo is shorter


def _crc_table() -> tuple[int, ...]:
    """Remainders of all bytes under the polynomial 8005, not reflected."""
    table = []
    for byte in range(256):
        remainder = byte << 8
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x8005 if remainder & 0x8000 else 0)
        table.append(remainder & 0xFFFF)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: bytes, crc: int = 0) -> int:
    """Return the checksum of a packet's bytes from its header to its last param.

    Args:
        data: The bytes, after stuffing.
        crc: Checksum of what came before them.
    """
    table = _CRC_TABLE
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ table[crc >> 8 ^ byte]
    return crc


def _packet(id_: int, body: bytes) -> bytes:
    """Frame what goes from INST to the last param."""
    body = body.replace(_HEADER, _STUFFED)
    frame = (_HEADER + bytes((0, id_)) + (len(body) + 2).to_bytes(2, 'little') + body)
    return frame + crc16(frame).to_bytes(2, 'little')


def instruction_packet(id: int, instruction: int, params: bytes = b'') -> bytes:
    """Return the bytes of an instruction packet."""
    return _packet(id, bytes((instruction,)) + params)


def status_packet(id: int, error: int, params: bytes = b'') -> bytes:
    """Return the bytes of a status packet, which a servo sends."""
    return _packet(id, bytes((STATUS, error)) + params)


def ping_packet(id: int) -> bytes:
    """Ask one servo, or all of them by `BROADCAST_ID`, for model number and firmware."""
    return instruction_packet(id, PING)


def read_packet(id: int, address: int, size: int) -> bytes:
    """Ask one servo for some bytes of its registers."""
    return instruction_packet(id, READ, _words(address, size))


def write_packet(id: int, address: int, data: bytes) -> bytes:
    """Write into registers of one servo, or of all by `BROADCAST_ID`."""
    return instruction_packet(id, WRITE, _words(address) + data)


def reboot_packet(id: int) -> bytes:
    """Start a servo anew, which clears its hardware error."""
    return instruction_packet(id, REBOOT)


def sync_read_packet(address: int, size: int, ids: Sequence[int]) -> bytes:
    """Ask several servos for the same registers; each answers with a status packet."""
    return instruction_packet(BROADCAST_ID, SYNC_READ, _words(address, size) + bytes(ids))


def fast_sync_read_packet(address: int, size: int, ids: Sequence[int]) -> bytes:
    """Ask several servos for the same registers; together they answer with one packet."""
    return instruction_packet(BROADCAST_ID, FAST_SYNC_READ, _words(address, size) + bytes(ids))


def sync_write_packet(address: int, size: int, data: Mapping[int, bytes]) -> bytes:
    """Write the same registers of several servos, which nobody confirms.

    Args:
        address: First register.
        size: Bytes for each servo.
        data: What each servo gets, by id.

    Raises:
        ValueError: a servo would get another number of bytes than `size`.
    """
    if any(len(part) != size for part in data.values()):
        raise ValueError(f'not all servos get {size} bytes')
    return instruction_packet(
        BROADCAST_ID, SYNC_WRITE,
        _words(address, size) + b''.join(bytes((id_,)) + part for id_, part in data.items()))


def bulk_read_packet(requests: Sequence[tuple[int, int, int]]) -> bytes:
    """Ask several servos for registers of each one's own.

    Args:
        requests: Id, address and size, for each servo.
    """
    params = b''.join(bytes((id_,)) + _words(address, size) for id_, address, size in requests)
    return instruction_packet(BROADCAST_ID, BULK_READ, params)


def fast_sync_status(parts: Sequence[tuple[int, int, bytes]],
                     length: int | None = None) -> bytes:
    """Return the one packet that answers a fast sync read or a fast bulk read; never stuffed.

    It is `FF FF FD 00 FE LEN_L LEN_H 55`, then for each servo `ERR ID data CRC_L CRC_H`, where
    each checksum covers everything before it.

    Args:
        parts: Id, error and data, for each servo.
        length: What the packet says of itself, where some servos have not added their parts.
    """
    length = length or 1 + sum(4 + len(data) for _, _, data in parts)
    frame = _HEADER + bytes((0, BROADCAST_ID)) + length.to_bytes(2, 'little') + bytes((STATUS,))
    for id_, error, data in parts:
        frame += bytes((error, id_)) + data
        frame += crc16(frame).to_bytes(2, 'little')
    return frame


def fast_sync_parts(packet: Packet, sizes: Sequence[int]) -> list[Packet]:
    """Take the answer to a fast sync read or a fast bulk read apart.

    Args:
        packet: As the parser gave it.
        sizes: Bytes of data of each servo, in the order asked.

    Returns:
        One status packet for each servo; none when the answer has another length.
    """
    joined = bytes((packet.error or 0,)) + packet.params
    if packet.error is None or len(joined) != sum(4 + size for size in sizes) - 2:
        return []
    parts, start = [], 0
    for size in sizes:
        parts.append(Packet(joined[start + 1], STATUS, joined[start + 2:start + 2 + size],
                            joined[start]))
        start += 4 + size
    return parts


def _words(*values: int) -> bytes:
    return b''.join(value.to_bytes(2, 'little') for value in values)


class Parser:
    """Finds packets in a stream of bytes, whatever comes between or instead of them.

    Instruction and status packets alike. An answer to a fast read has the id `BROADCAST_ID`, as
    no other status packet has, and goes to `fast_sync_parts`.

    Attributes:
        discarded_bytes: Bytes so far that belonged to no packet.
        bad_checksums: Packets so far with a wrong checksum.
    """

    def __init__(self) -> None:
        self.discarded_bytes = 0
        self.bad_checksums = 0
        self._buffer = bytearray()

    def reset(self) -> None:
        """Forget a packet of which only a part has come."""
        self.discarded_bytes += len(self._buffer)
        self._buffer.clear()

    def feed(self, data: bytes) -> list[Packet]:
        """Take more bytes and return the packets that are complete now."""
        return [packet for packet, _ in self.feed_timed(data)]

    def feed_timed(self, data: bytes) -> list[tuple[Packet, int]]:
        """Like `feed`, and say how many of the bytes came after the end of each packet."""
        self._buffer += data
        packets = []
        while self._find_header():
            length = int.from_bytes(self._buffer[5:7], 'little')
            # Of a status packet at least INST, ERR and CRC; of others INST and CRC.
            if self._buffer[3] != 0 or not 3 <= length <= _MAX_LENGTH:
                self._discard(1)
                continue
            end = _PREFIX + length
            if len(self._buffer) < end:
                break
            frame = bytes(self._buffer[:end])
            if crc16(frame[:-2]) != int.from_bytes(frame[-2:], 'little'):
                self.bad_checksums += 1
                self._discard(1)
                continue
            del self._buffer[:end]
            packet = _take_apart(frame)
            if packet is None:
                self.discarded_bytes += end
            else:
                packets.append((packet, len(self._buffer)))
        return packets

    def _find_header(self) -> bool:
        """Bring a header to the front, and say whether all up to the length is there."""
        start = self._buffer.find(_HEADER)
        if start < 0:
            # Its first bytes may have come already.
            start = len(self._buffer)
            while start and self._buffer[start - 1] == 0xFF and len(self._buffer) - start < 2:
                start -= 1
        self._discard(start)
        return len(self._buffer) >= _PREFIX

    def _discard(self, count: int) -> None:
        self.discarded_bytes += count
        del self._buffer[:count]


def _take_apart(frame: bytes) -> Packet | None:
    """Read a packet whose checksum is right; None for a status packet without error byte."""
    id_, body = frame[4], frame[_PREFIX:-2]
    fast = id_ == BROADCAST_ID and body[0] == STATUS
    if not fast:
        body = body.replace(_STUFFED, _HEADER)
    if body[0] != STATUS:
        return Packet(id_, body[0], body[1:])
    return Packet(id_, STATUS, body[2:], body[1]) if len(body) > 1 else None
