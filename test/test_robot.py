"""Robot descriptions: those that ship, what is refused, and angles in servo counts."""

import math

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import ROOT

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.hardware.calibration import Calibration, JointCalibration
from hand_imitation.hardware.robot import TickScale, load_robot, robot_names

TABLE = JointTable.from_urdf(load_description())
SHIPPED = sorted(path.stem for path in (ROOT / 'config' / 'robots').glob('*.yaml'))


@pytest.fixture
def changed(tmp_path):
    """Writes a shipped description with something changed, and says how that is refused."""
    def refusal(change, name='dynamixel_xl330'):
        content = yaml.safe_load((ROOT / 'config' / 'robots' / f'{name}.yaml').read_text())
        change(content)
        path = tmp_path / 'mine.yaml'
        path.write_text(yaml.safe_dump(content))
        with pytest.raises(UserError) as caught:
            load_robot(str(path), TABLE)
        text = str(caught.value)
        assert '\n' not in text and len(text) < 400 and str(path) in text
        return text
    return refusal


def test_shipped_robots_are_found_by_name():
    assert robot_names() == SHIPPED == ['dynamixel_xl330', 'feetech_scs0009', 'feetech_sts3215']


@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_robot_drives_the_whole_arm(name):
    robot = load_robot(name, TABLE)
    assert robot.name == name and robot.names == TABLE.names
    assert robot.ids == tuple(range(1, 13)) and robot.baud == 1_000_000
    for joint, lower, upper in zip(robot.joints, TABLE.lower_rad, TABLE.upper_rad, strict=True):
        assert (joint.lower_rad, joint.upper_rad) == (lower, upper)
        assert joint.model.protocol == robot.protocol
        # What the servo can do, with something in reserve.
        assert joint.max_velocity_rad_s < joint.model.no_load_speed_rad_s
        assert joint.current_limit_a < joint.model.stall_current_a
    # A straight finger stands in the middle of the turn, as the emulator's servos do at first.
    turn = robot.joints[0].model.ticks_per_turn
    np.testing.assert_array_equal(TickScale(robot).to_ticks(np.zeros(12)), turn // 2)


def test_by_path_and_in_any_order(tmp_path):
    content = yaml.safe_load((ROOT / 'config' / 'robots' / 'feetech_sts3215.yaml').read_text())
    content['joints'] = dict(reversed(content['joints'].items()))
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    assert load_robot(str(path), TABLE) == load_robot('feetech_sts3215', TABLE)


def put(joint, **values):
    return lambda content: content['joints'][joint].update(values)


@pytest.mark.parametrize(('change', 'words'), [
    (lambda c: c['joints'].update(index_middle={'id': 13}), "'index_middle': did you mean 'index"),
    (lambda c: c['joints'].pop('wrist'), "no servo for joint 'wrist'"),
    (put('wrist', id=3), "'index_proximal' and 'wrist' both have id 3"),
    (put('wrist', id=0), 'id is 0'),
    (put('wrist', id=253), 'at most 252'),
    (put('wrist', id=True), 'id is True'),
    (put('wrist', model='XL999'), "model is 'XL999': give one of XL330"),
    (put('wrist', model='STS3215'), 'does not speak the dynamixel protocol'),
    (put('wrist', upper_rad=0.6), 'goes beyond the arm'),
    (put('wrist', lower_rad=0.5, upper_rad=0.1), 'swap or widen'),
    (put('wrist', upper_rad=float('nan')), 'upper_rad is nan'),
    (put('wrist', max_velocity_rad_s=50.0), "above the arm's 5.0"),
    (put('wrist', current_limit_a=-1.0), 'current_limit_a is -1.0'),
    (put('wrist', direction=0), 'give 1 or -1'),
    (put('wrist', gear_ratio=0.0), 'gear_ratio is 0.0'),
    (put('wrist', offset_rad=3.0), 'passes 0 or 4095'),
    (put('wrist', offset=3.0), "unknown parameter 'offset': did you mean offset_rad"),
    (lambda c: c['joints'].update(wrist=11), "joint 'wrist' is 11"),
    (lambda c: c['defaults'].pop('model'), 'has no model'),
    (lambda c: c.pop('joints'), "'joints' must hold"),
    (lambda c: c.update(baud=123), 'baud is 123: dynamixel servos know 9600'),
    (lambda c: c.update(baud=True), 'baud is True'),
    (lambda c: c.update(protocol='canopen'), 'protocol is'),
    (lambda c: c.update(schema=2), 'schema is 2'),
    (lambda c: c.update(name='../etc'), 'name is'),
    (lambda c: c.update(speed=1), "unknown entry 'speed'"),
])
def test_mistake_is_named(changed, change, words):
    assert words in changed(change)


def test_one_byte_order_on_a_bus(changed):
    assert 'servos of one series' in changed(put('wrist', model='SCS0009'), 'feetech_sts3215')


@pytest.mark.parametrize(('text', 'words'), [
    ('', 'holds no'), ('- 1\n', 'holds no'), ('a: [', 'not plain YAML'), ('\x00', 'not plain'),
    ('a: &x 1\nb: *x\n', 'alias'), ('!!python/object/apply:os.system [ls]\n', 'not plain'),
    ('joints: {wrist: {id: 1}, wrist: {id: 2}}\n', "'wrist' stands here twice"),
    ('a: ' + 'x' * 2_000_000, 'larger than 1 MB'), ('[' * 5000, 'not plain'),
    ('? [a]\n: 1\n', 'not plain YAML'),
])
def test_bad_file_is_refused(tmp_path, text, words):
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        load_robot(str(path), TABLE)


def test_no_such_robot():
    with pytest.raises(UserError, match='give one of dynamixel_xl330'):
        load_robot('dynamixel', TABLE)
    with pytest.raises(UserError, match='cannot be read'):
        load_robot('/nowhere/arm.yaml', TABLE)


def test_other_baud():
    robot = load_robot('dynamixel_xl330', TABLE)
    assert robot.with_baud(57_600).baud == 57_600
    with pytest.raises(UserError, match='baud is 500000'):
        robot.with_baud(500_000)


# Counts.

def robot_with(tmp_path, **values):
    content = yaml.safe_load((ROOT / 'config' / 'robots' / 'dynamixel_xl330.yaml').read_text())
    content['joints']['elbow'].update(values)
    (tmp_path / 'mine.yaml').write_text(yaml.safe_dump(content))
    return load_robot(str(tmp_path / 'mine.yaml'), TABLE)


def test_direction_gear_and_offset(tmp_path):
    robot = robot_with(tmp_path, direction=-1, gear_ratio=2.0, offset_rad=0.1)
    scale = TickScale(robot)
    pose = np.zeros(12)
    pose[-1] = 0.5
    # 0.1 rad of the shaft, and two turns of it backwards per turn of the joint.
    expected = 2048 + (0.1 - 2.0 * 0.5) * 4096 / (2 * math.pi)
    assert scale.to_ticks(pose)[-1] == round(expected)
    assert scale.to_rad(scale.to_ticks(pose))[-1] == pytest.approx(0.5, abs=0.001)
    assert scale.velocity_to_rad_s(np.full(12, 100))[-1] == pytest.approx(
        -100 * 0.229 * 2 * math.pi / 60 / 2.0)
    assert scale.speed_to_raw(np.full(12, 4.0))[-1] == math.floor(
        4.0 * 2.0 / (0.229 * 2 * math.pi / 60))


def test_speed_is_never_zero_which_would_mean_unlimited():
    assert (TickScale(load_robot('dynamixel_xl330', TABLE)).speed_to_raw(np.zeros(12)) == 1).all()


@pytest.mark.parametrize('name', SHIPPED)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_goal_leaves_the_limits(name, data):
    """Whatever is asked for: rounding to ticks goes inwards at the ends."""
    robot = load_robot(name, TABLE)
    scale = TickScale(robot)
    asked = np.array(data.draw(st.lists(
        st.floats(-1e6, 1e6) | st.floats(-2.0, 2.0), min_size=12, max_size=12)))
    ticks = scale.to_ticks(asked)
    for joint, tick in zip(robot.joints, ticks, strict=True):
        shaft_rad = (tick - joint.model.ticks_per_turn // 2) * joint.model.rad_per_tick
        decoded = shaft_rad / joint.gear_ratio
        assert joint.lower_rad - 1e-9 <= decoded <= joint.upper_rad + 1e-9


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=12, max_size=12),
       st.lists(st.integers(-3, 3), min_size=12, max_size=12))
