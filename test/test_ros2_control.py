"""The adapter for ros2_control, against a responder with the rules of its controllers.

The rules of joint_trajectory_controller: all joints and no others, one position for each, a
trajectory that does not end in the past, times that grow, no speed at its end.
"""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from shared_data import ROOT

pytest.importorskip('rclpy')

from graph_rig import PATIENCE_S, SLACK_S, TABLE, Graph, seconds, wait_until  # noqa: E402
from lifecycle_msgs.msg import State, Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rclpy.qos import qos_profile_system_default  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import Float64MultiArray  # noqa: E402
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint  # noqa: E402

from hand_imitation.errors import UserError  # noqa: E402
from hand_imitation.hardware.joint_map import load_joint_map  # noqa: E402
from hand_imitation.nodes import topics  # noqa: E402

NAMES = list(TABLE.names)
THEIRS = {name: f'hand_{name}_joint' for name in NAMES}
DIRECTION = {name: -1 if name in ('wrist', 'thumb_distal') else 1 for name in NAMES}
OFFSET = {name: 0.1 * row for row, name in enumerate(NAMES)}
ORDER = NAMES[::-1]
"""The controller's own order."""
MOTION = {'start_ramp_s': 0.2, 'reengage_ramp_s': 0.1}


def to_theirs(positions):
    return np.array([DIRECTION[n] * p + OFFSET[n] for n, p in zip(NAMES, positions, strict=True)])


@pytest.fixture
def map_path(tmp_path):
    path = tmp_path / 'joints.yaml'
    path.write_text(yaml.safe_dump({'joints': {
        name: {'name': THEIRS[name], 'direction': DIRECTION[name],
               'offset_rad': float(OFFSET[name])} for name in ORDER}}, sort_keys=False))
    return path


class Controller:
    """Stands where the controller and the joint state broadcaster stand."""

    def __init__(self, graph, start_rad, forward=False):
        self.graph = graph
        self.position = dict(zip((THEIRS[n] for n in NAMES), to_theirs(start_rad), strict=True))
        self.rejected, self.accepted, self.publishes = [], [], True
        self._states = graph.node.create_publisher(JointState, '/joint_states', 10)
        kind, topic, callback = (
            (Float64MultiArray, '/forward_position_controller/commands', self._on_values)
            if forward else
            (JointTrajectory, '/joint_trajectory_controller/joint_trajectory',
             self._on_trajectory))
        graph.node.create_subscription(kind, topic, callback, qos_profile_system_default)
        graph.node.create_timer(0.01, self._publish)

    def _on_trajectory(self, message):
        reason = self.judged(message)
        if reason:
            self.rejected.append(reason)
            return
        self._move(dict(zip(message.joint_names, message.points[-1].positions, strict=True)))

    def _on_values(self, message):
        self._move({THEIRS[n]: v for n, v in zip(ORDER, message.data, strict=True)})

    def _move(self, goal):
        self.position = goal
        self.accepted.append(SimpleNamespace(
            time_s=time.time(), positions=np.array([goal[THEIRS[n]] for n in NAMES])))

    def judged(self, message):
        """Return why joint_trajectory_controller rejects a message, or ''."""
        if not message.points or not message.joint_names:
            return 'empty'
        if sorted(message.joint_names) != sorted(self.position):
            return 'partial or unknown joints'
        times = [seconds(point.time_from_start) for point in message.points]
        if any(late <= early for early, late in zip(times, times[1:], strict=False)):
            return 'times do not grow'
        begin_s = seconds(message.header.stamp)
        if begin_s and begin_s + times[-1] < seconds(self.graph.node.get_clock().now().to_msg()):
            return 'ends in the past'
        if times[-1] <= 0.0:
            return 'ends at once'
        if any(len(point.positions) != len(message.joint_names) for point in message.points):
            return 'positions missing'
        if any(v != 0.0 for v in message.points[-1].velocities):
            return 'does not end at rest'
        if not np.isfinite([point.positions for point in message.points]).all():
            return 'not finite'
        return ''

    def _publish(self):
        if not self.publishes:
            return
        names = [*self.position, 'somebody_elses_joint']
        message = JointState(name=names, position=[*self.position.values(), 0.7],
                             velocity=[0.5] * len(names))
        message.header.stamp = self.graph.node.get_clock().now().to_msg()
        self._states.publish(message)

    def sent(self, since_s=0.0):
        """What was accepted after a time: times (n,) [s], positions (n, 12), our names' order."""
        taken = [a for a in list(self.accepted) if a.time_s >= since_s]
        return np.array([a.time_s for a in taken]), np.array([a.positions for a in taken])


@pytest.fixture
def graph(tmp_path):
    graph = Graph(tmp_path, namespace='hand')
    yield graph
    graph.close()


