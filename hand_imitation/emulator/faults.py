"""What can go wrong on an emulated bus, by option and while it runs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hand_imitation.emulator.line import Answer
from hand_imitation.emulator.servo import FAULT_KINDS, EmulatedServo
from hand_imitation.errors import UserError

PACKET_FAULTS = {
    'drop': 'a packet is lost, either way',
    'corrupt': 'a byte of a packet is changed, either way',
    'truncate': 'an answer ends before its end',
    'delay': 'an answer comes late: ms=20',
    'duplicate': 'an answer comes twice',
    'wrong_id': 'an answer says it is from another servo',
    'wrong_length': 'an answer has more or fewer bytes, and a right checksum',
    'noise': 'rubbish comes before an answer',
}
"""Faults with a probability `p` per packet (default 0.05), of any servo or only of `id`."""
BUS_FAULTS = {
    'echo': 'the host hears what it says itself',
    'unplug': 'the adapter is pulled out',
    'replug': 'the adapter is plugged in again',
}
SERVO_FAULTS = {
    'dead': 'the servo says and hears nothing any more',
    'alive': 'a dead servo lives again',
    'reset': 'the servo loses power for a moment',
    'overload': 'it reports an overload, until heal',
    'voltage': 'it reports a wrong voltage, until heal',
    'heat': 'it reports being too hot, until heal',
    'sensor': 'it reports a defect of its sensor, until heal',
    'current': 'it reports too much current, until heal',
    'overheat': 'something heats it: rate=5 C/s, or at once to celsius=75',
    'undervoltage': 'it is supplied with volts=3, until heal',
    'jam': 'something holds its output fast, until heal',
    'load': 'a torque pulls, until heal: fraction=0.5 of stall',
    'move': 'a hand turns its output to ticks=2048 while its torque is off',
    'release': 'the hand lets go', 'heal': 'the causes of its faults are gone',
}
"""Faults of one servo, `id`, or of all without it."""

_SETTINGS: dict[str, dict[str, float]] = {
    **{name: {'p': 0.05, 'id': 0.0} for name in PACKET_FAULTS},
    **{name: {} for name in BUS_FAULTS},
    **{name: {'id': 0.0} for name in SERVO_FAULTS},
}
_SETTINGS['delay']['ms'] = 20.0
_SETTINGS['overheat'].update(rate=5.0, celsius=0.0)
_SETTINGS['undervoltage']['volts'] = 3.0
_SETTINGS['load']['fraction'] = 0.5
_SETTINGS['move']['ticks'] = 2048.0
for _times in _SETTINGS.values():
    _times.update({'at': 0.0, 'for': 0.0})


@dataclass(frozen=True)
class Fault:
    """One fault, when it begins, and for how long it lasts.

    Attributes:
        name: Of `PACKET_FAULTS`, `BUS_FAULTS` or `SERVO_FAULTS`.
        settings: All that apply to it, by name.
    """

    name: str
    settings: Mapping[str, float]

    @classmethod
    def make(cls, name: str, settings: Mapping[str, object]) -> Fault:
        """Check what a user asked for.

        Raises:
            UserError: unknown fault or setting, or a value out of range.
        """
        if name not in _SETTINGS:
            raise UserError(f'unknown fault {name!r}: choose from {", ".join(sorted(_SETTINGS))}')
        known = dict(_SETTINGS[name])
        for key, value in settings.items():
            if key not in known:
                raise UserError(f'fault {name} has no setting {key!r}: it has {", ".join(known)}')
            try:
                known[key] = float(value)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                raise UserError(f'fault {name}: {key} is {value!r}, give a number') from None
            if not 0 <= known[key] <= 1e6 or key == 'p' and known[key] > 1:
                raise UserError(f'fault {name}: {key} cannot be {value}')
        return cls(name, known)

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read `NAME` or `NAME:key=value,key=value`.

        Raises:
            UserError: it is not like that.
        """
        name, _, rest = text.partition(':')
        settings = {}
        for item in filter(None, rest.split(',')):
            key, equals, value = item.partition('=')
            if not equals:
                raise UserError(f'fault {text!r}: write NAME:key=value,key=value')
            settings[key.strip()] = value
        return cls.make(name.strip(), settings)


