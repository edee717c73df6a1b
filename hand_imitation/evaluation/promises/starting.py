"""Promises about the moment the motors go on."""

from __future__ import annotations

import contextlib

import numpy as np

from hand_imitation.emulator.record import WireEvent
from hand_imitation.errors import UserError
from hand_imitation.evaluation.promises.outcome import Outcome
from hand_imitation.evaluation.promises.rig import CYCLE_S, Rig, arm_table
from hand_imitation.hardware.bus_loop import Mode

_MARGIN_RAD = 0.05
_FOLLOW_CYCLES = 12


def no_jump(family: str, count: int) -> list[Outcome]:
    """Arm from random poses, with stale goals in the servos, then follow a far hand.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: Poses.
    """
    rng = np.random.default_rng(1)
    seed_ticks, excess = 0.0, 0.0
    for number in range(count):
        rig = _with_stale_goals(family, rng, number)
        rig.loop.open()
        rig.forget()
        seed_ticks = max(seed_ticks, _arm_and_look(rig))
        far = rng.uniform(rig.table.lower_rad, rig.table.upper_rad)
        for _ in range(_FOLLOW_CYCLES):
            # Without the commander's filter: the driver must not count on it.
            rig.loop.command(far)
            began_s = rig.now_s()
            rig.loop.cycle()
            rig.pass_time(began_s + CYCLE_S)
        excess = max(excess, _worst_step(rig))
    return [
        Outcome('the goal is where the servo stands before its motor goes on',
                f'{family}: {count} random poses, stale goals in all servos', '1 tick',
                f'{seed_ticks:.0f} ticks', seed_ticks <= 1),
        Outcome('no step of a goal is faster than the joint may move',
                f'{family}: {count} starts, goals far away at once, past the commander',
                '1.00 of the step its speed limit allows', f'{excess:.2f}', excess <= 1.0)]


def re_arming(family: str, count: int) -> list[Outcome]:
    """Arm again after the adapter was pulled out, or the servos lost power, and were moved.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often each.
    """
    outcomes = []
    for fault in ('unplug', 'reset'):
        rng = np.random.default_rng(2)
        worst, woke = 0.0, 0
        for number in range(count):
            rig = Rig(family, seed=number).warm_up()
            rig.inject(fault)
            rig.idle(0.5)
            if fault == 'unplug':
                rig.inject('replug')
            rig.idle(1.5)
            woke += rig.loop.mode is Mode.ARMED
            rig.loop.disarm()
            _move_by_hand(rig, rng)
            rig.idle(0.2)
            rig.forget()
            worst = max(worst, _arm_and_look(rig))
        words = 'the adapter pulled out' if fault == 'unplug' else 'the servos without power'
        outcomes += [
            Outcome('the motors stay off until they are armed again',
                    f'{family}: {words} for a moment, {count} times', '0 armed by themselves',
                    f'{woke}', woke == 0),
            Outcome('the goal is where the servo stands before its motor goes on again',
                    f'{family}: {words} for a moment, then moved by hand, {count} times',
                    '1 tick', f'{worst:.0f} ticks', worst <= 1)]
    return outcomes


def outside_its_travel(family: str, count: int) -> list[Outcome]:
    """Try to arm with a joint outside its limits.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often.
    """
    rng = np.random.default_rng(3)
    armed = 0
    for number in range(count):
        rig = Rig(family, seed=number)
        servo = rig.bus.servos[rng.integers(len(rig.bus.servos))]
        servo.motor.position_rad += 2.5 * rng.choice([-1, 1])
        rig.loop.open()
        with contextlib.suppress(UserError):
            rig.loop.arm()
        armed += rig.motors_on() > 0
    return [Outcome(
        'a joint outside its travel is not driven', f'{family}: arming {count} times with a '
        'joint 2.5 rad off', '0 motors went on', f'{armed}', armed == 0)]


def _with_stale_goals(family: str, rng: np.random.Generator, seed: int) -> Rig:
    """Return a rig at a random pose whose servos remember other goals."""
    table = arm_table()
    pose = rng.uniform(table.lower_rad + _MARGIN_RAD, table.upper_rad - _MARGIN_RAD)
    rig = Rig(family, seed, pose)
    for servo in rig.bus.servos:
        servo.table['goal_position'] = int(rng.integers(0, servo.model.ticks_per_turn))
    return rig


def _move_by_hand(rig: Rig, rng: np.random.Generator) -> None:
    """Put the joints of a limp arm elsewhere."""
    pose = rng.uniform(rig.table.lower_rad + _MARGIN_RAD, rig.table.upper_rad - _MARGIN_RAD)
    for servo, ticks in zip(rig.bus.servos, rig.scale.to_ticks(pose), strict=True):
        servo.motor.position_rad = ticks * servo.model.rad_per_tick
        servo.motor.velocity_rad_s = 0.0


def _arm_and_look(rig: Rig) -> float:
    """Arm, and return how far goal and servo were apart when a motor went on [ticks]."""
    apart = 0.0

    before = rig.bus.on_write

    def look(event: WireEvent) -> None:
        nonlocal apart
        if before is not None:
            before(event)
        if event.accepted and event.register == 'torque_enable' and event.value:
            servo = rig.bus.servo(event.id)
            apart = max(apart, abs(servo.table['goal_position'] - round(servo.position)))

    rig.bus.on_write = look
    rig.loop.arm()
    rig.bus.on_write = before
    if rig.motors_on() != len(rig.bus.servos):
        raise AssertionError('arming has left motors off')
    return apart


def _worst_step(rig: Rig) -> float:
    """Return the largest step of a goal, as a share of what the joint's speed allows."""
    worst = 0.0
    for joint in rig.robot.joints:
        ticks_s = joint.max_velocity_rad_s * joint.gear_ratio / joint.model.rad_per_tick
        goals = rig.goals_of(joint.id)
        # What was seeded last counts from when the motor went on.
        on_s = max((time_s for time_s, id_, on in rig.switched if id_ == joint.id and on),
                   default=0.0)
        goals = [(max(time_s, on_s), value) for time_s, value in goals]
        for (before_s, before), (time_s, value) in zip(goals, goals[1:], strict=False):
            # Half a tick of rounding at either end.
            allowed = ticks_s * (time_s - before_s) + 1.0
            worst = max(worst, abs(value - before) / allowed)
    return worst
