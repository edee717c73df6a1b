"""One question on a servo bus and its answers: what is believed, and what is not.

No packet says which question it answers, so a reply that comes late looks like the answer to
the next question. Six things keep it, and everything else that is not an answer, out:

- Before a question, whatever has come in is thrown away.
- A reply counts only with the id that was asked, in the order asked, and the length asked for.
- Reads begin a few bytes before the register wanted, at a distance that gives them a length
  that no answer still to come can have.
- A packet that nobody asked for makes all answers to the same question void; where the checksum
  is weak, any rubbish does. Of several answers, those next to a missing one may be under a false
  id, and are not believed.
- After anything that went wrong, the line has to be quiet for a while before the next question.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from hand_imitation.hardware.answer_lengths import AnswerLengths
from hand_imitation.hardware.bus_types import (
    BusLostError,
    BusParameters,
    BusStatistics,
    NoReplyError,
    RefusedError,
    Reply,
)
from hand_imitation.hardware.packet import Packet
from hand_imitation.hardware.port import Port, PortLostError
from hand_imitation.hardware.registers import Model, Register, decode, encode

_BITS_PER_BYTE = 10
_REST_S = 0.025
"""Servos that have heard half a packet forget it in a silence of this length."""


class _Hearing:
    """What has been heard in answer to one question."""

    def __init__(self, waiting: list[int], size: int, asked_s: float) -> None:
        self.waiting, self.size = waiting, size
        self.asked_s = self.last_s = asked_s
        self.replies: dict[int, Reply] = {}
        self.rejected = self.repeated = 0

    def take(self, packets: Sequence[Packet]) -> bool:
        """Sort packets out; say whether an answer was among them."""
        found = False
        for packet in packets:
            reply = Reply(packet.params, packet.error or 0, self.asked_s)
            fits = packet.error is not None and len(packet.params) == self.size
            if fits and packet.id in self.waiting:
                self.replies[packet.id] = reply
                self.waiting = self.waiting[self.waiting.index(packet.id) + 1:]
                found = True
            elif self.replies.get(packet.id) == reply:
                # The same answer twice says nothing new.
                self.repeated += 1
            else:
                self.rejected += 1
        return found


class PacketParser(Protocol):
    """Finds status packets in a stream of bytes."""

    @property
    def bad_checksums(self) -> int:
        """Packets so far with a wrong checksum."""

    @property
    def discarded_bytes(self) -> int:
        """Bytes so far that belonged to no packet."""

    def feed(self, data: bytes) -> list[Packet]:
        """Take more bytes and return the packets that are complete now."""


class ServoBus(ABC):
    """Questions and answers; what the packets look like is left to the families.

    Args:
        port: Where bytes go in and out. The bus does not close it.
        baud: Bits per second.
        parameters: Patience.

    Attributes:
        statistics: What happened so far.
        garbled: Whether bytes came in the last question that went wrong.
    """

    STATUS_OVERHEAD: int
    """Bytes of a status packet without params."""
    WEAK_CHECKSUM: bool
    """Whether two halves of different packets can easily pass for a whole one."""

    def __init__(self, port: Port, baud: int, parameters: BusParameters | None = None) -> None:
        self.port = port
        self.parameters = parameters or BusParameters()
        self.statistics = BusStatistics()
        self._baud = baud
        self._lengths = AnswerLengths()
        self._echoes = False
        self.garbled = False

    @abstractmethod
    def alarms(self, error: int) -> tuple[str, ...]:
        """Say in words what trouble of its own a servo reports in the error byte."""

    @abstractmethod
    def refusal(self, error: int) -> str:
        """Say in words why a servo did not do what was asked; '' when it did."""

    @abstractmethod
    def _read_packet(self, id: int, address: int, size: int) -> bytes: ...

    @abstractmethod
    def _write_packet(self, id: int, address: int, data: bytes) -> bytes: ...

    @abstractmethod
    def _sync_read_packet(self, address: int, size: int, ids: Sequence[int]) -> bytes: ...

    @abstractmethod
    def _sync_write_packet(self, address: int, size: int, data: Mapping[int, bytes]) -> bytes: ...

    @abstractmethod
    def _parser(self) -> PacketParser: ...

    @abstractmethod
    def ping(self, id: int, attempts: int | None = None) -> int:
        """Return a servo's model number; raises as `read` does."""

    def answers_at_once(self, id: int, address: int, size: int) -> bool:
        """Ask one servo for registers, and say whether more than one seems to answer.

        Raises:
            BusLostError: The port is gone.
        """
        try:
            self.read(id, address, size, attempts=1)
            return self.port.drain(self.parameters.quiet_s) > 0
        except NoReplyError as error:
            return error.garbled
        except RefusedError:
            return False
        except PortLostError as error:
            raise BusLostError(str(error)) from error

    def settle(self) -> None:
        """Throw away what nobody asked for, and wait until no more comes."""
        try:
            self._settle()
        except PortLostError as error:
            raise BusLostError(str(error)) from error

    def set_baud(self, baud: int) -> None:
        """Go on at another baud rate."""
        self._baud = baud
        try:
            self.port.set_baud(baud)
            self._settle()
        except PortLostError as error:
            raise BusLostError(str(error)) from error

    def read(self, id: int, address: int, size: int, attempts: int | None = None,
             patience: int = 1) -> Reply:
        """Read registers of one servo.

        Args:
            id: Which servo.
            address: First register.
            size: Bytes.
            attempts: How often to ask; None for as often as the parameters say.
            patience: How many times the usual timeout to wait, at the first attempt.

        Raises:
            NoReplyError: No answer that can be believed.
            RefusedError: The servo answered that it cannot.
            BusLostError: The port is gone.
        """
        for factor in self._attempts(attempts):
            before, after = self._margins(address, size)
            request = self._read_packet(id, address - before, before + size + after)
            replies = self._transact(request, [id], before + size + after,
                                     patience * factor)
            if id in replies:
                reply = replies[id]
                self._check_accepted(id, reply.error)
                return Reply(reply.data[before:before + size], reply.error, reply.asked_s)
        raise NoReplyError(id, self.garbled)

    def write(self, id: int, address: int, data: bytes, attempts: int | None = None) -> None:
        """Write registers of one servo, which confirms it.

        Only reading back proves that it was this write that was confirmed.

        Raises:
            NoReplyError: No confirmation; the servo may have written it all the same.
            RefusedError: The servo answered that it will not.
            BusLostError: The port is gone.
        """
        for patience in self._attempts(attempts):
            replies = self._transact(self._write_packet(id, address, data), [id], 0, patience)
            if id in replies:
                self._check_accepted(id, replies[id].error)
                return
        raise NoReplyError(id, self.garbled)

    def sync_read(self, address: int, size: int, ids: Sequence[int],
                  patience: int = 1) -> dict[int, Reply]:
        """Read the same registers of several servos.

        Args:
            address: First register.
            size: Bytes.
            ids: Which servos, in the order they are to answer.
            patience: How many times the usual timeout to wait.

        Returns:
            The answers that came and can be believed, by id; possibly none.

        Raises:
            BusLostError: The port is gone.
        """
        before, after = self._margins(address, size)
        whole = before + size + after
        request = self._sync_read_packet(address - before, whole, ids)
        return self._cut(self._transact(request, ids, whole, patience), before, size)

    def _cut(self, replies: Mapping[int, Reply], before: int, size: int) -> dict[int, Reply]:
        """Return the answers of servos that did what was asked, with the bytes wanted."""
        return {id_: Reply(reply.data[before:before + size], reply.error, reply.asked_s)
                for id_, reply in replies.items() if not self.refusal(reply.error)}

    def sync_write(self, address: int, data: Mapping[int, bytes]) -> None:
        """Write the same registers of several servos, which nobody confirms.

        Raises:
            BusLostError: The port is gone.
        """
        if not data:
            return
        size = len(next(iter(data.values())))
        request = self._sync_write_packet(address, size, data)
        try:
            self._settle()
            self.statistics.transactions += 1
            self.port.write(request)
            if self._echoes:
                self._swallow_echo(request)
        except PortLostError as error:
            raise BusLostError(str(error)) from error

    def read_register(self, id: int, model: Model, name: str) -> int:
        """Read one register of a servo; raises as `read` does."""
        register = model.registers[name]
        reply = self.read(id, register.address, register.size)
        return decode(register, reply.data, model.byte_order)

    def write_register(self, id: int, model: Model, name: str, value: int) -> None:
        """Write one register of a servo and read it back.

        Raises:
            RefusedError: The servo will not, or holds another value afterwards.
            NoReplyError: It does not answer.
            BusLostError: The port is gone.
        """
        register = model.registers[name]
        data = encode(register, value, model.byte_order)
        held = None
        for _ in range(self.parameters.attempts):
            # Without a reply it may have been written: what the register holds now decides.
            with contextlib.suppress(NoReplyError):
                self.write(id, register.address, data)
            held = self.read_register(id, model, name)
            if held == value:
                return
        raise RefusedError(id, f'it holds {held} in {name} after {value} was written')

    def rest(self) -> None:
        """Leave the bus alone until servos have forgotten half a packet, if they heard one."""
        self.statistics.rests += 1
        self.port.sleep(_REST_S)

    def _attempts(self, attempts: int | None) -> Iterator[int]:
        """Give each attempt's patience, twice that of the one before.

        Before the last of several the bus rests.
        """
        most = attempts or self.parameters.attempts
        for attempt in range(most):
            self.statistics.retries += attempt > 0
            if 1 < attempt == most - 1:
                self.rest()
            yield 1 << attempt

    def _margins(self, address: int, size: int) -> tuple[int, int]:
        """Choose how many bytes to read before and behind what is wanted."""
        extra = self._lengths.extra(size, self.port.now_s())
        before = min(extra, address)
        return before, extra - before

    def _transact(self, request: bytes, ids: Sequence[int], size: int, patience: int = 1,
                  parser: PacketParser | None = None, packet_size: int = 0) -> dict[int, Reply]:
        """Send a question and return the answers to be believed.

        Args:
            request: The question.
            ids: Who is to answer, in this order.
            size: Bytes in each answer.
            patience: How many times the usual timeout to wait.
            parser: Finds the answers; one of the family's by default.
            packet_size: Bytes of a whole answer on the wire; by default one status packet.
        """
        try:
            return self._ask(
                request, ids, size, self._wire_s(packet_size or self.STATUS_OVERHEAD + size)
                + self.parameters.reply_timeout_s * patience, parser or self._parser())
        except PortLostError as error:
            raise BusLostError(str(error)) from error

    def _ask(self, request: bytes, ids: Sequence[int], size: int, patience_s: float,
             parser: PacketParser) -> dict[int, Reply]:
        self._settle()
        self.statistics.transactions += 1
        asked_s = self.port.now_s()
        self.port.write(request)
        hearing = _Hearing(list(ids), size, asked_s)
        deadline_s = asked_s + self._wire_s(len(request)) + patience_s
        start: bytes | None = b''  # what has come while it may still be our own echo
        while hearing.waiting:
            now_s = self.port.now_s()
            data = self.port.read(deadline_s - now_s)
            # The last look is without waiting: this thread may have been asleep meanwhile.
            if not data and now_s >= deadline_s:
                break
            if data:
                hearing.last_s = self.port.now_s()
                if start is not None:
                    start += data
                    if request.startswith(start) and start != request:
                        continue
                    data, start = self._without_echo(start, request), None
            if hearing.take(parser.feed(data)):
                deadline_s = self.port.now_s() + patience_s
            elif now_s >= deadline_s:
                break
        self.statistics.bad_checksums += parser.bad_checksums
        self.statistics.rejected += hearing.rejected
        if len(hearing.replies) == len(ids) and not (
                hearing.rejected or parser.discarded_bytes or hearing.repeated):
            return hearing.replies
        suspect = hearing.rejected > 0 or (self.WEAK_CHECKSUM and parser.discarded_bytes > 0)
        return self._believed(ids, hearing, suspect)

    def _believed(self, ids: Sequence[int], hearing: _Hearing, suspect: bool) -> dict[int, Reply]:
        """After something went wrong: wait for quiet, and decide what can still be believed."""
        replies, now_s = hearing.replies, self.port.now_s()
        self.garbled = hearing.last_s > hearing.asked_s
        self.statistics.timeouts += bool(hearing.waiting)
        dropped = 0
        if now_s - hearing.last_s < self.parameters.quiet_s:
            dropped = self.port.drain(self.parameters.quiet_s)
            self.statistics.stray_bytes += dropped
        if len(replies) < len(ids):
            self._lengths.owe(hearing.size, now_s)
            # What came under the id of a later servo seems to be the last answer while others
            # still come.
            suspect = suspect or dropped > 0
        if suspect:
            self.statistics.voided += bool(replies)
            replies = {}
        missing = [number for number, id_ in enumerate(ids) if id_ not in replies]
        self.statistics.lost.update(ids[number] for number in missing)
        doubtful = {near for number in missing for near in (number - 1, number + 1)}
        return {id_: replies[id_] for number, id_ in enumerate(ids)
                if id_ in replies and number not in doubtful}

    def _settle(self) -> None:
        """Throw away what nobody asked for; where there is any, wait until no more comes."""
        stray = len(self.port.read(0.0))
        if stray:
            stray += self.port.drain(self.parameters.quiet_s)
            self.statistics.stray_bytes += stray

    def _without_echo(self, received: bytes, request: bytes) -> bytes:
        """Take our own bytes from the front of what came first after a question.

        No answer begins with the bytes of its question: they differ in length.
        """
        if not received.startswith(request):
            self._echoes = False
            return received
        self._echoes = True
        self.statistics.echoes += 1
        return received[len(request):]

    def _swallow_echo(self, request: bytes) -> None:
        """Wait for our own bytes after a write that nobody confirms."""
        deadline_s = (self.port.now_s() + self._wire_s(len(request))
                      + self.parameters.reply_timeout_s)
        received = b''
        while len(received) < len(request) and self.port.now_s() < deadline_s:
            received += self.port.read(deadline_s - self.port.now_s())
        self._echoes = received == request
        self.statistics.echoes += self._echoes
        if not self._echoes:
            self.statistics.stray_bytes += (
                len(received) + self.port.drain(self.parameters.quiet_s))

    def _check_accepted(self, id: int, error: int) -> None:
        reason = self.refusal(error)
        if reason:
            raise RefusedError(id, reason)

    def _wire_s(self, count: int) -> float:
        """Time that bytes take on the wire [s]."""
        return count * _BITS_PER_BYTE / self._baud


def decode_block(model: Model, names: Sequence[str], address: int, data: bytes) -> dict[str, int]:
    """Decode registers out of a block of bytes that holds them.

    Args:
        model: Whose registers.
        names: Which of them.
        address: Of the block's first byte.
        data: The block.
    """
    registers: list[Register] = [model.registers[name] for name in names]
    return {register.name: decode(
        register, data[register.address - address:register.end - address], model.byte_order)
        for register in registers}
