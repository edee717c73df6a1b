"""Calibration of a person: the fit, the two poses, the file, and what it does to the error."""

import json
import sys

import cv2
import numpy as np
import pytest
import yaml
from skeletons import FLAT_THUMB, hand, seen

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli import main
from hand_imitation.errors import UserError
from hand_imitation.frame_sources import SAMPLE, open_source, shrunk
from hand_imitation.human.angles import HAND_JOINTS, finger_angles
from hand_imitation.human.perception import StreamPerception
from hand_imitation.human.person import (
    PersonCalibration,
    PoseCollector,
    angles_of,
    fit,
    load_person,
    save_person,
)
from hand_imitation.policy.geometric import GeometricPolicy

TABLE = JointTable.from_urdf(load_description())
FINGERS = HAND_JOINTS[2:]
FLAT = dict.fromkeys(FINGERS, 0.1)
FIST = {name: 1.45 if name.endswith('proximal') else 1.55 for name in FINGERS}
RATE_HZ = 30.0


def distorted(true, seed=3):
    """What landmarks say that are wrong by an offset and a gain of their own at each joint."""
    random = np.random.default_rng(seed)
    gains = random.uniform(0.7, 0.95, 8)
    offsets = random.uniform(-0.15, 0.3, 8)
    return {name: gain * true[name] + offset
            for name, gain, offset in zip(FINGERS, gains, offsets, strict=True)}


def angles_of_hand(bends):
    return finger_angles(hand(**bends, **FLAT_THUMB), 'right')


def fitted():
    return fit([angles_of_hand(distorted(FLAT))], [angles_of_hand(distorted(FIST))])


def stream(bends, duration_s, start_s=0.0, noise_rad=0.01, drift_rad_s=0.0, seed=1):
    """Observations of a hand that holds a pose."""
    random = np.random.default_rng(seed)
    for i in range(int(duration_s * RATE_HZ)):
        shaken = {name: angle + noise_rad * random.normal() + drift_rad_s * i / RATE_HZ
                  for name, angle in bends.items()}
        yield seen(hand(**shaken, **FLAT_THUMB), start_s + i / RATE_HZ)


# The fit.

def test_error_on_other_poses_shrinks_by_two_thirds():
    person = fitted()
    random = np.random.default_rng(7)
    before, after = [], []
    for _ in range(50):
        true = dict(zip(FINGERS, random.uniform(0.0, 1.5, 8), strict=True))
        estimate = angles_of_hand(distorted(true))
        expected = np.array(list(true.values()))
        before.append(np.abs(estimate[2:] - expected))
        after.append(np.abs(person.apply(estimate)[2:] - expected))
    assert 0.1 < np.mean(before) < 0.3
    assert np.mean(after) < 0.42 * np.mean(before)


def test_right_landmarks_are_left_alone():
    person = fit([angles_of_hand(FLAT)], [angles_of_hand(FIST)])
    np.testing.assert_allclose(person.gain, 1.0, atol=0.01)
    np.testing.assert_allclose(person.offset_rad[2:], 0.0, atol=0.01)


def test_thumb_has_an_offset_and_no_gain():
    flat, fist = angles_of_hand(FLAT), angles_of_hand(FIST)
    flat[:2] += 0.3
    fist[:2] += 0.9
    person = fit([flat], [fist])
    assert person.gain[:2].tolist() == [1.0, 1.0]
    reference = fit([angles_of_hand(FLAT)], [angles_of_hand(FIST)])
    np.testing.assert_allclose((person.offset_rad - reference.offset_rad)[:2], 0.2, atol=0.01)


def test_corrections_are_bounded():
    flat, fist = angles_of_hand(FLAT), angles_of_hand(FIST)
    fist[9] = flat[9] = 2.5  # a joint that seems never to move
    fist[2:] += 0.3
    flat[2] = -2.0
    person = fit([flat], [fist])
    assert (np.abs(person.offset_rad) <= 0.6).all()
    assert (person.gain >= 0.6).all() and (person.gain <= 1.6).all()


@pytest.mark.parametrize(('flat', 'fist', 'words'), [
    (FIST, FIST, 'not flat'), (FLAT, FLAT, 'no fist'), (FIST, FLAT, 'not flat')])
def test_other_poses_are_refused(flat, fist, words):
    with pytest.raises(UserError, match=words):
        fit([angles_of_hand(flat)], [angles_of_hand(fist)])


def test_no_hand_is_refused():
    with pytest.raises(UserError, match='no hand was seen'):
        fit([], [angles_of_hand(FIST)])
    with pytest.raises(UserError, match='no hand was seen'):
        fit([angles_of_hand(FLAT)], [np.full(10, np.nan)])


