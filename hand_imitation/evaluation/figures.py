"""Each group of figures of `metrics.json`: arrays in, what JSON can hold out.

A number that is not known is None. Formulas are told in `docs/metrics.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from hand_imitation.arm.audit import COMMAND_TOLERANCE_RAD, SPEED_TOLERANCE
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.evaluation.bootstrap import Interval, block_interval, block_intervals
from hand_imitation.evaluation.motion import Motion
from hand_imitation.evaluation.recording import RECORDED, Hold, Recording, Series
from hand_imitation.evaluation.scoring import FINGERS, Score

MEASURED_TOLERANCE_RAD = np.radians(2.0)
"""A measured joint may be beyond its limit by this: an arm sags and overshoots."""

MAX_BINS = 300
"""The course over time is given in bins of a second, or of more, so that there are no more."""

_STRETCH = 50_000

DIGITS = {'deg': 3, 'mm': 3, 'ms': 2, 'share': 5, 's': 3, 'hz': 3, 'jerk': 2}
"""Digits behind the point, by unit."""


def joint_errors(signed_deg: np.ndarray, blocks: np.ndarray, table: JointTable) -> dict[str, Any]:
    """Sum up joint errors.

    Args:
        signed_deg: Shape (m, n), signal minus reference, NaN where missing [deg].
        blocks: Shape (m,), the bootstrap's block of each row.
        table: The joints.

    Returns:
        Mean absolute error with its interval, its spread, and the same per joint and finger.
    """
    errors, digits = np.abs(signed_deg), DIGITS['deg']
    rows = row_means(errors)
    known = rows[np.isfinite(rows)]
    each = block_intervals(errors, blocks)
    fingers = {
        finger: [c for c, name in enumerate(table.names) if name.startswith(f'{finger}_')]
        for finger in FINGERS}
    four = [c for finger in FINGERS[1:] for c in fingers[finger]]
    return {
        **mean_figures(block_interval(rows, blocks), digits),
        'median': rounded(np.median(known) if len(known) else None, digits),
        'p95': rounded(np.percentile(known, 95) if len(known) else None, digits),
        'max': rounded(errors[np.isfinite(errors)].max(initial=0.0) if len(known) else None,
                        digits),
        'frames': len(known),
        'four_fingers': rounded(_mean_of(errors[:, four]), digits),
        'per_finger': {
            finger: rounded(_mean_of(errors[:, columns]), digits)
            for finger, columns in fingers.items()},
        'per_joint': _by_joint(
            table, [found.mean if found else None for found in each], digits),
        'per_joint_ci95': dict(zip(
            table.names, (interval_figures(found, digits) for found in each), strict=True)),
        'per_joint_bias': _by_joint(
            table, [_mean_of(signed_deg[:, c]) for c in range(len(table))], digits),
        'per_joint_p95': _by_joint(
            table, [_percentile(errors[:, c], 95) for c in range(len(table))], digits),
    }


def over_time(score: Score) -> dict[str, Any]:
    """Give the course over time in bins of at least a second.

    Args:
        score: Of one run.

    Returns:
        Start of each bin since the first frame [s], and per bin the mean errors and the share
        of frames with a hand; None where a bin holds no value.
    """
    frame_ns = score.recording.frame_ns
    if not len(frame_ns):
        return {'bin_s': 1, 'start_s': [], 'joint_error_deg': [], 'per_joint_deg': {},
                'tracked_share': []}
    elapsed_s = (frame_ns - frame_ns[0]) * 1e-9
    bin_s = max(1, int(np.ceil((elapsed_s[-1] + 1e-9) / MAX_BINS)))
    bins = (elapsed_s // bin_s).astype(int)
    number = int(bins[-1]) + 1
    errors, digits = np.abs(score.arm_error_deg), DIGITS['deg']

    def course(values: np.ndarray) -> list[float | None]:
        known = np.isfinite(values)
        count = np.bincount(bins[known], minlength=number)
        total = np.bincount(bins[known], values[known], minlength=number)
        return [rounded(t / c if c else None, digits) for t, c in zip(total, count, strict=True)]

    return {
        'bin_s': bin_s,
        'start_s': [i * bin_s for i in range(number)],
        'joint_error_deg': course(row_means(errors)),
        'per_joint_deg': {
            name: course(errors[:, c]) for c, name in enumerate(score.recording.table.names)},
        'tracked_share': course(score.run.tracked.astype(float)),
    }


def gaps(tracked: np.ndarray, frame_ns: np.ndarray) -> list[tuple[int, int]]:
    """Find the spans in which no hand was seen.

    Args:
        tracked: Shape (f,), bool.
        frame_ns: Shape (f,), stamps [ns].

    Returns:
        Start and end of each [ns]: from the first frame without a hand to the next frame with
        one, or to the last frame.
    """
    lost = np.concatenate([[False], ~np.asarray(tracked, dtype=bool), [False]]).astype(int)
    starts, ends = np.flatnonzero(np.diff(lost) == 1), np.flatnonzero(np.diff(lost) == -1)
    last = len(frame_ns) - 1
    return [(int(frame_ns[start]), int(frame_ns[min(end, last)]))
            for start, end in zip(starts, ends, strict=True)]


def percentiles(values: np.ndarray, digits: int = 2) -> dict[str, float | None]:
    """Give p50, p95, p99 and the largest of values; None where there are none."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    return {
        **{f'p{p}': rounded(_percentile(known, p), digits) for p in (50, 95, 99)},
        'max': rounded(known.max() if len(known) else None, digits)}


