"""Where pictures come from: a webcam, a video, a GIF, a folder of images, or the sample."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.quiet import STDERR, quiet

SAMPLE = Path(__file__).parent / 'data' / 'sample.mp4'
TOPIC_PREFIX = 'topic:'
MIN_FILE_RATE_HZ = 30.0
"""Slower files are republished at this rate, or every frame would look stale."""
_IMAGE_SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff'}
_MAX_TRUTH_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Truth:
    """The true pose of the person in every frame of a file, in the person's terms.

    Attributes:
        names: Joints, shape (n,).
        positions_rad: Shape (frames, n) [rad].
    """

    names: tuple[str, ...]
    positions_rad: np.ndarray


class FrameSource(Protocol):
    """A source of pictures.

    Attributes:
        live: Pictures come at their own time; otherwise a file, played at `rate_hz`.
        rate_hz: Pictures per second, 0 where unknown.
        frame_count: Number of pictures, 0 where unknown or endless.
        truth: The person's true pose per picture, or None.
    """

    live: bool
    rate_hz: float
    frame_count: int
    truth: Truth | None

    def read(self) -> np.ndarray | None:
        """Return the next picture, shape (h, w, 3), BGR, uint8; None when there is none."""

    def rewind(self) -> None:
        """Start again from the first picture."""

    def close(self) -> None:
        """Let go of the device or file."""


def open_source(source: str, capture_size: tuple[int, int] = (1280, 720)) -> FrameSource:
    """Open a source of pictures.

    Args:
        source: A camera index or device, a video, GIF or folder of images, or 'sample'.
        capture_size: Width and height [px] asked of a webcam.

    Returns:
        The source, whose first picture has been read without trouble.

    Raises:
        UserError: It does not exist, cannot be read, or holds no pictures.
    """
    if source == 'sample':
        source = str(SAMPLE)
    if source.isdigit() or source.startswith('/dev/video'):
        return Webcam(source, capture_size)
    path = Path(source).expanduser()
    if path.is_dir():
        return ImageFolder(path)
    if path.is_file():
        return VideoFile(path)
    raise UserError(
        f"no such source '{source}': give a camera index such as 0, a video, a GIF, a folder of "
        f"images, 'topic:/name', or 'sample'"
    )


class Webcam:
    """A camera of this machine."""

    live = True
    frame_count = 0
    truth: Truth | None = None

    def __init__(self, source: str, capture_size: tuple[int, int]) -> None:
        self._device = f'/dev/video{source}' if source.isdigit() else source
        if not Path(self._device).exists():
            have = ', '.join(sorted(str(p) for p in Path('/dev').glob('video*'))) or 'none'
            raise UserError(
                f"no camera '{self._device}' (found: {have}): plug one in, name another, or try "
                f"'sample'"
            )
        self._capture_size = capture_size
        self._capture = self._opened()
        if not self._capture.isOpened():
            raise UserError(
                f"camera '{self._device}' does not open: is another program using it, and may "
                f"you read it ('sudo usermod -aG video $USER', then log in again)?"
            )
        self.rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS) or 0.0)

    def read(self) -> np.ndarray | None:
        """Wait for the next picture; None when the camera gives none (unplugged, say)."""
        good, picture = self._capture.read()
        return picture if good else None

    def rewind(self) -> None:
        """Open the camera anew, for one that was unplugged and came back."""
        self._capture.release()
        self._capture = self._opened()

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()

    def _opened(self) -> cv2.VideoCapture:
        with quiet(STDERR):
            capture = cv2.VideoCapture(self._device, cv2.CAP_V4L2)
            # Motion JPEG, or most webcams give 720p at 10 Hz only.
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*'MJPG'))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._capture_size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._capture_size[1])
            capture.set(cv2.CAP_PROP_FPS, 30)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture


class VideoFile:
    """A video or a GIF."""

    live = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._capture = self._opened()
        first = self.read()
        if first is None:
            self._capture.release()
            raise UserError(
                f"'{path}' is not a video that can be read: give an .mp4, .avi, .mkv or .gif file"
            )
        rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate_hz = rate_hz if 0.1 <= rate_hz <= 1000.0 else MIN_FILE_RATE_HZ
        self.frame_count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.truth = _load_truth(path)
        self.rewind()

    def read(self) -> np.ndarray | None:
        """Return the next picture, or None at the end."""
        good, picture = self._capture.read()
        return picture if good else None

    def rewind(self) -> None:
        """Start again from the first picture."""
        self._capture.release()
        self._capture = self._opened()

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def _opened(self) -> cv2.VideoCapture:
        # FFmpeg would print its own opinion of a bad file; the UserError says it better.
        with quiet(STDERR):
            return cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)


class ImageFolder:
    """The images of a folder, in the order of their names."""

    live = False
    rate_hz = MIN_FILE_RATE_HZ
    truth: Truth | None = None

    def __init__(self, path: Path) -> None:
        self._files = sorted(p for p in path.iterdir() if p.suffix.lower() in _IMAGE_SUFFIXES)
        if not self._files:
            raise UserError(f"no images in folder '{path}': put .jpg or .png files there")
        self.frame_count = len(self._files)
        self._next = 0
        if self.read() is None:
            raise UserError(f"'{self._files[0]}' cannot be read as an image: remove or replace it")
        self.rewind()

    def read(self) -> np.ndarray | None:
        """Return the next image that can be read, or None at the end."""
        while self._next < len(self._files):
            picture = read_image(self._files[self._next])
            self._next += 1
            if picture is not None:
                return picture
        return None

    def rewind(self) -> None:
        """Start again from the first image."""
        self._next = 0

    def close(self) -> None:
        """Nothing is held open."""


def read_image(path: Path) -> np.ndarray | None:
    """Read an image file.

    Args:
        path: The file.

    Returns:
        Shape (h, w, 3), BGR, uint8, or None where it is no image.
    """
    try:
        data = np.fromfile(path, np.uint8)
        return cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error):
        return None


def shrunk(picture: np.ndarray, width: int) -> np.ndarray:
    """Bring a picture down to the working size.

    Args:
        picture: Shape (h, w, 3).
        width: Wanted width [px]; 0 leaves the picture as it is, and nothing is enlarged.

    Returns:
        The picture with its proportions kept.
    """
    if width <= 0 or picture.shape[1] <= width:
        return picture
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def truth_path(video: Path) -> Path:
    """Where the true pose for a video lies: `NAME_truth.json` beside `NAME.mp4`."""
    return video.with_name(f'{video.stem}_truth.json')


def _load_truth(video: Path) -> Truth | None:
    """Read the side file of a video, if there is one that belongs to it."""
    path = truth_path(video)
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MAX_TRUTH_BYTES:
            raise ValueError('too large')
        data = json.loads(path.read_text())
        names = tuple(str(name) for name in data['joints'])
        positions = np.array(data['angles_rad'], dtype=float)
        if positions.ndim != 2 or positions.shape[1] != len(names):
            raise ValueError('rows and joints do not match')
        if not np.isfinite(positions).all():
            raise ValueError('an angle is not finite')
        if hashlib.sha256(video.read_bytes()).hexdigest() != data['sha256']:
            raise ValueError('it belongs to another video (the SHA-256 differs)')
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"the truth beside the video, '{path}', cannot be used: {error}; make it anew or "
            f'remove it'
        ) from error
    return Truth(names, positions)
