"""A host with the simplest possible manners, on an emulated bus in emulated time."""

from hand_imitation.emulator.bus import EmulatedBus, make_bus
from hand_imitation.emulator.faults import Fault
from hand_imitation.emulator.virtual_port import VirtualPort
from hand_imitation.hardware import dynamixel_protocol, feetech_protocol
from hand_imitation.hardware.packet import Packet
from hand_imitation.hardware.registers import decode, encode


class Host:
    """Sends packets and waits until nothing more comes."""

    def __init__(self, kind: str, model: str | None = None, **options) -> None:
        self.protocol = {'dynamixel': dynamixel_protocol, 'feetech': feetech_protocol}[kind]
        self.bus: EmulatedBus = make_bus(kind, model=model, **options)
        self.model = self.bus.servos[0].model
        self.registers = self.model.registers
        self.port = VirtualPort(self.bus)

    def ask(self, frame: bytes, patience_s: float = 0.05) -> list[Packet]:
        """Send a packet; return the answers."""
        parser = self.protocol.Parser()
        self.port.write(frame)
        packets = []
        while data := self.port.read(patience_s):
            packets += parser.feed(data)
        return packets

    def read(self, id_: int, name: str) -> int:
        """Read one register."""
        register = self.registers[name]
        answer, = self.ask(self.protocol.read_packet(id_, register.address, register.size))
        assert answer.id == id_
        return decode(register, answer.params, self.model.byte_order)

    def write(self, id_: int, name: str, value: int) -> int | None:
        """Write one register; return the error byte, None without an answer."""
        register = self.registers[name]
        data = encode(register, value, self.model.byte_order)
        answers = self.ask(self.protocol.write_packet(id_, register.address, data), 0.01)
        return answers[0].error if answers else None

    def fault(self, name: str, **settings: float) -> None:
        """Let something go wrong now."""
        self.bus.faults.add(Fault.make(name, settings), self.port.now_s())
        self.port.sleep(0.0)
