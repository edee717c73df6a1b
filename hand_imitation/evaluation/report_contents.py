"""What a report says: the verdict in words, the table, the curves; ready for its script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hand_imitation import __version__
from hand_imitation.evaluation.bootstrap import CONFIDENCE, DRAWS
from hand_imitation.evaluation.figures import gaps, row_means
from hand_imitation.evaluation.film_strip import reason_words
from hand_imitation.evaluation.scoring import COMMANDED, Score
from hand_imitation.evaluation.thresholds import Check

MAX_POINTS = 400
"""A curve of all bags together has about this many points per policy and joint."""

_ERRORS = 'joint_error_deg', 'command_error_deg'
_LABELS = {
    'joint_error_deg': ('Joint error', '°', 2, 1.0),
    'command_error_deg': ('Command error', '°', 2, 1.0),
    'estimate_error_deg': ('Estimate error', '°', 2, 1.0),
    'fingertip_error_mm': ('Fingertips', 'mm', 1, 1.0),
    'finger_states': ('Finger states', '% points', 1, 100.0),
}
"""Of a comparison: name, unit, digits, factor."""

_TABLE = (
    ('Accuracy', (
        ('Joint error, mean', 'joint_error_deg.mean', '°', 2, 1.0, 'lower'),
        ('95% of frames below', 'joint_error_deg.p95', '°', 1, 1.0, 'lower'),
        ('Four fingers', 'joint_error_deg.four_fingers', '°', 2, 1.0, 'lower'),
        ('Thumb', 'joint_error_deg.per_finger.thumb', '°', 2, 1.0, 'lower'),
        ('Command error, mean', 'command_error_deg.mean', '°', 2, 1.0, 'lower'),
        ('Estimate error, mean', 'estimate_error_deg.mean', '°', 2, 1.0, 'lower'),
        ('Fingertips off by', 'fingertip_error_mm.mean', 'mm', 1, 1.0, 'lower'),
        ('Fingers curled or straight as the hand', 'finger_states.agreement', '%', 1, 100.0,
         'higher'),
        ('Silhouette overlap', 'silhouette_iou.mean', '%', 1, 100.0, 'higher'),
    )),
    ('Motion', (
        ('Lag behind the hand', 'lag_ms.all', 'ms', 0, 1.0, 'lower'),
        ('Jerk', 'jerk_rad_s3.mean', 'rad/s³', 0, 1.0, 'lower'),
        ('Tremble at rest', 'rest_jitter_deg.mean', '°', 2, 1.0, 'lower'),
    )),
    ('Tracking and safety', (
        ('Frames with a hand', 'tracking.tracked_share', '%', 1, 100.0, None),
        ('Frames with a target', 'tracking.target_share', '%', 1, 100.0, 'higher'),
        ('Longest time without a hand', 'tracking.longest_gap_s', 's', 2, 1.0, None),
        ('Holds', 'holds.count', '', 0, 1.0, 'lower'),
        ('Time held', 'holds.total_s', 's', 2, 1.0, 'lower'),
        ('Limit violations', 'limit_violations', '', 0, 1.0, 'lower'),
        ('Age of the frame in use, 95%', 'frame_age_ms.p95', 'ms', 0, 1.0, 'lower'),
    )),
)
_MAX_COMPARISONS = 3
_LEVEL_DEG = 0.05
"""Two policies nearer to each other than this are called level."""

_INTERVALS = {
    'joint_error_deg.mean', 'command_error_deg.mean', 'estimate_error_deg.mean',
    'fingertip_error_mm.mean', 'finger_states.agreement', 'silhouette_iou.mean'}

_BY_POLICY = 'command_', 'estimate_', 'tracking', 'holds', 'limit'
"""Metrics that mean the same whichever signal is judged."""


def contents(
    document: Mapping[str, Any], scores: Sequence[Sequence[Score]], timing: Mapping[str, Any],
    checks: Sequence[Check],
) -> dict[str, Any]:
    """Gather everything but the pictures.

    Args:
        document: As in `metrics.json`.
        scores: What it was summed up from, per bag and policy.
        timing: As in `timing.json`.
        checks: Outcomes of the limits that were set.

    Returns:
        What the report's script draws, ready for JSON.
    """
    policies, bags = document['policies'], document['bags']
    names = list(policies)
    frames = sum(bag['frames'] for bag in bags)
    duration_s = sum(bag['duration_s'] for bag in bags)
    alike = len({policies[name]['signal'] for name in names}) < 2
    metric = _ERRORS[0] if alike else _ERRORS[1]
    table = scores[0][0].recording.table if scores and scores[0] else None
    courses = [_course(of_bag, names, len(scores)) for of_bag in scores if of_bag]
    return {
        'title': bags[0]['name'] if len(bags) == 1 else f'{len(bags)} recordings',
        'facts': [
            f'{duration_s:.1f} s', f'{frames} frames',
            f'{len(names)} {"policy" if len(names) == 1 else "policies"}',
            *(f'{bag["side"]} arm' + (', mirrored' if bag['mirror'] else '')
              for bag in bags[:1])],
        'policies': [{'name': name, 'signal': policies[name]['signal']} for name in names],
        'joints': list(table.names) if table else [],
        'verdict': _verdict(document, metric, checks),
        'notices': _notices(bags),
        'table': {'lead': _table_lead(policies), 'groups': _table(policies, alike)},
        'judged': any(f['joint_error_deg']['mean'] is not None for f in policies.values()),
        'means': _means(policies),
        'comparisons': [
            c for c in map(_comparison, _shown(document, metric)) if c['rows']],
        'courses': courses,
        'heat_most_deg': _heat_most(courses),
        'time_lead': f'Mean absolute error, {_against(policies)}. A reddish band: no hand was '
                     f'seen.',
        'spread': _spread(scores, names),
        'latency': _latency(next(iter(policies.values()), {})),
        'notes': _notes(document, scores, timing),
        'footer': f'hand_imitation {__version__}, metrics schema {document["schema"]}. This page '
                  f'is one file and asks the network for nothing.',
    }


def _verdict(
    document: Mapping[str, Any], metric: str, checks: Sequence[Check],
) -> dict[str, Any]:
    policies = document['policies']
    told, text = _ranking(document, metric)
    missed = sum(not check.passed for check in checks)
    if not checks:
        return {'state': 'none', 'word': '', 'headline': told, 'text': text, 'checks': []}
    number = len(checks)
    limits = f'{number} limit{"s" if number != 1 else ""}'
    headline = (
        f'{limits} hold' if not missed and number > 1 else f'{limits} holds' if not missed
        else f'{missed} of {limits} missed')
    return {
        'state': 'fail' if missed else 'pass', 'word': 'Fail' if missed else 'Pass',
        'headline': headline, 'text': [f'{told}.', *text] if policies else text,
        'checks': [{'passed': c.passed, 'words': c.words}
                   for c in sorted(checks, key=lambda c: c.passed)]}


def _ranking(document: Mapping[str, Any], metric: str) -> tuple[str, list[str]]:
    """Name the best policy, and say how sure that is."""
    policies = document['policies']
    rivals = {name: found[metric] for name, found in policies.items()
              if found[metric]['mean'] is not None and found['reference'] != name}
    if not rivals:
        if policies and not any(f['tracking']['tracked'] for f in policies.values()):
            return 'No hand was seen in any frame', ['There is nothing to judge.']
        return 'There is no reference to judge the arm by', []
    order = sorted(rivals, key=lambda name: rivals[name]['mean'])
    best, found = order[0], rivals[order[0]]
    low, high = found['ci95']['low'], found['ci95']['high']
    interval = '' if low is None else f' (95%: {low:.1f}° to {high:.1f}°)'
    kind = 'joint' if metric == _ERRORS[0] else 'command'
    told = f'{best}: {found["mean"]:.1f}° mean {kind} error{interval}'
    if len(order) == 1:
        return told, []
    level = [name for name in order[1:] if rivals[name]['mean'] - found['mean'] < _LEVEL_DEG]
    text = [f'Level with it: {", ".join(level)}.'] if level else []
    for other in order[1 + len(level):]:
        share = 1.0 - found['mean'] / rivals[other]['mean'] if rivals[other]['mean'] else 0.0
        words = f'{100.0 * share:.0f}% lower than {other} ({rivals[other]["mean"]:.1f}°)'
        better = _judged_better(document, best, other, metric)
        if better == best:
            text.append(f'{words}, and the paired interval excludes zero.')
        elif better is None:
            text.append(f'{words}, but that may be chance: the paired interval holds zero.')
    return told if len(level) == len(order) - 1 else f'Best is {told}', text


def _judged_better(
    document: Mapping[str, Any], first: str, second: str, metric: str,
) -> str | None:
    for comparison in document['comparisons']:
        if {comparison['policy'], comparison['against']} == {first, second}:
            return comparison['metrics'].get(metric, {}).get('better')
    return None


def _notices(bags: Sequence[Mapping[str, Any]]) -> list[str]:
    notices = []
    for bag in bags:
        name = f'{bag["name"]}: ' if len(bags) > 1 else ''
        if bag['truncated']:
            notices.append(f'{name}the recording breaks off; it was replayed up to the break.')
        notices += [f'{name}{problem}' for problem in bag['problems']]
    return notices


def _table_lead(policies: Mapping[str, Any]) -> str:
    signals = {found['signal'] for found in policies.values()}
    judged = f'Judged is the {next(iter(signals))}' if len(signals) == 1 else (
        'What is judged differs by policy (' + '; '.join(
            f'{name}: {found["signal"]}' for name, found in policies.items())
        + '), so compare the command and the estimate')
    return f'{judged}, {_against(policies)}. Small figures: 95% confidence intervals.'


def _against(policies: Mapping[str, Any]) -> str:
    references = list(dict.fromkeys(found['reference'] for found in policies.values()))
    if references == ['truth']:
        return "against the person's true pose"
    if references == ['none']:
        return 'against nothing: the recording has no truth'
    return 'against ' + ' and '.join(
        "the person's true pose" if name == 'truth' else f"{name}'s own targets, since there is "
        f'no truth' for name in references if name != 'none')


def _table(policies: Mapping[str, Any], alike: bool) -> list[dict[str, Any]]:
    groups = []
    all_commands = {found['signal'] for found in policies.values()} == {COMMANDED}
    for title, lines in _TABLE:
        rows = []
        for label, path, unit, digits, factor, better in lines:
            if path == 'command_error_deg.mean' and all_commands:
                continue
            cells = [_cell(found, path, factor) for found in policies.values()]
            if all(cell['value'] is None for cell in cells):
                continue
            fair = alike or path.startswith(_BY_POLICY)
            rows.append({
                'label': label, 'unit': unit, 'digits': digits, 'cells': cells,
                'best': _best([c['value'] for c in cells], better, digits) if fair else None})
        if rows:
            groups.append({'title': title, 'rows': rows})
    return groups


def _cell(found: Mapping[str, Any], path: str, factor: float) -> dict[str, float | None]:
    value: Any = found
    for part in path.split('.'):
        value = value[part]
    cell = {'value': None if value is None else value * factor}
    if path in _INTERVALS:
        ends = found[path.split('.')[0]]['ci95']
        cell.update({
            end: None if ends[end] is None else ends[end] * factor for end in ('low', 'high')})
    return cell


def _means(policies: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Mean error of each joint with its interval, per policy."""
    errors = [found['joint_error_deg'] for found in policies.values()]
    return [
        {'joint': joint, 'cells': [
            {'mean': found['per_joint'][joint], **found['per_joint_ci95'][joint]}
            for found in errors]}
        for joint in (errors[0]['per_joint'] if errors else ())]


