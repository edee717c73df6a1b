"""Signs, filters, and the geometric policy on hands of known angles."""

import numpy as np
import pytest
from skeletons import FINGER_NAMES, fist, hand, seen, turned

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.angles import (
    HAND_JOINTS,
    finger_angles,
    lean_from_vertical,
    thumb_side_sign,
)
from hand_imitation.human.observation import HandObservation
from hand_imitation.policy import POLICIES, load_policy
from hand_imitation.policy.base import JointTargets, in_arm_terms, lean_sign
from hand_imitation.policy.filters import GlitchFilter, OneEuroFilter
from hand_imitation.policy.geometric import (
    BoneLengths,
    GeometricParameters,
    GeometricPolicy,
    SideVote,
    image_terms,
)

RATE_HZ = 30.0
SIDES = ('left', 'right')
TABLE = JointTable.from_urdf(load_description())
JOINTS = (*HAND_JOINTS, 'wrist', 'elbow')
X = np.array([1.0, 0.0, 0.0])


def direction(clockwise):
    """Image direction at an angle from the vertical."""
    return (np.sin(clockwise), -np.cos(clockwise))


def acted(policy, points, seconds=2.0, start_s=0.0, **options):
    """What a policy says in the end of a hand that keeps still."""
    for k in range(round(seconds * RATE_HZ)):
        stamp_s = start_s + k / RATE_HZ
        targets = policy.act(seen(points, stamp_s, **options), None, stamp_s + 0.01)
    return targets


@pytest.fixture
def policy():
    return GeometricPolicy(TABLE)


# Which way wrist and elbow lean.

@pytest.mark.parametrize('person_side', SIDES)
@pytest.mark.parametrize('palm_seen', [True, False])
@pytest.mark.parametrize('arm_side', SIDES)
@pytest.mark.parametrize('mirror', [True, False])
@pytest.mark.parametrize('clockwise', [-0.3, 0.3])
def test_hand_and_arm_lean_the_same_way_in_the_pictures_shown(
        policy, person_side, palm_seen, arm_side, mirror, clockwise):
    points = hand(person_side, palm_seen, clockwise)
    targets = acted(policy, points, side=person_side, forearm=direction(clockwise))
    commanded = in_arm_terms(targets, arm_side, mirror).as_dict()

    shown = -clockwise if mirror else clockwise
    # The arm's camera sees its palm; its joint is positive towards its own thumb.
    arm_thumb = np.sign(hand(arm_side)[4, 0])
    arm_leans = arm_thumb * commanded['elbow']
    assert arm_leans == pytest.approx(shown)


def test_wrist_leans_like_the_elbow(policy):
    """With an upright forearm, turning the hand is the wrist's; its sign follows the same rule."""
    upright = acted(policy, hand()).as_dict()['wrist']
    for clockwise in (-0.3, 0.3):
        policy.reset()
        found = acted(policy, hand(clockwise=clockwise)).as_dict()
        assert found['wrist'] - upright == pytest.approx(clockwise)
        assert found['elbow'] == pytest.approx(0.0)


def test_mirror_changes_wrist_and_elbow_and_nothing_else():
    values = np.linspace(0.1, 0.5, len(JOINTS))
    targets = JointTargets(JOINTS, values, 1.5, thumb_side=-1.0)
    mirrored, plain = (in_arm_terms(targets, 'right', mirror) for mirror in (True, False))
    assert mirrored.positions_rad[:10] == pytest.approx(values[:10])
    assert plain.positions_rad[:10] == pytest.approx(values[:10])
    assert mirrored.positions_rad[10:] == pytest.approx(-plain.positions_rad[10:])
    assert mirrored.names == JOINTS and mirrored.stamp_s == 1.5


def test_only_named_joints_are_turned():
    targets = JointTargets(('elbow', 'index_distal'), np.array([0.2, 0.3]), 0.0)
    assert in_arm_terms(targets, 'right', True).as_dict() == {'elbow': -0.2, 'index_distal': 0.3}


@pytest.mark.parametrize('thumb_side', [1.0, -1.0])
def test_lean_sign_turns_with_each_of_its_three_causes(thumb_side):
    sign = lean_sign(thumb_side, 'right', False)
    assert sign == thumb_side
    assert lean_sign(-thumb_side, 'right', False) == -sign
    assert lean_sign(thumb_side, 'left', False) == -sign
    assert lean_sign(thumb_side, 'right', True) == -sign


# Glitches.

def test_single_wild_value_never_passes():
    glitches = GlitchFilter(10.0)
    generator = np.random.default_rng(3)
    for k in range(300):
        calm = 0.3 * np.sin(k / 20.0)
        wild = k > 0 and k % 3 == 0
        value = calm + generator.choice([-1, 1]) * generator.uniform(0.8, 5.0) if wild else calm
        passed = glitches(np.array([value]), k / RATE_HZ)
        assert abs(passed[0] - calm) < 0.05


