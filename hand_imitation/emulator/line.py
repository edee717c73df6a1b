"""What the bus asks of a family of servos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hand_imitation.emulator.servo import EmulatedServo
from hand_imitation.hardware.packet import BROADCAST_ID, Packet

Hearing = Mapping[int, Sequence[EmulatedServo]]
"""The servos that heard an instruction, by id; two may have the same."""


@dataclass(frozen=True)
class Answer:
    """A status packet that a servo is about to send.

    Attributes:
        id: Whose.
        error: Its error byte.
        params: Its params.
        delay_s: Between the end of what came before it on the wire and its first byte [s].
        chained: Whether the servo waits to hear another one's answer first.
        frame: Its bytes, where they are no plain status packet.
    """

    id: int
    error: int
    params: bytes
    delay_s: float
    chained: bool
    frame: bytes | None = None


class InstructionParser(Protocol):
    """Finds instructions in a stream of bytes."""

    def feed_timed(self, data: bytes) -> list[tuple[Packet, int]]:
        """Return complete packets, and how many bytes came after each."""

    def reset(self) -> None:
        """Forget half a packet."""


class Line(ABC):
    """How the servos of one maker share a line.

    Attributes:
        parser: Of what they hear.
        status_packet: Makes the bytes of an answer.
        ping_slot_s: Servos that are all asked at once answer this long after one another, in
            the order of their ids [s].
    """

    parser: InstructionParser
    status_packet: Callable[[int, int, bytes], bytes]
    ping_slot_s: float

    @abstractmethod
    def answers(self, packet: Packet, servos: Hearing) -> Iterator[Answer]:
        """Carry out an instruction and yield the answers in the order they come.

        Args:
            packet: The instruction.
            servos: Those that heard it.
        """


def addressed(id_: int, servos: Hearing) -> Sequence[EmulatedServo]:
    """Return the servos a packet's id is about; by broadcast all, in the order of their ids."""
    if id_ == BROADCAST_ID:
        return [servo for key in sorted(servos) for servo in servos[key]]
    return servos.get(id_, ())


def by_id(servos: Sequence[EmulatedServo]) -> Hearing:
    """Sort servos by their ids."""
    sorted_: dict[int, list[EmulatedServo]] = {}
    for servo in servos:
        sorted_.setdefault(servo.id, []).append(servo)
    return sorted_