def frame_figures(scores: Sequence[Score]) -> dict[str, Any]:
    """How many frames there were, and how many of the camera's own rate were missing."""
    count, missing, longest_s = 0, 0, 0.0
    for score in scores:
        steps = np.diff(score.recording.frame_ns)
        count += len(score.recording.frame_ns)
        if len(steps):
            missing += int(np.maximum(np.round(steps / np.median(steps)) - 1, 0).sum())
            longest_s = max(longest_s, float(steps.max()) * 1e-9)
    return {
        'count': count, 'missing': missing,
        'missing_share': rounded(
            missing / (count + missing) if count else None, DIGITS['share']),
        'longest_interval_s': rounded(longest_s, DIGITS['s'])}


def tracking_figures(scores: Sequence[Score]) -> dict[str, Any]:
    """Sum up in how many frames a hand was seen, and the spans without one."""
    tracked = sum(int(s.run.tracked.sum()) for s in scores)
    frames = sum(len(s.recording.frame_ns) for s in scores)
    with_target = sum(len(target_times(s)) for s in scores)
    spans_s = [
        (end - start) * 1e-9 for s in scores
        for start, end in gaps(s.run.tracked, s.recording.frame_ns)]
    return {
        'tracked': tracked,
        'tracked_share': rounded(tracked / frames if frames else None, DIGITS['share']),
        'targets': with_target,
        'target_share': rounded(with_target / frames if frames else None, DIGITS['share']),
        'dropouts': len(spans_s),
        'longest_gap_s': rounded(max(spans_s, default=0.0), DIGITS['s'])}


def target_times(score: Score) -> np.ndarray:
    """Stamps of the frames for which the policy had a target."""
    target = score.run.target
    return target.time_ns[np.isfinite(target.position_rad).any(axis=1)]


def finger_state_figures(agree: np.ndarray, blocks: np.ndarray) -> dict[str, Any]:
    """Sum up how often fingers are curled, or not, in both poses; thumb apart."""
    digits = DIGITS['share']
    four = agree[:, 1:]
    hands = np.where(np.isfinite(four).all(axis=1), (four == 1.0).all(axis=1), np.nan)
    return {
        **mean_figures(block_interval(row_means(four), blocks), digits, name='agreement'),
        'hands': rounded(_mean_of(hands), digits),
        'per_finger': {
            finger: rounded(_mean_of(agree[:, c]), digits) for c, finger in enumerate(FINGERS)}}


def finger_errors(values: np.ndarray, blocks: np.ndarray, digits: int) -> dict[str, Any]:
    """Sum up the distances of the fingertips, shape (m, 5)."""
    rows = row_means(values)
    each = block_intervals(values, blocks)
    return {
        **mean_figures(block_interval(rows, blocks), digits),
        'p95': rounded(_percentile(rows, 95), digits),
        'per_finger': {
            finger: rounded(found.mean if found else None, digits)
            for finger, found in zip(FINGERS, each, strict=True)},
        'per_finger_ci95': {
            finger: interval_figures(found, digits)
            for finger, found in zip(FINGERS, each, strict=True)}}


def lag_figures(motions: Sequence[Motion], table: JointTable) -> dict[str, Any]:
    """Lags in milliseconds; over several recordings their mean where they are known."""
    digits = DIGITS['ms']
    together = [m.lag for m in motions if m.lag is not None]
    each = [
        [m.joint_lags[c].lag_s for m in motions if m.joint_lags[c] is not None]  # type: ignore
        for c in range(len(table))]
    return {
        'all': rounded(1e3 * np.mean([f.lag_s for f in together]) if together else None, digits),
        'correlation': rounded(
            np.mean([f.correlation for f in together]) if together else None, 5),
        'per_joint': _by_joint(
            table, [1e3 * np.mean(found) if found else None for found in each], digits)}


def rms_figures(values: Sequence[np.ndarray], table: JointTable, digits: int) -> dict[str, Any]:
    """Root mean square over recordings, per joint, and the mean of the joints."""
    stacked = np.stack(values)
    known = np.isfinite(stacked)
    squares = np.where(known, stacked, 0.0) ** 2
    joints = np.sqrt(np.where(
        known.any(axis=0), squares.sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.nan))
    return {
        'mean': rounded(_mean_of(joints), digits),
        'per_joint': _by_joint(table, list(joints), digits)}


