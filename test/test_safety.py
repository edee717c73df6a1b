"""The safety filter on good input: start, tracking, timing and settings."""

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
    Rig,
    moving_rig,
    target_at,
    tracking_rig,
)

from hand_imitation.arm.safety import (
    MAX_STEP_CYCLES,
    Measured,
    SafetyFilter,
    SafetyParameters,
)
from hand_imitation.errors import UserError

# Start

def test_nothing_is_commanded_before_the_arm_was_measured():
    state, command = FILTER.step(FILTER.initial_state(), target_at(1.0, MIDDLE), None, 1.0)
    assert command.positions is None and command.velocities is None
    assert command.mode == 'waiting' and 'no_measurement' in command.reasons


def test_start_waits_for_every_joint():
    state = FILTER.initial_state()
    state, command = FILTER.step(state, None, Measured(NAMES[:11], MIDDLE[:11], 1.0), 1.0)
    assert command.mode == 'waiting' and 'no_measurement elbow' in command.reasons
    state, command = FILTER.step(state, None, Measured(('elbow',), [0.3], 1.01), 1.01)
    np.testing.assert_array_equal(command.positions, [*MIDDLE[:11], 0.3])


def test_start_does_not_combine_old_with_new_measurements():
    state = FILTER.initial_state()
    state, _ = FILTER.step(state, None, Measured(NAMES[:11], MIDDLE[:11], 1.0), 1.0)
    state, command = FILTER.step(state, None, Measured(('elbow',), [0.3], 1.2), 1.2)
    assert command.mode == 'waiting'


@pytest.mark.parametrize('measured', [
    Measured(NAMES, [math.nan] * N, 1.0), Measured(NAMES, MIDDLE[:5], 1.0),
    Measured(NAMES, MIDDLE, 0.8), Measured(NAMES, MIDDLE, 1.5), Measured(NAMES, MIDDLE, math.nan),
    Measured((*NAMES, 'wrist'), [*MIDDLE, 0.1], 1.0), Measured(NAMES, ['x'] * N, 1.0),
    Measured((), [], 1.0),
])
def test_bad_measurement_does_not_start_the_arm(measured):
    _, command = FILTER.step(FILTER.initial_state(), target_at(1.0, MIDDLE), measured, 1.0)
    assert command.mode == 'waiting'


def test_measured_is_matched_by_name_and_may_hold_more_joints():
    pose = TABLE.lower_rad + 0.01 * np.arange(N)
    names, values = (*NAMES[::-1], 'index_tip'), [*pose[::-1], 9.0]
    _, command = FILTER.step(FILTER.initial_state(), None, Measured(names, values, 1.0), 1.0)
    np.testing.assert_array_equal(command.positions, pose)


def test_1000_random_starts_never_jump():
    rng = np.random.default_rng(1)
    for _ in range(1000):
        pose = rng.uniform(TABLE.lower_rad - 0.09, TABLE.upper_rad + 0.09)
        rig = Rig(pose)
        wanted = rng.uniform(TABLE.lower_rad, TABLE.upper_rad)
        for _ in range(6):
            rig.step(target_at(100.01, wanted))
        np.testing.assert_array_equal(
            rig.commands[0], np.clip(pose, TABLE.lower_rad, TABLE.upper_rad))
        steps = np.abs(np.diff(rig.commands, axis=0))
        ramp = np.arange(1, 6)[:, None] * CYCLE_S / P.start_ramp_s
        assert (steps <= TABLE.max_velocity_rad_s * ramp * CYCLE_S + 1e-9).all()


def test_pose_far_outside_the_limits_is_no_start():
    pose = MIDDLE.copy()
    pose[11] = TABLE.upper_rad[11] + 0.2
    rig = Rig(pose)
    assert rig.step(target_at(100.01, MIDDLE)).mode == 'waiting'
    assert 'measured_outside elbow' in rig.command.reasons
    rig.pose = MIDDLE
    assert rig.step().positions is not None


