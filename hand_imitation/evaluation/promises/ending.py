"""Promises about the end: the driver dies, the adapter is pulled out, somebody stops it."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.evaluation.promises.outcome import Outcome
from hand_imitation.evaluation.promises.rig import Rig
from hand_imitation.hardware.bus_loop import Mode

_STILL_RAD_S = 0.01


class _Broken(Exception):
    """What breaks in the driver."""


def driver_dies(family: str, count: int) -> list[Outcome]:
    """Kill the driver in motion: not a byte more, no goodbye.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often.
    """
    still_s, way_rad, resumed_rad = 0.0, 0.0, 0.0
    for number in range(count):
        rig = Rig(family, seed=number).start()
        rig.follow(rig.wave, 2.0 + 0.061 * number)
        last_s = rig.bus.host_free_s
        before = _positions(rig)
        moving_s = last_s
        while rig.now_s() < last_s + 1.5:
            rig.pass_time(rig.now_s() + 0.002)
            if rig.fastest_rad_s() > _STILL_RAD_S:
                moving_s = rig.now_s()
        still_s = max(still_s, moving_s - last_s)
        rest = _positions(rig)
        way_rad = max(way_rad, float(np.abs(rest - before).max()))
        # A newcomer on the bus that only sends goals must not set it in motion again.
        rig.arm.hold()
        rig.pass_time(rig.now_s() + 1.0)
        resumed_rad = max(resumed_rad, float(np.abs(_positions(rig) - rest).max()))
    if family == 'dynamixel':
        return [
            Outcome('a dead driver cannot leave servos running', f'{family}: driver killed in '
                    f'motion, {count} times', '120 ms to standstill', f'{still_s * 1e3:.0f} ms',
                    still_s <= 0.12),
            Outcome('what the bus watchdog stopped does not resume by itself', f'{family}: a goal '
                    f'sent afterwards, {count} times', '0.01 rad', f'{resumed_rad:.3f} rad',
                    resumed_rad <= 0.01)]
    lead_rad = rig.parameters.max_lead_rad
    return [Outcome(
        'a dead driver cannot leave servos running: they have no watchdog, so goals stay near',
        f'{family}: driver killed in motion, {count} times', f'{lead_rad + 0.02:.2f} rad more',
        f'{way_rad:.2f} rad, still after {still_s * 1e3:.0f} ms', way_rad <= lead_rad + 0.02)]


def unplugging(family: str, count: int) -> list[Outcome]:
    """Pull the adapter out in the middle of a read, and plug it in again.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often.
    """
    fault_s, found_s, on = 0.0, 0.0, 0
    for number in range(count):
        rig = Rig(family, seed=number).warm_up()
        rig.inject(f'unplug:at={0.0005 * (number % 10)}')
        pulled_s = rig.now_s() + 0.0005 * (number % 10)
        while rig.loop.mode is Mode.ARMED and rig.now_s() < pulled_s + 1.0:
            rig.show(rig.wave(rig.now_s()))
            rig.cycle()
        fault_s = max(fault_s, rig.now_s() - pulled_s)
        rig.idle(0.7)
        back_s = rig.inject('replug')
        while rig.loop.mode is Mode.LOST and rig.now_s() < back_s + 5.0:
            rig.cycle()
        found_s = max(found_s, rig.now_s() - back_s)
        rig.idle(1.0)
        on += rig.motors_on() > 0
    return [
        Outcome('an unplugged bus is a fault at once, and the driver lives', f'{family}: adapter '
                f'pulled out in a cycle, {count} times', '100 ms', f'{fault_s * 1e3:.0f} ms',
                fault_s <= 0.1),
        Outcome('it is found again', f'{family}: plugged in again, {count} times', '2 s',
                f'{found_s:.2f} s', found_s <= 2.0),
        Outcome('arming again is deliberate', f'{family}: the same', '0 times a motor on',
                f'{on}', on == 0)]


def stopping(family: str, count: int) -> list[Outcome]:
    """Close the driver in motion: all well, or with a servo dead, or with packets lost.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often each.
    """
    took_s, left, told, open_ports = 0.0, 0, math.inf, 0
    cases = ((), ('dead:id=4',), ('drop:p=0.2',), ('corrupt:p=0.2',))
    for number in range(count * len(cases)):
        faults = cases[number % len(cases)]
        rig = Rig(family, seed=number).warm_up()
        for fault in faults:
            rig.inject(fault)
        rig.cycle()
        rig.forget()
        began_s = rig.now_s()
        rig.loop.close()
        took_s = max(took_s, rig.now_s() - began_s)
        open_ports += rig.port_open
        alive = [servo for servo in rig.bus.servos if servo.alive]
        heard = {id_ for _, id_, on in rig.switched if not on}
        told = min(told, len(heard) - len(alive))
        left += sum(bool(servo.motor.on) for servo in alive)
    total = count * len(cases)
    return [Outcome(
        'stopping attempts torque off on all joints and closes the port', f'{family}: closed in '
        f'motion {total} times, also with a servo dead, 20% lost, 20% changed',
        '500 ms; every living motor off', f'{took_s * 1e3:.0f} ms; {left} motors left on, '
        f'{open_ports} ports left open', took_s <= 0.5 and left == 0 and open_ports == 0)]


def breaking(family: str, count: int) -> list[Outcome]:
    """Let the driver's own code break in motion.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often.
    """
    left = 0
    for number in range(count):
        rig = Rig(family, seed=number).warm_up()
        with contextlib.suppress(_Broken), rig.arm:
            rig.cycle()
            raise _Broken
        left += rig.motors_on()
    return [Outcome(
        'an exception in the driver switches the motors off', f'{family}: {count} times',
        '0 motors left on', f'{left}', left == 0)]


def wrong_set_up(family: str, count: int) -> list[Outcome]:
    """Open a bus on which something is not what it should be.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often each.
    """
    slowest_s, refused, moved = 0.0, 0, 0
    cases = (_other_baud, _missing_id, _same_id_twice, _other_model, _no_power) * count
    for make_wrong in cases:
        rig = Rig(family)
        make_wrong(rig)
        began_s = rig.now_s()
        try:
            rig.loop.open()
        except UserError:
            refused += 1
        slowest_s = max(slowest_s, rig.now_s() - began_s)
        moved += rig.motors_on() + len(rig.goals)
    return [Outcome(
        'a bus that is not as described is refused with a remedy, nothing moved',
        f'{family}: wrong baud, missing id, id twice, another model, no power',
        f'{len(cases)} of {len(cases)} in 3 s',
        f'{refused} of {len(cases)}, slowest {slowest_s:.2f} s, {moved} moved',
        refused == len(cases) and slowest_s <= 3.0 and moved == 0)]


def _other_baud(rig: Rig) -> None:
    for servo in rig.bus.servos:
        servo.table['baud'] = servo.bauds[57_600]


def _missing_id(rig: Rig) -> None:
    rig.inject('dead:id=7')


def _same_id_twice(rig: Rig) -> None:
    rig.bus.servos[6].table['id'] = 6


def _other_model(rig: Rig) -> None:
    rig.bus.servos[3].table['model_number'] = 1020 if rig.family == 'dynamixel' else 2825


def _no_power(rig: Rig) -> None:
    rig.inject('dead')


def _positions(rig: Rig) -> np.ndarray:
    """Where the joints really are, shape (n,), [rad]."""
    return rig.scale.to_rad([servo.position for servo in rig.bus.servos])

