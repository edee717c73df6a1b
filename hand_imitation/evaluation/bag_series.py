"""Series of a bag, kept small: pictures by where they lie, joint values, times of stages."""

from __future__ import annotations

from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.evaluation.bag import Bag, decode
from hand_imitation.evaluation.pictures import BadPicture, compressed_picture, raw_picture
from hand_imitation.evaluation.recording import Series

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
STAGES = ('camera', 'perception', 'policy', 'command')
"""Stages of a frame, in their order, by their names on the topic `latency`."""


class Pictures:
    """The pictures of a bag by number, read and decoded at each call.

    It holds no open file when copied to another process, which opens the bag anew.

    Args:
        path: The bag.
        kind: Type of the topic.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._kind = kind
        self._bag: Bag | None = None
        self._rows = array('q')
        self.stamps_ns: np.ndarray = np.zeros(0, np.int64)
        self.unreadable: Counter[str] = Counter()

    def add(self, stamp: int, file: int, place: tuple[int, int, int]) -> None:
        """Note where a picture lies."""
        self._rows.extend((stamp, file, *place))

    def settle(self) -> None:
        """Bring the pictures into the order of their stamps, each stamp once."""
        rows = np.array(self._rows, np.int64).reshape(-1, 5)
        self.stamps_ns, first = np.unique(rows[:, 0], return_index=True)
        self._places = rows[first, 1:]
        self._rows = array('q')

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def __call__(self, number: int) -> np.ndarray | None:
        """Return a picture, shape (height, width, 3), BGR; None where it cannot be read."""
        if self._bag is None:
            self._bag = Bag(self._path)
        file, *place = self._places[number].tolist()
        data = self._bag.read(file, (place[0], place[1], place[2]))
        try:
            if data is None:
                raise BadPicture('the bag is damaged there')
            message = decode(data, self._kind)
            return raw_picture(message) if self._kind == IMAGE else compressed_picture(
                bytes(message.data))
        except ValueError as error:
            self.unreadable[str(error)] += 1
            return None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_bag': None}


class FramePictures:
    """Pictures by the number of the frame, which need not be that of the picture.

    Args:
        pictures: Of the bag.
        frames: Stamps of the frames, shape (f,) [ns].
    """

    def __init__(self, pictures: Pictures, frames: np.ndarray) -> None:
        self._pictures = pictures
        self._frames = frames

    def __call__(self, number: int) -> np.ndarray | None:
        """Return the picture of a frame, shape (h, w, 3), BGR; None where there is none."""
        stamps, stamp = self._pictures.stamps_ns, self._frames[number]
        place = int(np.searchsorted(stamps, stamp))
        if place == len(stamps) or stamps[place] != stamp:
            return None
        return self._pictures(place)


class JointRows:
    """Collects joint values by name, in the order of the table.

    Args:
        table: The arm's joints.
    """

    def __init__(self, table: JointTable) -> None:
        self._table = table
        self._times, self._values = array('q'), array('d')
        self._columns: dict[tuple[str, ...], list[tuple[int, int]]] = {}

    def add(self, time: int, names: list[str], positions: np.ndarray) -> None:
        """Take a message; joints of other robots are left out, and so is one of theirs alone.

        Raises:
            ValueError: Names and positions do not match in number.
        """
        if len(names) != len(positions):
            raise ValueError('a joint message has more names than positions, or fewer')
        key = tuple(names)
        if key not in self._columns:
            self._columns[key] = matched_joints(key, self._table)
        columns = self._columns[key]
        if not columns:
            raise ValueError('a joint message names no joint of the arm')
        row = [np.nan] * len(self._table)
        for place, column in columns:
            row[column] = float(positions[place])
        self._times.append(time)
        self._values.extend(row)

    def series(self, from_ns: int, to_ns: int, shift_ns: int = 0) -> Series:
        """Return what came between two times, in order, each time once."""
        times, first = np.unique(
            np.array(self._times, np.int64) - shift_ns, return_index=True)
        chosen = (times >= from_ns) & (times <= to_ns)
        values = np.array(self._values).reshape(-1, len(self._table))
        return Series(times[chosen], values[first[chosen]])

    def __len__(self) -> int:
        return len(self._times)


class StageTimes:
    """When a stage finished with each frame."""

    def __init__(self) -> None:
        self._frames, self._finished = array('q'), array('q')

    def add(self, frame_ns: int, finished_ns: int) -> None:
        """Note that it finished with a frame; the first time counts."""
        self._frames.append(frame_ns)
        self._finished.append(finished_ns)

    def finished_ns(self, frame_ns: np.ndarray) -> np.ndarray:
        """Return when it finished with frames, shape (f,) [ns], -1 where it did not."""
        frames, first = np.unique(np.array(self._frames, np.int64), return_index=True)
        if not len(frames):
            return np.full(len(frame_ns), -1, np.int64)
        place = np.minimum(np.searchsorted(frames, frame_ns), len(frames) - 1)
        finished = np.array(self._finished, np.int64)[first][place]
        return np.where(frames[place] == frame_ns, finished, -1)


def matched_joints(names: tuple[str, ...], table: JointTable) -> list[tuple[int, int]]:
    """Find the table's joints among names that may all carry the same prefix.

    Args:
        names: As in a message.
        table: The arm's joints.

    Returns:
        Place in `names` and place in the table, of each joint found.
    """
    prefixes = Counter(
        name[:-len(joint)] for name in names for joint in table.names if name.endswith(joint))
    if not prefixes:
        return []
    # Names without prefix count first: 'wrist' also ends 'other_wrist'.
    prefix = '' if '' in prefixes else prefixes.most_common(1)[0][0]
    places = {name: place for place, name in enumerate(names)}
    return [(places[prefix + joint], column) for column, joint in enumerate(table.names)
            if prefix + joint in places]