def set_goal(graph, positions):
    """Play the policy: the same target, 30 times a second, until another is set."""
    if not hasattr(graph, 'goal'):
        publisher = graph.node.create_publisher(
            JointTrajectory, topics.POLICY_TRAJECTORY, topics.QOS[topics.POLICY_TRAJECTORY])

        def publish():
            message = JointTrajectory(joint_names=NAMES, points=[JointTrajectoryPoint(
                positions=[float(p) for p in graph.goal])])
            message.header.stamp = graph.node.get_clock().now().to_msg()
            publisher.publish(message)

        graph.goal = positions
        graph.node.create_timer(1 / 30, publish)
    graph.goal = positions


def change(graph, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    return graph.call(ChangeState, 'ros2_control/change_state', request).success


def state(graph):
    return graph.call(GetState, 'ros2_control/get_state').current_state.id


OPEN = np.full(12, 0.1)
CURLED = np.where(np.arange(12) < 10, 1.2, 0.3)


def arrived(controller, positions):
    return lambda: controller.accepted and np.abs(
        controller.accepted[-1].positions - to_theirs(positions)).max() < 1e-6


@pytest.mark.parametrize('forward', [False, True], ids=['trajectory', 'forward'])
def test_follows_with_names_directions_and_zeros_of_the_controller(graph, map_path, forward):
    controller = Controller(graph, OPEN, forward)
    kind = 'forward_command_controller' if forward else 'joint_trajectory_controller'
    graph.start('ros2_control', controller=kind, joint_map=str(map_path), armed=True)
    graph.start('commander', **{f'safety.{k}': v for k, v in MOTION.items()})
    set_goal(graph, CURLED)
    wait_until(arrived(controller, CURLED), 'arrival')
    assert controller.rejected == []
    times, sent = controller.sent()
    # Steps as small as the joints' speeds allow, even for messages that bunched up.
    assert np.abs(sent[0] - to_theirs(OPEN)).max() < 0.2
    assert (np.abs(np.diff(sent, axis=0)) <= TABLE.max_velocity_rad_s * 0.031).all()
    _, measured = graph.measured()
    assert np.abs(measured[0] - OPEN).max() < 1e-6  # ours again, as the commander needs them
    last = graph.heard(topics.JOINT_STATES)[-1].message
    assert dict(zip(last.name, last.velocity, strict=True))['wrist'] == pytest.approx(-0.5)
    graph.wait_report('ros2_control', 'active')


def test_activation_begins_where_the_joints_are(graph, map_path):
    """The commander followed the hand while the adapter was inactive."""
    controller = Controller(graph, OPEN)
    graph.start('ros2_control', joint_map=str(map_path))
    graph.start('commander', **{f'safety.{k}': v for k, v in MOTION.items()})
    set_goal(graph, CURLED)
    wait_until(lambda: any(np.abs(row - CURLED).max() < 0.01 for row in graph.commands()[1][-1:]),
               'command that has followed the hand')
    assert state(graph) == State.PRIMARY_STATE_INACTIVE and controller.accepted == []
    assert change(graph, Transition.TRANSITION_ACTIVATE)
    wait_until(arrived(controller, CURLED), 'arrival')
    _, sent = controller.sent()
    assert np.abs(sent[0] - to_theirs(OPEN)).max() < 0.2
    assert change(graph, Transition.TRANSITION_DEACTIVATE)
    time.sleep(SLACK_S)
    inactive_s = time.time()
    time.sleep(SLACK_S)
    assert len(controller.sent(inactive_s)[0]) == 0


def test_silence_on_either_side_ends_it(graph, map_path):
    controller = Controller(graph, OPEN)
    graph.start('ros2_control', joint_map=str(map_path), armed=True,
                **{'watchdog.torque_off_after_s': 1.0})
    graph.start('commander', **{f'safety.{k}': v for k, v in MOTION.items()})
    set_goal(graph, CURLED)
    wait_until(arrived(controller, CURLED), 'arrival')
    controller.publishes = False
    graph.wait_report('ros2_control', 'no joint states of thumb_proximal', time.time())
    stopped_s = time.time()
    time.sleep(SLACK_S)
    assert len(controller.sent(stopped_s)[0]) == 0
    controller.publishes = True
    back_s = time.time()
    wait_until(lambda: len(controller.sent(back_s)[0]), 'command after the break')
    graph.kill('commander')
    graph.wait_report('ros2_control', 'Inactive until activated', back_s)
    assert state(graph) == State.PRIMARY_STATE_INACTIVE
    graph.start('commander')
    restarted_s = time.time()
    wait_until(lambda: len(graph.commands(restarted_s)[0]) > 50, 'commands')
    assert len(controller.sent(restarted_s)[0]) == 0


@pytest.mark.parametrize('spoilt, reason', [
    (lambda m: m.points.append(m.points[0]), '2 points'),
    (lambda m: m.points.clear(), '0 points'),
    (lambda m: m.joint_names.reverse() or m.joint_names.__setitem__(0, 'nose'), 'unknown joint'),
    (lambda m: m.points[0].positions.__setitem__(3, float('nan')), 'no finite position'),
    (lambda m: m.points[0].positions.pop(), '12 joint names'),
    (lambda m: m.points[0].positions.__setitem__(0, 1.5), 'from the measured pose'),
])
def test_refused_commands_go_no_further(graph_without_commander, spoilt, reason):
    graph, controller, publisher = graph_without_commander
    message = JointTrajectory(joint_names=list(NAMES), points=[
        JointTrajectoryPoint(positions=[float(p) for p in OPEN])])
    spoilt(message)
    begun_s = time.time()
    end_s = time.monotonic() + PATIENCE_S
    while not any(reason in r.values.get('refused_reason', '')
                  for r in graph.reports('ros2_control', begun_s)):
        assert time.monotonic() < end_s, graph.reports('ros2_control')[-1:]
        publisher.publish(message)
        time.sleep(0.1)
    assert controller.accepted == [] and controller.rejected == []


@pytest.fixture(scope='module')
def graph_without_commander(tmp_path_factory):
    folder = tmp_path_factory.mktemp('alone')
    path = folder / 'joints.yaml'
    path.write_text(yaml.safe_dump({'joints': {
        name: {'name': THEIRS[name], 'direction': DIRECTION[name],
               'offset_rad': float(OFFSET[name])} for name in ORDER}}, sort_keys=False))
    graph = Graph(folder, namespace='hand')
    controller = Controller(graph, OPEN)
    publisher = graph.node.create_publisher(
        JointTrajectory, topics.JOINT_TRAJECTORY, topics.QOS[topics.JOINT_TRAJECTORY])
    graph.start('ros2_control', joint_map=str(path), armed=True)
    graph.wait_report('ros2_control', 'active')
    yield graph, controller, publisher
    graph.close()


def test_our_own_topic_is_no_source_of_states(tmp_path):
    graph = Graph(tmp_path)
    try:
        process = graph.start('ros2_control')
        assert process.wait(PATIENCE_S) == 2
        line, = graph.log_path('ros2_control').read_text().splitlines()
        assert line.startswith('error: ') and 'namespace:=hand' in line
    finally:
        graph.close()


# The joint map.

def test_example_maps_every_joint_to_its_own_name():
    example = load_joint_map(str(ROOT / 'config' / 'ros2_control_joints.yaml'), TABLE)
    assert example.names == TABLE.names
    assert example.to_theirs(CURLED) == pytest.approx(CURLED)


def test_map_there_and_back(map_path):
    joints = load_joint_map(str(map_path), TABLE)
    assert joints.names == tuple(THEIRS[n] for n in ORDER)
    theirs = joints.to_theirs(CURLED)
    assert theirs == pytest.approx(to_theirs(CURLED)[::-1])
    assert joints.to_ours(joints.names, theirs) == pytest.approx(CURLED)
    part = joints.to_ours(['else', THEIRS['wrist']], [3.0, theirs[1]])
    assert np.isfinite(part).sum() == 1 and part[TABLE.index('wrist')] == pytest.approx(0.3)


def test_without_a_map_names_are_ours():
    assert load_joint_map('', TABLE, 'a_').names == tuple(f'a_{n}' for n in NAMES)


@pytest.mark.parametrize('change, words', [
    (lambda c: c['joints'].pop('wrist'), "no joint 'wrist'"),
    (lambda c: c['joints'].update(nose={'name': 'x'}), "unknown joint 'nose'"),
    (lambda c: c['joints'].update(wrist='x'), "joint 'wrist' is 'x'"),
    (lambda c: c['joints'].update(wrist={'name': ''}), 'needs a name'),
    (lambda c: c['joints'].update(wrist={'name': 'x', 'direction': 0}), '1 or -1'),
    (lambda c: c['joints'].update(wrist={'name': 'x', 'sign': 1}), 'unknown parameter'),
    (lambda c: c['joints'].update(wrist={'name': THEIRS['elbow']}), 'same name'),
    (lambda c: c.update(order=[]), 'must stand alone'),
    (lambda c: c.update(joints=[]), 'a line for each joint'),
])
def test_bad_maps_are_refused(map_path, change, words):
    content = yaml.safe_load(map_path.read_text())
    change(content)
    map_path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as caught:
        load_joint_map(str(map_path), TABLE)
    assert words in str(caught.value) and 'joints.yaml' in str(caught.value)
    assert '\n' not in str(caught.value)
