"""The emulator as a program: its terminal, its control socket, its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import tty

import pytest

from hand_imitation.emulator.bus import make_bus
from hand_imitation.emulator.control import request
from hand_imitation.emulator.pty_host import PtyHost
from hand_imitation.errors import UserError
from hand_imitation.hardware import dynamixel_protocol as dynamixel
from hand_imitation.hardware import feetech_protocol as feetech
from hand_imitation.hardware.port import PortLostError, open_serial

PATIENCE_S = 20.0


def ask(port, frame, count=1, parser=None):
    """Send a packet and wait for the answers."""
    parser = parser or dynamixel.Parser()
    port.write(frame)
    packets, deadline_s = [], time.monotonic() + 2.0
    while len(packets) < count and time.monotonic() < deadline_s:
        packets += parser.feed(port.read(0.1))
    return packets


@pytest.fixture
def emulate(tmp_path):
    """Start `hand-imitation emulate`, and return the process and the terminal's path."""
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, '-m', 'hand_imitation', 'emulate', *arguments], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        processes.append(process)
        first = process.stdout.readline()
        return process, first.split()[-1] if first else ''

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_the_first_line_ends_with_the_path_and_a_signal_ends_it_well(emulate, number):
    process, path = emulate('dynamixel')
    port = open_serial(path, 1_000_000)
    assert ask(port, dynamixel.ping_packet(12))[0].id == 12
    port.close()
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert 'Traceback' not in errors and '1 instructions' in errors


@pytest.mark.parametrize(('arguments', 'remedy'), [
    (['lego'], 'dynamixel or feetech'), (['dynamixel', '--fault', 'explode'], 'choose from'),
    (['feetech', '--baud', '12345'], '1000000'), (['feetech', '--ids', '1,x'], '1,2,4'),
    (['dynamixel', '--control', '/nowhere/at/all'], '--control')])
def test_bad_input_is_one_line_and_exit_code_2(emulate, arguments, remedy):
    process, _ = emulate(*arguments)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert errors.startswith('error: ') and len(errors.splitlines()) == 1 and remedy in errors
    assert output == ''


def test_live_faults_by_the_control_socket(emulate, tmp_path):
    control, link = tmp_path / 'control', tmp_path / 'servos'
    process, path = emulate('feetech', '--control', str(control), '--link', str(link),
                            '--fault', 'dead:id=4')
    assert path == str(link)
    port = open_serial(path, 1_000_000)
    port.write(feetech.ping_packet(4))
    assert port.read(0.05) == b''
    assert request(control, 'alive', id=4) == {'ok': True}
    assert ask(port, feetech.ping_packet(4), parser=feetech.Parser())[0].id == 4
    assert request(control, 'overload', id=2)['ok']
    assert ask(port, feetech.ping_packet(2), parser=feetech.Parser())[0].error == 32
    ask(port, feetech.write_packet(2, 42, b'\x10\x08'), parser=feetech.Parser())
    status = request(control, 'status')
    assert status['ok'] and len(status['servos']) == 12 and status['host_baud'] == 1_000_000
    assert request(control, 'writes')['writes']['2']['goal_position']['last'] == 0x810
    assert request(control, 'forget')['ok'] and request(control, 'writes')['writes'] == {}
    assert request(control, 'drop', p=1.0)['ok']
    port.write(feetech.ping_packet(1))
    assert port.read(0.05) == b''
    assert request(control, 'clear', fault='drop')['ok']
    assert len(ask(port, feetech.ping_packet(1), parser=feetech.Parser())) == 1
    for name, settings in (('explode', {}), ('drop', {'p': 'x'}), ('clear', {'fault': 'noise'})):
        answer = request(control, name, **settings)
        assert answer['ok'] is False and answer['error']
    port.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert not control.exists() and not link.exists()


