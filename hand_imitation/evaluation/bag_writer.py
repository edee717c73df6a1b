"""Writes a rosbag2 in MCAP files, without ROS: in pieces, within limits, whole up to a crash."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import yaml
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.typesys import Stores, get_typestore

from hand_imitation import __version__
from hand_imitation.evaluation.bag import METADATA

_CHUNK_BYTES = 256 * 1024
"""What is in memory only, and lost in a crash: some tenths of a second."""
_MESSAGE_BYTES = 50
"""What a message takes beside its own bytes, with its place in the index."""
_DISTRIBUTIONS = (
    'numpy', 'opencv-python', 'mediapipe', 'pybullet', 'torch', 'rosbags', 'mcap',
    'ros-jazzy-rclpy')
_FORMAT_VERSION = 9


@dataclass(frozen=True)
class Limits:
    """How much is written; 0 means as much as comes.

    Attributes:
        bytes: Of the whole recording.
        duration_ns: Of the whole recording [ns].
        split_bytes: Of a file; another one follows.
        split_duration_ns: Of a file [ns].
    """

    bytes: int = 0
    duration_ns: int = 0
    split_bytes: int = 0
    split_duration_ns: int = 0


@dataclass
class _Piece:
    """A file of the recording, for the metadata."""

    path: Path
    start_ns: int = 0
    end_ns: int = 0
    messages: int = 0
    bytes: int = 0


@dataclass
class _Topic:
    """A topic, and how many messages of it there are."""

    name: str
    kind: str
    definition: str
    digest: str
    messages: int = 0
    channels: dict[int, int] = field(default_factory=dict)


class BagWriter:
    """Writes messages as they are to `<folder>/<name>_0.mcap` and on.

    `metadata.yaml` is there from the start and renewed with every file, so that after a crash
    only the end of the last file is missing.

    Args:
        folder: The bag's folder; it must not exist.
        topics: Type of each topic, by name.
        limits: How much to write.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, folder: Path, topics: dict[str, str], limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._custom_data: dict[str, str] = {}
        types = get_typestore(Stores.ROS2_JAZZY)
        self._topics = {
            name: _Topic(name, kind, types.generate_msgdef(kind, ros_version=2)[0],
                         types.hash_rihs01(kind))
            for name, kind in topics.items()}
        self._pieces: list[_Piece] = []
        self._file: IO[bytes] | None = None
        self._writer: McapWriter | None = None
        folder.mkdir(parents=True)
        self._begin_piece()

    @property
    def messages(self) -> int:
        """Messages written so far."""
        return sum(piece.messages for piece in self._pieces)

    @property
    def open(self) -> bool:
        """Whether more can be written: neither closed, nor full, nor broken."""
        return self._writer is not None

    def note(self, **custom_data: str) -> None:
        """Note something in the metadata, at once."""
        self._custom_data.update(custom_data)
        self._write_metadata()

    def write(self, topic: str, time_ns: int, data: bytes) -> None:
        """Write a message, in another file or not at all where a limit says so.

        Args:
            topic: One of the topics given.
            time_ns: When it came [ns].
            data: Its bytes, in CDR.

        Raises:
            OSError: The disk is full or gone. What was written before stays readable, and
                nothing more is written.
        """
        try:
            self._make_room(time_ns, len(data))
            if self._writer is None:
                return
            about, piece = self._topics[topic], self._pieces[-1]
            self._writer.add_message(about.channels[len(self._pieces)], time_ns, data, time_ns)
        except OSError:
            self._abandon()
            raise
        piece.start_ns = min(piece.start_ns or time_ns, time_ns)
        piece.end_ns = max(piece.end_ns, time_ns)
        piece.messages += 1
        piece.bytes += len(data) + _MESSAGE_BYTES
        about.messages += 1

    def flush(self) -> None:
        """Hand what is in whole chunks to the operating system."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError:
                self._abandon()
                raise

    def close(self) -> None:
        """Write index and metadata. Does no harm when closed already."""
        if self._writer is None:
            return
        try:
            self._end_piece()
            self._write_metadata()
        except OSError:
            self._abandon()
            raise

    def _make_room(self, time_ns: int, size: int) -> None:
        """Go on to another file, or end, where a limit is reached."""
        if self._writer is None:
            return
        limits, piece = self._limits, self._pieces[-1]
        # What the file will hold, part of which is still in memory.
        in_file = piece.bytes + size + _MESSAGE_BYTES
        first_ns = self._pieces[0].start_ns or time_ns
        before = sum(earlier.bytes for earlier in self._pieces[:-1])
        if (0 < limits.bytes < before + in_file
                or 0 < limits.duration_ns < time_ns - first_ns):
            self.close()
        elif piece.messages and (
                0 < limits.split_bytes < in_file
                or 0 < limits.split_duration_ns < time_ns - piece.start_ns):
            self._end_piece()
            self._begin_piece()

    def _begin_piece(self) -> None:
        path = self._folder / f'{self._folder.name}_{len(self._pieces)}.mcap'
        self._file = path.open('xb')
        self._writer = McapWriter(
            self._file, chunk_size=_CHUNK_BYTES, compression=CompressionType.NONE)
        self._writer.start(profile='ros2', library=f'hand_imitation {__version__}')
        self._pieces.append(_Piece(path))
        schemas: dict[str, int] = {}
        for topic in self._topics.values():
            if topic.kind not in schemas:
                schemas[topic.kind] = self._writer.register_schema(
                    topic.kind, 'ros2msg', topic.definition.encode())
            topic.channels[len(self._pieces)] = self._writer.register_channel(
                topic.name, 'cdr', schemas[topic.kind], {'offered_qos_profiles': ''})
        self._write_metadata()

    def _end_piece(self) -> None:
        assert self._writer is not None and self._file is not None
        self._writer.finish()
        self._file.close()
        self._writer = self._file = None

    def _abandon(self) -> None:
        """Leave the file as it is; the index that would be written fits no better."""
        file, self._file, self._writer = self._file, None, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _write_metadata(self) -> None:
        """Write metadata.yaml in the form of rosbag2, all of it or nothing."""
        path = self._folder / METADATA
        beside = path.with_suffix('.yaml.tmp')
        with beside.open('w', encoding='utf-8') as file:
            yaml.safe_dump(
                {'rosbag2_bagfile_information': self._information()}, file, sort_keys=False,
                width=1_000_000)
        os.replace(beside, path)

    def _information(self) -> dict[str, Any]:
        begun = [piece for piece in self._pieces if piece.messages]
        start_ns = min((piece.start_ns for piece in begun), default=0)
        end_ns = max((piece.end_ns for piece in begun), default=0)
        return {
            'version': _FORMAT_VERSION,
            'storage_identifier': 'mcap',
            **_span(start_ns, end_ns, self.messages),
            'topics_with_message_count': [{
                'topic_metadata': {
                    'name': topic.name, 'type': topic.kind, 'serialization_format': 'cdr',
                    'offered_qos_profiles': [], 'type_description_hash': topic.digest},
                'message_count': topic.messages} for topic in self._topics.values()],
            'compression_format': '',
            'compression_mode': '',
            'relative_file_paths': [piece.path.name for piece in self._pieces],
            'files': [
                {'path': piece.path.name, **_span(piece.start_ns, piece.end_ns, piece.messages)}
                for piece in self._pieces],
            'custom_data': self._custom_data or None,
            'ros_distro': 'jazzy',
        }


def versions() -> dict[str, str]:
    """Return the versions of what a recording depends on, by name."""
    found = {'hand_imitation': __version__, 'python': platform.python_version(),
             'platform': platform.platform()}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _span(start_ns: int, end_ns: int, messages: int) -> dict[str, Any]:
    return {
        'duration': {'nanoseconds': end_ns - start_ns},
        'starting_time': {'nanoseconds_since_epoch': start_ns},
        'message_count': messages}
