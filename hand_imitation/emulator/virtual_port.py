"""A port that joins a driver to an emulated bus in one process, in emulated time."""

from __future__ import annotations

from hand_imitation.emulator.bus import BITS_PER_BYTE, EmulatedBus
from hand_imitation.emulator.faults import Fault
from hand_imitation.hardware.port import Port, PortLostError

_MAX_DRAIN_S = 0.05


class VirtualPort(Port):
    """Like a serial port, but waiting takes no time: the clock jumps to what is waited for.

    Attributes:
        bus: What is at the other end.
        is_open: Whether it has been neither closed nor lost.
    """

    def __init__(self, bus: EmulatedBus, baud: int | None = None, now_s: float = 0.0) -> None:
        """Open the port.

        Args:
            bus: What is at the other end.
            baud: The host's rate; the bus's by default.
            now_s: What the clock says.
        """
        self.bus = bus
        self._now_s = now_s
        self.is_open = True
        if baud is not None:
            bus.host_baud = baud

    def write(self, data: bytes) -> None:
        """Send bytes; returns when the last of them is on the wire."""
        self._check()
        self.bus.receive(data, self._now_s)
        self._jump(max(self._now_s, self.bus.host_free_s))

    def read(self, timeout_s: float) -> bytes:
        """Return what is there, else wait for the end of a packet; b'' after the timeout."""
        deadline_s = self._now_s + max(timeout_s, 0.0)
        while True:
            self._check()
            data = self.bus.outgoing(self._now_s)
            next_s = self.bus.next_event_s()
            if data or self._now_s >= deadline_s:
                return data
            self._jump(deadline_s if next_s is None else min(next_s, deadline_s))

    def drain(self, quiet_s: float) -> int:
        """Throw away what comes until nothing has come for a while; returns how many bytes."""
        dropped, deadline_s = 0, self._now_s + _MAX_DRAIN_S
        while self._now_s < deadline_s:
            data = self.read(quiet_s)
            if not data:
                break
            dropped += len(data)
        return dropped

    def set_baud(self, baud: int) -> None:
        """Go on at another rate; what is half said is lost."""
        if baud <= 0:
            raise ValueError(f'{baud} is no baud rate')
        self._check()
        self.bus.host_baud = baud

    def now_s(self) -> float:
        """Return the emulated time [s]."""
        return self._now_s

    def sleep(self, duration_s: float) -> None:
        """Let emulated time pass."""
        self._jump(self._now_s + max(duration_s, 0.0))

    def close(self) -> None:
        """Close the port; the bus lives on."""
        self.is_open = False

    def unplug(self) -> None:
        """Pull the adapter out; the servos keep their power."""
        self._do('unplug')

    def replug(self) -> None:
        """Plug the adapter in again; ports that were open stay lost."""
        self.is_open = False
        self._do('replug')

    def byte_s(self) -> float:
        """Return how long a byte takes at the host's rate [s]."""
        return BITS_PER_BYTE / self.bus.host_baud

    def _do(self, name: str) -> None:
        self.bus.faults.add(Fault.make(name, {}), self._now_s)
        self.bus.advance(self._now_s)

    def _jump(self, now_s: float) -> None:
        self._now_s = now_s
        self.bus.advance(now_s)

    def _check(self) -> None:
        if not self.is_open:
            raise PortLostError('the port is closed')
        self.bus.advance(self._now_s)
        if self.bus.faults.unplugged:
            self.is_open = False
            raise PortLostError('the adapter was unplugged')
