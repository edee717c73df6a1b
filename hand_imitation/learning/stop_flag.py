"""A wish to stop, seen by whoever works."""

from __future__ import annotations


class StopFlag:
    """Set when the user wants to stop; whoever learns looks at it again and again."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        """Ask to stop."""
        self.is_set = True
