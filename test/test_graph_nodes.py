"""Each node as a process of its own: life cycle, parameters, signals, exit codes."""

import re
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip('rclpy')

from graph_rig import (  # noqa: E402
    SLACK_S,
    Graph,
    end,
    ros_environment,
    shared_memory_of,
    start_node,
    wait_until,
)
from hand_pictures import sample_scene, write_clip  # noqa: E402
from lifecycle_msgs.msg import State, Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from trajectory_msgs.msg import JointTrajectory  # noqa: E402

from hand_imitation.nodes import topics  # noqa: E402

NODES = ('camera', 'policy', 'commander', 'sim_bridge', 'recorder')


@pytest.fixture
def graph(tmp_path):
    graph = Graph(tmp_path)
    yield graph
    graph.close()


@pytest.fixture
def environment(tmp_path, monkeypatch):
    for key, value in ros_environment(tmp_path).items():
        monkeypatch.setenv(key, value)


# The camera's life cycle


def change(graph: Graph, transition: int) -> bool:
    """Ask the camera for a transition; tells whether it was made."""
    request = ChangeState.Request(transition=Transition(id=transition))
    return graph.call(ChangeState, 'camera/change_state', request).success


def state(graph: Graph) -> int:
    return graph.call(GetState, 'camera/get_state').current_state.id


def has_pictures(graph: Graph, since_s: float) -> bool:
    return bool(graph.heard(topics.IMAGE, since_s))


def test_camera_waits_for_its_manager(graph, tmp_path):
    clip = tmp_path / 'hand.mp4'
    write_clip(clip, sample_scene().closing)
    graph.listen(Image, topics.IMAGE)
    graph.start('camera', source=str(clip), loop=True, autostart=False, wait_for='')
    assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED
    for _ in range(2):  # a life after a life
        assert change(graph, Transition.TRANSITION_CONFIGURE)
        assert state(graph) == State.PRIMARY_STATE_INACTIVE
        inactive_s = time.time()
        time.sleep(0.5)
        assert not has_pictures(graph, inactive_s)
        assert change(graph, Transition.TRANSITION_ACTIVATE)
        assert state(graph) == State.PRIMARY_STATE_ACTIVE
        wait_until(lambda since_s=inactive_s: has_pictures(graph, since_s), 'picture')
        assert change(graph, Transition.TRANSITION_DEACTIVATE)
        assert state(graph) == State.PRIMARY_STATE_INACTIVE
        time.sleep(0.5)  # what is on its way
        inactive_s = time.time()
        time.sleep(0.5)
        assert not has_pictures(graph, inactive_s)
        assert change(graph, Transition.TRANSITION_CLEANUP)
        assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED


def test_camera_that_cannot_be_configured_lives_on(graph):
    graph.start('camera', source='/nowhere.mp4', autostart=False)
    for _ in range(2):
        assert not change(graph, Transition.TRANSITION_CONFIGURE)
        assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED
    graph.wait_report('camera', "no such source '/nowhere.mp4'")
    assert graph.is_running('camera')
    assert 'Traceback' not in graph.logs()


