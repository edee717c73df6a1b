"""A second, minimal servo bus, written from the makers' tables alone.

It shares no code with the package: were driver and emulator to make the same mistake about the
protocol, this one would not. It knows just enough to run an arm: packets, the registers used,
and a motor that turns at a steady speed.
"""

SPEED_TICKS_S = 3000


class Servo:
    """256 bytes or less, and a motor."""

    def __init__(self, id_, start, layout):
        self.layout = layout
        self.memory = bytearray(256)
        self.place = float(start)
        for address, data in layout['defaults'].items():
            self.memory[address:address + len(data)] = data
        self.memory[layout['id']] = id_
        self.put('position', round(start))

    def put(self, name, value):
        address, size, order = self.layout[name]
        self.memory[address:address + size] = (value % (1 << 8 * size)).to_bytes(size, order)

    def get(self, name):
        address, size, order = self.layout[name]
        return int.from_bytes(self.memory[address:address + size], order)

    @property
    def torque(self):
        return self.memory[self.layout['torque']]

    def move(self, seconds):
        if self.torque == 1:
            way = self.get('goal') - self.place
            most = SPEED_TICKS_S * seconds
            self.place += max(-most, min(most, way))
        self.put('position', round(self.place))

    def write(self, address, data):
        self.memory[address:address + len(data)] = data


# Address, size, byte order.
DYNAMIXEL = {
    'id': 7, 'torque': 64, 'goal': (116, 4, 'little'), 'position': (132, 4, 'little'),
    'defaults': {
        0: bytes([0xB0, 0x04]),  # model 1200
        6: bytes([44]), 8: bytes([3]), 9: bytes([250]), 11: bytes([3]), 31: bytes([70]),
        38: bytes([0xD6, 0x06]),  # 1750 mA
        44: bytes([0xBD, 0x01, 0, 0]),  # 445
        48: bytes([0xFF, 0x0F, 0, 0]), 68: bytes([2]), 144: bytes([50, 0]), 146: bytes([31])}}
STS = {
    'id': 5, 'torque': 40, 'goal': (42, 2, 'little'), 'position': (56, 2, 'little'),
    'defaults': {
        3: bytes([9, 3]),  # model 777
        6: bytes([0]), 7: bytes([250]), 8: bytes([1]), 11: bytes([0xFF, 0x0F]), 13: bytes([70]),
        48: bytes([0xE8, 3]), 55: bytes([1]), 62: bytes([74]), 63: bytes([31])}}
SCS = {
    'id': 5, 'torque': 40, 'goal': (42, 2, 'big'), 'position': (56, 2, 'big'),
    'defaults': {
        3: bytes([5, 4]),  # model 1284
        6: bytes([0]), 8: bytes([1]), 11: bytes([0x03, 0xFF]), 13: bytes([70]),
        16: bytes([0x03, 0xE8]), 48: bytes([1]), 62: bytes([60]), 63: bytes([31])}}


class Responder:
    """Takes bytes, gives bytes; subclasses know the packets."""

    def __init__(self, servos):
        self.servos = {servo.memory[servo.layout['id']]: servo for servo in servos}
        self.written = []  # (id, address, data) in order
        self.pending = b''

    def take(self, data):
        """Return the answers to what came."""
        self.pending += data
        answers = []
        while True:
            found = self.packet()
            if found is None:
                return answers
            answers += self.obey(*found)

    def store(self, id_, address, data):
        if id_ in self.servos:
            self.servos[id_].write(address, data)
            self.written.append((id_, address, bytes(data)))

    def move(self, seconds):
        for servo in self.servos.values():
            servo.move(seconds)