def test_real_fast_step_is_delayed_by_one_sample():
    glitches = GlitchFilter(10.0)
    passed = [glitches(np.array([0.0 if k < 5 else 1.2]), k / RATE_HZ)[0] for k in range(9)]
    assert passed == [0.0] * 6 + [1.2] * 3


def test_motion_within_the_speed_passes_at_once():
    glitches = GlitchFilter(10.0)
    values = 9.9 * np.arange(20) / RATE_HZ
    passed = [glitches(np.array([v]), k / RATE_HZ)[0] for k, v in enumerate(values)]
    assert passed == pytest.approx(values)


def test_joints_are_judged_apart():
    glitches = GlitchFilter(10.0)
    glitches(np.array([0.0, 0.0]), 0.0)
    assert glitches(np.array([3.0, 0.1]), 1 / RATE_HZ) == pytest.approx([0.0, 0.1])


def test_unknown_stays_unknown_and_is_forgotten():
    glitches = GlitchFilter(10.0)
    assert np.isnan(glitches(np.array([np.nan]), 0.0))
    assert glitches(np.array([0.4]), 0.1) == 0.4
    assert np.isnan(glitches(np.array([np.nan]), 0.2))
    assert glitches(np.array([0.5]), 0.3) == 0.5
    assert np.isnan(glitches(np.array([np.nan]), 0.31))
    assert glitches(np.array([2.5]), 0.32) == 0.5
    assert glitches(np.array([2.5]), 0.33) == 2.5


def test_reset_glitch_filter_takes_anything():
    glitches = GlitchFilter(1.0)
    glitches(np.array([0.0]), 0.0)
    glitches.reset()
    assert glitches(np.array([3.0]), 0.1) == 3.0


# Smoothing.

@pytest.mark.parametrize('min_cutoff_hz, beta', [(1.5, 2.0), (0.5, 0.0), (4.0, 1.0)])
@pytest.mark.parametrize('speed', [0.3, -1.0, 6.0])
def test_lag_at_constant_speed_is_as_stated(min_cutoff_hz, beta, speed):
    smoothing = OneEuroFilter(min_cutoff_hz, beta)
    for k in range(400):
        raw = speed * k / RATE_HZ
        smooth = smoothing(np.array([raw]), k / RATE_HZ)[0]
    lag_s = (raw - smooth) / speed
    stated_s = 1.0 / (2.0 * np.pi * (min_cutoff_hz + beta * abs(speed)))
    assert lag_s == pytest.approx(stated_s, rel=1e-3)


def test_shipped_lag_is_below_forty_milliseconds_when_a_finger_bends_in_a_second():
    parameters = GeometricParameters()
    speed = np.pi / 2
    lag_s = 1.0 / (2.0 * np.pi * (parameters.min_cutoff_hz + parameters.beta * speed))
    assert lag_s < 0.04


def test_smoothing_converges_without_overshoot():
    smoothing = OneEuroFilter(1.5, 2.0)
    smoothing(np.array([0.0]), 0.0)
    values = [smoothing(np.array([1.0]), k / RATE_HZ)[0] for k in range(1, 90)]
    assert (np.diff(values) >= 0.0).all() and max(values) <= 1.0
    assert values[-1] == pytest.approx(1.0, abs=1e-3)


def test_jitter_at_rest_is_reduced():
    """An exponential average of weight a leaves sqrt(a / (2 - a)) of white noise."""
    noise = 0.02 * np.random.default_rng(1).normal(size=3000)
    share = 2.0 * np.pi * 1.5 / RATE_HZ
    weight = share / (1.0 + share)
    steady = OneEuroFilter(1.5, 0.0)
    left = [steady(np.array([v]), k / RATE_HZ)[0] for k, v in enumerate(noise)][100:]
    assert np.std(left) / np.std(noise) == pytest.approx(np.sqrt(weight / (2.0 - weight)), rel=0.1)

    parameters = GeometricParameters()
    shipped = OneEuroFilter(parameters.min_cutoff_hz, parameters.beta)
    left = [shipped(np.array([v]), k / RATE_HZ)[0] for k, v in enumerate(noise)][100:]
    assert np.std(left) < np.std(noise) / 2.0
    assert np.std(np.diff(left)) < np.std(np.diff(noise)) / 3.0


def test_smoothing_keeps_unknown_apart():
    smoothing = OneEuroFilter(1.5, 2.0)
    assert smoothing(np.array([np.nan, 0.2]), 0.0) == pytest.approx([np.nan, 0.2], nan_ok=True)
    assert smoothing(np.array([0.7, 0.2]), 0.1) == pytest.approx([0.7, 0.2])
    assert smoothing(np.array([np.nan, 0.2]), 0.2) == pytest.approx([np.nan, 0.2], nan_ok=True)
    assert smoothing(np.array([0.7, 0.2]), 0.3) == pytest.approx([0.7, 0.2])


