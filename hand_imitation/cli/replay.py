"""`hand-imitation replay`: a bag through any policy, with a report."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli.graph_command import merged_parameters
from hand_imitation.cli.report import progress_bar
from hand_imitation.cli.results import check_out, written_at_once
from hand_imitation.errors import EXIT_MISSED, UserError
from hand_imitation.evaluation.bag import bags_in
from hand_imitation.evaluation.bag_contents import parse_remaps
from hand_imitation.evaluation.html_report import write_report
from hand_imitation.evaluation.many_bags import BagsReplayed, replay_bags
from hand_imitation.evaluation.metrics import document_text, metrics_document
from hand_imitation.evaluation.recording import RECORDED
from hand_imitation.evaluation.replay import ReplayOptions
from hand_imitation.evaluation.thresholds import (
    Check,
    check_baseline,
    check_thresholds,
    parse_threshold,
    read_baseline,
)
from hand_imitation.node_parameters import SIDES, grouped
from hand_imitation.policy import DEFAULT_POLICY, load_policy, policy_name, settled_name

RESULTS = ('metrics.json', 'timing.json', 'report.html')
MODES = ('fast', 'ros')
LANDMARKS = ('perceived', 'recorded')
_SHOWN = (
    ('joint error [deg]', 'joint_error_deg.mean'),
    ('estimate error [deg]', 'estimate_error_deg.mean'),
    ('fingertips [mm]', 'fingertip_error_mm.mean'), ('lag [ms]', 'lag_ms.all'),
    ('jerk [rad/s^3]', 'jerk_rad_s3.mean'), ('tracked', 'tracking.tracked_share'),
    ('holds', 'holds.count'), ('violations', 'limit_violations'))


def replay(
    bag: Annotated[Path, typer.Argument(
        help='A rosbag2, or a folder whose direct children are some.', show_default=False)],
    out: Annotated[Path, typer.Option(
        help='Folder for report.html, metrics.json and timing.json.', show_default=False)],
    policy: Annotated[list[str] | None, typer.Option(
        help=f"Policy to replay it through, by name or folder of a checkpoint, or '{RECORDED}' "
        f'for what the bag itself tells; may be given several times.',
        show_default=DEFAULT_POLICY)] = None,
    mode: Annotated[str, typer.Option(
        help="'fast': as fast as it goes, the same every time; 'ros': through the real nodes with "
        "the recorded timing.")] = 'fast',
    landmarks: Annotated[str, typer.Option(
        help="'perceived': look for hands in the pictures; 'recorded': take those of the "
        "recording.")] = 'perceived',
    simulate: Annotated[bool, typer.Option(
        '--simulate', help='Put a simulated arm behind each policy, instead of the recorded '
        'one.')] = False,
    start: Annotated[float | None, typer.Option(
        min=0.0, help='Leave out what is before, in seconds after the first picture.')] = None,
    end: Annotated[float | None, typer.Option(
        min=0.0, help='Leave out what is after, in seconds after the first picture.')] = None,
    topic: Annotated[list[str] | None, typer.Option(
        help="A topic of ours and its name in the bag, such as 'camera/image_raw=/eye/image'; may "
        "be given several times.")] = None,
    reference: Annotated[str | None, typer.Option(
        help='Policy to take errors against where a bag knows no true pose.')] = None,
    side: Annotated[str | None, typer.Option(
        help='Which arm: right or left.', show_default='as recorded')] = None,
    mirror: Annotated[bool | None, typer.Option(
        help='Lean like a mirror image of the person.', show_default='as recorded')] = None,
    params_file: Annotated[Path | None, typer.Option(
        help='YAML file with parameters of the nodes.')] = None,
    fail_above: Annotated[list[str] | None, typer.Option(
        help="Exit code 1 where a metric is above, such as 'joint_error_deg.mean=12'.")] = None,
    fail_below: Annotated[list[str] | None, typer.Option(
        help='Exit code 1 where a metric is below.')] = None,
    baseline: Annotated[Path | None, typer.Option(
        help='metrics.json of an earlier replay: exit code 1 where something became '
        'worse.')] = None,
    ray: Annotated[str | None, typer.Option(
        help="Address of a Ray cluster to replay many bags on, such as 'auto'.")] = None,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print the metrics as one JSON document instead of a table.')] = False,
) -> None:
    """Replay a recording through policies and score each of them.

    Example: hand-imitation replay results/bag --policy geometric --out report

    Example: hand-imitation replay bags --fail-above joint_error_deg.mean=12 --out report
    """
    options = _options(
        policy, landmarks, simulate, start, end, topic, side, mirror, params_file)
    _choice('--mode', mode, MODES)
    if mode == 'ros' and ray is not None:
        raise UserError('--ray goes with --mode fast: the real nodes run on this machine')
    thresholds = [parse_threshold(text, 'above') for text in fail_above or []]
    thresholds += [parse_threshold(text, 'below') for text in fail_below or []]
    before = read_baseline(baseline) if baseline is not None else None
    check_out(out, RESULTS)
    bags = bags_in(bag)
    begun_s = time.perf_counter()
    with progress_bar('replaying') as progress:
        if mode == 'ros':
            # Imported late: it needs ROS.
            from hand_imitation.cli.replay_ros import replay_through_nodes

            replayed = replay_through_nodes(bags, options, params_file, progress)
        else:
            replayed = replay_bags(bags, options, progress, ray)
    document = _document(replayed, reference)
    checks = check_thresholds(document, thresholds)
    checks += check_baseline(document, before) if before is not None else []
    _write(out, document, replayed, checks, reference, {'mode': mode}, begun_s)
    if as_json:
        print(json.dumps(document))
    else:
        _print(document, checks, out)
    for name, reason in replayed.unscored.items():
        print(f'not scored: {name}: {reason}', file=sys.stderr)
    for check in checks:
        if not check.passed:
            print(f'missed: {check.words}', file=sys.stderr)
    missed = bool(replayed.unscored) or not all(check.passed for check in checks)
    sys.exit(EXIT_MISSED if missed else 0)


def _options(
    policies: list[str] | None, landmarks: str, simulate: bool, start: float | None,
    end: float | None, topics: list[str] | None, side: str | None, mirror: bool | None,
    params_file: Path | None,
) -> ReplayOptions:
    """Check what the user asked for, and add the nodes' parameters."""
    _choice('--landmarks', landmarks, LANDMARKS)
    if side is not None:
        _choice('--side', side, SIDES)
    if start is not None and end is not None and end <= start:
        raise UserError(f'--end {end:g} is not after --start {start:g}: give a later end')
    values = merged_parameters(params_file)
    of_policy = grouped('policy', values['policy'])
    names = _policies(policies or [values['policy']['policy']], of_policy)
    return ReplayOptions(
        policies=names, landmarks='recorded' if landmarks == 'recorded' else 'perceived',
        simulate=simulate, start_s=start, end_s=end, topics=parse_remaps(topics or []),
        side=None if side is None else 'left' if side == 'left' else 'right', mirror=mirror,
        safety=grouped('commander', values['commander'])['safety'],
        perception=of_policy['perception'], policy_parameters=of_policy,
        picture_width=values['camera']['width'])


