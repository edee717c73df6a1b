"""The small bag with known truth that tests and docs use is what its script says it is."""

from pathlib import Path

import numpy as np
import pytest

from hand_imitation.evaluation.bag import Bag
from hand_imitation.evaluation.figures import gaps
from hand_imitation.evaluation.metrics import metrics_document
from hand_imitation.evaluation.replay import ReplayOptions, replay_bag

BAG = Path(__file__).parent / 'data' / 'reference_bag'


@pytest.fixture(scope='module')
def replayed():
    pytest.importorskip('pybullet')
    return replay_bag(BAG, ReplayOptions(
        policies=('recorded', 'geometric'), landmarks='recorded', simulate=True))


@pytest.fixture(scope='module')
def policies(replayed):
    return metrics_document([replayed.recording], [replayed.runs])['policies']


def test_it_is_small():
    assert sum(file.stat().st_size for file in BAG.iterdir()) < 2_000_000


def test_it_holds_what_our_recorder_records():
    """All but the pictures of the arm, which its joint states say as well."""
    recorder = pytest.importorskip('hand_imitation.nodes.recorder')
    with Bag(BAG) as bag:
        assert list(bag.scan(lambda topic, kind: False)) == []
        assert not bag.truncated and bag.problems == []
        ours = {f'/{topic.lstrip("/")}' for topic in recorder.RECORDED}
        assert ours - set(bag.topics) == {'/arm_camera/image_raw/compressed'}


def test_everything_in_it_can_be_read(replayed):
    recording = replayed.recording
    assert recording.problems == () and not recording.truncated
    assert len(recording.frame_ns) == 422
    assert recording.pictures(0).shape == (180, 320, 3)
    assert np.isfinite(recording.truth.position_rad).all()
    assert set(recording.latency_ms) >= {'perception', 'policy', 'command', 'end_to_end'}


def test_the_camera_was_covered_for_half_a_second(replayed):
    recording, run = replayed.recording, replayed.runs[0]
    (begin, end), = gaps(run.tracked, recording.frame_ns)
    lost = recording.frame_ns[~run.tracked]
    assert len(lost) == 15 and (end - begin) * 1e-9 == pytest.approx(0.5, abs=1e-3)
    assert recording.pictures(int(np.flatnonzero(~run.tracked)[0])).max() < 40
    hold, = run.holds
    assert begin < hold.start_ns < end and hold.reason == 'stale'


def test_replayed_it_gives_what_was_recorded(policies):
    """The policy that made it makes the same of it again, through recording and reading."""
    recorded, again = policies['recorded'], policies['geometric']
    for metric in ('joint_error_deg', 'estimate_error_deg', 'fingertip_error_mm'):
        assert again[metric]['mean'] == pytest.approx(recorded[metric]['mean'], rel=0.02)
    assert again['lag_ms']['all'] == pytest.approx(recorded['lag_ms']['all'], abs=5.0)
    assert again['holds']['count'] == recorded['holds']['count']


def test_the_figures_are_believable(policies):
    found = policies['geometric']
    assert found['reference'] == 'truth'
    assert 3.0 < found['joint_error_deg']['mean'] < 15.0
    assert found['finger_states']['agreement'] > 0.85
    assert found['silhouette_iou']['mean'] > 0.85
    assert 50.0 < found['lag_ms']['all'] < 250.0
    assert found['limit_violations'] == 0
    assert found['tracking']['tracked'] == 422 - 15
