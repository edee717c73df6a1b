"""A servo bus at the level of bytes and their times: no threads, no clock of its own.

Ten bits make a byte on the wire. The line is half duplex: where host and servos speak at the
same time, the host hears nothing and the servos hear rubbish.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hand_imitation.emulator.dynamixel import DynamixelLine, DynamixelServo
from hand_imitation.emulator.faults import Faults
from hand_imitation.emulator.feetech import FeetechLine, FeetechServo
from hand_imitation.emulator.line import Answer, Line, by_id
from hand_imitation.emulator.motor import STEP_S
from hand_imitation.emulator.record import WireEvent, WireRecord
from hand_imitation.emulator.servo import EmulatedServo
from hand_imitation.errors import UserError
from hand_imitation.hardware.packet import BROADCAST_ID, PING, Packet
from hand_imitation.hardware.registers import MODELS

BITS_PER_BYTE = 10
"""Start bit, eight of data, stop bit."""

_HALF_PACKET_S = 0.02  # silence after which servos forget half a packet
_EARLY_S = 1e-9  # for rounding


@dataclass
class _Segment:
    """Bytes on their way to the host; `whole` ones are not on the wire but late in an adapter."""

    start_s: float
    data: bytes
    byte_s: float
    chained: bool = False
    whole: bool = False
    read: int = 0

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.data) * self.byte_s


class EmulatedBus:
    """Servos on a line.

    Attributes:
        servos: All of them, dead ones too. Two may have the same id.
        host_baud: The rate the host has set; servos at other rates understand nothing.
        faults: What is going wrong.
        record: What the host has written.
        collisions: How often host and servos have spoken at the same time.
        instructions: Packets the servos have heard.
        answers: Packets they have sent.
    """

    def __init__(self, servos: Sequence[EmulatedServo], line: Line, baud: int,
                 faults: Faults | None = None, seed: int = 0) -> None:
        """Put servos on a line.

        Args:
            servos: They may have different rates.
            line: How they answer.
            baud: What the host's rate is at first.
            faults: What goes wrong from the start.
            seed: Of what chance decides about faults.
        """
        self.servos = list(servos)
        self.host_baud = baud
        self.faults = faults if faults is not None else Faults()
        self.faults.seed(seed)
        self.record = WireRecord()
        self.collisions = 0
        self.instructions = 0
        self.answers = 0
        self._line = line
        self._random = random.Random(seed)
        self._now_s = 0.0
        self._servos_s = 0.0
        self._host_free_s = 0.0
        self._inbox: deque[tuple[float, float, Packet]] = deque()
        self._outbox: list[_Segment] = []
        for servo in self.servos:
            servo.on_write = self._record_write

    def add(self, servo: EmulatedServo) -> None:
        """Put one more servo on the line."""
        servo.on_write = self._record_write
        self.servos.append(servo)

    @property
    def wire(self) -> Sequence[WireEvent]:
        """The latest register writes, oldest first."""
        return self.record.events

    @property
    def on_write(self) -> Callable[[WireEvent], None] | None:
        """Told of each register write as it happens."""
        return self.record.listener

    @on_write.setter
    def on_write(self, listener: Callable[[WireEvent], None] | None) -> None:
        self.record.listener = listener

    def servo(self, id: int) -> EmulatedServo:
        """Return the servo with an id; KeyError when there is none."""
        for servo in self.servos:
            if servo.id == id:
                return servo
        raise KeyError(id)

    def receive(self, data: bytes, now_s: float) -> None:
        """Take bytes that the host hands to its adapter now, behind those still being sent."""
        self.advance(now_s)
        if self.faults.unplugged or not data:
            return
        byte_s = BITS_PER_BYTE / self.host_baud
        start_s = max(now_s, self._host_free_s)
        end_s = start_s + len(data) * byte_s
        if start_s - self._host_free_s > _HALF_PACKET_S:
            self._line.parser.reset()
        self._host_free_s = end_s
        data, echo = self._talk_over_answers(data, start_s, end_s), data
        if self.faults.echo:
            self._send(_Segment(start_s, echo, byte_s))
        if self.faults.strikes('corrupt'):
            data = self.faults.spoil(data)
        packet_start_s = start_s
        for packet, left in self._line.parser.feed_timed(data):
            packet_end_s = end_s - left * byte_s
            if not self.faults.strikes('drop', packet.id):
                self._inbox.append((packet_start_s, packet_end_s, packet))
            packet_start_s = packet_end_s

    def advance(self, now_s: float) -> None:
        """Let everything happen that happens until `now_s`."""
        while True:
            packet_s = self._inbox[0][1] if self._inbox else math.inf
            fault_s = self.faults.next_s
            due_s = packet_s if fault_s is None else min(packet_s, fault_s)
            if due_s > now_s + _EARLY_S:
                break
            self._move(due_s)
            if due_s == packet_s:
                self._carry_out(self._inbox.popleft()[2], packet_s)
            else:
                self._move_servos(due_s)
                self.faults.begin(due_s, self.servos)
                if self.faults.unplugged:
                    self._inbox.clear()
                    self._outbox.clear()
        self._move(now_s)

    def outgoing(self, now_s: float) -> bytes:
        """Return the bytes that the host has received by now and not yet been given."""
        self.advance(now_s)
        given = b''
        while self._outbox and self._outbox[0].start_s <= now_s:
            segment = self._outbox[0]
            count = len(segment.data)
            if segment.end_s > now_s + _EARLY_S:
                count = int((now_s - segment.start_s) / segment.byte_s + 1e-6)
                if segment.whole or count <= segment.read:
                    break
            given += segment.data[segment.read:count]
            segment.read = count
            if count < len(segment.data):
                break
            del self._outbox[0]
        return given

    def next_byte_s(self) -> float | None:
        """When the next byte to the host is due, as far as is known now [s]; None for none."""
        if not self._outbox:
            return None
        segment = self._outbox[0]
        return segment.end_s if segment.whole else (
            segment.start_s + (segment.read + 1) * segment.byte_s)

    def next_event_s(self) -> float | None:
        """When the next thing happens: an instruction, an answer complete, a fault [s]."""
        times = [self._inbox[0][1]] if self._inbox else []
        if self._outbox:
            times.append(self._outbox[0].end_s)
        if self.faults.next_s is not None:
            times.append(self.faults.next_s)
        return min(times, default=None)

    @property
    def host_free_s(self) -> float:
        """When the last byte of what the host has handed over is on the wire [s]."""
        return self._host_free_s

    @property
    def answered_s(self) -> float | None:
        """When the last byte that is on its way to the host has come [s]; None for none."""
        return max((segment.end_s for segment in self._outbox), default=None)

    def status(self) -> dict[str, Any]:
        """Return how servos and bus are doing, for people and programs."""
        parser = self._line.parser
        self._move_servos(self._now_s)
        return {
            'time_s': round(self._now_s, 6), 'host_baud': self.host_baud,
            'instructions': self.instructions, 'answers': self.answers,
            'collisions': self.collisions, 'bad_checksums': getattr(parser, 'bad_checksums', 0),
            'faults': {name: dict(settings) for name, settings in self.faults.active.items()},
            'fault_counts': self.faults.counts, 'echo': self.faults.echo,
            'unplugged': self.faults.unplugged,
            'servos': [servo.status() for servo in self.servos]}

    def _move(self, now_s: float) -> None:
        """Let time pass for the servos, but only where they might take note of it."""
        self._now_s = max(self._now_s, now_s)
        if now_s >= self._servos_s + STEP_S:
            self._move_servos(now_s)

    def _move_servos(self, now_s: float) -> None:
        self._servos_s = now_s
        for servo in self.servos:
            servo.advance(now_s)

    def _record_write(self, servo: EmulatedServo, register: str, value: int,
                      accepted: bool) -> None:
        self.record.add(WireEvent(self._now_s, servo.id, register, value, accepted))

    def _carry_out(self, packet: Packet, now_s: float) -> None:
        """Let the servos carry out an instruction, and put their answers on the wire."""
        self._move_servos(now_s)
        self.instructions += 1
        hearing = by_id([servo for servo in self.servos
                         if servo.listening and servo.baud == self.host_baud])
        ids = list(hearing)
        byte_s = BITS_PER_BYTE / self.host_baud
        slot_s = (self._line.ping_slot_s
                  if packet.id == BROADCAST_ID and packet.instruction == PING else 0.0)
        free_s = now_s
        for answer in _collided(list(self._line.answers(packet, hearing)), self._line):
            answer = self.faults.tamper(answer, ids)
            frame = answer.frame or self._line.status_packet(
                answer.id, answer.error, answer.params)
            start_s = max(free_s, now_s + slot_s * answer.id) + answer.delay_s
            free_s = start_s + len(frame) * byte_s
            self.answers += 1
            delay_s, frames = self.faults.mistreat(frame, answer.id)
            start_s += delay_s
            for data in frames:
                self._send(_Segment(start_s, data, byte_s, answer.chained, delay_s > 0))
                start_s += len(data) * byte_s

    def _send(self, segment: _Segment) -> None:
        """Put bytes on their way to the host, unless it is speaking itself."""
        if segment.start_s < self._host_free_s - _EARLY_S and not self.faults.echo:
            self.collisions += 1
            # What the host was saying meanwhile has been heard by nobody.
            self._inbox = deque(
                entry for entry in self._inbox
                if entry[0] >= segment.end_s or entry[1] <= segment.start_s)
            lost = math.ceil((self._host_free_s - segment.start_s) / segment.byte_s - 1e-6)
            if lost >= len(segment.data):
                return
            segment = replace(segment, data=segment.data[lost:],
                              start_s=segment.start_s + lost * segment.byte_s)
        place = len(self._outbox)
        while place and self._outbox[place - 1].start_s > segment.start_s:
            place -= 1
        self._outbox.insert(place, segment)

    def _talk_over_answers(self, data: bytes, start_s: float, end_s: float) -> bytes:
        """Let the host speak: return what servos hear of it, and cut what it does not hear."""
        kept: list[_Segment] = []
        for segment in self._outbox:
            if segment.whole or segment.end_s <= start_s + _EARLY_S:
                kept.append(segment)
            elif segment.start_s >= end_s - _EARLY_S:
                # A servo that waits for another's answer gives up when it hears the host.
                if not segment.chained:
                    kept.append(segment)
            else:
                self.collisions += 1
                data = self._garble(data, segment, start_s)
                heard = max(int((start_s - segment.start_s) / segment.byte_s + 1e-6), 0)
                if heard > segment.read:
                    kept.append(replace(segment, data=segment.data[:heard]))
        self._outbox = kept
        return data

    def _garble(self, data: bytes, segment: _Segment, start_s: float) -> bytes:
        """Spoil the bytes of the host that a servo spoke over."""
        first = max(int((segment.start_s - start_s) / segment.byte_s), 0)
        last = min(math.ceil((segment.end_s - start_s) / segment.byte_s), len(data))
        spoiled = bytes(byte ^ self._random.randrange(1, 256) for byte in data[first:last])
        return data[:first] + spoiled + data[last:]


def _collided(answers: list[Answer], line: Line) -> list[Answer]:
    """Let servos with the same id answer at the same time: a 0 of either is a 0 on the wire."""
    merged: list[Answer] = []
    for answer in answers:
        if merged and merged[-1].id == answer.id and answer.frame is None:
            frames = [other.frame or line.status_packet(other.id, other.error, other.params)
                      for other in (merged[-1], answer)]
            frames.sort(key=len)
            both = bytes(a & b for a, b in zip(*frames)) + frames[1][len(frames[0]):]  # noqa: B905
            merged[-1] = replace(merged[-1], frame=both)
        else:
            merged.append(answer)
    return merged


def make_bus(protocol: str, servos: int = 12, baud: int = 1_000_000, model: str | None = None,
             positions: Sequence[float] | None = None, faults: Faults | None = None,
             seed: int = 0, ids: Sequence[int] | None = None) -> EmulatedBus:
    """Make a bus of equal servos.

    Args:
        protocol: 'dynamixel' or 'feetech'.
        servos: How many.
        baud: Rate of the bus.
        model: A key of `MODELS`; XL330-M288 or STS3215 by default.
        positions: Where they stand at first [ticks]; the middle by default.
        faults: What goes wrong from the start.
        seed: Of what chance decides about faults.
        ids: Of the servos, in place of their number; 1, 2, 3, ... by default.

    Raises:
        UserError: no such protocol, model or rate, or ids that no servo can have.
    """
    kinds = {'dynamixel': (DynamixelServo, DynamixelLine, 'XL330-M288'),
             'feetech': (FeetechServo, FeetechLine, 'STS3215')}
    if protocol not in kinds:
        raise UserError(f'unknown protocol {protocol!r}: choose dynamixel or feetech')
    make_servo, make_line, usual = kinds[protocol]
    model = model or usual
    if model not in MODELS or MODELS[model].protocol != protocol:
        fitting = ', '.join(name for name, m in MODELS.items() if m.protocol == protocol)
        raise UserError(f'unknown {protocol} servo {model!r}: choose from {fitting}')
    if baud not in make_servo.bauds:
        raise UserError(f'{protocol} servos have no baud rate of {baud}: choose from '
                        f'{", ".join(str(rate) for rate in sorted(make_servo.bauds))}')
    ids = range(1, servos + 1) if ids is None else ids
    if not ids or not all(0 <= id_ < BROADCAST_ID - 1 for id_ in ids):
        raise UserError(f'ids {list(ids)[:5]}...: give at least one, from 0 to 252')
    places = positions if positions is not None else [None] * len(ids)
    made = [make_servo(MODELS[model], id_, baud, place)
            for id_, place in zip(ids, places, strict=True)]
    return EmulatedBus(made, make_line(), baud, faults, seed)


def dynamixel_bus(servos: int = 12, **options: Any) -> EmulatedBus:
    """Make a bus of Dynamixels; see `make_bus`."""
    return make_bus('dynamixel', servos, **options)


def feetech_bus(servos: int = 12, **options: Any) -> EmulatedBus:
    """Make a bus of Feetech servos; see `make_bus`."""
    return make_bus('feetech', servos, **options)
