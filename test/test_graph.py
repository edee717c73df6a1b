"""The running graph on a short clip: real nodes in processes of their own, over real DDS."""

import struct
import time

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseArray  # noqa: E402
from graph_rig import (  # noqa: E402
    SAFETY,
    TABLE,
    Graph,
    seconds,
    wait_until,
)
from hand_pictures import (  # noqa: E402
    FINGERS,
    RATE_HZ,
    sample_scene,
    write_clip,
    write_truth,
)
from rcl_interfaces.msg import ParameterType  # noqa: E402
from rcl_interfaces.srv import DescribeParameters  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import (  # noqa: E402
    CameraInfo,
    CompressedImage,
    Image,
    JointState,
    TimeReference,
)
from std_msgs.msg import Empty  # noqa: E402
from visualization_msgs.msg import MarkerArray  # noqa: E402

from hand_imitation.node_parameters import CameraParameters  # noqa: E402
from hand_imitation.nodes import topics  # noqa: E402
from hand_imitation.nodes.camera import ENDED  # noqa: E402

ARM_NODES = ('sim_bridge', 'commander', 'policy')
CURLED = [TABLE.index(f'{finger}_{part}') for finger in FINGERS for part in ('proximal', 'distal')]
BEST_EFFORT, RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
# The table of topics that other programs rely on: type, reliability and depth.
CONTRACT = {
    'camera/image_raw': ('sensor_msgs/msg/Image', BEST_EFFORT, 1),
    'camera/image_raw/compressed': ('sensor_msgs/msg/CompressedImage', BEST_EFFORT, 1),
    'camera/camera_info': ('sensor_msgs/msg/CameraInfo', BEST_EFFORT, None),
    'hand/landmarks': ('geometry_msgs/msg/PoseArray', RELIABLE, 5),
    'hand/markers': ('visualization_msgs/msg/MarkerArray', RELIABLE, 5),
    'policy/joint_trajectory': ('trajectory_msgs/msg/JointTrajectory', RELIABLE, 1),
    'joint_trajectory': ('trajectory_msgs/msg/JointTrajectory', RELIABLE, 1),
    'joint_states': ('sensor_msgs/msg/JointState', RELIABLE, 10),
    'truth/joint_states': ('sensor_msgs/msg/JointState', RELIABLE, 10),
    'arm_camera/image_raw': ('sensor_msgs/msg/Image', BEST_EFFORT, 1),
    'arm_camera/image_raw/compressed': ('sensor_msgs/msg/CompressedImage', BEST_EFFORT, 1),
    'latency': ('sensor_msgs/msg/TimeReference', RELIABLE, 50),
    '/diagnostics': ('diagnostic_msgs/msg/DiagnosticArray', RELIABLE, None),
}


def play(graph: Graph, clip, arm: dict, camera: dict) -> None:
    """Run the whole graph until a clip has ended and the arm stands still."""
    for name in ARM_NODES:
        graph.start(name, **arm)
    graph.wait_report('policy', '')  # it lives
    watch(graph, clip, wait_for=f'{CameraParameters().wait_for} go', **camera)
    graph.wait_report('commander', 'holding')


def watch(graph: Graph, clip, **camera) -> None:
    """Play a clip to its end, from when the listener is ready too."""
    graph.start('camera', source=str(clip), **camera)
    graph.wait_report('camera', 'waiting for')
    wait_until(lambda: graph.node.count_publishers(topics.IMAGE), 'camera')
    time.sleep(1.0)  # both sides must have found each other
    graph.listen(Empty, 'go', qos_profile=QoSProfile(depth=1))
    graph.wait_report('camera', ENDED)
    time.sleep(1.0)  # what is on its way


# The whole graph, with every topic listened to


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """A hand that rests, closes, opens and closes; with its truth."""
    scene = sample_scene()
    closing = list(range(len(scene.closing)))
    opened, closed = closing[:1] * 45, closing[-1:] * 45  # long, for an arm on a busy machine
    order = opened + closing + closed + closing[::-1] + opened + closing + closed
    path = tmp_path_factory.mktemp('clip') / 'hand.mp4'
    write_clip(path, (scene.closing[i] for i in order))
    write_truth(path, scene.joints, scene.truth_rad[order])
    return path, scene.truth_rad[order]


@pytest.fixture(scope='module')
def graph(tmp_path_factory, clip):
    graph = Graph(tmp_path_factory.mktemp('graph'))
    try:
        for kind, topic in (
            (Image, topics.IMAGE), (CompressedImage, topics.IMAGE_COMPRESSED),
            (CameraInfo, topics.CAMERA_INFO), (PoseArray, topics.LANDMARKS),
            (MarkerArray, topics.MARKERS), (JointState, topics.TRUTH_JOINT_STATES),
            (Image, topics.ARM_IMAGE), (CompressedImage, topics.ARM_IMAGE_COMPRESSED),
            (TimeReference, topics.LATENCY),
        ):
            graph.listen(kind, topic)
        play(graph, clip[0], {}, {})
        yield graph
    finally:
        graph.close()


