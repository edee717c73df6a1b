"""The makers' own libraries talk to the emulator over a real pseudo-terminal."""

import sys
import threading
import time

import dynamixel_sdk
import pytest
import scservo_sdk

from hand_imitation.emulator.bus import make_bus
from hand_imitation.emulator.pty_host import PtyHost

# The libraries' patience is that of the real clock.
pytestmark = pytest.mark.flaky(reruns=2)
IDS = range(1, 13)
ACCESS_ERROR = 7


@pytest.fixture
def serve():
    """Put buses on terminals, served by threads of this process."""
    running = []
    # The libraries wait by looping, and must leave the interpreter to the emulator in time.
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)

    def start(*arguments, **options):
        host = PtyHost(make_bus(*arguments, **options))
        thread = threading.Thread(target=host.run)
        thread.start()
        running.append((host, thread))
        return host

    yield start
    for host, thread in running:
        host.stop()
        thread.join(5.0)
        assert not thread.is_alive()
    sys.setswitchinterval(usual_s)


@pytest.fixture(params=[57_600, 1_000_000, 4_000_000])
def dynamixel(request, serve):
    host = serve('dynamixel', baud=request.param)
    port = dynamixel_sdk.PortHandler(host.path)
    assert port.openPort() and port.setBaudRate(request.param)
    yield port, dynamixel_sdk.PacketHandler(2.0)
    port.closePort()


@pytest.fixture(params=[('STS3215', 1_000_000), ('STS3215', 115_200), ('SCS0009', 1_000_000)])
def feetech(request, serve):
    model, baud = request.param
    host = serve('feetech', model=model, baud=baud)
    port = scservo_sdk.PortHandler(host.path)
    assert port.openPort() and port.setBaudRate(baud)
    # This library keeps the order of bytes in a global, which its handlers set.
    yield port, scservo_sdk.PacketHandler(0 if model == 'STS3215' else 1), model
    port.closePort()


def test_dynamixel_one_by_one(dynamixel):
    port, handler = dynamixel
    assert handler.ping(port, 1) == (1200, 0, 0)
    found, result = handler.broadcastPing(port)
    assert result == 0 and {id_: model for id_, (model, _) in found.items()} == dict.fromkeys(
        IDS, 1200)
    assert handler.ping(port, 77)[1] == dynamixel_sdk.COMM_RX_TIMEOUT
    assert handler.write1ByteTxRx(port, 3, 9, 0) == (0, 0)
    assert handler.write1ByteTxRx(port, 3, 64, 1) == (0, 0)
    assert handler.write1ByteTxRx(port, 3, 9, 250) == (0, ACCESS_ERROR)
    assert handler.read1ByteTxRx(port, 3, 9) == (0, 0, 0)
    assert handler.read4ByteTxRx(port, 3, 132) == (2048, 0, 0)
    assert handler.regWriteTxRx(port, 3, 116, 4, [0, 9, 0, 0]) == (0, 0)
    assert handler.action(port, 3) == 0
    # The library does not wait for the answer to this one, and would talk over it.
    time.sleep(0.01)
    assert handler.read4ByteTxRx(port, 3, 116) == (0x900, 0, 0)
    assert handler.clearMultiTurn(port, 3) == (0, 0)
    assert handler.reboot(port, 3) == (0, 0)
    assert handler.ping(port, 3)[1] == dynamixel_sdk.COMM_RX_TIMEOUT  # it is booting
    for _ in range(50):
        model, result, _ = handler.ping(port, 3)
        if result == 0:
            break
    assert model == 1200
    assert handler.read1ByteTxRx(port, 3, 64) == (0, 0, 0)


def test_dynamixel_together(dynamixel):
    port, handler = dynamixel
    write = dynamixel_sdk.GroupSyncWrite(port, handler, 116, 4)
    for id_ in IDS:
        write.addParam(id_, list((2000 + id_).to_bytes(4, 'little')))
    assert write.txPacket() == 0
    read = dynamixel_sdk.GroupSyncRead(port, handler, 116, 4)
    for id_ in IDS:
        read.addParam(id_)
    for ask in (read.txRxPacket, read.fastSyncRead):
        assert ask() == 0
        assert [read.getData(id_, 116, 4) for id_ in IDS] == [2000 + id_ for id_ in IDS]
    bulk_write = dynamixel_sdk.GroupBulkWrite(port, handler)
    bulk_write.addParam(1, 65, 1, [1])
    bulk_write.addParam(2, 116, 4, list((2222).to_bytes(4, 'little')))
    assert bulk_write.txPacket() == 0
    bulk = dynamixel_sdk.GroupBulkRead(port, handler)
    bulk.addParam(1, 65, 1)
    bulk.addParam(2, 116, 4)
    for ask in (bulk.txRxPacket, bulk.fastBulkRead):
        assert ask() == 0
        assert (bulk.getData(1, 65, 1), bulk.getData(2, 116, 4)) == (1, 2222)


def test_feetech_one_by_one(feetech):
    port, handler, model = feetech
    assert handler.ping(port, 1)[:2] == ({'STS3215': 777, 'SCS0009': 1284}[model], 0)
    assert handler.ping(port, 77)[1] == scservo_sdk.COMM_RX_TIMEOUT
    middle = {'STS3215': 2048, 'SCS0009': 512}[model]
    assert handler.read2ByteTxRx(port, 3, 56) == (middle, 0, 0)
    assert handler.write1ByteTxRx(port, 3, 40, 1) == (0, 0)
    assert handler.write2ByteTxRx(port, 3, 42, middle + 1) == (0, 0)
    assert handler.read2ByteTxRx(port, 3, 42) == (middle + 1, 0, 0)
    assert handler.regWriteTxRx(port, 3, 41, 1, [9]) == (0, 0)
    assert handler.action(port, 3) == 0
    assert handler.read1ByteTxRx(port, 3, 41) == (9, 0, 0)


def test_feetech_together(feetech):
    port, handler, model = feetech
    write = scservo_sdk.GroupSyncWrite(port, handler, 42, 2)
    order = 'little' if model == 'STS3215' else 'big'
    for id_ in IDS:
        write.addParam(id_, list((500 + id_).to_bytes(2, order)))
    assert write.txPacket() == 0
    # The library takes no notice of a sync write's end: ask with a packet of its own.
    assert [handler.read2ByteTxRx(port, id_, 42)[0] for id_ in IDS] == [500 + i for i in IDS]
    read = scservo_sdk.GroupSyncRead(port, handler, 56, 2)
    for id_ in IDS:
        read.addParam(id_)
    result = read.txRxPacket()
    if model == 'SCS0009':
        assert result != 0
    else:
        assert result == 0
        assert [read.getData(id_, 56, 2) for id_ in IDS] == [2048] * 12


def test_a_library_at_another_rate_hears_nothing(serve):
    host = serve('dynamixel', baud=57_600)
    port = dynamixel_sdk.PortHandler(host.path)
    handler = dynamixel_sdk.PacketHandler(2.0)
    assert port.openPort() and port.setBaudRate(1_000_000)
    assert handler.ping(port, 1)[1] == dynamixel_sdk.COMM_RX_TIMEOUT
    assert port.setBaudRate(57_600)
    assert handler.ping(port, 1)[1] == 0
    port.closePort()
