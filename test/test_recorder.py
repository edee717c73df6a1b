"""Recording: limits, splitting, crashes and full disks; the writer alone and as a node."""

import contextlib
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip('rosbags')
pytest.importorskip('mcap')

from bag_rig import START_NS, TYPES, packed_image, pictures, recording, write_bag  # noqa: E402
from rosbags.highlevel import AnyReader  # noqa: E402
from shared_data import ROOT  # noqa: E402

from hand_imitation.evaluation.bag import Bag, decoded  # noqa: E402
from hand_imitation.evaluation.bag_contents import recorded_parameters  # noqa: E402
from hand_imitation.evaluation.bag_writer import BagWriter, Limits, versions  # noqa: E402

TOPIC, KIND = '/camera/image_raw/compressed', 'sensor_msgs/msg/CompressedImage'
PERIOD_NS = 33_000_000


def blob(number: int, size: int) -> bytes:
    """A picture message of about a size, whose bytes no two have in common."""
    message = packed_image(np.zeros((8, 8, 3), np.uint8), START_NS + number * PERIOD_NS)
    message.data = np.random.default_rng(number).integers(0, 256, size, np.uint8)
    return bytes(TYPES.serialize_cdr(message, KIND))


def fill(writer: BagWriter, count: int, size: int = 50_000) -> None:
    for number in range(count):
        writer.write(TOPIC, START_NS + number * PERIOD_NS, blob(number, size))


def read(path: Path) -> tuple[list[bytes], Bag]:
    bag = Bag(path)
    return [bytes(message.data) for message, _ in bag.scan(lambda topic, kind: True)], bag


def files(bag: Path) -> list[str]:
    return sorted(path.name for path in bag.iterdir())


# The writer.

def test_what_is_written_is_read_by_us_and_by_rosbags(tmp_path):
    found = list(recording(10))
    writer = BagWriter(
        tmp_path / 'bag', {topic: m.__msgtype__ for topic, _, m in found}, Limits())
    sent = [(topic, at_ns, bytes(TYPES.serialize_cdr(m, m.__msgtype__)))
            for topic, at_ns, m in found]
    for topic, at_ns, data in sent:
        writer.write(topic, at_ns, data)
    writer.note(answer='42')
    writer.close()
    bag = Bag(tmp_path / 'bag')
    assert [(m.topic, m.time_ns, m.data) for m, _ in bag.scan(lambda topic, kind: True)] == sent
    assert bag.problems == [] and not bag.truncated and bag.custom_data == {'answer': '42'}
    with AnyReader([tmp_path / 'bag']) as reader:
        assert reader.message_count == len(sent)
        assert [(c.topic, at_ns, d) for c, at_ns, d in reader.messages()] == sent
        assert reader.duration == sent[-1][1] - sent[0][1] + 1


@pytest.mark.parametrize('limits, pieces', [
    (Limits(split_bytes=500_000), 7), (Limits(split_duration_ns=10 * PERIOD_NS), 6),
    (Limits(), 1)])
def test_splitting_loses_nothing(tmp_path, limits, pieces):
    writer = BagWriter(tmp_path / 'bag', {TOPIC: KIND}, limits)
    fill(writer, 60)
    writer.close()
    names = [f'bag_{number}.mcap' for number in range(pieces)]
    assert files(tmp_path / 'bag') == [*names, 'metadata.yaml']
    for name in names if limits.split_bytes else ():
        assert (tmp_path / 'bag' / name).stat().st_size < 1.1 * limits.split_bytes
    assert read(tmp_path / 'bag')[0] == [blob(number, 50_000) for number in range(60)]
    with AnyReader([tmp_path / 'bag']) as reader:
        assert reader.message_count == 60
    metadata = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())
    about = metadata['rosbag2_bagfile_information']
    assert about['relative_file_paths'] == names
    assert sum(file['message_count'] for file in about['files']) == about['message_count'] == 60


