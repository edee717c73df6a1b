"""Runs the graph: starts the nodes, listens, and ends them."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hand_imitation.cli.keys import listening_to_keys
from hand_imitation.cli.options import (
    RunOptions,
    in_options,
    node_parameters,
    write_parameters_file,
)
from hand_imitation.cli.processes import Child, Children, set_ros_environment
from hand_imitation.cli.report import run_progress, say
from hand_imitation.errors import EXIT_BAD_INPUT, EXIT_FAILED, UserError
from hand_imitation.evaluation.run_statistics import RunStatistics
from hand_imitation.frame_sources import TOPIC_PREFIX, open_source
from hand_imitation.nodes.monitor import MonitorNode, listening
from hand_imitation.policy import policy_name

_SETTLE_S = 0.7
"""After the last picture, time for its command to come through."""
_DISCOVERY_S = 0.5
_NICENESS = {
    'pipeline': 0, 'commander': 0, 'servo_driver': 0, 'ros2_control': 0, 'sim_bridge': 5,
    'recorder': 10, 'viewer': 5}
"""What stands between a frame and its command comes first where cores are few."""
_START_TIMEOUT_S = 90.0
"""A file that has not begun to play by then never will."""
_ANSWER_S = 0.5
"""A commander that lives answers within this time."""


def run_graph(options: RunOptions, work: Path) -> tuple[dict[str, Any], int]:
    """Run the graph until the source ends, the time is up, or Ctrl-C.

    Args:
        options: What to run.
        work: Folder for the bag, if one is asked for.

    Returns:
        The summary and the exit code.

    Raises:
        UserError: The same nodes run in this domain already, or a node found something that the
            user must mend.
    """
    set_ros_environment()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    statistics = RunStatistics(
        'left' if options.side == 'left' else 'right', options.mirror, options.uses_perception)
    with listening(statistics, options.prefix, options.namespace) as monitor:
        stop.wait(_DISCOVERY_S)
        if monitor.others():
            raise UserError(
                f'another run is in this ROS domain (nodes {", ".join(monitor.others())}): stop '
                f'it, or set ROS_DOMAIN_ID to another number')
        with Children() as children, listening_to_keys(_keys(monitor, stop)) as has_keys:
            if has_keys:
                say('space stops the arm, r lets it go on, q ends the run')
            _start(children, options, work)
            failure = _watch(children, monitor, statistics, options, stop)
            # Motors off before anything else. Then the camera: what it published shall be
            # recorded and counted to the last.
            children.stop('servo_driver', 'ros2_control')
            children.stop('pipeline')
    if failure:
        print(failure, file=sys.stderr)
    summary = {
        'source': options.source, 'policy': policy_name(options.policy), 'side': options.side,
        'mirror': options.mirror, **statistics.summary()}
    return summary, EXIT_FAILED if failure else 0


def _keys(monitor: MonitorNode, stop: threading.Event) -> dict[str, Callable[[], None]]:
    """What each key does."""
    def ask(name: str) -> None:
        answer = monitor.ask(name, _ANSWER_S)
        say(answer or 'the commander does not answer: q ends the run, motors off')

    return {' ': lambda: ask('stop'), 'r': lambda: ask('resume'), 'q': stop.set}


def _start(children: Children, options: RunOptions, work: Path) -> None:
    """Start the processes: light nodes share one, the arm has its own."""
    record = options.out is not None
    parameters = work / 'parameters.yaml'
    write_parameters_file(parameters, node_parameters(options, work if record else None))
    arguments = ['--ros-args', '--params-file', str(parameters)]
    if options.namespace:
        arguments += ['-r', f'__ns:=/{options.namespace.strip("/")}']
    wanted = {'pipeline', 'commander', options.arm}
    wanted |= {name for name, on in (('recorder', record), ('viewer', options.view)) if on}
    for module, niceness in _NICENESS.items():
        if module in wanted:
            children.start(module, arguments, niceness)


def _watch(
    children: Children, monitor: MonitorNode, statistics: RunStatistics, options: RunOptions,
    stop: threading.Event,
) -> str:
    """Show progress until it is over; return what went wrong, or ''."""
    begun_s, expected = time.monotonic(), _expected_frames(options)
    played_s: float | None = None
    with run_progress(expected, options.arm) as show:
        while not stop.wait(0.2):
            show(statistics, monitor.health)
            while monitor.alarms:
                say(monitor.alarms.popleft())
            child = children.ended()
            if child is not None:
                if child.name == 'viewer' and child.process.returncode == 0:
                    break
                return _last_words(child)
            if monitor.source_ended:
                stop.wait(_SETTLE_S)
                break
            now_s = time.monotonic()
            if played_s is None and statistics.frames > 0:
                played_s = now_s
            if played_s is None and expected and now_s - begun_s > _START_TIMEOUT_S:
                return (
                    f'error: no picture came within {_START_TIMEOUT_S:.0f} s; the nodes say: '
                    f'{monitor.health or "nothing"}')
            if (played_s is not None and options.duration_s is not None
                    and now_s - played_s >= options.duration_s):
                break
        show(statistics, monitor.health)
    return ''


def _last_words(child: Child) -> str:
    """Say why a node ended by itself; raise UserError where the user can mend it."""
    words = child.last_words()
    if child.process.returncode == EXIT_BAD_INPUT:
        told = [line for line in words.splitlines() if line.startswith('error: ')]
        if told:
            raise UserError(in_options(told[-1].removeprefix('error: ')))
    return f'error: {child.name} ended with exit code {child.process.returncode}:\n{words}'


def _expected_frames(options: RunOptions) -> int | None:
    """How many pictures will be published, where that is known."""
    loops = options.parameters['camera']['loop']
    if options.source.startswith(TOPIC_PREFIX) or loops:
        return None
    source = open_source(options.source)
    source.close()
    if source.live or not source.frame_count:
        return None
    rate_hz = options.parameters['camera']['rate_hz'] or source.rate_hz
    frames = source.frame_count * max(rate_hz, 30.0) / rate_hz
    if options.duration_s is not None:
        frames = min(frames, options.duration_s * max(rate_hz, 30.0))
    return round(frames)
