"""What the launch files have in common; needs ROS's `launch`, unlike the nodes themselves."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from hand_imitation.arm.description import load_description
from hand_imitation.environment import DDS_PROFILE_VARIABLES
from hand_imitation.node_parameters import read_parameters_file
from hand_imitation.policy import DEFAULT_POLICY

PACKAGE = 'hand_imitation'
SHARE = Path(get_package_share_directory(PACKAGE))
BOOL = ['true', 'false']


def arguments(default_source: str) -> list[DeclareLaunchArgument]:
    """Declare the arguments that every launch file takes.

    Args:
        default_source: What is watched unless something else is asked for.
    """
    return [
        DeclareLaunchArgument(
            'source', default_value=default_source,
            description='What to watch: camera number, video, GIF, folder of images, '
                        'topic:/name, or sample, the clip in the package'),
        DeclareLaunchArgument(
            'policy', default_value=DEFAULT_POLICY,
            description='What turns hands into joint angles: geometric, landmarks, pixels, or the '
                        'folder of a checkpoint'),
        DeclareLaunchArgument(
            'side', default_value='right', choices=['right', 'left'],
            description='Which arm is driven. Either hand of the person can lead it'),
        DeclareLaunchArgument(
            'mirror', default_value='true', choices=BOOL,
            description='Move like the image in a mirror'),
        DeclareLaunchArgument(
            'rviz', default_value='false', choices=BOOL, description='Open RViz'),
        DeclareLaunchArgument(
            'record', default_value='false', choices=BOOL,
            description='Record all topics to the folder `out`'),
        DeclareLaunchArgument(
            'out', default_value=time.strftime('rosbag2_%Y_%m_%d-%H_%M_%S'),
            description='Folder of the rosbag2 recorded; it must not exist yet'),
        DeclareLaunchArgument(
            'namespace', default_value='', description='Namespace of all nodes and topics'),
        DeclareLaunchArgument(
            'prefix', default_value='', description='Put before every joint and link name'),
        DeclareLaunchArgument(
            'params_file', default_value=str(SHARE / 'config' / 'hand_imitation.yaml'),
            description='Parameters of all nodes'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='false', choices=BOOL,
            description='Take the time from /clock'),
    ]


def description(
    declared: list[DeclareLaunchArgument], *steps: Callable[[LaunchContext], list[Action]],
) -> LaunchDescription:
    """Return what a launch file describes.

    Args:
        declared: The arguments.
        steps: Functions that make the actions, in order, once the arguments are known.
    """
    return LaunchDescription([
        *declared, *_shared_memory_for_images(),
        *(OpaqueFunction(function=step) for step in steps)])


def chain(
    context: LaunchContext, arm: Callable[[LaunchContext, dict[str, Any]], Node],
) -> list[Action]:
    """Make the nodes from the camera to the arm, and the recorder if asked for.

    Args:
        context: Of the launch.
        arm: Makes the arm's node, given the parameters that say which arm it is.
    """
    # Refuses what is wrong in the file before anything is started.
    read_parameters_file(Path(LaunchConfiguration('params_file').perform(context)))
    which = {'side': text('side'), 'prefix': text('prefix')}
    nodes = [
        node('camera', source=text('source')),
        node('policy', policy=text('policy'), mirror=flag('mirror'), **which),
        node('commander', **which),
        arm(context, which),
    ]
    if is_true(context, 'record'):
        # Closing a large bag may take longer than launch's 5 s.
        nodes.append(node('recorder', sigterm_timeout='30', on_exit=None, out=text('out')))
    return nodes


def views(context: LaunchContext) -> list[Action]:
    """Make what shows the arm: robot_state_publisher for RViz, and RViz if asked for."""
    shown: list[Action] = []
    if is_installed('robot_state_publisher'):
        urdf = load_description(
            side=LaunchConfiguration('side').perform(context),
            prefix=LaunchConfiguration('prefix').perform(context))
        shown.append(Node(
            package='robot_state_publisher', executable='robot_state_publisher',
            namespace=LaunchConfiguration('namespace'), output='screen',
            parameters=[{'robot_description': ParameterValue(urdf, value_type=str),
                         'use_sim_time': flag('use_sim_time')}]))
        shown.append(_camera_beside_the_arm())
    else:
        shown.append(LogInfo(
            msg='robot_state_publisher is not installed: no robot_description and no TF'))
    if is_true(context, 'rviz'):
        if not is_installed('rviz2'):
            raise RuntimeError('rviz2 is not installed: install it, or leave out rviz:=true')
        shown.append(Node(
            package='rviz2', executable='rviz2', namespace=LaunchConfiguration('namespace'),
            arguments=['-d', str(SHARE / 'config' / 'hand_imitation.rviz'),
                       '-f', [LaunchConfiguration('prefix'), 'base_link']],
            parameters=[{'use_sim_time': flag('use_sim_time')}]))
    return shown


def end_everything(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    """Shut down when a node ends that the others cannot do without; if it failed, fail too.

    At Ctrl-C a node may have ended before launch itself has heard of it.
    """
    if context.is_shutdown:
        return []
    name = event.process_name.rsplit('-', 1)[0]
    if event.returncode in (0, -signal.SIGINT):
        return [Shutdown(reason=f'{name} ended')]
    raise RuntimeError(
        f'{name} ended with exit code {event.returncode}, so everything stops. '
        'The reason is in its last lines above')


def node(name: str, on_exit=end_everything, sigterm_timeout: str = '10', **parameters) -> Node:
    """Make one of our nodes; `parameters` take precedence over the parameters file."""
    return Node(
        package=PACKAGE, executable=name, name=name, namespace=LaunchConfiguration('namespace'),
        parameters=[LaunchConfiguration('params_file'),
                    {**parameters, 'use_sim_time': flag('use_sim_time')}],
        # Of the policies for SROS2; nothing where security is off.
        ros_arguments=['--enclave', f'/{PACKAGE}/{name}'],
        output='screen', on_exit=on_exit, sigterm_timeout=sigterm_timeout)


def text(argument: str) -> ParameterValue:
    """Pass a launch argument on as a string, so that camera `0` stays one."""
    return ParameterValue(LaunchConfiguration(argument), value_type=str)


def flag(argument: str) -> ParameterValue:
    """Pass a launch argument on as a boolean."""
    return ParameterValue(LaunchConfiguration(argument), value_type=bool)


def is_true(context: LaunchContext, argument: str) -> bool:
    """Tell whether a launch argument is `true`."""
    return LaunchConfiguration(argument).perform(context) == 'true'


def is_installed(package: str) -> bool:
    """Tell whether a ROS package is there."""
    try:
        get_package_share_directory(package)
    except PackageNotFoundError:
        return False
    return True


def _shared_memory_for_images() -> list[SetEnvironmentVariable]:
    """Give Fast DDS room for 720p images, unless the user has a profile of their own."""
    if any(os.environ.get(name) for name in DDS_PROFILE_VARIABLES):
        return []
    profile = str(SHARE / 'config' / 'fastdds.xml')
    return [SetEnvironmentVariable(name, profile) for name in DDS_PROFILE_VARIABLES]


def _camera_beside_the_arm() -> Node:
    """Place the camera so that RViz shows the person's hand at the height of the arm's.

    The camera is 0.5 m in front of the palm and looks back along -x of the base: of its optical
    frame, x is y of the base, y is -z and z is -x.
    """
    return Node(
        package='tf2_ros', executable='static_transform_publisher', name='camera_frame',
        namespace=LaunchConfiguration('namespace'),
        arguments=['--x', '0.5', '--y', '-0.35', '--z', '0.4',
                   '--roll', str(-math.pi / 2), '--yaw', str(math.pi / 2),
                   '--frame-id', [LaunchConfiguration('prefix'), 'base_link'],
                   '--child-frame-id', 'camera_optical_frame'])
