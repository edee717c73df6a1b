"""What can go wrong with an arm of servos while it is in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hand_imitation.hardware.bus import BusLostError, NoReplyError, RefusedError

__all__ = [
    'BusLostError', 'NoReplyError', 'RefusedError', 'ServoFaultError', 'StaleMeasurementError']


class ServoFaultError(RuntimeError):
    """Servos are in trouble; the motors must go off.

    Attributes:
        faults: By joint, what is wrong and what to do.
    """

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__('; '.join(f'{name}: {text}' for name, text in faults.items()))
        self.faults = dict(faults)


class StaleMeasurementError(RuntimeError):
    """Servos have not been heard for too long to arm them.

    Attributes:
        joints: Which.
    """

    def __init__(self, joints: Sequence[str]) -> None:
        super().__init__(f'no answer from {", ".join(joints)}: check cable and power')
        self.joints = tuple(joints)
