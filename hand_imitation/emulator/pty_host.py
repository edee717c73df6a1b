"""An emulated bus behind a pseudo-terminal, in real time.

A pseudo-terminal passes bytes on at once, so the host is given each byte only when its time on
the wire is over; between events this process sleeps.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
import time
import tty
from collections.abc import Callable
from pathlib import Path

from hand_imitation.emulator.bus import EmulatedBus
from hand_imitation.emulator.control import ControlSocket
from hand_imitation.errors import UserError

_CHUNK_S = 0.001  # as a USB adapter does, answers are handed over in pieces of this length
_IDLE_S = 0.1  # motors and watchdogs go on when nobody talks
_SPEEDS = {getattr(termios, name): int(name[1:])
           for name in dir(termios) if name[0] == 'B' and name[1:].isdigit()}


class PtyHost:
    """Serves one bus until told to stop.

    Attributes:
        path: Of the terminal for the host to open; None while it is unplugged.
    """

    def __init__(self, bus: EmulatedBus, link: Path | None = None, control: Path | None = None,
                 on_plug: Callable[[str], None] | None = None) -> None:
        """Open the terminal.

        Args:
            bus: What is behind it.
            link: A symbolic link to the terminal, which stays the same when it is unplugged.
            control: Of the control socket.
            on_plug: Called with the terminal's path whenever it is there anew.

        Raises:
            UserError: link or control cannot be made.
        """
        if link is not None and link.exists() and not link.is_symlink():
            raise UserError(f'{link} is there already and no link: choose another path for --link')
        self.path: str | None = None
        self._bus = bus
        self._link = link
        self._on_plug = on_plug
        self._master = self._slave = -1
        self._start_s = time.monotonic()
        self._control = ControlSocket(control) if control is not None else None
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._plug()

    def run(self) -> None:
        """Serve until `stop`."""
        try:
            while self._serve():
                pass
        finally:
            self.close()

    def stop(self) -> None:
        """Let `run` return; may be called by a signal handler or another thread."""
        with contextlib.suppress(OSError):
            os.write(self._waker, b'.')

    def close(self) -> None:
        """Close everything. Does no harm when it is closed already."""
        self._unplug()
        if self._control is not None:
            self._control.close()
            self._control = None
        for descriptor in (self._wake, self._waker):
            if descriptor >= 0:
                os.close(descriptor)
        self._wake = self._waker = -1

    def _now_s(self) -> float:
        return time.monotonic() - self._start_s

    def _serve(self) -> bool:
        """Wait for the next thing to happen and do it; False when it is time to stop."""
        readable = [self._wake]
        if self._master >= 0:
            readable.append(self._master)
        if self._control is not None:
            readable += self._control.descriptors
        ready, _, _ = select.select(readable, [], [], self._pause_s())
        if self._wake in ready:
            return False
        now_s = self._now_s()
        for descriptor in ready:
            if descriptor == self._master:
                self._take(now_s)
            elif self._control is not None:
                self._control.serve(descriptor, self._bus, now_s)
        self._give(self._bus.outgoing(now_s))
        if self._bus.faults.unplugged and self._master >= 0:
            self._unplug()
        elif not self._bus.faults.unplugged and self._master < 0:
            self._plug()
        return True

    def _pause_s(self) -> float:
        """Return how long there is nothing to do, unless somebody talks [s]."""
        now_s = self._now_s()
        times = [now_s + _IDLE_S]
        if self._bus.faults.next_s is not None:
            times.append(self._bus.faults.next_s)
        if self._bus.answered_s is not None:
            # Not for every byte, but the last one comes on time.
            times.append(min(self._bus.answered_s,
                             max(self._bus.next_byte_s() or 0.0, now_s + _CHUNK_S)))
        return max(min(times) - now_s, 0.0)

    def _take(self, now_s: float) -> None:
        """Pass on what the host says."""
        try:
            data = os.read(self._master, 4096)
        except OSError:
            return
        speed = termios.tcgetattr(self._slave)[5]
        # Rates that termios has no name for are taken for the right one.
        self._bus.host_baud = _SPEEDS.get(speed, self._bus.host_baud)
        self._bus.receive(data, now_s)
        # Nothing else can happen until the servos have heard all of it, so look ahead.
        self._bus.advance(self._bus.host_free_s)

    def _give(self, data: bytes) -> None:
        """Hand bytes to the host; what it does not read in time is lost, as on an adapter."""
        if data and self._master >= 0:
            with contextlib.suppress(OSError):
                os.write(self._master, data)

    def _plug(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        attributes = termios.tcgetattr(self._slave)
        speed = getattr(termios, f'B{self._bus.host_baud}', termios.B38400)
        attributes[4] = attributes[5] = speed
        termios.tcsetattr(self._slave, termios.TCSANOW, attributes)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self.path)
        if self._on_plug is not None:
            self._on_plug(str(self._link or self.path))

    def _unplug(self) -> None:
        if self._master < 0:
            return
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1
        self.path = None
