"""Feetech STS and SCS protocol: packets to bytes and back, without any input or output.

A packet is `FF FF ID LEN INST params CHK`, where LEN counts what follows it and CHK is the
complement of the sum of everything from ID on. A status packet has an error byte in place of
INST, so nothing in its bytes tells it from an instruction: whoever reads must know which he is
waiting for.
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
    'ACTION', 'BROADCAST_ID', 'FACTORY_RESET', 'PING', 'READ', 'REG_WRITE', 'STATUS',
    'SYNC_READ', 'SYNC_WRITE', 'WRITE', 'Packet', 'Parser', 'instruction_packet', 'ping_packet',
    'read_packet', 'status_packet', 'sync_read_packet', 'sync_write_packet', 'write_packet',
]

MAX_ID = 253
STATUS_OVERHEAD = 6
"""Bytes of a status packet without params."""
VOLTAGE_ERROR, SENSOR_ERROR, HEAT_ERROR, CURRENT_ERROR, OVERLOAD_ERROR = 1, 2, 4, 8, 32
ERRORS = {
    VOLTAGE_ERROR: 'voltage too low or too high',
    SENSOR_ERROR: 'position sensor',
    HEAT_ERROR: 'too hot',
    CURRENT_ERROR: 'too much current',
    OVERLOAD_ERROR: 'overloaded',
}
"""What the bits of the error byte mean."""

_HEADER = b'\xff\xff'
_PREFIX = 4  # bytes up to and with the length
_MAX_LENGTH = 252  # of INST to CHK


def _checksum(data: bytes) -> int:
    return ~sum(data) & 0xFF


def instruction_packet(id: int, instruction: int, params: bytes = b'') -> bytes:
    """Return the bytes of an instruction packet.

    Raises:
        ValueError: more params than a packet can hold.
    """
    if len(params) + 2 > _MAX_LENGTH:
        raise ValueError(f'{len(params)} bytes do not fit into a packet')
    body = bytes((id, len(params) + 2, instruction)) + params
    return _HEADER + body + bytes((_checksum(body),))


def status_packet(id: int, error: int, params: bytes = b'') -> bytes:
    """Return the bytes of a status packet, which a servo sends."""
    return instruction_packet(id, error, params)


def ping_packet(id: int) -> bytes:
    """Ask a servo to say that it is there."""
    return instruction_packet(id, PING)


def read_packet(id: int, address: int, size: int) -> bytes:
    """Ask one servo for some bytes of its registers."""
    return instruction_packet(id, READ, bytes((address, size)))


def write_packet(id: int, address: int, data: bytes) -> bytes:
    """Write into registers of one servo, or of all by `BROADCAST_ID`."""
    return instruction_packet(id, WRITE, bytes((address,)) + data)


def sync_read_packet(address: int, size: int, ids: Sequence[int]) -> bytes:
    """Ask several servos for the same registers; each answers. SCS servos do not know it."""
    return instruction_packet(BROADCAST_ID, SYNC_READ, bytes((address, size, *ids)))


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
        BROADCAST_ID, SYNC_WRITE, bytes((address, size))
        + b''.join(bytes((id_,)) + part for id_, part in data.items()))


class Parser:
    """Finds packets in a stream of bytes, whatever comes between or instead of them.

    Attributes:
        discarded_bytes: Bytes so far that belonged to no packet.
        bad_checksums: Packets so far with a wrong checksum.
    """

    def __init__(self, status: bool = True) -> None:
        """Start with nothing.

        Args:
            status: Read status packets, as a host does; else instructions, as a servo does.
        """
        self.discarded_bytes = 0
        self.bad_checksums = 0
        self._status = status
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
            id_, length = self._buffer[2:_PREFIX]
            # A header may follow a stray FF, which then looks like its first byte.
            if id_ == 0xFF or not 2 <= length <= _MAX_LENGTH:
                self._discard(1)
                continue
            end = _PREFIX + length
            if len(self._buffer) < end:
                break
            frame = bytes(self._buffer[:end])
            if _checksum(frame[2:-1]) != frame[-1]:
                self.bad_checksums += 1
                self._discard(1)
                continue
            del self._buffer[:end]
            packet = (Packet(id_, STATUS, frame[5:-1], frame[4]) if self._status
                      else Packet(id_, frame[4], frame[5:-1]))
            packets.append((packet, len(self._buffer)))
        return packets

    def _find_header(self) -> bool:
        """Bring a header to the front, and say whether all up to the length is there."""
        start = self._buffer.find(_HEADER)
        if start < 0:
            # Its first byte may have come already.
            start = len(self._buffer) - self._buffer.endswith(b'\xff')
        self._discard(start)
        return len(self._buffer) >= _PREFIX

    def _discard(self, count: int) -> None:
        self.discarded_bytes += count
        del self._buffer[:count]
