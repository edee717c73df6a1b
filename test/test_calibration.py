"""The guided calibration over emulated servos that are moved by hand, and what it refuses."""

import dataclasses
import math

import numpy as np
import pytest
import yaml
from calibration_hand import ScriptedHand, good_script, joint_script, true_ticks

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli.calibrate import finish, resumed, run_session, undo_calibration
from hand_imitation.cli.keyboard import ENTER
from hand_imitation.emulator.bus import make_bus
from hand_imitation.emulator.virtual_port import VirtualPort
from hand_imitation.errors import UserError
from hand_imitation.hardware.calibration import (
    Calibration,
    JointCalibration,
    default_calibration_path,
    load_calibration,
    partial_path,
    previous_path,
    save_calibration,
)
from hand_imitation.hardware.calibration_bus import ServosAtRest, bus_of, check_offsets
from hand_imitation.hardware.calibration_session import CalibrationSession, Follower, place
from hand_imitation.hardware.robot import TickScale, load_robot
from hand_imitation.hardware.servo_arm import ServoArm

TABLE = JointTable.from_urdf(load_description())
ROBOTS = {name: load_robot(name, TABLE)
          for name in ('dynamixel_xl330', 'feetech_sts3215', 'feetech_scs0009')}
JOINT, OTHER = 'index_proximal', 'middle_proximal'


class Bench:
    """An emulated arm on a desk, and somebody who calibrates it."""

    def __init__(self, robot, seed=0, zero_ticks=None, directions=None):
        model = robot.joints[0].model
        random = np.random.default_rng(seed)
        self.robot = robot
        self.bus = make_bus(robot.protocol, model=model.name)
        self.port = VirtualPort(self.bus)
        turn = model.ticks_per_turn
        self.zero_ticks = dict(zip(
            robot.names, random.integers(0, turn, 12).tolist(), strict=True)) | (zero_ticks or {})
        self.directions = dict(zip(
            robot.names, random.choice([-1, 1], 12).tolist(), strict=True)) | (directions or {})
        self.hand = ScriptedHand(
            robot, self.bus, self.port, self.zero_ticks, self.directions, [])
        self.servos = ServosAtRest(robot, bus_of(robot, self.port))
        self.refusals = []

    def session(self, actions, path, only=None, done=None):
        """Run a session over a script; returns it as it ended."""
        self.hand.actions = list(actions)
        self.servos.open()
        session = CalibrationSession(self.robot, self.servos.offsets(), done, only)
        run_session(session, self.servos, self.port, self.hand, self.show, path)
        return session

    def show(self, session):
        if session.refused and session.message not in self.refusals:
            self.refusals.append(session.message)

    def pose(self, angles_rad):
        """Put all joints somewhere by hand, and return what the servos report."""
        for name, angle in angles_rad.items():
            self.hand.turn(name, angle, at_once=True)
        self.port.sleep(0.1)
        return self.servos.ticks()

    def calibrate(self, path):
        session = self.session(good_script(self.robot), path)
        assert self.refusals == []
        return finish(path, self.robot, self.servos, session)


