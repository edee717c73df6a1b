"""The Dynamixel bus, Protocol 2.0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hand_imitation.hardware import dynamixel_protocol as protocol
from hand_imitation.hardware.bus import NoReplyError, ServoBus
from hand_imitation.hardware.bus_types import BusParameters, Reply
from hand_imitation.hardware.packet import Packet
from hand_imitation.hardware.port import Port

_PING_SIZE = 3
_FAST_OVERHEAD, _FAST_OVERHEAD_EACH = 8, 4
_FIRST_REST_S, _LONGEST_REST_S = 0.5, 60.0


class _FastParser:
    """Finds the one packet that answers a fast sync read, and takes it apart."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._parser = protocol.Parser()

    @property
    def bad_checksums(self) -> int:
        """Packets so far with a wrong checksum."""
        return self._parser.bad_checksums

    @property
    def discarded_bytes(self) -> int:
        """Bytes so far that belonged to no packet."""
        return self._parser.discarded_bytes

    def feed(self, data: bytes) -> list[Packet]:
        """Take more bytes and return the answers of the servos once all have come."""
        packets = []
        for packet in self._parser.feed(data):
            # Anything else, and an answer of another length, stays what it is: nobody asked.
            parts = (protocol.fast_sync_parts(packet, self._sizes)
                     if packet.id == protocol.BROADCAST_ID else [])
            packets += parts or [packet]
        return packets


class DynamixelBus(ServoBus):
    """Questions and answers in Protocol 2.0; see `ServoBus`.

    Several servos are read by one fast sync read, which they answer with one packet: a third
    less on the wire. When it fails, which it does when one servo is silent or does not know it,
    each answers for itself, for a while.
    """

    STATUS_OVERHEAD = protocol.STATUS_OVERHEAD
    WEAK_CHECKSUM = False

    def __init__(self, port: Port, baud: int, parameters: BusParameters | None = None) -> None:
        super().__init__(port, baud, parameters)
        self._fast_from_s = -math.inf
        self._rest_s = _FIRST_REST_S

    def sync_read(self, address: int, size: int, ids: Sequence[int],
                  patience: int = 1) -> dict[int, Reply]:
        """Read the same registers of several servos; see `ServoBus`."""
        if len(ids) > 1 and self.port.now_s() >= self._fast_from_s:
            before, after = self._margins(address, size)
            whole = before + size + after
            replies = self._transact(
                protocol.fast_sync_read_packet(address - before, whole, ids), ids, whole,
                patience, _FastParser([whole] * len(ids)),
                _FAST_OVERHEAD + len(ids) * (_FAST_OVERHEAD_EACH + whole))
            if len(replies) == len(ids):
                self._rest_s = _FIRST_REST_S
                return self._cut(replies, before, size)
            self._fast_from_s = self.port.now_s() + self._rest_s
            self._rest_s = min(2 * self._rest_s, _LONGEST_REST_S)
        return super().sync_read(address, size, ids, patience)

    def ping(self, id: int, attempts: int | None = None) -> int:
        """Return a servo's model number, which it says whatever it is set to."""
        for patience in self._attempts(attempts):
            replies = self._transact(protocol.ping_packet(id), [id], _PING_SIZE, patience)
            if id in replies:
                return int.from_bytes(replies[id].data[:2], 'little')
        raise NoReplyError(id, self.garbled)

    def alarms(self, error: int) -> tuple[str, ...]:
        """Say that the servo has a hardware error; which one, its register says."""
        return ('hardware error',) if error & protocol.ALERT else ()

    def refusal(self, error: int) -> str:
        """Say why the servo did not do what was asked; '' when it did."""
        code = error & ~protocol.ALERT
        return protocol.ERRORS.get(code, f'error {code}') if code else ''

    def _read_packet(self, id: int, address: int, size: int) -> bytes:
        return protocol.read_packet(id, address, size)

    def _write_packet(self, id: int, address: int, data: bytes) -> bytes:
        return protocol.write_packet(id, address, data)

    def _sync_read_packet(self, address: int, size: int, ids: Sequence[int]) -> bytes:
        return protocol.sync_read_packet(address, size, ids)

    def _sync_write_packet(self, address: int, size: int, data: Mapping[int, bytes]) -> bytes:
        return protocol.sync_write_packet(address, size, data)

    def _parser(self) -> protocol.Parser:
        return protocol.Parser()
