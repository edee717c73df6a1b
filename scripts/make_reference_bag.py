#!/usr/bin/env python3
"""Make the small bag with known truth that tests and docs use, from the sample clip.

A synthetic person closes one finger after the other, makes a fist and turns the wrist;
for `COVERED` the camera is covered. Hands are found by the real perception, followed by the
`geometric` policy, the safety filter and the simulated arm; perception and policy take as long
as they take here. The messages are those of the nodes.

Example:
    python scripts/make_reference_bag.py test/data/reference_bag
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from mcap.reader import NonSeekingReader
from mcap.writer import CompressionType, Writer
from rclpy.serialization import serialize_message
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.evaluation.bag_writer import BagWriter, Limits
from hand_imitation.evaluation.recording import PolicyRun
from hand_imitation.evaluation.replay import ReplayOptions, replay_bag
from hand_imitation.frame_sources import SAMPLE, open_source, shrunk
from hand_imitation.human.observation import HandObservation
from hand_imitation.human.perception import StreamPerception
from hand_imitation.nodes import messages, topics
from hand_imitation.nodes.markers import hand_markers
from hand_imitation.policy import load_policy
from hand_imitation.policy.base import in_arm_terms

FRAMES = range(0, 422)
"""Of the sample clip: rest, close each finger, fist, spread, wrist."""
COVERED = range(372, 387)
"""Of the sample clip: half a second in which the camera sees nothing."""
START_NS = 1_700_000_000_000_000_000
WIDTH = 320
JPEG_QUALITY = 50
FOCAL_LENGTH = 0.9
"""Of the nominal camera, in widths of the picture, as in config/hand_imitation.yaml."""
SIDE, MIRROR = 'right', True
DIAGNOSTICS_NS = 1_000_000_000
TYPES = get_typestore(Stores.ROS2_JAZZY)
KINDS = {
    topics.IMAGE_COMPRESSED: 'sensor_msgs/msg/CompressedImage',
    topics.CAMERA_INFO: 'sensor_msgs/msg/CameraInfo',
    topics.LANDMARKS: 'geometry_msgs/msg/PoseArray',
    topics.MARKERS: 'visualization_msgs/msg/MarkerArray',
    topics.POLICY_TRAJECTORY: 'trajectory_msgs/msg/JointTrajectory',
    topics.JOINT_TRAJECTORY: 'trajectory_msgs/msg/JointTrajectory',
    topics.JOINT_STATES: 'sensor_msgs/msg/JointState',
    topics.TRUTH_JOINT_STATES: 'sensor_msgs/msg/JointState',
    topics.LATENCY: 'sensor_msgs/msg/TimeReference',
    topics.DIAGNOSTICS: 'diagnostic_msgs/msg/DiagnosticArray',
}


@dataclass(frozen=True)
class Entry:
    """A message of the bag."""

    topic: str
    time_ns: int
    message: Any


def main() -> None:
    """Read the command line and make the bag."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('bag', type=Path, help='folder to write; replaced where it exists')
    bag = parser.parse_args().bag
    table = JointTable.from_urdf(load_description(SIDE))
    with tempfile.TemporaryDirectory() as folder:
        seen = list(watched(table))
        first = Path(folder) / 'watched'
        write(first, seen)
        replayed = replay_bag(first, ReplayOptions(('geometric',), simulate=True))
        whole = Path(folder) / bag.name
        write(whole, [*seen, *moved(replayed.runs[0], seen, table)])
        for file in whole.glob('*.mcap'):
            pack(file)
        if bag.exists():
            shutil.rmtree(bag)
        bag.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(whole, bag)
    size = sum(file.stat().st_size for file in bag.iterdir())
    print(f"'{bag}': {len(FRAMES)} pictures, {size / 1e6:.2f} MB")


def watched(table: JointTable) -> Iterator[Entry]:
    """Camera, perception and policy: what they publish for each picture."""
    policy = load_policy('geometric', table)
    perception = StreamPerception()
    for stamp_ns, picture, truth in clip():
        stamp = to_time(stamp_ns)
        image = messages.compressed_message(picture, stamp, topics.CAMERA_FRAME, JPEG_QUALITY)
        height, width = picture.shape[:2]
        yield Entry(topics.IMAGE_COMPRESSED, stamp_ns, image)
        yield Entry(topics.CAMERA_INFO, stamp_ns, messages.camera_info_message(
            width, height, FOCAL_LENGTH * width, stamp, topics.CAMERA_FRAME))
        yield Entry(topics.TRUTH_JOINT_STATES, stamp_ns, messages.joint_state_message(
            list(truth), stamp, np.array(list(truth.values()))))
        # What perception sees is what the bag holds.
        held = cv2.imdecode(np.frombuffer(bytes(image.data), np.uint8), cv2.IMREAD_COLOR)
        begun = time.perf_counter_ns()
        observation = perception.observe(cv2.cvtColor(held, cv2.COLOR_BGR2RGB), stamp_ns * 1e-9)
        seen_ns = stamp_ns + time.perf_counter_ns() - begun
        targets = policy.act(observation, None, stamp_ns * 1e-9)
        decided_ns = stamp_ns + time.perf_counter_ns() - begun
        for stage, done_ns in (
                ('camera', stamp_ns), ('perception', seen_ns), ('policy', decided_ns)):
            yield Entry(topics.LATENCY, done_ns, messages.latency_message(
                stage, stamp, to_time(done_ns)))
        yield from hand_of(observation, width, height, stamp, decided_ns)
        if targets is not None:
            in_arm = in_arm_terms(targets, SIDE, MIRROR)
            yield Entry(topics.POLICY_TRAJECTORY, decided_ns, messages.trajectory_message(
                list(in_arm.names), in_arm.positions_rad, stamp=stamp))
    perception.close()


