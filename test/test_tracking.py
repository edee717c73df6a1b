"""Tracking of moving people: the harness, and the classic predictors."""

import numpy as np
import pytest
from moving_hands import motion_arrays

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import SafetyParameters
from hand_imitation.errors import UserError
from hand_imitation.evaluation.following import Follower, IdealBehind
from hand_imitation.evaluation.moving import moving_people
from hand_imitation.evaluation.moving_scores import (
    Moving,
    comparison,
    tracking_figures,
    true_targets,
)
from hand_imitation.evaluation.plain_policies import ConstantPolicy, RecordedPolicy
from hand_imitation.evaluation.predictors import (
    GRIDS,
    PredictedPolicy,
    make_predictor,
    recorded,
    tune,
)
from hand_imitation.evaluation.tracking import FINGER_JOINTS, TrackingOptions, track
from hand_imitation.human.angles import JOINTS
from hand_imitation.learning.servo_model import IDEAL, ServoRanges
from hand_imitation.policy.base import JointTargets, in_arm_terms
from hand_imitation.policy.geometric import GeometricPolicy

QUICK = TrackingOptions(settle_s=0.5, safety=SafetyParameters(start_ramp_s=0.1))


@pytest.fixture(scope='module')
def table():
    return JointTable.from_urdf(load_description())


@pytest.fixture(scope='module')
def arrays():
    return motion_arrays()


@pytest.fixture(scope='module')
def people(arrays, table):
    return moving_people(arrays, table)


def swing(rate_hz=0.8, frames=150):
    """Poses in which all fingers bend and straighten."""
    time_s = np.arange(frames) / 30.0
    poses = np.zeros((frames, 12))
    poses[:, 2:10] = 0.7 - 0.5 * np.cos(2.0 * np.pi * rate_hz * time_s)[:, np.newaxis]
    return poses


def truth_policy(people, table):
    said = true_targets(people, table)
    return lambda place: RecordedPolicy(said[place])


def test_all_sequences_together_move_as_each_alone(people, table):
    options = TrackingOptions(settle_s=0.5, servos=IDEAL)
    together = track(lambda place: GeometricPolicy(table), people, table, options)
    for place in range(len(people)):
        alone = track(
            lambda _: GeometricPolicy(table),
            moving_people(motion_arrays(), table, [people.numbers[place]]), table, options)
        np.testing.assert_allclose(alone.joint_rad[0], together.joint_rad[place], atol=1e-9)
        np.testing.assert_allclose(alone.error_deg[0], together.error_deg[place], atol=1e-7)


def test_commands_are_those_of_the_chain_that_replay_runs(people, table):
    said = true_targets(people, table)[0]
    chain = Follower(table, SafetyParameters(), IdealBehind(len(table)), 0)
    for target, time_s in zip(said, people.time_s, strict=True):
        at_ns = round((time_s + 0.02) * 1e9)
        chain.advance(at_ns)
        in_arm = in_arm_terms(target, 'right', True)
        chain.deliver(in_arm.names, in_arm.positions_rad, round(time_s * 1e9), at_ns)
    commands, *_ = chain.finish(round(people.time_s[-1] * 1e9))
    # Servos this fast are where they were told to be a moment ago.
    sudden = ServoRanges(**{**vars(IDEAL), 'speed': (1e3, 1e3), 'lag_s': (1e-3, 1e-3)})
    tracked = track(truth_policy(people, table), people, table, TrackingOptions(servos=sudden))
    at = np.searchsorted(commands.time_ns, np.arange(150, 290) * 10_000_000)
    late = commands.position_rad[at - 1]
    assert np.abs(tracked.joint_rad[0][:140] - late).max() < 0.06


def test_error_counts_lag_and_grows_with_latency(table):
    people = moving_people(motion_arrays(2, 150, poses_rad=swing()), table)
    found = {
        latency_s: track(truth_policy(people, table), people, table, TrackingOptions(
            latency_s=latency_s, servos=IDEAL))
        for latency_s in (0.0, 0.1)}
    early, late = found[0.0], found[0.1]
    assert np.nanmean(late.lag_ms) - np.nanmean(early.lag_ms) == pytest.approx(100.0, abs=15.0)
    assert late.errors_of().mean() > early.errors_of().mean() + 5.0


