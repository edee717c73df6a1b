"""Pictures of hands from the package's sample clip, and a camera that shows them on a topic."""

import functools
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image

from hand_imitation.frame_sources import open_source, shrunk, truth_path
from hand_imitation.nodes import topics
from hand_imitation.nodes.messages import image_message

WIDTH, HEIGHT, RATE_HZ = 640, 360, 30.0
FINGERS = ('index', 'middle', 'ring', 'little')


class Scene(NamedTuple):
    """Pictures, shape (360, 640, 3), BGR.

    Attributes:
        closing: An open hand that closes to a fist.
        truth_rad: The person's true angles in each picture of `closing`, shape (n, 12).
        joints: Their names.
        empty: The background without a hand.
        first: An open hand on the left.
        both: The same, and another person's fist on the right.
        second: That fist alone.
    """

    closing: list[np.ndarray]
    truth_rad: np.ndarray
    joints: tuple[str, ...]
    empty: np.ndarray
    first: np.ndarray
    both: np.ndarray
    second: np.ndarray

    @property
    def open_hand(self) -> np.ndarray:
        return self.closing[0]

    @property
    def fist(self) -> np.ndarray:
        return self.closing[-1]


@functools.cache
def sample_scene() -> Scene:
    """Cut the scene out of the sample clip, with its true angles as the guide."""
    source = open_source('sample')
    half = source.frame_count // 2  # the first of its two persons
    pictures = [shrunk(source.read(), WIDTH) for _ in range(half)]
    names, angles = source.truth.names, source.truth.positions_rad[:half]
    source.close()
    curl = angles[:, [names.index(f'{f}_{part}') for f in FINGERS
                      for part in ('proximal', 'distal')]].sum(axis=1)
    fist = int(curl.argmax())
    opened = fist - 45 + int(curl[fist - 45:fist].argmin())
    elbow = angles[:, names.index('elbow')]
    leans = pictures[int(elbow.argmax())], pictures[int(elbow.argmin())]
    # Of the two ways to join them, one leaves both arms out.
    empty = min(side_by_side(*leans), side_by_side(*reversed(leans)), key=detail)
    left, right = moved(pictures[opened], -150), moved(pictures[fist][:, ::-1], 150, 0.85)
    return Scene(
        pictures[opened:fist + 1], angles[opened:fist + 1], names, empty,
        first=side_by_side(left, empty), both=side_by_side(left, right),
        second=side_by_side(empty, right))


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The left half of one picture and the right half of another."""
    return np.hstack([left[:, :WIDTH // 2], right[:, WIDTH // 2:]])


def detail(picture: np.ndarray) -> float:
    """How much there is to see: the background is blurred, a hand is not."""
    return float(np.abs(cv2.Laplacian(picture, cv2.CV_16S)).sum())


def moved(picture: np.ndarray, right_px: float, scale: float = 1.0) -> np.ndarray:
    """A picture moved to the right and scaled about the middle of its lower edge."""
    matrix = np.array([
        [scale, 0.0, right_px + (1.0 - scale) * WIDTH / 2], [0.0, scale, (1.0 - scale) * HEIGHT]])
    return cv2.warpAffine(
        picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)


def there_and_back(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """The pictures forwards and then backwards."""
    return pictures + pictures[::-1]


def write_clip(path: Path, pictures: Iterable[np.ndarray]) -> int:
    """Write a video at 30 pictures a second; returns how many it holds."""
    count = 0
    writer = None
    for picture in pictures:
        if writer is None:
            height, width = picture.shape[:2]
            writer = cv2.VideoWriter(
                str(path), cv2.VideoWriter.fourcc(*'mp4v'), RATE_HZ, (width, height))
        writer.write(picture)
        count += 1
    writer.release()
    return count


def write_truth(path: Path, joints: tuple[str, ...], angles_rad: np.ndarray) -> None:
    """Write the true angles beside a video."""
    truth_path(path).write_text(json.dumps({
        'joints': joints, 'angles_rad': angles_rad.tolist(),
        'sha256': hashlib.sha256(path.read_bytes()).hexdigest()}))


class Projector:
    """Publishes pictures at 30 Hz as a camera driver does, each with fresh noise.

    Args:
        node: Its publisher belongs to this node.
        topic: Where to.

    Attributes:
        sent: Stamps of everything published [ns]; the nodes pass them on.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self.sent: list[int] = []
        self._clock = node.get_clock()
        self._publisher = node.create_publisher(Image, topic, topics.QOS[topics.IMAGE])
        self._pictures: Iterator[np.ndarray] = iter(())
        self._last = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name='projector')
        self._thread.start()

    def show(self, *pictures: np.ndarray) -> float:
        """Show pictures again and again, each time with other noise; returns the time [s]."""
        return self._switch(with_noise(picture) for picture in itertools.cycle(pictures))

    def freeze(self, picture: np.ndarray | None = None) -> float:
        """Repeat a picture, or else the last one, the same to the bit; returns the time [s]."""
        return self._switch(itertools.repeat(self._last if picture is None else picture))

    def fall_silent(self) -> float:
        """Show nothing more; returns the time [s]."""
        return self._switch(iter(()))

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    def _switch(self, pictures: Iterator[np.ndarray]) -> float:
        with self._lock:  # nothing of the pictures before is sent after this
            self._pictures = pictures
            return time.time()

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._over.wait(max(due_s - time.monotonic(), 0.0)):
            due_s = max(due_s + 1.0 / RATE_HZ, time.monotonic())
            with self._lock:
                picture = next(self._pictures, None)
                if picture is None:
                    continue
                self._last = picture
                now = self._clock.now()
                self.sent.append(now.nanoseconds)
                self._publisher.publish(image_message(picture, now.to_msg(), 'test'))


_RANDOM = np.random.default_rng(0)


def with_noise(picture: np.ndarray) -> np.ndarray:
    """A copy in which some pixels differ a little, as no two pictures of a camera are equal."""
    noisy = picture.copy()
    some = noisy[::7, ::7]
    some ^= _RANDOM.integers(0, 4, some.shape, dtype=np.uint8)
    return noisy
