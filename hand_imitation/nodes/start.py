"""The executables of the nodes: deaf to Ctrl-C until a node has a handler of its own.

Importing a node takes seconds, and a Ctrl-C that falls into them would end in a traceback.
"""

import importlib
import os
import signal
from functools import partial


def _start(node: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # nothing is open yet
    importlib.import_module(f'hand_imitation.nodes.{node}').main()


camera = partial(_start, 'camera')
policy = partial(_start, 'policy')
commander = partial(_start, 'commander')
sim_bridge = partial(_start, 'sim_bridge')
servo_driver = partial(_start, 'servo_driver')
ros2_control = partial(_start, 'ros2_control')
recorder = partial(_start, 'recorder')
replayer = partial(_start, 'replayer')
viewer = partial(_start, 'viewer')