def stamps(graph: Graph, topic: str) -> list[float]:
    return [seconds(heard.message.header.stamp) for heard in graph.heard(topic)]


def test_topics_are_those_of_the_contract(graph):
    for topic, (kind, reliability, depth) in CONTRACT.items():
        publishers = graph.node.get_publishers_info_by_topic(topic)
        assert publishers, topic
        for info in publishers:
            assert info.topic_type == kind
            assert info.qos_profile.reliability == reliability, topic
            # Depth 0 is what a middleware says that does not tell.
            assert info.qos_profile.depth in (depth, 0) or depth is None, topic


def test_one_publisher_where_there_must_be_one(graph):
    for topic in ('camera/image_raw', 'policy/joint_trajectory', 'joint_trajectory',
                  'joint_states', 'arm_camera/image_raw'):
        assert len(graph.node.get_publishers_info_by_topic(topic)) == 1


def test_every_picture_comes_once_with_its_truth(graph, clip):
    truth = clip[1]
    frames = stamps(graph, topics.IMAGE)
    assert len(frames) == len(truth)
    assert np.diff(frames).min() > 0.0
    assert stamps(graph, topics.TRUTH_JOINT_STATES) == frames
    assert stamps(graph, topics.CAMERA_INFO) == frames
    told = [heard.message.position for heard in graph.heard(topics.TRUTH_JOINT_STATES)]
    assert np.allclose(told, truth)
    picture = graph.heard(topics.IMAGE)[0].message
    info = graph.heard(topics.CAMERA_INFO)[0].message
    assert (picture.width, picture.height) == (info.width, info.height) == (640, 360)
    assert picture.header.frame_id == info.header.frame_id == topics.CAMERA_FRAME


def test_hand_is_seen(graph):
    heard = [message for _, message in graph.heard(topics.LANDMARKS)]
    counts = [len(message.poses) for message in heard]
    assert set(counts) <= {0, 21}
    assert counts.count(21) > 0.9 * len(counts)
    assert {seconds(message.header.stamp) for message in heard} <= set(stamps(graph, topics.IMAGE))
    points = np.array([[(p.position.x, p.position.y, p.position.z) for p in message.poses]
                       for message in heard if message.poses])
    spans = np.linalg.norm(np.ptp(points, axis=1), axis=-1)
    assert (spans > 0.03).all() and (spans < 0.4).all()  # a hand, in metres


def test_targets_carry_the_stamps_of_their_frames(graph):
    targets = stamps(graph, topics.POLICY_TRAJECTORY)
    assert len(targets) > 10
    assert set(targets) <= set(stamps(graph, topics.IMAGE))
    assert np.diff(targets).min() > 0.0


def test_commands_are_as_a_trajectory_controller_takes_them(graph):
    for _, message in graph.heard(topics.JOINT_TRAJECTORY):
        assert tuple(message.joint_names) == TABLE.names
        assert seconds(message.header.stamp) == 0.0
        point, = message.points
        assert len(point.positions) == len(TABLE)
        assert not (point.velocities or point.accelerations or point.effort)
        assert seconds_of(point.time_from_start) == pytest.approx(1.0 / SAFETY.rate_hz)
    commands = graph.commands()[1]
    assert (commands >= TABLE.lower_rad).all() and (commands <= TABLE.upper_rad).all()


def seconds_of(duration) -> float:
    return duration.sec + duration.nanosec * 1e-9


def test_arm_does_what_the_hand_does(graph):
    """Open, closed, open and closed again, and in the end where it is commanded to be."""
    measured = graph.measured()[1]
    curl = measured[:, CURLED].sum(axis=1)
    phases = curl[(curl < 4.0) | (curl > 8.0)] > 8.0
    changes = phases[np.flatnonzero(np.diff(phases.astype(int), prepend=-1))]
    assert list(changes) == [False, True, False, True]
    assert np.abs(measured[-1] - graph.commands()[1][-1]).max() < 0.1


def test_latency_tells_of_every_stage(graph):
    """Every frame can be followed from stage to stage, in the order of the stages."""
    finished: dict[str, dict[float, float]] = {}
    for _, message in graph.heard(topics.LATENCY):
        stage = finished.setdefault(message.source, {})
        frame_s = seconds(message.time_ref)
        assert frame_s not in stage, f'{message.source} twice'
        stage[frame_s] = seconds(message.header.stamp)
    assert set(finished) == {'camera', 'perception', 'policy', 'command'}
    frames = set(stamps(graph, topics.IMAGE))
    assert set(finished['camera']) == frames
    assert set(finished['perception']) == set(finished['policy']) <= frames
    assert set(finished['command']) <= set(stamps(graph, topics.POLICY_TRAJECTORY))
    assert len(finished['command']) > 10
    for frame_s, done_s in finished['command'].items():
        assert frame_s <= finished['perception'][frame_s] <= finished['policy'][frame_s] <= done_s


