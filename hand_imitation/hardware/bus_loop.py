"""What happens on a servo bus in one cycle, and what a fault leads to.

Each cycle sends the newest command, then reads all servos. Whatever goes wrong ends with the
motors off, and only `arm` switches them on again:

* the bus is unplugged, or no servo answers any more: mode LOST; it is tried again every 0.5 s,
  with the motors off;
* a servo reports an error or is too hot: mode IDLE;
* the commander is silent for too long: mode IDLE, after a warning and a hold.

A servo that misses some packets, or is dead while the others live, is no fault of the bus: its
joint has no new measurement, and the arm holds until it has.

`BusLoop` has no thread and no clock of its own, so that it runs in emulated time. `bus_thread`
drives it at a steady rate.
"""

from __future__ import annotations

import contextlib
import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.hardware.servo_arm import (
    BusLostError,
    ServoArm,
    ServoFaultError,
    ServoState,
    StaleMeasurementError,
)
from hand_imitation.hardware.watchdog import Tier, Watchdog, WatchdogParameters

RETRY_S = 0.5
"""How often a lost bus is tried again."""


class Mode(enum.Enum):
    """What the bus is doing."""

    CLOSED = 'closed'
    LOST = 'lost'
    IDLE = 'idle'
    ARMED = 'armed'


@dataclass(frozen=True, eq=False)
class Cycle:
    """What one cycle did.

    Attributes:
        mode: After the cycle.
        fault: Why the motors went off without being asked to, until `arm`; '' for no reason.
        tier: How long the commander has been silent; FOLLOW unless armed.
        state: What was measured, or None.
        written: Number of the newest command that has been sent, 0 for none since arming.
        written_s: When it was sent first [s].
    """

    mode: Mode
    fault: str
    tier: Tier
    state: ServoState | None
    written: int
    written_s: float


class BusLoop:
    """Owns a servo arm. All but `command` belongs to one thread.

    Args:
        arm: The arm, closed.
        watchdog: When the commander's silence leads to what.
        now_s: The clock of the arm's port.
    """

    def __init__(
        self, arm: ServoArm, watchdog: WatchdogParameters, now_s: Callable[[], float],
    ) -> None:
        self._arm = arm
        self.mode = Mode.CLOSED
        self.fault = ''
        self.reconnects = 0
        self._watchdog = Watchdog(watchdog)
        self._now_s = now_s
        self._lock = threading.Lock()
        self._command: tuple[int, np.ndarray] | None = None
        self._commands = 0
        self._written, self._written_s = 0, 0.0
        self._retry_s = 0.0

    # Asked for from outside

    def open(self) -> None:
        """Open and check the bus, motors off. Raises UserError where that is impossible."""
        self._arm.open()
        self.mode, self.fault = Mode.IDLE, ''

    def arm(self) -> None:
        """Switch the motors on, holding the present pose.

        Raises:
            UserError: It cannot be done; says why and what to do.
        """
        if self.mode is Mode.ARMED:
            return
        if self.mode is not Mode.IDLE:
            raise UserError(f'{self.fault or "the bus is closed"}: arm when it is back')
        try:
            self._arm.arm()
        except BusLostError as error:
            self._lose(str(error))
            raise UserError(f'arming failed, {self.fault}') from error
        except (ServoFaultError, StaleMeasurementError) as error:
            self._switch_off(str(error))
            raise UserError(f'arming failed, {self.fault}') from error
        self.mode, self.fault = Mode.ARMED, ''
        self.start_over()

    def start_over(self) -> None:
        """Forget what was commanded: the servos hold their last goals until the next command."""
        with self._lock:
            self._command = None
            self._written = 0
            self._watchdog.armed(self._now_s())

    def disarm(self) -> None:
        """Switch the motors off. Does no harm when they are off already."""
        if self.mode is Mode.ARMED:
            self._switch_off('')

    def close(self) -> None:
        """Switch the motors off and close the port."""
        self.mode = Mode.CLOSED
        with contextlib.suppress(BusLostError):  # every motor has had its attempt
            self._arm.close()

    def command(self, targets_rad: np.ndarray) -> int:
        """Set what the next cycle sends. From any thread.

        Args:
            targets_rad: Shape (n,), finite, in the joint table's order [rad].

        Returns:
            The command's number, which `Cycle.written` reaches when it is sent.
        """
        with self._lock:
            self._commands += 1
            self._command = self._commands, targets_rad
            self._watchdog.heard(self._now_s())
            return self._commands

    # Once a cycle

    def cycle(self) -> Cycle:
        """Send, read, judge. Raises nothing that a bus or a servo can cause."""
        state, tier = None, Tier.FOLLOW
        try:
            if self.mode is Mode.LOST:
                self._try_again()
            if self.mode is Mode.ARMED:
                tier = self._watchdog.tier(self._now_s())
                self._send(tier)
            if self.mode in (Mode.IDLE, Mode.ARMED):
                state = self._arm.read()
        except BusLostError as error:
            self._lose(str(error))
        except (ServoFaultError, StaleMeasurementError) as error:
            self._switch_off(str(error))
        return Cycle(self.mode, self.fault, tier, state, self._written, self._written_s)

    def _send(self, tier: Tier) -> None:
        """Send the newest command, or the last goal again; the servos must hear something."""
        if tier is Tier.TORQUE_OFF:
            self._switch_off('the commander is silent: is its node running?')
            return
        with self._lock:
            command = self._command
        if command is None or tier is Tier.HOLD:
            self._arm.hold()
            return
        number, targets_rad = command
        self._arm.write(targets_rad)
        if number != self._written:
            self._written, self._written_s = number, self._now_s()

    def _switch_off(self, fault: str) -> None:
        """Motors off; the bus stays open."""
        self.mode, self.fault = Mode.IDLE, fault
        self._written = 0
        try:
            self._arm.disarm()
        except BusLostError as error:
            self._lose(f'{fault}; {error}' if fault else str(error))

    def _lose(self, fault: str) -> None:
        """The bus is gone; what still listens is told to switch off."""
        self.mode, self.fault = Mode.LOST, fault
        self._written = 0
        self._retry_s = self._now_s() + RETRY_S
        # Where nothing reaches them, their own watchdog and `reconnect` are what is left.
        with contextlib.suppress(BusLostError):
            self._arm.disarm()

    def _try_again(self) -> None:
        """Look for the bus again, every `RETRY_S`; motors stay off."""
        if self._now_s() < self._retry_s:
            return
        self._retry_s = self._now_s() + RETRY_S
        try:
            self._arm.reconnect()
        except UserError:
            return  # not there yet, or not as it was; `fault` still says what happened
        self.mode = Mode.IDLE
        self.reconnects += 1
