"""Start the whole chain on a real arm: camera, policy, commander and the driver of the servos.

`ros2 launch hand_imitation hardware.launch.py -s` lists the arguments. The motors stay off until
the driver is activated, unless `armed:=true`. Ctrl-C ends everything, motors off first.
"""

from typing import Any

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, SetLaunchConfiguration
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from hand_imitation.nodes import launching
from hand_imitation.nodes.launching import BOOL, flag, is_true, node, text

ROS2_CONTROL = 'ros2_control'
NAMESPACE = 'hand_imitation'
"""Of our nodes beside ros2_control, whose joint_states would meet ours."""

ARGUMENTS = [
    DeclareLaunchArgument(
        'driver', default_value='dynamixel', choices=['dynamixel', 'feetech', ROS2_CONTROL],
        description='Kind of servos, or ros2_control for a controller that runs already'),
    DeclareLaunchArgument(
        'port', default_value='/dev/ttyUSB0', description='Serial port of the servo bus'),
    DeclareLaunchArgument(
        'baud', default_value='0', description="Bits per second on the bus; 0 takes the robot's"),
    DeclareLaunchArgument(
        'robot', default_value='',
        description='Robot description, name or path of a YAML file; empty takes the one of the '
                    'package for the kind of servos'),
    DeclareLaunchArgument(
        'calibration', default_value='',
        description="Calibration file; empty takes the robot's usual place, none goes by the "
                    'robot description alone'),
    DeclareLaunchArgument(
        'armed', default_value='false', choices=BOOL,
        description='Switch the motors on at start'),
    *launching.arguments(default_source='0'),
]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start what they ask for."""
    return launching.description(ARGUMENTS, settle_namespace, chain, launching.views, how_to_arm)


def settle_namespace(context: LaunchContext) -> list[Action]:
    """Keep our joint states apart from those of ros2_control."""
    empty = not LaunchConfiguration('namespace').perform(context)
    if driver(context) == ROS2_CONTROL and empty:
        return [SetLaunchConfiguration('namespace', NAMESPACE)]
    return []


def chain(context: LaunchContext) -> list[Action]:
    """Make the nodes from the camera to the servos."""
    return launching.chain(context, arm)


def arm(context: LaunchContext, which: dict[str, Any]) -> Node:
    """Make the node that drives the arm."""
    if driver(context) == ROS2_CONTROL:
        return node('ros2_control', armed=flag('armed'), **which)
    baud = ParameterValue(LaunchConfiguration('baud'), value_type=int)
    return node(
        'servo_driver', driver=text('driver'), port=text('port'), baud=baud, robot=text('robot'),
        calibration=text('calibration'), armed=flag('armed'), **which)


def how_to_arm(context: LaunchContext) -> list[Action]:
    """Say what to do to arm, and to stop."""
    namespace = LaunchConfiguration('namespace').perform(context).strip('/')
    place = f'/{namespace}' if namespace else ''
    name = 'ros2_control' if driver(context) == ROS2_CONTROL else 'servo_driver'
    stop = LogInfo(msg='stop the arm: ros2 service call '
                       f'{place}/commander/stop std_srvs/srv/Trigger')
    if is_true(context, 'armed'):
        return [stop]
    return [LogInfo(msg=f'the motors are off; to arm: ros2 lifecycle set {place}/{name} activate'),
            stop]


def driver(context: LaunchContext) -> str:
    """Return which driver was asked for."""
    return LaunchConfiguration('driver').perform(context)
