"""One contract for every arm: simulated, and of servos on emulated and independent buses."""

import numpy as np
import pytest
from minimal_responder import make_port
from servo_rig import TABLE, Rig

from hand_imitation.arm.description import load_description
from hand_imitation.arm.driver import NotArmedError
from hand_imitation.arm.simulation import SimulatedArm
from hand_imitation.errors import UserError
from hand_imitation.hardware.servo_arm import BusLostError, ServoArm

MIDDLE = (TABLE.lower_rad + TABLE.upper_rad) / 2
# The thumb stays out of the fingers' way.
CLEAR = MIDDLE.copy()
CLEAR[:2] = 0.2
PERIOD_S = 0.01


class Simulated:
    def __init__(self):
        self.arm = SimulatedArm(load_description(), TABLE)

    def wait(self, duration_s):
        self.arm.step(duration_s)


class Emulated(Rig):
    def wait(self, duration_s):
        self.port.sleep(duration_s)


class Responding:
    """The driver over the second bus, which knows nothing of the first."""

    def __init__(self, kind):
        rig = Rig(kind)
        self.port = make_port(kind, rig.scale.to_ticks(MIDDLE))
        self.arm = ServoArm(rig.robot, TABLE, rig.scale, lambda: self.port)

    def wait(self, duration_s):
        self.port.sleep(duration_s)


MAKERS = {
    'simulated': Simulated,
    'dynamixel emulated': lambda: Emulated('dynamixel'),
    'feetech emulated': lambda: Emulated('feetech'),
    'scs emulated': lambda: Emulated('scs'),
    'dynamixel responder': lambda: Responding('dynamixel'),
    'feetech responder': lambda: Responding('feetech'),
    'scs responder': lambda: Responding('scs'),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def made(request):
    made = request.param()
    yield made
    made.arm.close()


def follow(made, targets_rad, duration_s=2.0):
    """Write the target again and again, as every user of an arm does."""
    for _ in range(round(duration_s / PERIOD_S)):
        made.arm.write(np.array(targets_rad, dtype=float))
        made.wait(PERIOD_S)
        state = made.arm.read()
    return state


def test_measures_every_joint_while_motors_are_off(made):
    made.arm.open()
    state = made.arm.read()
    for values in (state.position_rad, state.velocity_rad_s, state.effort_nm):
        assert values.shape == (12,)
        assert np.isfinite(values).all()
    assert (state.position_rad >= TABLE.lower_rad - 0.01).all()
    assert (state.position_rad <= TABLE.upper_rad + 0.01).all()


def test_time_stamps_grow(made):
    made.arm.open()
    first = made.arm.read().stamp_s
    made.wait(0.05)
    assert 0.04 < made.arm.read().stamp_s - first < 0.08


def test_refuses_targets_before_it_is_armed(made):
    made.arm.open()
    with pytest.raises(NotArmedError):
        made.arm.write(MIDDLE)


def test_arming_moves_nothing(made):
    made.arm.open()
    before = made.arm.read().position_rad
    made.arm.arm()
    for _ in range(20):
        made.wait(PERIOD_S)
        after = made.arm.read().position_rad
    np.testing.assert_allclose(after, before, atol=0.02)


def test_arming_twice_does_no_harm(made):
    made.arm.open()
    made.arm.arm()
    made.arm.arm()
    follow(made, MIDDLE, 0.05)


def test_goes_where_it_is_told(made):
    made.arm.open()
    made.arm.arm()
    for targets in (CLEAR + 0.3, CLEAR - 0.2):
        state = follow(made, targets)
        np.testing.assert_allclose(state.position_rad, targets, atol=0.06)


def test_every_joint_is_its_own(made):
    made.arm.open()
    made.arm.arm()
    for row in (0, 5, 11):
        targets = CLEAR.copy()
        targets[row] += 0.3
        state = follow(made, targets, 1.0)
        np.testing.assert_allclose(state.position_rad, targets, atol=0.06)


def test_stays_inside_the_limits(made):
    made.arm.open()
    made.arm.arm()
    for beyond in (TABLE.upper_rad + 1.0, TABLE.lower_rad - 1.0):
        for _ in range(100):
            made.arm.write(beyond)
            made.wait(PERIOD_S)
            position = made.arm.read().position_rad
            # A motor at full speed overshoots its goal, which is never beyond the limit.
            assert (position <= TABLE.upper_rad + 0.05).all()
            assert (position >= TABLE.lower_rad - 0.05).all()


@pytest.mark.parametrize('bad', [
    np.zeros(11), np.zeros(13), np.zeros((12, 1)), np.array(0.0), [np.nan] * 12,
    [0.0] * 11 + [np.inf], [-np.inf] + [0.0] * 11])
def test_refuses_garbage_and_stays_armed(made, bad):
    made.arm.open()
    made.arm.arm()
    with pytest.raises(ValueError):
        made.arm.write(np.array(bad))
    follow(made, MIDDLE, 0.05)


def test_disarmed_it_refuses_targets_and_can_be_armed_again(made):
    made.arm.open()
    made.arm.arm()
    follow(made, MIDDLE, 0.1)
    made.arm.disarm()
    made.arm.disarm()
    with pytest.raises(NotArmedError):
        made.arm.write(MIDDLE)
    made.wait(0.05)
    before = made.arm.read().position_rad
    made.arm.arm()
    np.testing.assert_allclose(made.arm.read().position_rad, before, atol=0.02)
    follow(made, MIDDLE, 0.05)


def test_closing_and_disarming_do_no_harm_twice(made):
    made.arm.close()
    made.arm.open()
    made.arm.open()
    made.arm.close()
    made.arm.close()


def test_closed_it_says_so(made):
    made.arm.open()
    made.arm.close()
    with pytest.raises((RuntimeError, UserError)):
        made.arm.read()


def test_as_a_context_manager_it_opens_and_closes(made):
    with made.arm as arm:
        assert arm.read().position_rad.shape == (12,)
    with pytest.raises((RuntimeError, BusLostError)):
        made.arm.read()
