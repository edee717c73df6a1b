"""The `pixels` policy: what it learns from, that it learns, and that it finds a hand."""

import resource

import cv2
import numpy as np
import pytest

pytest.importorskip('torch')

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.angles import thumb_side_sign
from hand_imitation.human.observation import HandObservation
from hand_imitation.learning import supervised_pixels
from hand_imitation.learning.pixel_lessons import Lessons
from hand_imitation.learning.supervised import SupervisedOptions
from hand_imitation.policy import load_policy
from hand_imitation.policy.checkpoint import load_checkpoint, save_checkpoint
from hand_imitation.policy.pixels import PixelsPolicy
from hand_imitation.policy.pixels_network import (
    OUTPUTS,
    build_pixels_network,
    default_layout,
    network_tensors,
)
from hand_imitation.policy.pixels_window import Window, window_around, windows_over

TABLE = JointTable.from_urdf(load_description())
TINY = {**default_layout(48), 'channels': [16, 32, 64], 'blocks': [0, 1], 'hidden': 64}


def drawn_hands(count, seed=0):
    """Hands of lines that get shorter as all fingers bend: a data set of kind pixels."""
    random = np.random.default_rng(seed)
    arrays = {'picture': np.zeros((count, 128, 128, 3), np.uint8),
              'angles_rad': np.zeros((count, 12), np.float32),
              'valid': np.ones((count, 12), bool),
              'points_px': np.zeros((count, 21, 2), np.float32)}
    for row in range(count):
        bent = np.full(5, random.uniform(0.0, 1.5))
        angles = np.repeat(bent, 2)
        points = np.zeros((21, 2))
        points[0] = 64.0, 100.0
        for finger in range(5):
            base = np.array([36.0 + 12.0 * finger, 70.0 if finger else 84.0])
            reach = 40.0 * (1.05 - bent[finger] / 1.6)
            for bone in range(4):
                points[1 + 4 * finger + bone] = base - np.array([0.0, reach * bone / 3.0])
            cv2.line(arrays['picture'][row], *(tuple(int(v) for v in end) for end in (
                points[1 + 4 * finger], points[4 + 4 * finger])), (200, 160, 140), 9)
        cv2.rectangle(arrays['picture'][row], (34, 70), (90, 110), (200, 160, 140), -1)
        arrays['points_px'][row] = points
        arrays['angles_rad'][row] = [*angles, 0.1, 0.2]
    return arrays


@pytest.fixture
def data(tmp_path):
    """Data sets of such hands."""
    for split, count, seed in (('train', 480, 0), ('validation', 32, 1)):
        folder = tmp_path / 'data' / 'pixels' / split
        folder.mkdir(parents=True)
        np.savez(folder / 'shard_0000.npz', **drawn_hands(count, seed))
    return tmp_path / 'data'


@pytest.fixture
def small(monkeypatch):
    """A network and batches small enough for a test."""
    monkeypatch.setattr(supervised_pixels, 'default_layout', lambda: TINY)
    monkeypatch.setattr(supervised_pixels, '_BATCH', 32)


def learn(data, out, **options):
    out.mkdir(exist_ok=True)
    return supervised_pixels.train_pixels(
        SupervisedOptions(out, data, **options), lambda share: None)


def test_it_learns_to_tell_bent_fingers(data, small, tmp_path):
    result = learn(data, tmp_path / 'run', steps=32 * 350)
    truth = np.degrees(drawn_hands(32, 1)['angles_rad'][:, 2:10])
    constant = np.abs(truth - np.median(truth)).mean()
    assert result.figures['fingers_deg'] < 0.5 * constant
    assert result.figures['states_right'] > 0.85
    checkpoint = load_checkpoint(tmp_path / 'run' / 'checkpoint', TABLE, 'pixels')
    assert PixelsPolicy(TABLE, checkpoint).uses_perception is False


def test_a_run_goes_on_where_it_stopped(data, small, tmp_path):
    first = learn(data, tmp_path / 'run', steps=32 * 3)
    second = learn(data, tmp_path / 'run', steps=32 * 6, resume=True)
    assert (first.steps, second.steps) == (32 * 3, 32 * 6)
    assert second.minutes > first.minutes
    (data / 'pixels' / 'train' / 'shard_0001.npz').write_bytes(
        (data / 'pixels' / 'train' / 'shard_0000.npz').read_bytes())
    with pytest.raises(UserError, match='leave out --resume'):
        learn(data, tmp_path / 'run', steps=32 * 9, resume=True)


def test_the_same_seed_learns_the_same(data, small, tmp_path):
    for out in ('one', 'two'):
        learn(data, tmp_path / out, steps=32 * 4, seed=3)
    one, two = (load_checkpoint(tmp_path / out / 'checkpoint', TABLE) for out in ('one', 'two'))
    assert one.sha256 == two.sha256


