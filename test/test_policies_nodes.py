"""A policy that looks for hands itself in the running graph: MediaPipe is never even imported."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('torch')
pytest.importorskip('pybullet')

from geometry_msgs.msg import PoseArray  # noqa: E402
from graph_rig import Graph, ros_environment, seconds, wait_until  # noqa: E402
from hand_pictures import sample_scene  # noqa: E402
from sensor_msgs.msg import Image, TimeReference  # noqa: E402
from visualization_msgs.msg import MarkerArray  # noqa: E402

from hand_imitation.nodes import topics  # noqa: E402
from hand_imitation.nodes.messages import image_message  # noqa: E402
from hand_imitation.policy.sight import read_sight  # noqa: E402

POLICY = 'pixels'
MS = 1_000_000


@pytest.fixture
def no_mediapipe(tmp_path, monkeypatch):
    """Every process started from here fails where it imports MediaPipe."""
    folder = tmp_path / 'shadow'
    folder.mkdir()
    (folder / 'mediapipe.py').write_text("raise ImportError('MediaPipe must not be imported')")
    before = os.environ.get('PYTHONPATH')
    monkeypatch.setenv(
        'PYTHONPATH', os.pathsep.join(filter(None, [str(folder), before])))


@pytest.fixture
def graph(tmp_path, no_mediapipe):
    graph = Graph(tmp_path, prefix='a_')
    yield graph
    graph.close()


def test_the_node_goes_by_pictures_alone(graph):
    """A hand, then darkness: targets and words for the one, words alone for the other."""
    for kind, topic in ((PoseArray, topics.LANDMARKS), (MarkerArray, topics.MARKERS),
                        (TimeReference, topics.LATENCY)):
        graph.listen(kind, topic)
    graph.start('policy', policy=POLICY, prefix='a_')
    images = graph.node.create_publisher(Image, topics.IMAGE, topics.QOS[topics.IMAGE])
    wait_until(images.get_subscription_count, 'subscription to pictures')
    scene = sample_scene()
    hand, dark = scene.closing[0], np.zeros_like(scene.closing[0])
    stamps: dict[int, bool] = {}

    def show(picture: np.ndarray, is_hand: bool, answers: int) -> None:
        def answered() -> bool:
            stamp = graph.node.get_clock().now().to_msg()
            stamps[stamp.sec * 1000 * MS + stamp.nanosec] = is_hand
            images.publish(image_message(picture, stamp, topics.CAMERA_FRAME))
            return len(graph.heard(topics.MARKERS)) >= answers

        wait_until(answered, f'{answers} answers to pictures')

    show(hand, True, 5)
    graph.wait_report('policy', 'following')
    show(dark, False, len(graph.heard(topics.MARKERS)) + 5)
    report = graph.wait_report('policy', 'no hand seen')
    assert report.values['policy'] == POLICY and 'forearm' not in report.values

    def stamp_of(header) -> int:
        return header.stamp.sec * 1000 * MS + header.stamp.nanosec

    told = {stamp_of(heard.message.markers[0].header): read_sight(heard.message.markers[0].text)
            for heard in graph.heard(topics.MARKERS)}
    wanted = {stamp_of(heard.message.header): heard.message
              for heard in graph.heard(topics.POLICY_TRAJECTORY)}
    assert all(seen is not None for seen in told.values())
    assert {stamps[ns] for ns in told} == {True, False}
    for ns, (detected, thumb_side) in told.items():
        assert detected == stamps[ns] == (thumb_side in (1.0, -1.0)) == (ns in wanted)
    for message in wanted.values():
        assert all(name.startswith('a_') for name in message.joint_names)
    landmarks = graph.heard(topics.LANDMARKS)
    assert len(landmarks) >= len(told) and not any(heard.message.poses for heard in landmarks)
    stages = {heard.message.source for heard in graph.heard(topics.LATENCY)}
    assert stages == {'perception', 'policy'}
    for heard in graph.heard(topics.LATENCY):
        assert seconds(heard.message.header.stamp) >= seconds(heard.message.time_ref)


def test_sim_with_it_from_end_to_end(tmp_path, no_mediapipe):
    """Frames with a hand, latencies, errors, video and bag are there as with any policy."""
    out = tmp_path / 'out'
    done = subprocess.run(
        [sys.executable, '-m', 'hand_imitation', 'sim', '--source', 'sample', '--headless',
         '--duration', '4', '--policy', POLICY, '--out', str(out), '--json'],
        capture_output=True, text=True, timeout=200,
        env={**os.environ, **ros_environment(tmp_path)})
    assert done.returncode == 0 and 'Traceback' not in done.stderr, done.stderr
    summary = json.loads(done.stdout)
    assert summary['policy'] == POLICY and summary['limit_violations'] == 0
    # A busy machine passes pictures over; in those looked at there is a hand.
    looked_at = summary['frames'] - summary['frames_dropped']
    assert summary['frames_tracked'] > max(10, 0.7 * looked_at)
    assert summary['latency_ms']['end_to_end']['p50'] > 0.0
    assert summary['joint_error_deg']['mean'] < 45.0
    assert (out / 'side_by_side.mp4').stat().st_size > 10_000
