"""`hand-imitation emulate` as a process beside a test, with its faults at hand."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml
from graph_rig import ROOT, wait_until

from hand_imitation.emulator.control import request

# A busy machine may not give the emulator or us a core for longer than servos would wait.
PATIENT = {'bus.bus_watchdog_s': 2.0, 'bus.reply_timeout_s': 0.1, 'bus.attempts': 10}


def write_patient(folder: Path) -> Path:
    """Write a parameters file for a busy machine."""
    path = folder / 'patient.yaml'
    path.write_text(yaml.safe_dump({'servo_driver': {'ros__parameters': PATIENT}}))
    return path


class EmulatedArm:
    """Twelve servos behind a pseudo-terminal.

    Args:
        folder: Where its link and its control socket go.
        family: 'dynamixel' or 'feetech'.
        options: More of the command line.
    """

    def __init__(self, folder: Path, family: str = 'dynamixel', *options: str) -> None:
        self.port = str(folder / 'servos')
        self._control = folder / 'control'
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'hand_imitation', 'emulate', family, '--link', self.port,
             '--control', str(self._control), *options], cwd=ROOT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, 'PYTHONPATH': str(ROOT)})
        assert self._process.stdout is not None
        assert self._process.stdout.readline().split()[-1] == self.port

    def __enter__(self) -> 'EmulatedArm':
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10.0)
        finally:
            self._process.kill()
            self._process.communicate()

    def do(self, name: str, **settings: object) -> dict:
        """Cause a fault or ask for figures."""
        answer = request(self._control, name, **settings)
        assert answer['ok'], json.dumps(answer)
        return answer

    def servos(self) -> list[dict]:
        """What each servo is doing."""
        return self.do('status')['servos']

    def motors_on(self) -> list[bool]:
        """Which motors are on."""
        return [servo['torque'] for servo in self.servos()]

    def wait_motors(self, on: bool, timeout_s: float = 20.0) -> None:
        """Wait until all motors are on, or all are off."""
        wait_until(lambda: self.motors_on() == [on] * 12, f'motors {"on" if on else "off"}',
                   timeout_s)

    def goals(self) -> dict[int, dict]:
        """Figures of the goals written to each servo, by its id."""
        return {int(id_): registers.get('goal_position', {'count': 0})
                for id_, registers in self.do('writes')['writes'].items()}