def test_start_ramp_grows_gradually():
    rig = Rig(TABLE.lower_rad)
    rig.step()
    # The target keeps running away, so that only the ramp limits the speed.
    wide = SafetyFilter(dataclasses.replace(TABLE, upper_rad=np.full(N, 50.0)), P)
    rig = Rig(TABLE.lower_rad, wide)
    rig.step()
    rig.follow(lambda now_s: np.full(N, 5.0 * (now_s - 100.0) + 0.9), 1.6)
    speeds = np.array(rig.velocities)[:, 0]
    assert speeds[:5].max() < 0.3
    assert (np.diff(speeds[1:120]) > 0).all()
    assert rig.modes[100] == 'ramping' and rig.modes[-1] == 'tracking'


# Tracking

def test_step_of_90_degrees_is_quick_and_exact():
    rig = tracking_rig(TABLE.lower_rad)
    start_s = rig.now_s
    wanted = TABLE.lower_rad.copy()
    wanted[:10] = 1.55
    rig.follow(wanted, 0.6)
    commands = np.array(rig.commands)[:, :10]
    arrived = np.all(np.abs(commands - 1.55) < 0.01, axis=1)
    assert rig.times[int(np.argmax(arrived))] - start_s < 0.45
    np.testing.assert_allclose(commands[-1], 1.55, atol=1e-9)


def test_sine_at_camera_rate_is_followed_without_stutter():
    rig = tracking_rig()
    start_s = rig.now_s
    amplitude = 0.7

    def wanted(now_s):
        pose = MIDDLE.copy()
        pose[:10] += amplitude * math.sin(2 * math.pi * (now_s - start_s))
        return pose

    begin = len(rig.times)
    rig.follow(wanted, 3.0)
    times = np.array(rig.times[begin:]) - start_s
    commands = np.array(rig.commands[begin:])[:, 0] - MIDDLE[0]
    speeds = np.array(rig.velocities[begin:])[:, 0]
    assert set(rig.modes[begin:]) == {'tracking'}
    # Fully under way the joint never stops nor turns between two frames.
    lagging = 2 * math.pi * amplitude * np.cos(2 * math.pi * (times - 0.05))
    under_way = (np.abs(lagging) > 2.5) & (times > 0.3)
    assert under_way.sum() > 100
    assert ((speeds / lagging)[under_way] > 0.5).all()
    error = np.abs(commands - amplitude * np.sin(2 * math.pi * times))
    assert error[times > 0.3].max() < 0.4
    assert np.abs(commands).max() > 0.65


@pytest.mark.parametrize('gap_s', [1 / 30, 0.066, 0.07])
def test_speed_does_not_dip_between_late_frames(gap_s):
    wide = SafetyFilter(dataclasses.replace(TABLE, upper_rad=np.full(N, 50.0)), P)
    rig = tracking_rig(TABLE.lower_rad, wide)
    start_s = rig.now_s
    rig.follow(lambda now_s: np.full(N, 0.8 + 5.9 * (now_s - start_s)), 2.0, period_s=gap_s)
    speeds = np.array(rig.velocities)[-150:, :10]
    assert speeds.min() > 5.5
    assert set(rig.modes[-150:]) == {'tracking'}


@given(st.lists(st.floats(0.0, 0.05), min_size=60, max_size=60), st.floats(-0.7, 0.7))
@settings(max_examples=40, deadline=None)
def test_fixed_target_is_never_overshot_whatever_the_timing(gaps, offset):
    rig = tracking_rig()
    wanted = MIDDLE + offset * np.where(TABLE.upper_rad > 1.5, 1.0, 0.5)
    for gap_s in gaps:
        rig.step(target_at(rig.now_s + gap_s, wanted), gap_s)
    way = (np.array(rig.commands) - MIDDLE) * math.copysign(1.0, offset)
    assert (way <= np.abs(wanted - MIDDLE) + 1e-12).all()
    assert (np.diff(way, axis=0) >= -1e-12).all()


