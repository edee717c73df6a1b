"""The figures of `metrics.json`: what each policy made of recordings, in numbers.

Formulas and units are told in `docs/metrics.md`. Every number is rounded, none is NaN (null
stands for what is not known), and nothing depends on the clock or on where a bag lies: the same
input gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from hand_imitation.evaluation.bootstrap import (
    Interval,
    block_interval,
    block_numbers,
    paired_difference,
)
from hand_imitation.evaluation.figures import (
    DIGITS,
    finger_errors,
    finger_state_figures,
    frame_figures,
    hold_figures,
    interval_figures,
    joint_errors,
    lag_figures,
    latency_figures,
    mean_figures,
    over_time,
    percentiles,
    rate_hz,
    rms_figures,
    rounded,
    row_means,
    span_s,
    target_times,
    tracking_figures,
    violation_figures,
)
from hand_imitation.evaluation.recording import PolicyRun, Recording
from hand_imitation.evaluation.scoring import Reference, Score, choose_reference, score_run

SCHEMA = 1
COMPARED = {
    'joint_error_deg': lambda s: row_means(np.abs(s.arm_error_deg)),
    'command_error_deg': lambda s: row_means(np.abs(s.command_error_deg)),
    'estimate_error_deg': lambda s: row_means(np.abs(s.estimate_error_deg)),
    'fingertip_error_mm': lambda s: row_means(s.tip_error_mm),
    'finger_states': lambda s: row_means(s.states_agree[:, 1:]),
}
"""What two policies are compared by: a value per frame. Errors but for the last, a share."""


def compute_metrics(
    recording: Recording, run: PolicyRun, reference: Reference | None,
) -> dict[str, Any]:
    """Score one policy on one recording.

    Args:
        recording: What was replayed.
        run: What the policy made of it.
        reference: What errors are taken against, from `choose_reference`.

    Returns:
        The metrics of one policy, ready for JSON.
    """
    return summarise([score_run(recording, run, reference)])


def metrics_document(
    recordings: Sequence[Recording], runs: Sequence[Sequence[PolicyRun]],
    reference: str | None = None,
) -> dict[str, Any]:
    """Score all policies on all recordings.

    Args:
        recordings: The bags, each with a name of its own.
        runs: For each of them what the policies made of it.
        reference: Name of the policy to refer to where a bag has no truth.

    Returns:
        What `metrics.json` holds.

    Raises:
        UserError: No such policy to refer to.
    """
    return document_of(score_all(recordings, runs, reference))


def score_all(
    recordings: Sequence[Recording], runs: Sequence[Sequence[PolicyRun]],
    reference: str | None = None,
) -> list[list[Score]]:
    """Score every run; arguments as in `metrics_document`."""
    scores = []
    for recording, of_bag in zip(recordings, runs, strict=True):
        chosen = choose_reference(recording, of_bag, reference)
        scores.append([score_run(recording, run, chosen) for run in of_bag])
    return scores


def document_of(scores: Sequence[Sequence[Score]]) -> dict[str, Any]:
    """Sum scores up.

    Args:
        scores: Per bag, per policy.

    Returns:
        What `metrics.json` holds.
    """
    names = list(dict.fromkeys(score.run.policy for of_bag in scores for score in of_bag))
    policies = {}
    for name in names:
        of_policy = [s for of_bag in scores for s in of_bag if s.run.policy == name]
        policies[name] = summarise(of_policy)
        if len(scores) > 1:
            policies[name]['bags'] = {
                s.recording.source: summarise([s]) for s in of_policy}
    return {
        'schema': SCHEMA,
        'policies': policies,
        'comparisons': [
            found for first, second in combinations(names, 2)
            if (found := compare(scores, first, second)) is not None],
        'bags': [_bag(of_bag[0].recording, of_bag[0].reference) for of_bag in scores if of_bag],
    }


def document_text(document: dict[str, Any]) -> str:
    """Write a document as the text of `metrics.json`; the same one always as the same bytes."""
    return json.dumps(document, indent=1, allow_nan=False) + '\n'


def compare(
    scores: Sequence[Sequence[Score]], first: str, second: str,
) -> dict[str, Any] | None:
    """Compare two policies on the frames where both have a value.

    Args:
        scores: Per bag, per policy.
        first: Name of a policy.
        second: Name of another.

    Returns:
        Per metric the mean of first minus second, its 95% interval by a paired bootstrap of
        blocks of a second, and the better of the two, None where the interval holds zero; None
        where they met on no bag, or one of them is the reference.
    """
    pairs = []
    for of_bag in scores:
        by_name = {score.run.policy: score for score in of_bag}
        if first in by_name and second in by_name:
            pairs.append((by_name[first], by_name[second]))
    references = {s.reference.name for pair in pairs for s in pair if s.reference is not None}
    if not pairs or references & {first, second}:
        return None
    blocks = _blocks([pair[0] for pair in pairs])
    alike = all(one.signal == other.signal for one, other in pairs)
    metrics = {}
    for metric, values in COMPARED.items():
        # The arm's measured position and a mere command are not to be held against each other.
        if not alike and metric not in ('command_error_deg', 'estimate_error_deg'):
            continue
        ours, theirs = (np.concatenate([values(pair[i]) for pair in pairs]) for i in (0, 1))
        found = paired_difference(ours, theirs, blocks)
        if found is None:
            continue
        more_is_better = metric == 'finger_states'
        metrics[metric] = {
            'difference': rounded(found.mean, 5),
            'ci95': interval_figures(found, 5),
            'frames': found.count,
            'better': _better(found, first, second, more_is_better),
        }
    return {'policy': first, 'against': second, 'metrics': metrics}


def summarise(scores: Sequence[Score]) -> dict[str, Any]:
    """Sum up one policy's scores, over one or more recordings.

    Args:
        scores: At least one, all of the same policy.

    Returns:
        Its metrics, ready for JSON.
    """
    table, blocks = scores[0].recording.table, _blocks(scores)
    figures: dict[str, Any] = {
        'signal': ' and '.join(dict.fromkeys(s.signal for s in scores)),
        'reference': ' and '.join(dict.fromkeys(
            s.reference.name if s.reference else 'none' for s in scores)),
        'frames': frame_figures(scores),
        'tracking': tracking_figures(scores),
    }
    for name, errors in (
            ('joint_error_deg', [s.arm_error_deg for s in scores]),
            ('command_error_deg', [s.command_error_deg for s in scores]),
            ('estimate_error_deg', [s.estimate_error_deg for s in scores])):
        figures[name] = joint_errors(np.concatenate(errors), blocks, table)
    for name, tips in (
            ('fingertip_error_mm', [s.tip_error_mm for s in scores]),
            ('fingertip_error_palm_mm', [s.tip_error_palm_mm for s in scores])):
        figures[name] = finger_errors(np.concatenate(tips), blocks, DIGITS['mm'])
    figures['finger_states'] = finger_state_figures(
        np.concatenate([s.states_agree for s in scores]), blocks)
    iou = np.concatenate([s.silhouette_iou for s in scores])
    figures['silhouette_iou'] = {
        **mean_figures(block_interval(iou, blocks), DIGITS['share']),
        'frames': int(np.isfinite(iou).sum())}
    figures['lag_ms'] = lag_figures([s.motion for s in scores], table)
    figures['estimate_lag_ms'] = lag_figures([s.estimate_motion for s in scores], table)
    for name, motions in (
            ('', [s.motion for s in scores]), ('command_', [s.command_motion for s in scores])):
        figures[f'{name}jerk_rad_s3'] = rms_figures(
            [m.jerk_rad_s3 for m in motions], table, DIGITS['jerk'])
        figures[f'{name}rest_jitter_deg'] = rms_figures(
            [np.degrees(m.jitter_rad) for m in motions], table, 4)
    figures.update(_conduct(scores))
    recorded = [s.recorded_arm_error_deg for s in scores]
    if all(errors is not None for errors in recorded):
        figures['recorded_arm'] = {'joint_error_deg': joint_errors(
            np.concatenate([e for e in recorded if e is not None]), blocks, table)}
    if len(scores) == 1:
        figures['over_time'] = over_time(scores[0])
    return figures


def _conduct(scores: Sequence[Score]) -> dict[str, Any]:
    """What can be told of a run without a reference: holds, violations, ages, latency, rates."""
    ages = [s.run.frame_age_ms for s in scores if s.run.frame_age_ms is not None]
    return {
        'holds': hold_figures([hold for s in scores for hold in s.run.holds]),
        'limit_violations': sum(s.run.violations for s in scores),
        'violations': violation_figures(scores),
        'frame_age_ms': percentiles(np.concatenate(ages) if ages else np.zeros(0)),
        'latency_ms': latency_figures([s.recording for s in scores]),
        'rates_hz': {
            'frames': rate_hz([s.recording.frame_ns for s in scores]),
            'targets': rate_hz([target_times(s) for s in scores]),
            'commands': rate_hz([s.run.command.time_ns for s in scores]),
            'measured': rate_hz([s.run.measured.time_ns for s in scores]),
        },
    }


def _bag(recording: Recording, reference: Reference | None) -> dict[str, Any]:
    """What is to be known of a bag, apart from any policy."""
    return {
        'name': recording.source,
        'frames': len(recording.frame_ns),
        'duration_s': rounded(span_s(recording.frame_ns), DIGITS['s']),
        'side': recording.side,
        'mirror': recording.mirror,
        'reference': {'kind': reference.kind, 'name': reference.name} if reference else None,
        'truncated': recording.truncated,
        'problems': list(recording.problems),
        'recorded_holds': hold_figures(recording.recorded_holds),
        'recorded_limit_violations': recording.recorded_violations,
    }


def _blocks(scores: Sequence[Score]) -> np.ndarray:
    """Block of each frame; no block reaches over two recordings."""
    numbered, first = [], 0
    for score in scores:
        frame_ns = score.recording.frame_ns
        blocks = block_numbers(frame_ns, frame_ns[0] if len(frame_ns) else 0) + first
        numbered.append(blocks)
        first = int(blocks[-1]) + 1 if len(blocks) else first
    return np.concatenate(numbered)


def _better(found: Interval, first: str, second: str, more_is_better: bool) -> str | None:
    if found.low is None or found.high is None or found.low <= 0.0 <= found.high:
        return None
    return first if (found.mean > 0.0) == more_is_better else second