def test_a_constant_pose_errs_by_its_distance_and_has_no_lag(table):
    people = moving_people(motion_arrays(2, 150, poses_rad=swing()), table)
    pose = np.zeros(len(table))
    tracked = track(lambda _: ConstantPolicy(table, pose), people, table, TrackingOptions(
        servos=IDEAL, settle_s=2.0))
    wanted = np.degrees(np.abs(tracked.truth_rad)).mean(axis=1)
    np.testing.assert_allclose(tracked.error_deg, wanted, atol=0.05)
    assert np.isnan(tracked.lag_ms).all()
    assert tracked.target_share.tolist() == [1.0, 1.0]


def test_leans_are_followed_in_the_arms_terms_whoever_is_seen(table):
    poses = np.zeros((120, 12))
    poses[:, JOINTS.index('elbow')] = 0.4
    arrays = motion_arrays(4, 120, poses_rad=poses)
    assert len(set(arrays['seen_right'].tolist())) == 2, 'both sides wanted'
    people = moving_people(arrays, table)
    elbow = table.index('elbow')
    for mirror in (True, False):
        options = TrackingOptions(servos=IDEAL, settle_s=2.0, mirror=mirror)
        tracked = track(lambda _: GeometricPolicy(table), people, table, options)
        assert np.abs(np.abs(tracked.joint_rad[:, -1, elbow]) - 0.4).max() < 0.02
        assert (tracked.error_deg[:, elbow] < 2.0).all()


def test_joints_that_a_picture_cannot_tell_do_not_count(table):
    arrays = motion_arrays(2, 90)
    arrays['valid'][:, JOINTS.index('wrist')] = False
    tracked = track(lambda _: GeometricPolicy(table), moving_people(arrays, table), table, QUICK)
    wrist = table.index('wrist')
    assert np.isnan(tracked.error_deg[:, wrist]).all()
    assert np.isfinite(np.delete(tracked.error_deg, wrist, axis=1)).all()
    assert np.isfinite(tracked.errors_of(None)).all()


def test_a_hand_lost_for_long_stops_the_arm(table):
    arrays = motion_arrays(1, 120, poses_rad=swing(frames=120))
    arrays['detected'][60:] = False
    tracked = track(lambda _: GeometricPolicy(table), moving_people(arrays, table), table,
                    TrackingOptions(settle_s=0.5, servos=IDEAL))
    assert tracked.target_share.tolist() == [0.5]
    index = table.index('index_proximal')
    # Frames are lost from 2 s on; 0.1 s later the arm stands.
    still = tracked.joint_rad[0, 190:, index]
    assert np.ptp(still) < 1e-3
    assert np.ptp(tracked.joint_rad[0, :150, index]) > 0.3


def test_measured_joints_go_back_to_who_uses_them(people, table):
    class Listener(ConstantPolicy):
        uses_joint_positions = True
        heard: list = []

        def act(self, observation, joint_positions, now_s):
            self.heard.append((joint_positions, observation.stamp_s, now_s))
            return super().act(observation, joint_positions, now_s)

    noisy = ServoRanges(**{**vars(IDEAL), 'noise_rad': (0.01, 0.01)})
    track(lambda _: Listener(table, np.full(12, 0.3)), people, table, TrackingOptions(
        settle_s=0.5, servos=noisy))
    joints = np.array([heard[0] for heard in Listener.heard[-len(people):]])
    assert np.abs(joints - table.clip(np.full(12, 0.3)))[:, :10].max() < 0.06
    assert joints.std() > 0.0
    stamp_s, now_s = Listener.heard[-1][1:]
    assert now_s - stamp_s == pytest.approx(0.02)


def test_the_same_seed_gives_the_same_servos(people, table):
    def follow(seed):
        return track(lambda _: GeometricPolicy(table), people, table, TrackingOptions(
            settle_s=0.5, seed=seed)).error_deg

    np.testing.assert_array_equal(follow(3), follow(3))
    assert (follow(3) != follow(4)).any()


def test_sequences_that_are_not_there_are_named(arrays, table):
    with pytest.raises(UserError, match='no sequence 9'):
        moving_people(arrays, table, [9])
    with pytest.raises(UserError, match='--kind motion'):
        moving_people({'detected': arrays['detected']}, table)