def _best(values: Sequence[float | None], better: str | None, digits: int) -> int | None:
    """Place of the best value; None where there is no contest or a tie as far as is shown."""
    known = [(value, place) for place, value in enumerate(values) if value is not None]
    if better is None or len(known) < 2:
        return None
    order = sorted(known, reverse=better == 'higher')
    if round(order[0][0], digits) == round(order[1][0], digits):
        return None
    return order[0][1]


def _shown(document: Mapping[str, Any], metric: str) -> list[Mapping[str, Any]]:
    """All comparisons of a few policies, those with the best of many."""
    comparisons, policies = document['comparisons'], document['policies']
    if len(comparisons) <= _MAX_COMPARISONS:
        return list(comparisons)
    known = [name for name in policies if policies[name][metric]['mean'] is not None]
    best = min(known, key=lambda name: policies[name][metric]['mean'], default=None)
    return [c for c in comparisons if best in (c['policy'], c['against'])]


def _comparison(comparison: Mapping[str, Any]) -> dict[str, Any]:
    rows = []
    for metric, found in comparison['metrics'].items():
        label, unit, digits, factor = _LABELS[metric]
        ends = found['ci95']
        rows.append({
            'label': label, 'unit': unit, 'digits': digits,
            'difference': found['difference'] * factor, 'better': found['better'],
            'low': None if ends['low'] is None else ends['low'] * factor,
            'high': None if ends['high'] is None else ends['high'] * factor})
    first, second = comparison['policy'], comparison['against']
    return {
        'policy': first, 'against': second, 'rows': rows,
        'lead': f'{first} minus {second} on the same frames, with 95% intervals by a paired '
                f'bootstrap of one-second blocks. Each line has its own scale; the upright line '
                f'is zero.'}


