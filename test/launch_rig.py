"""The package built by colcon, and `ros2 launch` run on it as a user does."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
IGNORED = shutil.ignore_patterns('.*', 'build', 'install', 'log', 'out', '__pycache__')


def build_workspace(folder: Path) -> Path:
    """Make a workspace with the package built by colcon."""
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
    """`ros2 launch hand_imitation FILE ...` in a process group of its own."""

    def __init__(self, workspace: Path, file: str, *arguments: str) -> None:
        self.output = workspace / 'output.txt'
        self.environment = environment_of(workspace)
        ros2 = Path(sys.executable).with_name('ros2')
        with self.output.open('w') as output:
            self.process = subprocess.Popen(
                [str(ros2), 'launch', 'hand_imitation', file, *arguments],
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


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
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
