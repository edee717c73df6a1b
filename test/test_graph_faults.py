"""Faults in the running graph: real nodes in processes of their own, killed, starved, lied to.

All tests share one graph, which follows an open hand when a test begins.
"""

import time
from functools import partial

import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseArray  # noqa: E402
from graph_rig import (  # noqa: E402
    SAFETY,
    SLACK_S,
    TABLE,
    Graph,
    Report,
    seconds,
    wait_until,
)
from hand_pictures import FINGERS, Projector, sample_scene, there_and_back  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint  # noqa: E402

from hand_imitation.nodes import topics  # noqa: E402

pytestmark = pytest.mark.filterwarnings('ignore:tostring:DeprecationWarning')  # in cv_bridge
EYE = '/eye'
NODES = {'sim_bridge': {}, 'commander': {}, 'policy': {}, 'camera': {'source': f'topic:{EYE}'}}
SCENE = sample_scene()
MOVING = there_and_back(SCENE.closing)
OPEN_CURL_RAD, FIST_CURL_RAD = 4.0, 8.0
"""Sums of the eight finger joints, below which a hand is open and above which it is a fist."""
_CURLED = [TABLE.index(f'{finger}_{part}') for finger in FINGERS
           for part in ('proximal', 'distal')]
HOLD_S = 1.0
"""How long a hold is watched."""


@pytest.fixture(scope='module')
def graph(tmp_path_factory):
    graph = Graph(tmp_path_factory.mktemp('graph'))
    try:
        graph.listen(Image, topics.IMAGE)
        graph.listen(PoseArray, topics.LANDMARKS)
        for name, parameters in NODES.items():
            graph.start(name, **parameters)
        yield graph
    finally:
        graph.close()


@pytest.fixture(scope='module')
def projector(graph):
    projector = Projector(graph.node, EYE)
    yield projector
    projector.close()


@pytest.fixture(autouse=True)
def following(graph, projector):
    """Every node alive, and the arm after an open hand with its ramp behind it."""
    for name in NODES:
        if not graph.is_running(name):
            graph.start(name)
    shown_s = projector.show(SCENE.open_hand)
    wait_until(
        lambda: curl(graph, shown_s) < OPEN_CURL_RAD and mode(graph) == 'tracking',
        'arm that follows the open hand')


def curl(graph: Graph, since_s: float = 0.0) -> float:
    """How far the fingers are commanded to close [rad]; NaN where there is no command yet."""
    commands = graph.commands(since_s)[1]
    return curl_of(commands[-1]) if len(commands) else np.nan


def curl_of(positions_rad: np.ndarray) -> float:
    """Sum of the fingers' joints [rad]."""
    return float(positions_rad[_CURLED].sum())


def mode(graph: Graph) -> str:
    reports = graph.reports('commander')
    return reports[-1].values['mode'] if reports else ''


def wait_for_hold(graph: Graph, since_s: float, reason: str) -> Report:
    """Wait until the commander says that it holds, and why."""
    return graph.wait_report('commander', f'holding: {reason}', since_s)


def assert_holds(graph: Graph) -> np.ndarray:
    """The last command is repeated, at 10 Hz or more; returns it."""
    time.sleep(SLACK_S)  # a last target may still be on its way
    start_s = time.time()
    time.sleep(HOLD_S)
    commands = graph.commands(start_s)[1]
    assert len(commands) >= 10 * HOLD_S
    assert (commands == commands[0]).all()
    return commands[0]


def assert_last_change(graph: Graph, start_s: float, last_input_s: float) -> None:
    """The command moved before the fault, and not for long after the last good input."""
    times, commands = graph.commands(start_s)
    changed = times[1:][(commands[1:] != commands[:-1]).any(axis=1)]
    assert changed[-1] > last_input_s - SLACK_S
    assert changed[-1] < last_input_s + SAFETY.input_timeout_s + 1.0 / SAFETY.rate_hz + SLACK_S


