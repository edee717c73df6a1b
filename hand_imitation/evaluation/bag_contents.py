"""Goes through a bag once and keeps what a replay needs; pictures stay in the bag."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.evaluation.bag import (
    Bag,
    decoded,
    header_stamp_ns,
    matching_name,
    stamp_ns,
    time_ns,
)
from hand_imitation.evaluation.bag_files import RawMessage
from hand_imitation.evaluation.bag_series import (
    COMPRESSED,
    IMAGE,
    STAGES,
    JointRows,
    Pictures,
    StageTimes,
)
from hand_imitation.evaluation.following import FOLLOWING, HOLDING, hold_reason
from hand_imitation.evaluation.recorded_hands import RecordedHands
from hand_imitation.evaluation.recording import Hold

_KINDS = {
    'camera/image_raw': (IMAGE, COMPRESSED),
    'camera/camera_info': ('sensor_msgs/msg/CameraInfo',),
    'hand/landmarks': ('geometry_msgs/msg/PoseArray',),
    'hand/markers': ('visualization_msgs/msg/MarkerArray',),
    'policy/joint_trajectory': ('trajectory_msgs/msg/JointTrajectory',),
    'joint_trajectory': ('trajectory_msgs/msg/JointTrajectory',),
    'joint_states': ('sensor_msgs/msg/JointState',),
    'truth/joint_states': ('sensor_msgs/msg/JointState',),
    'latency': ('sensor_msgs/msg/TimeReference',),
    'diagnostics': ('diagnostic_msgs/msg/DiagnosticArray',),
}
REMAPPABLE = tuple(_KINDS)
"""Topics of ours that may have another name in a bag."""
_ANOTHER_CLOCK_NS = 1_000_000_000


@dataclass
class Contents:
    """What a bag holds, by what it means. Times are stamps [ns]."""

    bag: Bag
    pictures: Pictures | None = None
    hands: RecordedHands = field(default_factory=RecordedHands)
    targets: JointRows | None = None
    commands: JointRows | None = None
    states: JointRows | None = None
    truth: JointRows | None = None
    stages: dict[str, StageTimes] = field(default_factory=dict)
    modes: list[tuple[int, str, str]] = field(default_factory=list)
    violations: int | None = None
    problems: Counter[str] = field(default_factory=Counter)
    clock_shift_ns: int = 0

    def holds(self, end_ns: int) -> tuple[Hold, ...]:
        """Return the recorded holds, as the commander told of them, up to a time."""
        holds: list[Hold] = []
        begun: tuple[int, str] | None = None
        before = ''
        for time, mode, reasons in self.modes:
            if mode in HOLDING and before in FOLLOWING and time < end_ns:
                begun = time, hold_reason(reasons.split('; '))
            if mode in FOLLOWING and begun is not None:
                holds.append(Hold(begun[0], min(time, end_ns), begun[1]))
                begun = None
            before = mode
        if begun is not None:
            holds.append(Hold(begun[0], end_ns, begun[1]))
        return tuple(holds)


def recorded_parameters(bag: Bag) -> dict[str, dict[str, Any]]:
    """Return the nodes' parameters as the recorder noted them, by node; {} where it did not."""
    try:
        parameters = json.loads(bag.custom_data.get('parameters', '{}'))
        return {str(node): dict(values) for node, values in parameters.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def parse_remaps(texts: Iterable[str]) -> dict[str, str]:
    """Read topics given as OURS=THEIRS.

    Args:
        texts: Such as 'camera/image_raw=/eye/image'.

    Returns:
        Topics of a bag by `REMAPPABLE` names.

    Raises:
        UserError: One is of another form, or no topic of ours.
    """
    remaps = {}
    for text in texts:
        ours, equals, theirs = text.partition('=')
        ours = ours.strip('/').removesuffix('/compressed')
        if not equals or not theirs.strip('/') or ours not in REMAPPABLE:
            raise UserError(
                f"topic '{text}' is not of the form OURS=THEIRS: give for example "
                f"'camera/image_raw=/eye/image'; ours are {', '.join(REMAPPABLE)}")
        remaps[ours] = f'/{theirs.strip("/")}'
    return remaps


def read_contents(bag: Bag, table: JointTable, remaps: dict[str, str]) -> Contents:
    """Go through a bag once.

    Args:
        bag: The bag.
        table: The arm's joints.
        remaps: Topics of the bag by `REMAPPABLE` names.

    Returns:
        Its contents.

    Raises:
        UserError: A topic of `remaps` is not in the bag or of the wrong type, or there are
            several of one kind and no telling which is meant.
    """
    collectors: dict[str, _Collector] = {}
    by_name = {topic: name for name, topic in remaps.items()}
    problems: Counter[str] = Counter()

    def wanted(topic: str, kind: str) -> bool:
        name = by_name.get(topic) or (
            None if (close := matching_name(topic)) in remaps else close)
        if name is None and kind in _KINDS['camera/image_raw']:
            name = 'another image'
        kinds = _KINDS.get(name or '', (IMAGE, COMPRESSED))
        if name is None or name == 'arm_camera/image_raw' or topic in collectors:
            return topic in collectors
        if kind not in kinds:
            if topic in by_name:
                raise UserError(f"topic '{topic}' is of type {kind}: for '{name}' give one of "
                                f'type {" or ".join(kinds)}')
            problems[f"topic '{topic}' is of type {kind[:60]}, not {kinds[0]}: left out"] = 1
            return False
        collectors[topic] = _Collector(name, kind, bag.path, table)
        return True

    for message, file in bag.scan(wanted):
        collector = collectors[message.topic]
        try:
            collector.take(message, file)
        except ValueError as error:
            problems[str(error)] += 1
    absent = [topic for topic in by_name if topic not in bag.topics]
    if absent:
        raise UserError(
            f"'{bag.name}' has no topic '{absent[0]}': it has {', '.join(sorted(bag.topics))}")
    contents = _chosen(bag, collectors, set(remaps))
    contents.problems.update(problems)
    return contents


class _Collector:
    """Takes the messages of one topic."""

    def __init__(self, name: str, kind: str, bag: Path, table: JointTable) -> None:
        self.name = name
        self.kind = kind
        self.count = 0
        self.pictures = Pictures(bag, kind)
        self.joints = JointRows(table)
        self.hands = RecordedHands()
        self.stages: dict[str, StageTimes] = {}
        self.modes: list[tuple[int, str, str]] = []
        self.violations: int | None = None
        self.shifts_ns = array('q')
        self._takers: dict[str, Callable[[Any, int], None]] = {
            'camera/camera_info': self.hands.add_camera,
            'hand/landmarks': self.hands.add_landmarks,
            'hand/markers': self.hands.add_markers,
            'policy/joint_trajectory': self._target,
            'joint_trajectory': self._command,
            'joint_states': self._states,
            'truth/joint_states': self._states,
            'latency': self._latency,
            'diagnostics': self._diagnostics,
        }

    def take(self, message: RawMessage, file: int) -> None:
        """Take a message; ValueError says why it cannot be used."""
        self.count += 1
        if self.kind in (IMAGE, COMPRESSED):
            stamp = header_stamp_ns(message.data) or message.time_ns
            self.pictures.add(stamp, file, message.place)
        else:
            try:
                self._takers[self.name](decoded(message), message.time_ns)
            except (AttributeError, IndexError, TypeError, OverflowError) as error:
                raise ValueError(f'a {message.kind} makes no sense: {error}') from error

    def _target(self, message: Any, recorded_ns: int) -> None:
        self.joints.add(stamp_ns(message) or recorded_ns, message.joint_names, _positions(message))

    def _command(self, message: Any, recorded_ns: int) -> None:
        # Commands carry no stamp: a trajectory stamped zero begins when it arrives.
        self.joints.add(recorded_ns, message.joint_names, _positions(message))

    def _states(self, message: Any, recorded_ns: int) -> None:
        stamp = stamp_ns(message) or recorded_ns
        self.shifts_ns.append(recorded_ns - stamp)
        self.joints.add(stamp, message.name, message.position)

    def _latency(self, message: Any, _: int) -> None:
        stage = str(message.source)
        if stage not in STAGES:
            raise ValueError(f'latency of an unknown stage {stage[:40]!r}')
        self.stages.setdefault(stage, StageTimes()).add(
            time_ns(message.time_ref), stamp_ns(message))

    def _diagnostics(self, message: Any, recorded_ns: int) -> None:
        time = stamp_ns(message) or recorded_ns
        for status in message.status:
            node = status.name.rsplit('/', 1)[-1]
            values = {pair.key: pair.value for pair in status.values}
            if node == 'commander':
                self.modes.append((time, values.get('mode', ''), values.get('reasons', '')))
                count = values.get('limit_violations', '')
                self.violations = int(count) if count.isdecimal() else self.violations
            elif node == 'policy' and values.get('side') in ('left', 'right'):
                self.hands.add_side(time, values['side'])


def _positions(message: Any) -> np.ndarray:
    if len(message.points) != 1:
        raise ValueError(f'a trajectory has {len(message.points)} points instead of one')
    return message.points[0].positions


def _chosen(bag: Bag, collectors: dict[str, _Collector], remapped: set[str]) -> Contents:
    """Choose one topic of each kind; all in the namespace of the pictures if there are several."""
    filled = {topic: found for topic, found in collectors.items() if found.count}
    camera = _camera_topic(filled, 'camera/image_raw' in remapped)
    name = matching_name(camera) if camera else None
    space = camera.removesuffix('/compressed').removesuffix(name) if camera and name else '/'
    contents = Contents(bag)
    if camera is not None:
        contents.pictures = filled[camera].pictures
        contents.pictures.settle()

    def only(kind: str) -> _Collector | None:
        topics = [topic for topic, found in filled.items() if found.name == kind]
        if len(topics) > 1:
            topics = [topic for topic in topics if topic == f'{space}{kind}'] or topics
        if len(topics) > 1:
            raise UserError(f"'{bag.name}' has several topics for '{kind}': choose by "
                            f'--topic {kind}={topics[0]}')
        return filled[topics[0]] if topics else None

    hands = contents.hands
    for kind in ('camera/camera_info', 'hand/landmarks', 'hand/markers', 'diagnostics'):
        found = only(kind)
        if found is not None:
            hands.take_over(found.hands)
            contents.modes += found.modes
            contents.violations = (
                found.violations if found.violations is not None else contents.violations)
    for field_name, kind in (
            ('targets', 'policy/joint_trajectory'), ('commands', 'joint_trajectory'),
            ('states', 'joint_states'), ('truth', 'truth/joint_states')):
        found = only(kind)
        setattr(contents, field_name, found.joints if found is not None else None)
        if kind == 'joint_states' and found is not None and len(found.shifts_ns):
            shift = int(np.median(found.shifts_ns))
            # Recorded by another clock than the stamps', as when time is simulated.
            contents.clock_shift_ns = shift if abs(shift) > _ANOTHER_CLOCK_NS else 0
    latency = only('latency')
    contents.stages = latency.stages if latency is not None else {}
    return contents


def _camera_topic(filled: dict[str, _Collector], remapped: bool) -> str | None:
    """Choose the topic of the pictures: raw before compressed, any image if it is the only one."""
    named = [topic for topic, found in filled.items() if found.name == 'camera/image_raw']
    others = [topic for topic, found in filled.items() if found.name == 'another image']
    topics = named if named or remapped else others
    plain = {topic.removesuffix('/compressed') for topic in topics}
    if len(plain) > 1:
        raise UserError('there are several image topics: choose one by '
                        f'--topic camera/image_raw={sorted(topics)[0]}')
    return min(topics, key=lambda topic: filled[topic].kind != IMAGE, default=None)

