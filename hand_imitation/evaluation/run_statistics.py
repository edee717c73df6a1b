"""What happened in a run, in figures: collects while it runs, sums up at the end."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hand_imitation.human.angles import Side, thumb_side_sign
from hand_imitation.policy.base import LEANING_JOINTS, lean_sign

STAGES = ('perception', 'policy', 'command')
_BEFORE = {'perception': 'camera', 'policy': 'perception', 'command': 'policy'}
_PERCENTILES = (50, 95, 99)
_IN_FLIGHT_NS = 200_000_000
_BUS_FIGURES = (
    'cycles', 'cycle_ms_p50', 'cycle_ms_p99', 'cycle_ms_max', 'jitter_ms_p50', 'jitter_ms_p99',
    'overruns', 'reconnects', 'retries')


class RunStatistics:
    """Collects a run's messages, in plain Python.

    Args:
        side: Which arm it is.
        mirror: Whether it mirrors the person.
        uses_perception: Whether the policy goes by what perception sees; if not, hands are those
            that `add_sight` tells of.

    Attributes:
        uses_perception: As given.
        limit_violations: Of the commander, counted by it.
    """

    def __init__(self, side: Side, mirror: bool, uses_perception: bool = True) -> None:
        self.uses_perception = uses_perception
        self._side = side
        self._mirror = mirror
        self._finished_ns: dict[int, dict[str, int]] = {}
        self._tracked: set[int] = set()
        self._thumb_sides: dict[int, float] = {}
        self._truth: dict[int, dict[str, float]] = {}
        self._estimates: dict[int, dict[str, float]] = {}
        self._measured_ns: list[int] = []
        self._measured: list[dict[str, float]] = []
        self._holds: list[tuple[int, int]] = []
        self._bus: dict[str, float] = {}
        self._bus_faults: list[str] = []
        self._following_deg: dict[str, float] = {}
        self.limit_violations = 0

    def add_latency(self, stage: str, frame_ns: int, finished_ns: int) -> None:
        """Note that a stage finished with a frame: 'camera', one of `STAGES`, or 'bus'."""
        # The first command from a frame counts, and nothing happens to a frame twice before it.
        self._finished_ns.setdefault(frame_ns, {}).setdefault(stage, finished_ns)

    def add_landmarks(self, frame_ns: int, points: np.ndarray | None) -> None:
        """Note what was seen in a frame: shape (21, 3), optical frame, or None."""
        if points is not None:
            self._tracked.add(frame_ns)
            self._thumb_sides[frame_ns] = thumb_side_sign(points)

    def add_sight(self, frame_ns: int, detected: bool, thumb_side: float | None) -> None:
        """Note what a policy that looks for hands itself saw in a frame.

        Args:
            frame_ns: The frame's stamp [ns].
            detected: It saw a hand.
            thumb_side: As in `JointTargets`, None where that is not told.
        """
        if detected:
            self._tracked.add(frame_ns)
        if thumb_side is not None:
            self._thumb_sides[frame_ns] = thumb_side

    def add_truth(self, frame_ns: int, names: Sequence[str], positions: Sequence[float]) -> None:
        """Note a frame's true pose [rad], in the person's terms."""
        self._truth[frame_ns] = dict(zip(names, positions, strict=True))

    def add_holds(self, time_ns: int, holds: int) -> None:
        """Note how many holds the commander had counted at a time."""
        self._holds.append((time_ns, holds))

    def add_estimate(
        self, frame_ns: int, names: Sequence[str], positions: Sequence[float],
    ) -> None:
        """Note what the policy wanted for a frame [rad], in the arm's terms."""
        self._estimates[frame_ns] = dict(zip(names, positions, strict=True))

    def add_measured(self, time_ns: int, names: Sequence[str], positions: Sequence[float]) -> None:
        """Note where the arm was [rad], in its own terms."""
        if self._measured_ns and time_ns <= self._measured_ns[-1]:
            return
        self._measured_ns.append(time_ns)
        self._measured.append(dict(zip(names, positions, strict=True)))

    def add_bus(self, joint: str, values: Mapping[str, str]) -> None:
        """Note what the driver of the servos says of the bus, or of one servo.

        Args:
            joint: The servo's joint, or '' for the bus.
            values: As in its diagnostics; the newest count, since they are of the whole run.
        """
        if joint:
            following = values.get('following_error_mean_deg', 'nan')
            if following != 'nan':
                self._following_deg[joint] = float(following)
            return
        fault = values.get('fault', '')
        if fault and fault not in self._bus_faults[-1:]:
            self._bus_faults.append(fault)
        if values.get('mode') == 'armed' or not self._bus:
            self._bus = {name: float(values[name]) for name in _BUS_FIGURES if values.get(name)}

    @property
    def frames(self) -> int:
        """Frames published so far."""
        # A copy, here and below: this is asked while the monitor's thread adds more.
        return sum('camera' in done for done in list(self._finished_ns.values()))

    @property
    def frames_tracked(self) -> int:
        """Frames with a hand so far."""
        return len(self._tracked)

    def latest_latency_ms(self) -> float | None:
        """End-to-end latency of the newest commanded frame [ms]."""
        for frame_ns, done in reversed(list(self._finished_ns.items())):
            if 'command' in done:
                return (done['command'] - frame_ns) * 1e-6
        return None

    def summary(self) -> dict[str, Any]:
        """Sum up the run.

        Returns:
            The figures of `summary.json`; a latency is None where nothing was measured.
        """
        published = {ns: done for ns, done in self._finished_ns.items() if 'camera' in done}
        commanded = sorted(
            done['command'] for done in published.values() if 'command' in done)
        span_s = (commanded[-1] - commanded[0]) * 1e-9 if len(commanded) > 1 else 0.0
        latency = {stage: self._stage_latency(stage) for stage in STAGES}
        latency['end_to_end'] = _percentiles([
            (done['command'] - ns) * 1e-6 for ns, done in published.items() if 'command' in done])
        figures: dict[str, Any] = {
            'frames': len(published),
            'frames_tracked': len(self._tracked & published.keys()),
            'frames_dropped': self._dropped(published),
            'command_rate_hz': round((len(commanded) - 1) / span_s, 2) if span_s else 0.0,
            'latency_ms': latency,
            'limit_violations': self.limit_violations,
            'holds': self._holds_by(max(published, default=0)),
        }
        if self._truth:
            figures['joint_error_deg'] = self._errors(self._measured_at)
            figures['estimate_error_deg'] = self._errors(
                lambda frame_ns: self._estimates.get(frame_ns))
        return figures | self._bus_figures(published)

    def _bus_figures(self, published: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
        """Figures of a servo bus, where there is one."""
        if not self._bus:
            return {}
        joints = self._following_deg
        mean = round(float(np.mean(list(joints.values()))), 2) if joints else None
        return {
            'frame_to_bus_ms': _percentiles([
                (done['bus'] - ns) * 1e-6 for ns, done in published.items() if 'bus' in done]),
            'bus': {**self._bus, 'faults': self._bus_faults},
            'following_error_deg': {'mean': mean, 'per_joint': joints},
        }

    def _dropped(self, published: Mapping[int, Mapping[str, int]]) -> int:
        """Count the frames without a result; those on their way when the run ended are not."""
        last_ns = max((max(done.values()) for done in published.values()), default=0)
        return sum(
            'policy' not in done and done['camera'] < last_ns - _IN_FLIGHT_NS
            for done in published.values())

    def _holds_by(self, last_frame_ns: int) -> int:
        """Count the holds while pictures came; the one after the last is not of interest."""
        return max((n for time_ns, n in self._holds if time_ns <= last_frame_ns), default=0)

    def _stage_latency(self, stage: str) -> dict[str, float | None]:
        """Time from the end of the stage before to the end of this one [ms]."""
        before = _BEFORE[stage]
        return _percentiles([
            (done[stage] - done[before]) * 1e-6 for done in self._finished_ns.values()
            if stage in done and before in done])

    def _errors(self, pose_at) -> dict[str, Any]:
        """Mean absolute error per joint [deg] over all frames from the first command on."""
        errors: dict[str, list[float]] = {}
        thumb_side, started = 1.0, False
        for frame_ns in sorted(self._truth):
            thumb_side = self._thumb_sides.get(frame_ns, thumb_side)
            started = started or 'command' in self._finished_ns.get(frame_ns, {})
            pose = pose_at(frame_ns) if started else None
            if pose is None:
                continue
            sign = lean_sign(thumb_side, self._side, self._mirror)
            for name, truth in self._truth[frame_ns].items():
                if name in pose:
                    value = pose[name] * (sign if name in LEANING_JOINTS else 1.0)
                    errors.setdefault(name, []).append(abs(np.degrees(value - truth)))
        per_joint = {name: round(float(np.mean(values)), 2) for name, values in errors.items()}
        mean = round(float(np.mean(list(per_joint.values()))), 2) if per_joint else None
        return {'mean': mean, 'per_joint': per_joint}

    def _measured_at(self, time_ns: int) -> Mapping[str, float] | None:
        """Measured pose at a time, between the two measurements around it."""
        after = bisect_left(self._measured_ns, time_ns)
        if not 0 < after < len(self._measured_ns):
            return None
        start_ns, end_ns = self._measured_ns[after - 1], self._measured_ns[after]
        share = (time_ns - start_ns) / (end_ns - start_ns)
        start, end = self._measured[after - 1], self._measured[after]
        return {n: start[n] + share * (end[n] - start[n]) for n in start if n in end}


def _percentiles(values_ms: Sequence[float]) -> dict[str, float | None]:
    """Percentiles of latencies [ms], None where there are none."""
    if not len(values_ms):
        return {f'p{p}': None for p in _PERCENTILES}
    return {
        f'p{p}': round(float(v), 2)
        for p, v in zip(_PERCENTILES, np.percentile(values_ms, _PERCENTILES), strict=True)}