def hand_of(
    observation: HandObservation, width: int, height: int, stamp: Time, time_ns: int,
) -> Iterator[Entry]:
    """Landmarks and markers of a picture."""
    yield Entry(topics.LANDMARKS, time_ns, messages.landmarks_message(
        observation.world_points if observation.valid else None, stamp))
    yield Entry(topics.MARKERS, time_ns, hand_markers(
        observation, FOCAL_LENGTH * width, (width / 2.0, height / 2.0), stamp))


def moved(run: PolicyRun, seen: list[Entry], table: JointTable) -> Iterator[Entry]:
    """Commander and arm: what they publish while they follow a run."""
    names, command = list(table.names), run.command
    for time_ns, position in zip(command.time_ns.tolist(), command.position_rad, strict=True):
        yield Entry(topics.JOINT_TRAJECTORY, time_ns,
                    messages.trajectory_message(names, position, 0.01))
    measured = run.measured
    for time_ns, position in zip(measured.time_ns.tolist(), measured.position_rad, strict=True):
        yield Entry(topics.JOINT_STATES, time_ns,
                    messages.joint_state_message(names, to_time(time_ns), position))
    for entry in seen:
        if entry.topic == topics.POLICY_TRAJECTORY:
            after = int(np.searchsorted(command.time_ns, entry.time_ns))
            if after < len(command):
                done_ns = int(command.time_ns[after])
                yield Entry(topics.LATENCY, done_ns, messages.latency_message(
                    'command', entry.message.header.stamp, to_time(done_ns)))
    yield from told(run)


def told(run: PolicyRun) -> Iterator[Entry]:
    """Diagnostics of the commander: once a second, and where a hold begins or ends."""
    start_ns, end_ns = int(run.command.time_ns[0]), int(run.command.time_ns[-1])
    changes = {hold.start_ns for hold in run.holds} | {
        hold.end_ns for hold in run.holds if hold.end_ns < end_ns}
    for time_ns in sorted(changes | set(range(start_ns, end_ns, DIAGNOSTICS_NS))):
        held = [hold for hold in run.holds if hold.start_ns <= time_ns < hold.end_ns]
        values = {
            'mode': 'holding' if held else 'tracking',
            'reasons': held[0].reason if held else '',
            'holds': sum(hold.start_ns <= time_ns for hold in run.holds),
            'limit_violations': run.violations}
        status = DiagnosticStatus(
            level=DiagnosticStatus.WARN if held else DiagnosticStatus.OK, name='commander',
            message=values['mode'],
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()])
        message = DiagnosticArray(status=[status])
        message.header.stamp = to_time(time_ns)
        yield Entry(topics.DIAGNOSTICS, time_ns, message)


def clip() -> Iterator[tuple[int, np.ndarray, dict[str, float]]]:
    """Stamp [ns], small picture and true pose by joint [rad] of each frame."""
    source = open_source(str(SAMPLE))
    assert source.truth is not None
    for place in range(FRAMES.stop):
        picture = source.read()
        if place not in FRAMES or picture is None:
            continue
        if place in COVERED:
            picture = np.full_like(picture, 12)
        stamp_ns = START_NS + round((place - FRAMES.start) * 1e9 / source.rate_hz)
        truth = dict(zip(source.truth.names, source.truth.positions_rad[place], strict=True))
        yield stamp_ns, shrunk(picture, WIDTH), truth
    source.close()


def write(folder: Path, entries: list[Entry]) -> None:
    """Write messages as a bag, in the order of their times."""
    writer = BagWriter(
        folder, {f'/{topic.lstrip("/")}': kind for topic, kind in KINDS.items()}, Limits())
    writer.note(
        made_by='scripts/make_reference_bag.py',
        parameters=json.dumps({'policy': {'policy': 'geometric', 'side': SIDE, 'mirror': MIRROR}}))
    for entry in sorted(entries, key=lambda e: e.time_ns):
        writer.write(f'/{entry.topic.lstrip("/")}', entry.time_ns,
                     exact(serialize_message(entry.message), KINDS[entry.topic]))
    writer.close()


def exact(data: bytes, kind: str) -> bytes:
    """Drop what rclpy leaves behind the end of a message: it reserves more than it fills."""
    for spare in range(0, 64, 4):
        try:
            message = TYPES.deserialize_cdr(data[:len(data) - spare], kind)
        except SerdeError:
            continue
        return bytes(TYPES.serialize_cdr(message, kind))
    raise ValueError(f'a {kind} cannot be read back')


def pack(file: Path) -> None:
    """Write an MCAP file again with compressed chunks."""
    packed = file.with_suffix('.packed')
    with file.open('rb') as source, packed.open('wb') as target:
        writer = Writer(target, compression=CompressionType.ZSTD)
        writer.start(profile='ros2', library='hand_imitation')
        schemas: dict[int, int] = {}
        channels: dict[int, int] = {}
        for schema, channel, message in NonSeekingReader(source).iter_messages():
            if schema is not None and schema.id not in schemas:
                schemas[schema.id] = writer.register_schema(
                    schema.name, schema.encoding, schema.data)
            if channel.id not in channels:
                channels[channel.id] = writer.register_channel(
                    channel.topic, channel.message_encoding, schemas[channel.schema_id],
                    channel.metadata)
            writer.add_message(
                channels[channel.id], message.log_time, message.data, message.publish_time)
        writer.finish()
    packed.replace(file)


def to_time(time_ns: int) -> Time:
    """Turn nanoseconds into a stamp."""
    return Time(sec=time_ns // 1_000_000_000, nanosec=time_ns % 1_000_000_000)


if __name__ == '__main__':
    main()
