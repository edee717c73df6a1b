import math

import numpy as np
import pytest

from hand_imitation.arm.audit import CommandAuditor
from hand_imitation.arm.joint_table import JointTable

NAMES = ('finger', 'elbow')


@pytest.fixture
def auditor():
    return CommandAuditor(JointTable(
        names=NAMES, lower_rad=np.array([0.0, -1.04]), upper_rad=np.array([1.55, 1.04]),
        max_velocity_rad_s=np.array([6.0, 4.0]), max_effort_nm=np.array([1.0, 8.0])))


def only(auditor, **counts):
    assert {kind: n for kind, n in auditor.counts.items() if n} == counts
    assert auditor.limit_violations == sum(counts.values())


def test_nothing_seen_is_nothing_counted(auditor):
    only(auditor)
    assert auditor.first is None


def test_good_stream_counts_nothing(auditor):
    for tick in range(101):
        time_s = tick * 0.01
        angle = min(6.0 * time_s, 1.55)
        auditor.command(NAMES, [angle, -min(4.0 * time_s, 1.04)], time_s)
        auditor.measured(NAMES, [angle, 0.0], time_s)
    only(auditor)


@pytest.mark.parametrize('positions, count', [
    ([-2e-6, 0.0], 1), ([1.55 + 2e-6, 1.04 + 2e-6], 2), ([math.nan, 0.0], 1),
    ([0.0, math.inf], 1), ([-5e-7, 1.04 + 5e-7], 0),
])
def test_command_beyond_limits_counts_once_per_joint(auditor, positions, count):
    auditor.command(NAMES, positions, 0.0)
    only(auditor, **({'command_position': count} if count else {}))


def test_joints_are_matched_by_name(auditor):
    auditor.command(('elbow', 'finger'), [-1.0, 1.5], 0.0)
    only(auditor)
    auditor.command(('elbow', 'finger'), [1.5, -1.0], 10.0)
    only(auditor, command_position=2)


@pytest.mark.parametrize('names, positions', [
    (('finger',), [0.0]), (('finger', 'finger'), [0.0, 0.0]), (('finger', 'toe'), [0.0, 0.0]),
    (NAMES, [0.0]), ((*NAMES, 'toe'), [0.0, 0.0, 0.0]), ((), []),
])
def test_wrong_form_counts(auditor, names, positions):
    auditor.command(names, positions, 0.0)
    only(auditor, command_form=1)


@pytest.mark.parametrize('speed, counted', [(4.03, False), (4.05, True), (-4.05, True)])
def test_speed_of_commands(auditor, speed, counted):
    auditor.command(NAMES, [0.0, 0.0], 1.0)
    auditor.command(NAMES, [0.0, speed * 0.01], 1.01)
    only(auditor, **({'command_speed': 1} if counted else {}))


@pytest.mark.parametrize('time_s', [1.0, 0.5])
def test_change_in_no_time_is_too_fast(auditor, time_s):
    auditor.command(NAMES, [0.0, 0.0], 1.0)
    auditor.command(NAMES, [0.0, 0.0], time_s)
    only(auditor)
    auditor.command(NAMES, [0.001, 0.0], time_s)
    only(auditor, command_speed=1)


def test_nan_does_not_hide_a_jump(auditor):
    auditor.command(NAMES, [0.0, 0.0], 1.0)
    auditor.command(NAMES, [math.nan, 0.0], 1.01)
    auditor.command(NAMES, [1.0, 0.0], 1.02)
    only(auditor, command_position=1, command_speed=1)
    assert 'finger sent to nan' in auditor.first


@pytest.mark.parametrize('measured_s, measured_rad, excused', [
    (1.0, 1.0, True), (1.0, 0.9, False), (0.85, 1.0, False),
])
def test_going_where_the_joint_is_asks_for_no_motion(auditor, measured_s, measured_rad, excused):
    auditor.command(NAMES, [0.0, 0.0], 1.0)
    auditor.measured(NAMES, [measured_rad, 0.0], measured_s)
    auditor.command(NAMES, [1.0, 0.0], 1.01)
    only(auditor, **({} if excused else {'command_speed': 1}))


@pytest.mark.parametrize('degrees, count', [(1.9, 0), (2.1, 1)])
def test_measured_has_a_tolerance(auditor, degrees, count):
    auditor.measured(NAMES, [-math.radians(degrees), 0.0], 0.0)
    only(auditor, **({'measured_position': count} if count else {}))


def test_measured_may_hold_more_or_fewer_joints(auditor):
    auditor.measured(('toe', 'elbow', 'finger'), [9.0, 0.0, math.nan], 0.0)
    only(auditor)
    auditor.measured(('elbow',), [9.0], 0.0)
    only(auditor, measured_position=1)
