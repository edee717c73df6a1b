"""launch/hardware.launch.py, run as a user does, on emulated servos."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('launch_ros')
pytest.importorskip('ros2launch')
pytest.importorskip('colcon_core')
pytest.importorskip('psutil')
pytest.importorskip('rclpy')

from emulated_arm import EmulatedArm, write_patient  # noqa: E402
from launch_rig import Launched, is_published, wait_until  # noqa: E402

FILE = 'hardware.launch.py'
DEFAULTS = {
    'driver': 'dynamixel', 'port': '/dev/ttyUSB0', 'baud': '0', 'robot': '', 'calibration': '',
    'policy': 'landmarks', 'source': '0', 'armed': 'false', 'side': 'right', 'mirror': 'true',
    'namespace': '', 'prefix': '', 'record': 'false', 'rviz': 'false', 'use_sim_time': 'false'}
OTHERS = ('params_file', 'out')


@pytest.fixture
def arm(tmp_path):
    with EmulatedArm(tmp_path) as arm:
        yield arm


def test_arguments_are_described_with_their_defaults(workspace):
    with Launched(workspace, FILE, '-s') as launched:
        assert launched.process.wait(60) == 0
        text = launched.text()
    told = {block.split("'")[0]: block for block in text.split("\n    '")[1:]}
    assert set(told) == {*DEFAULTS, *OTHERS}
    for argument, default in DEFAULTS.items():
        assert f"(default: '{default}')" in told[argument]
    assert 'no description given' not in text


@pytest.mark.parametrize('arguments, code, message', [
    (['driver:=lego'], 1, '"driver" provided value "lego" is not valid'),
    (['armed:=yes'], 1, '"armed" provided value "yes" is not valid'),
    (['source:=sample', 'port:=/dev/ttyNOWHERE'], 1, 'no serial port /dev/ttyNOWHERE'),
    (['source:=sample', 'robot:=nobody'], 1, "no robot 'nobody'"),
])
def test_mistakes_end_everything_with_a_remedy(workspace, arguments, code, message):
    with Launched(workspace, FILE, *arguments) as launched:
        assert launched.process.wait(90) == code
        text = launched.text()
        assert launched.left_over() == []
    assert message in text
    assert 'Traceback' not in text


def test_armed_at_launch_and_off_at_ctrl_c(workspace, arm, tmp_path):
    arguments = ['source:=sample', f'port:={arm.port}', 'calibration:=none', 'armed:=true',
                 'namespace:=bench', 'prefix:=a_', f'params_file:={write_patient(tmp_path)}']
    with Launched(workspace, FILE, *arguments) as launched:
        seen = is_published('/bench/joint_states', 'sensor_msgs/msg/JointState', launched)
        assert seen, launched.text()
        arm.wait_motors(True, 60.0)
        assert wait_until(lambda: len(launched.left_over()) == 5, 10), launched.left_over()
        os.killpg(launched.process.pid, signal.SIGINT)  # as the terminal does
        arm.wait_motors(False, 5.0)
        assert launched.process.wait(60) == 0, launched.text()
        assert wait_until(lambda: launched.left_over() == [], 5), launched.left_over()
        text = launched.text()
    assert '/bench/commander/stop' in text
    assert 'Traceback' not in text and 'process has died' not in text


def test_unarmed_it_says_how_to_arm_and_that_works(workspace, arm, tmp_path):
    arguments = ['source:=sample', f'port:={arm.port}', 'calibration:=none',
                 f'params_file:={write_patient(tmp_path)}']
    with Launched(workspace, FILE, *arguments) as launched:
        assert is_published('/joint_states', 'sensor_msgs/msg/JointState', launched), \
            launched.text()
        assert not any(arm.motors_on())
        line, = (line for line in launched.text().splitlines() if 'to arm: ' in line)
        command = line.split('to arm: ')[1].split()
        assert command == ['ros2', 'lifecycle', 'set', '/servo_driver', 'activate']
        subprocess.run(
            [str(Path(sys.executable).with_name('ros2')), *command[1:]], check=True,
            env=launched.environment, timeout=60)
        arm.wait_motors(True)
        os.killpg(launched.process.pid, signal.SIGINT)
        assert launched.process.wait(60) == 0, launched.text()
    assert not any(arm.motors_on())


def test_ros2_control_gets_a_namespace_of_its_own(workspace):
    with Launched(workspace, FILE, 'driver:=ros2_control', 'source:=sample') as launched:
        told = is_published('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray', launched)
        assert told, launched.text()
        wait_until(lambda: any('ros2_control' in line for line in launched.left_over()), 30)
        line, = (line for line in launched.left_over() if '/ros2_control' in line)
        assert '__ns:=/hand_imitation' in line
        os.killpg(launched.process.pid, signal.SIGINT)
        assert launched.process.wait(60) == 0, launched.text()
