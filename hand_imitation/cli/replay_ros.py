"""Replays bags through the real nodes: starts them, records what they do, and reads it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hand_imitation.cli.graph_command import merged_parameters
from hand_imitation.cli.options import write_parameters_file
from hand_imitation.cli.processes import Children, set_ros_environment
from hand_imitation.errors import UserError
from hand_imitation.evaluation.bag import Bag
from hand_imitation.evaluation.many_bags import BagsReplayed
from hand_imitation.evaluation.recording import RECORDED
from hand_imitation.evaluation.replay import Replayed, ReplayOptions, arm_of, replay_by_nodes
from hand_imitation.evaluation.run_statistics import RunStatistics
from hand_imitation.nodes.monitor import listening

_NICENESS = {'replayer': 0, 'policy': 0, 'commander': 0, 'sim_bridge': 5, 'recorder': 10}
_DISCOVERY_S = 0.5
_START_S = 15.0
"""About how long the nodes take to start, for the progress bar."""
_WAIT_FOR = (
    'camera/image_raw latency hand/landmarks policy/joint_trajectory '
    'policy/joint_trajectory joint_trajectory joint_states joint_states')
"""Who must listen before it begins, the recorder among them; a simulated arm comes on top."""


def replay_through_nodes(
    paths: Sequence[Path], options: ReplayOptions, params_file: Path | None,
    progress: Callable[[float], None],
) -> BagsReplayed:
    """Replay bags through the real nodes, one policy after the other, as long as they last.

    Args:
        paths: The bags.
        options: How; `RECORDED` among the policies is read from the bag itself.
        params_file: The user's parameters of the nodes, if there are any.
        progress: Called with the share that is done, 0 to 1.

    Returns:
        What became of them.

    Raises:
        UserError: The same nodes run in this domain already, or there is nothing to score.
        OSError: A node failed.
    """
    if options.landmarks == 'recorded':
        raise UserError('--landmarks recorded goes with --mode fast: the real nodes look for '
                        'hands themselves')
    set_ros_environment()
    _refuse_company()
    replayed: list[Replayed] = []
    unscored: dict[str, str] = {}
    for number, path in enumerate(paths):
        def share(of_bag: float, number: int = number) -> None:
            progress((number + of_bag) / len(paths))

        try:
            replayed.append(_one_bag(path, options, params_file, share))
        except UserError as error:
            if len(paths) == 1:
                raise
            unscored[path.name] = str(error)
    if not replayed:
        raise UserError(next(iter(unscored.values())))
    return BagsReplayed(tuple(replayed), unscored)


def _refuse_company() -> None:
    """Refuse to command an arm that another run commands too."""
    with listening(RunStatistics('right', True)) as monitor:
        time.sleep(_DISCOVERY_S)
        if monitor.others():
            raise UserError(
                f'another run is in this ROS domain (nodes {", ".join(monitor.others())}): stop '
                f'it, or set ROS_DOMAIN_ID to another number')


def _one_bag(
    path: Path, options: ReplayOptions, params_file: Path | None,
    progress: Callable[[float], None],
) -> Replayed:
    """Replay one bag through every policy."""
    policies = [name for name in options.policies if name != RECORDED]
    with tempfile.TemporaryDirectory(prefix='hand_imitation_') as folder:
        told: dict[str, Path] = {}
        for number, policy in enumerate(policies):
            def share(of_policy: float, number: int = number) -> None:
                progress((number + of_policy) / len(policies))

            work = Path(folder) / str(number)
            work.mkdir()
            _run_nodes(path, policy, options, params_file, work, share)
            told[policy] = work / 'bag'
        return replay_by_nodes(path, told, options)


def _run_nodes(
    path: Path, policy: str, options: ReplayOptions, params_file: Path | None, work: Path,
    progress: Callable[[float], None],
) -> None:
    """Let the nodes play a bag to its end, and record them."""
    parameters = work / 'parameters.yaml'
    write_parameters_file(parameters, _parameters(path, policy, options, params_file, work))
    stop = threading.Event()
    begun_s = time.monotonic()
    with Children() as children:
        for module, niceness in _NICENESS.items():
            if module != 'sim_bridge' or options.simulate:
                children.start(module, ['--ros-args', '--params-file', str(parameters)], niceness)
        while not stop.wait(0.2):
            child = children.ended()
            if child is None:
                elapsed_s = time.monotonic() - begun_s
                progress(1.0 - _START_S / (_START_S + elapsed_s))
            elif child.name == 'replayer' and child.process.returncode == 0:
                break
            elif child.process.returncode == 2:
                raise UserError(child.last_words(1).removeprefix('error: '))
            else:
                raise OSError(f'{child.name} ended with exit code {child.process.returncode}: '
                              f'{child.last_words(3)}')


def _parameters(
    path: Path, policy: str, options: ReplayOptions, params_file: Path | None, work: Path,
) -> dict[str, Any]:
    """Parameters of the nodes, as the content of a ROS parameters file."""
    with Bag(path) as bag:
        side, mirror = arm_of(bag, options)
    which = {'side': side, 'use_sim_time': True}
    asked: dict[str, dict[str, Any]] = {
        'replayer': {
            'bag': str(path.resolve()), 'side': side, 'arm': not options.simulate,
            'topics': ' '.join(f'{ours}={theirs}' for ours, theirs in options.topics.items()),
            'start_s': options.start_s or 0.0, 'end_s': options.end_s or 0.0,
            'wait_for': _WAIT_FOR + (' joint_trajectory' if options.simulate else '')},
        'policy': {'policy': policy, 'mirror': mirror, 'prefix': '', **which},
        'commander': {'prefix': '', **which},
        'sim_bridge': {'gui': False, 'camera_rate_hz': 0.0, 'prefix': '', **which},
        'recorder': {'out': str(work)},
    }
    return {
        f'/**/{node}': {'ros__parameters': {**values, **asked.get(node, {})}}
        for node, values in merged_parameters(params_file).items() if node in asked}
