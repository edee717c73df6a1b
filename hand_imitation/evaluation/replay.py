"""Replays a bag through policies as fast as the machine goes.

Hands are looked for once and shown to every policy that goes by them; one that looks for hands
itself is shown the pictures alone, and where there are only such, nobody else looks.

Everything follows from the stamps in the bag and never from a clock, so the same bag and options
give the same result. A frame's target arrives at the safety filter as late as the policy's word
on it came when the bag was recorded; where the bag does not say, as late as usual in it, or else
at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import SafetyParameters
from hand_imitation.errors import UserError
from hand_imitation.evaluation.bag import Bag
from hand_imitation.evaluation.bag_contents import (
    Contents,
    read_contents,
    recorded_parameters,
)
from hand_imitation.evaluation.following import (
    ArmBehind,
    Follower,
    IdealBehind,
    RecordedBehind,
    SimulatedBehind,
)
from hand_imitation.evaluation.recording import RECORDED, PolicyRun, Recording, Series
from hand_imitation.evaluation.replay_frames import (
    Eyes,
    Seen,
    chosen_frames,
    closed_eyes,
    delays_ns,
    open_eyes,
    open_pictures,
    remembered,
)
from hand_imitation.evaluation.told import LEAD_NS, latency_ms, recording_of, told_run
from hand_imitation.human.angles import Side
from hand_imitation.human.observation import HandObservation
from hand_imitation.human.perception import PerceptionParameters
from hand_imitation.policy import DEFAULT_POLICY, load_policy, policy_name
from hand_imitation.policy.base import Policy, in_arm_terms, sight_of, unseen

Progress = Callable[[float], None]


@dataclass(frozen=True)
class ReplayOptions:
    """How to replay.

    Attributes:
        policies: Names of the policies or folders of their checkpoints, or `RECORDED` for what
            the bag itself tells.
        landmarks: Whether hands are looked for in the pictures, or taken as recorded.
        simulate: Put a simulated arm behind each policy; else the recorded one is used.
        start_s: Leave out what came before, seconds after the first frame; None for nothing.
        end_s: Leave out what came after, in the same way.
        topics: Topics of the bag by our names, where they differ.
        side: Which arm it is; None takes what the bag says, or else the right one.
        mirror: Whether it mirrors the person; None takes what the bag says, or else it does.
        safety: Parameters of the safety filter.
        perception: Parameters of perception.
        policy_parameters: Parameter dataclasses by policy.
        picture_width: Larger pictures are scaled down to this before hands are looked for [px],
            as the camera node does; 0 for never.
    """

    policies: tuple[str, ...] = (DEFAULT_POLICY,)
    landmarks: Literal['perceived', 'recorded'] = 'perceived'
    simulate: bool = False
    start_s: float | None = None
    end_s: float | None = None
    topics: dict[str, str] = field(default_factory=dict)
    side: Side | None = None
    mirror: bool | None = None
    safety: SafetyParameters = field(default_factory=SafetyParameters)
    perception: PerceptionParameters = field(default_factory=PerceptionParameters)
    policy_parameters: dict[str, Any] = field(default_factory=dict)
    picture_width: int = 640


@dataclass(frozen=True)
class Replayed:
    """A bag, replayed.

    Attributes:
        recording: What it holds.
        runs: What each policy made of it, in the order asked for.
        timing: How long it took, and how fast it was, for `timing.json`.
    """

    recording: Recording
    runs: tuple[PolicyRun, ...]
    timing: dict[str, Any]


def replay_bag(path: Path, options: ReplayOptions, progress: Progress | None = None) -> Replayed:
    """Replay one bag.

    Args:
        path: The bag's folder or file.
        options: How.
        progress: Called with the share that is done, 0 to 1.

    Returns:
        What the bag holds and what the policies made of it.

    Raises:
        UserError: There is nothing in the bag that could be scored, or an option does not fit.
    """
    begun_s = time.perf_counter()
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(path))
        side, mirror = arm_of(bag, options)
        description = load_description(side)
        table = JointTable.from_urdf(description)
        policies = {
            policy_name(name): load_policy(name, table, options.policy_parameters)
            for name in options.policies if name != RECORDED}
        contents = read_contents(bag, table, options.topics)
        frames = _frames(contents, options)
        read_s = time.perf_counter()
        looks = _looks(policies, contents)
        witness = None if looks else next(iter(policies), None)
        seen = Seen(frames, _eyes(stack, contents, frames, options, policies, looks))
        end_ns = int((frames + delays_ns(contents, frames)).max())
        runs = {
            name: _Run(name, policy, table, options, side, mirror, frames, _behind(
                stack, contents, table, description, options, frames, end_ns))
            for name, policy in policies.items()}
        arrivals = np.maximum.accumulate(frames + delays_ns(contents, frames))
        for number, arrival_ns in enumerate(arrivals.tolist()):
            observation = seen.look(number)
            for run in runs.values():
                run.take(number, observation, arrival_ns)
            if witness is not None:
                seen.tell(number, *runs[witness].told(number))
            if progress is not None:
                progress((number + 1) / len(frames))
        as_seen_now = looks and not contents.hands.has_sights
        then = seen if as_seen_now else _seen_then(contents, frames)
        seen = seen if policies else then
        seen.check(contents)
        recording = recording_of(bag, contents, table, side, mirror, frames, seen, end_ns)
        finished = tuple(
            told_run(RECORDED, contents, recording, then, end_ns, 'recorded') if name == RECORDED
            else runs[policy_name(name)].finish(end_ns, seen) for name in options.policies)
    stages_ms = {name: run.act_ms for name, run in runs.items()}
    if looks:
        stages_ms = {'perception': seen.look_ms, **stages_ms}
    return Replayed(recording, finished, _timing(frames, begun_s, read_s, stages_ms))


def arm_of(bag: Bag, options: ReplayOptions) -> tuple[Side, bool]:
    """Tell which arm it is and whether it mirrors: as asked for, as recorded, or as usual."""
    recorded = recorded_parameters(bag).get('policy', {})
    side: Side = 'left' if (options.side or recorded.get('side')) == 'left' else 'right'
    mirror = options.mirror if options.mirror is not None else recorded.get('mirror') is not False
    return side, mirror


def _frames(contents: Contents, options: ReplayOptions) -> np.ndarray:
    """Stamps of the frames to replay, shape (f,) [ns]."""
    if contents.pictures and options.landmarks == 'recorded' and not len(
            contents.hands.stamps_ns):
        raise UserError(f"'{contents.bag.name}' holds no landmarks on 'hand/landmarks': leave "
                        f'out --landmarks recorded, or name their topic by --topic')
    return chosen_frames(
        contents, options.start_s if options.start_s is not None else 0.0,
        options.end_s if options.end_s is not None else np.inf,
        options.landmarks == 'recorded')


def _looks(policies: dict[str, Policy], contents: Contents) -> bool:
    """Tell whether hands are looked for in the pictures, or policies do that themselves."""
    if not policies:
        return not contents.hands.has_sights
    return any(policy.uses_perception for policy in policies.values())


def _eyes(
    stack: ExitStack, contents: Contents, frames: np.ndarray, options: ReplayOptions,
    policies: dict[str, Policy], looks: bool,
) -> Eyes:
    """Return what looks for hands, and shows pictures to policies that do that themselves."""
    if not policies and not looks:
        return remembered(contents, frames)
    pictures = open_pictures(stack, contents, frames, options.picture_width)
    if not looks:
        return closed_eyes(pictures)
    if options.landmarks != 'recorded':
        return open_eyes(stack, pictures, options.perception)
    if contents.hands.has_sights:
        raise UserError(f"'{contents.bag.name}' was recorded with a policy that looks for hands "
                        'itself, so it holds no landmarks: leave out --landmarks recorded')
    all_look = all(policy.uses_perception for policy in policies.values())
    return remembered(contents, frames, None if all_look else pictures)

def _seen_then(contents: Contents, frames: np.ndarray) -> Seen:
    """Return what was seen in the frames when they were recorded."""
    seen = Seen(frames, remembered(contents, frames))
    for number in range(len(frames)):
        seen.look(number)
    seen.tell_as_recorded(contents)
    return seen


@dataclass(frozen=True)
class _Behind:
    """What is behind the safety filter of a policy."""

    arm: ArmBehind
    source: Literal['simulated', 'recorded', 'none']
    recorded: Series | None = None


class _Run:
    """One policy and what follows it."""

    def __init__(
        self, name: str, policy: Policy, table: JointTable, options: ReplayOptions, side: Side,
        mirror: bool, frames: np.ndarray,
        behind: _Behind,
    ) -> None:
        self._name = name
        self._policy = policy
        self._table = table
        self._side: Side = side
        self._mirror = mirror
        self._frames = frames
        self._behind = behind
        self._follower = Follower(table, options.safety, behind.arm, int(frames[0]))
        self._targets = np.full((len(frames), len(table)), np.nan)
        self._tracked = np.zeros(len(frames), bool)
        self._thumb_side: float | None = None
        self.act_ms = np.zeros(len(frames))

    def take(self, number: int, observation: HandObservation, arrival_ns: int) -> None:
        """Show the policy a frame, and follow what it says."""
        self._follower.advance(arrival_ns)
        frame_ns = int(self._frames[number])
        if not self._policy.uses_perception:
            observation = unseen(observation)
        begun_s = time.perf_counter()
        targets = self._policy.act(
            observation, self._follower.measured_rad, (arrival_ns - self._frames[0]) * 1e-9)
        self.act_ms[number] = (time.perf_counter() - begun_s) * 1e3
        self._tracked[number] = sight_of(self._policy, observation).detected
        self._thumb_side = None if targets is None else targets.thumb_side
        if targets is None:
            return
        in_arm = in_arm_terms(targets, self._side, self._mirror)
        self._targets[number] = self._table.reorder(in_arm.names, in_arm.positions_rad)
        self._follower.deliver(in_arm.names, in_arm.positions_rad, frame_ns, arrival_ns)

    def told(self, number: int) -> tuple[bool, float | None]:
        """Whether there was a hand in the frame taken last, and its thumb's side if it is told."""
        return bool(self._tracked[number]), self._thumb_side

    def finish(self, end_ns: int, seen: Seen) -> PolicyRun:
        """Come to the end."""
        command, measured, holds, violations, age_ms = self._follower.finish(end_ns)
        if self._behind.recorded is not None:
            measured = self._behind.recorded
        looks_itself = not self._policy.uses_perception
        return PolicyRun(
            self._name, self._tracked if looks_itself else seen.tracked,
            None if looks_itself else seen.points, Series(self._frames, self._targets), command,
            measured, self._behind.source, holds, violations, age_ms)


