"""A bag through the real nodes: `--mode ros`, the `replayer` node, and launch/replay.launch.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')
pytest.importorskip('mediapipe')

from bag_rig import TABLE, frame_ns, pictures, recording, write_bag  # noqa: E402
from graph_rig import Graph, ros_environment, seconds  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import Image, JointState  # noqa: E402

from hand_imitation.evaluation.bag import Bag  # noqa: E402
from hand_imitation.nodes import topics  # noqa: E402

COUNT = 60


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp('bags') / 'bag', recording(COUNT))


@pytest.fixture
def graph(tmp_path):
    graph = Graph(tmp_path, namespace='bench', prefix='a_')
    yield graph
    graph.close()


def run(environment: dict, *arguments) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, '-m', 'hand_imitation', 'replay', *map(str, arguments), '--mode', 'ros'],
        capture_output=True, text=True, env=environment, timeout=150)
    assert 'Traceback' not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_the_node_plays_what_was_recorded_at_its_time(graph, bag):
    graph.listen(Image, topics.IMAGE, qos_profile=topics.deep(topics.IMAGE, 100))
    graph.listen(JointState, topics.TRUTH_JOINT_STATES)
    graph.listen(Clock, topics.CLOCK)
    replayer = graph.start(
        'replayer', bag=str(bag), arm=True, prefix='a_', start_s=0.5, end_s=1.5,
        wait_for='camera/image_raw joint_states truth/joint_states')
    assert replayer.wait(60.0) == 0
    wanted = [frame_ns(n) for n in range(15, 46)]
    heard = graph.heard(topics.IMAGE)
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for _, m in heard]
    assert set(stamps) <= set(wanted) and len(stamps) > 25
    lasted_s = heard[-1].time_s - heard[0].time_s
    assert lasted_s == pytest.approx((stamps[-1] - stamps[0]) * 1e-9, abs=0.2)
    truths = graph.heard(topics.TRUTH_JOINT_STATES)
    assert len(truths) == len(wanted) and truths[0].message.name == list(TABLE.names)
    times, positions = graph.measured()
    assert len(times) > 100 and np.isfinite(positions).all()
    clock_s = [seconds(m.clock) for _, m in graph.heard(topics.CLOCK)]
    assert clock_s == sorted(clock_s)
    assert clock_s[0] == pytest.approx(wanted[0] * 1e-9 - 1.0, abs=1e-3)
    assert clock_s[-1] > wanted[-1] * 1e-9


@pytest.mark.parametrize('parameters, told', [
    ({}, "needs 'bag'"), ({'bag': '/nowhere'}, "no bag '/nowhere'")])
def test_a_bad_bag_ends_the_node(graph, parameters, told):
    assert graph.start('replayer', **parameters).wait(60.0) == 2
    assert told in graph.log_path('replayer').read_text()


def test_the_command_scores_what_the_real_nodes_did(tmp_path, bag):
    environment = {**os.environ, **ros_environment(tmp_path)}
    code, out, err = run(
        environment, bag, '--simulate', '--policy', 'geometric', '--policy', 'recorded',
        '--json', '--out', tmp_path / 'out')
    assert code == 0, err
    document = json.loads(out)
    geometric, told = (document['policies'][name] for name in ('geometric', 'recorded'))
    assert document['bags'][0]['frames'] == COUNT
    assert geometric['tracking']['tracked_share'] > 0.8
    assert geometric['limit_violations'] == 0
    # The recorded targets are the truth itself; perception cannot be as good, nor far off.
    assert told['estimate_error_deg']['mean'] < 0.1
    assert 1.0 < geometric['estimate_error_deg']['mean'] < 20.0
    assert geometric['rates_hz']['commands'] > 80.0
    timing = json.loads((tmp_path / 'out' / 'timing.json').read_text())
    assert timing['mode'] == 'ros' and timing['times_real_time'] < 1.0
    latency = timing['bags']['bag']['latency_ms']['geometric']
    assert latency['end_to_end']['p50'] > 0.0


def test_without_an_arm_the_command_says_so(tmp_path):
    alone = write_bag(tmp_path / 'bag', pictures(10))
    environment = {**os.environ, **ros_environment(tmp_path)}
    code, out, err = run(environment, alone, '--out', tmp_path / 'out')
    assert code == 2 and out == '' and 'holds no joint states of an arm: simulate one' in err
    assert not (tmp_path / 'out').exists()


def test_ros2_launch_replays_and_records(bag, request):
    pytest.importorskip('launch_ros')
    pytest.importorskip('ros2launch')
    pytest.importorskip('colcon_core')
    pytest.importorskip('psutil')
    from launch_rig import Launched

    workspace = request.getfixturevalue('workspace')
    out = Path(workspace) / 'replayed'
    arguments = [f'bag:={bag}', 'record:=true', f'out:={out}', 'namespace:=bench']
    with Launched(workspace, 'replay.launch.py', *arguments) as launched:
        assert launched.process.wait(120) == 0, launched.text()
        text = launched.text()
        assert launched.left_over() == []
    assert 'Traceback' not in text
    with Bag(out / 'bag') as recorded:
        found = list(recorded.scan(lambda topic, kind: topic == '/bench/policy/joint_trajectory'))
    assert not recorded.truncated and len(found) > COUNT // 2
    assert recorded.topics['/bench/joint_states'] == 'sensor_msgs/msg/JointState'


def test_arguments_of_the_launch_file_are_described(request):
    for module in ('launch_ros', 'ros2launch', 'colcon_core', 'psutil'):
        pytest.importorskip(module)
    from launch_rig import Launched

    with Launched(request.getfixturevalue('workspace'), 'replay.launch.py', '-s') as launched:
        assert launched.process.wait(60) == 0
        text = launched.text()
    for argument in ('bag', 'simulate', 'topics', 'policy', 'record', 'out', 'use_sim_time'):
        assert f"'{argument}':\n" in text
    assert 'no description given' not in text
