"""Policies by name and by path, and those that look for hands themselves."""

import dataclasses
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('mediapipe')

import cv2  # noqa: E402
from bag_rig import (  # noqa: E402
    RATE_HZ,
    TABLE,
    frame_ns,
    header,
    kind,
    recording,
    sample_observations,
    sample_pictures,
    sample_truth,
    write_bag,
)
from shared_data import ROOT  # noqa: E402
from skeletons import hand, seen  # noqa: E402

from hand_imitation.cli import main  # noqa: E402
from hand_imitation.cli.predict import predict_file  # noqa: E402
from hand_imitation.errors import UserError  # noqa: E402
from hand_imitation.evaluation.metrics import document_text, metrics_document  # noqa: E402
from hand_imitation.evaluation.recording import RECORDED  # noqa: E402
from hand_imitation.evaluation.replay import ReplayOptions, replay_bag  # noqa: E402
from hand_imitation.evaluation.run_statistics import RunStatistics  # noqa: E402
from hand_imitation.human.angles import thumb_side_sign  # noqa: E402
from hand_imitation.human.observation import HandObservation  # noqa: E402
from hand_imitation.policy import (  # noqa: E402
    DEFAULT_POLICY,
    POLICIES,
    load_policy,
    policy_name,
    settled_name,
)
from hand_imitation.policy.base import JointTargets, sight_of, unseen  # noqa: E402
from hand_imitation.policy.checkpoint import save_checkpoint  # noqa: E402
from hand_imitation.policy.sight import Sight, read_sight, sight_text  # noqa: E402

COUNT = 40
DARK = 12
"""Number of the picture in which the policy below sees nothing."""


class LookingPolicy:
    """Looks for hands itself, in its way: it knows the sample by heart, unless it is dark."""

    uses_joint_positions = False
    uses_perception = False

    def __init__(self, table, checkpoint, parameters=None):
        self._bias = checkpoint.tensor('bias', (12,))
        self.sight = Sight()
        self.shown = []

    def reset(self):
        self.sight = Sight()

    def act(self, observation, joint_positions, now_s):
        self.shown.append(observation)
        assert not observation.valid and not observation.world_points.any()
        light = observation.image is not None and observation.image.mean() > 5.0
        self.sight = Sight(light, 'left' if light else None, 0.75 if light else None)
        if not light:
            return None
        number = min(round(observation.stamp_s * RATE_HZ), COUNT - 1)
        truth = TABLE.reorder(sample_truth().names, sample_truth().positions_rad[number])
        side = thumb_side_sign(sample_observations()[number].world_points)
        return JointTargets(
            TABLE.names, TABLE.clip(truth + self._bias), observation.stamp_s, side)


@pytest.fixture
def checkpoint(tmp_path, monkeypatch) -> Path:
    """Folder of a checkpoint for the policy above, which stands where `pixels` does."""
    module = types.ModuleType('hand_imitation.policy.pixels')
    module.PixelsPolicy = LookingPolicy
    monkeypatch.setitem(sys.modules, module.__name__, module)
    folder = tmp_path / 'run.7'
    save_checkpoint(
        folder, 'pixels', {'bias': np.zeros(12, np.float32)}, TABLE, layout={}, training={},
        figures={})
    return folder


@pytest.fixture
def no_perception(monkeypatch):
    """Nobody starts MediaPipe, once the policy above has learned the sample by heart."""
    sample_observations()

    def refuse(*_, **__):
        raise AssertionError('MediaPipe was started')

    monkeypatch.setattr('hand_imitation.human.perception._Landmarker.__init__', refuse)


@pytest.fixture(scope='module')
def dark_recording():
    """The sample's first pictures, one of them black, with all that belongs to them."""
    messages = list(recording(COUNT))
    black = cv2.imencode('.jpg', np.zeros_like(sample_pictures()[0]))[1].ravel()
    for place, (topic, time_ns, message) in enumerate(messages):
        if topic.endswith('compressed') and time_ns == frame_ns(DARK) + 4_000_000:
            messages[place] = topic, time_ns, dataclasses.replace(message, data=black)
    return messages


@pytest.fixture
def bag(tmp_path, dark_recording) -> Path:
    return write_bag(tmp_path / 'bag', dark_recording)


