"""Reads a rosbag2 of a run, without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore


def messages(bag: Path, topics: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Read a bag's messages in the order they were recorded.

    Args:
        bag: The bag's folder.
        topics: What is wanted: a name of the caller's by the end of a topic's name, such as
            {'camera/image_raw/compressed': 'camera'}; a namespace in front does not matter.

    Yields:
        The caller's name and the message.
    """
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        wanted = {
            connection.id: name for connection in reader.connections
            for ending, name in topics.items()
            if f'/{connection.topic}'.endswith(f'/{ending}')}
        connections = [c for c in reader.connections if c.id in wanted]
        for connection, _, data in reader.messages(connections=connections):
            yield wanted[connection.id], reader.deserialize(data, connection.msgtype)


def stamp_ns(message: Any) -> int:
    """Return the stamp in a message's header [ns]."""
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
