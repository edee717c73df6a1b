"""Rewards as pure functions, and the original formula against the original package."""

import numpy as np
import pytest
import skeletons

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.kinematics import Kinematics
from hand_imitation.human.angles import JOINTS, finger_angles
from hand_imitation.learning import rewards
from hand_imitation.learning.arm_geometry import ArmGeometry
from hand_imitation.learning.feeds import dark_mask, skin_mask
from hand_imitation.learning.peer import Peer, default_folder, installed
from hand_imitation.learning.regions import ArmRegions, target_regions


@pytest.fixture(scope='module')
def table():
    return JointTable.from_urdf(load_description())


@pytest.fixture(scope='module')
def kinematics(table):
    return Kinematics(load_description(), table)


def test_original_counts_mismatched_pixels():
    arm = np.zeros((2, 4, 5), bool)
    target = arm.copy()
    arm[0, :2], target[0, 1:3] = True, True
    assert rewards.original(arm, target).tolist() == [-10.0, 0.0]


def test_original_is_that_of_the_original_package():
    if not installed(default_folder()):
        pytest.skip('gym-handofjustice is not installed: `hand-imitation bench env` does that')
    random = np.random.default_rng(3)
    # Blocks of colour, some of them like skin, so that masks are neither empty nor full.
    blocks = random.integers(0, 256, (6, 7, 7, 3)).astype(np.uint8)
    pictures = blocks.repeat(8, axis=1).repeat(8, axis=2)
    actions = random.uniform([0] * 10 + [-0.52, -1.04], [1.55] * 10 + [0.52, 1.04], (6, 12))
    peer = Peer(default_folder())
    try:
        observations, theirs = peer.play(pictures, actions, repeat=10)
    finally:
        peer.close()
    assert np.array_equal(observations[:, :, :56], pictures)
    arms = np.array([dark_mask(seen[:, 56:]) > 100 for seen in observations.astype(np.uint8)])
    targets = np.array([skin_mask(np.ascontiguousarray(p[:, ::-1])) > 100 for p in pictures])
    assert rewards.original(arms, targets).tolist() == theirs.tolist()
    assert len(set(theirs)) > 1


def test_overlap_of_regions():
    one = np.zeros((1, 3, 4, 4))
    one[:, :2, :2] = 1.0
    other = one.copy()
    other[:, 0], other[:, 1] = np.roll(one[:, 0], 2, axis=-2), one[:, 1] * 0.5
    other[:, 2] = np.nan
    overlaps = rewards.region_overlaps(one, other)
    assert overlaps[0, :2] == pytest.approx([0.0, 0.5])
    assert np.isnan(overlaps[0, 2])
    assert rewards.aligned(overlaps)[0] == pytest.approx(0.25 - 1.0)
    assert rewards.aligned(np.full((1, 3), np.nan))[0] == -1.0


def test_pose_leaves_out_what_is_not_known():
    positions = np.array([[0.5, 1.0, -0.2]])
    assert rewards.pose(positions, np.array([[0.3, np.nan, 0.2]]))[0] == pytest.approx(-0.3)
    assert rewards.pose(positions, positions)[0] == 0.0


def test_fingertips_in_metres():
    tips = np.zeros((1, 5, 3))
    moved = tips.copy()
    moved[0, 2] = [0.0, 0.03, 0.04]
    assert rewards.fingertips(moved, tips)[0] == pytest.approx(-0.01)


def test_smoothness_is_zero_at_constant_speed():
    steady = np.array([[[0.0, 1.0], [0.1, 1.2], [0.2, 1.4]]])
    assert rewards.smoothness(steady)[0] == pytest.approx(0.0)
    jerked = np.array([[[0.0, 0.0], [0.2, 0.0], [0.0, 0.0]]])
    assert rewards.smoothness(jerked)[0] == pytest.approx(-0.08)


def test_self_collision_agrees_with_points_along_the_axes():
    random = np.random.default_rng(1)
    starts, ends = random.uniform(-0.05, 0.05, (2, 40, 2, 3))
    radii = np.array([0.02, 0.03])
    depth = -rewards.self_collision(starts, ends, radii, np.array([[0, 1]]))
    share = np.linspace(0.0, 1.0, 201)[:, np.newaxis]
    for i in range(40):
        lines = [starts[i, k] + share * (ends[i, k] - starts[i, k]) for k in (0, 1)]
        nearest = np.linalg.norm(lines[0][:, np.newaxis] - lines[1], axis=-1).min()
        assert depth[i] == pytest.approx(max(0.0, 0.05 - nearest), abs=2e-4)
    assert (depth > 0.0).any() and (depth == 0.0).any()