def _course(of_bag: Sequence[Score], names: Sequence[str], bags: int) -> dict[str, Any]:
    """Curves of one bag, in even bins."""
    frame_ns = of_bag[0].recording.frame_ns
    start_ns = int(frame_ns[0]) if len(frame_ns) else 0
    elapsed_s = (frame_ns - start_ns) * 1e-9
    duration_s = max(float(elapsed_s[-1]) if len(elapsed_s) else 0.0, 0.1)
    number = max(1, min(len(frame_ns), max(MAX_POINTS // bags, 60)))
    bins = np.minimum((elapsed_s / duration_s * number).astype(int), number - 1)

    def span(begin_ns: int, end_ns: int, words: str) -> list[Any]:
        begin, end = ((ns - start_ns) * 1e-9 for ns in (begin_ns, end_ns))
        return [round(min(max(begin, 0.0), duration_s), 3),
                round(min(max(end, 0.0), duration_s), 3), words]

    lost = [span(*gap, 'no hand seen') for gap in gaps(of_bag[0].run.tracked, frame_ns)]
    rows: list[dict[str, Any]] = [{'label': 'no hand', 'policy': None, 'spans': lost}]
    runs = []
    for score in of_bag:
        errors = np.abs(score.arm_error_deg)
        place = names.index(score.run.policy)
        runs.append({
            'policy': place, 'mean': _binned(row_means(errors), bins, number),
            'joints': [_binned(errors[:, c], bins, number) for c in range(errors.shape[1])]})
        rows.append({'label': score.run.policy, 'policy': place, 'spans': [
            span(hold.start_ns, hold.end_ns, f'held: {reason_words(hold.reason)}')
            for hold in score.run.holds]})
    return {
        'name': of_bag[0].recording.source, 'duration_s': round(duration_s, 3),
        'time_s': [round((i + 0.5) * duration_s / number, 3) for i in range(number)],
        'runs': runs, 'rows': rows, 'dropouts': [span_[:2] for span_ in lost]}


def _binned(values: np.ndarray, bins: np.ndarray, number: int) -> list[float | None]:
    known = np.isfinite(values)
    count = np.bincount(bins[known], minlength=number)
    total = np.bincount(bins[known], values[known], minlength=number)
    return [round(float(t / c), 2) if c else None for t, c in zip(total, count, strict=True)]


def _heat_most(courses: Sequence[Mapping[str, Any]]) -> float:
    """Error at which the heat map is darkest: all but the worst 2% are told apart."""
    values = [value for course in courses for run in course['runs'] for joint in run['joints']
              for value in joint if value is not None]
    return math.ceil(max(float(np.percentile(values, 98)), 1.0)) if values else 1.0


def _spread(scores: Sequence[Sequence[Score]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Percentiles of the error of each joint, per policy."""
    if not scores or not scores[0]:
        return []
    table = scores[0][0].recording.table
    errors = {
        name: np.abs(np.concatenate([
            s.arm_error_deg for of_bag in scores for s in of_bag if s.run.policy == name]))
        for name in names}

    def box(values: np.ndarray) -> list[float] | None:
        known = values[np.isfinite(values)]
        if not len(known):
            return None
        return [round(float(v), 2) for v in np.percentile(known, [5, 25, 50, 75, 95])]

    return [
        {'joint': joint, 'boxes': [box(errors[name][:, column]) for name in names]}
        for column, joint in enumerate(table.names)]


def _latency(found: Mapping[str, Any]) -> dict[str, Any]:
    stages = [
        {'stage': stage, **{p: values[p] for p in ('p50', 'p95', 'p99')}}
        for stage, values in found.get('latency_ms', {}).items() if values['p50'] is not None]
    lead = (
        'As recorded. Dark to light: half, 95% and 99% of all frames; the figure is the 95%.'
        if stages else 'The recording tells nothing of it.')
    return {'lead': lead, 'stages': stages}


def _notes(
    document: Mapping[str, Any], scores: Sequence[Sequence[Score]], timing: Mapping[str, Any],
) -> list[list[str]]:
    policies = document['policies']
    compared = next((found['silhouette_iou']['frames'] for found in policies.values()), 0)
    notes = [
        ['Joint error', 'Absolute difference of signal and reference at the stamp of each '
         'picture; no lag is removed.'],
        ['Intervals', f'{100 * CONFIDENCE:.0f}%, by a bootstrap of one-second blocks '
         f'({DRAWS} draws, fixed seed), since neighbouring frames are not independent.'],
        ['Lag', 'The shift at which signal and reference correlate best; none where the hand '
         'moves less than 10°.'],
        ['Jerk', 'Root mean square of the third difference at 100 Hz.'],
        ['Silhouettes', f'Of the hand in the palm\'s frame, so aligned in place, scale and '
         f'rotation; compared in {compared} frames.'],
    ]
    if any(s.recorded_arm_error_deg is not None for of_bag in scores for s in of_bag):
        error = next(found['recorded_arm']['joint_error_deg']['mean']
                     for found in policies.values() if 'recorded_arm' in found)
        its_own = '' if error is None else f' Its own error: {error:.1f}°.'
        notes.append(['Recorded arm', 'The joint states in the recording followed another '
                      f'policy, so each policy is judged by its command.{its_own}'])
    figures = _told(timing)
    if figures:
        notes.append(['This replay', '; '.join(figures)])
    return notes


def _told(timing: Mapping[str, Any], path: str = '') -> list[str]:
    """Numbers of a nested mapping in words, the first dozen."""
    words: list[str] = []
    for key, value in timing.items():
        name = f'{path}{key}'.replace('_', ' ')
        if isinstance(value, Mapping) and {'p50', 'p95'} <= set(value):
            words.append(f'{name} {value["p50"]} (p50), {value["p95"]} (p95)')
        elif isinstance(value, Mapping):
            words += _told(value, f'{name}: ')
        elif isinstance(value, int | float) and not isinstance(value, bool):
            words.append(f'{name} {value:g}')
    return words[:12]
