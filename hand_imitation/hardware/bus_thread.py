"""Drives a bus loop at a steady rate, in a thread that alone touches the port."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from hand_imitation.hardware.bus_loop import BusLoop, Cycle
from hand_imitation.hardware.cycle_times import CycleTimes

CLOSE_S = 0.4
"""How long closing may take; with what comes before, the port is closed within 0.5 s."""


class BusThread:
    """Runs a bus loop; requests from other threads are served between two cycles.

    Args:
        loop: The loop; nobody else may touch it from now on, but for `command`.
        rate_hz: Cycles per second.
        on_cycle: Called in the thread after each cycle.
        on_death: Called in the thread when it ends by an error, after the motors are off.
        priority: Real-time priority of this process, 1 to 99, where the system permits one;
            0 asks for none.

    Attributes:
        is_realtime: Whether the system gave the priority.
        work_times: How long the cycles took, without the waiting between them.
        jitter: How far the starts of the cycles were off the even rate.
        overruns: Cycles that were left out because those before took too long.
    """

    def __init__(
        self, loop: BusLoop, rate_hz: float, on_cycle: Callable[[Cycle], None],
        on_death: Callable[[Exception], None], priority: int = 0,
    ) -> None:
        self._loop = loop
        self._period_s = 1.0 / rate_hz
        self._on_cycle = on_cycle
        self._on_death = on_death
        self._priority = priority
        self.is_realtime = False
        self._requests: list[tuple[Callable[[], Any], Future]] = []
        self._news = threading.Condition()
        self._halt = False
        self.reset_times()
        self._thread = threading.Thread(target=self._run, name='bus')
        self._thread.start()

    def reset_times(self) -> None:
        """Begin to measure anew."""
        self.work_times, self.jitter, self.overruns = CycleTimes(), CycleTimes(), 0

    def call(self, action: Callable[[], Any]) -> Any:
        """Have something done in the bus's thread, and wait for it.

        Args:
            action: What to do, such as the loop's `arm`.

        Returns:
            What it returns.

        Raises:
            Exception: What it raises; RuntimeError where the thread has ended.
        """
        done: Future = Future()
        with self._news:
            if self._halt:
                raise RuntimeError('the bus is closed')
            self._requests.append((action, done))
            self._news.notify()
        return done.result()

    def close(self) -> None:
        """Motors off, port closed, thread ended; after `CLOSE_S` it is not waited for."""
        with self._news:
            self._halt = True
            self._news.notify()
        self._thread.join(timeout=CLOSE_S)

    def _run(self) -> None:
        failure: Exception | None = None
        try:
            self._come_first()
            self._work()
        except Exception as error:  # a mistake of ours; the motors must not stay on for it
            failure = error
        finally:
            with self._news:
                self._halt = True
            for _, done in self._requests:
                done.set_exception(RuntimeError('the bus is closed'))
            try:
                self._loop.close()
            finally:
                if failure is not None:
                    self._on_death(failure)

    def _come_first(self) -> None:
        """Ask that this process need not wait for others when the cores are busy.

        All its threads: while one of the others waits with the interpreter lock in hand, this
        one waits too.
        """
        if not self._priority:
            return
        # Refused without the right, which is usual; unknown but on Linux.
        with contextlib.suppress(OSError, AttributeError):
            parameter = os.sched_param(self._priority)
            for thread in os.listdir('/proc/self/task'):
                os.sched_setscheduler(int(thread), os.SCHED_FIFO, parameter)
            self.is_realtime = True

    def _work(self) -> None:
        due_s, last_s = time.monotonic(), None
        while self._wait_until(due_s):
            begun_s = time.monotonic()
            cycle = self._loop.cycle()
            ended_s = time.monotonic()
            self._on_cycle(cycle)
            self.work_times.add(ended_s - begun_s)
            if last_s is not None:
                self.jitter.add(abs(begun_s - last_s - self._period_s))
            last_s = begun_s
            due_s += self._period_s
            behind = int((time.monotonic() - due_s) / self._period_s)
            if behind > 0:
                # Cycles in a burst would tell the servos and us nothing new.
                self.overruns += behind
                due_s += behind * self._period_s

    def _wait_until(self, due_s: float) -> bool:
        """Serve requests until it is time for the next cycle; False when it is time to end."""
        while True:
            with self._news:
                left_s = due_s - time.monotonic()
                if not self._requests and not self._halt and left_s > 0.0:
                    self._news.wait(left_s)
                if self._halt:
                    return False
                requests, self._requests = self._requests, []
            for action, done in requests:
                try:
                    done.set_result(action())
                except Exception as error:  # belongs to the one who asked
                    done.set_exception(error)
            if not requests and time.monotonic() >= due_s:
                return True
