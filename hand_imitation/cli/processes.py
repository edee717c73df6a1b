"""Child processes of a run: started together, watched, ended together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hand_imitation.environment import DDS_PROFILE_VARIABLES, PARENT_VARIABLE
from hand_imitation.resources import share_directory

_GRACE_S = 15.0


@dataclass
class Child:
    """A process and where its words go."""

    name: str
    process: subprocess.Popen
    log: IO[str]

    def last_words(self, lines: int = 15) -> str:
        """Return the end of what it said."""
        self.log.flush()
        self.log.seek(0)
        return '\n'.join(self.log.read().splitlines()[-lines:])


class Children:
    """Node processes of one run, in a context that ends them however it is left.

    Each is in a process group of its own, so that Ctrl-C in the terminal reaches this program
    alone, which then ends them in order.
    """

    def __init__(self) -> None:
        self._children: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self, module: str, arguments: list[str], niceness: int = 0) -> None:
        """Start a module of `hand_imitation.nodes`.

        Args:
            module: Its name.
            arguments: Command line after it.
            niceness: How far it stands back behind this process when the cores are busy.
        """
        log = tempfile.TemporaryFile('w+', errors='replace')  # noqa: SIM115 - closed in stop()
        process = subprocess.Popen(
            [sys.executable, '-m', f'hand_imitation.nodes.{module}', *arguments],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True, env={**os.environ, PARENT_VARIABLE: str(os.getpid())})
        with contextlib.suppress(OSError):
            own = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, process.pid, own + niceness)
        self._children.append(Child(module, process, log))

    def ended(self) -> Child | None:
        """Return a child that ended by itself, if any has."""
        return next((c for c in self._children if c.process.poll() is not None), None)

    def stop(self, *names: str) -> None:
        """Ask children to end, and make those that do not.

        Args:
            names: Whom; all when none is given.
        """
        stopping = [c for c in self._children if not names or c.name in names]
        for child in stopping:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGINT)
        deadline_s = time.monotonic() + _GRACE_S
        for child in stopping:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(deadline_s - time.monotonic(), 0.1))
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()
            child.log.close()
            self._children.remove(child)


def set_ros_environment() -> None:
    """Settle how nodes find each other, unless the user has settled it already.

    Discovery stays on this machine, and Fast DDS gets room for large pictures.
    """
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    if not any(name in os.environ for name in DDS_PROFILE_VARIABLES):
        profile = str(Path(share_directory()) / 'config' / 'fastdds.xml')
        os.environ.update(dict.fromkeys(DDS_PROFILE_VARIABLES, profile))
