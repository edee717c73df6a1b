"""The Feetech bus: STS and SCS servos."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from hand_imitation.hardware import feetech_protocol as protocol
from hand_imitation.hardware.bus import BusParameters, NoReplyError, Reply, ServoBus
from hand_imitation.hardware.port import Port
from hand_imitation.hardware.registers import Model, decode


class FeetechBus(ServoBus):
    """Questions and answers in Feetech's protocol; see `ServoBus`.

    Args:
        port: Where bytes go in and out.
        baud: Bits per second.
        parameters: Patience.
        model: Of the servos, which are all of one series: SCS servos do not know sync read, and
            have another byte order.
    """

    STATUS_OVERHEAD = protocol.STATUS_OVERHEAD
    WEAK_CHECKSUM = True

    def __init__(self, port: Port, baud: int, model: Model,
                 parameters: BusParameters | None = None) -> None:
        super().__init__(port, baud, parameters)
        self._model = model

    def ping(self, id: int, attempts: int | None = None) -> int:
        """Return a servo's model number.

        By reading it: the answer to Feetech's own ping can be the same bytes as the question.
        """
        register = self._model.registers['model_number']
        reply = self.read(id, register.address, register.size, attempts)
        return decode(register, reply.data, self._model.byte_order)

    def sync_read(self, address: int, size: int, ids: Sequence[int],
                  patience: int = 1) -> dict[int, Reply]:
        """Read the same registers of several servos; see `ServoBus.sync_read`."""
        if self._model.has_sync_read:
            return super().sync_read(address, size, ids, patience)
        replies = {}
        for id_ in ids:
            with contextlib.suppress(NoReplyError):
                replies[id_] = self.read(id_, address, size, 1, patience)
        return replies

    def alarms(self, error: int) -> tuple[str, ...]:
        """Say what trouble of its own a servo reports in the error byte."""
        known = tuple(words for bit, words in protocol.ERRORS.items() if error & bit)
        rest = error & ~sum(protocol.ERRORS)
        return known + ((f'error {rest}',) if rest else ())

    def refusal(self, error: int) -> str:
        """Return '': these servos do as told, or do nothing, without a word."""
        return ''

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
