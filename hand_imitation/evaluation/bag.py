"""Reads a rosbag2 without ROS: ours, or what plain `ros2 bag record` wrote, whole or broken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from rosbags.typesys import Stores, get_typestore

from hand_imitation.errors import UserError
from hand_imitation.evaluation.bag_files import (
    McapFile,
    Place,
    RawMessage,
    SqliteFile,
    StorageFile,
    Wanted,
)

METADATA = 'metadata.yaml'
TOPIC_NAMES = (
    'camera/image_raw', 'camera/camera_info', 'hand/landmarks', 'hand/markers',
    'policy/joint_trajectory', 'joint_trajectory', 'joint_states', 'truth/joint_states',
    'arm_camera/image_raw', 'latency', 'diagnostics')
"""Names of our topics in a bag, a namespace in front or not."""
_KINDS: dict[str, type[McapFile] | type[SqliteFile]] = {'.mcap': McapFile, '.db3': SqliteFile}
_PACKED = ('.zstd', '.zst', '.lz4')
_MAX_METADATA_BYTES = 16 * 1024 * 1024
_TYPES = get_typestore(Stores.ROS2_JAZZY)


class Bag:
    """A bag, opened for reading; use it as a context or call `close`.

    Attributes:
        path: Its folder, or its only file.
        name: Its name, without the folder it lies in.
        custom_data: What its recorder noted in the metadata, by key.
        topics: Type of every topic, by name; known after a scan.
        problems: What is wrong with it, a line each; known after a scan.
        truncated: Whether it ends in the middle; known after a scan.
    """

    def __init__(self, path: Path) -> None:
        """Find the bag's files.

        Args:
            path: The bag's folder or one of its files.

        Raises:
            UserError: There is no bag, or one that cannot be read at all.
        """
        if not path.exists():
            raise UserError(f"no bag '{path}': give the folder of a rosbag2")
        self.path = path
        self.name = path.resolve().name
        self.custom_data: dict[str, str] = {}
        self.topics: dict[str, str] = {}
        self.problems: list[str] = []
        self.truncated = False
        self._about_files: list[str] = []
        files = self._found_files()
        if not files:
            raise UserError(f"'{path}' holds no .mcap or .db3 file: give the folder of a rosbag2")
        self._files: list[StorageFile] = [_KINDS[file.suffix](file) for file in files]

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.close()

    def scan(self, wanted: Wanted) -> Iterator[tuple[RawMessage, int]]:
        """Read the messages of wanted topics in the order they were written.

        Args:
            wanted: Tells from a topic's name and type whether its messages are wanted.

        Yields:
            A message, and the number of its file for `read`.
        """
        self.topics = {}
        self.problems = list(self._about_files)
        self.truncated = bool(self._missing)
        for number, file in enumerate(self._files):
            for message in file.scan(wanted):
                yield message, number
            self.topics.update(file.topics)
            self.problems += file.damage
            self.truncated = self.truncated or file.truncated

    def read(self, file: int, place: Place) -> bytes | None:
        """Return the bytes of one message, or None where they cannot be read.

        Args:
            file: Number of the file, as `scan` gave it.
            place: As in `RawMessage`.
        """
        return self._files[file].read(place)

    def _found_files(self) -> list[Path]:
        """List the bag's files in their order, and note what its metadata says."""
        self._missing: list[str] = []
        folder = self.path if self.path.is_dir() else self.path.parent
        metadata = self._metadata(folder / METADATA)
        if not self.path.is_dir():
            return [self.path] if self.path.suffix in _KINDS else []
        if metadata.get('compression_mode') or _of_suffix(folder, _PACKED):
            raise UserError(
                f"'{self.path}' was compressed by rosbag2: write it again without, by "
                f"'ros2 bag convert'")
        found = _of_suffix(folder, tuple(_KINDS))
        listed = metadata.get('relative_file_paths')
        names = [str(name) for name in listed] if isinstance(listed, list) else []
        self._missing = [name for name in names if not (folder / Path(name).name).is_file()]
        self._about_files += [f"file '{name}' of the bag is missing" for name in self._missing]
        return found

    def _metadata(self, path: Path) -> dict[str, Any]:
        """Read metadata.yaml; a bag is readable without."""
        try:
            if path.stat().st_size > _MAX_METADATA_BYTES:
                raise ValueError('it is too large')
            loaded = yaml.safe_load(path.read_text(encoding='utf-8'))
            metadata = loaded['rosbag2_bagfile_information']
            custom = metadata.get('custom_data') or {}
            self.custom_data = {str(key): str(value) for key, value in custom.items()}
            return dict(metadata)
        except FileNotFoundError:
            if self.path.is_dir():
                self._about_files.append(
                    f'{METADATA} is missing: the recorder was not closed in order')
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError,
                RecursionError):
            self._about_files.append(f'{METADATA} cannot be read')
        return {}


