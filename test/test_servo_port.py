"""Serial ports: what can be wrong with them, on pseudo-terminals of this machine."""

import contextlib
import os
import pty
import time

import pytest

from hand_imitation.errors import UserError
from hand_imitation.hardware.port import PortLostError, open_serial

BAUD = 1_000_000


@pytest.fixture
def terminal():
    controller, user = pty.openpty()
    path = os.ttyname(user)
    os.close(user)
    yield controller, path
    with contextlib.suppress(OSError):
        os.close(controller)


def test_bytes_go_both_ways(terminal):
    controller, path = terminal
    port = open_serial(path, BAUD)
    port.write(b'\x00\xff\xfe\r\n\x03')
    assert os.read(controller, 100) == b'\x00\xff\xfe\r\n\x03'
    os.write(controller, b'\xff\xff\x00\x04\x11\x13')
    assert port.read(0.5) == b'\xff\xff\x00\x04\x11\x13'
    port.close()


def test_reading_waits_no_longer_than_told(terminal):
    port = open_serial(terminal[1], BAUD)
    began = time.monotonic()
    assert port.read(0.05) == b''
    assert port.read(0.0) == b''
    assert port.read(-1.0) == b''
    assert 0.04 < time.monotonic() - began < 1.0
    port.close()


def test_draining_throws_away_what_is_there(terminal):
    controller, path = terminal
    port = open_serial(path, BAUD)
    os.write(controller, b'x' * 300)
    assert port.drain(0.02) == 300
    assert port.read(0.0) == b''
    port.close()


def test_other_baud_rates(terminal):
    port = open_serial(terminal[1], BAUD)
    for baud in (9_600, 57_600, 115_200, 4_000_000):
        port.set_baud(baud)
    port.close()


@pytest.mark.parametrize('path, words', [
    ('/dev/ttyNoSuchThing', 'plugged in'), ('', 'no serial port given'),
    ('/dev/null', 'not a serial port'), ('/etc/passwd', 'not a serial port'),
    ('/etc', 'not a serial port')])
def test_what_is_no_serial_port_is_named(path, words):
    with pytest.raises(UserError, match=words) as caught:
        open_serial(path, BAUD)
    assert path in str(caught.value)


def test_port_in_use_is_named(terminal):
    port = open_serial(terminal[1], BAUD)
    with pytest.raises(UserError, match='in use by another program'):
        open_serial(terminal[1], BAUD)
    port.close()
    open_serial(terminal[1], BAUD).close()


def test_no_permission_is_named(terminal):
    path = terminal[1]
    os.chmod(path, 0)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            open_serial(path, BAUD)
        except UserError as error:
            code = 0 if 'dialout' in str(error) and 'udev' in str(error) else 2
        except BaseException:
            code = 3
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_unplugging_is_a_lost_port(terminal):
    controller, path = terminal
    port = open_serial(path, BAUD)
    os.close(controller)
    with pytest.raises(PortLostError):
        port.read(0.1)
    with pytest.raises(PortLostError):
        port.write(b'x')
    with pytest.raises(PortLostError):
        port.drain(0.01)
    port.close()
    port.close()
    with pytest.raises(PortLostError):
        port.read(0.0)


def test_adapter_that_takes_no_bytes_is_a_lost_port(terminal):
    port = open_serial(terminal[1], BAUD)
    with pytest.raises(PortLostError, match='no more bytes'):
        for _ in range(1000):
            port.write(b'x' * 1000)
    port.close()


def test_nothing_is_left_open(terminal):
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(20):
        open_serial(terminal[1], BAUD).close()
        with pytest.raises(UserError):
            open_serial('/dev/null', BAUD)
    assert len(os.listdir('/proc/self/fd')) == before
