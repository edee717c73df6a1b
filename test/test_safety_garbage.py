"""The safety filter fed with everything at once."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safety_rig import (
    CYCLE_S,
    FILTER,
    MIDDLE,
    NAMES,
    TABLE,
    N,
    P,
    moving_rig,
    target_at,
)

from hand_imitation.arm.audit import CommandAuditor
from hand_imitation.arm.safety import (
    MAX_STEP_CYCLES,
    REASONS,
    Measured,
    Target,
    resume,
    stop,
)

# Everything at once

def random_target(rng, now_s, tick):
    """Return garbage of some kind, or a valid target that jumps about."""
    names, positions = NAMES, rng.uniform(TABLE.lower_rad - 1.0, TABLE.upper_rad + 1.0)
    changes = {}
    kind = tick % 37
    if kind == 0:
        positions[rng.integers(N)] = rng.choice([math.nan, math.inf, -math.inf, 1e300])
    elif kind == 1:
        positions = positions[:rng.integers(N)]
    elif kind == 2:
        names = ('toe', *NAMES[1:])
    elif kind == 3:
        order = rng.permutation(N)
        names, positions = tuple(NAMES[row] for row in order), positions[order]
    elif kind == 4:
        kept = rng.integers(N)
        names, positions = NAMES[kept:], positions[kept:]
    elif kind == 5:
        changes = {'stamp_age_s': rng.choice([-1e9, -1.0, 0.3, 1e9, math.nan])}
    elif kind == 6:
        changes = {'received_s': now_s + rng.choice([-1e9, -1.0, 1.0, 1e9, math.nan])}
    elif kind == 7:
        changes = {'stamp_s': rng.choice([0.0, 1e9 + now_s - 1.0, math.nan, math.inf])}
    elif kind == 8:
        names = (NAMES[0],) * N
    return target_at(now_s, positions, names, **changes)


def assert_bounded(commands, gaps, excused):
    """Check limits, speed and acceleration of a run, from its positions alone.

    Args:
        commands: Shape (n, joints), [rad].
        gaps: Shape (n,), time since the command before [s].
        excused: Shape (n,), whether the arm came back elsewhere before this command.
    """
    assert (commands >= TABLE.lower_rad).all() and (commands <= TABLE.upper_rad).all()
    excused = excused[1:]
    steps, gaps = np.diff(commands, axis=0), gaps[1:]
    assert (np.abs(steps) <= TABLE.max_velocity_rad_s * gaps[:, None] + 1e-12)[~excused].all()
    moving = gaps > 0.0
    steps, gaps, excused = steps[moving], gaps[moving], excused[moving]
    bounded = np.minimum(gaps, MAX_STEP_CYCLES * CYCLE_S)[:, None]
    velocities = steps / bounded
    # The step after a return is judged too, from rest.
    velocities[excused] = 0.0
    fine = ~excused[1:]
    change = np.abs(np.diff(velocities, axis=0))
    assert (change <= P.brake_rad_s2 * gaps[1:, None] + 1e-6)[fine].all()
    turned = velocities[1:] * velocities[:-1] <= 0.0
    gained = np.abs(velocities[1:]) - np.where(turned, 0.0, np.abs(velocities[:-1]))
    assert (gained <= P.max_acceleration_rad_s2 * bounded[1:] + 1e-6)[fine].all()


def test_100000_steps_of_garbage_stay_bounded():
    rng = np.random.default_rng(3)
    steps = 100_000
    gaps = rng.choice([0.0, 0.001, 0.01, 0.01, 0.01, 0.012, 0.04], steps)
    gaps[::997] = rng.choice([0.2, 3.0], len(gaps[::997]))
    commands = np.empty((steps, N))
    excused = np.zeros(steps, dtype=bool)
    state, pose, now_s, target = FILTER.initial_state(), MIDDLE, 0.0, None
    modes, words = set(), set()
    auditor = CommandAuditor(TABLE)
    for tick in range(steps):
        now_s += gaps[tick]
        if tick % 3 == 0 and tick % 500 > 60:
            target = random_target(rng, now_s, int(rng.integers(1000)) if tick % 2 else 10)
        measured = Measured(NAMES, pose, now_s) if tick % 2000 < 1950 else None
        if tick % 2000 == 1999:
            pose = rng.uniform(TABLE.lower_rad, TABLE.upper_rad)
        if tick % 3001 == 0:
            state = stop(state)
        elif tick % 3001 == 40:
            state = resume(state)
        state, command = FILTER.step(state, target, measured, now_s)
        commands[tick] = command.positions
        if tick < 10_000:
            if measured is not None:
                auditor.measured(NAMES, pose, now_s)
            auditor.command(NAMES, command.positions, now_s)
        modes.add(command.mode)
        for reason in command.reasons:
            word = reason.split(' ')[0]
            words.add(word)
            excused[tick] |= word == 'restarted'
        pose = command.positions if measured is not None else pose
    assert_bounded(commands, gaps, excused)
    assert auditor.limit_violations == 0, auditor.first
    assert modes == {'holding', 'ramping', 'tracking', 'stopped'}
    # Every reason occurs but those that need a whole scene of their own, and no other.
    assert set(REASONS) - words <= {'clock', 'measured_outside', 'missing', 'repeated_stamp'}
    assert words <= set(REASONS)
    assert np.abs(np.diff(commands, axis=0)).sum() > 1000.0


anything = st.floats(allow_nan=True, allow_infinity=True)
any_name = st.one_of(st.sampled_from(NAMES), st.text(max_size=5))
any_target = st.builds(
    Target,
    names=st.one_of(st.just(NAMES), st.permutations(NAMES), st.lists(any_name, max_size=14)),
    positions=st.one_of(
        st.lists(st.floats(-2.0, 2.0), min_size=N, max_size=N), st.lists(anything, max_size=14)),
    stamp_s=st.one_of(st.floats(0.0, 10.0), anything),
    stamp_age_s=st.one_of(st.floats(-0.1, 0.4), anything),
    received_s=st.one_of(st.floats(0.0, 3.0), anything),
)
any_measured = st.builds(
    Measured,
    names=st.one_of(st.just(NAMES), st.lists(any_name, max_size=14)),
    positions=st.one_of(
        st.lists(st.floats(-1.0, 1.0), min_size=N, max_size=N), st.lists(anything, max_size=14)),
    received_s=st.one_of(st.floats(0.0, 3.0), anything),
)


@given(st.lists(
    st.tuples(st.none() | any_target, st.none() | any_measured, st.floats(-0.05, 0.3)),
    max_size=15))
@settings(max_examples=150, deadline=None)
def test_step_is_pure_and_bounded_for_any_input(inputs):
    now_s = 0.0
    state, command = FILTER.step(
        FILTER.initial_state(), None, Measured(NAMES, MIDDLE, now_s), now_s)
    before = command.positions
    for target, measured, dt_s in inputs:
        now_s += dt_s
        first, command = FILTER.step(state, target, measured, now_s)
        again, same = FILTER.step(state, target, measured, now_s)
        assert (command.mode, command.reasons) == (same.mode, same.reasons)
        for field in dataclasses.fields(first):
            np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
        positions = command.positions
        assert (positions >= TABLE.lower_rad).all() and (positions <= TABLE.upper_rad).all()
        if not any(reason.startswith('restarted') for reason in command.reasons):
            assert (np.abs(positions - before) <= TABLE.max_velocity_rad_s * 0.03 + 1e-12).all()
        state, before = first, positions


def test_inputs_are_neither_changed_nor_kept():
    wanted, pose = MIDDLE + 0.1, MIDDLE.copy()
    state, _ = FILTER.step(
        FILTER.initial_state(), target_at(1.0, wanted), Measured(NAMES, pose, 1.0), 1.0)
    np.testing.assert_array_equal(wanted, MIDDLE + 0.1)
    np.testing.assert_array_equal(pose, MIDDLE)
    wanted[:], pose[:] = 9.0, 9.0
    for name in ('goal', 'measured', 'command'):
        assert (getattr(state, name) < 2.0).all()


def test_what_comes_out_cannot_be_written_to():
    rig, _ = moving_rig()
    for array in (rig.command.positions, rig.command.velocities, rig.state.goal):
        with pytest.raises(ValueError):
            array[0] = 9.0
