"""launch/sim.launch.py with the real launch library, and with `ros2 launch` where it is there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip('launch_ros')
pytest.importorskip('ros2launch')
pytest.importorskip('colcon_core')
psutil = pytest.importorskip('psutil')

ROOT = Path(__file__).resolve().parents[1]
ARGUMENTS = {
    'source', 'policy', 'side', 'mirror', 'gui', 'rviz', 'record', 'out', 'namespace', 'prefix',
    'params_file', 'use_sim_time'}
IGNORED = shutil.ignore_patterns('.*', 'build', 'install', 'log', 'out', '__pycache__')


@pytest.fixture(scope='module')
def workspace(tmp_path_factory) -> Path:
    """A workspace with the package built by colcon."""
    folder = tmp_path_factory.mktemp('launch_workspace')
    shutil.copytree(ROOT, folder / 'src' / 'hand_imitation', ignore=IGNORED)
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    subprocess.run([sys.executable, '-m', 'colcon', '--log-base', 'log', 'build'],
                   cwd=folder, env=environment, check=True, capture_output=True)
    return folder


def environment_of(workspace: Path) -> dict[str, str]:
    """The environment after sourcing the workspace, on the loopback, in a domain of its own."""
    command = f'. {workspace}/install/local_setup.sh && env -0'
    base = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    base['AMENT_PREFIX_PATH'] = os.pathsep.join(
        filter(None, [base.get('AMENT_PREFIX_PATH'), sys.prefix]))
    base['COLCON_PYTHON_EXECUTABLE'] = sys.executable
    out = subprocess.run(['sh', '-c', command], env=base, check=True, capture_output=True,
                         text=True).stdout
    sourced = dict(line.split('=', 1) for line in out.split('\0') if '=' in line)
    return {**sourced, 'ROS_DOMAIN_ID': str(1 + os.getpid() % 100),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'ROS_LOG_DIR': str(workspace / 'ros_log')}


class Launched:
    """`ros2 launch hand_imitation sim.launch.py ...` in a process group of its own."""

    def __init__(self, workspace: Path, *arguments: str) -> None:
        self.output = workspace / 'output.txt'
        self.environment = environment_of(workspace)
        ros2 = Path(sys.executable).with_name('ros2')
        with self.output.open('w') as output:
            self.process = subprocess.Popen(
                [str(ros2), 'launch', 'hand_imitation', 'sim.launch.py', *arguments],
                cwd=workspace, env=self.environment, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True)

    def __enter__(self) -> 'Launched':
        return self

    def __exit__(self, *_) -> None:
        if self.left_over():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def text(self) -> str:
        return self.output.read_text()

    def left_over(self) -> list[str]:
        """Command lines of the living processes that were started."""
        return [' '.join(process.cmdline()) for process in psutil.process_iter()
                if is_in_session(process, self.process.pid)]


def is_in_session(process, session: int) -> bool:
    try:
        return (os.getsid(process.pid) == session
                and process.status() != psutil.STATUS_ZOMBIE)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def wait_until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def is_published(topic: str, message_type: str, launched: Launched) -> bool:
    """Wait for one message, or for the end of what should send it."""
    ros2 = str(Path(sys.executable).with_name('ros2'))
    with subprocess.Popen(
            [ros2, 'topic', 'echo', '--once', '--no-daemon', topic, message_type],
            env=launched.environment, stdout=subprocess.DEVNULL) as echo:
        wait_until(lambda: (echo.poll(), launched.process.poll()) != (None, None), 90.0)
        seen = echo.poll() == 0
        echo.kill()
    return seen


def test_arguments_are_described(workspace):
    with Launched(workspace, '-s') as launched:
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
    with Launched(workspace, argument) as launched:
        assert launched.process.wait(60) == 1
        text = launched.text()
        assert launched.left_over() == []
    assert message in text
    assert 'Traceback' not in text
    assert 'process started' not in text


def test_bad_source_ends_everything(workspace):
    with Launched(workspace, 'source:=/nowhere.mp4') as launched:
        assert launched.process.wait(90) == 1
        text = launched.text()
        assert launched.left_over() == []
    assert '/nowhere.mp4' in text
    assert 'camera ended with exit code 2' in text
    assert 'Traceback' not in text


def test_ctrl_c_ends_everything_and_keeps_the_recording(workspace):
    bag = workspace / 'recording'
    arguments = ['record:=true', f'out:={bag}', 'namespace:=bench', 'prefix:=a_', 'side:=left']
    with Launched(workspace, *arguments) as launched:
        seen = is_published('/bench/joint_states', 'sensor_msgs/msg/JointState', launched)
        assert seen, launched.text()
        assert wait_until(lambda: len(launched.left_over()) == 6, 10), launched.left_over()
        time.sleep(2.0)  # something to record
        os.killpg(launched.process.pid, signal.SIGINT)  # as the terminal does
        assert launched.process.wait(60) == 0, launched.text()
        assert wait_until(lambda: launched.left_over() == [], 5), launched.left_over()
        text = launched.text()
    assert 'Traceback' not in text
    assert 'process has died' not in text
    metadata, = bag.rglob('metadata.yaml')
    assert '/bench/joint_states' in metadata.read_text()