@pytest.mark.parametrize('limits, least, most', [
    (Limits(bytes=1_000_000), 17, 20), (Limits(duration_ns=10 * PERIOD_NS), 11, 11),
    (Limits(bytes=1_000_000, split_bytes=300_000), 16, 20)])
def test_a_limit_ends_the_recording_in_order(tmp_path, limits, least, most):
    writer = BagWriter(tmp_path / 'bag', {TOPIC: KIND}, limits)
    fill(writer, 40)
    assert not writer.open
    found, bag = read(tmp_path / 'bag')
    assert least <= len(found) <= most and not bag.truncated and bag.problems == []
    if limits.bytes:
        assert sum(f.stat().st_size for f in (tmp_path / 'bag').iterdir()) < 1.1 * limits.bytes


def test_versions_name_what_a_recording_depends_on():
    found = versions()
    assert {'hand_imitation', 'python', 'numpy', 'rosbags'} <= set(found)


def writing(folder: Path, program: str) -> subprocess.Popen:
    """Run a program that has a `writer` and `fill`, in a process of its own."""
    head = (
        'import os, sys, time\n'
        f'sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(ROOT)!r}]\n'
        'from pathlib import Path\n'
        'from test_recorder import *\n'
        f'writer = BagWriter(Path({str(folder)!r}), {{TOPIC: KIND}}, Limits())\n')
    return subprocess.Popen(
        [sys.executable, '-c', head + program], stdout=subprocess.PIPE, text=True)


def test_a_killed_recording_is_read_up_to_its_last_moment(tmp_path):
    with writing(tmp_path / 'bag', (
            "writer.note(answer='42')\nfill(writer, 64)\nwriter.flush()\n"
            "print('there', flush=True)\ntime.sleep(60)\n")) as process:
        assert process.stdout.readline() == 'there\n'
        process.kill()
    found, bag = read(tmp_path / 'bag')
    assert bag.truncated and bag.custom_data == {'answer': '42'}
    # The last chunk was in memory only.
    assert 64 - 256 * 1024 // 50_000 - 1 <= len(found) < 64
    assert found == [blob(number, 50_000) for number in range(len(found))]


def test_a_full_disk_ends_the_recording_and_keeps_what_is_there(tmp_path):
    """A limit on the size of files stands in for the end of the disk."""
    program = (
        'resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n'
        'try:\n'
        '    fill(writer, 60)\n'
        'except OSError as error:\n'
        '    print(error.errno > 0, writer.open, flush=True)\n'
        'fill(writer, 5)\n'  # nothing happens any more
        'writer.close()\n')
    with writing(tmp_path / 'bag', program) as process:
        assert process.stdout.read() == 'True False\n'
    assert process.returncode == 0
    found, bag = read(tmp_path / 'bag')
    assert bag.truncated and 12 <= len(found) <= 20
    assert found == [blob(number, 50_000) for number in range(len(found))]


def test_memory_does_not_grow_with_the_recording(tmp_path):
    program = (
        'peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
        'data = blob(0, 500_000)\n'
        'def many(first, last):\n'
        '    for number in range(first, last):\n'
        '        writer.write(TOPIC, START_NS + number * PERIOD_NS, data)\n'
        'many(0, 50)\nbefore = peak()\nmany(50, 400)\nwriter.close()\n'
        'print(peak() - before)\n')
    with writing(tmp_path / 'bag', program) as process:
        grown_kb = int(process.stdout.read())
    assert (tmp_path / 'bag' / 'bag_0.mcap').stat().st_size > 150_000_000
    assert grown_kb < 20_000


# The node.

@pytest.fixture
def graph(tmp_path):
    pytest.importorskip('rclpy')
    from graph_rig import Graph

    with contextlib.closing(Graph(tmp_path, namespace='bench')) as graph:
        yield graph


