"""The simulated arm, in real physics."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from hand_imitation.arm.bullet import pybullet
from hand_imitation.arm.description import load_description
from hand_imitation.arm.driver import NotArmedError
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.simulation import PHYSICS_RATE_HZ, SimulatedArm
from hand_imitation.errors import UserError

FINGERS = ('index', 'middle', 'ring', 'little')
FIST = {f'{finger}_{part}': 1.55 for finger in FINGERS for part in ('proximal', 'distal')}
FIST |= {'thumb_proximal': 1.0, 'thumb_distal': 0.8}


def make(side='right', prefix=''):
    description = load_description(side, prefix)
    return SimulatedArm(description, JointTable.from_urdf(description, prefix), prefix=prefix)


@pytest.fixture(scope='module', params=['right', 'left'])
def either_arm(request):
    with make(request.param) as arm:
        yield arm, 1 if request.param == 'right' else -1


@pytest.fixture
def arm():
    with make() as opened:
        yield opened


def pose(arm, **positions):
    return arm.table.reorder(list(positions), list(positions.values()), missing=0)


def gaps(arm, reach_m=0.05):
    """Smallest distance [m], negative inside, of every two links that are not joined."""
    parent = {number: pybullet.getJointInfo(arm.body_id, number, arm.client_id)[16]
              for number in arm.links.values()}
    found = {}
    for (name, one), (other_name, other) in itertools.combinations(arm.links.items(), 2):
        if parent[one] == other or parent[other] == one:
            continue
        points = pybullet.getClosestPoints(arm.body_id, arm.body_id, reach_m, one, other,
                                           physicsClientId=arm.client_id)
        if points:
            found[name, other_name] = min(point[8] for point in points)
    return found


def test_starts_upright_with_an_open_hand(arm):
    np.testing.assert_array_equal(arm.read().position_rad, np.zeros(12))
    x, y, z = arm.link_position('middle_tip_link')
    assert abs(x) < 0.02 and abs(y) < 0.02
    assert z > 0.5


def test_left_is_the_mirror_image_of_right():
    rng = np.random.default_rng(1)
    with make('right') as right, make('left') as left:
        assert right.links == left.links
        for _ in range(5):
            positions = rng.uniform(right.table.lower_rad, right.table.upper_rad)
            right.set_positions(positions)
            left.set_positions(positions)
            for name in right.links:
                np.testing.assert_allclose(left.link_position(name),
                                           right.link_position(name) * [1, -1, 1], atol=1e-6)


@pytest.mark.parametrize('joint', ['wrist', 'elbow'])
def test_wrist_and_elbow_lean_towards_the_thumb(either_arm, joint):
    arm, side = either_arm
    arm.reset()
    thumb = arm.link_position('thumb_tip_link')
    before = arm.link_position('middle_tip_link')
    assert np.sign(thumb[1]) == side
    arm.set_positions(pose(arm, **{joint: 0.4}))
    move = arm.link_position('middle_tip_link') - before
    assert move[1] * side > 0.05
    assert abs(move[0]) < 1e-6  # in the plane that the camera sees


@pytest.mark.parametrize('finger', FINGERS)
@pytest.mark.parametrize('part', ['proximal', 'distal'])
def test_flexion_moves_a_fingertip_to_the_palm_side(either_arm, finger, part):
    arm, _ = either_arm
    arm.reset()
    before = arm.link_position(f'{finger}_tip_link')
    arm.set_positions(pose(arm, **{f'{finger}_{part}': 0.8}))
    move = arm.link_position(f'{finger}_tip_link') - before
    assert move[0] > 0.015
    assert move[2] < 0


def test_thumb_swings_across_in_front_of_the_palm(either_arm):
    arm, side = either_arm
    across = []
    for angle in (0, 0.5, 1.0, 1.55):
        arm.set_positions(pose(arm, thumb_proximal=angle))
        across.append(arm.link_position('thumb_tip_link')[1] * side)
    assert across == sorted(across, reverse=True)
    assert across[0] > 0.08 and across[-1] < 0.02
    assert arm.link_position('thumb_tip_link')[0] > 0.03


def test_thumb_and_index_can_pinch(either_arm):
    arm, _ = either_arm
    arm.set_positions(pose(arm, thumb_proximal=1.2, thumb_distal=0.2, index_proximal=1.0,
                           index_distal=1.1))
    apart = arm.link_position('thumb_tip_link') - arm.link_position('index_tip_link')
    assert np.linalg.norm(apart) < 0.02  # the two tips' radii together


@pytest.mark.parametrize('positions', [
    {}, FIST, FIST | {'thumb_proximal': 0, 'thumb_distal': 0}, {'thumb_proximal': 1.55},
    {'thumb_proximal': 1.55, 'thumb_distal': 1.55}, {'elbow': 1.04, 'wrist': 0.52},
    {'elbow': -1.04, 'wrist': -0.52}], ids=[
        'spread', 'fist', 'fist, thumb out', 'thumb', 'thumb bent', 'lean', 'lean back'])
def test_links_do_not_pass_through_each_other(either_arm, positions):
    arm, _ = either_arm
    arm.set_positions(pose(arm, **positions))
    distances = gaps(arm)
    assert len(distances) > 20
    assert min(distances.values()) > -0.002, min(distances, key=distances.get)


def test_fist_closes_under_power(arm):
    arm.arm()
    target = pose(arm, **FIST)
    for share in np.linspace(0, 1, 20):
        arm.write(share * target)
        arm.step(0.02)
    arm.step(0.5)
    np.testing.assert_allclose(arm.read().position_rad, target, atol=np.radians(3))


def test_self_collision_stops_a_finger(arm):
    arm.set_positions(pose(arm, thumb_proximal=1.55))
    arm.arm()
    arm.write(pose(arm, thumb_proximal=1.55, index_proximal=1.55, index_distal=1.55,
                   middle_proximal=1.55, middle_distal=1.55))
    arm.step(1.0)
    assert min(gaps(arm).values()) > -0.004


@pytest.mark.parametrize('angle', [1.04, -1.04])
def test_holds_against_gravity(arm, angle):
    arm.arm()
    arm.write(pose(arm, elbow=angle, wrist=angle / 2))
    arm.step(2.0)
    state = arm.read()
    np.testing.assert_allclose(state.position_rad, pose(arm, elbow=angle, wrist=angle / 2),
                               atol=np.radians(2))
    assert abs(state.velocity_rad_s).max() < 0.01
    torque = abs(state.effort_nm[arm.table.index('elbow')])
    assert 0.1 < torque <= arm.table.max_effort_nm[-1]


def test_a_finger_follows_a_right_angle_in_time_and_not_above_its_speed(arm):
    arm.arm()
    joints = [name for name in arm.table.names if name not in ('wrist', 'elbow')]
    for name in joints:
        arm.reset()
        number = arm.table.index(name)
        arm.write(pose(arm, **{name: 1.55}))
        fastest = 0.0
        for _ in range(40):
            arm.step(0.01)
            fastest = max(fastest, arm.read().velocity_rad_s[number])
        assert arm.read().position_rad[number] == pytest.approx(1.55, abs=np.radians(5)), name
        assert fastest <= arm.table.max_velocity_rad_s[number] * 1.05, name


def test_arming_holds_the_present_pose(arm):
    start = pose(arm, elbow=0.5, index_proximal=1.0)
    arm.set_positions(start)
    arm.arm()
    arm.step(1.0)
    np.testing.assert_allclose(arm.read().position_rad, start, atol=np.radians(1))


def test_without_power_the_arm_falls_and_refuses_targets(arm):
    with pytest.raises(NotArmedError):
        arm.write(np.zeros(12))
    arm.arm()
    arm.set_positions(pose(arm, elbow=0.3))
    arm.disarm()
    arm.step(1.5)
    state = arm.read()
    assert state.position_rad[arm.table.index('elbow')] > 0.9
    np.testing.assert_array_equal(state.effort_nm, np.zeros(12))
    with pytest.raises(NotArmedError):
        arm.write(np.zeros(12))


@pytest.mark.parametrize('targets', [np.zeros(11), np.full(12, np.nan), np.full(12, np.inf)])
def test_unusable_targets_are_refused(arm, targets):
    arm.arm()
    with pytest.raises(ValueError):
        arm.write(targets)


@pytest.mark.parametrize('name', ['thumb_proximal', 'ring_distal', 'wrist', 'elbow'])
def test_targets_beyond_the_limits_are_clipped(arm, name):
    arm.arm()
    arm.write(pose(arm, **{name: 9.0}))
    arm.step(1.5)
    number = arm.table.index(name)
    assert arm.read().position_rad[number] == pytest.approx(arm.table.upper_rad[number], abs=0.01)


def test_a_jammed_hand_stays_within_its_limits(arm):
    arm.arm()
    rng = np.random.default_rng(2)
    for _ in range(20):
        arm.write(np.where(rng.random(12) < 0.6, arm.table.upper_rad, arm.table.lower_rad))
        for _ in range(10):
            arm.step(0.03)
            position = arm.read().position_rad
            assert (position <= arm.table.upper_rad + np.radians(1)).all()
            assert (position >= arm.table.lower_rad - np.radians(1)).all()


def test_time_passes_in_whole_steps_and_none_is_lost(arm):
    assert sum(arm.step(0.001) for _ in range(1000)) == PHYSICS_RATE_HZ
    assert arm.read().stamp_s == pytest.approx(1.0)
    assert arm.step(0) == 0
    for duration in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError):
            arm.step(duration)


def test_same_commands_same_motion():
    def run():
        with make() as arm:
            arm.arm()
            arm.write(pose(arm, **FIST))
            arm.step(0.4)
            return arm.read().position_rad
    np.testing.assert_array_equal(run(), run())


def test_several_arms_live_side_by_side_and_close_twice():
    with make() as one, make('left', prefix='left_') as other:
        one.set_positions(pose(one, elbow=0.5))
        assert other.read().position_rad[-1] == 0
        one.close()
        one.close()
        other.step(0.1)
        with pytest.raises(RuntimeError, match='open'):
            one.step(0.1)


def test_picture_shows_the_arm_and_a_flexed_finger(arm):
    def picture(**positions):
        arm.set_positions(pose(arm, **positions))
        return arm.render(320, 240).astype(int)
    still = picture()
    assert still.shape == (240, 320, 3)
    assert arm.render(56, 64).dtype == np.uint8
    assert still.std() > 15
    np.testing.assert_array_equal(picture(), still)
    for finger in FINGERS:
        changed = abs(picture(**{f'{finger}_proximal': 1.2}) - still).max(axis=2) > 40
        assert 40 < changed.sum() < 2000, finger


@pytest.mark.parametrize('size', [(320, 240), (240, 320), (200, 200), (320, 180)])
def test_the_whole_arm_stays_in_the_picture(either_arm, size):
    arm, _ = either_arm
    for elbow, wrist, thumb, finger in itertools.product(
            (-1.04, 0, 1.04), (-0.52, 0, 0.52), (0, 1.0), (0, 1.55)):
        arm.set_positions(pose(arm, elbow=elbow, wrist=wrist, thumb_proximal=thumb,
                               middle_proximal=finger, little_proximal=finger))
        image = arm.render(*size).astype(int)
        # The background is the same along each row, so a row's ends differ where the arm is cut.
        edges = np.concatenate([image[:, 0] - image[:, -1], image[0] - image[0, 0],
                                image[-1] - image[-1, 0]])
        assert not edges.any(), (elbow, wrist)


def test_a_description_on_one_line_loads_too():
    # PyBullet's own reader breaks long lines in the middle of a word.
    description = ''.join(line.strip() for line in load_description().splitlines())
    with SimulatedArm(description, JointTable.from_urdf(description)) as arm:
        assert len(arm.read().position_rad) == 12


def test_descriptions_that_do_not_fit_are_refused_in_one_line():
    table = JointTable.from_urdf(load_description())
    for description, reason in (('<robot', 'refuses'),
                                ('<robot name="r"><link name="a"/></robot>', 'no joint')):
        with pytest.raises(UserError, match=reason) as caught, \
                SimulatedArm(description, table):
            pass
        assert '\n' not in str(caught.value)


def test_nothing_reaches_standard_output_or_standard_error():
    code = ('from hand_imitation.quiet import quiet\n'
            'from hand_imitation.arm.simulation import SimulatedArm\n'
            'from hand_imitation.arm.joint_table import JointTable\n'
            'from hand_imitation.arm.description import load_description\n'
            'import ctypes\n'
            'text = load_description()\n'
            'with SimulatedArm(text, JointTable.from_urdf(text)) as arm:\n'
            '    arm.arm(); arm.step(0.1); arm.render(64, 48)\n'
            'with quiet():\n'
            '    ctypes.CDLL(None).printf(b"from C")\n'
            '    print("from Python")\n'
            'print("result")\n')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=True)
    assert done.stdout == 'result\n'
    assert done.stderr == ''
