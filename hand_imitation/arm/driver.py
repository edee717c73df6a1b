"""What the rest of the package may ask of an arm, simulated or real."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

Driver = TypeVar('Driver', bound='ArmDriver')


class NotArmedError(RuntimeError):
    """A target was written while the motors were off."""


@dataclass(frozen=True, eq=False)
class ArmState:
    """One measurement of all joints, in the order of the joint table.

    Attributes:
        position_rad: Shape (n,), [rad].
        velocity_rad_s: Shape (n,), [rad/s].
        effort_nm: Shape (n,), torque of the motors, [N m].
        stamp_s: When it was measured, on the driver's own clock, [s].
    """

    position_rad: np.ndarray
    velocity_rad_s: np.ndarray
    effort_nm: np.ndarray
    stamp_s: float


class ArmDriver(ABC):
    """An arm on the other end of a simulation or a servo bus.

    Life: `open`, any number of `read`, then `arm`, `write`..., `disarm`, and `close`. Between
    `open` and `arm` the motors exert no torque. As a context manager it opens and closes itself.
    """

    @abstractmethod
    def open(self) -> None:
        """Connect, motors off. Raises UserError when that is impossible."""

    @abstractmethod
    def arm(self) -> None:
        """Switch the motors on, holding the present position."""

    @abstractmethod
    def write(self, targets_rad: np.ndarray) -> None:
        """Send position targets, kept within the joint limits.

        Args:
            targets_rad: Shape (n,), order of the joint table, [rad].

        Raises:
            NotArmedError: the motors are off.
            ValueError: wrong shape, or a value that is not finite.
        """

    @abstractmethod
    def read(self) -> ArmState:
        """Measure all joints."""

    @abstractmethod
    def disarm(self) -> None:
        """Switch the motors off. Does no harm when they are off already."""

    @abstractmethod
    def close(self) -> None:
        """Switch the motors off and disconnect. Does no harm when closed already."""

    def __enter__(self: Driver) -> Driver:
        self.open()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
