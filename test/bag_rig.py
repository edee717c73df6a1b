"""Bags for tests, written by `rosbags`: a person's hand, seen, imitated and measured."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.frame_sources import SAMPLE, Truth, open_source
from hand_imitation.human.observation import HandObservation
from hand_imitation.human.perception import StreamPerception

TYPES = get_typestore(Stores.ROS2_JAZZY)
TABLE = JointTable.from_urdf(load_description('right'))
START_NS = 1_700_000_000_000_000_000
RATE_HZ = 30
STATES_HZ = 100
STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'


def kind(name: str) -> Callable[..., Any]:
    """Return the class of a message."""
    return TYPES.types[name]


@lru_cache(maxsize=1)
def sample_pictures(count: int = 60) -> list[np.ndarray]:
    """The first pictures of the sample, BGR."""
    capture = cv2.VideoCapture(str(SAMPLE))
    return [capture.read()[1] for _ in range(count)]


@lru_cache(maxsize=1)
def sample_observations() -> list[HandObservation]:
    """What perception sees in them."""
    perception = StreamPerception()
    seen = [perception.observe(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), number / RATE_HZ)
            for number, picture in enumerate(sample_pictures())]
    perception.close()
    return seen


@lru_cache(maxsize=1)
def sample_truth() -> Truth:
    """The person's true pose in them."""
    truth = open_source('sample').truth
    assert truth is not None
    return truth


def stamp(time_ns: int) -> Any:
    return kind('builtin_interfaces/msg/Time')(time_ns // 10**9, time_ns % 10**9)


def header(time_ns: int, frame: str = 'camera_optical_frame') -> Any:
    return kind('std_msgs/msg/Header')(stamp(time_ns), frame)


def raw_image(picture: np.ndarray, time_ns: int, encoding: str = 'bgr8', pad: int = 0) -> Any:
    """An Image message; `pad` bytes follow every row."""
    if encoding == 'rgb8':
        picture = picture[..., ::-1]
    elif encoding == 'mono8':
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., None]
    height, width = picture.shape[:2]
    rows = np.pad(picture.reshape(height, -1), ((0, 0), (0, pad)), constant_values=255)
    return kind(IMAGE)(
        header(time_ns), height, width, encoding, 0, rows.shape[1], rows.ravel())


def packed_image(picture: np.ndarray, time_ns: int, suffix: str = '.jpg') -> Any:
    """A CompressedImage message."""
    data = cv2.imencode(suffix, picture)[1].ravel()
    return kind(COMPRESSED)(header(time_ns), suffix.lstrip('.'), data)


def joint_state(names: Iterable[str], positions: np.ndarray, time_ns: int) -> Any:
    nothing = np.zeros(0)
    return kind('sensor_msgs/msg/JointState')(
        header(time_ns, ''), list(names), np.asarray(positions, float), nothing, nothing)


def trajectory(names: Iterable[str], positions: np.ndarray, time_ns: int = 0) -> Any:
    nothing = np.zeros(0)
    point = kind('trajectory_msgs/msg/JointTrajectoryPoint')(
        np.asarray(positions, float), nothing, nothing, nothing,
        kind('builtin_interfaces/msg/Duration')(0, 10_000_000))
    return kind('trajectory_msgs/msg/JointTrajectory')(header(time_ns, ''), list(names), [point])


def landmarks(observation: HandObservation, time_ns: int) -> Any:
    point, pose = kind('geometry_msgs/msg/Point'), kind('geometry_msgs/msg/Pose')
    turn = kind('geometry_msgs/msg/Quaternion')(0.0, 0.0, 0.0, 1.0)
    points = observation.world_points if observation.valid else []
    return kind('geometry_msgs/msg/PoseArray')(
        header(time_ns), [pose(point(*map(float, p)), turn) for p in points])


def latency(stage: str, frame_ns: int, finished_ns: int) -> Any:
    return kind('sensor_msgs/msg/TimeReference')(
        header(finished_ns, ''), stamp(frame_ns), stage)


def text(words: str) -> Any:
    return kind('std_msgs/msg/String')(words)


Messages = Iterable[tuple[str, int, Any]]
"""Topic, time of recording [ns] and message."""


def write_bag(folder: Path, messages: Messages, storage: str = 'mcap') -> Path:
    """Write a bag and return its folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Writer(folder, version=9, storage_plugin=STORAGES[storage]) as writer:
        connections: dict[str, Any] = {}
        for topic, time_ns, message in messages:
            name = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, name, typestore=TYPES)
            writer.write(connections[topic], time_ns, TYPES.serialize_cdr(message, name))
    return folder


def frame_ns(number: int) -> int:
    return START_NS + round(number * 1e9 / RATE_HZ)


def pictures(
    count: int = 30, topic: str = '/camera/image_raw/compressed',
    make: Callable[[np.ndarray, int], Any] = packed_image,
) -> Messages:
    """The sample's pictures, as a camera publishes them."""
    return [(topic, frame_ns(n) + 4_000_000, make(picture, frame_ns(n)))
            for n, picture in enumerate(sample_pictures()[:count])]


def recording(count: int = 30, space: str = '', delay_ns: int = 15_000_000) -> Messages:
    """All that our recorder would have: pictures, landmarks, truth, targets and the arm."""
    names, truth = sample_truth().names, sample_truth().positions_rad
    messages = [(f'{space}{topic}', time_ns, message)
                for topic, time_ns, message in pictures(count)]
    for number, observation in enumerate(sample_observations()[:count]):
        at_ns = frame_ns(number)
        pose = TABLE.clip(TABLE.reorder(names, truth[number]))
        messages += [
            (f'{space}/truth/joint_states', at_ns, joint_state(names, truth[number], at_ns)),
            (f'{space}/hand/landmarks', at_ns + delay_ns, landmarks(observation, at_ns)),
            (f'{space}/latency', at_ns + delay_ns, latency('camera', at_ns, at_ns)),
            (f'{space}/latency', at_ns + delay_ns, latency('policy', at_ns, at_ns + delay_ns)),
            (f'{space}/latency', at_ns + delay_ns,
             latency('command', at_ns, at_ns + delay_ns + 2_000_000)),
            (f'{space}/policy/joint_trajectory', at_ns + delay_ns,
             trajectory(TABLE.names, pose, at_ns))]
    for tick in range(-5, round(count * STATES_HZ / RATE_HZ)):
        at_ns = START_NS + tick * 10_000_000
        place = min(max(tick * RATE_HZ // STATES_HZ, 0), count - 1)
        pose = TABLE.clip(TABLE.reorder(names, truth[place]))
        messages += [
            (f'{space}/joint_states', at_ns + 1_000_000, joint_state(TABLE.names, pose, at_ns)),
            (f'{space}/joint_trajectory', at_ns, trajectory(TABLE.names, pose))]
    return sorted(messages, key=lambda message: message[1])