def crc(data):
    """CRC-16 of polynomial 8005, bit by bit."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1) & 0x1FFFF
            if value & 0x10000:
                value ^= 0x18005
    return value


def stuff(body):
    out = bytearray()
    for byte in body:
        out.append(byte)
        if out[-3:] == b'\xff\xff\xfd':
            out.append(0xFD)
    return bytes(out)


def unstuff(body):
    out, skip = bytearray(), False
    for byte in body:
        if skip:
            skip = False
            if byte == 0xFD:
                continue
        out.append(byte)
        skip = out[-3:] == b'\xff\xff\xfd'
    return bytes(out)


class DynamixelResponder(Responder):
    def packet(self):
        start = self.pending.find(b'\xff\xff\xfd\x00')
        if start < 0 or len(self.pending) < start + 7:
            return None
        length = self.pending[start + 5] + 256 * self.pending[start + 6]
        end = start + 7 + length
        if len(self.pending) < end:
            return None
        frame, self.pending = self.pending[start:end], self.pending[end:]
        assert crc(frame[:-2]) == frame[-2] + 256 * frame[-1], 'wrong checksum from the host'
        body = unstuff(frame[7:-2])
        return frame[4], body[0], body[1:]

    def status(self, id_, data=b''):
        body = stuff(bytes([0x55, 0]) + bytes(data))
        size = len(body) + 2
        frame = b'\xff\xff\xfd\x00' + bytes([id_, size & 255, size >> 8]) + body
        check = crc(frame)
        return frame + bytes([check & 255, check >> 8])

    def obey(self, id_, instruction, params):
        if instruction == 0x01 and id_ in self.servos:
            memory = self.servos[id_].memory
            return [self.status(id_, bytes([memory[0], memory[1], memory[6]]))]
        address = params[0] + 256 * params[1] if len(params) > 1 else 0
        if instruction == 0x02 and id_ in self.servos:
            size = params[2] + 256 * params[3]
            return [self.status(id_, self.servos[id_].memory[address:address + size])]
        if instruction == 0x03 and id_ in self.servos:
            self.store(id_, address, params[2:])
            return [self.status(id_)]
        if instruction == 0x82:
            size = params[2] + 256 * params[3]
            return [self.status(i, self.servos[i].memory[address:address + size])
                    for i in params[4:] if i in self.servos]
        if instruction == 0x83:
            size = params[2] + 256 * params[3]
            rest = params[4:]
            assert len(rest) % (size + 1) == 0
            for k in range(0, len(rest), size + 1):
                self.store(rest[k], address, rest[k + 1:k + 1 + size])
        return []


class FeetechResponder(Responder):
    def __init__(self, servos, sync_read=True):
        super().__init__(servos)
        self.sync_read = sync_read

    def packet(self):
        start = self.pending.find(b'\xff\xff')
        if start < 0 or len(self.pending) < start + 4:
            return None
        end = start + 4 + self.pending[start + 3]
        if len(self.pending) < end:
            return None
        frame, self.pending = self.pending[start:end], self.pending[end:]
        assert (sum(frame[2:-1]) + frame[-1]) & 255 == 255, 'wrong checksum from the host'
        return frame[2], frame[4], frame[5:-1]

    def status(self, id_, data=b''):
        body = bytes([id_, len(data) + 2, 0]) + bytes(data)
        return b'\xff\xff' + body + bytes([255 - sum(body) % 256])

    def obey(self, id_, instruction, params):
        if instruction == 1 and id_ in self.servos:
            return [self.status(id_)]
        if instruction == 2 and id_ in self.servos:
            return [self.status(id_, self.servos[id_].memory[params[0]:params[0] + params[1]])]
        if instruction == 3 and id_ in self.servos:
            self.store(id_, params[0], params[1:])
            return [self.status(id_)]
        if instruction == 0x82 and self.sync_read:
            return [self.status(i, self.servos[i].memory[params[0]:params[0] + params[1]])
                    for i in params[2:] if i in self.servos]
        if instruction == 0x83:
            size, rest = params[1], params[2:]
            assert len(rest) % (size + 1) == 0
            for k in range(0, len(rest), size + 1):
                self.store(rest[k], params[0], rest[k + 1:k + 1 + size])
        return []


class ResponderPort:
    """A port with the responder behind it, and a clock of its own."""

    def __init__(self, responder, baud=1_000_000):
        self.responder = responder
        self.byte_s = 10 / baud
        self.time_s = 0.0
        self.coming = []  # (when its last byte is there, bytes)

    def write(self, data):
        self.pass_time(len(data) * self.byte_s)
        due_s = self.time_s
        for answer in self.responder.take(data):
            due_s += len(answer) * self.byte_s
            self.coming.append((due_s, answer))

    def read(self, timeout_s):
        wait_s = max(timeout_s, 0.0)
        if self.coming:
            wait_s = min(wait_s, max(self.coming[0][0] - self.time_s, 0.0))
        self.pass_time(wait_s)
        data = b''
        while self.coming and self.coming[0][0] <= self.time_s + 1e-12:
            data += self.coming.pop(0)[1]
        return data

    def drain(self, quiet_s):
        dropped = 0
        while True:
            data = self.read(quiet_s)
            if not data:
                return dropped
            dropped += len(data)

    def set_baud(self, baud):
        self.byte_s = 10 / baud

    def now_s(self):
        return self.time_s

    def sleep(self, duration_s):
        self.pass_time(max(duration_s, 0.0))

    def close(self):
        pass

    def pass_time(self, seconds):
        self.time_s += seconds
        self.responder.move(seconds)


def make_port(kind, starts):
    """Return a port with servos 1, 2, 3, ... of a kind at these counts."""
    layout = {'dynamixel': DYNAMIXEL, 'feetech': STS, 'scs': SCS}[kind]
    servos = [Servo(id_, start, layout) for id_, start in enumerate(starts, 1)]
    if kind == 'dynamixel':
        return ResponderPort(DynamixelResponder(servos))
    return ResponderPort(FeetechResponder(servos, sync_read=kind == 'feetech'))
