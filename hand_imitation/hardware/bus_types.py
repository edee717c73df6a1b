"""Words that everything on a servo bus shares: errors, patience, statistics, replies."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hand_imitation.parameters import check, parameter


class BusLostError(RuntimeError):
    """The bus is gone: the adapter unplugged, or no servo answers any more."""


class NoReplyError(RuntimeError):
    """A servo did not answer.

    Attributes:
        id: Which one.
        garbled: Whether bytes came that made no answer.
    """

    def __init__(self, id: int, garbled: bool) -> None:
        super().__init__(f'servo {id} does not answer' + (' clearly' if garbled else ''))
        self.id = id
        self.garbled = garbled


class RefusedError(RuntimeError):
    """A servo answered that it will not do what was asked.

    Attributes:
        id: Which one.
    """

    def __init__(self, id: int, reason: str) -> None:
        super().__init__(f'servo {id}: {reason}')
        self.id = id


@dataclass(frozen=True)
class BusParameters:
    """Patience on the bus."""

    reply_timeout_s: float = parameter(
        0.006, 'How long a reply may take beyond the time its bytes need; more for adapters that '
        'hold bytes back', lower=0.0005, upper=0.2, unit='s')
    quiet_s: float = parameter(
        0.003, 'How long the line must be quiet after a transaction that went wrong',
        lower=0.0005, upper=0.1, unit='s')
    attempts: int = parameter(
        3, 'How often a servo is asked before it counts as silent, except in the steady cycle',
        lower=1, upper=10)

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check(self)


@dataclass
class BusStatistics:
    """What happened on the bus since it was opened.

    Attributes:
        transactions: Questions asked, and writes.
        timeouts: Questions of which at least one answer did not come.
        retries: Questions asked again.
        bad_checksums: Packets with a wrong checksum.
        rejected: Packets that were whole but answered nothing that was asked.
        voided: Questions all of whose answers were thrown away because of one of those.
        stray_bytes: Bytes thrown away because nobody waited for them.
        echoes: Times the adapter gave back our own bytes.
        rests: Times the bus was left alone because nothing got through.
        lost: Answers that did not come, by servo id.
    """

    transactions: int = 0
    timeouts: int = 0
    retries: int = 0
    bad_checksums: int = 0
    rejected: int = 0
    voided: int = 0
    stray_bytes: int = 0
    echoes: int = 0
    rests: int = 0
    lost: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Reply:
    """What one servo answered.

    Attributes:
        data: The bytes asked for, all of them.
        error: The error byte.
        asked_s: When the question was put, on the port's clock: the data is no older [s].
    """

    data: bytes
    error: int
    asked_s: float