# Waiting for a pose.

def feed(collector, observations):
    return [collector.feed(observation) for observation in observations]


def test_three_seconds_of_a_still_hand():
    collector = PoseCollector('flat')
    told = feed(collector, stream(FLAT, 4.0))
    assert told.index(True) == pytest.approx(3.0 * RATE_HZ, abs=1)
    np.testing.assert_allclose(np.median(collector.found, axis=0), angles_of_hand(FLAT),
                               atol=0.02)


@pytest.mark.parametrize(('pose', 'bends', 'drift'), [
    ('flat', FLAT, 0.15), ('flat', FIST, 0.0), ('fist', FLAT, 0.0),
    ('fist', dict.fromkeys(FINGERS, 0.7), 0.0)])
def test_moving_or_other_hand_is_not_taken(pose, bends, drift):
    collector = PoseCollector(pose)
    assert not any(feed(collector, stream(bends, 5.0, drift_rad_s=drift)))


def test_a_lost_hand_begins_anew():
    collector = PoseCollector('fist')
    assert not any(feed(collector, stream(FIST, 2.0)))
    lost = seen(hand(**FIST), 2.0)
    collector.feed(type(lost)(valid=False, stamp_s=2.0))
    assert not any(feed(collector, stream(FIST, 2.9, 2.1)))
    assert any(feed(collector, stream(FIST, 0.3, 5.0)))


# The file.

@pytest.fixture
def written(tmp_path):
    path = tmp_path / 'me.yaml'

    def write(change=lambda content: None):
        save_person(path, fitted())
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content))
        return path
    return write


def test_round_trip(written):
    loaded, made = load_person(written()), fitted()
    np.testing.assert_allclose(loaded.gain, made.gain, atol=1e-4)
    np.testing.assert_allclose(loaded.offset_rad, made.offset_rad, atol=1e-4)


@pytest.mark.parametrize(('change', 'words'), [
    (lambda c: c['joints'].update(nose={'offset_rad': 0.0, 'gain': 1.0}), "no joint 'nose'"),
    (lambda c: c['joints'].pop('thumb_distal'), "'thumb_distal' is missing"),
    (lambda c: c['joints']['ring_distal'].update(gain=9.0), 'gain is 9.0'),
    (lambda c: c['joints']['ring_distal'].update(offset_rad=float('nan')), 'offset_rad is nan'),
    (lambda c: c['joints'].update(ring_distal=1.0), 'does not hold'),
    (lambda c: c.update(schema=7), 'schema is 7'),
    (lambda c: c.pop('joints'), 'no joints'),
])
def test_bad_file_is_refused(written, change, words):
    with pytest.raises(UserError, match=words) as caught:
        load_person(written(change))
    assert 'calibrate person' in str(caught.value) and '\n' not in str(caught.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match='cannot be read'):
        load_person(tmp_path / 'none.yaml')


# In the policy.

def test_policy_corrects_fingers_and_nothing_else():
    person = PersonCalibration(np.full(10, 0.1), np.full(10, 1.2))
    observation = seen(hand(**dict.fromkeys(FINGERS, 0.8), **FLAT_THUMB), forearm=(0.3, -1.0))
    plain = GeometricPolicy(TABLE).act(observation, None, 0.0).as_dict()
    corrected = GeometricPolicy(TABLE, person=person).act(observation, None, 0.0).as_dict()
    for name in FINGERS:
        assert corrected[name] == pytest.approx(1.2 * (plain[name] - 0.1))
    assert corrected['wrist'] == plain['wrist'] != 0.0
    assert corrected['elbow'] == plain['elbow']


def test_corrected_targets_stay_inside_the_limits():
    person = PersonCalibration(np.full(10, -0.6), np.full(10, 1.6))
    observation = seen(hand(**FIST, **FLAT_THUMB))
    targets = GeometricPolicy(TABLE, person=person).act(observation, None, 0.0).as_dict()
    for name in FINGERS:
        assert targets[name] == TABLE.upper_rad[TABLE.index(name)]


@pytest.fixture(scope='module')
def first_person():
    """Real perception on the first person of the sample clip, and the truth."""
    source, perception = open_source('sample'), StreamPerception()
    gestures = json.loads(SAMPLE.with_name('sample_truth.json').read_text())['gestures']
    cut = next(g['first_frame'] for g in gestures[1:] if g['name'] == 'rest')
    observations = []
    for i in range(cut):
        rgb = cv2.cvtColor(shrunk(source.read(), 640), cv2.COLOR_BGR2RGB)
        observations.append(perception.observe(rgb, i / RATE_HZ))
    perception.close()
    names = source.truth.names
    order = [names.index(name) for name in HAND_JOINTS]
    return observations, source.truth.positions_rad[:cut, order]