def test_repeated_stamp_does_no_harm():
    smoothing = OneEuroFilter(1.5, 2.0)
    for value in (0.0, 0.1, 0.2):
        assert np.isfinite(smoothing(np.array([value]), 5.0)).all()


# Whose hand it is.

def test_bone_lengths_do_not_depend_on_distance_or_pose():
    bones = BoneLengths()
    for k in range(20):
        assert bones.accept(hand(index_proximal=0.05 * k), 1e-9)
    assert bones.accept(3.0 * fist(), 1e-9)


def test_bone_lengths_notice_what_is_no_hand():
    bones = BoneLengths()
    nonsense = np.random.default_rng(2).normal(size=(21, 3))
    for _ in range(9):
        bones.accept(hand(), 0.45)
    assert bones.accept(nonsense, 0.45)  # the person is not known yet
    bones.reset()
    for _ in range(10):
        bones.accept(hand(), 0.45)
    assert not bones.accept(nonsense, 0.45)
    longer = hand()
    longer[8] += 0.5 * (longer[8] - longer[7])
    assert not bones.accept(longer, 1e-3)
    assert bones.accept(longer, 0.1)


def vote(sides, points, said):
    return sides.vote(said, finger_angles(points, said))


def test_side_vote_outvotes_a_flicker():
    sides = SideVote()
    said = ['right'] * 10 + ['left'] * 3 + ['right'] * 5
    assert {vote(sides, hand(), side) for side in said} == {'right'}


def test_side_vote_follows_another_hand():
    sides = SideVote()
    for _ in range(30):
        vote(sides, hand('right'), 'right')
    votes = [vote(sides, hand('left'), 'left') for _ in range(15)]
    assert votes[0] == 'right' and votes[-1] == 'left'


@pytest.mark.parametrize('truly', SIDES)
def test_fingers_that_would_bend_backwards_mend_a_wrong_label(truly):
    wrong = 'left' if truly == 'right' else 'right'
    assert vote(SideVote(), fist(side=truly), wrong) == truly


# The policy.

def test_ships_under_its_name():
    assert POLICIES == ('geometric', 'landmarks', 'pixels')
    assert isinstance(load_policy('geometric', TABLE), GeometricPolicy)
    with pytest.raises(UserError, match='choose one of geometric') as caught:
        load_policy('geometrical', TABLE)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('palm_seen', [True, False])
def test_known_pose_comes_out(policy, side, palm_seen):
    bends = {f'{name}_{part}': 0.2 + 0.1 * k + (0.3 if part == 'distal' else 0.0)
             for k, name in enumerate(FINGER_NAMES) for part in ('proximal', 'distal')}
    points = hand(side, palm_seen, thumb_elevation=0.6, thumb_proximal_bend=0.5,
                  thumb_distal=0.4, **bends)
    targets = acted(policy, points, side=side)
    found = targets.as_dict()
    assert {name: found[name] for name in bends} == pytest.approx(bends)
    assert found['thumb_proximal'] == pytest.approx(0.5)
    assert found['thumb_distal'] == pytest.approx(0.4)
    assert targets.names == JOINTS
    assert targets.stamp_s == pytest.approx(59 / RATE_HZ)
    assert targets.thumb_side == thumb_side_sign(points)


def test_targets_stay_within_the_limits(policy):
    bends = {f'{name}_{part}': 1.8 for name in FINGER_NAMES for part in ('proximal', 'distal')}
    curled = acted(policy, hand(clockwise=1.5, **bends), forearm=direction(-1.4)).as_dict()
    for name, value in curled.items():
        k = TABLE.index(name)
        assert TABLE.lower_rad[k] <= value <= TABLE.upper_rad[k]
    assert curled['index_distal'] == TABLE.upper_rad[TABLE.index('index_distal')]
    assert curled['elbow'] == TABLE.lower_rad[TABLE.index('elbow')]
    backwards = acted(GeometricPolicy(TABLE), hand(index_proximal=-0.3)).as_dict()
    assert backwards['index_proximal'] == 0.0


def test_nothing_is_said_without_a_hand(policy):
    assert policy.act(HandObservation(valid=False, stamp_s=0.0), None, 0.0) is None
    assert policy.act(seen(hand(), settled=False), None, 0.0) is None
    broken = hand()
    broken[7] = np.nan
    assert policy.act(seen(broken), None, 0.0) is None


