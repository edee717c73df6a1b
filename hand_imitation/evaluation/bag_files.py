"""The two kinds of file a rosbag2 is made of, read from their start up to where they break.

Nothing here needs an index or a footer, so what a crash, a full disk or a cut left behind is
read as far as it goes. Every size is checked before memory is asked for.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from rosbags.rosbag2.storage_mcap import decompress

Wanted = Callable[[str, str], bool]
"""Tells from a topic's name and type whether its messages are wanted."""
Place = tuple[int, int, int]
"""Where a message lies in a file, for `StorageFile.read`."""

MAX_RECORD_BYTES = 256 * 1024 * 1024
_MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _FOOTER = 0x03, 0x04, 0x05, 0x06, 0x02
_RECORD = struct.Struct('<BQ')
_MESSAGE_HEADER = struct.Struct('<HIQQ')
_CHUNK_HEADER = struct.Struct('<QQQII')


class RawMessage(NamedTuple):
    """A message as it lies in the bag.

    Attributes:
        topic: Its topic.
        kind: Its type, such as 'sensor_msgs/msg/Image'.
        time_ns: When it was recorded [ns].
        data: Its bytes, in CDR.
        place: Where it lies, to read it again.
    """

    topic: str
    kind: str
    time_ns: int
    data: bytes
    place: Place


class StorageFile(Protocol):
    """A file of a bag.

    Attributes:
        topics: Type of every topic found so far, by name.
        damage: What is wrong with it, a line each; known after a scan.
        truncated: Whether it ends in the middle; known after a scan.
    """

    topics: dict[str, str]
    damage: list[str]
    truncated: bool

    def scan(self, wanted: Wanted) -> Iterator[RawMessage]:
        """Read it from the start, in the order it was written."""

    def read(self, place: Place) -> bytes | None:
        """Return the bytes of one message, or None where they cannot be read."""

    def close(self) -> None:
        """Let go of the file; it is opened again when needed."""


