"""What came over the wire, as the servos understood it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class WireEvent:
    """One register of one servo written by the host.

    Attributes:
        time_s: When the last byte of the instruction had come [s].
        id: Of the servo.
        register: Its name.
        value: What it holds, or would hold had the servo accepted it.
        accepted: Whether the servo did.
    """

    time_s: float
    id: int
    register: str
    value: int
    accepted: bool


@dataclass
class _Summary:
    count: int = 0
    refused: int = 0
    least: int | None = None
    greatest: int | None = None
    last: int | None = None
    last_s: float = 0.0
    max_step: int = 0
    max_gap_s: float = 0.0


@dataclass
class WireRecord:
    """The latest writes one by one, and all of them in figures.

    Attributes:
        events: The latest.
        listener: Told of each.
    """

    events: deque[WireEvent] = field(default_factory=lambda: deque(maxlen=20_000))
    listener: Callable[[WireEvent], None] | None = None
    _summaries: dict[tuple[int, str], _Summary] = field(default_factory=dict)

    def add(self, event: WireEvent) -> None:
        """Take one more."""
        self.events.append(event)
        if self.listener is not None:
            self.listener(event)
        key = event.id, event.register
        summary = self._summaries.get(key)
        if summary is None:
            summary = self._summaries[key] = _Summary()
        if not event.accepted:
            summary.refused += 1
            return
        value = event.value
        if summary.last is None or summary.least is None or summary.greatest is None:
            summary.least = summary.greatest = value
        else:
            summary.least = min(summary.least, value)
            summary.greatest = max(summary.greatest, value)
            summary.max_step = max(summary.max_step, abs(value - summary.last))
            summary.max_gap_s = max(summary.max_gap_s, event.time_s - summary.last_s)
        summary.count += 1
        summary.last, summary.last_s = value, event.time_s

    def figures(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return by id and register: how many writes, of what values, how far apart."""
        figures: dict[str, dict[str, dict[str, Any]]] = {}
        for (id_, register), summary in sorted(self._summaries.items()):
            figures.setdefault(str(id_), {})[register] = {
                'count': summary.count, 'refused': summary.refused, 'min': summary.least,
                'max': summary.greatest, 'last': summary.last,
                'last_s': round(summary.last_s, 6), 'max_step': summary.max_step,
                'max_gap_s': round(summary.max_gap_s, 6)}
        return figures

    def clear(self) -> None:
        """Forget everything so far."""
        self.events.clear()
        self._summaries.clear()
