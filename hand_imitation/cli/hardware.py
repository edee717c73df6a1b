"""`hand-imitation hardware`: the whole graph on a real arm, by one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli import graph_command
from hand_imitation.cli.options import RunOptions, in_options
from hand_imitation.errors import UserError
from hand_imitation.hardware.connection import connect
from hand_imitation.hardware.joint_map import load_joint_map
from hand_imitation.hardware.port import open_serial
from hand_imitation.hardware.servo_arm import ServoArmParameters
from hand_imitation.node_parameters import SERVO_FAMILIES
from hand_imitation.policy import DEFAULT_POLICY

_ROS2_CONTROL = 'ros2_control'
_NAMESPACE = 'hand_imitation'
"""Of our nodes beside ros2_control, whose joint states would meet ours."""


def hardware(
    driver: Annotated[str | None, typer.Option(
        help='dynamixel, feetech, or ros2_control for a controller that runs already.',
        show_default='dynamixel')] = None,
    port: Annotated[str | None, typer.Option(
        help='Serial port of the servo bus.', show_default='/dev/ttyUSB0')] = None,
    baud: Annotated[int | None, typer.Option(
        help='Bits per second on the bus.', show_default="the robot's")] = None,
    robot: Annotated[str | None, typer.Option(
        help='Robot description, name or path of a YAML file.',
        show_default="the package's own for the kind of servos")] = None,
    calibration: Annotated[str | None, typer.Option(
        help="Calibration file; 'none' goes by the robot description alone.",
        show_default="the robot's usual place")] = None,
    armed: Annotated[bool, typer.Option(
        '--armed', help='Switch the motors on. Without it the arm is only measured.')] = False,
    source: Annotated[str, typer.Option(
        help="Camera index, video, GIF, folder of images, 'topic:/name', or 'sample'.")] = '0',
    policy: Annotated[str | None, typer.Option(
        help='Name of the policy, or folder of a checkpoint.',
        show_default=DEFAULT_POLICY)] = None,
    duration: Annotated[float | None, typer.Option(
        min=0.1, help='Stop after this many seconds; a file stops at its end.')] = None,
    out: Annotated[Path | None, typer.Option(
        help='Folder for side_by_side.mp4, bag/ and summary.json.')] = None,
    side: Annotated[str | None, typer.Option(
        help='Which arm: right or left.', show_default='right')] = None,
    mirror: Annotated[bool | None, typer.Option(
        help='Lean like a mirror image of the person.', show_default='mirror')] = None,
    namespace: Annotated[str, typer.Option(help='ROS namespace of all nodes.')] = '',
    prefix: Annotated[str | None, typer.Option(help='Put before every joint name.')] = None,
    person: Annotated[Path | None, typer.Option(
        help="Calibration of the person, from 'hand-imitation calibrate person', for "
             'the geometric policy.')] = None,
    params_file: Annotated[Path | None, typer.Option(
        help='YAML file with parameters of the nodes.')] = None,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print the summary as one JSON document instead of a table.')] = False,
) -> None:
    """Let a real arm imitate a hand: camera, policy, commander and the driver of the servos.

    In a terminal, the space bar stops the arm, r lets it go on, and q ends the run. However it
    ends, the motors are switched off first.

    Example: hand-imitation hardware --port /dev/ttyUSB0 --armed

    Example: hand-imitation hardware --driver feetech --port /dev/ttyACM0 --source hand.mp4
    """
    parameters = graph_command.merged_parameters(params_file, person)

    def settled(asked: Any, node: str, name: str) -> Any:
        return parameters[node][name] if asked is None else asked

    kind = settled(driver, 'servo_driver', 'driver')
    if kind not in (*SERVO_FAMILIES, _ROS2_CONTROL):
        raise UserError(f"driver is '{kind}': choose dynamixel, feetech or ros2_control")
    on_bus = kind != _ROS2_CONTROL
    asked: dict[str, Any] = {'armed': armed, 'autostart': True}
    if on_bus:
        given = {'driver': driver, 'port': port, 'baud': baud, 'robot': robot,
                 'calibration': calibration}
        asked |= {name: settled(value, 'servo_driver', name) for name, value in given.items()}
    options = RunOptions(
        source=source, policy=settled(policy, 'policy', 'policy'),
        side=settled(side, 'policy', 'side'), mirror=settled(mirror, 'policy', 'mirror'),
        prefix=settled(prefix, 'policy', 'prefix'), view=False, duration_s=duration, out=out,
        namespace=namespace or ('' if on_bus else _NAMESPACE),
        arm='servo_driver' if on_bus else _ROS2_CONTROL, arm_parameters=asked,
        parameters=parameters)
    options, table = graph_command.check(options)
    if on_bus:
        try:
            _check_bus(asked, table)
        except UserError as error:
            raise UserError(in_options(str(error))) from error
    else:
        load_joint_map(parameters[_ROS2_CONTROL]['joint_map'], table, options.prefix)
    graph_command.run(options, as_json)


def _check_bus(asked: dict[str, Any], table: JointTable) -> None:
    """Refuse an arm that is not there before anything starts; the servos are not touched."""
    connection = connect(
        asked['driver'], asked['robot'], asked['port'], asked['baud'], asked['calibration'],
        table, ServoArmParameters())
    if asked['armed'] and connection.arming_refused:
        raise UserError(connection.arming_refused)
    open_serial(asked['port'], connection.robot.baud).close()
