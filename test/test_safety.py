"""The safety filter: what it lets through, and what never."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import (
    MAX_STEP_CYCLES,
    REASONS,
    Measured,
    SafetyFilter,
    SafetyParameters,
    Target,
    resume,
    stop,
)
from hand_imitation.errors import UserError

FINGERS = ('thumb', 'index', 'middle', 'ring', 'little')
NAMES = (*(f'{f}_{part}' for f in FINGERS for part in ('proximal', 'distal')), 'wrist', 'elbow')
TABLE = JointTable(
    names=NAMES,
    lower_rad=np.array([0.0] * 10 + [-0.52, -1.04]),
    upper_rad=np.array([1.55] * 10 + [0.52, 1.04]),
    max_velocity_rad_s=np.array([6.0] * 10 + [5.0, 4.0]),
    max_effort_nm=np.array([0.5] * 10 + [2.5, 8.0]),
)
N = len(TABLE)
MIDDLE = (TABLE.lower_rad + TABLE.upper_rad) / 2
CYCLE_S = 0.01
P = SafetyParameters()
FILTER = SafetyFilter(TABLE, P)


def target_at(now_s, positions, names=NAMES, **changes):
    """Return a valid target received now from a frame 20 ms old."""
    values = {'stamp_s': 1e9 + now_s - 0.02, 'stamp_age_s': 0.02, 'received_s': now_s}
    return Target(names, positions, **{**values, **changes})


class Rig:
    """A filter, an ideal arm that is where it was commanded, and a clock."""

    def __init__(self, pose, safety=FILTER, start_s=100.0):
        self.filter = safety
        self.state = safety.initial_state()
        self.now_s = start_s
        self.pose = np.array(pose, dtype=float)
        self.measured = True
        self.times, self.commands, self.velocities, self.modes = [], [], [], []
        self.command = None

    def step(self, target=None, dt_s=CYCLE_S):
        self.now_s += dt_s
        measured = Measured(NAMES, self.pose, self.now_s) if self.measured else None
        self.state, self.command = self.filter.step(self.state, target, measured, self.now_s)
        if self.command.positions is not None:
            self.pose = np.array(self.command.positions)
            self.times.append(self.now_s)
            self.commands.append(self.command.positions)
            self.velocities.append(self.command.velocities)
            self.modes.append(self.command.mode)
        return self.command

    def follow(self, positions, seconds, period_s=1 / 30, dt_s=CYCLE_S):
        """Step for a while with new targets at a camera's rate; positions may be a function."""
        end_s = self.now_s + seconds
        next_s = self.now_s
        target = None
        while self.now_s < end_s - 1e-9:
            coming_s = self.now_s + dt_s
            if coming_s >= next_s:
                wanted = positions(coming_s) if callable(positions) else positions
                target = target_at(coming_s, wanted)
                next_s += period_s
            self.step(target, dt_s)
        return self


def tracking_rig(pose=MIDDLE, safety=FILTER):
    """Return a rig whose start ramp is over, at rest."""
    rig = Rig(pose, safety)
    rig.step()
    rig.follow(np.array(pose), 1.7)
    assert rig.command.mode == 'tracking'
    return rig


def last_change_s(rig, from_index):
    """Return the time of the last command that differs from the one before it."""
    commands = np.array(rig.commands)
    changed = np.flatnonzero(np.any(np.diff(commands, axis=0) != 0, axis=1)) + 1
    return rig.times[changed[-1]] if changed[-1] >= from_index else -math.inf


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
    assert (speeds[under_way] * np.sign(lagging[under_way]) > 0.5 * np.abs(lagging[under_way])).all()
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
    reasons = set()
    for _ in range(20):
        reasons.update(rig.step(target_at(rig.now_s + CYCLE_S, TABLE.upper_rad)).reasons)
    assert reasons == {'velocity', 'acceleration', *(
        f'jump {name}' for name in (*NAMES[:10], 'wrist', 'elbow')[:0])} | {
        reason for reason in reasons if reason.startswith('jump')}


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


# Refusals

