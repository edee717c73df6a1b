"""The servo driver as a process, on emulated servos behind a pseudo-terminal."""

import re
import signal
import time

import numpy as np
import pytest

pytest.importorskip('rclpy')

from emulated_arm import PATIENT, EmulatedArm  # noqa: E402
from graph_rig import PATIENCE_S, SLACK_S, TABLE, Graph, seconds, wait_until  # noqa: E402
from lifecycle_msgs.msg import State, Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from sensor_msgs.msg import TimeReference  # noqa: E402
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint  # noqa: E402

from hand_imitation.nodes import topics  # noqa: E402
from hand_imitation.nodes.messages import latency_message  # noqa: E402

NAMES = list(TABLE.names)
STRAIGHT = np.zeros(12)
"""Where emulated servos stand at first, in the middle of their turn."""
BENT = np.where(np.arange(12) < 10, 0.6, 0.2)
TICK_RAD = 2 * np.pi / 4096


@pytest.fixture
def arm(tmp_path):
    with EmulatedArm(tmp_path) as arm:
        yield arm


@pytest.fixture
def graph(tmp_path):
    graph = Graph(tmp_path)
    graph.listen(TimeReference, topics.LATENCY)
    yield graph
    graph.close()


def start_driver(graph, arm, **parameters):
    return graph.start('servo_driver', **{
        'port': arm.port, 'calibration': 'none', **PATIENT, **parameters})


class Commander:
    """Commands as the commander does, so that each can be spoilt."""

    def __init__(self, graph, rate_hz=50.0):
        self.graph, self.goal = graph, None
        self.position = None
        self._publisher = graph.node.create_publisher(
            JointTrajectory, topics.JOINT_TRAJECTORY, topics.QOS[topics.JOINT_TRAJECTORY])
        self._latency = graph.node.create_publisher(
            TimeReference, topics.LATENCY, topics.QOS[topics.LATENCY])
        self._step_rad = TABLE.max_velocity_rad_s * 0.3 / rate_hz
        self._period_s = 1.0 / rate_hz
        graph.node.create_timer(self._period_s, self._step)

    def _step(self):
        if self.goal is None:
            return
        way = self.goal - self.position
        self.position = self.position + np.clip(way, -self._step_rad, self._step_rad)
        self.publish(self.position)

    def publish(self, positions, names=NAMES):
        self._publisher.publish(JointTrajectory(joint_names=list(names), points=[
            JointTrajectoryPoint(positions=[float(p) for p in positions])]))

    def announce(self, frame):
        self._latency.publish(latency_message(
            'command', frame, self.graph.node.get_clock().now().to_msg()))

    def go(self, goal, start=STRAIGHT):
        if self.position is None:
            self.position = start
        self.goal = goal


