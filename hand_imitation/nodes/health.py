"""What a node tells on /diagnostics: its rates, ages and reasons."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from hand_imitation.nodes import topics

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE


@dataclass(frozen=True)
class Part:
    """The health of a part of what a node looks after, such as one servo.

    Attributes:
        name: What it is called.
        level: `OK`, `WARN`, `ERROR` or `STALE`.
        message: One line for a person.
        hardware_id: Which device it is.
        values: By name.
    """

    name: str
    level: bytes
    message: str
    hardware_id: str
    values: dict[str, Any] = field(default_factory=dict)


class Health:
    """Publishes a node's health once a second, and at once when it changes.

    Args:
        node: The node.
        period_s: Time between two reports [s].
        parts: Called before each report; may `set` values, and returns the parts' health.
    """

    def __init__(
        self, node: Node, period_s: float = 1.0, parts: Callable[[], Sequence[Part]] = tuple,
    ) -> None:
        self._node = node
        self._parts = parts
        self._publisher = node.create_publisher(
            DiagnosticArray, topics.DIAGNOSTICS, topics.QOS[topics.DIAGNOSTICS])
        self._level: bytes = OK
        self._message = 'starting'
        self._said_s = time.monotonic()
        self._overdue: tuple[float, bytes, str] = (math.inf, OK, '')
        self._values: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._last_s: dict[str, float] = {}
        self._counts_then: dict[str, int] = {}
        self._then_s = time.monotonic()
        self._timer = node.create_timer(period_s, self.publish)

    def tick(self, event: str) -> None:
        """Count an event; its rate and age are reported.

        Args:
            event: What happened, such as 'frames'.
        """
        self._counts[event] = self._counts.get(event, 0) + 1
        self._last_s[event] = time.monotonic()

    def set(self, **values: Any) -> None:
        """Set values to be reported as they are.

        Args:
            **values: By name.
        """
        self._values.update(values)

    def state(self, level: bytes, message: str) -> None:
        """Say how the node is; a change is published at once.

        Args:
            level: `OK`, `WARN`, `ERROR` or `STALE`.
            message: One line for a person.
        """
        changed = (level, message) != (self._level, self._message)
        self._level, self._message = level, message
        self._said_s = time.monotonic()
        if changed:
            self.publish()

    def expect(self, within_s: float, level: bytes, message: str) -> None:
        """Report something else whenever `state` has not been called for a while.

        Args:
            within_s: For how long [s]; infinity expects nothing.
            level: As in `state`.
            message: As in `state`.
        """
        self._said_s = time.monotonic()
        self._overdue = (within_s, level, message)

    def publish(self) -> None:
        """Publish the report."""
        now_s = time.monotonic()
        parts = self._parts()
        values = dict(self._values)
        elapsed_s = now_s - self._then_s
        # Copies: other threads count while this one reports.
        for event, count in list(self._counts.items()):
            values[f'{event}'] = count
            values[f'{event}_age_s'] = f'{now_s - self._last_s[event]:.3f}'
            if elapsed_s > 0.2:
                rate_hz = (count - self._counts_then.get(event, 0)) / elapsed_s
                values[f'{event}_hz'] = self._values[f'{event}_hz'] = f'{rate_hz:.1f}'
        if elapsed_s > 0.2:
            self._counts_then, self._then_s = dict(self._counts), now_s
        within_s, level, words = self._overdue
        if now_s - self._said_s <= within_s:
            level, words = self._level, self._message
        name = self._node.get_fully_qualified_name().lstrip('/')
        message = DiagnosticArray(status=[
            _status(name, level, words, 'hand_imitation', values),
            *(_status(f'{name}: {part.name}', part.level, part.message, part.hardware_id,
                      part.values) for part in parts)])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def _status(
    name: str, level: bytes, words: str, hardware_id: str, values: dict[str, Any],
) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=level, name=name, message=words, hardware_id=hardware_id,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()])
