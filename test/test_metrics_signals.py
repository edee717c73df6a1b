"""Signals, confidence intervals and the arm's geometry, against known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.kinematics import FINGERTIP_LINKS, Kinematics
from hand_imitation.evaluation.bootstrap import (
    block_interval,
    block_intervals,
    block_numbers,
    paired_difference,
)
from hand_imitation.evaluation.motion import motion_of
from hand_imitation.evaluation.recording import Series
from hand_imitation.evaluation.signals import at_times, jerk_sums, jitter_sums, lags, root_mean
from hand_imitation.evaluation.silhouettes import PIXEL_M, HandSilhouettes, overlap

SECONDS = np.arange(2000) / 100.0


def waves(late_s: float = 0.0, size_rad: float = 0.5) -> np.ndarray:
    time_s = SECONDS - late_s
    return size_rad * np.stack(
        [np.sin(2.0 * time_s), np.sin(3.1 * time_s + 1.0), np.sin(4.3 * time_s)], axis=1)


def jerk(values: np.ndarray) -> np.ndarray:
    return root_mean(*jerk_sums(values))


def rest_jitter(reference: np.ndarray, signal: np.ndarray) -> np.ndarray:
    return root_mean(*jitter_sums(reference, signal))


# ---- at a stamp

def test_between_samples_it_is_linear_and_at_samples_exact():
    series = Series(np.array([0, 100, 200]) * 10**6, np.array([[0.0], [1.0], [5.0]]))
    values = at_times(series, np.array([0, 25, 100, 150, 200]) * 10**6)
    assert values[:, 0].tolist() == [0.0, 0.25, 1.0, 3.0, 5.0]


def test_there_is_no_value_outside_in_gaps_or_beside_missing_samples():
    series = Series(
        np.array([100, 200, 300, 900]) * 10**6, np.array([[1.0], [np.nan], [2.0], [3.0]]))
    values = at_times(series, np.array([50, 100, 150, 250, 300, 600, 900, 950]) * 10**6)
    assert np.isfinite(values[:, 0]).tolist() == [
        False, True, False, False, True, False, True, False]
    empty = Series(np.zeros(0, np.int64), np.zeros((0, 1)))
    assert np.isnan(at_times(empty, np.array([1]))).all()


# ---- lag

@pytest.mark.parametrize('late_s', [-0.12, 0.0, 0.033, 0.1, 0.25, 0.8])
def test_lag_is_found(late_s):
    together, each = lags(waves(), waves(late_s))
    assert together.lag_s == pytest.approx(late_s, abs=0.0005)
    assert together.correlation == pytest.approx(1.0, abs=0.001)
    assert [found.lag_s for found in each] == pytest.approx([late_s] * 3, abs=0.001)


def test_offset_and_scale_do_not_change_the_lag():
    together, _ = lags(waves(), 0.4 * waves(0.1) + 0.7)
    assert together.lag_s == pytest.approx(0.1, abs=0.0005)


def test_lag_with_gaps():
    reference, signal = waves(), waves(0.1)
    signal[300:380] = np.nan
    reference[900:950, 1] = np.nan
    together, each = lags(reference, signal)
    assert together.lag_s == pytest.approx(0.1, abs=0.003)
    assert all(found.lag_s == pytest.approx(0.1, abs=0.005) for found in each)


def test_a_hand_that_moves_less_than_ten_degrees_has_no_lag():
    small = math.radians(4.9)
    together, each = lags(waves(size_rad=small), waves(0.1, small))
    assert together is None and each == [None] * 3
    assert lags(waves(size_rad=math.radians(5.2)), waves(0.1))[0] is not None


def test_only_joints_that_move_count():
    reference, signal = waves(), waves(0.1)
    reference[:, 0] = 0.3
    signal[:, 0] = np.random.default_rng(0).normal(size=len(signal))
    together, each = lags(reference, signal)
    assert each[0] is None
    assert together.lag_s == pytest.approx(0.1, abs=0.0005)


def test_what_does_not_follow_has_no_lag():
    noise = np.random.default_rng(0).normal(size=(2000, 3))
    assert lags(waves(), noise)[0] is None
    assert lags(waves(), np.full((2000, 3), np.nan))[0] is None
    assert lags(waves(), np.full((2000, 3), 0.4))[0] is None


# ---- jerk and jitter

def test_jerk_of_a_cubic_is_six_times_its_factor():
    time_s = SECONDS[:300, np.newaxis]
    values = np.hstack([2.0 * time_s**3, 5.0 * time_s**2 + time_s, np.sin(2 * np.pi * time_s)])
    found = jerk(values)
    assert found[0] == pytest.approx(12.0, rel=1e-4)
    assert found[1] == pytest.approx(0.0, abs=1e-5)
    assert found[2] == pytest.approx((2 * np.pi) ** 3 / math.sqrt(2), rel=0.01)


def test_jerk_of_white_noise():
    noise = 0.01 * np.random.default_rng(0).normal(size=(20_000, 1))
    # The third difference weighs four samples by 1, 3, 3, 1: a variance of 20.
    assert jerk(noise)[0] == pytest.approx(0.01 * math.sqrt(20) * 1e6, rel=0.02)


def test_jerk_skips_gaps_and_is_unknown_of_nothing():
    time_s = SECONDS[:300, np.newaxis]
    values = 2.0 * time_s**3
    values[100:110] = np.nan
    assert jerk(values)[0] == pytest.approx(12.0, rel=1e-4)
    assert np.isnan(jerk(np.full((10, 1), np.nan))[0]) and np.isnan(jerk(np.zeros((3, 1)))[0])


def test_jitter_counts_at_rest_only():
    generator = np.random.default_rng(0)
    reference = np.zeros((2000, 1))
    reference[1000:1500] = np.sin(3.0 * SECONDS[:500, np.newaxis])
    reference[1500:] = reference[1499]
    tremble = 0.01 * generator.normal(size=(2000, 1))
    tremble[1000:1550] *= 50.0  # while it moves, and just after
    found = rest_jitter(reference, reference + tremble)
    assert found[0] == pytest.approx(0.01, rel=0.05)


def test_a_slow_approach_is_no_tremble():
    reference = np.zeros((500, 1))
    assert rest_jitter(reference, 0.2 * SECONDS[:500, np.newaxis])[0] == pytest.approx(0, abs=1e-9)


def test_a_hand_that_never_rests_has_no_jitter():
    assert np.isnan(rest_jitter(waves(), waves())).all()
    assert np.isnan(rest_jitter(np.full((500, 2), np.nan), np.zeros((500, 2)))).all()


# ---- long recordings are taken in stretches

def test_stretches_give_what_the_whole_gives():
    generator = np.random.default_rng(5)
    time_s = np.arange(30_000) / 100.0
    reference = 0.5 * np.sin(np.outer(time_s, [2.0, 3.1])) * (np.sin(0.2 * time_s) > 0)[:, None]
    signal = np.roll(reference, 12, axis=0) + 0.01 * generator.normal(size=reference.shape)
    signal[12_000:12_040] = np.nan
    times = 7 + 10_000_000 * np.arange(len(time_s), dtype=np.int64)
    found = motion_of(Series(times, signal), Series(times, reference))
    together, each = lags(reference, signal)
    assert found.lag.lag_s == pytest.approx(together.lag_s, abs=1e-9)
    assert [f.lag_s for f in found.joint_lags] == pytest.approx([f.lag_s for f in each], abs=1e-9)
    assert found.jerk_rad_s3 == pytest.approx(jerk(signal))
    assert found.jitter_rad == pytest.approx(rest_jitter(reference, signal))
    assert found.jitter_rad == pytest.approx(0.01, rel=0.05)


def test_less_than_a_second_has_no_lag():
    series = Series(10_000_000 * np.arange(80, dtype=np.int64), waves()[:80])
    found = motion_of(series, series)
    assert found.lag is None and np.isfinite(found.jerk_rad_s3).all()


# ---- confidence intervals

def test_independent_values_have_the_interval_of_the_textbook():
    values = np.random.default_rng(1).normal(3.0, 1.0, 4000)
    found = block_interval(values, np.arange(4000))
    half = 1.96 / math.sqrt(4000)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.mean == pytest.approx(half, rel=0.1)
    assert found.mean - found.low == pytest.approx(half, rel=0.1)


def test_values_that_hang_together_have_a_wider_interval():
    seconds = np.repeat(np.random.default_rng(1).normal(3.0, 1.0, 60), 30)
    blocks = np.repeat(np.arange(60), 30)
    found, careless = block_interval(seconds, blocks), block_interval(seconds, np.arange(1800))
    assert found.high - found.low > 4 * (careless.high - careless.low)
    assert found.high - found.mean == pytest.approx(
        1.96 * np.std(seconds) / math.sqrt(60), rel=0.15)


def test_the_interval_holds_the_true_mean_as_often_as_it_says():
    held = 0
    for seed in range(60):
        seconds = np.repeat(np.random.default_rng(seed).normal(0.0, 1.0, 40), 5)
        found = block_interval(seconds, np.repeat(np.arange(40), 5))
        held += found.low <= 0.0 <= found.high
    assert 51 <= held <= 60


def test_too_few_blocks_have_no_interval():
    found = block_interval(np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1]))
    assert (found.mean, found.low, found.high) == (2.0, None, None)
    assert block_interval(np.array([np.nan]), np.array([0])) is None
    assert block_intervals(np.zeros((0, 2)), np.zeros(0, int)) == [None, None]


def test_missing_values_do_not_count():
    values = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, 5.0], [2.0, 5.0]])
    first, second = block_intervals(values, np.arange(4))
    assert (first.mean, first.count) == (2.0, 3)
    assert (second.mean, second.low, second.high, second.count) == (5.0, 5.0, 5.0, 3)


def test_pairing_takes_out_what_both_have_in_common():
    generator = np.random.default_rng(2)
    hard = np.repeat(generator.normal(10.0, 5.0, 30), 30)
    first, second = hard + 0.3, hard + 0.1 * generator.normal(size=900)
    blocks = np.repeat(np.arange(30), 30)
    found = paired_difference(first, second, blocks)
    assert found.low > 0.25 and found.high < 0.35
    apart = [block_interval(values, blocks) for values in (first, second)]
    assert apart[0].low < apart[1].high  # their own intervals overlap
    assert paired_difference(first, np.full(900, np.nan), blocks) is None


def test_blocks_are_of_one_second():
    times = np.array([0, 999, 1000, 2500]) * 10**6
    assert block_numbers(times + 7, 7).tolist() == [0, 0, 1, 2]


# ---- geometry of the arm

def arm_of(side: str, prefix: str = '') -> tuple[str, JointTable, Kinematics]:
    description = load_description(side, prefix)
    table = JointTable.from_urdf(description, prefix)
    return description, table, Kinematics(description, table, prefix)


def poses_of(table: JointTable, count: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(
        table.lower_rad, table.upper_rad, (count, len(table)))


@pytest.mark.parametrize(('side', 'prefix'), [('right', ''), ('left', 'l_')])
def test_fingertips_are_where_bullet_has_them(side, prefix):
    pytest.importorskip('pybullet')
    from hand_imitation.arm.simulation import SimulatedArm

    description, table, kinematics = arm_of(side, prefix)
    poses = poses_of(table, 10)
    tips = kinematics.fingertips(poses)
    with SimulatedArm(description, table, prefix=prefix) as arm:
        for pose, found in zip(poses, tips, strict=True):
            arm.set_positions(pose)
            for place, link in enumerate(FINGERTIP_LINKS.values()):
                assert found[place] == pytest.approx(arm.link_position(link), abs=1e-6)


def test_in_the_palm_s_frame_wrist_and_elbow_do_not_count():
    _, table, kinematics = arm_of('right')
    poses = poses_of(table, 5)
    turned = poses.copy()
    turned[:, -2:] = 0.0
    assert np.allclose(kinematics.fingertips(poses, True), kinematics.fingertips(turned, True))
    assert not np.allclose(kinematics.fingertips(poses), kinematics.fingertips(turned), atol=0.01)


def test_what_is_not_known_has_no_place():
    _, table, kinematics = arm_of('right')
    pose = np.zeros((1, 12))
    pose[0, table.index('ring_distal')] = np.nan
    known = np.isfinite(kinematics.fingertips(pose)).all(axis=2)[0]
    assert known.tolist() == [True, True, True, False, True]


@pytest.mark.parametrize('side', ['right', 'left'])
def test_silhouettes_are_those_bullet_draws(side):
    """From far away, so that its perspective is hardly one, of the hand's links alone."""
    pybullet = pytest.importorskip('pybullet')
    from hand_imitation.arm.simulation import SimulatedArm

    description, table, kinematics = arm_of(side)
    silhouettes = HandSilhouettes(kinematics)
    poses = poses_of(table, 6)
    poses[:, -2:] = 0.0
    masks = silhouettes.masks(poses)
    rows, columns = masks.shape[1:]
    palm_m = kinematics.link_poses(poses[:1])['palm_link'][0, :3, 3]
    centre = palm_m + [0.0, 0.0, 0.095]  # middle of the spans of the silhouettes
    distance = 60.0
    with SimulatedArm(description, table) as arm:
        hand = [number for name, number in arm.links.items()
                if name == 'palm_link' or name.split('_')[0] in (
                    'thumb', 'index', 'middle', 'ring', 'little')]
        for pose, mask in zip(poses, masks, strict=True):
            arm.set_positions(pose)
            view = pybullet.computeViewMatrix(centre + [distance, 0, 0], centre, (0, 0, 1))
            angle = math.degrees(2 * math.atan(rows * PIXEL_M / 2 / distance))
            lens = pybullet.computeProjectionMatrixFOV(angle, columns / rows, 50.0, 70.0)
            *_, segments = pybullet.getCameraImage(
                4 * columns, 4 * rows, view, lens, renderer=pybullet.ER_TINY_RENDERER,
                flags=pybullet.ER_SEGMENTATION_MASK_OBJECT_AND_LINKINDEX,
                physicsClientId=arm.client_id)
            links = (np.asarray(segments).reshape(4 * rows, 4 * columns) >> 24) - 1
            drawn = np.isin(links, hand).reshape(rows, 4, columns, 4).mean(axis=(1, 3)) > 0.5
            assert overlap(mask[None], drawn[None])[0] > 0.95


def test_silhouettes_are_aligned_in_place_and_rotation():
    _, table, kinematics = arm_of('right')
    poses = poses_of(table, 4)
    turned = poses.copy()
    turned[:, -2:] *= -0.5
    silhouettes = HandSilhouettes(kinematics)
    assert overlap(silhouettes.masks(poses), silhouettes.masks(turned)).min() > 0.999


def test_a_bent_finger_shows_in_the_silhouette():
    _, table, kinematics = arm_of('right')
    straight, bent = np.zeros((1, 12)), np.zeros((1, 12))
    bent[0, [table.index('middle_proximal'), table.index('middle_distal')]] = 1.2
    silhouettes = HandSilhouettes(kinematics)
    masks = silhouettes.masks(straight)
    assert masks.sum() * PIXEL_M**2 == pytest.approx(0.0165, rel=0.2)  # a hand of 165 cm^2
    assert 0.8 < overlap(masks, silhouettes.masks(bent))[0] < 0.95
    assert not masks[0, 0].any() and not masks[0, :, 0].any() and not masks[0, :, -1].any()


def test_overlap():
    one, other = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    one[0, :2], other[0, 1:3] = True, True
    assert overlap(one, other).tolist() == [pytest.approx(1 / 3), 1.0]
