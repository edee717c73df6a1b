"""An arm of Dynamixel or Feetech servos on a serial bus."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hand_imitation.arm.driver import ArmDriver, NotArmedError
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.hardware.arming import (
    seed_goals,
    sync_write_register,
    torque_off,
    torque_on,
)
from hand_imitation.hardware.bus import BusParameters, BusStatistics, ServoBus
from hand_imitation.hardware.bus_check import check_servos, find_baud, silence_advice
from hand_imitation.hardware.calibration_bus import check_offsets
from hand_imitation.hardware.dynamixel_arm import DynamixelFamily
from hand_imitation.hardware.feetech_arm import FeetechFamily
from hand_imitation.hardware.goals import GoalLimiter, speed_share
from hand_imitation.hardware.port import Port, PortLostError
from hand_imitation.hardware.robot import Robot, TickScale
from hand_imitation.hardware.servo_errors import (
    BusLostError,
    NoReplyError,
    RefusedError,
    ServoFaultError,
    StaleMeasurementError,
)
from hand_imitation.hardware.servo_family import ServoFamily, ServoSetup
from hand_imitation.hardware.servo_reader import ServoReader
from hand_imitation.hardware.servo_samples import Samples, ServoState
from hand_imitation.parameters import check, parameter

__all__ = ['BusLostError', 'ServoArm', 'ServoArmParameters', 'ServoFaultError', 'ServoState',
           'StaleMeasurementError']

_FAMILIES: Mapping[str, type[ServoFamily]] = {
    'dynamixel': DynamixelFamily, 'feetech': FeetechFamily}
_MAX_STEP_S = 0.05
"""After a longer pause a goal moves no further than in this time."""
_SILENCE_S, _SILENT_CYCLES = 0.15, 3
"""When no servo has answered for this long, in this many cycles, the bus is lost."""
_STOP_BELOW_LIMIT_C = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServoArmParameters:
    """How a bus of servos is driven."""

    max_lead_rad: float = parameter(
        0.35, 'How far a goal may be ahead of the joint: as far as a joint can move when the '
        'driver dies', lower=0.02, upper=2.0, unit='rad')
    acceleration_rad_s2: float = parameter(
        40.0, 'Highest acceleration of a joint', lower=1.0, upper=1000.0, unit='rad/s^2')
    max_sample_age_s: float = parameter(
        0.1, 'The arm holds while the last measurement of a joint is older', lower=0.02,
        upper=2.0, unit='s')
    bus_watchdog_s: float = parameter(
        0.1, 'Dynamixels stop by themselves when they hear nothing for this long', lower=0.02,
        upper=2.0, unit='s')
    start_tolerance_rad: float = parameter(
        0.035, 'How far outside its limits a joint may stand when the arm is armed; its goal is '
        'the limit then', lower=0.0, upper=0.2, unit='rad')
    reply_timeout_s: float = parameter(
        0.006, 'How long a reply may take beyond the time its bytes need; more for adapters that '
        'hold bytes back', lower=0.0005, upper=0.2, unit='s')
    quiet_s: float = parameter(
        0.003, 'How long the line must be quiet after a transaction that went wrong',
        lower=0.0005, upper=0.1, unit='s')
    attempts: int = parameter(
        3, 'How often a servo is asked before it counts as silent, except in the steady cycle',
        lower=1, upper=10)

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check(self)


class ServoArm(ArmDriver):
    """Drives the servos; a `read` after each `write` keeps everything below up to date.

    The time is the port's. Nothing here is for more than one thread.

    Args:
        robot: Which servo drives which joint.
        table: The arm's joints.
        scale: Turns joint angles into servo counts, and knows the soft limits.
        open_port: Opens the port at the robot's baud rate; raises UserError.
        parameters: See there.

    Attributes:
        table: The arm's joints.
        changes: What `open` had to set in the servos' lasting memory, in words.
    """

    def __init__(self, robot: Robot, table: JointTable, scale: TickScale,
                 open_port: Callable[[], Port],
                 parameters: ServoArmParameters | None = None) -> None:
        self.table = table
        self.changes: list[str] = []
        self._robot = robot
        self._scale = scale
        self._open_port = open_port
        self._parameters = parameters or ServoArmParameters()
        self._family = _FAMILIES[robot.protocol]()
        self._setups = self._make_setups()
        self._limiter = GoalLimiter(robot, scale, self._parameters.max_lead_rad)
        self._port: Port | None = None
        self._bus: ServoBus | None = None
        self._samples = Samples(robot, scale)
        self._reader: ServoReader | None = None
        self._forget()

    def _forget(self) -> None:
        """Become an arm whose motors are off."""
        self._armed = False
        self._fault: dict[str, str] = {}
        self._unconfirmed: set[int] = set()
        self._goal_rad = np.full(len(self._robot.joints), np.nan)
        self._goal_ticks = np.zeros(len(self._robot.joints), dtype=np.int64)
        self._turns = np.zeros(len(self._robot.joints), dtype=np.int64)
        self._written_s = self._read_s = -math.inf
        self._busy_s = 0.0

    def _make_setups(self) -> list[ServoSetup]:
        speeds = self._scale.speed_to_raw([joint.max_velocity_rad_s
                                           for joint in self._robot.joints])
        return [
            ServoSetup(
                joint.id, joint.name, joint.model, bool(self._scale.multi_turn[row]),
                int(self._scale.lower_ticks[row]), int(self._scale.upper_ticks[row]),
                int(speeds[row]), self._parameters.acceleration_rad_s2 * joint.gear_ratio,
                joint.current_limit_a)
            for row, joint in enumerate(self._robot.joints)]

    # Opening and closing

    @property
    def armed(self) -> bool:
        """Whether the motors are on."""
        return self._armed

    @property
    def statistics(self) -> BusStatistics:
        """What happened on the bus since it was opened."""
        return self._opened()[0].statistics

    @property
    def goal_rad(self) -> np.ndarray:
        """The goals sent last, shape (n,), [rad]; NaN before the first arming."""
        return self._goal_rad.copy()

    def open(self) -> None:
        """Open the port, compare the servos with the robot, motors off.

        Nothing is written to any servo before all of them are what they should be.

        Raises:
            UserError: Something does not fit; says what, and what to do.
        """
        if self._bus is None:
            self._connect(explain=True)

    def reconnect(self) -> None:
        """Open the bus again after it was lost; the motors stay off.

        Raises:
            UserError: It is not there yet, or not as it was.
        """
        self._let_go()
        self._connect(explain=False)

    def close(self) -> None:
        """Switch the motors off and let go of the port."""
        try:
            if self._bus is not None:
                self.disarm()
        finally:
            self._let_go()

    def _connect(self, explain: bool) -> None:
        self._forget()
        self._port = self._open_port()
        try:
            models = [joint.model for joint in self._robot.joints]
            bus = self._family.make_bus(self._port, self._robot.baud, models, BusParameters(
                self._parameters.reply_timeout_s, self._parameters.quiet_s,
                self._parameters.attempts))
            self._check(bus, explain)
            self._samples = Samples(self._robot, self._scale)
            self._bus = bus
            self._reader = ServoReader(
                bus, self._family, self._robot, self._samples, self._judge)
            self._set_up(bus)
        except (BusLostError, PortLostError) as error:
            self._let_go()
            raise UserError(f'{error} while it was being opened: plug it in again') from error
        except (NoReplyError, RefusedError, ServoFaultError, StaleMeasurementError) as error:
            self._let_go()
            raise UserError(f'the servos do not do as told: {error}') from error
        except BaseException:
            self._let_go()
            raise

    def _check(self, bus: ServoBus, explain: bool) -> None:
        """Compare the servos with the robot description."""
        if check_servos(bus, self._robot):
            return
        other = None
        if explain:
            other = find_baud(bus, self._family, self._robot.ids, self._robot.baud)
        raise UserError(silence_advice(self._robot, other))

    def _set_up(self, bus: ServoBus) -> None:
        """Switch all motors off, set what must be set, and measure."""
        self._family.make_answer(bus, self._robot.ids)
        check_offsets(bus, self._robot, self._scale)
        left = torque_off(bus, self._robot)
        if left:
            raise ServoFaultError({self._robot.names[row]: 'its motor does not go off'
                                   for row in left})
        self.changes = [text for setup in self._setups
                        for text in self._family.configure(bus, setup)]
        for text in self.changes:
            _log.info('%s', text)
        _, reader = self._opened()
        self._temperature_limit_c = np.array([
            bus.read_register(joint.id, joint.model, 'temperature_limit')
            for joint in self._robot.joints])
        reader.read_all(('present_position',))
        reader.poll_all()

    def _let_go(self) -> None:
        self._forget()
        self._bus = self._reader = None
        if self._port is not None:
            self._port.close()
            self._port = None

    def _opened(self) -> tuple[ServoBus, ServoReader]:
        if self._bus is None or self._reader is None:
            raise BusLostError('the bus is not open')
        return self._bus, self._reader

    # Motors on and off

    def arm(self) -> None:
        """Switch the motors on, each holding where it stands.

        Raises:
            ServoFaultError: A servo is in trouble, and its motor must stay off.
            StaleMeasurementError: A servo does not answer.
            UserError: A joint stands where it must not, or does not stand still.
            BusLostError: The port is gone.
        """
        bus, reader = self._opened()
        if self._armed:
            return
        try:
            self._prepare_to_arm(bus, reader)
            counts_turns = [self._family.counts_turns(setup) for setup in self._setups]
            self._goal_ticks, self._turns = seed_goals(
                bus, reader, self._robot, self._scale, counts_turns,
                self._parameters.start_tolerance_rad)
            torque_on(bus, reader, self._robot)
            self._armed = True
            reader.poll_all()
            self._raise_fault()
        except (NoReplyError, RefusedError) as error:
            self.disarm()
            raise ServoFaultError({self._name_in(error): str(error)}) from error
        except BaseException:
            self.disarm()
            raise
        self._goal_rad = self._scale.to_rad(self._goal_ticks)
        self._written_s = bus.port.now_s()

    def _prepare_to_arm(self, bus: ServoBus, reader: ServoReader) -> None:
        reader.poll_all()
        self._raise_fault()
        for setup in self._setups:
            self._family.prepare(bus, setup)
        for setup in self._setups:
            self._family.start_watchdog(bus, setup, self._parameters.bus_watchdog_s)

    def disarm(self) -> None:
        """Try to switch every motor off, whatever goes wrong with the others.

        A servo that does not confirm it is named in `ServoState.hardware_error` from then on,
        until it does; each time it is heard with its motor on, it is told again.

        Raises:
            BusLostError: The port is gone, after every motor had its attempt.
        """
        if self._bus is None:
            return
        was_armed, self._armed, self._fault = self._armed, False, {}
        self._unconfirmed = set(torque_off(self._bus, self._robot))
        if was_armed:
            self._family.end_watchdog(
                self._bus, self._robot.joints[0].model, self._robot.ids)
        self._bus.settle()

    # Every cycle

    def write(self, targets_rad: np.ndarray) -> None:
        """Move the goals towards targets, within every limit there is.

        While a joint has not been heard for `max_sample_age_s`, all goals stay where they are.

        Args:
            targets_rad: Shape (n,), order of the joint table, [rad].

        Raises:
            NotArmedError: The motors are off.
            ValueError: Wrong shape, or a value that is not finite.
            ServoFaultError: `read` has found a servo in trouble.
            BusLostError: The port is gone.
        """
        bus = self._ready()
        targets = np.asarray(targets_rad, dtype=float)
        if targets.shape != (len(self.table),):
            raise ValueError(f'{len(self.table)} joints, but values of shape {targets.shape}')
        if not np.isfinite(targets).all():
            raise ValueError('joint values must be finite numbers')
        began_s = bus.port.now_s()
        bus.settle()
        now_s = bus.port.now_s()
        if not self._stale(now_s):
            self._goal_rad = self._step(targets, now_s)
            self._goal_ticks = self._scale.to_ticks(self._goal_rad, self._turns)
        self._send_goals(bus, now_s)
        self._busy_s += bus.port.now_s() - began_s

    def hold(self) -> None:
        """Send the last goals once more, so that the servos hear something; raises as `write`."""
        bus = self._ready()
        began_s = bus.port.now_s()
        bus.settle()
        self._send_goals(bus, bus.port.now_s())
        self._busy_s += bus.port.now_s() - began_s

    def read(self) -> ServoState:
        """Measure all joints that answer.

        Raises:
            ServoFaultError: The motors are on and a servo is in trouble; `write` refuses until
                `disarm`.
            BusLostError: The port is gone, or no servo answers any more.
        """
        bus, reader = self._opened()
        began_s = bus.port.now_s()
        reader.cycle(min(began_s - self._read_s, 1.0))
        self._read_s = began_s
        now_s = bus.port.now_s()
        cycle_s, self._busy_s = self._busy_s + now_s - began_s, 0.0
        if reader.silent_cycles >= _SILENT_CYCLES and now_s - reader.heard_s > _SILENCE_S:
            raise BusLostError('no servo answers any more: check power and cable')
        state = self._samples.state(now_s, self._trouble(), bus.statistics.retries, cycle_s)
        if self._armed:
            self._raise_fault()
        return state

    def _ready(self) -> ServoBus:
        bus, _ = self._opened()
        if not self._armed:
            raise NotArmedError('the motors are off: call arm() first')
        if self._fault:
            raise ServoFaultError(self._fault)
        return bus

    def _step(self, targets: np.ndarray, now_s: float) -> np.ndarray:
        share = speed_share(self._samples.temperature_c, self._temperature_limit_c)
        return self._limiter.step(self._goal_rad, targets, self._samples.positions_rad(),
                                  self._since_write_s(now_s), share)

    def _since_write_s(self, now_s: float) -> float:
        return min(max(0.0, now_s - self._written_s), _MAX_STEP_S)

    def _send_goals(self, bus: ServoBus, now_s: float) -> None:
        sync_write_register(bus, self._robot, 'goal_position', self._goal_ticks.tolist())
        self._written_s = now_s

    # Judging

    def _stale(self, now_s: float) -> list[str]:
        """Return the joints that have not been heard for too long."""
        old = ~(self._samples.age_s(now_s) <= self._parameters.max_sample_age_s)
        return [name for name, is_old in zip(self._robot.names, old, strict=True) if is_old]

    def _judge(self, row: int, status: Mapping[str, int], alarms: Sequence[str]) -> str:
        """Say what is wrong with a servo, or ''."""
        trouble = self._family.trouble(status, alarms)
        if self._armed and not trouble:
            if self._family.tripped(status):
                return 'stopped by itself, because it heard nothing for too long: arm again'
            if not status['torque_enable']:
                return ('its motor went off by itself: it started anew, or shut down; check its '
                        'power, then arm again')
        if not self._armed:
            self._see_off(row, status)
        return trouble

    def _see_off(self, row: int, status: Mapping[str, int]) -> None:
        """See that the motor of a servo that was heard is off."""
        if not status['torque_enable']:
            self._unconfirmed.discard(row)
            return
        self._unconfirmed.add(row)
        if self._bus is not None:
            joint = self._robot.joints[row]
            register = joint.model.registers['torque_enable']
            self._bus.sync_write(register.address, {joint.id: b'\0'})

    def _trouble(self) -> list[str]:
        """Say what is wrong with each servo, or ''."""
        words = []
        limit_c = self._temperature_limit_c - _STOP_BELOW_LIMIT_C
        for row, text in enumerate(self._samples.trouble):
            if not text and self._samples.temperature_c[row] >= limit_c[row]:
                text = (f'at {self._samples.temperature_c[row]:.0f} C, too near to its limit of '
                        f'{self._temperature_limit_c[row]} C: let it cool, and lighten its load')
            if not text and row in self._unconfirmed:
                text = 'does not confirm that its motor is off: cut its power'
            words.append(text)
        return words

    def _raise_fault(self) -> None:
        """Raise ServoFaultError where a servo is in trouble."""
        self._fault = {name: text for name, text
                       in zip(self._robot.names, self._trouble(), strict=True) if text}
        if self._fault:
            raise ServoFaultError(self._fault)

    def _name_in(self, error: Exception) -> str:
        """Name the joint that an error is about."""
        id_ = getattr(error, 'id', None)
        return next((joint.name for joint in self._robot.joints if joint.id == id_), 'servo')
