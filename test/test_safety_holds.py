"""The safety filter when something is missing or wrong: refuse, hold, re-engage."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safety_rig import (
    BAD,
    CYCLE_S,
    FILTER,
    MIDDLE,
    NAMES,
    TABLE,
    N,
    P,
    Rig,
    last_change_s,
    moving_rig,
    target_at,
    tracking_rig,
)

from hand_imitation.arm.safety import (
    Measured,
    SafetyFilter,
    SafetyParameters,
    resume,
    stop,
)

# Refusals

@pytest.mark.parametrize('case', BAD)
def test_bad_target_is_refused_and_held(case):
    rig = tracking_rig()
    for _ in range(30):
        changes = {'positions': TABLE.upper_rad, **BAD[case]}
        command = rig.step(target_at(rig.now_s + CYCLE_S, **changes))
        assert case.split(' (')[0] in command.reasons
    assert command.mode == 'holding' and 'stale' in command.reasons
    np.testing.assert_allclose(rig.command.positions, MIDDLE, atol=1e-9)


def test_old_receipt_is_stale():
    rig = tracking_rig()
    for _ in range(30):
        command = rig.step(target_at(rig.now_s + CYCLE_S, TABLE.upper_rad, received_s=50.0))
    assert command.mode == 'holding' and 'stale' in command.reasons
    np.testing.assert_allclose(rig.command.positions, MIDDLE, atol=1e-9)


def test_all_reasons_at_once_are_reported():
    rig = tracking_rig()
    positions = [math.nan] * N
    names = ('toe', *NAMES[1:11], 'wrist')
    rig.state = stop(rig.state)
    command = rig.step(target_at(rig.now_s + CYCLE_S, positions, names, stamp_age_s=9.0))
    assert {'nan', 'unknown_joint toe', 'duplicate_joint wrist', 'old_stamp', 'stopped'} <= set(
        command.reasons)


def test_a_frame_counts_once():
    rig = tracking_rig()
    frame = target_at(rig.now_s + CYCLE_S, TABLE.upper_rad * 0.8)
    rig.step(frame)
    used_s = rig.now_s
    for _ in range(60):
        again = dataclasses.replace(
            frame, received_s=rig.now_s + CYCLE_S, stamp_age_s=rig.now_s + 0.03 - used_s)
        reasons = rig.step(again).reasons
    assert 'repeated_stamp' in reasons and rig.command.mode == 'holding'
    assert last_change_s(rig, 0) <= used_s + P.input_timeout_s + CYCLE_S


def test_frames_out_of_order_are_refused_but_a_clock_set_back_is_survived():
    rig = tracking_rig()
    rig.step(target_at(rig.now_s + CYCLE_S, MIDDLE))
    early = target_at(rig.now_s + CYCLE_S, TABLE.lower_rad + 0.5, stamp_s=5.0)
    assert 'out_of_order' in rig.step(early).reasons
    for tick in range(100):
        rig.step(target_at(rig.now_s + CYCLE_S, MIDDLE + 0.2, stamp_s=6.0 + tick * CYCLE_S))
    assert rig.command.mode == 'tracking'
    np.testing.assert_allclose(rig.command.positions, MIDDLE + 0.2, atol=1e-9)


def test_frame_refused_once_stays_refused():
    rig = tracking_rig()
    last = target_at(rig.now_s + CYCLE_S, MIDDLE)
    rig.step(last)
    for _ in range(8):
        rig.step()
    early = target_at(rig.now_s + CYCLE_S, TABLE.lower_rad, stamp_s=last.stamp_s - 0.01)
    for _ in range(15):
        rig.step(early)
    np.testing.assert_allclose(rig.command.positions, MIDDLE, atol=1e-9)
    assert rig.command.mode == 'holding'


# Jumps

def test_glitch_of_one_frame_never_moves_the_arm():
    rig = tracking_rig(TABLE.lower_rad)
    seen = []
    for frame in range(30):
        glitch = frame % 3 == 1
        wanted = TABLE.upper_rad if glitch else TABLE.lower_rad
        target = target_at(rig.now_s + CYCLE_S, wanted)
        for _ in range(3):
            command = rig.step(target)
            seen += command.reasons
    assert 'jump index_distal' in seen
    np.testing.assert_array_equal(rig.command.positions, TABLE.lower_rad)


def test_jump_that_stays_is_followed_from_the_second_frame():
    rig = tracking_rig(TABLE.lower_rad)
    first = target_at(rig.now_s + CYCLE_S, TABLE.upper_rad)
    for _ in range(3):
        rig.step(first)
    np.testing.assert_array_equal(rig.command.positions[:10], TABLE.lower_rad[:10])
    rig.step(target_at(rig.now_s + CYCLE_S, TABLE.upper_rad))
    assert (rig.command.velocities[:10] > 0).all()


# Holds

@pytest.mark.parametrize('case', ['silence', *BAD])
@pytest.mark.parametrize('cycle_s', [0.002, 0.01, 0.017, 0.033])
def test_goal_stands_still_in_time_after_the_last_valid_input(case, cycle_s):
    rig, valid_s = moving_rig()
    begin = len(rig.times)
    before = rig.command.positions
    while rig.now_s < valid_s + 0.5:
        changes = {'positions': TABLE.upper_rad, **BAD.get(case, {})}
        bad = target_at(rig.now_s + cycle_s, **changes)
        rig.step(None if case == 'silence' else bad, cycle_s)
    assert last_change_s(rig, begin) <= valid_s + P.input_timeout_s + 1e-9
    assert rig.command.mode == 'holding' and 'stale' in rig.command.reasons
    assert (rig.command.positions >= before).all()


@given(
    st.lists(st.floats(0.0, 0.08), min_size=40, max_size=40), st.floats(0.02, 0.3),
    st.floats(1.0, 300.0))
@settings(max_examples=40, deadline=None)
def test_hold_is_in_time_for_any_timing_and_parameters(gaps, timeout_s, acceleration):
    parameters = SafetyParameters(
        input_timeout_s=timeout_s, max_acceleration_rad_s2=acceleration, start_ramp_s=0.1)
    rig = Rig(MIDDLE, SafetyFilter(TABLE, parameters))
    rig.step()
    for tick in range(15):
        wanted = TABLE.upper_rad if tick % 7 < 4 else TABLE.lower_rad
        rig.step(target_at(rig.now_s + CYCLE_S, wanted))
    valid_s = rig.now_s
    for gap_s in gaps:
        rig.step(None, gap_s)
    assert last_change_s(rig, 0) <= valid_s + timeout_s + 1e-9


def test_hold_keeps_the_last_command_and_not_the_measured_pose():
    rig, _ = moving_rig()
    for _ in range(50):
        rig.step()
    held = rig.command.positions
    for _ in range(100):
        rig.pose = held - 0.1
        np.testing.assert_array_equal(rig.step().positions, held)


def test_reengaging_is_gradual():
    rig, _ = moving_rig()
    for _ in range(50):
        rig.step()
    begin = len(rig.times)
    rig.follow(TABLE.lower_rad, 1.2)
    assert rig.modes[begin] == 'ramping' and rig.modes[-1] == 'tracking'
    speeds = np.abs(np.array(rig.velocities[begin:]))[:, :10].max(axis=1)
    times = np.arange(len(speeds)) * CYCLE_S
    assert (speeds <= 6.0 * times / P.reengage_ramp_s + 1e-9).all()
    assert speeds[:3].max() < 0.5 and (np.diff(speeds[:25]) > 0).all()
    np.testing.assert_allclose(rig.command.positions, TABLE.lower_rad, atol=1e-9)


def test_start_ramp_is_not_shortened_by_a_hold():
    rig = Rig(TABLE.lower_rad)
    rig.follow(TABLE.upper_rad, 0.1)
    for _ in range(20):
        rig.step()
    begin = len(rig.times)
    rig.follow(TABLE.upper_rad, 0.8)
    times = np.array(rig.times[begin:]) - rig.times[begin]
    speeds = np.array(rig.velocities[begin:])[:, :10].max(axis=1)
    assert (speeds <= 6.0 * times / P.start_ramp_s + 1e-9).all()


def test_start_ramp_is_not_shortened_by_other_joints():
    rig = Rig(MIDDLE)
    for _ in range(180):
        rig.step(target_at(rig.now_s + CYCLE_S, MIDDLE[:11], NAMES[:11]))
    assert rig.command.mode == 'tracking'
    begin = len(rig.times)
    rig.follow(TABLE.upper_rad, 0.5)
    times = np.array(rig.times[begin:]) - rig.times[begin]
    speeds = np.array(rig.velocities[begin:])[:, 11]
    assert (speeds <= 4.0 * times / P.start_ramp_s + 1e-9).all() and speeds.max() > 1.0


def test_missing_target_from_the_start():
    rig = Rig(MIDDLE)
    assert rig.step().mode == 'holding' and 'missing' in rig.command.reasons


# Joints left out

def test_joint_left_out_is_held_and_the_rest_followed():
    rig = tracking_rig()
    names = NAMES[:10]
    for _ in range(60):
        command = rig.step(target_at(rig.now_s + CYCLE_S, TABLE.lower_rad[:10], names))
    assert command.mode == 'tracking'
    assert {'omitted wrist', 'omitted elbow'} <= set(command.reasons)
    np.testing.assert_allclose(command.positions[:10], 0.0, atol=1e-9)
    np.testing.assert_allclose(command.positions[10:], MIDDLE[10:], atol=1e-9)


def test_joint_that_comes_back_ramps_alone():
    rig = tracking_rig()
    for _ in range(30):
        rig.step(target_at(rig.now_s + CYCLE_S, MIDDLE[:10], NAMES[:10]))
    begin = len(rig.times)
    rig.follow(MIDDLE + 0.5, 0.2)
    velocities = np.array(rig.velocities[begin:])
    times = np.arange(len(velocities)) * CYCLE_S
    assert (velocities[:, 10] <= 5.0 * times / P.reengage_ramp_s + 1e-9).all()
    assert velocities[:, 0].max() > 4.0


# Measurements

@pytest.mark.parametrize('cycle_s', [0.002, 0.01])
def test_lost_measurements_hold_and_resume_gradually(cycle_s):
    rig, valid_s = moving_rig()
    rig.measured = False
    begin = len(rig.times)
    rig.follow(lambda now_s: TABLE.lower_rad + 0.95 + 4.0 * (now_s - valid_s), 0.5, dt_s=cycle_s)
    assert rig.command.mode == 'holding' and 'no_measurement' in rig.command.reasons
    assert last_change_s(rig, begin) <= valid_s + P.measured_timeout_s + 1e-9
    held = rig.command.positions
    assert (held < TABLE.upper_rad).all()
    rig.measured = True
    rig.pose = held + 0.05
    command = rig.step(target_at(rig.now_s + CYCLE_S, TABLE.lower_rad + 0.9))
    assert command.mode == 'ramping' and not any('restarted' in r for r in command.reasons)
    np.testing.assert_array_equal(command.positions, held)


def test_arm_that_comes_back_elsewhere_starts_again_from_there():
    rig = tracking_rig()
    rig.measured = False
    rig.follow(MIDDLE, 0.3)
    rig.measured = True
    rig.pose = TABLE.lower_rad.copy()
    begin = len(rig.times)
    rig.follow(MIDDLE, 0.3)
    np.testing.assert_array_equal(rig.commands[begin][:10], TABLE.lower_rad[:10])
    times = np.array(rig.times[begin:]) - rig.times[begin]
    speeds = np.array(rig.velocities[begin:])[:, :10].max(axis=1)
    assert (speeds <= 6.0 * times / P.start_ramp_s + 1e-9).all() and speeds[-1] > 0.5


def test_restart_while_stopped_does_not_jump_at_resume():
    rig = tracking_rig()
    rig.state = stop(rig.state)
    rig.measured = False
    rig.follow(MIDDLE, 0.3)
    rig.measured = True
    rig.pose = TABLE.lower_rad.copy()
    assert 'restarted index_distal' in rig.step().reasons
    np.testing.assert_array_equal(rig.command.positions[:10], TABLE.lower_rad[:10])
    assert rig.command.mode == 'stopped'


def test_one_dead_servo_is_held_and_the_others_followed():
    rig = tracking_rig()
    rig.measured = False
    for _ in range(60):
        now_s = rig.now_s = rig.now_s + CYCLE_S
        measured = Measured(NAMES[1:], rig.pose[1:], now_s)
        rig.state, command = FILTER.step(
            rig.state, target_at(now_s, MIDDLE + 0.3), measured, now_s)
        rig.pose = command.positions
    assert command.mode == 'tracking' and 'no_measurement thumb_proximal' in command.reasons
    np.testing.assert_allclose(command.positions[1:], (MIDDLE + 0.3)[1:], atol=1e-9)
    assert command.positions[0] < MIDDLE[0] + 0.3


# Stop

def test_stop_latches_until_resume_and_then_ramps():
    rig, _ = moving_rig()
    followed = rig.command
    begin = len(rig.times)
    rig.state = stop(rig.state)
    rig.follow(TABLE.lower_rad + 0.95, 0.5)
    assert set(rig.modes[begin:]) == {'stopped'} and 'stopped' in rig.command.reasons
    assert rig.command.stamp_s == followed.stamp_s
    assert last_change_s(rig, begin) <= rig.times[begin - 1] + 6.0 / P.brake_rad_s2 + CYCLE_S
    assert np.array(rig.commands[begin:])[:, 0].max() < 0.95

    rig.state = resume(rig.state)
    begin = len(rig.times)
    rig.follow(TABLE.lower_rad, 0.3)
    times = np.array(rig.times[begin:]) - rig.times[begin]
    speeds = np.abs(np.array(rig.velocities[begin:]))[:, :10].max(axis=1)
    assert (speeds <= 6.0 * times / P.reengage_ramp_s + 1e-9).all() and speeds.max() > 1.0


def test_resume_without_a_target_stays_put():
    rig = tracking_rig()
    rig.state = resume(stop(rig.state))
    assert rig.step().mode == 'holding'


def test_resume_without_a_stop_changes_nothing():
    rig, _ = moving_rig()
    assert resume(rig.state) is rig.state
