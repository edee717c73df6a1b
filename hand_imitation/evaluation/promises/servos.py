"""Promises about servos in trouble."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.evaluation.promises.outcome import Outcome
from hand_imitation.evaluation.promises.rig import CYCLE_S, Rig
from hand_imitation.hardware.bus_loop import Mode

_ERRORS = ('overload', 'heat', 'voltage')
_FAULT_BOUND_S = 0.2
_DEAF_S = 0.15
"""For how long a servo that starts anew says nothing [s]."""
_HEAT_RATE_C_S = 5.0
_SLOW_BELOW_C, _STOP_BELOW_C = 10.0, 3.0


def servo_errors(family: str, count: int) -> list[Outcome]:
    """Let single servos report errors in motion.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often each.
    """
    surfaced_s, off, cleared, refused, armable = 0.0, 0, 0, 0, 0
    total = count * len(_ERRORS)
    for number in range(total):
        rig = Rig(family, seed=number).warm_up()
        who = 1 + int(rig.rng.integers(len(rig.bus.servos)))
        rig.forget()
        struck_s = rig.inject(f'{_ERRORS[number % len(_ERRORS)]}:id={who}')
        surfaced_s = max(surfaced_s, _time_to_fault(rig, 1.0) - struck_s)
        rig.idle(1.0)
        off += rig.motors_on() == 0
        cleared += rig.bus.servo(who).error_byte() == 0
        refused += not _arms(rig)
        rig.inject(f'heal:id={who}')
        rig.inject(f'reset:id={who}')
        rig.idle(0.5)
        armable += _arms(rig)
    return [
        Outcome("a servo's fault surfaces and ends the motion",
                f'{family}: overload, heat, voltage, {total} in all', '200 ms',
                f'{surfaced_s * 1e3:.0f} ms', surfaced_s <= _FAULT_BOUND_S),
        Outcome('after a fault all motors are off', f'{family}: the same', f'{total} of {total}',
                f'{off} of {total}', off == total),
        Outcome('a fault is never cleared silently', f'{family}: the same',
                '0 cleared, 0 armed while it lasts',
                f'{cleared} cleared, {total - refused} armed',
                cleared == 0 and refused == total),
        Outcome('once a person has mended it, it can be armed again',
                f'{family}: power off and on after each', f'{total} of {total}',
                f'{armable} of {total}', armable == total)]


def power_loss(family: str, count: int) -> list[Outcome]:
    """Let single servos lose power for a moment in motion: they come back with their motor off.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often.
    """
    surfaced_s, off = 0.0, 0
    for number in range(count):
        rig = Rig(family, seed=number).warm_up()
        rig.forget()
        struck_s = rig.inject(f'reset:id={1 + int(rig.rng.integers(len(rig.bus.servos)))}')
        surfaced_s = max(surfaced_s, _time_to_fault(rig, 1.0) - struck_s - _DEAF_S)
        rig.idle(0.3)
        off += rig.motors_on() == 0
    return [Outcome(
        'a servo that started anew ends the motion', f'{family}: power lost for a moment, '
        f'{count} times', '200 ms after it answers again, all off',
        f'{surfaced_s * 1e3:.0f} ms, all off {off} of {count}',
        surfaced_s <= _FAULT_BOUND_S and off == count)]


def temperature(family: str, count: int) -> list[Outcome]:
    """Heat single servos while they follow.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often.
    """
    slow_s, stop_s, share = 0.0, 0.0, 0.0
    for number in range(count):
        rig = Rig(family, seed=number).warm_up()
        who = 1 + int(rig.rng.integers(len(rig.bus.servos)))
        servo = rig.bus.servo(who)
        limit_c = servo.table['temperature_limit']
        servo.motor.temperature_c = limit_c - _SLOW_BELOW_C - 4.0
        rig.inject(f'overheat:id={who},rate={_HEAT_RATE_C_S}')
        crossed_s = _follow_until_c(rig, servo, limit_c - _SLOW_BELOW_C)
        slow_s = max(slow_s, _time_to_slow(rig, who) - crossed_s)
        share = max(share, _share_of_speed(rig, who))
        rig.forget()
        crossed_s = _follow_until_c(rig, servo, limit_c - _STOP_BELOW_C)
        stop_s = max(stop_s, _time_to_fault(rig, 3.0) - crossed_s)
    return [
        Outcome('a servo within 10 C of its limit is slowed', f'{family}: one heated at '
                f'{_HEAT_RATE_C_S:.0f} C/s, {count} times', '1 s, to half its speed',
                f'{slow_s:.2f} s, {share:.2f} of its speed', slow_s <= 1.0 and share <= 0.55),
        Outcome('a servo within 3 C of its limit stops the arm', f'{family}: the same', '1 s',
                f'{stop_s:.2f} s', stop_s <= 1.0)]


def _follow_until_c(rig: Rig, servo, temperature_c: float) -> float:
    """Follow a fast hand until a servo has a temperature; return when [s]."""
    end_s = rig.now_s() + 10.0
    while servo.motor.temperature_c < temperature_c and rig.now_s() < end_s:
        rig.follow(_fast(rig), CYCLE_S)
    return rig.now_s()


def _fast(rig: Rig):
    """Return a hand faster than any joint."""
    def wanted(time_s: float) -> np.ndarray:
        return rig.wave(time_s, 0.95, rate_hz=1.2)
    return wanted


def _time_to_slow(rig: Rig, who: int) -> float:
    """Follow until the driver has heard of the temperature; return when [s]."""
    joint = next(j for j in rig.robot.joints if j.id == who)
    servo = rig.bus.servo(who)
    limit_c = servo.table['temperature_limit'] - _SLOW_BELOW_C
    row = rig.robot.names.index(joint.name)
    end_s = rig.now_s() + 2.0
    while rig.now_s() < end_s:
        rig.show(_fast(rig)(rig.now_s()))
        cycle = rig.cycle()
        if cycle.state is not None and cycle.state.temperature_c[row] >= limit_c:
            return rig.now_s()
    return math.inf


def _share_of_speed(rig: Rig, who: int) -> float:
    """Return the fastest motion of a servo's goal in a while, as a share of the allowed."""
    rig.forget()
    rig.follow(_fast(rig), 0.8)
    joint = next(j for j in rig.robot.joints if j.id == who)
    ticks_s = joint.max_velocity_rad_s * joint.gear_ratio / joint.model.rad_per_tick
    goals = rig.goals_of(who)
    return max(((abs(value - before) - 1) / (time_s - before_s) / ticks_s
                for (before_s, before), (time_s, value) in zip(goals, goals[1:], strict=False)),
               default=0.0)


def _time_to_fault(rig: Rig, within_s: float) -> float:
    """Follow until all motors have been told to go off; return when [s], infinity for never."""
    end_s = rig.now_s() + within_s
    while rig.loop.mode is Mode.ARMED and rig.now_s() < end_s:
        rig.show(rig.wave(rig.now_s()))
        rig.cycle()
    if rig.loop.mode is Mode.ARMED:
        return math.inf
    told = {id_: time_s for time_s, id_, on in rig.switched if not on}
    return max(told.values(), default=math.inf)


def _arms(rig: Rig) -> bool:
    """Try to arm, and say whether a motor went on."""
    with contextlib.suppress(UserError):
        rig.loop.arm()
    return rig.motors_on() > 0