def test_the_control_socket_survives_rubbish_and_many_lines(emulate, tmp_path):
    control = tmp_path / 'control'
    emulate('dynamixel', '--control', str(control))
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE_S)
        client.connect(str(control))
        answers = client.makefile('rb')
        for line in (b'{', b'[]', b'{"do": 5}', b'\xff\xfe', b'{"do": "status"} x'):
            client.sendall(line + b'\n')
            assert json.loads(answers.readline())['ok'] is False
        client.sendall(b'{"do": "sta')
        time.sleep(0.05)
        client.sendall(b'tus"}\n{"do": "forget"}\n')
        assert json.loads(answers.readline())['ok'] and json.loads(answers.readline())['ok']
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(control))
        with pytest.raises(OSError):
            for _ in range(100):
                client.sendall(b'x' * 10_000)
                time.sleep(0.01)
    assert request(control, 'status')['ok']


def test_unplugging_and_replugging_by_the_control_socket(emulate, tmp_path):
    control, link = tmp_path / 'control', tmp_path / 'servos'
    process, _ = emulate('dynamixel', '--control', str(control), '--link', str(link))
    port = open_serial(str(link), 1_000_000)
    assert ask(port, dynamixel.write_packet(1, 64, b'\1'))[0].error == 0
    assert request(control, 'unplug')['ok']
    with pytest.raises(PortLostError):
        for _ in range(20):
            port.write(dynamixel.ping_packet(1))
            port.read(0.1)
    port.close()
    assert not link.exists()
    with pytest.raises(UserError):
        open_serial(str(link), 1_000_000)
    assert request(control, 'replug')['ok']
    assert process.stdout.readline().split()[-1] == str(link)
    port = open_serial(str(link), 1_000_000)
    answer, = ask(port, dynamixel.read_packet(1, 64, 1))
    assert answer.params == b'\1'  # the servos never lost power
    port.close()


@pytest.fixture
def served():
    """Serve a bus by a thread of this process; yields bus and a raw terminal."""
    bus = make_bus('dynamixel', 12)
    host = PtyHost(bus)
    thread = threading.Thread(target=host.run)
    thread.start()
    terminal = os.open(host.path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(terminal)
    yield bus, terminal
    os.close(terminal)
    host.stop()
    thread.join(5.0)
    assert not thread.is_alive()


def test_answers_take_at_least_the_time_of_the_wire(served):
    bus, terminal = served
    frame = dynamixel.sync_read_packet(126, 10, range(1, 13))
    expected = 12 * (dynamixel.STATUS_OVERHEAD + 10)
    wire_s = (len(frame) + expected) * 1e-5 + 12 * 500e-6
    for _ in range(20):
        begin_s = time.monotonic()
        os.write(terminal, frame)
        data = b''
        while len(data) < expected:
            data += os.read(terminal, 4096)
        assert time.monotonic() - begin_s >= wire_s - 2e-5
        assert len(dynamixel.Parser().feed(data)) == 12


def test_the_hosts_rate_is_the_one_it_sets(served):
    bus, terminal = served
    settings = termios.tcgetattr(terminal)
    settings[4] = settings[5] = termios.B57600
    termios.tcsetattr(terminal, termios.TCSANOW, settings)
    os.write(terminal, dynamixel.ping_packet(1))
    deadline_s = time.monotonic() + PATIENCE_S
    while bus.host_baud != 57_600 and time.monotonic() < deadline_s:
        time.sleep(0.005)
    assert bus.host_baud == 57_600
    assert bus.answers == 0


def test_a_link_does_not_replace_a_file(tmp_path):
    path = tmp_path / 'notes.txt'
    path.write_text('mine')
    with pytest.raises(UserError, match='--link'):
        PtyHost(make_bus('dynamixel', 1), link=path)
    assert path.read_text() == 'mine'


def test_two_emulators_cannot_share_a_control_socket(tmp_path):
    first = PtyHost(make_bus('dynamixel', 1), control=tmp_path / 'control')
    try:
        with pytest.raises(UserError, match='--control'):
            PtyHost(make_bus('dynamixel', 1), control=tmp_path / 'control')
    finally:
        first.close()
