"""The registers of one emulated servo."""

from __future__ import annotations

from collections.abc import Sequence

from hand_imitation.hardware.registers import Model, Register, decode, encode, value_range


class ControlTable:
    """Bytes at addresses, and the registers they make up; by name, its values are numbers.

    Attributes:
        size: Bytes.
    """

    def __init__(self, model: Model, size: int) -> None:
        self.size = size
        self._order = model.byte_order
        self._registers = model.registers
        self._bytes = bytearray(size)
        # Kept beside the bytes, because they are asked for thousands of times a second.
        self._values = dict.fromkeys(model.registers, 0)
        self._ranges = {name: value_range(register) for name, register in
                        model.registers.items()}
        self._sorted = sorted(model.registers.values(), key=lambda register: register.address)
        self._touched: dict[tuple[int, int], Sequence[Register]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._registers

    def __getitem__(self, name: str) -> int:
        return self._values[name]

    def get(self, name: str, default: int) -> int:
        """Return a register's value, or the default where this model has no such register."""
        return self._values.get(name, default)

    def __setitem__(self, name: str, value: float) -> None:
        """Set a register to the nearest value it can hold."""
        rounded = round(value)
        if rounded == self._values[name]:
            return
        lower, upper = self._ranges[name]
        rounded = min(max(rounded, lower), upper)
        register = self._registers[name]
        self._values[name] = rounded
        self._bytes[register.address:register.end] = encode(register, rounded, self._order)

    def read(self, address: int, size: int) -> bytes:
        """Return the bytes from an address on."""
        return bytes(self._bytes[address:address + size])

    def store(self, address: int, data: bytes, values: Sequence[tuple[Register, int]]) -> None:
        """Replace the bytes from an address on.

        Args:
            address: Of the first.
            data: The bytes.
            values: What `values_after` returns for them.
        """
        self._values.update((register.name, value) for register, value in values)
        self._bytes[address:address + len(data)] = data

    def restore(self, other: ControlTable, eeprom: bool) -> None:
        """Take over all registers that are, or are not, in EEPROM."""
        for register in self._sorted:
            if register.eeprom is eeprom:
                self[register.name] = other[register.name]

    def touched(self, address: int, size: int) -> Sequence[Register]:
        """Return the registers of which at least a part lies in a range of addresses."""
        key = address, size
        if key not in self._touched:
            if len(self._touched) > 1000:
                self._touched.clear()
            self._touched[key] = tuple(
                register for register in self._sorted
                if register.address < address + size and register.end > address)
        return self._touched[key]

    def values_after(self, address: int, data: bytes) -> list[tuple[Register, int]]:
        """Return what the registers touched by a write would hold after it."""
        values = []
        for register in self.touched(address, len(data)):
            content = bytearray(self._bytes[register.address:register.end])
            first = max(address, register.address)
            last = min(address + len(data), register.end)
            content[first - register.address:last - register.address] = \
                data[first - address:last - address]
            values.append((register, decode(register, bytes(content), self._order)))
        return values
