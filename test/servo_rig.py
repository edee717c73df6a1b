"""An arm of servos on an emulated bus, in emulated time."""

import numpy as np

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.emulator.bus import make_bus
from hand_imitation.emulator.faults import Fault
from hand_imitation.emulator.virtual_port import VirtualPort
from hand_imitation.errors import UserError
from hand_imitation.hardware.robot import TickScale, load_robot
from hand_imitation.hardware.servo_arm import ServoArm, ServoArmParameters

PERIOD_S = 0.01
ROBOTS = {'dynamixel': 'dynamixel_xl330', 'feetech': 'feetech_sts3215', 'scs': 'feetech_scs0009'}
TABLE = JointTable.from_urdf(load_description())


class Rig:
    """The arm, the bus under it, and the clock of both."""

    def __init__(self, kind, positions_rad=None, seed=0, baud=None, **parameters):
        self.robot = load_robot(ROBOTS[kind], TABLE)
        self.scale = TickScale(self.robot)
        middle = (TABLE.lower_rad + TABLE.upper_rad) / 2
        start = middle if positions_rad is None else positions_rad
        self.bus = make_bus(
            self.robot.protocol, 12, self.robot.baud if baud is None else baud,
            self.robot.joints[0].model.name, positions=self.scale.to_ticks(start), seed=seed)
        self.ports = []
        self.arm = ServoArm(self.robot, TABLE, self.scale, self.open_port,
                            ServoArmParameters(**parameters))

    def open_port(self):
        now_s = self.ports[-1].now_s() if self.ports else 0.0
        if self.bus.faults.unplugged:
            raise UserError('no serial port: is the adapter plugged in?')
        self.ports.append(VirtualPort(self.bus, self.robot.baud, now_s))
        return self.ports[-1]

    @property
    def port(self):
        return self.ports[-1]

    def now_s(self):
        return self.port.now_s() if self.ports else 0.0

    def fault(self, name, **settings):
        self.bus.faults.add(Fault.make(name, settings), self.now_s())

    def cycle(self, targets_rad=None, period_s=PERIOD_S):
        """One period: send, read, wait for the rest of it."""
        began_s = self.now_s()
        if targets_rad is not None:
            self.arm.write(targets_rad)
        state = self.arm.read()
        self.port.sleep(began_s + period_s - self.now_s())
        return state

    def writes(self, register):
        return [event for event in self.bus.wire if event.register == register]

    def goals_rad(self):
        """Goals written so far, as (time, joint, angle)."""
        row_of = {joint.id: row for row, joint in enumerate(self.robot.joints)}
        found = []
        for event in self.writes('goal_position'):
            row = row_of[event.id]
            ticks = np.full(12, event.value, dtype=float)
            found.append((event.time_s, row, self.scale.to_rad(ticks)[row]))
        return found

    def true_rad(self):
        return self.scale.to_rad(
            [self.bus.servo(joint.id).position for joint in self.robot.joints])
