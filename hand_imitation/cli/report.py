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

_ERRORS = Console(stderr=True)
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


@contextmanager
def run_progress(
    frames: int | None,
) -> Iterator[Callable[[RunStatistics, dict[str, str]], None]]:
    """Show how a run goes: frames, hand, latency, what the commander does.

    Args:
        frames: How many there will be, or None.

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
                for node in ('policy', 'commander')}
            words += [f'hand: {state["policy"]}', f'arm: {state["commander"]}']
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
        latency.add_row(stage.replace('_', ' '), *(
            '-' if values[p] is None else f'{values[p]:.1f}' for p in ('p50', 'p95', 'p99')))
    console.print(latency)
    if 'joint_error_deg' in summary:
        console.print(_error_table(summary))
    if out is not None:
        console.print(f"video, bag and summary are in '{out}'", highlight=False)


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
