"""Limits on metrics, for programs: `--fail-above`, `--fail-below` and `--baseline`."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hand_imitation.errors import UserError
from hand_imitation.evaluation.metrics import SCHEMA

MAX_BASELINE_BYTES = 256 * 1024 * 1024

REGRESSIONS: dict[str, tuple[Literal['lower', 'higher'], float]] = {
    'joint_error_deg.mean': ('lower', 0.2),
    'joint_error_deg.p95': ('lower', 0.5),
    'estimate_error_deg.mean': ('lower', 0.2),
    'fingertip_error_mm.mean': ('lower', 1.0),
    'finger_states.agreement': ('higher', 0.005),
    'silhouette_iou.mean': ('higher', 0.005),
    'lag_ms.all': ('lower', 5.0),
    'jerk_rad_s3.mean': ('lower', 20.0),
    'rest_jitter_deg.mean': ('lower', 0.1),
    'tracking.tracked_share': ('higher', 0.005),
    'tracking.longest_gap_s': ('lower', 0.05),
    'holds.count': ('lower', 0.0),
    'limit_violations': ('lower', 0.0),
}
"""What a baseline is held against: which way is better, and how much worse is still the same."""


@dataclass(frozen=True)
class Threshold:
    """A limit that a user set.

    Attributes:
        path: Dotted path of a metric, with the name of a policy in front or for all policies.
        value: The limit.
        kind: 'above' fails above it, 'below' below it.
    """

    path: str
    value: float
    kind: Literal['above', 'below']


@dataclass(frozen=True)
class Check:
    """One limit held against one policy.

    Attributes:
        policy: The policy.
        metric: Dotted path of the metric.
        value: What it is, None where it is not known, which is a miss.
        passed: Whether it holds.
        words: The outcome in a line.
    """

    policy: str
    metric: str
    value: float | None
    passed: bool
    words: str


def parse_threshold(text: str, kind: Literal['above', 'below']) -> Threshold:
    """Read a limit as given on the command line.

    Args:
        text: 'metric=value', such as 'joint_error_deg.mean=12'.
        kind: Of the option it was given to.

    Raises:
        UserError: It is not of that form.
    """
    path, equals, number = text.partition('=')
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not path.strip() or not equals or not math.isfinite(value):
        raise UserError(
            f"--fail-{kind} '{text}' is not of the form metric=value: give for example "
            f"'joint_error_deg.mean=12'")
    return Threshold(path.strip(), value, kind)


def check_thresholds(
    document: dict[str, Any], thresholds: Sequence[Threshold],
) -> list[Check]:
    """Hold limits against every policy, or the one they name.

    Args:
        document: As in `metrics.json`.
        thresholds: The limits.

    Returns:
        One outcome per limit and policy.

    Raises:
        UserError: There is no such metric or policy, or the metric is not a number.
    """
    checks = []
    for threshold in thresholds:
        policies = document['policies']
        # The longest name that fits: those of checkpoints may hold dots.
        named = max((n for n in policies if threshold.path.startswith(f'{n}.')), key=len,
                    default=None)
        path = threshold.path
        if named is not None:
            policies, path = {named: policies[named]}, path.removeprefix(f'{named}.')
        for name, metrics in policies.items():
            value = _looked_up(metrics, path, threshold.path, list(document['policies']))
            checks.append(_check(name, path, value, threshold))
    return checks


def read_baseline(path: Path) -> dict[str, Any]:
    """Read the `metrics.json` of an earlier replay.

    Raises:
        UserError: It cannot be read, or is something else.
    """
    try:
        if path.stat().st_size > MAX_BASELINE_BYTES:
            raise ValueError('it is too large')
        document = json.loads(path.read_text(encoding='utf-8'))
        if document['schema'] != SCHEMA:
            raise ValueError(f'its schema is {document["schema"]!r}, not {SCHEMA}')
        if not isinstance(document['policies'], dict) or not isinstance(document['bags'], list):
            raise ValueError('policies or bags are missing')
        return document
    except OSError as error:
        raise UserError(
            f"baseline '{path}' cannot be read: {error.strerror}; give the metrics.json of an "
            f'earlier replay') from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"baseline '{path}' is no metrics.json ({error}): give the one of an earlier "
            f'replay') from error


def check_baseline(document: dict[str, Any], baseline: dict[str, Any]) -> list[Check]:
    """Hold every policy against what it was in an earlier replay of the same bags.

    Args:
        document: As in `metrics.json`.
        baseline: The earlier one.

    Returns:
        One outcome per policy in both and per metric of `REGRESSIONS` that the baseline knows;
        a metric that is known no more is a miss.

    Raises:
        UserError: It was of other bags, other signals, or has none of the policies.
    """
    ours, theirs = _bags(document), _bags(baseline)
    if ours != theirs:
        raise UserError(
            f'the baseline is of other recordings ({_told(theirs)}) than this replay '
            f'({_told(ours)}): give one of the same bags and time range')
    common = [name for name in document['policies'] if name in baseline['policies']]
    if not common:
        raise UserError(
            f'the baseline has none of the policies replayed: it has '
            f'{", ".join(map(str, baseline["policies"])) or "none"}')
    checks = []
    for name in common:
        now, before = document['policies'][name], baseline['policies'][name]
        for kind in ('signal', 'reference'):
            if _value(before, kind) != now[kind]:
                raise UserError(
                    f'the baseline of {name} has another {kind} ({_value(before, kind)}) than '
                    f'this replay ({now[kind]}): replay with the same options')
        for path, (better, slack) in REGRESSIONS.items():
            old = _value(before, path)
            if isinstance(old, int | float):
                checks.append(_against(name, path, _value(now, path), old, better, slack))
    return checks


def metric_paths(metrics: dict[str, Any], path: str = '') -> Iterator[str]:
    """List the dotted paths of everything that is a number, or null, in a policy's metrics."""
    for key, value in metrics.items():
        if isinstance(value, dict):
            yield from metric_paths(value, f'{path}{key}.')
        elif not isinstance(value, str | list | bool):
            yield f'{path}{key}'


