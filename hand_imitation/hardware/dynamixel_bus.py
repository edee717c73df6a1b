"""The Dynamixel bus, Protocol 2.0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hand_imitation.hardware import dynamixel_protocol as protocol
from hand_imitation.hardware.bus import NoReplyError, ServoBus

_PING_SIZE = 3


class DynamixelBus(ServoBus):
    """Questions and answers in Protocol 2.0; see `ServoBus`."""

    STATUS_OVERHEAD = protocol.STATUS_OVERHEAD
    WEAK_CHECKSUM = False

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
