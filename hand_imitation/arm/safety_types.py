"""What goes into the safety filter and what comes out: settings, messages, state, reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.parameters import check, parameter

REASONS = {
    'acceleration': 'the change of speed was limited',
    'clamped': 'the target was outside the limits of the joint',
    'clock': 'the clock went backwards, time stands still until it catches up',
    'duplicate_joint': 'target refused: it names a joint twice',
    'future_stamp': 'target refused: its stamp or its receipt lies in the future',
    'jump': 'the target jumped, waiting for the next one to confirm it',
    'measured_outside': 'measured too far outside the limits to start from there',
    'missing': 'no target, or one without joints',
    'nan': 'target refused: something in it is not a finite number',
    'no_measurement': 'no fresh measurement',
    'old_stamp': 'target refused: its frame is too old',
    'omitted': 'the targets leave this joint out, so it is held',
    'out_of_order': 'target refused: its frame is older than one already used',
    'repeated_stamp': 'target refused: its frame was used already',
    'restarted': 'the arm came back at another pose and starts again from there',
    'stale': 'no valid target in time',
    'stopped': 'stopped on request, waiting for resume',
    'unknown_joint': 'target refused: it names a joint the arm does not have',
    'velocity': 'the speed was limited',
    'wrong_length': 'target refused: names and positions do not match in number',
}
"""What the first word of each of `Command.reasons` means."""


@dataclass(frozen=True)
class SafetyParameters:
    """Everything about the filter that a user can set; see each description."""

    rate_hz: float = parameter(
        100.0, 'How often a command is made', lower=20.0, upper=1000.0, unit='Hz')
    input_timeout_s: float = parameter(
        0.1, 'A joint stands still this long after its last valid target was received',
        lower=0.02, upper=2.0, unit='s')
    max_stamp_age_s: float = parameter(
        0.25, 'Refuse a target whose frame was acquired longer ago than this when it arrives',
        lower=0.02, upper=5.0, unit='s')
    future_tolerance_s: float = parameter(
        0.02, 'Refuse a target stamped further in the future than this', lower=0.0, upper=1.0,
        unit='s')
    measured_timeout_s: float = parameter(
        0.1, 'A joint stands still this long after its last measurement was received',
        lower=0.02, upper=2.0, unit='s')
    velocity_scale: float = parameter(
        1.0, 'Fraction of the velocity in the URDF that may be used', lower=0.01, upper=1.0)
    max_acceleration_rad_s2: float = parameter(
        80.0, 'Acceleration towards a target, and deceleration before it', lower=1.0,
        upper=1000.0, unit='rad/s^2')
    brake_rad_s2: float = parameter(
        300.0, 'Deceleration where it must be quick; at least max_acceleration_rad_s2',
        lower=1.0, upper=5000.0, unit='rad/s^2')
    start_ramp_s: float = parameter(
        1.5, 'Time in which the speed limit grows from zero to full when the arm starts',
        lower=0.1, upper=30.0, unit='s')
    reengage_ramp_s: float = parameter(
        0.5, 'The same after a hold or a stop', lower=0.05, upper=30.0, unit='s')
    jump_rad: float = parameter(
        1.0, 'A joint whose target moves further than this between two frames waits for the '
        'next frame to confirm it', lower=0.05, upper=10.0, unit='rad')
    restart_error_rad: float = parameter(
        0.2, 'Start again from the measured pose when measurements come back after a break and '
        'differ from the command by more than this', lower=0.02, upper=10.0, unit='rad')
    start_tolerance_rad: float = parameter(
        0.1, 'Do not start from a pose measured further outside the limits than this', lower=0.0,
        upper=1.0, unit='rad')

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check(self)
        if self.brake_rad_s2 < self.max_acceleration_rad_s2:
            raise UserError(
                f'brake_rad_s2 is {self.brake_rad_s2}: give at least max_acceleration_rad_s2, '
                f'{self.max_acceleration_rad_s2}')


@dataclass(frozen=True)
class Target:
    """Where a policy wants the joints.

    Attributes:
        names: Joint names without prefix, in any order; joints left out are held.
        positions: One angle per name [rad].
        stamp_s: When the frame behind it was acquired, on the ROS clock [s].
        stamp_age_s: Age of that stamp on the ROS clock when the message arrived [s].
        received_s: When the message arrived, on the monotonic clock [s].
    """

    names: Sequence[str]
    positions: Sequence[float] | np.ndarray
    stamp_s: float
    stamp_age_s: float
    received_s: float


@dataclass(frozen=True)
class Measured:
    """Where the joints are.

    Attributes:
        names: Joint names without prefix, in any order; unknown ones (the coupled end joints
            of the fingers, another robot on the topic) are ignored.
        positions: One angle per name [rad].
        received_s: When the message arrived, on the monotonic clock [s].
    """

    names: Sequence[str]
    positions: Sequence[float] | np.ndarray
    received_s: float


@dataclass(frozen=True, eq=False)
class Command:
    """What to send, and why it is not simply the target.

    Attributes:
        positions: Shape (n,), [rad], in the table's order, read-only; None while waiting.
        velocities: Shape (n,), speed of this step [rad/s]; None while waiting.
        mode: 'waiting' for measurements, 'ramping' or 'tracking' while at least one joint is
            followed, 'holding' while none is, 'stopped' until resume.
        reasons: One per thing changed or refused: a word of `REASONS`, then the joint's name
            where it concerns one.
        stamp_s: Stamp of the newest frame that this command follows [s], or None.
    """

    positions: np.ndarray | None
    velocities: np.ndarray | None
    mode: str
    reasons: tuple[str, ...]
    stamp_s: float | None


@dataclass(frozen=True, eq=False)
class SafetyState:
    """All the filter knows between steps. Arrays have shape (n,), in the table's order.

    Attributes:
        now_s: Time of the last step, or None before the first.
        command: Last command [rad], or None before the arm has been measured whole.
        velocity: Speed of the last command [rad/s].
        goal: Last accepted target, inside the limits [rad]; NaN before the first.
        goal_s: When it was received [s]; -inf before the first.
        pending: Target that jumped and waits for confirmation [rad]; NaN for none.
        measured: Last measurement [rad]; NaN before the first.
        measured_s: When it was received [s]; -inf before the first.
        engaged_s: Since when the joint is followed [s]; -inf once its ramp is over.
        ramp_s: Length of its current or next ramp [s].
        stamp_s: Stamp of the last accepted target [s], or None.
        seen: Stamp and receipt of the last target looked at, to know it again.
        stopped: Whether a stop is latched.
    """

    now_s: float | None
    command: np.ndarray | None
    velocity: np.ndarray
    goal: np.ndarray
    goal_s: np.ndarray
    pending: np.ndarray
    measured: np.ndarray
    measured_s: np.ndarray
    engaged_s: np.ndarray
    ramp_s: np.ndarray
    stamp_s: float | None = None
    seen: tuple[float, float] | None = None
    stopped: bool = False