def _looked_up(
    metrics: dict[str, Any], path: str, asked: str, policies: list[str],
) -> float | None:
    """Value of a metric; a UserError where there is none of that name."""
    value = _value(metrics, path)
    if isinstance(value, dict):
        inside = [f'{path}.{p}' for p in metric_paths(value)]
        hint = f': choose one of its own, such as {", ".join(inside[:3])}' if inside else ''
        raise UserError(f"'{asked}' is a group of metrics{hint}")
    if value is _ABSENT:
        known = [*metric_paths(metrics), *policies]
        near = difflib.get_close_matches(path, known, n=3, cutoff=0.5)
        hint = f'did you mean {" or ".join(near)}?' if near else (
            f'policies replayed: {", ".join(policies)}; metrics are those of metrics.json, such '
            f'as joint_error_deg.mean')
        raise UserError(f"no metric or policy '{asked}': {hint}")
    if isinstance(value, str | list | bool):
        raise UserError(f"'{asked}' is not a number: choose a metric such as joint_error_deg.mean")
    return value


_WORDS = {
    ('above', True): 'at most', ('above', False): 'above',
    ('below', True): 'at least', ('below', False): 'below'}
_ABSENT = object()


def _value(metrics: Any, path: str) -> Any:
    """Follow a dotted path; names of bags may hold dots themselves. `_ABSENT` at a dead end."""
    if not isinstance(metrics, dict):
        return _ABSENT
    if path in metrics:
        return metrics[path]
    for key, inner in metrics.items():
        if path.startswith(f'{key}.'):
            found = _value(inner, path[len(key) + 1:])
            if found is not _ABSENT:
                return found
    return _ABSENT


def _check(policy: str, path: str, value: float | None, threshold: Threshold) -> Check:
    limit = f'{threshold.value:g}'
    if value is None:
        return Check(policy, path, None, False, f'{policy}: {path} is not known on this input')
    passed = value <= threshold.value if threshold.kind == 'above' else value >= threshold.value
    word = _WORDS[threshold.kind, passed]
    return Check(policy, path, value, passed, f'{policy}: {path} is {value:g}, {word} {limit}')


def _against(
    policy: str, path: str, value: Any, old: float, better: str, slack: float,
) -> Check:
    if not isinstance(value, int | float):
        return Check(policy, path, None, False,
                     f'{policy}: {path} is no longer known, it was {old:g}')
    worse = value - old if better == 'lower' else old - value
    passed = worse <= slack + 1e-9
    words = f'{policy}: {path} is {value:g}, the baseline {old:g}'
    return Check(policy, path, value, passed, words if passed else f'{words}: worse')


def _bags(document: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What tells recordings apart, wherever they lie and whatever they are called."""
    return [(bag.get('frames'), bag.get('duration_s')) for bag in document['bags']
            if isinstance(bag, dict)]


def _told(bags: list[tuple[Any, ...]]) -> str:
    frames = [bag[0] for bag in bags if isinstance(bag[0], int)]
    return f'{len(bags)} bag{"s" if len(bags) != 1 else ""}, {sum(frames)} frames'
