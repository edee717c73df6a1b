"""Real node processes on the loopback, an ear on what they say, and pictures to show them."""

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import SafetyParameters
from hand_imitation.environment import PARENT_VARIABLE
from hand_imitation.nodes import topics

ROOT = Path(__file__).resolve().parents[1]
TABLE = JointTable.from_urdf(load_description('right'))
SAFETY = SafetyParameters()
PATIENCE_S = 60.0
"""How long to wait for what must come; only a broken graph uses it up."""
SLACK_S = 0.5
"""How late a busy machine may hand on a message or wake a process."""
_EXECUTABLE = 'from hand_imitation.nodes import start; start.{}()'


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Poll until the condition holds and return what it gave; fail with `what` otherwise."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f'in {timeout_s:.0f} s there was no {what}')


class Heard(NamedTuple):
    """A message and when it arrived, on the wall clock as the stamps in it are [s]."""

    time_s: float
    message: Any


class Report(NamedTuple):
    """What a node said of itself on /diagnostics; `time_s` is the message's stamp [s]."""

    time_s: float
    node: str
    level: bytes
    message: str
    values: dict[str, str]


class Graph:
    """Node processes in a domain of their own, and one node here that listens.

    Args:
        folder: Where parameters and logs go.
        namespace: Of all nodes, without slashes.
        prefix: Of the joints' names.
    """

    def __init__(self, folder: Path, namespace: str = '', prefix: str = '') -> None:
        self.folder = folder
        self.namespace = f'/{namespace}' if namespace else ''
        self.prefix = prefix
        self._processes: dict[str, subprocess.Popen] = {}
        self._parameters: dict[str, dict[str, Any]] = {}
        self._heard: dict[str, list[Heard]] = defaultdict(list)
        self._clients: dict[str, Any] = {}
        self._environment = pytest.MonkeyPatch()
        for key, value in ros_environment(folder).items():
            self._environment.setenv(key, value)
        self.context = rclpy.Context()
        rclpy.init(context=self.context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(
            'listener', namespace=self.namespace or None, context=self.context,
            start_parameter_services=False, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name='listener')
        self._thread.start()
        self.listen(JointTrajectory, topics.JOINT_TRAJECTORY)
        self.listen(JointTrajectory, topics.POLICY_TRAJECTORY)
        self.listen(JointState, topics.JOINT_STATES)
        self.listen(DiagnosticArray, topics.DIAGNOSTICS)

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def close(self) -> None:
        """Take down what listens, then end and reap every process."""
        # In this order: after its peers had been killed, the middleware once crashed while the
        # node here was destroyed.
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self.context.try_shutdown()
        for name in list(self._processes):
            self.kill(name)
        self._environment.undo()

    # Processes

    def start(self, name: str, **parameters: Any) -> subprocess.Popen:
        """Start a node; without parameters, with those it had before."""
        if parameters or name not in self._parameters:
            self._parameters[name] = parameters
        path = self.folder / f'{name}.yaml'
        path.write_text(yaml.safe_dump({'/**': {'ros__parameters': self._parameters[name]}}))
        arguments = ['--params-file', str(path)] if self._parameters[name] else []
        self._processes[name] = start_node(
            name, *arguments, '-r', f'__ns:={self.namespace or "/"}', log=self.log_path(name))
        return self._processes[name]

    def kill(self, name: str) -> None:
        """SIGKILL a node and remove the shared memory it leaves behind."""
        process = self._processes.pop(name)
        memory = shared_memory_of(process)
        process.kill()
        process.wait()
        remove_orphans(memory)

    def is_running(self, name: str) -> bool:
        """Tell whether a node was started and has not ended."""
        return name in self._processes and self._processes[name].poll() is None

    def log_path(self, name: str) -> Path:
        """Where a node's words go."""
        return self.folder / f'{name}.log'

    def logs(self) -> str:
        """What all nodes said, for one who must find out what went wrong."""
        return '\n'.join(f'--- {path.name}\n{path.read_text()[-2000:]}'
                         for path in sorted(self.folder.glob('*.log')))

    # Listening

    def listen(self, kind: type, topic: str, **options: Any) -> None:
        """Keep every message of a topic; one of our names, or any with its `qos_profile`."""
        profile = options.pop('qos_profile', None) or topics.deep(topic, 1000)
        log = self._heard[topic]
        self.node.create_subscription(
            kind, topic, lambda message: log.append(Heard(time.time(), message)), profile,
            **options)

    def heard(self, topic: str, since_s: float = 0.0) -> list[Heard]:
        """Messages of a topic that arrived after a time."""
        return [heard for heard in list(self._heard[topic]) if heard.time_s >= since_s]

    def commands(self, since_s: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Commands that arrived after a time: times (n,) [s], and positions (n, 12) [rad]."""
        return self._joints(topics.JOINT_TRAJECTORY, since_s, lambda message: (
            message.joint_names, message.points[0].positions))

    def measured(self, since_s: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Joint states in the same form."""
        return self._joints(
            topics.JOINT_STATES, since_s, lambda message: (message.name, message.position))

    def _joints(self, topic: str, since_s: float, read: Callable) -> tuple:
        heard = self.heard(topic, since_s)
        rows = []
        for _, message in heard:
            names, positions = read(message)
            assert all(name.startswith(self.prefix) for name in names)
            plain = [name.removeprefix(self.prefix) for name in names]
            rows.append(TABLE.reorder(plain, positions))
        times = np.array([time_s for time_s, _ in heard])
        return times, np.array(rows).reshape(len(rows), len(TABLE))

    def reports(self, node: str, since_s: float = 0.0) -> list[Report]:
        """What a node said of itself; by the stamp of its words."""
        found = []
        for _, message in list(self._heard[topics.DIAGNOSTICS]):
            stamp_s = seconds(message.header.stamp)
            found += [
                Report(stamp_s, node, status.level, status.message,
                       {pair.key: pair.value for pair in status.values})
                for status in message.status
                if f'/{status.name}' == f'{self.namespace}/{node}' and stamp_s >= since_s]
        return found

    def wait_report(
        self, node: str, text: str, since_s: float = 0.0, key: str = '',
    ) -> Report:
        """Wait for a report that has `text` in its message, or in the value of `key`."""
        def found() -> Report | None:
            return next((r for r in self.reports(node, since_s)
                         if text in (r.values.get(key, '') if key else r.message)), None)

        try:
            return wait_until(found, f'report of {node} with "{text}" in {key or "its message"}')
        except AssertionError as error:
            said = '\n'.join(f'{r.time_s:.2f} {r.message} {r.values}'
                             for r in self.reports(node, since_s)[-5:])
            raise AssertionError(f'{error}; it said\n{said}\n{self.logs()}') from None

    def call(self, kind: type, service: str, request: Any = None) -> Any:
        """Call a service and return its answer."""
        # Kept until the end: to destroy one while another thread spins can end that thread.
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
            wait_until(self._clients[service].service_is_ready, f'service {service}')
            time.sleep(SLACK_S)  # until the other side has found this one: or its answer is lost
        client = self._clients[service]
        future = client.call_async(request or kind.Request())
        wait_until(future.done, f'answer of {service}')
        return future.result()


def seconds(stamp: Any) -> float:
    """Return a stamp in seconds."""
    return stamp.sec + stamp.nanosec * 1e-9


def ros_environment(folder: Path) -> dict[str, str]:
    """The environment of a graph of its own on the loopback."""
    profile = str(ROOT / 'config' / 'fastdds.xml')
    return {
        'ROS_DOMAIN_ID': str(free_domain()), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_LOG_DIR': str(folder / 'ros_log'), 'FASTRTPS_DEFAULT_PROFILES_FILE': profile,
        'FASTDDS_DEFAULT_PROFILES_FILE': profile, 'PYTHONUNBUFFERED': '1',
        'PYTHONPATH': os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))}