def bags_in(path: Path) -> list[Path]:
    """List the bags that a path stands for.

    Args:
        path: A bag's folder or file, or a folder whose direct children are bags.

    Returns:
        The bag alone, or those in the folder, in the order of their names.

    Raises:
        UserError: Nothing is there, or it holds no bag.
    """
    if not path.exists():
        raise UserError(
            f"no bag '{path}': give the folder of a rosbag2, or a folder that holds some")
    if not path.is_dir() or _is_bag(path):
        return [path]
    found = sorted((child for child in path.iterdir() if child.is_dir() and _is_bag(child)),
                   key=lambda child: _natural(child.name))
    if not found:
        raise UserError(
            f"'{path}' is no bag and holds none: give the folder of a rosbag2, or a folder whose "
            f'direct children are bags')
    return found


def matching_name(topic: str) -> str | None:
    """Return which of `TOPIC_NAMES` a topic is by its end, or None.

    The longest counts: 'truth/joint_states' is not 'joint_states'. An image may be compressed.
    """
    plain = f'/{topic}'.removesuffix('/compressed')
    ends = [name for name in TOPIC_NAMES if plain.endswith(f'/{name}')]
    return max(ends, key=len, default=None)


def decoded(message: RawMessage) -> Any:
    """Return a message's content.

    Raises:
        ValueError: Its bytes are not what its type says.
    """
    return decode(message.data, message.kind)


def decode(data: bytes, kind: str) -> Any:
    """Return a message of the types of ROS 2 Jazzy.

    Args:
        data: Its bytes, in CDR.
        kind: Its type, such as 'sensor_msgs/msg/Image'.

    Raises:
        ValueError: The bytes are not what the type says.
    """
    failure: Exception | None = None
    # rclpy.serialization.serialize_message leaves up to 8 bytes behind a message, and the
    # reader takes up to 3 for padding.
    for stray in (0, 4, 8):
        try:
            return _TYPES.deserialize_cdr(memoryview(data)[:len(data) - stray], kind)
        except Exception as error:  # broken bytes make the generated readers raise anything
            failure = failure or error
    raise ValueError(f'a {kind} cannot be read: {type(failure).__name__}') from failure


def messages(bag: Path, topics: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Read a bag's messages in the order they were recorded; unreadable ones are left out.

    Args:
        bag: The bag's folder.
        topics: What is wanted: a name of the caller's by one of `TOPIC_NAMES`, for images with
            '/compressed' or without; a namespace in front does not matter.

    Yields:
        The caller's name and the message.
    """
    def name_of(topic: str) -> str | None:
        name = matching_name(topic)
        compressed = '/compressed' if topic.endswith('/compressed') else ''
        return topics.get(f'{name}{compressed}')

    with Bag(bag) as opened:
        for message, _ in opened.scan(lambda topic, _: name_of(topic) is not None):
            try:
                yield name_of(message.topic) or '', decoded(message)
            except ValueError:
                continue


def header_stamp_ns(data: bytes) -> int:
    """Return the stamp of a message that begins with a header [ns], without reading the rest.

    Raises:
        ValueError: It is too short.
    """
    if len(data) < 12:
        raise ValueError('too short for a header')
    order = 'little' if data[1] & 1 else 'big'
    seconds = int.from_bytes(data[4:8], order, signed=True)  # type: ignore[arg-type]
    return seconds * 1_000_000_000 + int.from_bytes(data[8:12], order)  # type: ignore[arg-type]


def stamp_ns(message: Any) -> int:
    """Return the stamp in a message's header [ns]."""
    return time_ns(message.header.stamp)


def time_ns(time: Any) -> int:
    """Return a builtin_interfaces/Time [ns]."""
    return time.sec * 1_000_000_000 + time.nanosec


def counted(counts: Counter[str]) -> list[str]:
    """Return problems that came several times as a line each."""
    return [words if count == 1 else f'{words} ({count} times)'
            for words, count in counts.items()]


def _is_bag(folder: Path) -> bool:
    return (folder / METADATA).exists() or bool(_of_suffix(folder, (*_KINDS, *_PACKED)))


def _of_suffix(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files of a folder, in the order of the numbers in their names."""
    files = (path for path in folder.iterdir() if path.suffix in suffixes and path.is_file())
    return sorted(files, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Key that sorts bag_2 before bag_10."""
    parts = re.split(r'(\d+)', name)
    return [(0, int(part), '') if part.isdigit() else (1, 0, part) for part in parts]
