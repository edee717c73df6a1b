"""Makes a video of the hand beside the arm from a recorded bag.

The arm is drawn from its measured joint states, at the time of each picture, larger than its
camera sees it live.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.simulation import SimulatedArm
from hand_imitation.evaluation.bag import messages, stamp_ns
from hand_imitation.human.projection import projected
from hand_imitation.human.skeleton import BONES

HEIGHT = 480
_ARM_WIDTH = 640
_BAR = 44
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK = (235, 235, 235)
_BAR_COLOUR = (40, 36, 34)
_BONE_COLOUR = (120, 200, 60)
_JOINT_COLOUR = (60, 110, 245)
_TOPICS = {
    'camera/image_raw/compressed': 'camera',
    'joint_states': 'states',
    'camera/camera_info': 'info',
    'hand/markers': 'markers',
    'latency': 'latency',
    'diagnostics': 'diagnostics',
}


@dataclass
class _Run:
    """What the bag holds, by the time of the frame."""

    camera: dict[int, bytes] = field(default_factory=dict)
    states: dict[int, np.ndarray] = field(default_factory=dict)
    points: dict[int, np.ndarray] = field(default_factory=dict)
    latency_ms: dict[int, float] = field(default_factory=dict)
    modes: list[tuple[int, str]] = field(default_factory=list)
    intrinsics: tuple[float, tuple[float, float]] = (1.0, (0.0, 0.0))


def write_side_by_side(
    bag: Path, path: Path, arm: SimulatedArm, mirror: bool, prefix: str = '',
    progress: Callable[[float], None] | None = None,
) -> int:
    """Write the video.

    Args:
        bag: Folder of the recorded bag.
        path: The .mp4 to write: H.264, plays in a browser.
        arm: Draws the arm; open.
        mirror: Show the person's picture flipped, as the arm mirrors it.
        prefix: Prefix of the joint names in the bag.
        progress: Called with the share that is done, 0 to 1.

    Returns:
        Number of pictures written; with none there is no file.
    """
    # Imported late: only making videos needs it.
    import av

    run = _read(bag, arm.table, prefix)
    stamps, measured = sorted(run.camera), sorted(run.states)
    if not stamps or not measured:
        return 0
    rate_hz = _rate(stamps)
    with av.open(str(path), 'w', options={'movflags': 'faststart'}) as container:
        stream = container.add_stream('libx264', rate=rate_hz)
        stream.pix_fmt = 'yuv420p'
        stream.options = {'crf': '23', 'preset': 'veryfast'}
        for count, stamp in enumerate(stamps):
            arm.set_positions(run.states[_nearest(measured, stamp)])
            drawn = cv2.cvtColor(arm.render(_ARM_WIDTH, HEIGHT), cv2.COLOR_RGB2BGR)
            picture = _compose(run, stamp, drawn, mirror)
            if count == 0:
                stream.height, stream.width = picture.shape[:2]
            elif picture.shape[:2] != (stream.height, stream.width):
                # A camera may change its size on the way; a video may not.
                picture = cv2.resize(picture, (stream.width, stream.height))
            frame = av.VideoFrame.from_ndarray(picture, format='bgr24')
            frame.pts, frame.time_base = count, Fraction(1, rate_hz)
            container.mux(stream.encode(frame))
            if progress is not None:
                progress((count + 1) / len(stamps))
        container.mux(stream.encode(None))
    return len(stamps)


def draw_hand(picture: np.ndarray, points: np.ndarray) -> None:
    """Draw landmarks and bones into a picture.

    Args:
        picture: Shape (h, w, 3), BGR; changed in place.
        points: Shape (21, 2) [px].
    """
    pixels = [tuple(int(v) for v in point) for point in np.round(points)]
    for start, end in BONES:
        cv2.line(picture, pixels[start], pixels[end], _BONE_COLOUR, 2, cv2.LINE_AA)
    for pixel in pixels:
        cv2.circle(picture, pixel, 3, _JOINT_COLOUR, -1, cv2.LINE_AA)


def side_by_side(
    camera: np.ndarray, arm: np.ndarray, mirror: bool, note: str, mode: str,
) -> np.ndarray:
    """Put two pictures beside each other under a line of text.

    Args:
        camera: Shape (h, w, 3), BGR.
        arm: Shape (h, w, 3), BGR.
        mirror: Flip the camera's picture.
        note: Text over the camera's picture, on the right.
        mode: Text over the arm's picture, on the right.

    Returns:
        Shape (HEIGHT + bar, w, 3), BGR, both sides even, as H.264 wants them.
    """
    left = _scaled(camera[:, ::-1] if mirror else camera)
    right = _scaled(arm)
    bar = np.full((_BAR, left.shape[1] + right.shape[1], 3), _BAR_COLOUR, np.uint8)
    _write(bar, 'person (mirrored)' if mirror else 'person', 12)
    _write(bar, note, left.shape[1] - 12, right=True)
    _write(bar, 'arm', left.shape[1] + 12)
    _write(bar, mode, bar.shape[1] - 12, right=True)
    return np.vstack([bar, np.hstack([left, right])])


def _read(bag: Path, table: JointTable, prefix: str) -> _Run:
    """Collect what the video needs; pictures stay compressed."""
    run = _Run()
    last: np.ndarray = np.full(len(table), np.nan)
    for name, message in messages(bag, _TOPICS):
        if name == 'camera':
            run.camera[stamp_ns(message)] = bytes(message.data)
        elif name == 'states':
            names = [n.removeprefix(prefix) for n in message.name]
            pose = table.reorder(names, message.position)
            # A servo that was silent is left out: it is drawn where it was last.
            pose = last = np.where(np.isnan(pose), last, pose)
            if np.isfinite(pose).all():
                run.states[stamp_ns(message)] = pose
        elif name == 'info':
            run.intrinsics = message.k[0], (message.k[2], message.k[5])
        elif name == 'markers':
            joints = message.markers[0]
            if len(joints.points) == 21:
                run.points[stamp_ns(joints)] = np.array([(p.x, p.y, p.z) for p in joints.points])
        elif name == 'latency' and message.source == 'command':
            frame = message.time_ref.sec * 1_000_000_000 + message.time_ref.nanosec
            run.latency_ms.setdefault(frame, (stamp_ns(message) - frame) * 1e-6)
        elif name == 'diagnostics':
            _note_mode(run, message)
    return run


def _note_mode(run: _Run, message: Any) -> None:
    for status in message.status:
        if status.name.rsplit('/', 1)[-1] == 'commander':
            mode = next((v.value for v in status.values if v.key == 'mode'), '')
            run.modes.append((stamp_ns(message), mode))


def _compose(run: _Run, stamp: int, arm: np.ndarray, mirror: bool) -> np.ndarray:
    """Make one picture of the video."""
    camera = _decoded(run.camera[stamp])
    if stamp in run.points:
        draw_hand(camera, projected(run.points[stamp], *run.intrinsics))
    latency = run.latency_ms.get(stamp)
    note = f'{latency:.0f} ms to command' if latency is not None else ''
    # The last mode said up to then; changes are said at once.
    place = bisect_left(run.modes, (stamp, ''))
    mode = run.modes[place - 1][1] if place else ''
    return side_by_side(camera, arm, mirror, note, mode)


def _decoded(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError('the bag holds a picture that cannot be decoded')
    return picture


def _scaled(picture: np.ndarray) -> np.ndarray:
    """Bring a picture to the common height, its width even."""
    width = 2 * round(picture.shape[1] * HEIGHT / picture.shape[0] / 2)
    return cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_CUBIC)


def _write(bar: np.ndarray, text: str, x: int, right: bool = False) -> None:
    width = cv2.getTextSize(text, _FONT, 0.6, 1)[0][0]
    cv2.putText(
        bar, text, (x - width if right else x, 28), _FONT, 0.6, _INK, 1, cv2.LINE_AA)


def _rate(stamps: list[int]) -> int:
    """Pictures per second, to the nearest whole one."""
    if len(stamps) < 2:
        return 30
    return min(max(round(1e9 / float(np.median(np.diff(stamps)))), 1), 240)


def _nearest(stamps: list[int], stamp: int) -> int:
    place = bisect_left(stamps, stamp)
    return min(stamps[max(place - 1, 0):place + 1], key=lambda s: abs(s - stamp))
