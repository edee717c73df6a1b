"""`hand-imitation record`: everything that runs, or a camera alone, to a bag."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli.graph_command import merged_parameters
from hand_imitation.cli.options import write_parameters_file
from hand_imitation.cli.processes import Children, set_ros_environment
from hand_imitation.cli.results import check_out, written_at_once
from hand_imitation.errors import EXIT_BAD_INPUT, EXIT_FAILED, UserError
from hand_imitation.evaluation.bag import Bag
from hand_imitation.evaluation.run_statistics import RunStatistics
from hand_imitation.frame_sources import TOPIC_PREFIX, open_source
from hand_imitation.human.hand_model import find_hand_model
from hand_imitation.policy import load_policy

RESULTS = ('bag',)
_SETTLE_S = 0.7
"""After a file's last picture, time for what follows from it."""
_DISCOVERY_S = 0.5
_WAIT_FOR = (
    'camera/image_raw camera/image_raw/compressed latency latency hand/landmarks hand/landmarks')
"""A file starts when the policy, the recorder and this program listen."""


def record(
    out: Annotated[Path, typer.Option(
        help='Folder for bag/, which must not be there yet.', show_default=False)],
    source: Annotated[str | None, typer.Option(
        help="Start a camera on this source, and hand perception: as for 'sim'; without it, what "
        'runs already is recorded.')] = None,
    duration: Annotated[float | None, typer.Option(
        min=0.1, help='Stop after this many seconds.')] = None,
    max_size: Annotated[float | None, typer.Option(
        min=0.1, help='Stop at this size, in MB.')] = None,
    split_duration: Annotated[float | None, typer.Option(
        min=0.1, help='Begin another file after this many seconds.')] = None,
    split_size: Annotated[float | None, typer.Option(
        min=0.1, help='Begin another file at this size, in MB.')] = None,
    namespace: Annotated[str, typer.Option(help='ROS namespace of all nodes.')] = '',
    params_file: Annotated[Path | None, typer.Option(
        help='YAML file with parameters of the nodes.')] = None,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print what was recorded as JSON instead of a table.')] = False,
) -> None:
    """Record all topics to a rosbag2; Ctrl-C ends it.

    Example: hand-imitation record --source 0 --out recordings/one

    Example: hand-imitation record --split-size 500 --out recordings/two
    """
    parameters = merged_parameters(params_file)
    check_out(out, ())
    if source is not None:
        parameters['camera'] |= {'source': source, 'wait_for': _WAIT_FOR}
        policy = load_policy(
            parameters['policy']['policy'], JointTable.from_urdf(load_description()))
        if policy.uses_perception:
            find_hand_model(parameters['policy']['perception.model_path'])
        if not source.startswith(TOPIC_PREFIX):
            open_source(source).close()
    asked = {
        # A camera that is started takes its time, so this program counts from its first picture.
        'max_duration_s': duration if source is None else None, 'max_size_mb': max_size,
        'split_size_mb': split_size, 'split_duration_s': split_duration}
    parameters['recorder'] |= {name: value for name, value in asked.items() if value is not None}
    parameters['recorder']['end_at_limit'] = True
    with written_at_once(out) as work:
        failure = _run(work, parameters, namespace, source is not None, duration)
        summary = _summary(work / 'bag') if (work / 'bag').is_dir() else None
        if summary is None or not summary['messages']:
            reason = failure or (
                'nothing was published: start something to record, name a --source, or set '
                'ROS_DOMAIN_ID to where it runs')
            print(f'error: {reason}', file=sys.stderr)
            sys.exit(EXIT_FAILED if failure else EXIT_BAD_INPUT)
    if failure:
        print(f'error: {failure}', file=sys.stderr)
    summary = {'bag': str(out / 'bag'), **summary}
    if as_json:
        print(json.dumps(summary))
    else:
        _print(summary)
    sys.exit(EXIT_FAILED if failure else 0)