def test_error_on_the_sample_clip_shrinks(first_person):
    """From two moments of the clip, the open hand at its start and the fist; on all the rest."""
    observations, truth = first_person
    collectors = [PoseCollector('flat', 0.4), PoseCollector('fist', 0.3)]
    used = 0
    for collector in collectors:
        while not collector.feed(observations[used]):
            used += 1
    person = fit(*(collector.found for collector in collectors))
    moments = {i for i, o in enumerate(observations)
               if any(np.array_equal(angles_of(o), row) for c in collectors for row in c.found)}
    assert 15 < len(moments) < 60
    limits = [TABLE.index(name) for name in HAND_JOINTS]
    true = np.clip(truth, TABLE.lower_rad[limits], TABLE.upper_rad[limits])
    errors = []
    for corrections in (None, person):
        policy = GeometricPolicy(TABLE, person=corrections)
        rows = []
        for i, observation in enumerate(observations):
            targets = policy.act(observation, None, 0.0)
            if targets is not None and i not in moments:
                told = targets.as_dict()
                rows.append([abs(told[name] - true[i, k])
                             for k, name in enumerate(HAND_JOINTS)])
        errors.append(float(np.degrees(np.mean(rows))))
    before, after = errors
    print(f'finger and thumb error on the sample: {before:.2f} deg before, {after:.2f} after')
    assert after < 0.9 * before


# The command line.

def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, 'argv', ['hand-imitation', *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    return caught.value.code, out, err


def test_from_a_video_to_a_file(monkeypatch, capsys, tmp_path):
    path = tmp_path / 'me.yaml'
    code, out, _ = run(monkeypatch, capsys, 'calibrate', 'person', '--source', 'sample',
                       '--hold', '0.3', '--out', str(path))
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(HAND_JOINTS)
    assert load_person(path).gain.shape == (10,)


def picture_of(tmp_path, frame, name):
    source = open_source('sample')
    for _ in range(frame):
        source.read()
    path = tmp_path / name
    cv2.imwrite(str(path), source.read())
    return path


def test_from_images_and_used_by_predict(monkeypatch, capsys, tmp_path):
    flat, fist = picture_of(tmp_path, 5, 'flat.png'), picture_of(tmp_path, 273, 'fist.png')
    path = tmp_path / 'me.yaml'
    code, _, _ = run(monkeypatch, capsys, 'calibrate', 'person', '--flat', str(flat), '--fist',
                     str(fist), '--out', str(path))
    assert code == 0
    told = []
    for extra in ([], ['--person', str(path)]):
        code, out, _ = run(monkeypatch, capsys, 'predict', '--policy', 'geometric',
                           str(fist), *extra)
        told.append(json.loads(out)['joints'])
    # This fist's knuckles are at 81 degrees, and look far less bent.
    assert told[0]['index_proximal'] < told[1]['index_proximal'] <= 1.55
    assert told[0]['wrist'] == told[1]['wrist']


@pytest.mark.parametrize(('arguments', 'words'), [
    (['--source', 'sample'], 'where shall it be written'),
    (['--out', 'me.yaml'], 'give --source'),
    (['--out', 'me.yaml', '--flat', 'a.png'], 'give --source'),
    (['--out', 'me.yaml', '--source', '0', '--flat', 'a.png', '--fist', 'b.png'],
     'give --source'),
    (['--out', 'me.yaml', '--flat', 'a.png', '--fist', 'b.png'], "'a.png' cannot be read"),
    (['--out', 'me.yaml', '--source', 'none.mp4'], "no such source 'none.mp4'"),
])
def test_bad_input_writes_nothing(monkeypatch, capsys, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(monkeypatch, capsys, 'calibrate', 'person', *arguments)
    assert code == 2 and out == '' and err.count('error: ') == 1
    assert words in err
    assert list(tmp_path.iterdir()) == []


def test_video_without_a_hand(monkeypatch, capsys, tmp_path):
    video, path = tmp_path / 'empty.avi', tmp_path / 'me.yaml'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'MJPG'), 30.0, (320, 240))
    for _ in range(10):
        writer.write(np.full((240, 320, 3), 128, np.uint8))
    writer.release()
    code, _, err = run(monkeypatch, capsys, 'calibrate', 'person', '--source', str(video),
                       '--out', str(path))
    assert code == 2 and not path.exists()
    assert 'no flat hand held still for 3 s' in err
