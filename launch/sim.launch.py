"""Start the whole chain in simulation: camera, policy, commander and the PyBullet arm.

`ros2 launch hand_imitation sim.launch.py -s` lists the arguments. Ctrl-C ends everything.
"""

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument

from hand_imitation.nodes import launching
from hand_imitation.nodes.launching import BOOL, flag, is_true, node, text

ARGUMENTS = [
    *launching.arguments(default_source='sample'),
    DeclareLaunchArgument(
        'gui', default_value='false', choices=BOOL,
        description='Open the PyBullet window and the live view of camera and arm'),
]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start what they ask for."""
    return launching.description(ARGUMENTS, chain, launching.views, windows)


def chain(context: LaunchContext) -> list[Action]:
    """Make the nodes from the camera to the simulated arm."""
    return launching.chain(
        context, lambda _, which: node('sim_bridge', gui=flag('gui'), **which))


def windows(context: LaunchContext) -> list[Action]:
    """Make the live view, if asked for."""
    if not is_true(context, 'gui'):
        return []
    return [node('viewer', on_exit=None, mirror=flag('mirror'), side=text('side'))]