def refused(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert '\n' not in text and len(text) < 400
    return text


# The whole way.

@pytest.mark.parametrize('name', ['dynamixel_xl330', 'feetech_sts3215'])
@pytest.mark.parametrize('seed', [1, 2])
def test_calibrated_angles_are_the_true_ones(name, seed, tmp_path):
    """Zeros anywhere in the turn, either direction: encoders wrap inside some travels."""
    robot = ROBOTS[name]
    bench = Bench(robot, seed, {JOINT: 3900, 'ring_distal': 200, 'elbow': 0},
                  {JOINT: 1, 'ring_distal': -1})
    calibration = bench.calibrate(tmp_path / 'arm.yaml')
    assert {n: j.direction for n, j in calibration.joints.items()} == bench.directions
    crossing = [j.name for j in robot.joints if len({math.floor(true_ticks(bench.hand, j.name, a)
                / j.model.ticks_per_turn) for a in (j.lower_rad, j.upper_rad)}) > 1]
    assert {JOINT, 'ring_distal', 'elbow'} <= set(crossing)
    scale = TickScale(robot, load_calibration(tmp_path / 'arm.yaml', robot))
    random = np.random.default_rng(5)
    for _ in range(5):
        true = dict(zip(robot.names, random.uniform(scale.lower_rad, scale.upper_rad),
                        strict=True))
        ticks = bench.pose(true)
        np.testing.assert_allclose(scale.to_rad(ticks), list(true.values()), atol=0.006)
        # A goal for where it stands is where it stands, in the servo's own count.
        goals = scale.to_ticks(scale.to_rad(ticks), scale.turns(ticks))
        np.testing.assert_allclose(goals, ticks, atol=1.0)
    if name == 'feetech_sts3215':
        assert not scale.multi_turn.any()
        assert (scale.lower_ticks > 0).all() and (scale.upper_ticks < 4095).all()
    else:
        assert set(np.array(robot.names)[scale.multi_turn]) <= set(crossing)


@pytest.mark.parametrize('name', list(ROBOTS))
def test_nothing_moves_by_itself(name, tmp_path):
    """Torque is switched off and stays off, and no goal is ever sent."""
    bench = Bench(ROBOTS[name], zero_ticks=dict.fromkeys(
        ROBOTS[name].names, ROBOTS[name].joints[0].model.ticks_per_turn // 2))
    for joint in bench.robot.joints:
        bench.bus.servo(joint.id).write(
            joint.model.registers['torque_enable'].address, b'\x01')
    start = len(bench.bus.wire)
    bench.session(joint_script(bench.robot.joints[0]), tmp_path / 'arm.yaml',
                  only=['thumb_proximal'])
    writes = [(event.register, event.value) for event in list(bench.bus.wire)[start:]]
    assert ('torque_enable', 0) in writes
    assert {register for register, _ in writes} <= {
        'torque_enable', 'status_return_level'}
    assert all(value == 0 for register, value in writes if register == 'torque_enable')
    for joint in bench.robot.joints:
        assert not bench.bus.servo(joint.id).motor.on


def test_servo_without_offset_whose_count_wraps_is_refused(tmp_path):
    bench = Bench(ROBOTS['feetech_scs0009'], zero_ticks={JOINT: 1000}, directions={JOINT: 1})
    joint = bench.robot.joints[2]
    session = bench.session(joint_script(joint), tmp_path / 'arm.yaml', only=[JOINT])
    assert 'turn it by a quarter' in bench.refusals[0] and JOINT not in session.results


@pytest.mark.parametrize('name', ['dynamixel_xl330', 'feetech_sts3215'])
def test_driver_goes_where_the_calibration_says(name, tmp_path):
    """Goals through the real driver, over the wrap of an encoder, also after a power cut."""
    robot = ROBOTS[name]
    bench = Bench(robot, 4, {JOINT: 3900, 'ring_distal': 200, 'elbow': 0},
                  {JOINT: 1, 'ring_distal': -1})
    calibration = bench.calibrate(tmp_path / 'arm.yaml')
    scale = TickScale(robot, calibration)
    random = np.random.default_rng(8)
    bench.pose(dict(zip(robot.names, random.uniform(scale.lower_rad, scale.upper_rad),
                        strict=True)))
    for joint in robot.joints:
        servo = bench.bus.servo(joint.id)
        servo.motor.position_rad %= 2.0 * math.pi  # as an encoder of one turn does
        servo.motor.hand_rad = None
        servo.power_on()
    with ServoArm(robot, TABLE, scale, lambda: VirtualPort(
            bench.bus, now_s=bench.port.now_s())) as arm:
        start = np.array([bench.bus.servo(joint.id).motor.position_rad for joint in robot.joints])
        arm.arm()
        arm.read()
        target = random.uniform(scale.lower_rad, scale.upper_rad)
        for _ in range(400):
            arm.write(target)
            arm.read()
        end = np.array([bench.bus.servo(joint.id).motor.position_rad for joint in robot.joints])
        np.testing.assert_allclose(arm.read().position_rad, target, atol=0.02)
    for i, joint in enumerate(robot.joints):
        true = true_ticks(bench.hand, joint.name, target[i]) * joint.model.rad_per_tick
        missed = (end[i] - true + math.pi) % (2.0 * math.pi) - math.pi
        assert abs(missed) < 0.03, joint.name
        # It went the short way, never right round.
        assert abs(end[i] - start[i]) < joint.upper_rad - joint.lower_rad + 0.1, joint.name


@pytest.mark.parametrize('name', ['dynamixel_xl330', 'feetech_sts3215'])
def test_servo_with_another_offset_is_refused(name):
    robot = ROBOTS[name]
    bench = Bench(robot)
    bus = bus_of(robot, bench.port)
    check_offsets(bus, robot, TickScale(robot, example(robot)))
    bench.bus.servo(3).table['offset'] = 33
    assert 'servo 3 (index_proximal) holds offset 33' in refused(
        check_offsets, bus, robot, TickScale(robot, example(robot)))
    check_offsets(bus, robot, TickScale(robot))


# Nonsense.

def one_joint(bench, actions, tmp_path):
    session = bench.session(actions, tmp_path / 'arm.yaml', only=[JOINT])
    return session, bench.refusals


def test_too_small_a_range_is_refused_and_can_be_mended(tmp_path):
    bench = Bench(ROBOTS['dynamixel_xl330'])
    session, refusals = one_joint(bench, [
        ('move', JOINT, 0.0), ('key', ENTER), ('move', JOINT, 0.3), ('key', ENTER),
        ('move', JOINT, 1.55), ('key', ENTER)], tmp_path)
    assert 'moved by 0.30 rad only' in refusals[0] and len(refusals) == 1
    assert JOINT in session.results


def test_too_large_a_range_is_refused(tmp_path):
    bench = Bench(ROBOTS['dynamixel_xl330'])
    session, refusals = one_joint(bench, [
        ('move', JOINT, 0.0), ('key', ENTER), ('move', JOINT, 2.6), ('key', ENTER)], tmp_path)
    assert 'far more than 1.55' in refusals[0] and session.results == {}


def test_unclear_direction_is_refused(tmp_path):
    bench = Bench(ROBOTS['dynamixel_xl330'])
    session, refusals = one_joint(bench, [
        ('move', JOINT, 0.0), ('key', ENTER), ('move', JOINT, -0.8), ('move', JOINT, 1.5),
        ('key', ENTER)], tmp_path)
    assert 'went both ways' in refusals[0] and session.results == {}


def test_both_ends_on_one_side_is_refused(tmp_path):
    bench = Bench(ROBOTS['dynamixel_xl330'])
    session = bench.session([
        ('move', 'wrist', 0.0), ('key', ENTER), ('move', 'wrist', 0.52), ('key', ENTER),
        ('move', 'wrist', 0.3), ('key', ENTER), ('move', 'wrist', -0.5), ('key', ENTER)],
        tmp_path / 'arm.yaml', only=['wrist'])
    assert 'the same side' in bench.refusals[0] and len(bench.refusals) == 1
    assert 'wrist' in session.results


def test_end_that_was_left_again_is_refused(tmp_path):
    bench = Bench(ROBOTS['dynamixel_xl330'])
    session, refusals = one_joint(bench, [
        ('move', JOINT, 0.0), ('key', ENTER), ('move', JOINT, 1.5), ('move', JOINT, 1.0),
        ('key', ENTER)], tmp_path)
    assert 'further than this' in refusals[0] and session.results == {}


def test_two_joints_moved_at_once_are_refused(tmp_path):
    bench = Bench(ROBOTS['dynamixel_xl330'])
    session, refusals = one_joint(bench, [
        ('move', JOINT, 0.0), ('key', ENTER), ('move', OTHER, 0.4), ('move', JOINT, 1.5),
        ('key', ENTER)], tmp_path)
    assert f'{OTHER} moved too' in refusals[0] and session.results == {}


def test_the_wrong_joint_is_named_with_both_ids(tmp_path):
    bench = Bench(ROBOTS['dynamixel_xl330'])
    session, refusals = one_joint(bench, [
        ('move', JOINT, 0.0), ('key', ENTER), ('move', OTHER, 1.5), ('key', ENTER)], tmp_path)
    assert f'{OTHER} (servo 5) moved instead of {JOINT} (servo 3)' in refusals[0]
    assert session.results == {}


def test_moving_joint_is_refused(tmp_path):
    bench = Bench(ROBOTS['dynamixel_xl330'])
    hand = bench.hand

    def nudge():
        hand.turn(JOINT, 1.0)
        hand._wait_s = bench.port.now_s() + 0.3

    session, refusals = one_joint(
        bench, [('move', JOINT, 0.0), ('call', nudge), ('key', ENTER)], tmp_path)
    assert 'still moving' in refusals[0] and session.results == {}


def test_silent_servo_is_named(tmp_path):
    bench = Bench(ROBOTS['dynamixel_xl330'])

    def die():
        bench.bus.servo(3).alive = False
        bench.hand._wait_s = bench.port.now_s() + 1.0

    session, refusals = one_joint(bench, [('call', die), ('key', ENTER)], tmp_path)
    assert 'servo 3 does not answer' in refusals[0] and session.results == {}


def test_motion_during_a_silence_is_not_guessed(tmp_path):
    """A servo that was silent while it turned may have turned right round."""
    bench = Bench(ROBOTS['dynamixel_xl330'])
    servo = bench.bus.servo(3)

    def away():
        servo.alive = False
        bench.hand.turn(JOINT, 1.5)
        bench.hand._wait_s = bench.port.now_s() + 1.5

    def back():
        servo.alive = True
        bench.hand._wait_s = bench.port.now_s() + 1.0

    session, refusals = one_joint(bench, [
        ('move', JOINT, 0.0), ('key', ENTER), ('call', away), ('call', back), ('key', ENTER)],
        tmp_path)
    assert 'cannot be followed' in refusals[0] and session.results == {}


def test_following_over_the_wrap_both_ways():
    follower = Follower(np.array([4096.0, 1024.0]))
    path = 4000.0 + np.cumsum(np.concatenate([np.full(50, 60.0), np.full(90, -60.0)]))
    for i, count in enumerate(path):
        follower.feed(np.array([count % 4096, count % 1024]), 0.02 * i)
    assert not follower.lost.any()
    assert follower.counts[0] - 4060.0 == path[-1] - path[0]
    follower.feed(np.array([(path[-1] + 1500) % 4096, path[-1] % 1024]), 3.0)
    assert follower.lost.tolist() == [True, False]


@pytest.mark.parametrize('middle', range(0, 4096, 128))
@pytest.mark.parametrize('held', [0, -2047, 1000])
def test_travel_is_placed_inside_the_turn(middle, held):
    """Wherever it was; and a Feetech's own offset then makes its count what the file says."""
    for name in ('dynamixel_xl330', 'feetech_sts3215'):
        joint = ROBOTS[name].joints[2]
        found = place(joint, 1, middle - 500.0, middle - 500.0, middle + 500.0, held)
        assert 64 <= found.lower_ticks < found.upper_ticks <= 4095 - 64
        assert found.zero_ticks == found.lower_ticks
        if name == 'feetech_sts3215':
            assert found.shift_ticks == 0 and abs(found.servo_offset_ticks) <= 2047
            counted = (middle - 500 + held - found.servo_offset_ticks) % 4096
        else:
            assert found.servo_offset_ticks == held
            counted = (middle - 500 + found.shift_ticks) % 4096
        assert counted == found.zero_ticks


def test_untouched_where_the_travel_is_inside_already():
    found = place(ROBOTS['feetech_sts3215'].joints[2], -1, 3000.0, 2000.0, 3000.0, 17)
    assert (found.servo_offset_ticks, found.shift_ticks, found.zero_ticks) == (17, 0, 3000)


def test_whole_turn_is_no_measure():
    assert 'whole turn' in refused(
        place, ROBOTS['feetech_sts3215'].joints[2], 1, 0.0, 0.0, 4050.0, 0)


# Stopped, resumed, undone.

def test_stopped_and_resumed(tmp_path):
    robot, path = ROBOTS['dynamixel_xl330'], tmp_path / 'arm.yaml'
    bench = Bench(robot, 3)
    script = good_script(robot)
    # Four joints, and the zero of the fifth; at its end the script presses q.
    first = bench.session(script[:4 * len(joint_script(robot.joints[0])) + 2], path)
    assert list(first.results) == list(robot.names[:4])
    assert not path.exists() and partial_path(path).exists()
    done = resumed(path, robot, None, restart=False)
    assert set(done) == set(first.results)
    rest = [a for joint in robot.joints if joint.name not in done for a in joint_script(joint)]
    second = bench.session(rest, path, done=done)
    finish(path, robot, bench.servos, second)
    assert not partial_path(path).exists()
    assert list(load_calibration(path, robot).joints) == list(robot.names)
    assert resumed(path, robot, None, restart=False) == {}


def test_ctrl_c_keeps_what_is_done(tmp_path):
    robot, path = ROBOTS['dynamixel_xl330'], tmp_path / 'arm.yaml'
    bench = Bench(robot)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.session([*joint_script(robot.joints[0]), ('call', interrupt)], path)
    assert list(resumed(path, robot, None, restart=False)) == ['thumb_proximal']
    assert resumed(path, robot, None, restart=True) == {}


def test_one_joint_again(tmp_path):
    robot, path = ROBOTS['dynamixel_xl330'], tmp_path / 'arm.yaml'
    bench = Bench(robot)
    before = bench.calibrate(path)
    bench.hand.zero_ticks[JOINT] += 300  # the horn was taken off and put on otherwise
    done = resumed(path, robot, [JOINT], restart=False)
    assert len(done) == 11 and JOINT not in done
    session = bench.session(joint_script(robot.joints[2]), path, only=[JOINT], done=done)
    after = finish(path, robot, bench.servos, session)
    moved = [name for name in robot.names if after.joints[name] != before.joints[name]]
    assert moved == [JOINT]


def test_undo_brings_back_file_and_offsets(tmp_path):
    robot, path = ROBOTS['feetech_sts3215'], tmp_path / 'arm.yaml'
    bench = Bench(robot, 1, {JOINT: 3900}, {JOINT: 1})
    calibration = bench.calibrate(path)
    offsets = {n: j.servo_offset_ticks for n, j in calibration.joints.items()}
    assert any(offsets.values())
    assert bench.servos.offsets() == offsets
    assert 'is gone' in undo_calibration(path, robot, bench.servos)
    assert not path.exists() and set(bench.servos.offsets().values()) == {0}
    # Undoing that brings it back.
    undo_calibration(path, robot, bench.servos)
    assert load_calibration(path, robot) == calibration and bench.servos.offsets() == offsets


def test_undo_goes_back_to_the_one_before(tmp_path):
    robot, path = ROBOTS['dynamixel_xl330'], tmp_path / 'arm.yaml'
    bench = Bench(robot, 1)
    first, second = example(robot), example(robot, shift=40)
    save_calibration(path, first)
    save_calibration(path, second)
    undo_calibration(path, robot, bench.servos)
    assert load_calibration(path, robot) == first
    assert load_calibration(previous_path(path), robot) == second


def test_nothing_to_undo(tmp_path):
    bench = Bench(ROBOTS['dynamixel_xl330'])
    assert 'nothing to undo' in refused(
        undo_calibration, tmp_path / 'arm.yaml', bench.robot, bench.servos)
    assert len(bench.bus.wire) == 0


def test_offset_changed_meanwhile_is_refused(tmp_path):
    robot, path = ROBOTS['feetech_sts3215'], tmp_path / 'arm.yaml'
    bench = Bench(robot, zero_ticks=dict.fromkeys(robot.names, 2048))
    session = bench.session(good_script(robot), path)
    list(bench.servos.set_offsets({JOINT: 55}))
    assert f'--joint {JOINT}' in refused(finish, path, robot, bench.servos, session)
    assert not path.exists()


# The file.

def example(robot, shift=0):
    """A believable calibration."""
    scale = TickScale(robot)
    return Calibration(robot.name, '2025-01-01T00:00:00+00:00', {
        joint.name: JointCalibration(
            joint.id, joint.model.name, 1, int(scale.to_ticks(np.zeros(12))[i]) + shift,
            int(scale.lower_ticks[i]) + shift, int(scale.upper_ticks[i]) + shift)
        for i, joint in enumerate(robot.joints)})


@pytest.fixture
def saved(tmp_path):
    """A calibration file, and a function that saves it with one thing changed."""
    robot, path = ROBOTS['dynamixel_xl330'], tmp_path / 'arm.yaml'

    def save(**changes):
        calibration = example(robot)
        joints = dict(calibration.joints)
        joints[JOINT] = dataclasses.replace(joints[JOINT], **changes)
        save_calibration(path, dataclasses.replace(calibration, joints=joints))
        return path
    return save


def test_round_trip(saved):
    robot = ROBOTS['dynamixel_xl330']
    assert load_calibration(saved(), robot) == example(robot)


@pytest.mark.parametrize(('changes', 'words'), [
    ({'upper_ticks': 4200}, 'wraps past 0/4095'),
    ({'lower_ticks': -5}, 'lower_ticks is -5'),
    ({'zero_ticks': 100}, 'outside its travel'),
    ({'lower_ticks': 3000, 'upper_ticks': 2000}, 'outside its travel'),
    ({'upper_ticks': 2200}, 'travels'),
    ({'direction': 0}, 'no direction'),
    ({'direction': 2}, 'direction is 2'),
    ({'id': 77}, 'servo 77'),
    ({'model': 'XM430-W350'}, 'XM430-W350'),
])
def test_unbelievable_file_is_refused(saved, changes, words):
    text = refused(load_calibration, saved(**changes), ROBOTS['dynamixel_xl330'])
    assert words in text and JOINT in text and 'hand-imitation calibrate' in text


def test_file_of_another_arm_is_refused(saved):
    robot = ROBOTS['dynamixel_xl330']
    other = dataclasses.replace(robot, name='other_arm')
    assert 'of another robot' in refused(load_calibration, saved(), other)
    text = refused(load_calibration, saved(), dataclasses.replace(
        ROBOTS['feetech_sts3215'], name=robot.name))
    assert 'XL330-M288' in text


def test_every_changed_digit_is_noticed(saved):
    path = saved()
    text = path.read_text()
    digits = [i for i, c in enumerate(text) if c.isdigit() and i > text.index('schema')]
    for i in digits[::17]:
        path.write_text(f'{text[:i]}{(int(text[i]) + 1) % 10}{text[i + 1:]}')
        refused(load_calibration, path, ROBOTS['dynamixel_xl330'])


@pytest.mark.parametrize('length', [0, 1, 100, 900, 2000])
def test_cut_file_is_refused(saved, length):
    path = saved()
    path.write_text(path.read_text()[:length])
    refused(load_calibration, path, ROBOTS['dynamixel_xl330'])


def test_missing_file_is_refused(tmp_path):
    text = refused(load_calibration, tmp_path / 'none.yaml', ROBOTS['dynamixel_xl330'])
    assert 'cannot be read' in text and 'calibrate --robot dynamixel_xl330' in text


def test_half_a_file_is_never_seen(saved, monkeypatch):
    """Power fails while the new file is written: the old one is still there."""
    path = saved()
    before = path.read_text()

    def fail(*arguments):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.fsync', fail)
    assert 'No space left' in refused(
        save_calibration, path, example(ROBOTS['dynamixel_xl330'], shift=3))
    assert path.read_text() == before
    assert [p for p in path.parent.iterdir() if p.suffix == '.tmp'] == []


def test_file_is_plain_yaml(saved):
    content = yaml.safe_load(saved().read_text())
    assert content['schema'] == 1 and content['joints'][JOINT]['zero_ticks'] == 2048


def test_default_path_follows_the_environment(monkeypatch, tmp_path):
    robot = ROBOTS['dynamixel_xl330']
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path))
    assert default_calibration_path(robot) == (
        tmp_path / 'hand_imitation' / 'dynamixel_xl330.calibration.yaml')
    monkeypatch.delenv('XDG_CONFIG_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert default_calibration_path(robot).parent == tmp_path / '.config' / 'hand_imitation'