def assert_gradual(graph: Graph, since_s: float, ramp_s: float) -> None:
    """The arm closes to a fist, from where it was commanded to be and no faster than the ramp.

    The way since the ramp began, by the commander's own stamp, is at most what a speed limit
    that grows from zero to full in `ramp_s` allows.
    """
    wait_until(lambda: curl(graph, since_s) > FIST_CURL_RAD, 'arm that follows the fist')
    began_s = graph.wait_report('commander', 'ramping', since_s).time_s
    times, commands = graph.commands(since_s - HOLD_S)
    before = commands[times < began_s][-1]
    times, commands = times[times >= began_s], commands[times >= began_s]
    assert_slow(times - began_s, np.abs(commands - before), ramp_s)
    # Nothing was too fast from one command to the next, by the count of the commander's auditor.
    violations = graph.reports('commander')[-1].values
    assert violations['limit_violations'] == '0', violations.get('first_violation')


def assert_slow(passed_s: np.ndarray, way_rad: np.ndarray, ramp_s: float) -> None:
    """The way after a time, shapes (n,) and (n, 12), is within what the ramp allows."""
    passed_s = passed_s + 0.1  # the ramp may have begun a moment before it was said
    full_s = np.where(
        passed_s < ramp_s, passed_s**2 / (2.0 * ramp_s), passed_s - ramp_s / 2.0)
    assert (way_rad <= full_s[:, None] * TABLE.max_velocity_rad_s).all()


# Dead nodes


@pytest.mark.parametrize('name', ['camera', 'policy'])
def test_dead_camera_or_policy(graph, projector, name):
    start_s = projector.show(*MOVING)
    wait_until(lambda: curl(graph) > FIST_CURL_RAD, 'closing hand')
    wait_until(lambda: curl(graph) < FIST_CURL_RAD, 'opening hand')
    killed_s = time.time()
    graph.kill(name)
    report = wait_for_hold(graph, killed_s, 'no valid target in time')
    assert report.values['reasons'] == 'stale'
    assert_last_change(graph, start_s, graph.heard(topics.POLICY_TRAJECTORY)[-1].time_s)
    assert_holds(graph)
    back_s = projector.show(SCENE.fist)
    graph.start(name)
    assert_gradual(graph, back_s, SAFETY.reengage_ramp_s)


def test_dead_commander(graph, projector):
    graph.kill('commander')
    killed_s = time.time()
    graph.wait_report('sim_bridge', 'no commands; holding the last one', killed_s)
    projector.show(SCENE.empty)
    silent_s = time.time()
    time.sleep(HOLD_S)
    assert graph.heard(topics.JOINT_TRAJECTORY, silent_s) == []
    measured = graph.measured(silent_s)[1]
    assert len(measured) > 0
    assert np.ptp(measured, axis=0).max() < 0.01
    graph.start('commander')
    wait_until(lambda: graph.heard(topics.JOINT_TRAJECTORY, silent_s), 'command')
    assert np.abs(assert_holds(graph) - measured[-1]).max() < 0.01
    assert_gradual(graph, projector.show(SCENE.fist), SAFETY.start_ramp_s)


def test_dead_arm(graph, projector):
    """The arm that comes back stands open and upright, and is led on from there."""
    projector.show(SCENE.fist)
    wait_until(lambda: curl(graph) > FIST_CURL_RAD, 'closed hand')
    killed_s = time.time()
    graph.kill('sim_bridge')
    report = wait_for_hold(graph, killed_s, 'no fresh measurement')
    assert 'no_measurement' in report.values['reasons']
    projector.show(SCENE.empty)
    assert curl_of(assert_holds(graph)) > FIST_CURL_RAD
    restarted_s = time.time()
    graph.start('sim_bridge')
    wait_until(lambda: len(graph.measured(restarted_s)[1]), 'measured arm')
    wait_until(lambda: curl(graph) < OPEN_CURL_RAD, 'command where the arm is')
    assert np.abs(assert_holds(graph)).max() < 0.1
    assert np.abs(graph.measured(restarted_s)[1]).max() < 0.1
    assert_gradual(graph, projector.show(SCENE.fist), SAFETY.start_ramp_s)


# A camera that misleads