def free_domain() -> int:
    """A ROS domain that nobody uses, by the port its first participant would take."""
    first = os.getpid()
    for domain in (1 + (first + offset) % 100 for offset in range(100)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', 7410 + 250 * domain))
            except OSError:
                continue
        return domain
    raise RuntimeError('every ROS domain is in use')


def start_node(
    name: str, *arguments: str, log: Path, as_executable: bool = False,
) -> subprocess.Popen:
    """Start a node as a module, or as the executable that is installed for it."""
    how = ['-c', _EXECUTABLE.format(name)] if as_executable else [
        '-m', f'hand_imitation.nodes.{name}']
    with log.open('a') as output:
        return subprocess.Popen(
            [sys.executable, *how, *(['--ros-args', *arguments] if arguments else [])],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, PARENT_VARIABLE: str(os.getpid())})


def shared_memory_of(process: subprocess.Popen) -> list[Path]:
    """Locks of the shared memory that a process has opened."""
    if process.poll() is not None:
        return []
    opened = []
    for link in Path(f'/proc/{process.pid}/fd').iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            opened.append(os.readlink(link))
    return [Path(name) for name in opened
            if re.fullmatch(r'/dev/shm/fastrtps_[0-9a-f]{16}_el', name)]


def remove_orphans(locks: Iterable[Path]) -> None:
    """Remove shared memory whose owner was killed, and so holds its lock no longer."""
    for path in locks:
        with contextlib.suppress(OSError), path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.with_name(path.name.removesuffix('_el')).unlink(missing_ok=True)
            path.unlink()


def end(process: subprocess.Popen, number: int = signal.SIGINT, timeout_s: float = 20.0) -> int:
    """Ask a process to end and return its exit code; kill it when it does not."""
    process.send_signal(number)
    try:
        return process.wait(timeout_s)
    finally:
        process.kill()
        process.wait()
