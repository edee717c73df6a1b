"""What a person sees on the terminal: progress on stderr, results on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hand_imitation.evaluation.run_statistics import RunStatistics
from hand_imitation.policy import policy_name, takes_calibration
from hand_imitation.policy.base import Policy

_ERRORS = Console(stderr=True)
_FOLLOWING = ('following', 'active', 'moving as commanded', 'no commands')
"""What the drivers of arms say while they do as they are told."""
_GROUPS = {
    'fingers': tuple(
        f'{finger}_{part}' for finger in ('index', 'middle', 'ring', 'little')
        for part in ('proximal', 'distal')),
    'thumb': ('thumb_proximal', 'thumb_distal'),
    'wrist': ('wrist',),
    'elbow': ('elbow',),
}


@contextmanager
def progress_bar(task: str) -> Iterator[Callable[[float], None]]:
    """Show a bar for work whose share is known.

    Args:
        task: What is being done.

    Yields:
        A function to call with the share done, 0 to 1.
    """
    with Progress(
            TextColumn('{task.description}'), BarColumn(), TextColumn('{task.percentage:.0f}%'),
            TimeElapsedColumn(), console=_ERRORS) as progress:
        row = progress.add_task(task, total=1.0)
        yield lambda share: progress.update(row, completed=share)


def tell_whether_calibrated(name: str, policy: Policy) -> None:
    """Say so where a policy does not use the calibration of a person that was given.

    Args:
        name: As it was asked for.
        policy: The policy.
    """
    if not takes_calibration(policy):
        say(f"note: policy '{policy_name(name)}' learned from people of all proportions and does "
            'not use the calibration of a person; --policy geometric does')


def say(words: str) -> None:
    """Print a line for the person at the terminal, above the progress if there is any."""
    _ERRORS.print(words, markup=False, highlight=False)


@contextmanager
def run_progress(
    frames: int | None, arm: str,
) -> Iterator[Callable[[RunStatistics, dict[str, str]], None]]:
    """Show how a run goes: frames, hand, latency, what the commander and the arm do.

    Args:
        frames: How many there will be, or None.
        arm: The node that drives the arm.

    Yields:
        A function to call with the statistics and the nodes' words about themselves.
    """
    with Progress(
            TextColumn('{task.description}'), BarColumn(bar_width=20),
            TextColumn('{task.fields[words]}'), TimeElapsedColumn(),
            console=_ERRORS, refresh_per_second=4) as progress:
        row = progress.add_task('starting', total=frames, words='')

        def show(statistics: RunStatistics, health: dict[str, str]) -> None:
            latency = statistics.latest_latency_ms()
            words = [f'{statistics.frames}' + (f' of {frames}' if frames else '') + ' frames']
            if latency is not None:
                words.append(f'{latency:.0f} ms')
            # What follows a colon or semicolon is the reason; a line has room for the state.
            state = {
                node: health.get(node, 'starting').split(':')[0].split(';')[0]
                for node in ('policy', 'commander', arm)}
            # While its driver has nothing to say, the arm does what the commander says.
            words.append(f'hand: {state["policy"]}')
            words.append(f'arm: {state["commander" if state[arm] in _FOLLOWING else arm]}')
            progress.update(
                row, completed=statistics.frames, words=', '.join(words),
                description='running' if statistics.frames else 'starting')

        yield show


def print_summary(summary: dict[str, Any], out: Path | None) -> None:
    """Print a run's figures as tables.

    Args:
        summary: As in `summary.json`.
        out: Where the results lie, or None.
    """
    # Without markup, or units in brackets would be taken for styles and vanish.
    console = Console(markup=False)
    table = Table(title='hand_imitation: what happened')
    table.add_column('figure')
    table.add_column('value', justify='right')
    table.add_row('source', summary['source'])
    table.add_row('policy', summary['policy'])
    frames = summary['frames']
    share = f' ({100.0 * summary["frames_tracked"] / frames:.1f}%)' if frames else ''
    table.add_row('frames', str(frames))
    table.add_row('frames tracked', f'{summary["frames_tracked"]}{share}')
    table.add_row('frames dropped', str(summary['frames_dropped']))
    table.add_row('command rate', f'{summary["command_rate_hz"]:.1f} Hz')
    table.add_row('limit violations', str(summary['limit_violations']))
    table.add_row('holds', str(summary['holds']))
    console.print(table)
    latency = Table(title='latency [ms]')
    latency.add_column('stage')
    for percentile in ('p50', 'p95', 'p99'):
        latency.add_column(percentile, justify='right')
    for stage, values in summary['latency_ms'].items():
        latency.add_row(stage.replace('_', ' '), *_percentile_cells(values))
    if 'frame_to_bus_ms' in summary:
        latency.add_row('frame to bus', *_percentile_cells(summary['frame_to_bus_ms']))
    console.print(latency)
    if 'bus' in summary:
        console.print(_bus_table(summary['bus']))
        console.print(_following_table(summary['following_error_deg']))
    if 'joint_error_deg' in summary:
        console.print(_error_table(summary))
    if out is not None:
        console.print(f"video, bag and summary are in '{out}'", highlight=False)


def _bus_table(bus: dict[str, Any]) -> Table:
    """How the servo bus did."""
    table = Table(title='servo bus')
    table.add_column('figure')
    table.add_column('value', justify='right')
    for name, words in (
            ('cycle_ms_p50', 'cycle, p50 [ms]'), ('cycle_ms_p99', 'cycle, p99 [ms]'),
            ('jitter_ms_p99', 'jitter, p99 [ms]'), ('overruns', 'cycles left out'),
            ('retries', 'questions asked again'), ('reconnects', 'reconnects')):
        table.add_row(words, f'{bus[name]:g}' if name in bus else '-')
    table.add_row('faults that switched the motors off', str(len(bus['faults'])))
    return table


def _following_table(following: dict[str, Any]) -> Table:
    """How closely the servos followed what they were sent."""
    table = Table(title='following error [deg]')
    table.add_column('joint')
    table.add_column('mean', justify='right')
    for joint, error_deg in following['per_joint'].items():
        table.add_row(joint, f'{error_deg:.1f}')
    table.add_section()
    table.add_row('all joints', _cell(following['mean']))
    return table


def _percentile_cells(values: dict[str, float | None]) -> list[str]:
    return [_cell(values[p]) for p in ('p50', 'p95', 'p99')]


def _error_table(summary: dict[str, Any]) -> Table:
    """Joint errors against the truth, each joint and the groups."""
    arm = summary['joint_error_deg']['per_joint']
    estimate = summary['estimate_error_deg']['per_joint']
    table = Table(title='mean absolute error against the truth [deg]')
    table.add_column('joint')
    table.add_column('arm, measured', justify='right')
    table.add_column("policy's estimate", justify='right')
    for name in arm:
        table.add_row(name, f'{arm[name]:.1f}', _cell(estimate.get(name)))
    table.add_section()
    for group, names in _GROUPS.items():
        table.add_row(f'mean of {group}', _mean(arm, names), _mean(estimate, names))
    return table


def _mean(errors: dict[str, float], names: tuple[str, ...]) -> str:
    values = [errors[name] for name in names if name in errors]
    return _cell(sum(values) / len(values) if values else None)


def _cell(value: float | None) -> str:
    return '-' if value is None else f'{value:.1f}'