def ended(monkeypatch, *arguments) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, 'argv', ['hand-imitation', *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def refusal(name: str) -> str:
    with pytest.raises(UserError) as caught:
        load_policy(name, TABLE)
    words = str(caught.value)
    assert '\n' not in words and ': ' in words
    return words


# By name and by path.

def test_the_default_is_one_of_them():
    assert DEFAULT_POLICY in POLICIES
    assert load_policy(DEFAULT_POLICY, TABLE).uses_perception


def test_no_such_policy(tmp_path):
    assert all(name in refusal('geometrical') for name in POLICIES)
    assert 'does not exist' in refusal(str(tmp_path / 'nowhere'))
    assert 'checkpoint.json' in refusal(str(tmp_path))


def test_by_path(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint.parent)
    for name in ('run.7', './run.7', str(checkpoint), 'run.7/'):
        assert isinstance(load_policy(name, TABLE), LookingPolicy)
        assert policy_name(name) == 'run.7' and settled_name(name) == str(checkpoint)
    assert (policy_name('pixels'), settled_name('pixels')) == ('pixels', 'pixels')
    monkeypatch.setenv('HOME', str(checkpoint.parent))
    assert isinstance(load_policy('~/run.7', TABLE), LookingPolicy)


def test_a_folder_called_like_a_policy_needs_a_slash(checkpoint, monkeypatch):
    checkpoint.rename(checkpoint.parent / 'geometric')
    monkeypatch.chdir(checkpoint.parent)
    assert load_policy('geometric', TABLE).uses_perception
    assert isinstance(load_policy('./geometric', TABLE), LookingPolicy)


def test_a_link_to_the_newest_checkpoint_is_called_what_it_leads_to(checkpoint):
    link = checkpoint.parent / 'newest'
    link.symlink_to(checkpoint)
    assert policy_name(str(link)) == 'run.7'


def test_by_the_folder_of_a_run(checkpoint, tmp_path):
    """Training leaves the checkpoint in a folder called 'checkpoint'; the run has the name."""
    run = tmp_path / 'runs' / 'wide'
    run.mkdir(parents=True)
    checkpoint.rename(run / 'checkpoint')
    for name in (str(run), str(run / 'checkpoint')):
        assert isinstance(load_policy(name, TABLE), LookingPolicy)
        assert policy_name(name) == 'wide' and settled_name(name) == str(run / 'checkpoint')


@pytest.mark.parametrize('layout', [
    {}, {'estimate': None}, {'estimate': {'version': 1}}, {'estimate': [1, 2]},
    {'estimate': {'version': 1, 'inputs': 148, 'outputs': 13, 'hidden': 'many'}},
    {'estimate': {'version': 1, 'inputs': 148, 'outputs': 13, 'hidden': [10 ** 12]}},
    {'estimate': {'version': 1, 'inputs': 148, 'outputs': 13, 'hidden': [[3]]}}])
def test_a_layout_that_makes_no_sense(tmp_path, layout):
    """The files are sound; what they say is not."""
    save_checkpoint(
        tmp_path, 'landmarks', {'estimate.mean': np.zeros(148, np.float32)}, TABLE,
        layout=layout, training={}, figures={})
    assert 'hand-imitation train' in refusal(str(tmp_path))


def test_pixels_without_pytorch(checkpoint, monkeypatch):
    monkeypatch.delitem(sys.modules, 'hand_imitation.policy.pixels')
    for name in [n for n in sys.modules if n.split('.')[0] == 'torch'] or ['torch']:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, 'torch', None)
    for name in [n for n in sys.modules if n.startswith('hand_imitation.policy.pixels')]:
        monkeypatch.delitem(sys.modules, name)
    assert "pip install 'hand_imitation[pixels]'" in refusal(str(checkpoint))


def test_importing_policies_takes_neither_pytorch_nor_safetensors():
    script = ('import sys, hand_imitation.policy, hand_imitation.node_parameters; '
              "print([n for n in ('torch', 'safetensors', 'mediapipe') if n in sys.modules])")
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=60,
        env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.stdout.strip() == '[]', done.stderr


# What was seen.

def test_sight_is_perceptions_or_the_policys_own(checkpoint):
    geometric, looking = load_policy('geometric', TABLE), load_policy(str(checkpoint), TABLE)
    shown = seen(hand(), side='left')
    assert sight_of(geometric, shown) == Sight(True, 'left', shown.score)
    assert sight_of(geometric, HandObservation(valid=False, stamp_s=1.0)) == Sight()
    picture = np.full((20, 30, 3), 90, np.uint8)
    bare = unseen(dataclasses.replace(shown, image=picture))
    assert not bare.valid and bare.image is picture and bare.stamp_s == shown.stamp_s
    assert not bare.world_points.any()
    looking.act(bare, None, 0.0)
    assert sight_of(looking, bare) == Sight(True, 'left', 0.75)


@pytest.mark.parametrize('sight, thumb_side, told', [
    (Sight(), None, (False, None)), (Sight(True), 1.0, (True, 1.0)),
    (Sight(True, 'left', 0.5), -1.0, (True, -1.0)), (Sight(True, 'right'), None, (True, None))])
