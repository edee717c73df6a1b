"""Promises about bytes: what is lost, late, wrong, or somebody else's."""

from __future__ import annotations

import numpy as np

from hand_imitation.emulator.faults import PACKET_FAULTS, Fault
from hand_imitation.evaluation.promises.outcome import Outcome
from hand_imitation.evaluation.promises.rig import CYCLE_S, Rig
from hand_imitation.hardware.bus_loop import Cycle, Mode

_MOST_TICKS = 25
"""How far a limp servo is turned between two cycles: little enough to be believed."""
_CHANCE = 0.03
_MAX_AGE_S = 0.1


def nothing_wrong_is_believed(family: str, count: int) -> list[Outcome]:
    """Spoil, delay, double, swap and cut answers while a hand turns the limp servos.

    In each cycle every servo stands elsewhere, so that an answer of another cycle or of another
    servo, taken for a measurement, shows.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: Answers that are asked for.
    """
    rig = Rig(family)
    rig.loop.open()
    for name in PACKET_FAULTS:
        settings: dict[str, object] = {'p': _CHANCE / 3 if name == 'delay' else _CHANCE}
        if name == 'delay':
            settings['ms'] = 8
        rig.bus.faults.add(Fault.make(name, settings), rig.now_s())
    turn = rig.bus.servos[0].model.ticks_per_turn
    places = np.array([servo.position for servo in rig.bus.servos])
    wrong = believed = 0
    for _ in range(-(-count // len(rig.bus.servos))):
        places = np.clip(places + rig.rng.integers(-_MOST_TICKS, _MOST_TICKS + 1, len(places)),
                         turn // 4, 3 * turn // 4)
        for servo, place in zip(rig.bus.servos, places, strict=True):
            servo.motor.position_rad = place * servo.model.rad_per_tick
        began_s = rig.now_s()
        cycle = rig.loop.cycle()
        if cycle.mode is Mode.LOST:
            # So much went wrong that nobody was heard: it looks for the bus again.
            rig.pass_time(rig.now_s() + 0.5)
            continue
        state = cycle.state
        if state is not None:
            fresh = state.stamp_s - state.sample_age_s >= began_s - 1e-9
            believed += int(fresh.sum())
            wrong += int((np.abs(state.ticks - places) > 1)[fresh].sum())
        rig.pass_time(began_s + CYCLE_S)
    return [Outcome(
        'a lost or wrong byte is never taken for a measurement', f'{family}: {count} answers, '
        f'{100 * _CHANCE:.0f}% each of lost, changed, cut, late, doubled, from another id, of '
        'another length, after noise', '0 wrong measurements', f'{wrong} of {believed}',
        wrong == 0 and believed > count / 4)]


def losses(family: str, seconds: float) -> list[Outcome]:
    """Lose packets while following, and let one servo die.

    Args:
        family: 'dynamixel' or 'feetech'.
        seconds: Emulated time for each.
    """
    outcomes = []
    for words, faults, alive in (
            ('1% of packets lost', ['drop:p=0.01'], 12),
            ('5% of packets lost', ['drop:p=0.05'], 12),
            ('one servo dead, 1% lost', ['dead:id=5', 'drop:p=0.01'], 11)):
        rig = Rig(family).warm_up()
        for fault in faults:
            rig.inject(fault)
        rig.idle(0.3)
        cycles: list[float] = []
        ages: list[float] = []
        living = np.array([servo.alive for servo in rig.bus.servos])

        def note(cycle: Cycle, cycles: list[float] = cycles, ages: list[float] = ages,
                 living: np.ndarray = living) -> None:
            if cycle.state is not None:
                cycles.append(cycle.state.cycle_s)
                ages.append(float(cycle.state.sample_age_s[living].max()))

        rig.follow(rig.wave, seconds, note)
        p99_ms = float(np.percentile(cycles, 99)) * 1e3
        oldest_ms = max(ages) * 1e3
        armed = rig.loop.mode is Mode.ARMED
        outcomes += [
            Outcome(f'the other {alive} stay fresh' if alive < 12 else 'all 12 stay fresh',
                    f'{family}: {words}, {seconds:.0f} s', '100 ms',
                    f'oldest sample {oldest_ms:.0f} ms', oldest_ms <= 100.0 and armed),
            Outcome('the cycle stays short', f'{family}: {words}, {seconds:.0f} s',
                    'p99 20 ms', f'p99 {p99_ms:.1f} ms', p99_ms <= 20.0)]
    return outcomes


def stale_samples_hold(family: str, count: int) -> list[Outcome]:
    """Let one servo die in motion: the others must not go on without it.

    Args:
        family: 'dynamixel' or 'feetech'.
        count: How often.
    """
    latest_s = 0.0
    for number in range(count):
        rig = Rig(family, seed=number).warm_up()
        rig.forget()
        died_s = rig.inject(f'dead:id={1 + number % len(rig.bus.servos)}')
        rig.follow(rig.wave, 0.6)
        latest_s = max(latest_s, rig.last_goal_change_s() - died_s)
    bound_s = _MAX_AGE_S + 2 * CYCLE_S
    return [Outcome(
        'goals stand still when a joint has not been measured for 100 ms', f'{family}: one servo '
        f'dead in motion, {count} times', f'{bound_s * 1e3:.0f} ms', f'{latest_s * 1e3:.0f} ms',
        latest_s <= bound_s)]