def test_targets_beyond_the_limits_stop_at_the_limits():
    rig = tracking_rig()
    rig.follow(np.full(N, 3.0), 1.0)
    np.testing.assert_allclose(rig.command.positions, TABLE.upper_rad, atol=1e-9)
    assert (np.array(rig.commands) <= TABLE.upper_rad).all()
    assert 'clamped index_distal' in rig.command.reasons
    assert sum(reason.startswith('clamped') for reason in rig.command.reasons) == N


def test_limits_of_speed_and_acceleration_are_named():
    rig = tracking_rig(TABLE.lower_rad)
    reasons = []
    for _ in range(60):
        reasons.append(rig.step(target_at(rig.now_s + CYCLE_S, TABLE.lower_rad + 0.95)).reasons)
    assert reasons[0] == ('velocity', 'acceleration')
    assert reasons[-1] == ()


def test_shuffled_names_are_followed_by_name():
    rig = tracking_rig()
    order = np.random.default_rng(2).permutation(N)
    wanted = MIDDLE + 0.02 * np.arange(N)
    for _ in range(50):
        names = [NAMES[row] for row in order]
        rig.step(target_at(rig.now_s + CYCLE_S, wanted[order], names))
    np.testing.assert_allclose(rig.command.positions, wanted, atol=1e-9)


def test_command_names_the_frame_it_follows():
    rig = tracking_rig()
    good = target_at(rig.now_s + CYCLE_S, MIDDLE)
    assert rig.step(good).stamp_s == good.stamp_s
    bad = target_at(rig.now_s + CYCLE_S, MIDDLE * math.nan)
    assert rig.step(bad).stamp_s == good.stamp_s


# Time

def test_no_time_moves_nothing():
    rig, _ = moving_rig()
    before = rig.command
    after = rig.step(target_at(rig.now_s, TABLE.upper_rad), dt_s=0.0)
    np.testing.assert_array_equal(after.positions, before.positions)
    np.testing.assert_array_equal(after.velocities, before.velocities)


@pytest.mark.parametrize('pause_s', [0.05, 0.2, 5.0, 1e6])
def test_paused_process_does_not_jump(pause_s):
    rig, _ = moving_rig()
    before = rig.command.positions
    rig.step(target_at(rig.now_s + pause_s, TABLE.upper_rad), pause_s)
    bound_s = MAX_STEP_CYCLES * CYCLE_S
    assert (rig.command.positions - before <= TABLE.max_velocity_rad_s * bound_s + 1e-12).all()
    if pause_s >= P.input_timeout_s:
        np.testing.assert_array_equal(rig.command.positions, before)
        assert rig.command.mode == 'ramping'


def test_clock_that_goes_backwards_stops_time():
    rig, _ = moving_rig()
    before = rig.command.positions
    command = rig.step(None, -5.0)
    assert 'clock' in command.reasons
    np.testing.assert_array_equal(command.positions, before)


@pytest.mark.parametrize('now_s', [math.nan, math.inf])
def test_time_that_is_no_number_is_a_programming_error(now_s):
    with pytest.raises(ValueError):
        FILTER.step(FILTER.initial_state(), None, None, now_s)


# Parameters

@pytest.mark.parametrize('changes', [
    {'rate_hz': 0.0}, {'input_timeout_s': math.nan}, {'velocity_scale': 0.0},
    {'velocity_scale': 1.1}, {'start_ramp_s': 0.0},
    {'brake_rad_s2': 50.0, 'max_acceleration_rad_s2': 60.0},
])
def test_bad_parameters_are_refused(changes):
    with pytest.raises(UserError, match=next(iter(changes))):
        SafetyParameters(**changes)


def test_velocity_scale_slows_the_arm_down():
    rig = tracking_rig(TABLE.lower_rad, SafetyFilter(TABLE, SafetyParameters(velocity_scale=0.25)))
    rig.follow(TABLE.upper_rad, 1.0)
    assert np.array(rig.velocities)[:, 0].max() == pytest.approx(1.5)