def test_frozen_picture(graph, projector):
    start_s = projector.show(*MOVING)
    wait_until(lambda: curl(graph) > FIST_CURL_RAD, 'closing hand')
    wait_until(lambda: curl(graph) < FIST_CURL_RAD, 'opening hand')
    frozen_s = projector.freeze()
    graph.wait_report('camera', 'the picture is frozen', frozen_s)
    wait_for_hold(graph, frozen_s, 'no valid target in time')
    assert_last_change(graph, start_s, frozen_s)
    assert_holds(graph)
    repeats = [stamp_ns for stamp_ns in projector.sent if stamp_ns * 1e-9 > frozen_s]
    passed_on = [heard for heard in graph.heard(topics.IMAGE)
                 if seconds(heard.message.header.stamp) > frozen_s]
    # One is news to a camera that missed the picture before it.
    assert len(passed_on) <= 1 < 10 < len(repeats)
    back_s = projector.show(SCENE.fist)
    assert_gradual(graph, back_s, SAFETY.reengage_ramp_s)
    graph.wait_report('camera', 'live', back_s)


@pytest.mark.parametrize('noisy', [True, False], ids=['with noise', 'to the bit'])
def test_black_picture(graph, projector, noisy):
    black = np.zeros_like(SCENE.empty)
    black_s = projector.show(black) if noisy else projector.freeze(black)
    graph.wait_report('camera', 'the picture is black', black_s + 0.5)
    wait_for_hold(graph, black_s, 'no valid target in time')
    assert_holds(graph)
    assert_gradual(graph, projector.show(SCENE.fist), SAFETY.reengage_ramp_s)


def test_unplugged(graph, projector):
    silent_s = projector.fall_silent()
    wait_for_hold(graph, silent_s, 'no valid target in time')
    graph.wait_report('camera', f"no picture from 'topic:{EYE}'", silent_s)
    graph.wait_report('policy', 'no pictures come', silent_s)
    assert_holds(graph)
    assert_gradual(graph, projector.show(SCENE.fist), SAFETY.reengage_ramp_s)


def test_hand_that_leaves(graph, projector):
    gone_s = projector.show(SCENE.empty)
    graph.wait_report('policy', 'no hand seen', gone_s)
    wait_for_hold(graph, gone_s, 'no valid target in time')
    assert_holds(graph)
    assert graph.heard(topics.LANDMARKS, time.time() - HOLD_S / 2)
    assert not any(h.message.poses for h in graph.heard(topics.LANDMARKS, gone_s + SLACK_S))
    assert_gradual(graph, projector.show(SCENE.fist), SAFETY.reengage_ramp_s)


def test_second_person(graph, projector):
    """A second hand enters and the first vanishes: a pause, then gradually to the second."""
    beside_s = projector.show(SCENE.first)
    wait_until(lambda: curl(graph, beside_s + 0.5) < OPEN_CURL_RAD, 'first hand')
    both_s = projector.show(SCENE.both)
    time.sleep(HOLD_S)
    assert curl(graph, both_s) < OPEN_CURL_RAD  # the first is followed on
    alone_s = projector.show(SCENE.second)
    assert_gradual(graph, alone_s, SAFETY.reengage_ramp_s)
    held_s = wait_for_hold(graph, alone_s, 'no valid target in time').time_s
    assert held_s < graph.wait_report('commander', 'ramping', alone_s).time_s
    stamps = np.array([seconds(heard.message.header.stamp)
                       for heard in graph.heard(topics.POLICY_TRAJECTORY)])
    between = np.diff(stamps[stamps > alone_s - 0.2]).max()
    assert between > SAFETY.input_timeout_s


# Messages that lie


def image(**changes) -> Image:
    """A good picture but for some fields."""
    message = Image(height=4, width=6, step=18, encoding='bgr8', data=bytes(72))
    for name, value in changes.items():
        setattr(message, name, value)
    return message


MALFORMED = {
    'wrong step': (image(step=17), '6x4, step 17, has 72 bytes'),
    'short data': (image(data=bytes(71)), '6x4, step 18, has 71 bytes'),
    'narrow rows': (image(step=2, data=bytes(8)), "encoding 'bgr8'"),
    'unknown encoding': (image(encoding='nonsense'), "encoding 'nonsense'"),
    'zero size': (image(height=0, data=b''), '6x0, step 18, has 0 bytes'),
    'huge size': (image(width=2**32 - 1, height=2**32 - 1, step=0, data=b''), '4294967295'),
}


@pytest.mark.parametrize('node, topic, word', [
    ('camera', EYE, 'refused an image'), ('policy', topics.IMAGE, 'refused a picture')])
