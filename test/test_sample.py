import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import hand_imitation

DATA = Path(hand_imitation.__file__).parent / 'data'
CLIP = DATA / 'sample.mp4'


@pytest.fixture(scope='module')
def truth():
    return json.loads((DATA / 'sample_truth.json').read_text())


@pytest.fixture(scope='module')
def degrees(truth):
    angles = np.degrees(truth['angles_rad'])
    return {name: angles[:, i] for i, name in enumerate(truth['joints'])}


def test_truth_belongs_to_this_clip(truth):
    assert hashlib.sha256(CLIP.read_bytes()).hexdigest() == truth['sha256']
    assert CLIP.stat().st_size < 1_500_000


def test_one_row_of_truth_for_every_frame(truth):
    capture = cv2.VideoCapture(str(CLIP))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(truth['fps'])
    count = 0
    while True:
        read, picture = capture.read()
        if not read:
            break
        assert picture.shape == (720, 1280, 3)
        count += 1
    assert count == len(truth['angles_rad'])
    assert 20.0 < count / truth['fps'] < 40.0


def test_angles_are_those_of_a_human_hand(truth, degrees):
    assert truth['side'] == 'left'
    assert len(truth['joints']) == 12
    for name, values in degrees.items():
        assert np.all(np.isfinite(values))
        low, high = (-35.0, 35.0) if name in ('wrist', 'elbow') else (-12.0, 95.0)
        assert low < values.min() and values.max() < high, name
    # Nobody moves a joint faster than about 1,000 degrees a second, cuts aside.
    cut = next(g['first_frame'] for g in truth['gestures'][1:] if g['name'] == 'rest')
    for values in degrees.values():
        steps = np.abs(np.diff(values))
        steps[cut - 1] = 0.0
        assert steps.max() * truth['fps'] < 1000.0


@pytest.mark.parametrize('half', [0, 1])
def test_both_people_use_every_joint(truth, degrees, half):
    cut = next(g['first_frame'] for g in truth['gestures'][1:] if g['name'] == 'rest')
    part = slice(0, cut) if half == 0 else slice(cut, None)
    for finger in ('index', 'middle', 'ring', 'little'):
        for joint in ('proximal', 'distal'):
            assert np.ptp(degrees[f'{finger}_{joint}'][part]) > 60.0
    assert np.ptp(degrees['thumb_proximal'][part]) > 35.0
    assert np.ptp(degrees['thumb_distal'][part]) > 40.0
    assert degrees['wrist'][part].max() > 18.0 and degrees['wrist'][part].min() < -18.0
    assert degrees['elbow'][part].max() > 24.0 and degrees['elbow'][part].min() < -24.0


@pytest.mark.parametrize('finger', ['index', 'middle', 'ring', 'little'])
def test_each_finger_closes_alone(truth, degrees, finger):
    gesture = next(g for g in truth['gestures'] if g['name'] == f'close {finger}')
    part = slice(gesture['first_frame'], gesture['first_frame'] + gesture['frames'])
    curl = {name: (degrees[f'{name}_proximal'] + degrees[f'{name}_distal'])[part].max()
            for name in ('index', 'middle', 'ring', 'little')}
    assert curl.pop(finger) > 140.0
    assert max(curl.values()) < 85.0


def test_gestures_cover_the_clip(truth):
    frame = 0
    for gesture in truth['gestures']:
        assert gesture['first_frame'] == frame
        frame += gesture['frames']
    assert frame == len(truth['angles_rad'])
    names = {gesture['name'] for gesture in truth['gestures']}
    assert {'fist', 'spread', 'pinch', 'wrist', 'elbow', 'close thumb',
            'digit 1', 'digit 2', 'digit 3', 'digit 4', 'digit 5'} <= names
