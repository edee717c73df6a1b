"""The command line as its users meet it: as a process with stdout, stderr and an exit code."""

import hashlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import av
import cv2
import numpy as np
import psutil
import pytest
from shared_data import ROOT
from skeletons import hand

from hand_imitation.frame_sources import SAMPLE, truth_path
from hand_imitation.human.angles import finger_angles
from hand_imitation.human.person import fit, save_person

JOINTS = (
    'thumb_proximal', 'thumb_distal', 'index_proximal', 'index_distal', 'middle_proximal',
    'middle_distal', 'ring_proximal', 'ring_distal', 'little_proximal', 'little_distal',
    'wrist', 'elbow')
CLIP_FRAMES = 90
_numbers = itertools.count(os.getpid())


def environment():
    """Our own sources, no display, and a ROS domain that no other run is in."""
    return {
        **{k: v for k, v in os.environ.items() if k not in ('DISPLAY', 'WAYLAND_DISPLAY')},
        'PYTHONPATH': str(ROOT), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_DOMAIN_ID': str(free_domain()), 'COLUMNS': '200'}


def free_domain():
    """A ROS domain that nobody uses, by the port its first participant would take."""
    for domain in (1 + number % 100 for number in itertools.islice(_numbers, 100)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', 7410 + 250 * domain))
            except OSError:
                continue
        return domain
    raise RuntimeError('every ROS domain is in use')


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, '-m', 'hand_imitation', *map(str, arguments)], text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(), **options)


def run(*arguments, folder=None):
    """Run to the end; returns exit code, stdout and stderr."""
    process = start(*arguments, cwd=folder)
    try:
        out, err = process.communicate(timeout=150)
    finally:
        process.kill()
    assert 'Traceback' not in err, err
    return process.returncode, out, err


def refusal(*arguments, folder=None):
    """Run what must be refused: one line on stderr, nothing on stdout, exit code 2."""
    code, out, err = run(*arguments, folder=folder)
    assert code == 2 and out == ''
    line, = err.splitlines()
    assert line.startswith('error: ') and ': ' in line.removeprefix('error: ')
    return line


# Help and doctor.

@pytest.mark.parametrize('command', ['sim', 'predict', 'doctor'])
def test_help_has_an_example(command):
    code, out, err = run(command, '--help')
    assert code == 0 and err == ''
    assert f'Example: hand-imitation {command}' in out
    assert '--help' in out


def test_help_lists_the_commands():
    code, out, _ = run('--help')
    assert code == 0 and all(command in out for command in ('sim', 'predict', 'doctor'))


@pytest.mark.parametrize('arguments', [('simm',), ('sim', '--sauce', '0'), ('predict',),
                                       ('sim', '--duration', '-1')])
def test_wrong_usage_is_exit_code_2(arguments):
    code, out, err = run(*arguments)
    assert code == 2 and out == '' and 'Usage' in err


def test_doctor_prints_exactly_one_json_document():
    code, out, _ = run('doctor', '--json')
    checks = json.loads(out)
    assert code == (0 if all(check['ok'] for check in checks) else 1)
    names = {check['check'] for check in checks}
    assert {'Python', 'mediapipe', 'pybullet', 'rclpy', 'hand landmarker model'} <= names
    for check in checks:
        assert set(check) == {'check', 'ok', 'found', 'remedy'}
        assert check['ok'] or check['remedy']


def test_doctor_prints_a_table_whose_remedies_are_whole(monkeypatch, tmp_path):
    """A package that does not import is named with what to install, brackets and all."""
    broken = tmp_path / 'mediapipe'
    broken.mkdir()
    (broken / '__init__.py').write_text('raise ImportError("broken on purpose")')
    done = subprocess.run(
        [sys.executable, '-m', 'hand_imitation', 'doctor'], text=True, capture_output=True,
        env={**environment(), 'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'}, timeout=100)
    assert done.returncode == 1
    row, = (line for line in done.stdout.splitlines() if 'broken on purpose' in line)
    assert 'bad' in row and "pip install 'hand_imitation[all]'" in row


# Predict.

