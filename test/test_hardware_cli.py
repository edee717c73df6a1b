"""`hand-imitation hardware` on emulated servos, and what keys do in it."""

import itertools
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import av
import pytest
from shared_data import ROOT

pytest.importorskip('rclpy')

from emulated_arm import EmulatedArm, write_patient  # noqa: E402
from graph_rig import free_domain, wait_until  # noqa: E402

from hand_imitation.frame_sources import SAMPLE  # noqa: E402


def environment(**more):
    return {
        **{k: v for k, v in os.environ.items() if k not in ('DISPLAY', 'WAYLAND_DISPLAY')},
        'PYTHONPATH': str(ROOT), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_DOMAIN_ID': str(free_domain()), 'COLUMNS': '200', **more}


def command(*arguments):
    return [sys.executable, '-m', 'hand_imitation', *map(str, arguments)]


@pytest.fixture
def arm(tmp_path):
    with EmulatedArm(tmp_path) as arm:
        yield arm


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """Two seconds of the sample."""
    path = tmp_path_factory.mktemp('clip') / 'clip.mp4'
    with av.open(str(SAMPLE)) as source, av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=30)
        stream.width, stream.height, stream.pix_fmt = 640, 360, 'yuv420p'
        for frame in itertools.islice(source.decode(video=0), 60, 120):
            picture = frame.reformat(width=640, height=360).to_ndarray(format='bgr24')
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='bgr24')))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def patient(tmp_path):
    return write_patient(tmp_path)


def test_a_run_with_video_bag_and_figures_of_the_bus(arm, clip, patient, tmp_path):
    out = tmp_path / 'out'
    done = subprocess.run(
        command('hardware', '--port', arm.port, '--calibration', 'none', '--armed', '--source',
                clip, '--params-file', patient, '--out', out, '--json'),
        env=environment(), capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert 'Traceback' not in done.stderr
    assert {p.name for p in out.iterdir()} == {'side_by_side.mp4', 'bag', 'summary.json'}
    summary = json.loads(done.stdout)
    assert summary == json.loads((out / 'summary.json').read_text())
    assert summary['frames'] == 60 and summary['limit_violations'] == 0
    assert summary['frame_to_bus_ms']['p50'] >= summary['latency_ms']['end_to_end']['p50']
    assert summary['bus']['cycles'] > 50 and summary['bus']['cycle_ms_p50'] > 0.0
    following = summary['following_error_deg']
    assert len(following['per_joint']) == 12 and 0.0 < following['mean'] < 20.0
    assert not any(arm.motors_on())
    assert sum(goals['count'] for goals in arm.goals().values()) > 12 * 50


def test_without_armed_it_only_measures(arm, clip):
    done = subprocess.run(
        command('hardware', '--port', arm.port, '--calibration', 'none', '--source', clip),
        env=environment(), capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert 'servo bus' in done.stdout and 'frame to bus' in done.stdout
    assert all(goals['count'] == 0 for goals in arm.goals().values())
    assert all(servo['torque'] is False for servo in arm.servos())


@pytest.mark.parametrize('arguments, words', [
    (['--driver', 'lego'], 'dynamixel, feetech or ros2_control'),
    (['--port', '/dev/ttyNOWHERE'], 'no serial port /dev/ttyNOWHERE'),
    (['--robot', 'nobody'], "no robot 'nobody'"),
    (['--driver', 'feetech', '--robot', 'dynamixel_xl330'], 'give --driver dynamixel'),
    (['--baud', '12345'], 'baud'),
    (['--calibration', '/nowhere.yaml'], '/nowhere.yaml'),
    (['--armed'], 'give --calibration none'),
    (['--baud', '57600', '--calibration', 'none'], '--baud 1000000'),
    (['--source', '/nowhere.mp4'], 'no such source'),
])
def test_mistakes_are_one_line_with_a_remedy(arm, tmp_path, arguments, words):
    given = [] if '--port' in arguments else ['--port', arm.port]
    given += [] if '--source' in arguments else ['--source', 'sample']
    done = subprocess.run(
        command('hardware', *given, *arguments), capture_output=True, text=True, timeout=100,
        env=environment(XDG_CONFIG_HOME=str(tmp_path)))
    assert (done.returncode, done.stdout) == (2, '')
    told = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert len(told) == 1 and words in told[0], done.stderr
    assert not any(arm.motors_on())


class Terminal:
    """A command in a terminal of its own, to press keys in."""

    def __init__(self, *arguments):
        self._master, slave = pty.openpty()
        self.seen = ''
        self.process = subprocess.Popen(
            command(*arguments), env=environment(TERM='xterm'), stdin=slave, stdout=slave,
            stderr=slave, preexec_fn=lambda: self._take(slave))
        os.close(slave)

    @staticmethod
    def _take(slave):
        """Make the terminal that of a session of its own, as a shell has it."""
        import fcntl
        import termios

        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    def press(self, key):
        os.write(self._master, key.encode())

    def look(self):
        """Read what was printed; returns all of it."""
        while select.select([self._master], [], [], 0.0)[0]:
            try:
                self.seen += os.read(self._master, 65536).decode(errors='replace')
            except OSError:  # the other side is closed
                break
        return self.seen

    def wait_for(self, words):
        try:
            wait_until(lambda: words in self.look(), f'"{words}" on the terminal')
        except AssertionError as error:
            raise AssertionError(f'{error}, but {self.seen[-2000:]!r}') from None

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def test_keys_stop_resume_and_quit(arm, patient):
    terminal = Terminal('hardware', '--port', arm.port, '--calibration', 'none', '--armed',
                        '--source', 'sample', '--params-file', patient)
    try:
        terminal.wait_for('space stops the arm, r lets it go on, q ends the run')
        terminal.wait_for('arm: tracking')
        terminal.press(' ')
        terminal.wait_for('the arm holds until')
        terminal.wait_for('arm: stopped')
        assert all(arm.motors_on())  # a stop holds
        terminal.press('x')
        terminal.press('r')
        terminal.wait_for('the arm follows again')
        terminal.press('q')
        wait_until(lambda: terminal.look() and terminal.process.poll() is not None, 'end')
        assert terminal.process.returncode == 0, terminal.seen
        assert 'Traceback' not in terminal.seen
        assert not any(arm.motors_on())
    finally:
        terminal.end()


def test_ctrl_c_switches_the_motors_off_first(arm, patient):
    process = subprocess.Popen(
        command('hardware', '--port', arm.port, '--calibration', 'none', '--armed', '--source',
                'sample', '--params-file', patient), env=environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        arm.wait_motors(True, 60.0)
        process.send_signal(signal.SIGINT)
        arm.wait_motors(False, 5.0)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and 'Traceback' not in errors


def test_nodes_end_when_the_program_that_started_them_is_killed(arm, patient):
    process = subprocess.Popen(
        command('hardware', '--port', arm.port, '--calibration', 'none', '--armed', '--source',
                'sample', '--params-file', patient), env=environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        arm.wait_motors(True, 60.0)
    finally:
        process.kill()
        process.wait()
    killed_s = time.monotonic()
    arm.wait_motors(False, 10.0)
    assert time.monotonic() - killed_s < 10.0


def test_help_has_an_example():
    done = subprocess.run(command('hardware', '--help'), env=environment(), capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0 and 'Example: hand-imitation hardware' in done.stdout
    assert 'space bar' in done.stdout
