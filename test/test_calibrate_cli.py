"""`hand-imitation calibrate` from its command line: terminal, files, exit codes, bad input."""

import contextlib
import json
import os
import pty
import sys
import termios

import numpy as np
import pytest
from calibration_hand import ScriptedHand, good_script, joint_script
from rich.console import Console

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli import calibrate, main
from hand_imitation.cli.keyboard import END, ENTER, Keyboard
from hand_imitation.emulator.bus import make_bus
from hand_imitation.emulator.virtual_port import VirtualPort
from hand_imitation.hardware.calibration import load_calibration, partial_path
from hand_imitation.hardware.calibration_session import CalibrationSession, Key
from hand_imitation.hardware.robot import load_robot

TABLE = JointTable.from_urdf(load_description())
ROBOT = load_robot('dynamixel_xl330', TABLE)


class Desk:
    """The command line, with an emulated arm behind the port and a hand on the keyboard."""

    def __init__(self, monkeypatch, tmp_path, capsys):
        self.path = tmp_path / 'arm.yaml'
        self.bus = make_bus('dynamixel')
        self.hand = None
        self.actions = []
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setattr('hand_imitation.cli.calibrate.open_serial', self._open)
        monkeypatch.setattr('hand_imitation.cli.calibrate.Keyboard', self._keyboard)

    def _open(self, path, baud):
        self.port = VirtualPort(self.bus, baud)
        return self.port

    @contextlib.contextmanager
    def _keyboard(self):
        zero = dict.fromkeys(ROBOT.names, 2048)
        yield ScriptedHand(ROBOT, self.bus, self.port, zero, dict.fromkeys(ROBOT.names, 1),
                           self.actions)

    def run(self, *arguments, port='/dev/ttyUSB0', robot='dynamixel_xl330', actions=()):
        """Run the command; returns exit code, stdout and stderr."""
        self.actions = actions
        self._monkeypatch.setattr(sys, 'argv', [
            'hand-imitation', 'calibrate', '--robot', robot, '--port', port,
            '--out', str(self.path), *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = self._capsys.readouterr()
        return caught.value.code, out, err


@pytest.fixture
def desk(monkeypatch, tmp_path, capsys):
    return Desk(monkeypatch, tmp_path, capsys)


def test_whole_calibration(desk):
    code, out, err = desk.run(actions=good_script(ROBOT))
    assert code == 0
    assert 'All motors are off' in err and 'Hold thumb_proximal straight' in err
    assert 'away from the thumb' in err and f"Written to '{desk.path}'" in err
    assert 'elbow' in out and '2048' in out
    assert load_calibration(desk.path, ROBOT).joints['elbow'].zero_ticks == 2048
    assert not partial_path(desk.path).exists()


def test_json_is_one_document(desk):
    code, out, _ = desk.run('--json', actions=good_script(ROBOT))
    assert code == 0
    result = json.loads(out)
    assert result['file'] == str(desk.path) and list(result['joints']) == list(ROBOT.names)


def test_stopped_then_resumed_then_undone(desk):
    actions = good_script(ROBOT)
    done = len(joint_script(ROBOT.joints[0]))
    code, out, err = desk.run(actions=actions[:done])
    assert (code, out) == (130, '') and '1 of 12 joints are done' in err
    assert not desk.path.exists()
    code, _, err = desk.run(actions=actions[done:])
    assert code == 0 and '1 of 12 joints are done already' in err
    code, _, err = desk.run('--undo')
    assert code == 0 and 'is gone' in err and not desk.path.exists()


def test_ctrl_c_keeps_what_is_done(desk):
    def interrupt():
        raise KeyboardInterrupt

    code, _, err = desk.run(actions=[*joint_script(ROBOT.joints[0]), ('call', interrupt)])
    assert code == 130 and '1 of 12 joints are done' in err
    assert list(load_calibration(partial_path(desk.path), ROBOT, partial=True).joints) == [
        'thumb_proximal']


def test_left_for_later(desk):
    actions = [('key', 's'), *good_script(ROBOT)[len(joint_script(ROBOT.joints[0])):]]
    code, _, err = desk.run(actions=actions)
    assert code == 1 and '11 of 12 joints are done: run the same command again' in err
    code, _, _ = desk.run(actions=joint_script(ROBOT.joints[0]))
    assert code == 0


def test_unplugged_in_the_middle(desk):
    def unplug():
        desk.port.unplug()

    code, _, err = desk.run(actions=[*joint_script(ROBOT.joints[0]), ('call', unplug)])
    assert code == 3 and 'plug it in and run the same command again' in err
    assert partial_path(desk.path).exists()


# Bad input: one line, exit code 2, nothing moved and nothing written.

def refused(desk, *arguments, **options):
    code, out, err = desk.run(*arguments, **options)
    assert (code, out) == (2, '') and err.startswith('error: ') and err.count('\n') == 1
    assert not desk.path.exists() and not partial_path(desk.path).exists()
    goals = [event for event in desk.bus.wire
             if event.register == 'goal_position' or
             (event.register == 'torque_enable' and event.value)]
    assert goals == []
    return err


def test_mistakes_before_the_bus(desk):
    assert 'which robot? Give --robot' in refused(desk, robot='')
    assert 'which port? Give --port' in refused(desk, port='')
    assert 'no robot' in refused(desk, robot='xl330')
    assert "no joint 'nose': joints are thumb" in refused(desk, '--joint', 'nose')
    assert 'baud is 1234' in refused(desk, '--baud', '1234')
    assert 'nothing to undo' in refused(desk, '--undo')
    assert desk.bus.instructions == 0


def test_missing_servo(desk):
    desk.bus.servo(7).alive = False
    assert 'servo 7 (ring_proximal)' in refused(desk)


def test_duplicate_id(desk):
    desk.bus.servos.append(make_bus('dynamixel', 3, positions=[900] * 3).servo(3))
    assert 'two servos' in refused(desk)


def test_another_model(desk):
    desk.bus.servos[4:5] = make_bus('dynamixel', 5, model='XM430-W350').servos[4:]
    assert 'servo 5 (middle_proximal) is XM430-W350' in refused(desk)


def test_wrong_baud(desk):
    assert 'they answer at 1000000' in refused(desk, '--baud', '57600')


def test_no_port(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['hand-imitation', 'calibrate', '--robot', 'dynamixel_xl330',
                                      '--port', '/dev/none'])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2 and '/dev/none' in capsys.readouterr().err


@pytest.mark.parametrize('content', ['rubbish', 'schema: 1\nrobot: other\n'])
def test_unusable_partial_file(desk, content):
    partial_path(desk.path).write_text(content)
    code, _, err = desk.run()
    assert code == 2 and '--restart' in err and desk.bus.instructions == 0
    code, _, _ = desk.run('--restart', actions=good_script(ROBOT))
    assert code == 0


# Terminal.

def test_picture_shows_joint_motion_and_instruction():
    session = CalibrationSession(ROBOT, {})
    for i in range(30):
        session.feed(np.full(12, 2048.0), 0.02 * i)
    session.press(Key.ACCEPT)
    for i in range(30):
        session.feed(np.where(np.arange(12) == 0, 2048.0 + 10 * i, 2048.0), 0.6 + 0.02 * i)
    console = Console(width=100)
    with console.capture() as captured:
        console.print(calibrate.picture(session))
    lines = captured.get().splitlines()
    row, = [line for line in lines if line.startswith('thumb_proximal')]
    assert '+25 deg' in row and 'far end' in row
    assert sum('deg' in line for line in lines) == 12
    assert 'Move thumb_proximal into the palm' in lines[-2] and 'Enter' in lines[-1]


def test_keys_from_a_pipe(monkeypatch):
    read, write = os.pipe()
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, 'stdin', stdin)
        with Keyboard() as keyboard:
            assert keyboard.read(0.01) is None
            os.write(write, b'\nbq')
            assert [keyboard.read(1.0) for _ in range(3)] == [ENTER, 'b', 'q']
            os.close(write)
            assert keyboard.read(1.0) == END


def test_terminal_is_as_it_was_afterwards(monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as stdin:
        monkeypatch.setattr(sys, 'stdin', stdin)
        before = termios.tcgetattr(theirs)
        with contextlib.suppress(RuntimeError), Keyboard() as keyboard:
            assert termios.tcgetattr(theirs) != before
            os.write(ours, b's\r')  # no newline is needed for a key to count
            assert [keyboard.read(1.0), keyboard.read(1.0)] == ['s', ENTER]
            raise RuntimeError
        assert termios.tcgetattr(theirs) == before
    os.close(ours)
