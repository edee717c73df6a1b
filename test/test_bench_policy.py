"""`hand-imitation bench policy`: the clock of decisions, and the optimiser it is held against."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from skeletons import hand, turned

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.kinematics import Kinematics
from hand_imitation.cli import bench_policy
from hand_imitation.errors import UserError
from hand_imitation.evaluation import policy_speed
from hand_imitation.evaluation.policy_speed import loadable, measure, speed_figures
from hand_imitation.evaluation.retargeting_peer import (
    FOLDER_VARIABLE,
    PEER,
    RetargetingPeer,
    arm_vectors,
)
from hand_imitation.human.angles import HAND_JOINTS


class SlowPeer:
    """Takes two seconds for each hand, it says."""

    def __init__(self):
        self.asked = 0

    def retarget(self, points_m, sides):
        assert points_m[0].shape == (21, 3) and sides[0] in ('left', 'right')
        self.asked += 1
        return np.full(len(points_m), 2.0), np.zeros((len(points_m), 10))


def test_decisions_are_timed_on_hands_of_the_sample_in_turns_with_the_peer():
    peer = SlowPeer()
    shares = []
    seconds = measure({'mine': 'geometric'}, peer, 2, shares.append, frames=25)
    assert set(seconds) == {'mine', 'peer'}
    assert len(seconds['mine']) == len(seconds['peer']) == 2 * 25
    assert (seconds['mine'] > 1e-6).all() and np.median(seconds['mine']) < 0.1
    assert peer.asked == 3, 'one to warm up'
    assert shares[-1] == 1.0


def test_figures_say_what_is_faster():
    seconds = {'geometric': np.full(10, 0.5e-3), 'landmarks': np.linspace(1e-4, 3e-4, 101),
               'peer': np.full(10, 4e-3)}
    figures = speed_figures(seconds, {}, None)
    assert figures['policy'] == 'landmarks'
    assert (figures['ours'], figures['peer'], figures['unit']) == (0.2, 4.0, 'ms')
    assert figures['ratio'] == 20.0
    assert figures['policies']['geometric']['ratio'] == 8.0
    assert figures['policies']['landmarks']['p95'] == pytest.approx(0.29)
    assert 'peer' not in figures['policies']


def test_without_the_peer_nothing_is_made_up(monkeypatch, capsys):
    def fail(*arguments):
        raise UserError('no network')

    monkeypatch.setattr(bench_policy, '_environment', fail)
    monkeypatch.setattr(policy_speed, 'measure', lambda names, peer, *_: {
        name: np.full(9, 1e-3) for name in names} if peer is None else None)
    bench_policy.policy(policy=['geometric'], rounds=1, peer=None, as_json=True)
    figures = json.loads(capsys.readouterr().out)
    assert figures['peer'] is None and figures['ratio'] is None
    assert figures['peer_unavailable'] == 'no network'
    assert figures['ours'] == 1.0
    bench_policy._print(figures)
    assert f'{PEER} was not measured' in capsys.readouterr().out


def test_a_policy_that_does_not_load_is_refused_or_named():
    with pytest.raises(UserError, match="no policy 'nobody'"):
        loadable(['nobody'])
    names, unavailable = loadable([])
    assert names['geometric'] == 'geometric'
    assert not set(names) & set(unavailable)


@pytest.mark.parametrize('side', ['right', 'left'])
def test_vectors_do_not_depend_on_view_and_side(side):
    straight = arm_vectors(hand('right'), 'right')
    points = turned(hand(side), np.array([0.36, 0.8, 0.48]), 1.1)
    np.testing.assert_allclose(arm_vectors(points, side), straight, atol=1e-9)
    # The frame is that of an arm that stands upright: fingers up, thumb on its own side.
    description = load_description()
    table = JointTable.from_urdf(description)
    arm = Kinematics(description, table).fingertips(np.zeros((1, len(table))), True)[0]
    for finger in range(1, 5):
        cosine = straight[finger] @ arm[finger] / (
            np.linalg.norm(straight[finger]) * np.linalg.norm(arm[finger]))
        assert cosine > 0.97
    assert straight[0, 1] > 0.0 and arm[0, 1] > 0.0
    bent = arm_vectors(hand('right', index_proximal=1.0), 'right')
    assert bent[1, 0] > straight[1, 0] + 0.02, 'bent fingers go where the palm faces'


@pytest.mark.skipif(FOLDER_VARIABLE not in os.environ,
                    reason=f'{FOLDER_VARIABLE} names no environment with {PEER}')
def test_the_optimiser_bends_the_fingers_that_are_bent():
    peer = RetargetingPeer(Path(os.environ[FOLDER_VARIABLE]))
    # It smooths what it finds, so each pose is shown for a while.
    poses = [hand()] * 30 + [hand(index_proximal=1.2, index_distal=1.2)] * 30
    seconds, angles = peer.retarget(poses, ['right'] * len(poses))
    peer.close()
    assert (seconds > 0.0).all()
    bend = angles[:, HAND_JOINTS.index('index_proximal')] + angles[
        :, HAND_JOINTS.index('index_distal')]
    assert bend[-1] > bend[29] + 0.8


def test_a_peer_that_does_not_start_is_named(tmp_path):
    (tmp_path / 'bin').mkdir()
    python = tmp_path / 'bin' / 'python'
    python.write_text('#!/bin/sh\nexit 1\n')
    python.chmod(0o755)
    peer = RetargetingPeer(tmp_path)
    with pytest.raises(UserError, match='remove the folder'):
        peer.retarget([hand()], ['right'])
    peer.close()