def change(graph, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    return graph.call(ChangeState, 'servo_driver/change_state', request).success


def state(graph):
    return graph.call(GetState, 'servo_driver/get_state').current_state.id


def measured_near(graph, pose):
    return lambda: any(np.abs(row - pose).max() < 0.05 for row in graph.measured()[1][-1:])


# Life cycle


@pytest.mark.parametrize('family', ['dynamixel', 'feetech'])
def test_inactive_it_measures_active_it_follows(graph, tmp_path, family):
    with EmulatedArm(tmp_path, family) as arm:
        start_driver(graph, arm, driver=family)
        graph.wait_report('servo_driver', 'inactive, motors off')
        wait_until(lambda: len(graph.measured()[0]) > 20, 'joint states')
        assert np.abs(graph.measured()[1] - STRAIGHT).max() < 0.02
        commander = Commander(graph)
        commander.go(STRAIGHT)
        time.sleep(SLACK_S)
        assert not any(arm.motors_on())
        assert all(g['count'] == 0 for g in arm.goals().values())
        assert change(graph, Transition.TRANSITION_ACTIVATE)
        assert all(arm.motors_on())
        graph.wait_report('servo_driver', 'following')
        commander.go(BENT)
        wait_until(measured_near(graph, BENT), 'arrival')
        last = graph.heard(topics.JOINT_STATES)[-1].message
        assert len(last.velocity) == len(last.effort) == len(last.name)
        assert change(graph, Transition.TRANSITION_DEACTIVATE)
        assert not any(arm.motors_on())
        count = sum(g['count'] for g in arm.goals().values())
        time.sleep(SLACK_S)
        assert sum(g['count'] for g in arm.goals().values()) == count
        inactive_s = time.time()
        wait_until(lambda: len(graph.measured(inactive_s)[0]) > 5, 'joint states while inactive')


def test_a_whole_life_by_a_manager(graph, arm):
    start_driver(graph, arm, autostart=False)
    for _ in range(2):
        assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED
        assert change(graph, Transition.TRANSITION_CONFIGURE)
        assert change(graph, Transition.TRANSITION_ACTIVATE) and all(arm.motors_on())
        assert change(graph, Transition.TRANSITION_DEACTIVATE) and not any(arm.motors_on())
        assert change(graph, Transition.TRANSITION_CLEANUP)
    assert change(graph, Transition.TRANSITION_CONFIGURE)
    assert change(graph, Transition.TRANSITION_ACTIVATE) and all(arm.motors_on())
    assert change(graph, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    arm.wait_motors(False)


def test_armed_at_launch_and_reported_servo_by_servo(graph, arm):
    start_driver(graph, arm, armed=True)
    graph.wait_report('servo_driver', 'armed')
    assert all(arm.motors_on())
    report = wait_until(
        lambda: next((r for r in graph.reports('servo_driver')
                      if r.values.get('cycle_ms_p99')), None), 'figures of the bus')
    assert {'mode', 'cycles', 'cycle_ms_p50', 'jitter_ms_p99', 'overruns', 'retries',
            'reconnects'} <= set(report.values)
    for name in NAMES:
        servo = graph.wait_report(f'servo_driver: {name}', 'ok')
        assert {'temperature_c', 'voltage_v', 'load', 'error', 'sample_age_s', 'current_a',
                'following_error_deg'} <= set(servo.values)
        assert float(servo.values['temperature_c']) > 10 and servo.values['voltage_v'] == '5.0'


def test_activation_begins_where_the_arm_is(graph, arm):
    """A real commander follows the hand while the arm is limp."""
    start_driver(graph, arm)
    graph.start('commander', **{'safety.start_ramp_s': 0.3})
    policy = graph.node.create_publisher(
        JointTrajectory, topics.POLICY_TRAJECTORY, topics.QOS[topics.POLICY_TRAJECTORY])

    def play_policy():
        message = JointTrajectory(joint_names=NAMES, points=[
            JointTrajectoryPoint(positions=[float(p) for p in BENT])])
        message.header.stamp = graph.node.get_clock().now().to_msg()
        policy.publish(message)

    graph.node.create_timer(1 / 30, play_policy)
    wait_until(lambda: any(np.abs(row - BENT).max() < 0.01 for row in graph.commands()[1][-1:]),
               'command that has followed the hand')
    assert change(graph, Transition.TRANSITION_ACTIVATE)
    wait_until(measured_near(graph, BENT), 'arrival')
    fastest_ticks = TABLE.max_velocity_rad_s * 0.05 / TICK_RAD + 2
    for row, goals in enumerate(arm.goals()[id_] for id_ in range(1, 13)):
        assert goals['max_step'] <= fastest_ticks[row]


# Commands


def test_commands_that_are_wrong_do_not_reach_the_bus(graph, arm):
    start_driver(graph, arm, armed=True, **{'watchdog.first_command_s': 600.0})
    graph.wait_report('servo_driver', 'waiting for commands')
    commander = Commander(graph)
    spoilt = {
        'no finite position for index_distal': lambda: commander.publish(
            np.where(np.arange(12) == 3, np.nan, STRAIGHT)),
        'unknown joint': lambda: commander.publish(STRAIGHT, ['nose', *NAMES[1:]]),
        'from the measured pose': lambda: commander.publish(STRAIGHT + 0.5),
    }
    for reason, publish in spoilt.items():
        since_s = time.time()
        end_s = time.monotonic() + PATIENCE_S
        while not any(reason in r.values.get('refused_reason', '')
                      for r in graph.reports('servo_driver', since_s)):
            assert time.monotonic() < end_s
            publish()
            time.sleep(0.1)
    goals = arm.goals()
    assert all(abs(goals[id_]['min'] - goals[id_]['max']) <= 1 for id_ in goals)
    assert all(arm.motors_on())


def test_latency_of_the_bus_by_frame(graph, arm):
    start_driver(graph, arm, armed=True)
    graph.wait_report('servo_driver', 'armed')
    commander = Commander(graph)
    commander.go(STRAIGHT)
    graph.wait_report('servo_driver', 'following')
    frames = []
    for _ in range(20):
        frames.append(graph.node.get_clock().now().to_msg())
        commander.publish(STRAIGHT)
        commander.announce(frames[-1])
        time.sleep(0.03)

    def done():
        return {seconds(m.time_ref): seconds(m.header.stamp)
                for _, m in graph.heard(topics.LATENCY) if m.source == 'bus'}

    wait_until(lambda: len(done()) == len(frames), 'bus stage of every frame')
    for frame in frames:
        assert 0.0 < done()[seconds(frame)] - seconds(frame) < SLACK_S


# Faults


def follow(graph, arm):
    start_driver(graph, arm, armed=True)
    commander = Commander(graph)
    graph.wait_report('servo_driver', 'armed')
    commander.go(STRAIGHT)
    graph.wait_report('servo_driver', 'following')
    return commander


def test_a_servo_fault_deactivates_until_activated_again(graph, arm):
    follow(graph, arm)
    faulted_s = time.time()
    arm.do('overload', id=4)
    graph.wait_report('servo_driver', 'index_distal', faulted_s)
    wait_until(lambda: state(graph) == State.PRIMARY_STATE_INACTIVE, 'inactive state')
    assert not any(arm.motors_on())
    assert not change(graph, Transition.TRANSITION_ACTIVATE)  # the error is still there
    assert state(graph) == State.PRIMARY_STATE_INACTIVE
    assert not any(arm.motors_on())
    arm.do('heal', id=4)
    arm.do('reset', id=4)
    wait_until(lambda: change(graph, Transition.TRANSITION_ACTIVATE), 'activation')
    arm.wait_motors(True)


def test_unplugging_is_survived(graph, arm):
    follow(graph, arm)
    unplugged_s = time.time()
    arm.do('unplug')
    graph.wait_report('servo_driver', 'looking for it again', unplugged_s)
    wait_until(lambda: state(graph) == State.PRIMARY_STATE_INACTIVE, 'inactive state')
    arm.do('replug')
    replugged_s = time.time()
    wait_until(lambda: len(graph.measured(replugged_s)[0]) > 5, 'joint states')
    assert graph.is_running('servo_driver')
    time.sleep(SLACK_S)
    assert not any(arm.motors_on()) and state(graph) == State.PRIMARY_STATE_INACTIVE
    assert change(graph, Transition.TRANSITION_ACTIVATE)
    assert all(arm.motors_on())


def test_silence_of_the_commander_ends_with_motors_off(graph, arm):
    start_driver(graph, arm, armed=True, **{'watchdog.torque_off_after_s': 1.0})
    commander = Commander(graph)
    graph.wait_report('servo_driver', 'armed')
    commander.go(STRAIGHT)
    graph.wait_report('servo_driver', 'following')
    silent_s = time.time()
    commander.goal = None
    graph.wait_report('servo_driver', 'silent; holding', silent_s)
    graph.wait_report('servo_driver', 'motors off until armed again', silent_s)
    assert not any(arm.motors_on())
    commander.goal = STRAIGHT
    time.sleep(SLACK_S)
    assert not any(arm.motors_on())


def test_a_dead_servo_is_left_out_of_joint_states_and_the_arm_holds(graph, arm):
    commander = follow(graph, arm)
    dead_s = time.time()
    arm.do('dead', id=7)
    graph.wait_report('servo_driver', 'no answer from ring_proximal', dead_s)
    graph.wait_report('servo_driver: ring_proximal', 'does not answer', dead_s)
    silent_s = time.time()
    heard = wait_until(lambda: graph.heard(topics.JOINT_STATES, silent_s)[-20:], 'joint states')
    assert all('ring_proximal' not in h.message.name for h in heard)
    assert state(graph) == State.PRIMARY_STATE_ACTIVE
    commander.go(BENT)
    time.sleep(SLACK_S)
    assert np.abs(graph.measured()[1][-1][NAMES.index('index_distal')]) < 0.05  # all hold
    alive_s = time.time()
    arm.do('alive', id=7)
    # It begins anew from where the joints are, so the commander has to come there first.
    graph.wait_report('servo_driver', 'from the measured pose', alive_s, key='refused_reason')
    commander.position = STRAIGHT
    wait_until(measured_near(graph, BENT), 'arrival')
    assert all(arm.motors_on())


# Ends


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=['Ctrl-C', 'SIGTERM'])
def test_a_signal_switches_the_motors_off(graph, arm, number):
    follow(graph, arm)
    process = graph._processes['servo_driver']
    process.send_signal(number)
    process.send_signal(number)  # as under ros2 launch
    assert process.wait(20.0) == 0
    assert not any(arm.motors_on())
    assert not re.search(r'Traceback|Exception', graph.logs()), graph.logs()


def test_a_killed_driver_leaves_stopped_servos(graph, arm):
    start_driver(graph, arm, armed=True, **{'bus.bus_watchdog_s': 0.1})
    graph.wait_report('servo_driver', 'armed')
    graph.kill('servo_driver')
    time.sleep(SLACK_S)
    speeds = [abs(servo['velocity_rad_s']) for servo in arm.servos()]
    assert max(speeds) == 0.0
    start_driver(graph, arm)
    arm.wait_motors(False)  # opening the bus switches off what was left on


@pytest.mark.parametrize('parameters, words', [
    ({'port': '/dev/ttyNOWHERE'}, 'no serial port /dev/ttyNOWHERE'),
    ({'driver': 'feetech'}, ''),
    ({'robot': 'nobody'}, "no robot 'nobody'"),
    ({'robot': 'feetech_sts3215'}, 'driver:=feetech'),
    ({'calibration': '/nowhere.yaml'}, '/nowhere.yaml'),
    ({'calibration': '', 'armed': True}, 'hand-imitation calibrate'),
    ({'baud': 57600}, 'give baud:=1000000'),
    ({'watchdog.hold_after_s': 5.0}, 'in this order'),
])
def test_mistakes_end_it_with_one_line(graph, arm, monkeypatch, parameters, words):
    monkeypatch.setenv('XDG_CONFIG_HOME', '/nowhere')
    process = start_driver(graph, arm, **parameters)
    assert process.wait(PATIENCE_S) == 2
    line, = graph.log_path('servo_driver').read_text().splitlines()
    assert line.startswith('error: ') and words in line
    assert not any(arm.motors_on())
