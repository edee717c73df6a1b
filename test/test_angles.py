"""The angle formulas on hands of known angles, in every orientation, of either side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skeletons import FINGER_NAMES, FLAT_THUMB, fist, hand, random_rotation, turned

from hand_imitation.human.angles import (
    HAND_JOINTS,
    THUMB_FLAT_RAD,
    finger_angles,
    lean_between,
    lean_from_vertical,
    palm_direction,
    thumb_side_sign,
)

SIDES = ('left', 'right')
FOUR_FINGERS = HAND_JOINTS[2:]
UP = np.array([0.0, -1.0])


def by_name(points, side):
    return dict(zip(HAND_JOINTS, finger_angles(points, side), strict=True))


def fingers(points, side):
    return finger_angles(points, side)[2:]


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('palm_seen', [True, False])
def test_straight_hand_is_zero(side, palm_seen):
    points = hand(side, palm_seen, **FLAT_THUMB)
    assert finger_angles(points, side) == pytest.approx(np.zeros(10), abs=1e-9)


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('palm_seen', [True, False])
def test_fist_is_ninety_degrees(side, palm_seen):
    found = np.degrees(fingers(fist(side=side, palm_seen=palm_seen), side))
    assert found == pytest.approx(np.full(8, 90.0))


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('joint', FOUR_FINGERS)
def test_each_finger_joint_moves_alone(side, joint):
    found = by_name(hand(side, **{joint: np.pi / 2}), side)
    assert np.degrees(found.pop(joint)) == pytest.approx(90.0)
    assert list(found.values()) == pytest.approx(np.zeros(9), abs=1e-9)


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('joint', FOUR_FINGERS)
def test_bending_backwards_is_negative(side, joint):
    assert by_name(hand(side, **{joint: -0.4}), side)[joint] == pytest.approx(-0.4)


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('spread', [-0.2, 0.3, 0.5])
def test_spreading_is_not_bending(side, spread):
    assert fingers(hand(side, spread=spread), side) == pytest.approx(np.zeros(8), abs=1e-9)
    bent = dict.fromkeys(FOUR_FINGERS, 0.7)
    assert fingers(hand(side, spread=spread, **bent), side) == pytest.approx(np.full(8, 0.7))


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1), side=st.sampled_from(SIDES), scale=st.floats(0.01, 1e4),
    bends=st.lists(st.floats(-0.7, 1.9), min_size=8, max_size=8),
    spread=st.floats(-0.2, 0.4), elevation=st.floats(-0.3, 1.2), bend=st.floats(0.0, 1.2),
    distal=st.floats(0.0, 1.5))
def test_any_pose_seen_from_anywhere_in_any_size(
        seed, side, scale, bends, spread, elevation, bend, distal):
    generator = np.random.default_rng(seed)
    points = hand(
        side, spread=spread, thumb_elevation=elevation, thumb_proximal_bend=bend,
        thumb_distal=distal, **dict(zip(FOUR_FINGERS, bends, strict=True)))
    seen = scale * (points @ random_rotation(generator).T + generator.normal(size=3))
    expected = [elevation + bend - THUMB_FLAT_RAD, distal, *bends]
    assert finger_angles(seen, side) == pytest.approx(np.array(expected), abs=1e-6)


def test_mirrored_hand_has_the_same_angles():
    points = hand('right', spread=0.1, thumb_distal=0.3, index_proximal=0.9, ring_distal=1.2)
    mirrored = points * (-1.0, 1.0, 1.0)
    assert finger_angles(mirrored, 'left') == pytest.approx(finger_angles(points, 'right'))


@pytest.mark.parametrize('side', SIDES)
def test_thumb_is_elevation_plus_bend_less_the_flat_hand(side):
    found = by_name(hand(side, thumb_elevation=0.9, thumb_proximal_bend=0.4), side)
    assert found['thumb_proximal'] == pytest.approx(0.9 + 0.4 - THUMB_FLAT_RAD)
    assert found['thumb_distal'] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize('side', SIDES)
def test_thumb_closes_positively_for_either_hand(side):
    """Handedness must not flip the thumb."""
    straight = finger_angles(hand(side), side)[:2]
    closed = finger_angles(
        hand(side, thumb_elevation=0.8, thumb_proximal_bend=0.6, thumb_distal=0.9), side)[:2]
    assert closed - straight == pytest.approx([0.45 + 0.35, 0.9])


def test_wrong_side_bends_fingers_backwards():
    """What `SideVote` relies on to notice a wrong label."""
    assert fingers(fist(side='right'), 'left') == pytest.approx(-fingers(fist(), 'right'))


@pytest.mark.parametrize('side, palm_seen, sign', [
    ('right', True, 1.0), ('right', False, -1.0), ('left', True, -1.0), ('left', False, 1.0)])
@pytest.mark.parametrize('clockwise', np.radians([0, 60, 120, 180, 240, 300]))
def test_thumb_side(side, palm_seen, sign, clockwise):
    """A right hand showing its palm, fingers up, has its thumb on the picture's right."""
    points = hand(side, palm_seen, clockwise)
    assert thumb_side_sign(points) == sign
    assert thumb_side_sign(points[:, :2]) == sign
    assert np.sign(hand(side, palm_seen)[4, 0]) == sign


