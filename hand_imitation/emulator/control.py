"""Live control of an emulated bus: one JSON object a line, answered by one JSON line.

`{"do": NAME, ...}` where NAME is a fault of `faults.py`, with its settings beside it, or one of
`status`, `writes` (what came over the wire, in figures), `forget` (start those figures anew) and
`clear` (end a packet fault, named by `fault`, or all of them). The answer has `ok`, and `error`
where that is false.
"""

from __future__ import annotations

import contextlib
import json
import socket
import stat
from pathlib import Path
from typing import Any

from hand_imitation.emulator.bus import EmulatedBus
from hand_imitation.emulator.faults import Fault
from hand_imitation.errors import UserError

_MAX_LINE = 65_536


def carry_out(bus: EmulatedBus, line: bytes, now_s: float) -> dict[str, Any]:
    """Do what one line asks for.

    Args:
        bus: To whom.
        line: JSON.
        now_s: When.

    Returns:
        The answer, ready for JSON.
    """
    try:
        request = json.loads(line)
        if not isinstance(request, dict) or not isinstance(request.get('do'), str):
            raise UserError('write an object with "do": {"do": "status"}')
        name = request.pop('do')
        if name == 'status':
            return {'ok': True, **bus.status()}
        if name == 'writes':
            return {'ok': True, 'writes': bus.record.figures()}
        if name == 'forget':
            bus.record.clear()
        elif name == 'clear':
            bus.faults.clear(request.get('fault'))
        else:
            bus.faults.add(Fault.make(name, request), now_s)
            bus.advance(now_s)
    except (UserError, ValueError) as error:
        return {'ok': False, 'error': str(error)}
    return {'ok': True}


class ControlSocket:
    """A Unix socket that only this user can talk to."""

    def __init__(self, path: Path) -> None:
        """Listen.

        Raises:
            UserError: something else is there, or the folder is missing.
        """
        self._path = path
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            _remove_left_over(path)
            self._listener.bind(str(path))
            path.chmod(stat.S_IRUSR | stat.S_IWUSR)
            self._listener.listen()
        except OSError as error:
            self._listener.close()
            raise UserError(f'cannot listen at {path} ({error.strerror or error}): '
                            'choose another path for --control') from error

    @property
    def descriptors(self) -> list[int]:
        """File descriptors to wait for."""
        return [self._listener.fileno(), *self._clients]

    def serve(self, descriptor: int, bus: EmulatedBus, now_s: float) -> None:
        """Take what is there at a descriptor, and answer whole lines."""
        if descriptor == self._listener.fileno():
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                client.setblocking(False)
                self._clients[client.fileno()] = client, bytearray()
            return
        client, buffer = self._clients[descriptor]
        try:
            data = client.recv(4096)
            buffer += data
            *lines, rest = bytes(buffer).split(b'\n')
            buffer[:] = rest
            for line in filter(None, lines):
                answer = json.dumps(carry_out(bus, line, now_s)) + '\n'
                client.settimeout(1.0)
                client.sendall(answer.encode())
                client.setblocking(False)
        except BlockingIOError:
            return
        except OSError:
            data = b''
        if not data or len(buffer) > _MAX_LINE:
            client.close()
            del self._clients[descriptor]

    def close(self) -> None:
        """Hang up and remove the socket."""
        for client, _ in self._clients.values():
            client.close()
        self._clients.clear()
        self._listener.close()
        self._path.unlink(missing_ok=True)


def _remove_left_over(path: Path) -> None:
    """Remove the socket of a process that is gone; anything else stays."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def request(path: Path | str, name: str, timeout_s: float = 5.0,
            **settings: Any) -> dict[str, Any]:
    """Ask a running emulator for something.

    Args:
        path: Of its control socket.
        name: What goes into `do`.
        timeout_s: How long to wait for the answer [s].
        settings: What goes beside it.

    Returns:
        The answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        client.connect(str(path))
        client.sendall(json.dumps({'do': name, **settings}).encode() + b'\n')
        with client.makefile('rb') as answers:
            answer: dict[str, Any] = json.loads(answers.readline())
    return answer
