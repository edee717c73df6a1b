"""Which commands reach an arm, and how it begins after it was armed."""

import numpy as np
import pytest

from hand_imitation.arm.command_gate import MAX_START_RAD, CommandGate
from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import Measured, SafetyFilter, SafetyParameters, Target

TABLE = JointTable.from_urdf(load_description('right'))
NAMES = list(TABLE.names)
POSE = np.full(len(TABLE), 0.2)


def refusal(gate, positions=POSE, names=NAMES, points=1, measured=POSE, now_s=0.0):
    with pytest.raises(ValueError) as caught:
        gate.targets(points, names, positions, measured, now_s)
    return str(caught.value)


def test_names_in_any_order():
    targets = CommandGate(TABLE).targets(1, NAMES[::-1], np.arange(12) / 100, POSE * 0, 0.0)
    assert targets == pytest.approx(np.arange(12)[::-1] / 100)


@pytest.mark.parametrize('case, words', [
    ({'points': 0}, '0 points'), ({'points': 2}, '2 points'),
    ({'names': ['nose', *NAMES[1:]]}, 'unknown joint'),
    ({'names': [NAMES[1], *NAMES[1:]]}, 'repeated'),
    ({'positions': POSE[:-1]}, '12 joint names'),
    ({'names': NAMES[:-1], 'positions': POSE[:-1]}, f'no finite position for {NAMES[-1]}'),
    ({'positions': np.where(np.arange(12) == 3, np.nan, POSE)}, NAMES[3]),
    ({'positions': np.where(np.arange(12) == 3, np.inf, POSE)}, NAMES[3]),
    ({'positions': POSE + MAX_START_RAD + 0.01}, 'rad from the measured pose'),
    ({'measured': np.where(np.arange(12) == 3, np.nan, POSE)}, 'not all joints'),
])
def test_refused(case, words):
    assert words in refusal(CommandGate(TABLE), **case)


def test_only_the_first_command_must_be_near():
    gate = CommandGate(TABLE)
    gate.targets(1, NAMES, POSE, POSE, 0.0)
    assert gate.targets(1, NAMES, POSE + 1.0, POSE, 0.1) == pytest.approx(POSE + 1.0)
    gate.armed(1.0)
    assert 'from the measured pose' in refusal(gate, POSE + 1.0, now_s=1.0)


def test_break_comes_with_arming_and_grows_while_the_start_is_far():
    gate = CommandGate(TABLE, break_s=0.25)
    assert not gate.withholds_states(0.0)
    gate.armed(10.0)
    assert gate.withholds_states(10.2) and not gate.withholds_states(10.3)
    assert 'before the arm was armed' in refusal(gate, now_s=10.1)
    refusal(gate, POSE + 1.0, now_s=10.4)
    assert not gate.withholds_states(10.41)  # the commander has had no time yet
    refusal(gate, POSE + 1.0, now_s=10.6)
    assert gate.withholds_states(11.0) and not gate.withholds_states(11.15)
    gate.targets(1, NAMES, POSE, POSE, 11.2)
    assert not gate.withholds_states(11.2)


@pytest.mark.parametrize('timeout_s', [0.1, 2.0])
def test_the_safety_filter_starts_again_after_the_break(timeout_s):
    """It followed a hand to 1.2 rad while the limp arm stayed at 0.2: gate and filter agree."""
    chain = SafetyFilter(TABLE, SafetyParameters(measured_timeout_s=timeout_s))
    state, gate, measured, written = chain.initial_state(), CommandGate(TABLE, 0.25), None, []
    arm = POSE.copy()
    for k in range(2000):
        now_s = k * 0.01
        if k == 500:
            gate.armed(now_s)
        if not gate.withholds_states(now_s):
            measured = Measured(NAMES, arm, now_s)
        goal = Target(NAMES, POSE + (TABLE.upper_rad - POSE) * 0.6, now_s, 0.0, now_s)
        state, command = chain.step(state, goal, measured, now_s)
        if k < 500 or command.positions is None:
            continue
        try:
            arm = gate.targets(1, NAMES, command.positions, arm, now_s)
        except ValueError:
            continue
        written.append(arm)
    steps = np.abs(np.diff([POSE, *written], axis=0))
    assert len(written) > 500
    assert steps[:10].max() < MAX_START_RAD
    assert np.abs(written[-1] - goal.positions).max() < 0.01
    assert (steps[1:] <= TABLE.max_velocity_rad_s * 0.0101).all()
