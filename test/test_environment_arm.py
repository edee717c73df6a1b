"""The quick ways to move and draw arms, against PyBullet."""

import numpy as np
import pytest

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.kinematics import Kinematics
from hand_imitation.learning.arm_motion import ArmMotion
from hand_imitation.learning.arm_pictures import make_pictures
from hand_imitation.learning.arm_world import make_world, travelled

POSES = 25


@pytest.fixture(scope='module', params=['right', 'left'])
def arm(request):
    description = load_description(request.param)
    table = JointTable.from_urdf(description)
    return description, table, Kinematics(description, table)


def poses(table, count=POSES):
    return np.random.default_rng(0).uniform(table.lower_rad, table.upper_rad, (count, len(table)))


def test_points_move_with_their_links(arm):
    _, table, kinematics = arm
    motion = ArmMotion(kinematics)
    positions = poses(table, 6)
    links = kinematics.link_poses(positions)
    point = np.array([[0.01, -0.02, 0.03]])
    for name, pose in links.items():
        placed = motion.place(
            positions, np.array([motion.joint_of[name]]), motion.at_zero(name, point))
        assert placed[:, 0] == pytest.approx(pose[:, :3, :3] @ point[0] + pose[:, :3, 3])


@pytest.mark.parametrize('follows_hand', [True, False])
@pytest.mark.parametrize('size', [(56, 56), (96, 128)])
def test_masks_agree_with_pybullets(arm, follows_hand, size):
    description, table, kinematics = arm
    world = make_world('pybullet', 1, description, table)
    fast, true = (make_pictures(renderer, world, description, kinematics, size, follows_hand)
                  for renderer in ('fast', 'pybullet'))
    overlaps = []
    for pose in poses(table):
        world.place(np.array([0]), pose[np.newaxis])
        (ours,), (theirs,) = (pictures.draw(world.positions())[1] for pictures in (fast, true))
        overlaps.append((ours & theirs).sum() / (ours | theirs).sum())
    world.close()
    assert np.mean(overlaps) >= 0.97
    assert np.min(overlaps) >= 0.93


def test_a_batch_is_drawn_like_each_alone(arm):
    description, table, kinematics = arm
    world = make_world('motors', 1, description, table)
    pictures = make_pictures('fast', world, description, kinematics, (56, 56), True)
    positions = poses(table, 4)
    together, masks = pictures.draw(positions)
    for i, pose in enumerate(positions):
        alone, mask = pictures.draw(pose[np.newaxis])
        assert np.array_equal(alone[0], together[i])
        assert np.array_equal(mask[0], masks[i])
    assert np.array_equal(masks, (together != 255).any(axis=-1))


def test_the_motor_model_moves_like_pybullet(arm):
    description, table, _ = arm
    true, model = (make_world(physics, 1, description, table)
                   for physics in ('pybullet', 'motors'))
    differences = []
    for i, goal in enumerate(poses(table, 12)):
        for _ in range(6):
            for world in (true, model):
                world.move(goal[np.newaxis])
            differences.append(np.degrees(np.abs(true.positions() - model.positions())).mean())
        if i == 0:
            assert np.abs(true.positions() - 0.0).max() > 0.3
    true.close()
    assert np.mean(differences) < 1.5


def test_travelling_joints_arrive_together_and_none_too_fast():
    start, goal = np.zeros(3), np.array([1.0, -0.5, 0.1])
    speed = np.array([2.0, 2.0, 0.1])  # the last one decides: 1 s
    for time_s in (0.0, 0.25, 0.5, 1.0, 2.0):
        assert travelled(start, goal, speed, time_s) == pytest.approx(goal * min(time_s, 1.0))