@dataclass
class Faults:
    """The faults of a bus: those that are on, and those whose time is still to come.

    Attributes:
        echo: Whether the host hears itself.
        unplugged: Whether the adapter is out.
        counts: How often each packet fault has struck.
    """

    echo: bool = False
    unplugged: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._packet: dict[str, Mapping[str, float]] = {}
        self._planned: list[tuple[float, Fault, bool]] = []
        self._random = random.Random(0)

    @classmethod
    def parse(cls, specs: Iterable[str]) -> Faults:
        """Make faults from what stands on a command line, to begin at the time each says."""
        faults = cls()
        for spec in specs:
            faults.add(Fault.parse(spec), 0.0)
        return faults

    def seed(self, seed: int) -> None:
        """Choose which packets are struck."""
        self._random.seed(seed)

    def add(self, fault: Fault, now_s: float) -> None:
        """Plan a fault; one without a time begins with the next call of `begin`."""
        start_s = now_s + fault.settings['at']
        self._planned.append((start_s, fault, True))
        if fault.settings['for']:
            self._planned.append((start_s + fault.settings['for'], fault, False))
        self._planned.sort(key=lambda planned: planned[0])

    def clear(self, name: str | None = None) -> None:
        """End a packet fault or the echo, or with no name all of them and what is planned."""
        if name is None:
            self._packet.clear()
            self._planned.clear()
            self.echo = False
        elif name == 'echo':
            self.echo = False
        elif self._packet.pop(name, None) is None:
            raise UserError(f'fault {name!r} is not on: on are {sorted(self._packet)}')

    @property
    def active(self) -> dict[str, Mapping[str, float]]:
        """The packet faults that are on, and their settings."""
        return dict(self._packet)

    @property
    def next_s(self) -> float | None:
        """When the next planned fault begins or ends [s]."""
        return self._planned[0][0] if self._planned else None

    def begin(self, now_s: float, servos: Sequence[EmulatedServo]) -> None:
        """Let everything begin or end whose time has come."""
        while self._planned and self._planned[0][0] <= now_s:
            _, fault, start = self._planned.pop(0)
            if fault.name in PACKET_FAULTS:
                if start:
                    self._packet[fault.name] = fault.settings
                else:
                    self._packet.pop(fault.name, None)
            elif fault.name == 'echo':
                self.echo = start
            elif fault.name in BUS_FAULTS:
                self.unplugged = (fault.name == 'unplug') is start
            else:
                for servo in servos:
                    if fault.settings['id'] in (0, servo.id):
                        _afflict(servo, fault.name if start else _CURES[fault.name],
                                 fault.settings)

    def strikes(self, name: str, id_: int = 0) -> bool:
        """Roll the dice for one packet."""
        settings = self._packet.get(name)
        if settings is None or settings['id'] not in (0, id_):
            return False
        if self._random.random() >= settings['p']:
            return False
        self.counts[name] = self.counts.get(name, 0) + 1
        return True

    def spoil(self, data: bytes) -> bytes:
        """Change one byte."""
        if not data:
            return data
        place = self._random.randrange(len(data))
        other = data[place] ^ self._random.randrange(1, 256)
        return data[:place] + bytes((other,)) + data[place + 1:]

    def rubbish(self, length: int) -> bytes:
        """Return random bytes."""
        return self._random.randbytes(length)

    def tamper(self, answer: Answer, ids: Sequence[int]) -> Answer:
        """Let an answer lie about who sent it, or hold another number of bytes."""
        if not self._packet or answer.frame is not None:
            return answer
        id_, params = answer.id, answer.params
        if self.strikes('wrong_id', answer.id):
            id_ = self._random.choice([other for other in ids if other != id_] or [id_ % 250 + 1])
        if self.strikes('wrong_length', answer.id):
            params = params[:-1] if params and self._random.random() < 0.5 else params + b'\0'
        return Answer(id_, answer.error, params, answer.delay_s, answer.chained)

    def mistreat(self, frame: bytes, id_: int) -> tuple[float, list[bytes]]:
        """Return how late an answer comes [s], and what of it."""
        if not self._packet:
            return 0.0, [frame]
        delay_s = self._packet['delay']['ms'] / 1000 if self.strikes('delay', id_) else 0.0
        if self.strikes('drop', id_):
            return delay_s, []
        if self.strikes('corrupt', id_):
            frame = self.spoil(frame)
        if self.strikes('truncate', id_):
            frame = frame[:self._random.randrange(1, len(frame))]
        frames = [frame, frame] if self.strikes('duplicate', id_) else [frame]
        if self.strikes('noise', id_):
            frames.insert(0, self.rubbish(self._random.randrange(1, 12)))
        return delay_s, frames


_CURES = {**dict.fromkeys(SERVO_FAULTS, 'heal'), 'dead': 'alive', 'move': 'release'}


def _afflict(servo: EmulatedServo, name: str, settings: Mapping[str, float]) -> None:
    """Let one thing happen to one servo."""
    motor = servo.motor
    if name in ('dead', 'alive'):
        servo.alive = name == 'alive'
    elif name == 'reset':
        servo.restart()
    elif name in FAULT_KINDS:
        servo.inject(name)
    elif name == 'overheat':
        if settings['celsius']:
            motor.temperature_c = settings['celsius']
        else:
            motor.heating_c_s = settings['rate']
    elif name == 'undervoltage':
        servo.volts = settings['volts']
    elif name == 'jam':
        motor.jammed = True
    elif name == 'load':
        motor.load = settings['fraction']
    elif name == 'move':
        motor.hand_rad = settings['ticks'] * servo.model.rad_per_tick
    elif name == 'release':
        motor.hand_rad = None
    elif name == 'heal':
        servo.heal()
