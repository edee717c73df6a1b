"""Where bytes go in and out: a serial port, or anything else that keeps the same promises."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import termios
import time
from typing import Protocol

import serial  # type: ignore[import-untyped]
from serial.tools import list_ports  # type: ignore[import-untyped]

from hand_imitation.errors import UserError

_WRITE_TIMEOUT_S = 0.2
_MAX_DRAIN_S = 0.05
_CHUNK = 4096
_OPTION = '--port /dev/ttyUSB0, or port:=/dev/ttyUSB0 to a launch file'
_PERMISSION_REMEDY = (
    'run `sudo usermod -aG dialout $USER` and log in again, or install the udev rule in '
    'config/99-hand-imitation.rules')


class PortLostError(RuntimeError):
    """The port is gone: unplugged, or closed by the other side."""


class Port(Protocol):
    """Bytes in and out, and the clock they come and go by.

    The clock belongs to the port, so that a bus emulated in the same process runs in emulated
    time. Everything but the clock raises `PortLostError` once the port is gone.
    """

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def read(self, timeout_s: float) -> bytes:
        """Return the bytes that are there, else wait for some; b'' after the timeout [s]."""

    def drain(self, quiet_s: float) -> int:
        """Throw away what comes until nothing has for `quiet_s` [s]; return how many bytes."""

    def set_baud(self, baud: int) -> None:
        """Go on at another baud rate. Raises ValueError where it cannot."""

    def now_s(self) -> float:
        """Return the time [s], which never goes back."""

    def sleep(self, duration_s: float) -> None:
        """Let time pass [s]."""

    def close(self) -> None:
        """Let go of the port. Does no harm when it is gone or closed already."""


class SerialPort:
    """A serial port of this machine, which nobody else can open meanwhile.

    Args:
        path: Device, such as /dev/ttyUSB0.
        baud: Bits per second.

    Raises:
        OSError, ValueError, serial.SerialException: `open_serial` turns these into advice.
    """

    def __init__(self, path: str, baud: int) -> None:
        self.path = path
        self._serial = serial.Serial(path, baud, timeout=0, exclusive=True)
        # Without it a USB adapter may keep bytes back for 16 ms. A pseudo-terminal has no such
        # setting, nor has every adapter.
        with contextlib.suppress(OSError, ValueError, NotImplementedError, AttributeError):
            self._serial.set_low_latency_mode(True)
        self._descriptor: int | None = self._serial.fileno()

    def write(self, data: bytes) -> None:
        """Send bytes; see `Port`."""
        descriptor = self._open_descriptor()
        deadline_s = self.now_s() + _WRITE_TIMEOUT_S
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(descriptor, left):]
            except BlockingIOError:
                remaining_s = deadline_s - self.now_s()
                if remaining_s <= 0:
                    raise PortLostError(f'{self.path} takes no more bytes') from None
                select.select([], [descriptor], [], remaining_s)
            except OSError as error:
                raise PortLostError(f'{self.path} is gone ({error.strerror})') from error

    def read(self, timeout_s: float) -> bytes:
        """Return bytes as they come; see `Port`."""
        descriptor = self._open_descriptor()
        try:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, timeout_s))
            if not ready:
                return b''
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return b''
        except (OSError, ValueError) as error:
            raise PortLostError(f'{self.path} is gone ({error})') from error
        # A device that is ready and has nothing to say has been unplugged.
        if not data:
            raise PortLostError(f'{self.path} is gone')
        return data

    def drain(self, quiet_s: float) -> int:
        """Throw bytes away until it is quiet; see `Port`."""
        dropped, deadline_s = 0, self.now_s() + _MAX_DRAIN_S
        while self.now_s() < deadline_s:
            data = self.read(quiet_s)
            if not data:
                break
            dropped += len(data)
        return dropped

    def set_baud(self, baud: int) -> None:
        """Go on at another baud rate; see `Port`."""
        try:
            self._serial.baudrate = baud
        except (OSError, termios.error) as error:
            raise PortLostError(f'{self.path} is gone ({error})') from error

    def now_s(self) -> float:
        """Return the time of the monotonic clock [s]."""
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        """Let time pass [s]."""
        time.sleep(max(0.0, duration_s))

    def close(self) -> None:
        """Close the port; see `Port`."""
        self._descriptor = None
        with contextlib.suppress(OSError, termios.error, serial.SerialException):
            self._serial.close()

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise PortLostError(f'{self.path} is closed')
        return self._descriptor


def open_serial(path: str, baud: int) -> SerialPort:
    """Open a serial port of this machine.

    Args:
        path: Device, such as /dev/ttyUSB0.
        baud: Bits per second.

    Raises:
        UserError: It cannot be opened; says why and what to do.
    """
    try:
        return SerialPort(path, baud)
    except (OSError, ValueError, termios.error) as error:
        # SerialException is an OSError, with the number of its cause where there is one.
        raise UserError(_advice(path, baud, error)) from error


def _advice(path: str, baud: int, error: BaseException) -> str:
    """Say why a port does not open, and what to do."""
    number = getattr(error, 'errno', None)
    if isinstance(error, termios.error):
        number = error.args[0] if error.args else None
    if not path:
        return f'no serial port given: give {_OPTION}'
    if number == errno.ENOENT or not os.path.exists(path):
        there = ', '.join(sorted(port.device for port in list_ports.comports())) or 'none'
        return (f'no serial port {path}: is the adapter plugged in? Ports of this machine: '
                f'{there}; give {_OPTION}')
    if number in (errno.EACCES, errno.EPERM):
        return f'no permission to open {path}: {_PERMISSION_REMEDY}'
    if number in (errno.EBUSY, errno.EAGAIN):
        return (f'{path} is in use by another program: close that one first '
                f'(`fuser -v {path}` names it)')
    if isinstance(error, ValueError):
        return f'{path} cannot run at {baud} baud ({error}): give another baud rate'
    if number in (errno.EIO, errno.ENXIO, errno.ENODEV):
        return f'{path} is there, but nothing is behind it: plug the adapter in again'
    return f'{path} is not a serial port that can be used ({error}): give another port'