def test_sights_are_read_as_they_were_written(sight, thumb_side, told):
    assert read_sight(sight_text(sight, thumb_side)) == told


@pytest.mark.parametrize('text', [
    '', 'side=left score=0.9 settled=yes forearm=skin', 'detected', 'detected=perhaps', '= ='])
def test_other_texts_are_no_sights(text):
    assert read_sight(text) is None


def test_predict_with_a_policy_that_looks_itself(checkpoint, tmp_path, no_perception):
    policy = load_policy(str(checkpoint), TABLE)
    hand_picture, dark = tmp_path / 'hand.png', tmp_path / 'dark.png'
    cv2.imwrite(str(hand_picture), sample_pictures()[0])
    cv2.imwrite(str(dark), np.zeros((40, 60, 3), np.uint8))
    result = predict_file(hand_picture, None, policy)
    assert result.keys() == {'file', 'detected', 'handedness', 'score', 'joints'}
    assert (result['detected'], result['handedness'], result['score']) == (True, 'left', 0.75)
    assert set(result['joints']) == set(TABLE.names)
    assert np.array_equal(
        policy.shown[-1].image, cv2.cvtColor(sample_pictures()[0], cv2.COLOR_BGR2RGB))
    assert predict_file(dark, None, policy) == {
        'file': str(dark), 'detected': False, 'handedness': None, 'score': None, 'joints': None}


def test_predict_by_path_starts_no_perception(
        checkpoint, tmp_path, no_perception, capsys, monkeypatch):
    picture = tmp_path / 'hand.png'
    cv2.imwrite(str(picture), sample_pictures()[0])
    assert ended(monkeypatch, 'predict', picture, '--policy', checkpoint) == 0
    assert json.loads(capsys.readouterr().out)['detected'] is True


def test_figures_of_a_run_take_the_policys_word():
    statistics = RunStatistics('right', True, uses_perception=False)
    for number in range(10):
        statistics.add_latency('camera', frame_ns(number), frame_ns(number) + 1)
        statistics.add_landmarks(frame_ns(number), None)
        statistics.add_sight(frame_ns(number), number != 3, -1.0)
        statistics.add_latency('command', frame_ns(number), frame_ns(number) + 2)
        statistics.add_truth(frame_ns(number), ['wrist'], [0.25])
        statistics.add_estimate(frame_ns(number), ['wrist'], [0.25])
    summary = statistics.summary()
    assert (summary['frames'], summary['frames_tracked']) == (10, 9)
    # The thumb of a left hand and of a mirroring right arm are on one side: no change of sign.
    assert summary['estimate_error_deg']['per_joint']['wrist'] == 0.0


# Replay.

def test_replay_shows_it_pictures_alone(checkpoint, bag, no_perception):
    replayed = replay_bag(bag, ReplayOptions(policies=(str(checkpoint),)))
    run, = replayed.runs
    assert run.policy == 'run.7' and run.landmarks is None
    tracked = np.arange(COUNT) != DARK
    assert np.array_equal(run.tracked, tracked)
    assert np.array_equal(np.isfinite(run.target.position_rad).all(axis=1), tracked)
    assert list(replayed.timing['latency_ms']) == ['run.7']
    # It knows the truth by heart, wrist and elbow too: their signs follow from its own word.
    document = metrics_document([replayed.recording], [replayed.runs])
    joints = document['policies']['run.7']['estimate_error_deg']['per_joint']
    assert joints and max(joints.values()) < 0.01
    assert document['policies']['run.7']['tracking']['tracked'] == COUNT - 1
    again = replay_bag(bag, ReplayOptions(policies=(str(checkpoint),)))
    assert document_text(document) == document_text(
        metrics_document([again.recording], [again.runs]))


@pytest.mark.parametrize('landmarks', ['perceived', 'recorded'])
def test_replay_beside_a_policy_that_goes_by_landmarks(checkpoint, bag, landmarks):
    names = ('geometric', str(checkpoint), RECORDED)
    replayed = replay_bag(bag, ReplayOptions(policies=names, landmarks=landmarks))
    geometric, looking, told = replayed.runs
    assert geometric.landmarks is not None and looking.landmarks is None
    assert not looking.tracked[DARK] and looking.tracked.sum() == COUNT - 1
    assert geometric.tracked[DARK] == (landmarks == 'recorded') and geometric.tracked[DARK + 5]
    assert np.array_equal(told.tracked, geometric.tracked)
    alone = replay_bag(bag, ReplayOptions(policies=(str(checkpoint),)))
    assert np.array_equal(
        looking.target.position_rad, alone.runs[0].target.position_rad, equal_nan=True)