def test_a_sequence_that_was_cut_short_is_left_out(arrays, table):
    cut = {name: values[:-10] for name, values in arrays.items()}
    assert moving_people(cut, table).numbers == (0, 1)


@pytest.mark.parametrize('kind', list(GRIDS))
def test_predictors_foresee_a_steady_motion(kind):
    values = {name: choices[-1] for name, choices in GRIDS[kind].items()} | {'horizon_s': 0.1}
    predictor = make_predictor(kind, values)
    time_s = np.arange(60) / 30.0
    for now_s in time_s:
        found = predictor(np.array([2.0 * now_s, 0.4, np.nan]), float(now_s))
    assert found[0] == pytest.approx(2.0 * (time_s[-1] + 0.1), abs=0.03)
    assert found[1] == pytest.approx(0.4, abs=1e-6)
    assert np.isnan(found[2])


def test_a_predictor_starts_afresh_after_a_gap(table):
    names, far = table.names, np.full(12, 0.5)
    said = [JointTargets(names, np.zeros(12), 0.1 * step) for step in range(5)]
    said += [None] * 3 + [JointTargets(names, far, 5.0)]
    policy = PredictedPolicy(RecordedPolicy(said), table, 'ema', {
        'cutoff_hz': 0.5, 'horizon_s': 0.3, 'speed_cutoff_hz': 1.0})
    answers = [policy.act(None, None, 0.0) for _ in said]
    assert answers[5:8] == [None] * 3
    np.testing.assert_allclose(answers[-1].positions_rad, far)


def test_leans_do_not_jump_in_a_predictor_when_the_hand_turns_over(table):
    lean = np.where(np.isin(table.names, ['wrist', 'elbow']), 0.4, 0.0)
    said = [JointTargets(table.names, lean * side, 0.03 * step, side)
            for step, side in enumerate([1.0] * 10 + [-1.0] * 3)]
    policy = PredictedPolicy(RecordedPolicy(said), table, 'kalman', {
        'acceleration': 3.0, 'horizon_s': 0.1})
    for target in said:
        answer = policy.act(None, None, 0.0)
        np.testing.assert_allclose(answer.positions_rad, target.positions_rad, atol=1e-4)


def test_a_tuned_predictor_beats_none(table):
    tuning, testing = (moving_people(motion_arrays(2, 90, seed), table) for seed in (1, 2))
    said = [recorded(GeometricPolicy(table), people.seen) for people in (tuning, testing)]
    tuned = tune(said[0], tuning, table, QUICK, 'kalman', rounds=1)
    behind = tuned.of(said[1], testing, table, QUICK)
    plain = track(lambda place: RecordedPolicy(said[1][place]), testing, table, QUICK)
    assert tuned.values['horizon_s'] > 0.0
    assert behind.errors_of().mean() < 0.9 * plain.errors_of().mean()


def test_yardsticks_are_in_their_order(table):
    people = moving_people(motion_arrays(2, 120), table)
    moving = Moving(people, {'split': 'test', 'seed': 0}, None, table, QUICK)
    found = moving.plain()
    ceiling, tuned = moving.ceiling()
    assert tuned is None
    errors = {name: tracked.errors_of().mean() for name, tracked in found.items()}
    assert errors['best constant'] < min(errors['zero'], errors['random'])
    assert ceiling.errors_of().mean() < errors['best constant']
    assert found['zero'].jerks_of().max() < found['random'].jerks_of().min()


def test_figures_and_comparison(table):
    people = moving_people(motion_arrays(4, 90), table)
    one, other = (track(lambda _, pose=pose: ConstantPolicy(table, np.full(12, pose)), people,
                        table, QUICK) for pose in (0.2, 0.6))
    figures = tracking_figures(one)
    assert figures['error_deg']['fingers'] == pytest.approx(np.mean(
        [figures['per_joint'][name] for name in FINGER_JOINTS]), abs=0.01)
    assert figures['ci95']['low'] < figures['error_deg']['fingers'] < figures['ci95']['high']
    found = comparison('one', one, 'other', other)
    differences = one.errors_of() - other.errors_of()
    assert found['difference_deg'] == pytest.approx(differences.mean(), abs=1e-3)
    assert found['ci95']['low'] <= found['difference_deg'] <= found['ci95']['high']
    assert found['sequences'] == 4