def hold_figures(holds: Iterable[Hold]) -> dict[str, Any]:
    """Count holds, their time and their reasons."""
    spans = [((hold.end_ns - hold.start_ns) * 1e-9, hold.reason) for hold in holds]
    reasons: dict[str, int] = {}
    for _, reason in spans:
        reasons[reason] = reasons.get(reason, 0) + 1
    return {
        'count': len(spans),
        'total_s': rounded(sum(span for span, _ in spans), DIGITS['s']),
        'longest_s': rounded(max((span for span, _ in spans), default=0.0), DIGITS['s']),
        'reasons': dict(sorted(reasons.items()))}


def violation_figures(scores: Sequence[Score]) -> dict[str, int | None]:
    """Count, apart from whoever made the run, what is beyond the limits of the table.

    Recorded commands carry no stamp but that of their arrival, and bunch up on their way: their
    speed cannot be told.
    """
    by_arrival = any(s.run.policy == RECORDED for s in scores)
    return {
        'command_position': sum(
            _beyond(s.run.command, s.recording.table, COMMAND_TOLERANCE_RAD) for s in scores),
        'command_speed': None if by_arrival else sum(_too_fast(s) for s in scores),
        'measured_position': sum(
            _beyond(s.run.measured, s.recording.table, MEASURED_TOLERANCE_RAD)
            for s in scores if s.run.measured_source != 'none')}


def _beyond(series: Series, table: JointTable, tolerance_rad: float) -> int:
    low, high = table.lower_rad - tolerance_rad, table.upper_rad + tolerance_rad
    return sum(
        int(((part < low) | (part > high)).sum())
        for part in (series.position_rad[s] for s in _stretches(len(series))))


def _too_fast(score: Score) -> int:
    """Steps of a command faster than the joint; those to where the arm is ask for no motion."""
    command, table, count = score.run.command, score.recording.table, 0
    for stretch in _stretches(len(command), overlap=1):
        time_ns, position_rad = command.time_ns[stretch], command.position_rad[stretch]
        steps = np.abs(np.diff(position_rad, axis=0))
        allowed = np.diff(time_ns)[:, np.newaxis] * 1e-9 * table.max_velocity_rad_s
        fast = steps > allowed * (1.0 + SPEED_TOLERANCE) + 1e-9
        if fast.any() and score.run.measured_source != 'none':
            measured = _newest(score.run.measured, time_ns[1:])
            fast &= ~(np.abs(position_rad[1:] - measured) <= MEASURED_TOLERANCE_RAD)
        count += int(fast.sum())
    return count


def _stretches(count: int, overlap: int = 0) -> Iterator[slice]:
    """Parts of a long series, so that no second copy of all of it is made."""
    for start in range(0, count, _STRETCH):
        yield slice(max(start - overlap, 0), start + _STRETCH)


def _newest(series: Series, time_ns: np.ndarray) -> np.ndarray:
    """Newest sample at each time, shape (k, n); NaN before the first."""
    places = np.searchsorted(series.time_ns, time_ns, side='right') - 1
    values = np.full((len(time_ns), series.position_rad.shape[1]), np.nan)
    values[places >= 0] = series.position_rad[places[places >= 0]]
    return values


def latency_figures(recordings: Sequence[Recording]) -> dict[str, Any]:
    """Give the recorded latency of each stage [ms]."""
    stages = dict.fromkeys(stage for r in recordings for stage in r.latency_ms)
    return {
        stage: percentiles(np.concatenate(
            [np.asarray(r.latency_ms[stage]) for r in recordings if stage in r.latency_ms]))
        for stage in stages}


def rate_hz(times_ns: Sequence[np.ndarray]) -> float | None:
    """Samples per second over all recordings, None where there are none."""
    time_s = sum(span_s(times) for times in times_ns)
    count = sum(max(len(times) - 1, 0) for times in times_ns)
    return rounded(count / time_s if time_s > 0.0 else None, DIGITS['hz'])


def span_s(times_ns: np.ndarray) -> float:
    """Time from the first stamp to the last [s]."""
    return float(times_ns[-1] - times_ns[0]) * 1e-9 if len(times_ns) else 0.0


def mean_figures(found: Interval | None, digits: int, name: str = 'mean') -> dict[str, Any]:
    """Give a mean and its interval."""
    return {name: rounded(found.mean if found else None, digits),
            'ci95': interval_figures(found, digits)}


def interval_figures(found: Interval | None, digits: int) -> dict[str, float | None]:
    """Give the two ends of an interval."""
    return {'low': rounded(found.low if found else None, digits),
            'high': rounded(found.high if found else None, digits)}


def _by_joint(
    table: JointTable, values: Sequence[float | None], digits: int,
) -> dict[str, float | None]:
    return {
        name: rounded(value, digits) for name, value in zip(table.names, values, strict=True)}


def row_means(values: np.ndarray) -> np.ndarray:
    """Mean of each row over what is known, NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1, dtype=float)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mean_of(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean(dtype=float)) if known.size else None


def _percentile(values: np.ndarray, percent: float) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.percentile(known, percent)) if known.size else None


def rounded(value: float | np.floating | None, digits: int) -> float | None:
    """Round for the file: None for what is not a finite number, and no negative zero."""
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), digits) + 0.0
