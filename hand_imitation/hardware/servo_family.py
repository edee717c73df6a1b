"""What differs between families of servos: registers to read, to set, and what errors mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hand_imitation.hardware.bus import BusParameters, ServoBus
from hand_imitation.hardware.port import Port
from hand_imitation.hardware.registers import Model


@dataclass(frozen=True)
class Block:
    """Registers that are read in one piece.

    Attributes:
        address: First byte.
        size: Bytes.
    """

    address: int
    size: int


def block_of(model: Model, names: Sequence[str]) -> Block:
    """Return the smallest block that holds some registers."""
    registers = [model.registers[name] for name in names]
    address = min(register.address for register in registers)
    return Block(address, max(register.end for register in registers) - address)


@dataclass(frozen=True)
class ServoSetup:
    """What one servo is to be set to.

    Attributes:
        id: The servo's id.
        name: The joint it drives.
        model: What kind of servo it is.
        multi_turn: Its count passes over the end of a turn inside the joint's travel.
        lower_ticks: Lowest goal.
        upper_ticks: Highest goal.
        velocity_raw: Highest speed, in the servo's unit.
        acceleration_rad_s2: Highest acceleration of the servo's shaft [rad/s^2].
        current_limit_a: [A].
    """

    id: int
    name: str
    model: Model
    multi_turn: bool
    lower_ticks: int
    upper_ticks: int
    velocity_raw: int
    acceleration_rad_s2: float
    current_limit_a: float


class ServoFamily(ABC):
    """One maker's servos."""

    BAUDS: Mapping[int, int]
    """Baud rates they can be set to."""
    HAS_WATCHDOG: bool
    """Whether they stop by themselves when the host falls silent."""

    @abstractmethod
    def make_bus(self, port: Port, baud: int, models: Sequence[Model],
                 parameters: BusParameters) -> ServoBus:
        """Make the bus these servos sit on."""

    @abstractmethod
    def motion_names(self, model: Model) -> tuple[str, ...]:
        """Registers read of all servos in every cycle, close together."""

    @abstractmethod
    def status_names(self, model: Model) -> tuple[str, ...]:
        """Registers read of one servo in every cycle, in turn."""

    @abstractmethod
    def make_answer(self, bus: ServoBus, ids: Sequence[int]) -> None:
        """See that servos confirm what they are told, before anything else is said to them."""

    @abstractmethod
    def configure(self, bus: ServoBus, setup: ServoSetup) -> list[str]:
        """Set what outlasts a loss of power, with the motor off, where it differs.

        Returns:
            What was changed, in words.
        """

    @abstractmethod
    def counts_turns(self, setup: ServoSetup) -> bool:
        """Say whether the servo, configured so, counts over more than one turn."""

    @abstractmethod
    def prepare(self, bus: ServoBus, setup: ServoSetup) -> None:
        """Set what must hold before the motor goes on, all but the goal."""

    @abstractmethod
    def start_watchdog(self, bus: ServoBus, setup: ServoSetup, silence_s: float) -> None:
        """Have the servo stop by itself when it hears nothing for this long [s]."""

    @abstractmethod
    def end_watchdog(self, bus: ServoBus, model: Model, ids: Sequence[int]) -> None:
        """End that, without asking for confirmation."""

    @abstractmethod
    def trouble(self, status: Mapping[str, int], alarms: Sequence[str]) -> str:
        """Say what trouble a servo is in and what to do.

        Args:
            status: Values of `status_names`.
            alarms: What came in its error byte.

        Returns:
            One line, or ''.
        """

    @abstractmethod
    def tripped(self, status: Mapping[str, int]) -> bool:
        """Say whether the servo has stopped by itself because the host fell silent."""


def set_where_different(bus: ServoBus, setup: ServoSetup,
                        wanted: Mapping[str, int]) -> list[str]:
    """Set registers of one servo, and only those that hold something else.

    Returns:
        What was changed, in words.
    """
    changed = []
    for name, value in wanted.items():
        held = bus.read_register(setup.id, setup.model, name)
        if held != value:
            bus.write_register(setup.id, setup.model, name, value)
            changed.append(f'{setup.name}: {name} {held} -> {value}')
    return changed