def sight_marker(number: int) -> tuple:
    """What the policy node tells of a picture for a policy that looks for hands itself."""
    vector = kind('geometry_msgs/msg/Vector3')(0.0, 0.0, 0.0)
    point = kind('geometry_msgs/msg/Point')(0.0, 0.0, 0.0)
    turn = kind('geometry_msgs/msg/Quaternion')(0.0, 0.0, 0.0, 1.0)
    colour = kind('std_msgs/msg/ColorRGBA')(0.0, 0.0, 0.0, 0.0)
    still = kind('builtin_interfaces/msg/Duration')(0, 0)
    dark = number == DARK
    side = thumb_side_sign(sample_observations()[number].world_points)
    marker = kind('visualization_msgs/msg/Marker')(
        header=header(frame_ns(number)), ns='joints', id=0, type=0, action=2,
        pose=kind('geometry_msgs/msg/Pose')(point, turn), scale=vector, color=colour,
        lifetime=still, frame_locked=False, points=[], colors=[], texture_resource='',
        texture=kind('sensor_msgs/msg/CompressedImage')(
            header(0), '', np.zeros(0, np.uint8)), uv_coordinates=[],
        text=sight_text(Sight(not dark, 'left'), None if dark else side), mesh_resource='',
        mesh_file=kind('visualization_msgs/msg/MeshFile')('', np.zeros(0, np.uint8)),
        mesh_use_embedded_materials=False)
    return ('/hand/markers', frame_ns(number) + 15_000_000,
            kind('visualization_msgs/msg/MarkerArray')([marker]))


@pytest.fixture
def bag_of_looking(tmp_path, dark_recording) -> Path:
    """As recorded with a policy that looks for hands itself: no landmarks, but sights."""
    messages = []
    for topic, time_ns, message in dark_recording:
        if topic == '/hand/landmarks':
            message = dataclasses.replace(message, poses=[])
        messages.append((topic, time_ns, message))
    messages += [sight_marker(number) for number in range(COUNT)]
    return write_bag(tmp_path / 'looked', sorted(messages, key=lambda message: message[1]))


def test_a_bag_recorded_with_it_tells_what_it_saw(bag_of_looking, no_perception):
    replayed = replay_bag(bag_of_looking, ReplayOptions(policies=(RECORDED,)))
    run, = replayed.runs
    assert np.array_equal(run.tracked, np.arange(COUNT) != DARK)
    metrics = metrics_document([replayed.recording], [replayed.runs])['policies'][RECORDED]
    # What was recorded as wanted is the truth but for wrist and elbow, left as the person's.
    joints = metrics['estimate_error_deg']['per_joint']
    assert max(joints[name] for name in TABLE.names[:10]) < 2.0


def test_a_bag_recorded_with_it_can_be_replayed_through_others(bag_of_looking):
    replayed = replay_bag(bag_of_looking, ReplayOptions(policies=('geometric', RECORDED)))
    geometric, told = replayed.runs
    assert geometric.tracked.sum() >= COUNT - 2 and told.tracked.sum() == COUNT - 1
    with pytest.raises(UserError, match='leave out --landmarks recorded'):
        replay_bag(bag_of_looking, ReplayOptions(policies=('geometric',), landmarks='recorded'))


def test_the_report_calls_it_by_its_folder(
        checkpoint, bag, tmp_path, no_perception, capsys, monkeypatch):
    out = tmp_path / 'report'
    assert ended(
        monkeypatch, 'replay', bag, '--policy', checkpoint, '--out', out, '--json',
        '--fail-above', 'run.7.tracking.tracked=1000',
        '--fail-below', 'run.7.tracking.tracked=1000') == 1
    said = capsys.readouterr()
    assert list(json.loads(said.out)['policies']) == ['run.7']
    assert said.err.count('missed: run.7: tracking.tracked is 39, below 1000') == 1
    assert 'run.7' in (out / 'report.html').read_text()


def test_two_checkpoints_of_one_name_are_told_apart_first(
        checkpoint, bag, tmp_path, capsys, monkeypatch):
    other = tmp_path / 'other' / 'run.7'
    other.parent.mkdir()
    checkpoint.rename(other)
    save_checkpoint(
        checkpoint, 'pixels', {'bias': np.zeros(12, np.float32)}, TABLE, layout={}, training={},
        figures={})
    assert ended(monkeypatch, 'replay', bag, '--policy', checkpoint, '--policy', other, '--out',
                 tmp_path / 'report') == 2
    assert 'another name' in capsys.readouterr().err