def test_all_zero_hand_is_a_hand_and_gives_numbers(policy):
    targets = policy.act(seen(np.zeros((21, 3))), None, 0.0)
    assert np.isfinite(targets.positions_rad).all()


def test_palm_pointing_at_the_camera_leaves_the_wrist_out(policy):
    away = turned(hand(), X, np.radians(75))
    targets = acted(policy, away)
    assert targets.names == tuple(name for name in JOINTS if name != 'wrist')
    assert targets.as_dict()['elbow'] == pytest.approx(0.0)


def test_no_forearm_leaves_wrist_and_elbow_out(policy):
    assert acted(policy, hand(), forearm=None).names == HAND_JOINTS


def test_forearm_straight_down_leaves_the_elbow_out(policy):
    """Left and right are one step apart there; the arm must not swing from end to end."""
    for clockwise in (np.pi - 0.05, -np.pi + 0.05):
        targets = acted(policy, hand(clockwise=clockwise), forearm=direction(clockwise))
        assert 'elbow' not in targets.names and 'wrist' in targets.names
    steep = acted(policy, hand(clockwise=2.0), forearm=direction(2.0))
    assert steep.as_dict()['elbow'] == TABLE.upper_rad[TABLE.index('elbow')]


def test_single_wild_frame_changes_nothing(policy):
    points = hand(index_proximal=0.2)
    before = acted(policy, points).as_dict()
    stamp_s = 2.0
    wild = policy.act(seen(fist(), stamp_s), None, stamp_s).as_dict()
    assert wild == pytest.approx(before)


def test_frame_that_is_no_hand_is_passed_over(policy):
    acted(policy, hand())
    nonsense = np.random.default_rng(5).normal(size=(21, 3))
    assert policy.act(seen(nonsense, 2.0), None, 2.0) is None
    assert policy.act(seen(hand(), 2.0 + 1 / RATE_HZ), None, 2.1) is not None


def test_wrong_label_is_mended(policy):
    right = acted(policy, fist(side='right'), side='right').as_dict()
    mended = acted(GeometricPolicy(TABLE), fist(side='right'), side='left').as_dict()
    assert mended == pytest.approx(right)


def test_flickering_label_moves_nothing(policy):
    points = hand(thumb_elevation=0.8)
    before = acted(policy, points).as_dict()
    for k, side in enumerate(('left', 'right', 'left', 'right', 'right')):
        stamp_s = 2.0 + k / RATE_HZ
        assert policy.act(seen(points, stamp_s, side), None, stamp_s).as_dict() == \
            pytest.approx(before)


def test_wrist_and_elbow_do_not_heed_the_label():
    points = hand('right', clockwise=0.2)
    terms = [image_terms(seen(points), finger_angles(points, side))[-2:] for side in SIDES]
    assert terms[0] == pytest.approx(terms[1])
    assert terms[0][1] == lean_from_vertical(np.array([0.0, -1.0]))


def test_turning_the_hand_over_does_not_swing_the_arm(policy):
    """The thumb changes sides at once; in the arm's terms the lean goes on steadily."""
    leaning = direction(0.3)
    shown = acted(policy, hand('right', True, 0.3), forearm=leaning)
    over = policy.act(seen(hand('right', False, 0.3), 2.0, forearm=leaning), None, 2.0)
    assert over.thumb_side == -shown.thumb_side
    before, after = (in_arm_terms(t, 'right', True).as_dict()['elbow'] for t in (shown, over))
    assert after == pytest.approx(before)


def test_after_a_gap_and_after_a_reset_the_new_pose_counts_at_once(policy):
    acted(policy, hand())
    after_gap = policy.act(seen(fist(), 10.0), None, 10.0).as_dict()
    assert after_gap['index_proximal'] == pytest.approx(1.55)
    acted(policy, hand(), start_s=11.0)
    policy.reset()
    after_reset = policy.act(seen(fist(), 13.0), None, 13.0).as_dict()
    assert after_reset['index_proximal'] == pytest.approx(1.55)


def test_reset_forgets_the_person(policy):
    acted(policy, hand())
    odd = hand()
    odd[[4, 8, 12, 16, 20]] *= 40.0
    assert policy.act(seen(odd, 2.0), None, 2.0) is None
    policy.reset()
    assert policy.act(seen(odd, 2.1), None, 2.1) is not None


def test_same_input_gives_the_same_output():
    generator = np.random.default_rng(8)
    hands = [hand(index_proximal=b) + 0.001 * generator.normal(size=(21, 3))
             for b in np.linspace(0, 1, 40)]
    runs = []
    for _ in range(2):
        policy = GeometricPolicy(TABLE)
        runs.append([policy.act(seen(p, k / RATE_HZ), None, 0.0).positions_rad
                     for k, p in enumerate(hands)])
    assert np.array_equal(runs[0], runs[1])