def test_arm_camera_shows_the_arm(graph):
    heard = [message for _, message in graph.heard(topics.ARM_IMAGE)]
    assert len(heard) > 10
    first, last = (np.frombuffer(m.data, np.uint8).astype(int) for m in (heard[0], heard[-1]))
    assert heard[0].header.frame_id == topics.ARM_CAMERA_FRAME
    assert np.abs(first - last).max() > 50  # an open hand, and a fist
    assert graph.heard(topics.ARM_IMAGE_COMPRESSED)
    assert graph.heard(topics.IMAGE_COMPRESSED)
    assert graph.heard(topics.MARKERS)


@pytest.mark.parametrize('node, event', [
    ('camera', 'frames'), ('policy', 'pictures'), ('commander', 'commands'),
    ('sim_bridge', 'joint_states')])
def test_diagnostics_tell_rates_and_ages(graph, node, event):
    values = graph.reports(node)[-1].values
    assert {event, f'{event}_hz', f'{event}_age_s'} <= set(values)
    assert int(values[event]) > 0


def test_no_limit_was_violated(graph):
    values = graph.reports('commander')[-1].values
    assert values['limit_violations'] == '0', values.get('first_violation')


@pytest.mark.parametrize('node, name, kind', [
    ('camera', 'jpeg_quality', ParameterType.PARAMETER_INTEGER),
    ('policy', 'geometric.beta', ParameterType.PARAMETER_DOUBLE),
    ('commander', 'safety.input_timeout_s', ParameterType.PARAMETER_DOUBLE),
    ('sim_bridge', 'state_rate_hz', ParameterType.PARAMETER_DOUBLE)])
def test_parameters_are_described(graph, node, name, kind):
    asked = DescribeParameters.Request(names=[name])
    answer = graph.call(DescribeParameters, f'{node}/describe_parameters', asked)
    described, = answer.descriptors
    assert described.type == kind
    assert len(described.description) > 10
    assert described.additional_constraints
    bounds, = described.integer_range or described.floating_point_range
    assert bounds.from_value < bounds.to_value


# Names


@pytest.fixture(scope='module')
def bench(tmp_path_factory, clip):
    """A left arm in a namespace, with a prefix, and pictures sent reliably."""
    graph = Graph(tmp_path_factory.mktemp('bench'), namespace='bench', prefix='a_')
    try:
        graph.listen(Image, topics.IMAGE, qos_profile=QoSProfile(depth=10, reliability=RELIABLE))
        graph.listen(JointState, topics.TRUTH_JOINT_STATES)
        override = 'qos_overrides./bench/camera/image_raw.publisher.reliability'
        play(graph, clip[0], {'prefix': 'a_', 'side': 'left'}, {override: 'reliable'})
        yield graph
    finally:
        graph.close()


def test_topics_live_in_the_namespace(bench):
    outside = {name for name, _ in bench.node.get_topic_names_and_types()
               if not name.startswith('/bench/')}
    assert outside == {'/diagnostics', '/rosout', '/parameter_events'}
    assert {name.removeprefix('/bench/') for name, _ in bench.node.get_topic_names_and_types()
            if name.startswith('/bench/')} >= {name for name in CONTRACT if name[0] != '/'}


def test_joint_names_carry_the_prefix(bench):
    prefixed = {f'a_{name}' for name in TABLE.names}
    for topic in (topics.JOINT_TRAJECTORY, topics.POLICY_TRAJECTORY):
        assert {n for _, message in bench.heard(topic) for n in message.joint_names} == prefixed
    assert {n for _, message in bench.heard(topics.JOINT_STATES) for n in message.name} == prefixed


def test_left_arm_closes(bench):
    curl = bench.measured()[1][:, CURLED].sum(axis=1)
    assert curl.min() < 4.0 and curl[-1] > 8.0


def test_reliable_pictures_on_request(bench):
    publisher, = bench.node.get_publishers_info_by_topic('camera/image_raw')
    assert publisher.qos_profile.reliability == RELIABLE
    assert len(bench.heard(topics.IMAGE)) > 10


# Large pictures


def test_720p_comes_without_loss(tmp_path):
    """Three seconds at 30 Hz through camera, policy and a subscriber that only counts."""
    clip = tmp_path / 'large.mp4'
    count = write_clip(clip, [cv2.resize(sample_scene().open_hand, (1280, 720))] * 90)
    graph = Graph(tmp_path)
    try:
        # As bytes: making messages of 2.7 MB in Python is no part of the transport.
        graph.listen(Image, topics.IMAGE, raw=True)
        graph.start('policy')
        graph.wait_report('policy', '')  # it lives
        watch(graph, clip, width=0, rate_hz=RATE_HZ, wait_for='go')
        heard = [bytes(message) for _, message in graph.heard(topics.IMAGE)]
        # The stamp follows the four bytes that tell the encoding.
        sent = {struct.unpack_from('<iI', message, 4) for message in heard}
        assert len(sent) == len(heard) == count == 90
        assert min(len(message) for message in heard) > 1280 * 720 * 3
        assert int(graph.reports('policy')[-1].values['pictures']) > 0
    finally:
        graph.close()
