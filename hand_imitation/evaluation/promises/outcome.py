"""What became of one promise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """A promise, the fault injected against it, and what was measured.

    Attributes:
        promise: What shall hold.
        fault: What was done, to whom, how often.
        bound: What the measurement must not exceed, with its unit.
        measured: What it was, with its unit.
        held: Whether the promise was kept.
    """

    promise: str
    fault: str
    bound: str
    measured: str
    held: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it as it stands in `hand-imitation bench safety --json`."""
        return asdict(self)
