"""Promises about what is commanded: garbage, silence, a lost hand."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from hand_imitation.emulator.record import WireEvent
from hand_imitation.evaluation.promises.outcome import Outcome
from hand_imitation.evaluation.promises.rig import CYCLE_S, Rig
from hand_imitation.hardware.bus_loop import Cycle, Mode

_CYCLES_PER_READ = 5
_INPUT_TIMEOUT_S = 0.1


def garbage(family: str, count: int) -> list[Outcome]:
    """Send targets of every bad kind between good ones that jump about.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: Targets.
    """
    rig = Rig(family).start()
    limits = dict(zip(rig.robot.ids, zip(
        rig.scale.lower_ticks, rig.scale.upper_ticks, strict=True), strict=True))
    seen = outside = 0

    def look(event: WireEvent) -> None:
        nonlocal seen, outside
        if event.register == 'goal_position':
            low, high = limits[event.id]
            seen += 1
            outside += not low <= event.value <= high

    rig.bus.on_write = look
    for number in range(count):
        _show_garbage(rig, number)
        if number % _CYCLES_PER_READ == 0:
            rig.cycle()
        else:
            # The driver alone, more often than it reads: it must not count on the filter.
            rig.command()
            _write_garbage(rig, number)
    return [Outcome(
        'nothing outside the limits reaches the wire', f'{family}: {count} targets with NaN, '
        'infinity, wrong length, shuffled, unknown and doubled names, false stamps, and values '
        'beyond the limits', '0 goals outside', f'{outside} of {seen} goals', outside == 0
        and seen > count)]


def _write_garbage(rig: Rig, number: int) -> None:
    targets = rig.rng.uniform(rig.table.lower_rad - 3.0, rig.table.upper_rad + 3.0)
    if number % 7 == 0:
        targets[rig.rng.integers(len(targets))] = rig.rng.choice([math.nan, math.inf, -math.inf])
    elif number % 11 == 0:
        targets = targets[:-1]
    with contextlib.suppress(ValueError):  # refused, as it should be
        rig.arm.write(targets)


def _show_garbage(rig: Rig, number: int) -> None:
    """Show one target, bad in one of many ways, or good."""
    rng, names = rig.rng, list(rig.table.names)
    positions = rng.uniform(rig.table.lower_rad - 2.0, rig.table.upper_rad + 2.0)
    off_s = 0.0
    kind = number % 12
    if kind == 0:
        positions[rng.integers(len(names))] = rng.choice([math.nan, math.inf, -math.inf, 1e300])
    elif kind == 1:
        positions = positions[:rng.integers(len(names))]
    elif kind == 2:
        names[rng.integers(len(names))] = 'toe'
    elif kind == 3:
        order = rng.permutation(len(names))
        names, positions = [names[row] for row in order], positions[order]
    elif kind == 4:
        names[0] = names[1]
    elif kind == 5:
        off_s = float(rng.choice([-1e9, -1.0, 1.0, 1e9]))
    rig.show(positions, names, off_s)


def silence_of_the_policy(family: str, count: int) -> list[Outcome]:
    """End the targets, or let their stamps go wrong, while everything moves.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often each.
    """
    outcomes = []
    for words, off_s in (('targets end', None), ('stamps 1 s old', -1.0),
                         ('stamps 1 s in the future', 1.0), ('stamps of another clock', -1e9)):
        latest_s, hold = 0.0, 0
        for number in range(count):
            rig = Rig(family, seed=number).start()
            rig.follow(rig.wave, 2.0 + 0.037 * number)
            last_valid_s = rig.now_s()
            rig.show(rig.wave(last_valid_s))
            rig.cycle()
            rig.forget()
            for _ in range(60):
                if off_s is not None:
                    rig.show(rig.wave(rig.now_s()), stamp_off_s=off_s)
                rig.cycle()
            latest_s = max(latest_s, rig.last_goal_change_s() - last_valid_s)
            hold += rig.mode == 'holding' and len(rig.goals) > 40 * len(rig.bus.servos)
        bound_s = _INPUT_TIMEOUT_S + CYCLE_S
        outcomes.append(Outcome(
            'goals stand still soon after the last valid target, and are still repeated',
            f'{family}: {words}, {count} times',
            f'{bound_s * 1e3:.0f} ms', f'{latest_s * 1e3:.0f} ms, holding {hold} of {count}',
            latest_s <= bound_s and hold == count))
    return outcomes


def lost_hand(family: str, count: int) -> list[Outcome]:
    """Lose the hand for a second; it comes back in another pose.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often.
    """
    moved_rad, fastest = 0.0, 0.0
    for number in range(count):
        rig = Rig(family, seed=number).warm_up()
        rig.idle(0.3)
        rest = _positions(rig)
        rig.idle(0.7)
        moved_rad = max(moved_rad, float(np.abs(_positions(rig) - rest).max()))
        far = np.where(_positions(rig) > (rig.table.lower_rad + rig.table.upper_rad) / 2,
                       rig.table.lower_rad, rig.table.upper_rad)
        fastest = max(fastest, _fastest_towards(rig, far, 0.1))
    return [
        Outcome('a lost hand holds the arm where it is', f'{family}: no hand for 1 s, {count} '
                'times, in motion', '0.02 rad in 0.7 s', f'{moved_rad:.3f} rad',
                moved_rad <= 0.02),
        Outcome('when the hand is back, the arm follows gradually', f'{family}: it is back in '
                f'another pose, {count} times', '0.30 of full speed in the first 0.1 s',
                f'{fastest:.2f}', fastest <= 0.3)]


def silence_of_the_commander(family: str, count: int) -> list[Outcome]:
    """Let the commander die while everything moves; the driver lives on.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often.
    """
    hold_s, off_s, off = 0.0, 0.0, 0
    for number in range(count):
        rig = Rig(family, seed=number).warm_up()
        died_s = rig.now_s() - CYCLE_S
        rig.forget()
        cycle: Cycle | None = None
        while rig.now_s() < died_s + 2.5 and (cycle is None or cycle.mode is Mode.ARMED):
            began_s = rig.now_s()
            cycle = rig.loop.cycle()
            rig.pass_time(began_s + CYCLE_S)
        hold_s = max(hold_s, rig.last_goal_change_s() - died_s)
        told = [time_s for time_s, _, on in rig.switched if not on]
        off_s = max(off_s, max(told, default=math.inf) - died_s)
        off += rig.motors_on() == 0
    return [
        Outcome('silence of the commander stops the goals', f'{family}: commander dead in '
                f'motion, {count} times', '110 ms', f'{max(hold_s, 0.0) * 1e3:.0f} ms',
                hold_s <= 0.11),
        Outcome('lasting silence of the commander switches the motors off',
                f'{family}: commander dead, {count} times', '2.1 s, all 12 off',
                f'{off_s:.2f} s, all off {off} of {count}', off_s <= 2.1 and off == count)]


def _fastest_towards(rig: Rig, pose: np.ndarray, seconds: float) -> float:
    """Show a pose for a while; return the highest speed, as a share of each joint's limit."""
    shares: list[float] = []

    def note(cycle: Cycle) -> None:
        shares.append(float(np.max(_speeds(rig) / rig.table.max_velocity_rad_s)))

    rig.follow(lambda time_s: pose, seconds, note)
    return max(shares)


def _positions(rig: Rig) -> np.ndarray:
    """Where the joints really are, shape (n,), [rad]."""
    return rig.scale.to_rad([servo.position for servo in rig.bus.servos])


def _speeds(rig: Rig) -> np.ndarray:
    """How fast the joints really are, shape (n,), [rad/s]."""
    gear = np.array([joint.gear_ratio for joint in rig.robot.joints])
    return np.abs([servo.motor.velocity_rad_s for servo in rig.bus.servos]) / gear