@pytest.mark.parametrize('degrees', [-170, -90, -30, 0, 45, 179])
def test_palm_direction_follows_the_hand(degrees):
    points = hand(clockwise=np.radians(degrees))
    direction = palm_direction(points)
    assert np.linalg.norm(direction) == pytest.approx(1.0)
    upright = lean_from_vertical(palm_direction(hand()))
    leaned = lean_from_vertical(direction) - upright
    assert np.degrees((leaned + np.pi) % (2 * np.pi) - np.pi) == pytest.approx(degrees)


@pytest.mark.parametrize('pitch_degrees, told', [(0, True), (55, True), (-55, True), (65, False),
                                                 (-65, False), (90, False), (120.5, True)])
def test_palm_pointing_at_the_camera_has_no_direction(pitch_degrees, told):
    """Told only while the projection is at least half as long as the palm: up to 60 degrees."""
    points = turned(hand(), np.array([1.0, 0.0, 0.0]), np.radians(pitch_degrees))
    assert (palm_direction(points) is not None) is told


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('palm_seen', [True, False])
@pytest.mark.parametrize('towards_thumb', [-0.4, 0.4])
def test_wrist_and_elbow_are_positive_towards_the_thumb(side, palm_seen, towards_thumb):
    upright = hand(side, palm_seen)
    to_the_right = np.sign(upright[4, 0])
    leaned = hand(side, palm_seen, clockwise=towards_thumb * to_the_right)
    wrist = lean_between(palm_direction(upright), palm_direction(leaned))
    assert wrist * thumb_side_sign(leaned) == pytest.approx(towards_thumb)
    forearm = np.array([np.sin(towards_thumb * to_the_right),
                        -np.cos(towards_thumb * to_the_right)])
    elbow = lean_from_vertical(forearm)
    assert elbow * thumb_side_sign(leaned) == pytest.approx(towards_thumb)


def test_leans_are_clockwise_positive():
    right, down = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert lean_from_vertical(UP) == 0.0
    assert lean_from_vertical(right) == pytest.approx(np.pi / 2)
    assert lean_from_vertical(-right) == pytest.approx(-np.pi / 2)
    assert lean_between(right, down) == pytest.approx(np.pi / 2)
    assert lean_between(down, right) == pytest.approx(-np.pi / 2)


def test_hand_without_extent_gives_numbers():
    """An all-zero hand is legitimate; it must not become NaN on its way to a servo."""
    assert np.isfinite(finger_angles(np.zeros((21, 3)), 'right')).all()
    assert palm_direction(np.zeros((21, 3))) is None


def test_names_are_thumb_then_fingers():
    names = [f'{n}_{part}' for n in ('thumb', *FINGER_NAMES) for part in ('proximal', 'distal')]
    assert list(HAND_JOINTS) == names