def test_the_node_notes_parameters_and_versions_and_splits(graph, tmp_path):
    from graph_rig import end

    out = tmp_path / 'recording'
    recorder = graph.start('recorder', out=str(out), split_duration_s=2.0)
    graph.start('commander', side='left', safety={'rate_hz': 50.0})
    graph.wait_report('commander', 'waiting')

    def noted() -> dict:
        return recorded_parameters(Bag(out / 'bag'))

    end_s = time.monotonic() + 60.0
    while 'commander' not in noted() and time.monotonic() < end_s:
        time.sleep(0.2)
    assert noted()['commander']['side'] == 'left'
    assert noted()['commander']['safety.rate_hz'] == 50.0
    time.sleep(2.5)
    assert end(recorder, signal.SIGINT) == 0
    bag = Bag(out / 'bag')
    kinds = {m.topic: decoded(m) for m, _ in bag.scan(lambda topic, kind: True)}
    assert '/diagnostics' in kinds and not bag.truncated
    assert len(list((out / 'bag').glob('*.mcap'))) >= 2
    assert json.loads(bag.custom_data['versions'])['python']
    assert bag.topics['/bench/joint_states'] == 'sensor_msgs/msg/JointState'


def test_the_node_lives_on_where_the_disk_is_full(graph, tmp_path):
    from sensor_msgs.msg import CompressedImage

    out = tmp_path / 'recording'
    recorder = graph.start('recorder', out=str(out))
    graph.wait_report('recorder', 'recording to')
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (4_000, 4_000))
    # What is written at the start may have come before the limit: more must come after it.
    publisher = graph.node.create_publisher(CompressedImage, f'/bench{TOPIC}', 10)
    end_s = time.monotonic() + 30.0
    while not any('cannot write' in report.message for report in graph.reports('recorder')
                  ) and time.monotonic() < end_s:
        publisher.publish(CompressedImage(format='jpeg', data=bytes(100_000)))
        time.sleep(0.1)
    report = graph.wait_report('recorder', 'cannot write')
    assert 'what was written can be replayed' in report.message
    assert graph.is_running('recorder')
    assert Bag(out / 'bag').custom_data['hand_imitation_version']


def test_the_node_ends_at_its_limit_if_asked_to(graph, tmp_path):
    recorder = graph.start(
        'recorder', out=str(tmp_path / 'recording'), max_duration_s=2.0, end_at_limit=True)
    assert recorder.wait(60.0) == 0
    assert not read(tmp_path / 'recording' / 'bag')[1].truncated


# The command.

def run_record(environment: dict, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, '-m', 'hand_imitation', 'record', *map(str, arguments)], text=True,
        capture_output=True, env=environment, timeout=120)
    assert 'Traceback' not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def environment(tmp_path):
    import os

    pytest.importorskip('rclpy')
    from graph_rig import ros_environment

    return {**os.environ, **ros_environment(tmp_path)}


def test_the_command_records_a_camera_that_replay_takes(environment, tmp_path):
    code, out, _ = run_record(
        environment, '--source', 'sample', '--duration', '2', '--json', '--out', tmp_path / 'a')
    summary = json.loads(out)
    assert code == 0 and summary['pictures'] > 30 and not summary['truncated']
    bag = Bag(Path(summary['bag']))
    assert recorded_parameters(bag)['camera']['source'] == 'sample'
    from hand_imitation.evaluation.replay import ReplayOptions, replay_bag

    replayed = replay_bag(bag.path, ReplayOptions(landmarks='recorded'))
    assert replayed.runs[0].tracked.mean() > 0.8
    # Markers tell where the hand lies in the picture.
    assert np.isfinite(replayed.runs[0].landmarks[replayed.runs[0].tracked]).mean() > 0.9


def test_recording_nothing_is_refused(environment, tmp_path):
    code, out, err = run_record(environment, '--duration', '1', '--out', tmp_path / 'a')
    assert code == 2 and out == '' and 'nothing was published' in err
    assert not (tmp_path / 'a').exists()
    write_bag(tmp_path / 'b' / 'bag', pictures(1))
    code, _, err = run_record(environment, '--out', tmp_path / 'b')
    assert code == 2 and 'holds other things' in err
