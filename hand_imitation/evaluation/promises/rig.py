"""From a target to the servos, in emulated time: filter, driver, wire, emulated servos.

Nothing of it is made for the purpose but the clock. What counts is what the servos were told, as
they understood it, and what their motors did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import Measured, SafetyFilter, SafetyParameters, Target
from hand_imitation.emulator.bus import EmulatedBus, make_bus
from hand_imitation.emulator.faults import Fault
from hand_imitation.emulator.record import WireEvent
from hand_imitation.emulator.virtual_port import VirtualPort
from hand_imitation.errors import UserError
from hand_imitation.hardware.bus_loop import BusLoop, Cycle, Mode
from hand_imitation.hardware.connection import connect
from hand_imitation.hardware.port import Port
from hand_imitation.hardware.robot import TickScale
from hand_imitation.hardware.servo_arm import ServoArmParameters
from hand_imitation.hardware.watchdog import WatchdogParameters

FAMILIES = ('dynamixel', 'feetech')
CYCLE_S = 0.01
FRAME_S = 1.0 / 30.0
_FRAME_AGE_S = 0.02
_ROS_EPOCH_S = 1e9


@lru_cache(maxsize=1)
def arm_table() -> JointTable:
    """Return the joints of the arm."""
    return JointTable.from_urdf(load_description('right'))


class Rig:
    """A bus of 12 servos, its driver, and a commander; all in emulated time.

    Args:
        family: 'dynamixel' or 'feetech'.
        seed: Of everything random.
        start_rad: Shape (n,), where the joints stand at first [rad]; the middle by default.

    Attributes:
        table: The arm's joints.
        rng: For what is random.
        robot: Which servo drives which joint.
        scale: Joint angles to servo counts.
        arm: The driver.
        target: What the policy has shown last.
        mode: What the commander is doing.
        bus: The emulated bus.
        loop: The driver's loop.
        goals: Goals the servos were told, since `forget`: time [s], id, ticks.
        switched: Torque the servos were told, since `forget`: time [s], id, 0 or 1.
    """

    def __init__(
        self, family: str, seed: int = 0, start_rad: np.ndarray | None = None,
    ) -> None:
        self.table = arm_table()
        self.rng = np.random.default_rng(seed)
        self.family = family
        self._port: VirtualPort | None = None
        self._clock_s = 0.0
        self.parameters = ServoArmParameters()
        connection = connect(
            family, '', 'emulated', 0, 'none', self.table, self.parameters, self._open_port)
        self.robot = connection.robot
        self.scale = TickScale(self.robot)
        if start_rad is None:
            start_rad = (self.table.lower_rad + self.table.upper_rad) / 2
        self.bus: EmulatedBus = make_bus(
            family, positions=self.scale.to_ticks(start_rad).tolist(), seed=seed)
        self.arm = connection.arm
        self.loop = BusLoop(self.arm, WatchdogParameters(), self.now_s)
        self._filter = SafetyFilter(self.table, SafetyParameters())
        self._filter_state = self._filter.initial_state()
        self.target: Target | None = None
        self._measured: Measured | None = None
        self.mode = 'waiting'
        self.goals: list[tuple[float, int, int]] = []
        self.switched: list[tuple[float, int, int]] = []
        self.bus.on_write = self._note

    def _open_port(self, path: str, baud: int) -> Port:
        if self.bus.faults.unplugged:
            raise UserError('no such port')
        self._port = VirtualPort(self.bus, baud, self.now_s())
        return self._port

    def _note(self, event: WireEvent) -> None:
        if not event.accepted:
            return
        if event.register == 'goal_position':
            self.goals.append((event.time_s, event.id, event.value))
        elif event.register == 'torque_enable':
            self.switched.append((event.time_s, event.id, event.value))

    def forget(self) -> None:
        """Forget what the servos were told so far."""
        self.goals.clear()
        self.switched.clear()

    @property
    def port_open(self) -> bool:
        """Whether the driver still holds the port."""
        return self._port is not None and self._port.is_open

    def now_s(self) -> float:
        """Return the emulated time [s]."""
        if self._port is not None:
            self._clock_s = max(self._clock_s, self._port.now_s())
        return self._clock_s

    def pass_time(self, until_s: float) -> None:
        """Let emulated time pass without a word on the bus."""
        if self._port is not None and until_s > self._port.now_s():
            self._port.sleep(until_s - self._port.now_s())
        self._clock_s = max(self._clock_s, until_s)
        self.bus.advance(self._clock_s)

    def inject(self, text: str) -> float:
        """Let a fault begin now, such as 'overload:id=3'; return the time [s]."""
        self.bus.faults.add(Fault.parse(text), self.now_s())
        self.bus.advance(self.now_s())
        return self.now_s()

    def start(self) -> Rig:
        """Open the bus and switch the motors on."""
        self.loop.open()
        self.loop.arm()
        return self

    def show(self, positions_rad: Sequence[float] | np.ndarray, names: Sequence[str] | None = None,
             stamp_off_s: float = 0.0) -> None:
        """Let the policy say where the joints shall be, from a new frame.

        Args:
            positions_rad: One angle per name [rad].
            names: Joints; all by default.
            stamp_off_s: How wrong the frame's stamp is [s].
        """
        now_s = self.now_s()
        stamp_s = _ROS_EPOCH_S + now_s - _FRAME_AGE_S + stamp_off_s
        self.target = Target(
            names=tuple(self.table.names if names is None else names), positions=positions_rad,
            stamp_s=stamp_s, stamp_age_s=_FRAME_AGE_S - stamp_off_s, received_s=now_s)

    def cycle(self) -> Cycle:
        """Pass through one period: the commander's step, then the driver's cycle."""
        began_s = self.now_s()
        self.command()
        cycle = self.loop.cycle()
        self.measure(cycle)
        self.pass_time(began_s + CYCLE_S)
        return cycle

    def command(self) -> None:
        """Let the commander make one command, and hand it to the driver when that is armed."""
        self._filter_state, command = self._filter.step(
            self._filter_state, self.target, self._measured, self.now_s())
        self.mode = command.mode
        if command.positions is not None and self.loop.mode is Mode.ARMED:
            self.loop.command(command.positions)

    def measure(self, cycle: Cycle) -> None:
        """Hand what was measured to the commander; a silent servo's joint is left out."""
        if cycle.state is None:
            return
        fresh = cycle.state.sample_age_s < 2 * CYCLE_S
        if fresh.any():
            names = [n for n, f in zip(self.table.names, fresh, strict=True) if f]
            self._measured = Measured(names, cycle.state.position_rad[fresh], self.now_s())

    def follow(
        self, wanted: Callable[[float], np.ndarray], seconds: float,
        each: Callable[[Cycle], None] | None = None,
    ) -> None:
        """Show new targets at a camera's rate for a while.

        Args:
            wanted: Where the joints shall be at a time [s], shape (n,), [rad].
            seconds: For how long.
            each: Called after every cycle.
        """
        end_s = self.now_s() + seconds
        next_s = self.now_s()
        while self.now_s() < end_s:
            if self.now_s() >= next_s:
                self.show(wanted(self.now_s()))
                next_s += FRAME_S
            cycle = self.cycle()
            if each is not None:
                each(cycle)

    def idle(self, seconds: float, each: Callable[[Cycle], None] | None = None) -> None:
        """Go on without new targets for a while."""
        end_s = self.now_s() + seconds
        while self.now_s() < end_s:
            cycle = self.cycle()
            if each is not None:
                each(cycle)

    def wave(self, time_s: float, share: float = 0.8, rate_hz: float = 0.5) -> np.ndarray:
        """Return a pose that moves through most of the joints' ranges, shape (n,), [rad]."""
        middle = (self.table.lower_rad + self.table.upper_rad) / 2
        half = (self.table.upper_rad - self.table.lower_rad) / 2
        phase = np.arange(len(self.table)) * 0.5
        return middle + share * half * np.sin(2 * np.pi * rate_hz * time_s + phase)

    def warm_up(self) -> Rig:
        """Start, and follow a moving hand until the start ramp is over."""
        self.start()
        self.follow(self.wave, 2.0)
        return self

    def goals_of(self, id_: int) -> list[tuple[float, int]]:
        """Return the goals one servo was told: time [s] and ticks."""
        return [(time_s, value) for time_s, i, value in self.goals if i == id_]

    def last_goal_change_s(self) -> float:
        """Return when a goal last became another one since `forget` [s]; -inf for never."""
        last: dict[int, int] = {}
        changed_s = -np.inf
        for time_s, id_, value in self.goals:
            if id_ in last and last[id_] != value:
                changed_s = time_s
            last[id_] = value
        return changed_s

    def fastest_rad_s(self) -> float:
        """Return the speed of the fastest motor now [rad/s]."""
        return max(abs(servo.motor.velocity_rad_s) for servo in self.bus.servos)

    def motors_on(self) -> int:
        """Return how many motors are on."""
        return sum(bool(servo.motor.on) for servo in self.bus.servos)

    def goals_outside(self) -> int:
        """Return how many goals since `forget` lay outside the joints' limits."""
        limits = {id_: (low, high) for id_, low, high in zip(
            self.robot.ids, self.scale.lower_ticks, self.scale.upper_ticks, strict=True)}
        return sum(not limits[id_][0] <= value <= limits[id_][1]
                   for _, id_, value in self.goals)