def test_fingers_of_the_arm_collide_only_where_they_should(kinematics, table):
    geometry = ArmGeometry(kinematics)
    poses = np.zeros((2, 12))
    # The thumb across the palm, and the fingers closed straight through it.
    poses[1] = table.reorder(JOINTS, [1.5, 1.0, 1.5, 1.5, 1.5, 1.5, 0, 0, 0, 0, 0, 0])
    starts, ends = geometry.capsules(poses)
    free, jammed = rewards.self_collision(starts, ends, geometry.radii_m, geometry.pairs)
    assert free == 0.0
    assert jammed < -0.003


def test_fingertips_agree_with_kinematics(kinematics, table):
    poses = np.random.default_rng(0).uniform(table.lower_rad, table.upper_rad, (5, 12))
    assert ArmGeometry(kinematics).fingertips(poses) == pytest.approx(
        kinematics.fingertips(poses, relative_to_palm=True), abs=1e-9)


def test_total_is_weighted():
    terms = {'pose': np.array([-1.0, -2.0]), 'smoothness': np.array([-0.5, 0.0])}
    assert rewards.total(terms, {'pose': 2.0, 'smoothness': 4.0}).tolist() == [-4.0, -4.0]


@pytest.mark.parametrize('side', ['left', 'right'])
@pytest.mark.parametrize('palm_seen', [True, False])
@pytest.mark.parametrize('clockwise', [0.0, 0.7])
def test_regions_of_arm_and_hand_fall_together_in_the_same_pose(
        kinematics, table, side, palm_seen, clockwise):
    bends = {'index_proximal': 0.3, 'index_distal': 0.9, 'middle_proximal': 1.2,
             'little_distal': 0.6, 'ring_proximal': 0.5, 'thumb_distal': 0.5}
    points = skeletons.hand(side=side, palm_seen=palm_seen, clockwise=clockwise, **bends)
    forearm = np.array([np.sin(clockwise), -np.cos(clockwise)])
    target = target_regions(points, side, forearm)
    truth = dict(zip(JOINTS, finger_angles(points, side), strict=False))
    truth['elbow'] = clockwise * target.thumb_side
    truth['wrist'] = _wrist(points, forearm) * target.thumb_side
    pose = table.reorder(list(truth), list(truth.values()))
    regions = ArmRegions(kinematics)
    assert regions.bones(target, pose[np.newaxis])[0] == pytest.approx(target.bones, abs=0.02)
    overlaps = rewards.region_overlaps(regions.masks(target, pose[np.newaxis]), target.masks)
    assert overlaps.min() > 0.9


def _wrist(points, forearm):
    palm = points[9, :2] - points[0, :2]
    return np.arctan2(forearm[0] * palm[1] - forearm[1] * palm[0], forearm @ palm)


def test_aligned_does_not_depend_on_place_size_and_turn(kinematics, table):
    regions = ArmRegions(kinematics)
    pose = np.full((1, 12), 0.3)
    values = []
    for size, shift, clockwise in ((1.0, 0.0, 0.0), (2.5, 0.4, 0.0), (1.0, 0.0, 0.6)):
        points = size * skeletons.hand(index_proximal=0.8, clockwise=clockwise) + shift
        target = target_regions(points, 'right')
        overlaps = rewards.region_overlaps(regions.masks(target, pose), target.masks)
        assert np.isnan(overlaps[0, 10:]).all()  # no forearm was given
        values.append(rewards.aligned(overlaps)[0])
    assert values == pytest.approx([values[0]] * 3, abs=1e-3)


def test_aligned_tells_an_open_hand_from_a_fist(kinematics):
    regions = ArmRegions(kinematics)
    poses = np.zeros((2, 12))
    poses[1, 2:10] = 1.5
    for points, best in ((skeletons.hand(), 0), (skeletons.fist(), 1)):
        target = target_regions(points, 'right', np.array([0.0, -1.0]))
        score = rewards.aligned(
            rewards.region_overlaps(regions.masks(target, poses), target.masks))
        assert score.argmax() == best