def test_compressed_picture_that_claims_to_be_huge(graph):
    """A few hundred bytes, which to decode would take gigabytes."""
    small = bytearray(cv2.imencode('.jpg', np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    size = small.find(b'\xff\xc0') + 5  # in the start of frame: height and width
    small[size:size + 4] = (30000).to_bytes(2, 'big') * 2
    camera = graph.start('camera', source='topic:/eye/compressed')
    publisher = graph.node.create_publisher(
        CompressedImage, '/eye/compressed', topics.QOS[topics.IMAGE])
    message = CompressedImage(format='jpeg', data=bytes(small))
    graph.wait_report('camera', '')
    timer = graph.node.create_timer(0.2, lambda: publisher.publish(message))
    graph.wait_report('camera', 'refused an image')
    timer.cancel()
    peak_kb, = re.findall(r'VmHWM:\s+(\d+) kB', Path(f'/proc/{camera.pid}/status').read_text())
    assert int(peak_kb) < 1_000_000
    assert graph.is_running('camera')


# Mistakes of the user


@pytest.fixture
def broken_sources(tmp_path) -> dict[str, str]:
    """Sources that cannot be opened, by a part of what must be said of them."""
    text, folder, image = tmp_path / 'text.mp4', tmp_path / 'empty', tmp_path / 'half' / 'a.png'
    text.write_text('this is no video\n')
    folder.mkdir()
    image.parent.mkdir()
    image.write_bytes(b'\x89PNG\r\n')
    return {
        'no such source': '/nowhere.mp4', 'is not a video': str(text),
        'no images in folder': str(folder), 'cannot be read as an image': str(image.parent),
        "no camera '/dev/video97'": '97'}


def refusals(tmp_path: Path, cases: list[tuple[str, dict]]) -> list[str]:
    """Start nodes with parameters they must refuse; returns the one line each one said."""
    started = []
    for number, (node, parameters) in enumerate(cases):
        path, log = tmp_path / f'{number}.yaml', tmp_path / f'{number}.log'
        path.write_text(yaml.safe_dump({f'/**/{node}': {'ros__parameters': parameters}}))
        started.append((start_node(node, '--params-file', str(path), log=log), log))
    lines = []
    for process, log in started:
        try:
            code = process.wait(60.0)
        finally:
            process.kill()
            process.wait()
        line, = log.read_text().splitlines()
        assert code == 2, line
        lines.append(line)
    return lines


def test_bad_source_ends_the_camera(environment, tmp_path, broken_sources):
    cases = [('camera', {'source': source}) for source in broken_sources.values()]
    for line, told in zip(refusals(tmp_path, cases), broken_sources, strict=True):
        assert line.startswith('error: ')
        assert told in line


def test_bad_parameters_end_the_node(environment, tmp_path):
    cases = [
        ('camera', {'sorce': 'sample'}, "did you mean 'source'?"),
        ('camera', {'jpeg_quality': 101}, 'from 1 to 100'),
        ('policy', {'perception': {'hand': 1}}, "did you mean 'perception.hands'?"),
        ('policy', {'side': 'middle'}, 'one of left, right'),
        ('commander', {'safety': {'rate': 100.0}}, "did you mean 'safety.rate_hz'?"),
        ('commander', {'safety': {'input_timeout_s': 60.0}}, 'from 0.02 to 2.0 [s]'),
        ('sim_bridge', {'gooey': True}, "did you mean 'gui'?"),
        ('sim_bridge', {'state_rate_hz': 'fast'}, 'from 1.0 to 240.0 [Hz]'),
        ('recorder', {}, "needs 'out'"),
    ]
    lines = refusals(tmp_path, [(node, parameters) for node, parameters, _ in cases])
    for line, (node, _, told) in zip(lines, cases, strict=True):
        assert line.startswith('error: ')
        assert node in line
        assert told in line


# Signals


def assert_clean(log: str) -> None:
    assert not re.search(r'Traceback|Exception|terminate called', log), log


@pytest.mark.parametrize('names', [NODES, ('pipeline',)], ids=['apart', 'together'])
@pytest.mark.parametrize('signals', [
    [signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM]],
    ids=['Ctrl-C', 'Ctrl-C twice', 'SIGTERM'])
def test_every_node_ends_in_order(graph, tmp_path, names, signals):
    recorder = {'out': str(tmp_path / 'recording')}
    processes = {
        name: graph.start(name, **(recorder if name == 'recorder' else {})) for name in names}
    for name in ('camera', 'policy') if names == ('pipeline',) else names:
        graph.wait_report(name, '')
    memory = [lock for process in processes.values() for lock in shared_memory_of(process)]
    assert memory
    for number in signals:
        for process in processes.values():
            process.send_signal(number)
        time.sleep(0.02)
    codes = {name: process.wait(30.0) for name, process in processes.items()}
    assert codes == dict.fromkeys(names, 0)
    assert_clean(graph.logs())
    assert [lock for lock in memory if lock.exists()] == []
    if 'recorder' in names:
        assert (tmp_path / 'recording' / 'bag' / 'metadata.yaml').stat().st_size > 0


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=['Ctrl-C', 'SIGTERM'])
def test_a_signal_while_a_node_is_being_imported(environment, tmp_path, number):
    for name in NODES:
        log = tmp_path / f'{name}.log'
        process = start_node(name, log=log, as_executable=True)
        maps = Path(f'/proc/{process.pid}/maps')
        wait_until(lambda maps=maps: 'numpy' in maps.read_text(), 'import')
        assert end(process, number) == 0, name
        assert_clean(log.read_text())


# Strangers on our topics


def test_a_publisher_with_an_incompatible_quality_of_service_is_named(graph):
    """No message of it would ever come, so the node must say so: within 2 s, once it is seen."""
    graph.start('commander')
    wait_until(lambda: 'commander' in graph.node.get_node_names(), 'commander')
    publisher = graph.node.create_publisher(
        JointTrajectory, topics.POLICY_TRAJECTORY, topics.QOS[topics.IMAGE])
    seen_s = time.monotonic()
    wait_until(lambda: 'incompatible QoS' in graph.logs(), 'word about it', 2.0 + SLACK_S)
    assert 'policy/joint_trajectory' in graph.logs(), time.monotonic() - seen_s
    graph.node.destroy_publisher(publisher)