def test_malformed_images(graph, projector, node, topic, word):
    projector.fall_silent()
    publisher = graph.node.create_publisher(Image, topic, topics.QOS[topics.IMAGE])
    wait_until(lambda: publisher.get_subscription_count() > 0, 'subscriber')
    time.sleep(SLACK_S)
    for message, told in MALFORMED.values():
        sent_s = time.time()
        message.header.stamp = graph.node.get_clock().now().to_msg()
        publisher.publish(message)
        assert word in graph.wait_report(node, told, sent_s).message
    assert_gradual(graph, projector.show(SCENE.fist), SAFETY.reengage_ramp_s)
    assert all(graph.is_running(name) for name in NODES)


def trajectory(graph: Graph, *points: list[float], **changes) -> JointTrajectory:
    """A message that would close the hand, but for what is changed; stamped now."""
    closed = np.where(np.isin(np.arange(len(TABLE)), _CURLED), 1.2, 0.0).tolist()
    message = JointTrajectory(
        joint_names=list(changes.get('names', TABLE.names)),
        points=[JointTrajectoryPoint(positions=p) for p in points or (closed,)])
    now_ns = graph.node.get_clock().now().nanoseconds + int(changes.get('age_s', 0.0) * -1e9)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, 1_000_000_000)
    return message


NAN = [float('nan')] * len(TABLE)
ONES = [1.0] * len(TABLE)
UNKNOWN = [*TABLE.names[:-1], 'tail']


def test_garbage_from_the_policy(graph, projector):
    projector.show(SCENE.empty)
    wait_for_hold(graph, time.time() - 0.1, 'no valid target in time')
    held = assert_holds(graph)
    publisher = graph.node.create_publisher(
        JointTrajectory, topics.POLICY_TRAJECTORY, topics.QOS[topics.POLICY_TRAJECTORY])
    wait_until(lambda: publisher.get_subscription_count() > 1, 'commander')
    start_s = time.time()
    for told, key, points, changes in (
        ('nan', 'reasons', [NAN], {}),
        ('wrong_length', 'reasons', [ONES[1:]], {}),
        ('unknown_joint tail', 'reasons', [ONES], {'names': UNKNOWN}),
        ('duplicate_joint', 'reasons', [ONES], {'names': ['wrist'] * len(TABLE)}),
        ('missing', 'reasons', [[]], {'names': []}),
        ('old_stamp', 'reasons', [], {'age_s': 3600.0}),
        ('future_stamp', 'reasons', [], {'age_s': -3600.0}),
        ('2 points', 'refused_reason', [ONES, ONES], {}),
    ):
        sent_s = time.time()
        publisher.publish(trajectory(graph, *points, **changes))
        graph.wait_report('commander', told, sent_s, key)
    assert (graph.commands(start_s)[1] == held).all()


def test_garbage_to_the_arm(graph, projector):
    projector.show(SCENE.empty)
    wait_for_hold(graph, time.time() - 0.1, 'no valid target in time')
    assert_holds(graph)
    publisher = graph.node.create_publisher(
        JointTrajectory, topics.JOINT_TRAJECTORY, topics.QOS[topics.JOINT_TRAJECTORY])
    wait_until(lambda: publisher.get_subscription_count() > 1, 'arm')
    before = graph.measured()[1][-1]
    start_s = time.time()
    for told, points, changes in (
        ('2 points', [ONES, ONES], {}),
        ("unknown joint names ['tail']", [ONES], {'names': UNKNOWN}),
        ('finite', [NAN], {}),
        ('12 joint names but values of shape (11,)', [ONES[1:]], {}),
    ):
        message = trajectory(graph, *points, **changes)
        # Again and again: the commander's own may push it out of the queue, which holds one.
        timer = graph.node.create_timer(0.02, partial(publisher.publish, message))
        graph.wait_report('sim_bridge', told, start_s, 'refused_reason')
        timer.cancel()
    assert np.abs(graph.measured(start_s)[1] - before).max() < 0.01


# Stop on request


def test_stop_and_resume(graph, projector):
    stop_s = time.time()
    assert graph.call(Trigger, topics.STOP).success
    graph.wait_report('commander', 'stopped: stopped on request', stop_s)
    projector.show(SCENE.fist)
    assert curl_of(assert_holds(graph)) < OPEN_CURL_RAD
    assert mode(graph) == 'stopped'
    resume_s = time.time()
    assert graph.call(Trigger, topics.RESUME).success
    assert_gradual(graph, resume_s, SAFETY.reengage_ramp_s)