@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Two pictures with a hand, one without, and a file that is no picture."""
    folder = tmp_path_factory.mktemp('images')
    capture = cv2.VideoCapture(str(SAMPLE))
    for name in ('b.png', 'a.png'):
        good, picture = capture.read()
        assert good
        cv2.imwrite(str(folder / name), picture)
    cv2.imwrite(str(folder / 'nobody.png'), np.full((240, 320, 3), 90, np.uint8))
    (folder / 'text.jpg').write_text('not an image')
    return folder


def test_predict_prints_one_object_a_line_in_the_order_given(images):
    code, out, err = run('predict', 'b.png', 'a.png', folder=images)
    assert code == 0 and err == ''
    results = [json.loads(line) for line in out.splitlines()]
    assert [r['file'] for r in results] == ['b.png', 'a.png']
    for result in results:
        assert list(result) == ['file', 'detected', 'handedness', 'score', 'joints']
        assert result['detected'] is True and result['handedness'] == 'left'
        assert 0.5 < result['score'] <= 1.0
        assert tuple(result['joints']) == JOINTS
        assert all(isinstance(value, float) for value in result['joints'].values())


def test_predict_judges_each_image_alone(images):
    _, together, _ = run('predict', 'nobody.png', 'b.png', 'a.png', folder=images)
    _, alone, _ = run('predict', 'a.png', folder=images)
    assert together.splitlines()[2] == alone.strip()


@pytest.mark.parametrize('policy, noted', [('landmarks', True), ('geometric', False)])
def test_a_calibration_that_is_not_used_is_told(images, tmp_path, policy, noted):
    skeleton = hand()
    angles = finger_angles(skeleton, 'right')
    save_person(tmp_path / 'me.yaml', fit([angles], [angles + 1.4]))
    code, out, err = run('predict', 'a.png', '--person', str(tmp_path / 'me.yaml'),
                         '--policy', policy, folder=images)
    assert code == 0 and len(out.splitlines()) == 1
    assert ('--policy geometric' in ' '.join(err.split())) == noted


def test_predict_without_a_hand(images):
    code, out, _ = run('predict', 'nobody.png', folder=images)
    assert code == 0
    assert json.loads(out) == {
        'file': 'nobody.png', 'detected': False, 'handedness': None, 'score': None,
        'joints': None}


def test_predict_goes_on_after_files_that_cannot_be_read(images):
    code, out, err = run(
        'predict', 'text.jpg', 'a.png', 'nowhere.png', '.', 'b.png', folder=images)
    assert code == 1 and err == ''
    results = [json.loads(line) for line in out.splitlines()]
    assert [r['file'] for r in results] == ['text.jpg', 'a.png', 'nowhere.png', '.', 'b.png']
    assert [set(r) == {'file', 'error'} for r in results] == [True, False, True, True, False]
    assert 'not an image' in results[0]['error'] and 'does not exist' in results[2]['error']


def test_predict_refuses_an_unknown_policy(images):
    assert 'geometric' in refusal('predict', 'a.png', '--policy', 'nope', folder=images)


# What sim refuses.

BAD_SIM = {
    'no such file': (('--source', 'nowhere.mp4'), 'no such source'),
    'text as video': (('--source', 'text.mp4'), 'is not a video'),
    'empty folder': (('--source', 'empty'), 'no images in folder'),
    'no camera': (('--source', '97'), "no camera '/dev/video97'"),
    'topic': (('--source', 'topic:1 2'), 'names no ROS topic'),
    'policy': (('--policy', 'nope'), 'choose one of geometric'),
    'side': (('--side', 'middle'), 'choose right or left'),
    'namespace': (('--namespace', '1 2'), 'no ROS namespace'),
    'prefix': (('--prefix', 'a b'), 'joint name'),
    'window without display': (('--gui',), 'needs a display'),
    'no parameters file': (('--params-file', 'nowhere.yaml'), 'cannot be read'),
    'unknown key': (('--params-file', 'key.yaml'), "did you mean 'rate_hz'"),
    'out of range': (('--params-file', 'range.yaml'), 'from 0.0 to 240.0'),
    'broken URDF': (('--params-file', 'commander_urdf.yaml'), 'broken.urdf'),
    "the simulation's broken URDF": (('--params-file', 'bridge_urdf.yaml'), 'broken.urdf'),
    'model': (('--params-file', 'model.yaml'), 'pip install'),
    'out is a file': (('--out', 'text.mp4'), 'is a file'),
    'out is in a file': (('--out', 'text.mp4/out'), 'is a file'),
    'out holds other things': (('--out', 'full'), 'holds other things'),
}


@pytest.fixture
def mistakes(tmp_path):
    """A folder with everything `BAD_SIM` names."""
    (tmp_path / 'text.mp4').write_text('this is text\n')
    (tmp_path / 'broken.urdf').write_text('<robot name="x"><link name="a">')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'thesis.txt').write_text('years of work')
    for name, node, values in (
            ('key', 'camera', 'rate: 30.0'), ('range', 'camera', 'rate_hz: 1000.0'),
            ('commander_urdf', 'commander', f'urdf: {tmp_path}/broken.urdf'),
            ('bridge_urdf', 'sim_bridge', f'urdf: {tmp_path}/broken.urdf'),
            ('model', 'policy', 'perception: {model_path: nowhere.task}')):
        (tmp_path / f'{name}.yaml').write_text(f'{node}: {{ros__parameters: {{{values}}}}}\n')
    return tmp_path


@pytest.mark.parametrize('mistake', BAD_SIM)
def test_sim_refuses(mistakes, mistake):
    arguments, words = BAD_SIM[mistake]
    before = sorted(mistakes.rglob('*'))
    out = () if '--out' in arguments else ('--out', 'new/out')
    headless = () if '--gui' in arguments else ('--headless',)
    assert words in refusal('sim', *headless, *arguments, *out, folder=mistakes)
    assert sorted(mistakes.rglob('*')) == before  # nothing written, not even half


# What sim does.

@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """Three seconds of the sample, with the truth that belongs to them."""
    path = tmp_path_factory.mktemp('clip') / 'clip.mp4'
    first = 60
    with av.open(str(SAMPLE)) as source, av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=30)
        stream.width, stream.height, stream.pix_fmt = 640, 360, 'yuv420p'
        for frame in itertools.islice(source.decode(video=0), first, first + CLIP_FRAMES):
            picture = frame.reformat(width=640, height=360).to_ndarray(format='bgr24')
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='bgr24')))
        container.mux(stream.encode(None))
    truth = json.loads(truth_path(SAMPLE).read_text())
    truth_path(path).write_text(json.dumps({
        'joints': truth['joints'], 'angles_rad': truth['angles_rad'][first:first + CLIP_FRAMES],
        'sha256': hashlib.sha256(path.read_bytes()).hexdigest()}))
    return path


@pytest.fixture(scope='module')
def finished(clip, tmp_path_factory):
    """One whole run: its folder, and what it printed."""
    out = tmp_path_factory.mktemp('run') / 'new' / 'out'
    code, stdout, stderr = run('sim', '--source', clip, '--headless', '--out', out, '--json')
    assert code == 0, stderr
    return out, stdout


def test_results_are_there_and_nothing_else(finished):
    out, _ = finished
    assert {p.name for p in out.iterdir()} == {'side_by_side.mp4', 'bag', 'summary.json'}
    assert [p.name for p in out.parent.parent.iterdir()] == ['new']
    assert [p.name for p in out.parent.iterdir()] == ['out']


def test_summary_is_what_was_printed(finished):
    out, stdout = finished
    assert json.loads((out / 'summary.json').read_text()) == json.loads(stdout)


def test_summary_has_the_keys_other_programs_rely_on(finished):
    summary = json.loads(finished[1])
    counts = ('frames', 'frames_tracked', 'frames_dropped', 'limit_violations', 'holds')
    assert all(isinstance(summary[key], int) for key in counts)
    assert isinstance(summary['command_rate_hz'], float)
    latency = summary['latency_ms']
    assert set(latency) == {'perception', 'policy', 'command', 'end_to_end'}
    for percentiles in latency.values():
        assert set(percentiles) == {'p50', 'p95', 'p99'}
        assert 0.0 < percentiles['p50'] <= percentiles['p95'] <= percentiles['p99']
    error = summary['joint_error_deg']
    assert set(error) == {'mean', 'per_joint'} and set(error['per_joint']) == set(JOINTS)


def test_run_followed_the_person(finished):
    """What holds on a slow machine too: all pictures, no violations, and the right fingers."""
    summary = json.loads(finished[1])
    assert summary['frames'] == CLIP_FRAMES
    assert summary['frames_tracked'] >= 0.9 * (CLIP_FRAMES - summary['frames_dropped'])
    assert summary['limit_violations'] == 0
    assert summary['estimate_error_deg']['mean'] < 20.0


def test_video_is_h264_with_every_picture(finished):
    with av.open(str(finished[0] / 'side_by_side.mp4')) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == 'h264' and stream.pix_fmt == 'yuv420p'
        assert 20 <= stream.average_rate <= 31  # 30 but for a machine that stutters
        pictures = [f.to_ndarray(format='rgb24') for f in container.decode(stream)]
    assert len(pictures) == json.loads(finished[1])['frames']
    # The person on the left and the arm on the right both move.
    half = pictures[0].shape[1] // 2
    moved = np.ptp(pictures[15::5], axis=0).max(axis=2) > 60
    assert moved[60:, :half].sum() > 200 and moved[60:, half:].sum() > 200


def test_bag_holds_every_topic(finished):
    highlevel = pytest.importorskip('rosbags.highlevel')
    pytest.importorskip('rclpy')
    from hand_imitation.nodes.recorder import RECORDED

    with highlevel.AnyReader([finished[0] / 'bag']) as reader:
        counts = {c.topic.lstrip('/'): c.msgcount for c in reader.connections}
        assert set(counts) == {topic.lstrip('/') for topic in RECORDED}
        assert all(counts.values())
        assert counts['camera/image_raw/compressed'] == CLIP_FRAMES
        assert counts['truth/joint_states'] == CLIP_FRAMES
        connections = [c for c in reader.connections if c.topic == '/joint_trajectory']
        for connection, _, data in reader.messages(connections):
            message = reader.deserialize(data, connection.msgtype)
            assert tuple(message.joint_names) == JOINTS and len(message.points) == 1


def test_second_run_into_the_same_folder_replaces_the_first(finished, clip, tmp_path):
    out = tmp_path / 'out'
    shutil.copytree(finished[0], out)
    code, stdout, stderr = run(
        'sim', '--source', clip, '--headless', '--out', out, '--duration', '1')
    assert code == 0, stderr
    assert 'frames tracked' in stdout and 'latency [ms]' in stdout
    assert {p.name for p in out.iterdir()} == {'side_by_side.mp4', 'bag', 'summary.json'}
    summary = json.loads((out / 'summary.json').read_text())
    assert 20 <= summary['frames'] < CLIP_FRAMES
    with av.open(str(out / 'side_by_side.mp4')) as container:
        assert len(list(container.decode(video=0))) == summary['frames']


def recorded_pictures(folder):
    """How many JPEG pictures are in the bag that is being written."""
    bags = folder.glob('.hand_imitation_*/bag/*.mcap')
    return sum(p.read_bytes().count(b'\xff\xd8\xff') for p in bags)


def test_ctrl_c_ends_a_looping_run_in_order(clip, tmp_path):
    loop = tmp_path / 'loop.yaml'
    # The arm's camera is off, so that pictures in the bag are the person's.
    loop.write_text('camera: {ros__parameters: {loop: true}}\n'
                    'sim_bridge: {ros__parameters: {camera_rate_hz: 0.0}}\n')
    folder = tmp_path / 'results'
    folder.mkdir()
    process = start('sim', '--source', clip, '--headless', '--out', folder / 'out', '--json',
                    '--params-file', loop)
    try:
        deadline_s = time.monotonic() + 60.0
        while recorded_pictures(folder) < 10:
            assert process.poll() is None and time.monotonic() < deadline_s
            time.sleep(0.1)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, stderr
    assert 'Traceback' not in stderr
    assert json.loads(stdout)['frames'] >= 10
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert [p.name for p in folder.iterdir()] == ['out']
    assert (folder / 'out' / 'side_by_side.mp4').stat().st_size > 1000
