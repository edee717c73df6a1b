"""Play a recording through the real nodes, with its timing: policy, commander and the arm.

`ros2 launch hand_imitation replay.launch.py -s` lists the arguments. It ends with the recording.
"""

from pathlib import Path

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration

from hand_imitation.node_parameters import read_parameters_file
from hand_imitation.nodes import launching
from hand_imitation.nodes.launching import BOOL, flag, is_true, node, text

OTHERS = ('source', 'use_sim_time')
ARGUMENTS = [
    DeclareLaunchArgument('bag', description='Folder of the rosbag2 to play'),
    DeclareLaunchArgument(
        'simulate', default_value='true', choices=BOOL,
        description='Move a simulated arm; else the recorded joint states are played'),
    DeclareLaunchArgument(
        'topics', default_value='',
        description="Topics of the bag with other names than ours, as 'camera/image_raw=/eye'"),
    DeclareLaunchArgument(
        'use_sim_time', default_value='true', choices=BOOL,
        description='Take the time from /clock, which is that of the recording'),
    *(argument for argument in launching.arguments(default_source='')
      if argument.name not in OTHERS),
]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start what they ask for."""
    return launching.description(ARGUMENTS, chain, launching.views)


def chain(context: LaunchContext) -> list[Action]:
    """Make the nodes from the recording to the arm, and the recorder if asked for."""
    # Refuses what is wrong in the file before anything is started.
    read_parameters_file(Path(LaunchConfiguration('params_file').perform(context)))
    which = {'side': text('side'), 'prefix': text('prefix')}
    simulate = is_true(context, 'simulate')
    nodes = [
        node('replayer', bag=text('bag'), topics=text('topics'), arm=not simulate, **which),
        node('policy', policy=text('policy'), mirror=flag('mirror'), **which),
        node('commander', **which),
    ]
    if simulate:
        nodes.append(node('sim_bridge', **which))
    if is_true(context, 'record'):
        # Closing a large bag may take longer than launch's 5 s.
        nodes.append(node('recorder', sigterm_timeout='30', on_exit=None, out=text('out')))
    return nodes
