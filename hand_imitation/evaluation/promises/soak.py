"""A long run with random faults, in real time, over a pseudo-terminal.

The emulated bus is a process of its own, as servos are. The driver's loop and thread are those
of the node; the commander's filter follows a moving hand all the while. A fault strikes every
few seconds and is gone after a while; then whoever uses the arm arms it again.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hand_imitation.arm.safety import Measured, SafetyFilter, SafetyParameters, Target
from hand_imitation.emulator.control import request
from hand_imitation.errors import UserError
from hand_imitation.evaluation.promises.outcome import Outcome
from hand_imitation.evaluation.promises.rig import CYCLE_S, arm_table
from hand_imitation.hardware.bus_loop import BusLoop, Cycle, Mode
from hand_imitation.hardware.bus_thread import BusThread
from hand_imitation.hardware.connection import connect
from hand_imitation.hardware.servo_arm import ServoArmParameters
from hand_imitation.hardware.watchdog import WatchdogParameters

_WARM_UP_S = 20.0
"""After that long, memory and descriptors count."""
_FAULT_EVERY_S = 3.0
_FAULT_LASTS_S = 1.0
_RECOVER_S = 5.0
_FAULTS: tuple[tuple[str, dict[str, float]], ...] = (
    ('drop', {'p': 0.05}), ('corrupt', {'p': 0.05}), ('truncate', {'p': 0.05}),
    ('delay', {'p': 0.02, 'ms': 20}), ('duplicate', {'p': 0.05}), ('noise', {'p': 0.05}),
    ('wrong_id', {'p': 0.02}), ('wrong_length', {'p': 0.05}), ('echo', {}), ('dead', {}),
    ('reset', {}), ('overload', {}), ('voltage', {}), ('heat', {}), ('jam', {}), ('unplug', {}))
_ONE_SERVO = ('dead', 'reset', 'overload', 'voltage', 'heat', 'jam')
_MEMORY_BOUND = 0.05


@dataclass
class _Log:
    """What happened."""

    faults: Counter[str] = field(default_factory=Counter)
    armed: int = 0
    cycles: int = 0
    stuck: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    unsafe: list[str] = field(default_factory=list)


class _Soak:
    """The driver and its commander, and somebody who arms them again."""

    def __init__(self, family: str, port: Path, control: Path, seed: int) -> None:
        self.log = _Log()
        self._table = arm_table()
        self._control = control
        self._random = random.Random(seed)
        self._filter = SafetyFilter(self._table, SafetyParameters())
        self._state = self._filter.initial_state()
        self._measured: Measured | None = None
        self._halt = threading.Event()
        connection = connect(family, '', str(port), 0, 'none', self._table, ServoArmParameters())
        self.loop = BusLoop(connection.arm, WatchdogParameters(), time.monotonic)
        self.loop.open()
        self._thread = BusThread(
            self.loop, 1.0 / CYCLE_S, self._on_cycle,
            lambda error: self.log.deaths.append(f'{type(error).__name__}: {error}'))
        self._commander = threading.Thread(target=self._command, name='commander')
        self._commander.start()

    def close(self) -> None:
        """End everything, motors off."""
        self._halt.set()
        self._commander.join()
        self._thread.close()

    def arm(self) -> bool:
        """Arm if it is not armed; say whether it is now."""
        if self.loop.mode is not Mode.ARMED:
            with contextlib.suppress(UserError):
                self._thread.call(self.loop.arm)
                self.log.armed += 1
        return self.loop.mode is Mode.ARMED

    def strike(self) -> None:
        """Let one fault come and go, and see how the arm takes it."""
        name, settings = self._random.choice(_FAULTS)
        if name in _ONE_SERVO:
            settings = {**settings, 'id': self._random.randint(1, len(self._table))}
        self.log.faults[name] += 1
        self._ask(name, **settings)
        self._halt.wait(_FAULT_LASTS_S)
        if self.loop.mode is not Mode.ARMED and name != 'unplug':
            self._see_that_it_is_safe(name)
        self._mend(name, settings)

    def _mend(self, name: str, settings: dict[str, float]) -> None:
        """Do what a person would, then arm again."""
        if name == 'unplug':
            self._ask('replug')
        elif name == 'echo':
            self._ask('echo')
        elif name in _ONE_SERVO:
            one = {'id': settings['id']}
            self._ask('alive', **one)
            self._ask('heal', **one)
            if name != 'reset':
                self._ask('reset', **one)
        else:
            self._ask('clear', fault=name)
        deadline_s = time.monotonic() + _RECOVER_S
        while not self._halt.wait(0.1):
            # A reset servo is noticed after a moment; only then does it make sense to arm.
            if self.arm() and time.monotonic() > deadline_s - _RECOVER_S + 0.6:
                return
            if time.monotonic() > deadline_s:
                self.log.stuck.append(f'{name}: {self.loop.fault}')
                return

    def _see_that_it_is_safe(self, name: str) -> None:
        """What is not armed must have its motors off, but for a servo that hears nothing."""
        answer = self._ask('status')
        on = [servo['id'] for servo in answer['servos'] if servo['torque'] and servo['alive']]
        if on and self.loop.mode is not Mode.ARMED:
            self.log.unsafe.append(f'{name}: motors {on} on')

    def _ask(self, name: str, **settings: Any) -> dict[str, Any]:
        answer = request(self._control, name, **settings)
        if not answer['ok']:
            raise RuntimeError(f'emulator: {answer["error"]}')
        return answer

    def _on_cycle(self, cycle: Cycle) -> None:
        self.log.cycles += 1
        state = cycle.state
        if state is None:
            return
        fresh = state.sample_age_s < 2 * CYCLE_S
        names = [n for n, f in zip(self._table.names, fresh, strict=True) if f]
        if names:
            self._measured = Measured(names, state.position_rad[fresh], time.monotonic())

    def _command(self) -> None:
        """Follow a moving hand, as the commander does."""
        middle = (self._table.lower_rad + self._table.upper_rad) / 2
        half = (self._table.upper_rad - self._table.lower_rad) / 2
        target, frame_s = None, 0.0
        while not self._halt.wait(CYCLE_S):
            now_s = time.monotonic()
            if now_s > frame_s + 1.0 / 30.0:
                frame_s = now_s
                target = Target(
                    self._table.names, middle + 0.6 * half * np.sin(2.0 * now_s), 1e9 + now_s,
                    0.0, now_s)
            self._state, command = self._filter.step(self._state, target, self._measured, now_s)
            if command.positions is not None and self.loop.mode is Mode.ARMED:
                self.loop.command(command.positions)


def soak(
    family: str, minutes: float, seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> list[Outcome]:
    """Run with random faults.

    Args:
        family: 'dynamixel' or 'feetech'.
        minutes: For how long.
        seed: Of the faults.
        progress: Called with the share done, 0 to 1, and what is going on.
    """
    begun_s = time.monotonic()
    end_s = begun_s + 60.0 * minutes
    baseline: tuple[int, int] | None = None
    with _emulator(family) as (port, control):
        run = _Soak(family, port, control, seed)
        try:
            run.arm()
            while time.monotonic() < end_s:
                time.sleep(_FAULT_EVERY_S - _FAULT_LASTS_S)
                run.strike()
                now_s = time.monotonic()
                if baseline is None and now_s > begun_s + _WARM_UP_S:
                    baseline = _resident_bytes(), _descriptors()
                if progress is not None:
                    progress((now_s - begun_s) / (end_s - begun_s), f'{family} soak')
            after = _resident_bytes(), _descriptors()
        finally:
            run.close()
    return _judged(family, minutes, run.log, baseline or after, after)


def _judged(
    family: str, minutes: float, log: _Log, before: tuple[int, int], after: tuple[int, int],
) -> list[Outcome]:
    """Say what became of the promises of a long run."""
    fault = (f'{family}: {sum(log.faults.values())} faults of {len(log.faults)} kinds in '
             f'{minutes:g} minutes, {log.cycles} cycles')
    growth = (after[0] - before[0]) / before[0]
    return [
        Outcome('no uncaught exception', fault, '0', _listed(log.deaths), not log.deaths),
        Outcome('after a fault the arm is safely stopped', fault, '0 motors left on',
                _listed(log.unsafe), not log.unsafe),
        Outcome('once the fault is gone, it can be armed again', fault,
                f'{_RECOVER_S:.0f} s', _listed(log.stuck) + ' stuck', not log.stuck),
        Outcome('memory stays', fault, f'{100 * _MEMORY_BOUND:.0f}% more',
                f'{100 * growth:+.1f}%', growth <= _MEMORY_BOUND),
        Outcome('file descriptors stay', fault, f'{before[1]}', f'{after[1]}',
                after[1] <= before[1])]


def _listed(words: list[str]) -> str:
    return f'{len(words)}' + (f' ({"; ".join(words[:3])})' if words else '')


def _resident_bytes() -> int:
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def _descriptors() -> int:
    return len(os.listdir('/proc/self/fd'))


@contextmanager
def _emulator(family: str) -> Iterator[tuple[Path, Path]]:
    """Run an emulated bus in a process of its own; yields its port and its control socket."""
    with tempfile.TemporaryDirectory() as folder:
        link, control = Path(folder) / 'bus', Path(folder) / 'control'
        process = subprocess.Popen(
            [sys.executable, '-m', 'hand_imitation', 'emulate', family, '--link', str(link),
             '--control', str(control)], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError('the emulated bus did not start')
            yield link, control
        finally:
            process.terminate()
            process.wait(timeout=10.0)