BAD = {
    'nan': {'positions': [math.nan, *MIDDLE[1:]]},
    'nan (inf)': {'positions': [*MIDDLE[:11], -math.inf]},
    'nan (none)': {'positions': [None] * N},
    'nan (text)': {'positions': ['much'] * N},
    'nan (ragged)': {'positions': [[0.1], [0.1, 0.2]]},
    'nan (table)': {'positions': np.zeros((N, 1))},
    'nan (stamp)': {'stamp_s': math.nan},
    'wrong_length': {'positions': MIDDLE[:11]},
    'wrong_length (long)': {'positions': [*MIDDLE, 0.1]},
    'wrong_length (names)': {'names': NAMES[:11]},
    'wrong_length (both)': {'names': [*NAMES, 'toe'], 'positions': [*MIDDLE, 0.1]},
    'missing': {'names': (), 'positions': ()},
    'unknown_joint toe': {'names': ('toe', *NAMES[1:])},
    'duplicate_joint wrist': {'names': (*NAMES[:11], 'wrist')},
    'future_stamp': {'stamp_age_s': -0.03},
    'future_stamp (other clock)': {'stamp_age_s': -1e9},
    'future_stamp (receipt)': {'received_s': 1e6},
    'old_stamp': {'stamp_age_s': 0.26},
    'old_stamp (other clock)': {'stamp_age_s': 1e9, 'stamp_s': 0.0},
    'old_stamp (nan)': {'stamp_age_s': math.nan},
}


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
    assert rig.command.mode == 'ramping'
    np.testing.assert_allclose(rig.command.positions, MIDDLE + 0.2, atol=1e-9)


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

def moving_rig():
    """Return a rig with every joint at speed, and the time of its last valid input."""
    rig = tracking_rig(TABLE.lower_rad)
    for _ in range(9):
        rig.step(target_at(rig.now_s + CYCLE_S, TABLE.lower_rad + 0.95))
    assert (rig.command.velocities[:10] > 3.0).all()
    return rig, rig.now_s


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

def test_lost_measurements_hold_and_resume_gradually():
    rig, valid_s = moving_rig()
    rig.measured = False
    begin = len(rig.times)
    for tick in range(50):
        rig.step(target_at(rig.now_s + CYCLE_S, np.clip(0.9 + 0.05 * tick, 0, 1.5) + 0 * MIDDLE))
    assert rig.command.mode == 'holding' and 'no_measurement' in rig.command.reasons
    assert last_change_s(rig, begin) <= valid_s + P.measured_timeout_s + 1e-9
    held = rig.command.positions
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
    begin = len(rig.times)
    rig.state = stop(rig.state)
    rig.follow(TABLE.lower_rad + 0.95, 0.5)
    assert set(rig.modes[begin:]) == {'stopped'} and 'stopped' in rig.command.reasons
    assert last_change_s(rig, begin) <= rig.times[begin - 1] + 6.0 / P.brake_rad_s2 + CYCLE_S
    assert np.array(rig.commands[begin:])[:, 0].max() < 0.95

    rig.state = resume(rig.state)
    begin = len(rig.times)
    rig.follow(TABLE.lower_rad, 0.3)
    times = np.array(rig.times[begin:]) - rig.times[begin]
    speeds = np.abs(np.array(rig.velocities[begin:]))[:, :10].max(axis=1)
    assert (speeds <= 6.0 * times / P.reengage_ramp_s + 1e-9).all() and speeds[-1] > 1.0


def test_resume_without_a_target_stays_put():
    rig = tracking_rig()
    rig.state = resume(stop(rig.state))
    assert rig.step().mode == 'holding'


def test_resume_without_a_stop_changes_nothing():
    rig, _ = moving_rig()
    assert resume(rig.state) is rig.state


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
    assert (steps[gaps == 0.0] == 0.0).all()
    moving = gaps > 0.0
    steps, gaps, excused = steps[moving], gaps[moving], excused[moving]
    bounded = np.minimum(gaps, MAX_STEP_CYCLES * CYCLE_S)[:, None]
    velocities = steps / bounded
    fine = ~(excused[1:] | excused[:-1])
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
        modes.add(command.mode)
        for reason in command.reasons:
            word = reason.split(' ')[0]
            words.add(word)
            excused[tick] |= word == 'restarted'
        pose = command.positions if measured is not None else pose
    assert_bounded(commands, gaps, excused)
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
