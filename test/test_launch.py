"""launch/sim.launch.py with the real launch library, and with `ros2 launch` where it is there."""

import os
import signal
import time

import pytest

pytest.importorskip('launch_ros')
pytest.importorskip('ros2launch')
pytest.importorskip('colcon_core')
pytest.importorskip('psutil')

from launch_rig import Launched, is_published, wait_until  # noqa: E402

ARGUMENTS = {
    'source', 'policy', 'side', 'mirror', 'gui', 'rviz', 'record', 'out', 'namespace', 'prefix',
    'params_file', 'use_sim_time'}


def test_arguments_are_described(workspace):
    with Launched(workspace, 'sim.launch.py', '-s') as launched:
        assert launched.process.wait(60) == 0
        text = launched.text()
    for argument in ARGUMENTS:
        assert f"'{argument}':\n" in text
    assert 'no description given' not in text


@pytest.mark.parametrize('argument, message', [
    ('side:=middle', '"side" provided value "middle" is not valid'),
    ('gui:=perhaps', '"gui" provided value "perhaps" is not valid'),
    ('params_file:=/nowhere.yaml', "parameters file '/nowhere.yaml' cannot be read"),
])
def test_bad_argument_gives_one_clear_line(workspace, argument, message):
    with Launched(workspace, 'sim.launch.py', argument) as launched:
        assert launched.process.wait(60) == 1
        text = launched.text()
        assert launched.left_over() == []
    assert message in text
    assert 'Traceback' not in text
    assert 'process started' not in text


def test_bad_source_ends_everything(workspace):
    with Launched(workspace, 'sim.launch.py', 'source:=/nowhere.mp4') as launched:
        assert launched.process.wait(90) == 1
        text = launched.text()
        assert launched.left_over() == []
    assert '/nowhere.mp4' in text
    assert 'camera ended with exit code 2' in text
    assert 'Traceback' not in text


def test_ctrl_c_ends_everything_and_keeps_the_recording(workspace):
    bag = workspace / 'recording'
    arguments = ['record:=true', f'out:={bag}', 'namespace:=bench', 'prefix:=a_', 'side:=left']
    with Launched(workspace, 'sim.launch.py', *arguments) as launched:
        seen = is_published('/bench/joint_states', 'sensor_msgs/msg/JointState', launched)
        assert seen, launched.text()
        assert wait_until(lambda: len(launched.left_over()) == 6, 30), launched.left_over()
        time.sleep(2.0)  # something to record
        os.killpg(launched.process.pid, signal.SIGINT)  # as the terminal does
        assert launched.process.wait(60) == 0, launched.text()
        assert wait_until(lambda: launched.left_over() == [], 5), launched.left_over()
        text = launched.text()
    assert 'Traceback' not in text
    assert 'process has died' not in text
    metadata, = bag.rglob('metadata.yaml')
    assert '/bench/joint_states' in metadata.read_text()