def test_labels_follow_the_picture():
    """Where it is mirrored and turned, leans and thumb follow; the landmarks stay on the hand."""
    arrays = drawn_hands(40)
    lesson = Lessons(arrays, 64, np.random.default_rng(0)).lesson(np.arange(40))
    there = lesson.weight[:, OUTPUTS['fingers']].all(axis=1)
    mirrored = 0
    for row in np.flatnonzero(there):
        points = lesson.wanted[row, OUTPUTS['points']].reshape(21, 2)
        side = thumb_side_sign(points)
        original = thumb_side_sign(arrays['points_px'][row])
        mirrored += side != original
        assert lesson.wanted[row, OUTPUTS['thumb_side']] == (side > 0.0)
        wrist = lesson.wanted[row, OUTPUTS['leans']][0]
        assert wrist == pytest.approx(0.1 * side)
    assert 5 < mirrored < there.sum() - 5


def test_windows_are_cut_where_they_are():
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[90:110, 190:210] = 255
    points = np.array([[190.0, 90.0], [210.0, 110.0]])
    window = window_around(points)
    cut = window.cut(picture, 40)[..., 0] > 128
    assert cut.mean() == pytest.approx(0.75 ** 2, abs=0.05)
    assert cut[20, 20] and not cut[1, 1]
    # Shrunk by much, it is still in its place.
    small = Window(np.array([200.0, 100.0]), 200.0).cut(picture, 20)[..., 0]
    assert np.argwhere(small > 100).mean(axis=0) == pytest.approx([9.5, 9.5], abs=0.6)
    np.testing.assert_allclose(window.to_picture(np.array([[0.0, 0.0], [0.5, -0.5]])), [
        [200.0, 100.0], [200.0 + window.side / 2.0, 100.0 - window.side / 2.0]])


@pytest.mark.parametrize('size', [(1280, 720), (640, 480), (100, 100), (200, 900)])
def test_the_search_leaves_nothing_out(size):
    covered = np.zeros(size[::-1], bool)
    smallest = min(window.side for window in windows_over(*size))
    for window in windows_over(*size):
        if window.side == smallest:
            low = np.maximum((window.centre - window.side / 2.0).round().astype(int), 0)
            high = (window.centre + window.side / 2.0).round().astype(int)
            covered[low[1]:high[1], low[0]:high[0]] = True
    assert covered.all()


def test_other_layouts_are_refused(tmp_path):
    network = build_pixels_network(TINY)
    for layout in ({}, {'network': {**TINY, 'version': 99}}, {'network': {**TINY, 'hidden': 65}},
                   {'network': {**TINY, 'channels': [16, 10 ** 9, 64]}}):
        save_checkpoint(tmp_path / 'other', 'pixels', network_tensors(network), TABLE,
                        layout=layout, training={}, figures={})
        with pytest.raises((UserError, ValueError, RuntimeError)):
            PixelsPolicy(TABLE, load_checkpoint(tmp_path / 'other', TABLE))


def test_weights_that_are_not_the_networks_are_refused(tmp_path):
    tensors = {**network_tensors(build_pixels_network(TINY)), 'more': np.zeros(1, np.float32)}
    save_checkpoint(tmp_path, 'pixels', tensors, TABLE, layout={'network': TINY}, training={},
                    figures={})
    with pytest.raises(UserError, match='layout'):
        load_policy(str(tmp_path), TABLE)


def test_a_layout_that_asks_for_gigabytes_is_refused_before_it_gets_them(tmp_path):
    layout = {**TINY, 'channels': [1024] * 6, 'blocks': [8] * 5, 'hidden': 4096}
    save_checkpoint(tmp_path, 'pixels', {'a': np.zeros(1, np.float32)}, TABLE,
                    layout={'network': layout}, training={}, figures={})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match='layout'):
        load_policy(str(tmp_path), TABLE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


@pytest.fixture(scope='module')
def shipped():
    from hand_imitation.policy import load_policy

    return load_policy('pixels', TABLE)


@pytest.fixture(scope='module')
def frames():
    """Pictures of the sample, RGB, one every two seconds."""
    from hand_imitation.frame_sources import open_source

    source = open_source('sample')
    taken = []
    for number in range(600):
        frame = source.read()
        if frame is None:
            break
        if number % 60 == 30:
            taken.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    source.close()
    return taken


def test_it_finds_the_hand_in_a_large_picture(shipped, frames):
    found = []
    for picture in frames:
        shipped.reset()
        targets = shipped.act(HandObservation(valid=False, stamp_s=0.0, image=picture), None, 0.0)
        found.append(targets is not None and shipped.sight.detected)
    assert np.mean(found) >= 0.9


def test_it_finds_none_where_there_is_none(shipped):
    random = np.random.default_rng(0)
    grey = np.full((480, 640, 3), 120, np.uint8)
    noise = random.integers(0, 255, (480, 640, 3), dtype=np.uint8)
    for picture in (grey, noise, None):
        shipped.reset()
        seen = HandObservation(valid=False, stamp_s=0.0, image=picture)
        assert shipped.act(seen, None, 0.0) is None
        assert not shipped.sight.detected


def test_a_mirror_image_has_the_same_fingers(shipped, frames):
    for picture in frames[:3]:
        told = []
        for shown in (picture, np.ascontiguousarray(picture[:, ::-1])):
            shipped.reset()
            seen = HandObservation(valid=False, stamp_s=0.0, image=shown)
            told.append(shipped.act(seen, None, 0.0))
        assert told[0].thumb_side == -told[1].thumb_side
        np.testing.assert_allclose(told[0].positions_rad[:10], told[1].positions_rad[:10],
                                   atol=0.15)