def _policies(names: list[str], parameters: dict[str, Any]) -> tuple[str, ...]:
    """Check that policies can be loaded, and told apart by what they are called in reports."""
    called: dict[str, str] = {}
    table = JointTable.from_urdf(load_description())
    for name in names:
        report_name = name
        if name != RECORDED:
            load_policy(name, table, parameters)
            report_name = policy_name(name)
        if called.get(report_name) == name:
            raise UserError('a policy is named twice: give each once')
        if report_name in called or report_name == RECORDED != name:
            raise UserError(f"two policies would be called '{report_name}' in the report: give "
                            f"the folder of '{name}' another name")
        called[report_name] = name
    return tuple(name if name == RECORDED else settled_name(name) for name in names)


def _choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{option} is '{value}': choose {' or '.join(choices)}")


def _document(replayed: BagsReplayed, reference: str | None) -> dict[str, Any]:
    document = metrics_document(
        [found.recording for found in replayed.replayed],
        [found.runs for found in replayed.replayed], reference)
    if replayed.unscored:
        document['unscored'] = replayed.unscored
    return document


def _write(
    out: Path, document: dict[str, Any], replayed: BagsReplayed, checks: list[Check],
    reference: str | None, timing: dict[str, Any], begun_s: float,
) -> None:
    """Write all results, or none."""
    recorded_s = sum(found.timing['recorded_s'] for found in replayed.replayed)
    timing |= {
        'recorded_s': round(recorded_s, 3),
        'scored_s': round(time.perf_counter() - begun_s, 3),
        'bags': {found.recording.source: found.timing for found in replayed.replayed}}
    with written_at_once(out) as work:
        (work / 'metrics.json').write_text(document_text(document), encoding='utf-8')
        write_report(
            work / 'report.html', document, [found.recording for found in replayed.replayed],
            [found.runs for found in replayed.replayed], timing, checks, reference)
        total_s = time.perf_counter() - begun_s
        timing['total_s'] = round(total_s, 3)
        timing['times_real_time'] = round(recorded_s / total_s, 2)
        (work / 'timing.json').write_text(json.dumps(timing, indent=2) + '\n')


def _print(document: dict[str, Any], checks: list[Check], out: Path) -> None:
    """Print the policies beside each other, and what became of the limits."""
    console = Console(markup=False)
    table = Table(title='hand_imitation: replay')
    table.add_column('metric')
    for name in document['policies']:
        table.add_column(name, justify='right')
    for words, path in _SHOWN:
        cells = [_cell(metrics, path) for metrics in document['policies'].values()]
        table.add_row(words, *cells)
    console.print(table)
    for check in checks:
        console.print(f'{"passed" if check.passed else "MISSED"}: {check.words}')
    console.print(f"report and metrics are in '{out}'", highlight=False)


def _cell(metrics: Any, path: str) -> str:
    for key in path.split('.'):
        metrics = metrics.get(key) if isinstance(metrics, dict) else None
    return '-' if metrics is None else f'{metrics:g}'
