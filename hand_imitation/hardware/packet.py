"""What a servo bus carries, whichever maker's."""

from __future__ import annotations

from dataclasses import dataclass

BROADCAST_ID = 0xFE
PING, READ, WRITE, REG_WRITE, ACTION, FACTORY_RESET = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
SYNC_READ, SYNC_WRITE = 0x82, 0x83
STATUS = 0x55


@dataclass(frozen=True)
class Packet:
    """One packet, checked and taken apart.

    Attributes:
        id: Whom an instruction is for, or whom a status is from.
        instruction: What to do; `STATUS` in a status packet.
        params: What follows it, without the error byte of a status packet.
        error: Error byte of a status packet; None in an instruction packet.
    """

    id: int
    instruction: int
    params: bytes = b''
    error: int | None = None
