"""From what a user says of the arm on the desk to a driver for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.hardware.calibration import (
    Calibration,
    default_calibration_path,
    load_calibration,
)
from hand_imitation.hardware.port import Port, open_serial
from hand_imitation.hardware.robot import Robot, TickScale, load_robot
from hand_imitation.hardware.servo_arm import ServoArm, ServoArmParameters

NO_CALIBRATION = 'none'
DEFAULT_ROBOTS = {'dynamixel': 'dynamixel_xl330', 'feetech': 'feetech_sts3215'}
"""The robot taken where only the kind of servo is named."""


@dataclass(frozen=True)
class Connection:
    """An arm that can be opened.

    Attributes:
        robot: Its description.
        arm: Its driver, closed.
        arming_refused: Why it may be read but not armed, or ''.
    """

    robot: Robot
    arm: ServoArm
    arming_refused: str


def connect(
    driver: str, robot: str, port: str, baud: int, calibration: str, table: JointTable,
    parameters: ServoArmParameters, open_port: Callable[[str, int], Port] = open_serial,
) -> Connection:
    """Make the driver of an arm; nothing is opened yet.

    Args:
        driver: 'dynamixel' or 'feetech'.
        robot: Name or path of the robot description; '' takes the one for this kind of servo.
        port: Serial port.
        baud: Bits per second; 0 takes the robot's.
        calibration: Path of the calibration; '' takes the robot's usual place, 'none' does
            without one.
        table: The arm's joints.
        parameters: Of the driver.
        open_port: Opens a port by name and baud rate.

    Raises:
        UserError: Something of it does not exist or does not fit.
    """
    described = load_robot(robot or DEFAULT_ROBOTS[driver], table)
    if described.protocol != driver:
        raise UserError(
            f"robot '{described.name}' has {described.protocol} servos: give "
            f'driver:={described.protocol}, or another robot')
    if baud:
        described = described.with_baud(baud)
    found, arming_refused = _calibration(calibration, described)
    arm = ServoArm(
        described, table, TickScale(described, found), lambda: open_port(port, described.baud),
        parameters)
    return Connection(described, arm, arming_refused)


def _calibration(setting: str, robot: Robot) -> tuple[Calibration | None, str]:
    """Load the calibration, and say why arming is refused where there is none."""
    if setting == NO_CALIBRATION:
        return None, ''
    path = setting or default_calibration_path(robot)
    if not setting and not default_calibration_path(robot).exists():
        return None, (
            f"'{robot.name}' has not been calibrated: run hand-imitation calibrate, or give "
            "calibration:=none to use the robot description's own offsets")
    return load_calibration(path, robot), ''