def _behind(
    stack: ExitStack, contents: Contents, table: JointTable, description: str,
    options: ReplayOptions, frames: np.ndarray, end_ns: int,
) -> _Behind:
    """Return what is behind the safety filter of one policy."""
    start_ns = int(frames[0])
    if options.simulate:
        # Imported late: PyBullet takes a second.
        from hand_imitation.arm.simulation import SimulatedArm

        arm = stack.enter_context(SimulatedArm(description, table))
        arm.arm()
        return _Behind(SimulatedBehind(arm, start_ns), 'simulated')
    if contents.states is not None:
        states = contents.states.series(start_ns - LEAD_NS, end_ns)
        if len(states):
            shown = contents.states.series(start_ns, end_ns)
            return _Behind(RecordedBehind(states), 'recorded', shown)
    nothing = Series(np.zeros(0, np.int64), np.zeros((0, len(table))))
    return _Behind(IdealBehind(len(table)), 'none', nothing)


def replay_by_nodes(path: Path, told: dict[str, Path], options: ReplayOptions) -> Replayed:
    """Put together what the real nodes made of a bag that was played to them.

    Args:
        path: The bag.
        told: By policy, the bag that was recorded meanwhile.
        options: As it was played; `RECORDED` among the policies is read from the bag itself.

    Returns:
        The same as `replay_bag`.

    Raises:
        UserError: There is nothing in the bag that could be scored.
    """
    begun_s = time.perf_counter()
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(path))
        side, mirror = arm_of(bag, options)
        table = JointTable.from_urdf(load_description(side))
        contents = read_contents(bag, table, options.topics)
        frames = _frames(contents, options)
        recording: Recording | None = None
        runs, latency = [], {}
        for name in options.policies:
            found = contents if name == RECORDED else read_contents(
                stack.enter_context(Bag(told[name])), table, {})
            seen = _seen_then(found, frames)
            end_ns = int((frames + delays_ns(found, frames)).max())
            if recording is None:
                seen.check(found)
                recording = recording_of(bag, contents, table, side, mirror, frames, seen, end_ns)
            simulated = options.simulate and name != RECORDED
            called = policy_name(name)
            runs.append(told_run(
                called, found, recording, seen, end_ns, 'simulated' if simulated else 'recorded'))
            latency[called] = {
                stage: _percentiles(values) for stage, values in latency_ms(found, frames).items()}
    assert recording is not None
    return Replayed(recording, tuple(runs), {
        'frames': len(frames), 'recorded_s': _recorded_s(frames),
        'reading_s': round(time.perf_counter() - begun_s, 3), 'latency_ms': latency})


def _timing(
    frames: np.ndarray, begun_s: float, read_s: float, stages_ms: dict[str, np.ndarray],
) -> dict[str, Any]:
    """How long the replay took, and how fast it was; each stage per frame [ms]."""
    ended_s, recorded_s = time.perf_counter(), _recorded_s(frames)
    return {
        'frames': len(frames), 'recorded_s': recorded_s,
        'reading_s': round(read_s - begun_s, 3), 'replay_s': round(ended_s - begun_s, 3),
        'times_real_time': round(recorded_s / (ended_s - begun_s), 2),
        'latency_ms': {name: _percentiles(values) for name, values in stages_ms.items()}}


def _recorded_s(frames: np.ndarray) -> float:
    """How long the frames last, the last one as long as the others [s]."""
    span_s = float(frames[-1] - frames[0]) * 1e-9
    return round(span_s * len(frames) / max(len(frames) - 1, 1), 3)


def _percentiles(values: np.ndarray) -> dict[str, float]:
    return {f'p{percent}': round(float(np.percentile(values, percent)), 3)
            for percent in (50, 95, 99)}