def test_any_turn_of_the_count_is_the_same_angle(shares, turns):
    scale = TickScale(load_robot('dynamixel_xl330', TABLE))
    pose = scale.lower_rad + np.array(shares) * (scale.upper_rad - scale.lower_rad)
    counts = scale.to_ticks(pose) + 4096 * np.array(turns)
    np.testing.assert_array_equal(scale.turns(counts), turns)
    np.testing.assert_allclose(scale.to_rad(counts), pose, atol=0.0016)
    np.testing.assert_array_equal(scale.to_ticks(scale.to_rad(counts), turns), counts)


def test_unknown_stays_unknown():
    scale = TickScale(load_robot('dynamixel_xl330', TABLE))
    ticks = np.full(12, 2048.0)
    ticks[4] = np.nan
    assert np.isnan(scale.to_rad(ticks)).tolist() == [i == 4 for i in range(12)]


def test_calibration_takes_the_place_of_offset_and_direction(tmp_path):
    robot = robot_with(tmp_path, direction=-1, offset_rad=0.3)
    joints = {joint.name: JointCalibration(
        joint.id, joint.model.name, 1, 2000, 1500, 2600) for joint in robot.joints}
    scale = TickScale(robot, Calibration(robot.name, 'now', joints))
    assert scale.to_ticks(np.zeros(12))[-1] == 2000
    # The soft limit of the elbow is wider than its travel to one side, 600 ticks.
    assert scale.upper_rad[-1] == pytest.approx(600 * 2 * math.pi / 4096)
    assert scale.lower_rad[-1] == pytest.approx(-500 * 2 * math.pi / 4096)
    assert scale.upper_rad[-2] == 0.52  # of the wrist it is narrower
    assert (scale.upper_ticks[-1], scale.lower_ticks[-1]) == (2600, 1500)
    assert scale.servo_offsets == (0,) * 12 and TickScale(robot).servo_offsets is None


def test_arrays_cannot_be_changed_by_mistake():
    scale = TickScale(load_robot('dynamixel_xl330', TABLE))
    for array in (scale.lower_rad, scale.upper_rad, scale.lower_ticks, scale.upper_ticks):
        with pytest.raises(ValueError):
            array[0] = 0