class McapFile:
    """An MCAP file, read by https://mcap.dev/spec. See `StorageFile`.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.topics: dict[str, str] = {}
        self.damage: list[str] = []
        self.truncated = False
        self._path = path
        self._file: IO[bytes] | None = None
        self._cached: tuple[int, bytes] = (-1, b'')

    def scan(self, wanted: Wanted) -> Iterator[RawMessage]:
        """See `StorageFile.scan`."""
        self.topics, self.damage, self.truncated = {}, [], True
        schemas: dict[int, str] = {}
        channels: dict[int, tuple[str, str]] = {}
        with self._path.open('rb') as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                self.damage.append(f"'{self._path.name}' is no MCAP file")
                return
            while True:
                start = file.tell()
                header = file.read(_RECORD.size)
                if len(header) < _RECORD.size:
                    break
                code, length = _RECORD.unpack(header)
                if code == _FOOTER:
                    self.truncated = False
                    return
                if code == 0 or length > MAX_RECORD_BYTES:
                    self.damage.append(f"'{self._path.name}' is damaged at byte {start}")
                    return
                if code not in (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK):
                    file.seek(length, 1)
                    continue
                body = file.read(length)
                whole = len(body) == length
                if code == _CHUNK:
                    data = self._chunk_data(body, start, whole)
                    yield from self._records(data, start, schemas, channels, wanted)
                elif whole:
                    yield from self._records(
                        header + body, -1 - start, schemas, channels, wanted)
                if not whole:
                    break
        self.damage.append(f"'{self._path.name}' breaks off in the middle")

    def read(self, place: Place) -> bytes | None:
        """See `StorageFile.read`."""
        start, offset, length = place
        if self._cached[0] != start:
            self._file = self._file or self._path.open('rb')
            # A record outside any chunk has a negative start.
            self._file.seek(start if start >= 0 else -1 - start)
            code, size = _RECORD.unpack(self._file.read(_RECORD.size))
            body = self._file.read(min(size, MAX_RECORD_BYTES))
            if start >= 0:
                self._cached = start, self._chunk_data(body, start, len(body) == size)
            else:
                self._cached = start, _RECORD.pack(code, size) + body
        data = self._cached[1][offset:offset + length]
        return data if len(data) == length else None

    def close(self) -> None:
        """See `StorageFile.close`."""
        if self._file is not None:
            self._file.close()
        self._file, self._cached = None, (-1, b'')

    def _chunk_data(self, body: bytes, start: int, whole: bool) -> bytes:
        """Return the records inside a chunk, as far as they are there."""
        try:
            _, _, size, checksum, name_length = _CHUNK_HEADER.unpack_from(body)
            name_end = _CHUNK_HEADER.size + name_length
            compression = body[_CHUNK_HEADER.size:name_end].decode()
            packed = body[name_end + 8:]
            if not compression and not whole:
                return packed
            if not whole or size > MAX_RECORD_BYTES:
                return b''
            return decompress(packed, compression, size, checksum)
        except Exception as error:  # each decompressor raises errors of its own
            reason = ' '.join(str(error).split())[:100]
            self.damage.append(f"'{self._path.name}': a chunk at byte {start} is lost: {reason}")
            return b''

    def _records(
        self, data: bytes, start: int, schemas: dict[int, str],
        channels: dict[int, tuple[str, str]], wanted: Wanted,
    ) -> Iterator[RawMessage]:
        """Go through records, up to the first that is not whole."""
        position, end = 0, len(data)
        wanted_channels: dict[int, bool] = {}
        while position + _RECORD.size <= end:
            code, length = _RECORD.unpack_from(data, position)
            body = position + _RECORD.size
            position = body + length
            if position > end:
                return
            try:
                if code == _SCHEMA:
                    schemas[int.from_bytes(data[body:body + 2], 'little')] = _text(data, body + 2)
                elif code == _CHANNEL:
                    channel, schema = struct.unpack_from('<HH', data, body)
                    topic = _text(data, body + 4)
                    channels[channel] = topic, schemas.get(schema, '')
                    self.topics[topic] = channels[channel][1]
                    wanted_channels.pop(channel, None)
                elif code == _MESSAGE:
                    channel, _, time_ns, _ = _MESSAGE_HEADER.unpack_from(data, body)
                    if channel not in channels:
                        continue
                    if channel not in wanted_channels:
                        wanted_channels[channel] = wanted(*channels[channel])
                    if wanted_channels[channel]:
                        first = body + _MESSAGE_HEADER.size
                        yield RawMessage(
                            *channels[channel], time_ns, data[first:position],
                            (start, first, position - first))
            except (struct.error, UnicodeDecodeError):
                continue


class SqliteFile:
    """A file of rosbag2's sqlite3 storage, of any version. See `StorageFile`.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.topics: dict[str, str] = {}
        self.damage: list[str] = []
        self.truncated = False
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def scan(self, wanted: Wanted) -> Iterator[RawMessage]:
        """See `StorageFile.scan`."""
        self.topics, self.damage, self.truncated = {}, [], False
        try:
            connection = self._open()
            topics = {
                number: (str(name), str(kind)) for number, name, kind in connection.execute(
                    'SELECT id, name, type FROM topics')}
            self.topics = dict(topics.values())
            numbers = [number for number, about in topics.items() if wanted(*about)]
            # In the order they were written, which needs no index that may be damaged.
            rows = connection.execute(
                'SELECT id, topic_id, timestamp, data FROM messages WHERE topic_id IN '
                f'({",".join("?" * len(numbers))}) ORDER BY id', numbers)
            for row, number, time_ns, data in rows:
                if isinstance(data, bytes) and isinstance(time_ns, int):
                    yield RawMessage(*topics[number], time_ns, data, (row, 0, len(data)))
        except (sqlite3.Error, MemoryError, OverflowError) as error:
            self.truncated = True
            self.damage.append(f"'{self._path.name}' is damaged: {error}")

    def read(self, place: Place) -> bytes | None:
        """See `StorageFile.read`."""
        try:
            row = self._open().execute(
                'SELECT data FROM messages WHERE id = ?', (place[0],)).fetchone()
        except (sqlite3.Error, MemoryError):
            return None
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    def close(self) -> None:
        """See `StorageFile.close`."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _open(self) -> sqlite3.Connection:
        """Open for reading alone: a bag is never written to, not even by recovery."""
        if self._connection is None:
            place = self._path.resolve().as_uri()
            # What a recorder that was killed had not yet moved into the file lies beside it.
            left = self._path.with_name(f'{self._path.name}-wal').exists()
            self._connection = sqlite3.connect(
                f'{place}?mode=ro' if left else f'{place}?mode=ro&immutable=1', uri=True,
                check_same_thread=False)
        return self._connection


def _text(data: bytes, position: int) -> str:
    """Return the length-prefixed text at a position."""
    length = int.from_bytes(data[position:position + 4], 'little')
    return data[position + 4:position + 4 + length].decode()