def _run(
    work: Path, parameters: dict[str, dict[str, Any]], namespace: str, with_camera: bool,
    duration_s: float | None,
) -> str:
    """Record until Ctrl-C, a limit, or the end of the source; return what went wrong, or ''."""
    # Imported late: ROS takes a second, and a mistake of the user's should not wait for it.
    from hand_imitation.nodes.monitor import listening

    set_ros_environment()
    stop, begun_s = threading.Event(), 0.0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    parameters['recorder']['out'] = str(work)
    with tempfile.TemporaryDirectory(prefix='hand_imitation_') as folder:
        path = Path(folder) / 'parameters.yaml'
        write_parameters_file(path, {
            f'/**/{node}': {'ros__parameters': values} for node, values in parameters.items()})
        arguments = ['--ros-args', '--params-file', str(path)]
        if namespace:
            arguments += ['-r', f'__ns:=/{namespace.strip("/")}']
        statistics = RunStatistics('right', True)
        with listening(statistics, namespace=namespace) as monitor:
            stop.wait(_DISCOVERY_S)
            if with_camera and monitor.others():
                raise UserError(
                    f'another run is in this ROS domain (nodes {", ".join(monitor.others())}): '
                    f'leave out --source to record it, or set ROS_DOMAIN_ID to another number')
            with Children() as children, _progress() as show:
                children.start('recorder', arguments, niceness=10)
                if with_camera:
                    children.start('pipeline', arguments)
                while not stop.wait(0.2):
                    show(f'{statistics.frames} pictures, {_size_mb(work / "bag"):.1f} MB')
                    child = children.ended()
                    if child is not None:
                        ended = child.name == 'recorder' and child.process.returncode == 0
                        return '' if ended else child.last_words(3).removeprefix('error: ')
                    if with_camera and monitor.source_ended:
                        stop.wait(_SETTLE_S)
                        break
                    begun_s = begun_s or (time.monotonic() if statistics.frames else 0.0)
                    if with_camera and duration_s is not None and begun_s and (
                            time.monotonic() - begun_s >= duration_s):
                        break
                # The camera first: what it published shall be recorded to the last.
                children.stop('pipeline')
    return ''


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show that it goes on, and how far it is."""
    with Progress(
            TextColumn('recording'), TextColumn('{task.description}'), TimeElapsedColumn(),
            console=Console(stderr=True), refresh_per_second=4) as progress:
        row = progress.add_task('')
        yield lambda words: progress.update(row, description=words)


def _size_mb(folder: Path) -> float:
    """Size of the files in a folder [MB]; 0 where there is none."""
    return sum(file.stat().st_size for file in folder.glob('*')) * 1e-6


def _summary(path: Path) -> dict[str, Any]:
    """Look through what was recorded; what nodes say of themselves does not count."""
    messages = pictures = 0
    first_ns = last_ns = None
    with Bag(path) as bag:
        for message, _ in bag.scan(lambda topic, kind: topic != '/diagnostics'):
            messages += 1
            pictures += message.topic.endswith('camera/image_raw/compressed') and (
                'arm_camera' not in message.topic)
            first_ns = message.time_ns if first_ns is None else first_ns
            last_ns = message.time_ns
        return {
            'messages': messages, 'pictures': pictures,
            'duration_s': round(((last_ns or 0) - (first_ns or 0)) * 1e-9, 2),
            'size_mb': round(_size_mb(path), 2),
            'files': len(list(path.glob('*.mcap'))), 'truncated': bag.truncated}


def _print(summary: dict[str, Any]) -> None:
    console = Console(markup=False)
    table = Table(title='hand_imitation: recorded')
    table.add_column('figure')
    table.add_column('value', justify='right')
    for name in ('pictures', 'messages', 'files', 'truncated'):
        table.add_row(name, str(summary[name]))
    table.add_row('duration', f'{summary["duration_s"]:.1f} s')
    table.add_row('size', f'{summary["size_mb"]:.1f} MB')
    console.print(table)
    console.print(f"the bag is '{summary['bag']}'", highlight=False)
