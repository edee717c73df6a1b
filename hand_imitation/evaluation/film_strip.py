"""The worst moments of a replay in pictures: the person, the arm, and the arm as it should be."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import cv2
import numpy as np

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety_types import REASONS
from hand_imitation.errors import UserError
from hand_imitation.evaluation.figures import row_means
from hand_imitation.evaluation.recording import Recording
from hand_imitation.evaluation.scoring import Score, signal_of
from hand_imitation.evaluation.signals import at_times
from hand_imitation.frame_sources import shrunk

MAX_MOMENTS = 5
FRAMES = 13
WINDOW_S = 0.3
"""A moment is as bad as the mean error over this time."""
APART_S = 2.0
"""Two moments of a recording are at least this far apart."""
REACH_S = 0.8
"""A film reaches this far to either side of its worst frame."""
PICTURE_WIDTH = 320
_ARM_SIZE = (320, 240)
_JPEG_QUALITY = 72


@dataclass(frozen=True)
class Moment:
    """A bad moment of a recording.

    Attributes:
        bag: Place of the recording.
        policy: The policy that was worst in it.
        frame: Place of the worst frame.
        error_deg: Mean error of all joints about it [deg].
    """

    bag: int
    policy: str
    frame: int
    error_deg: float


class Pictures:
    """Pictures of a report, each kept once, as the text of a data address."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._places: dict[Any, int | None] = {}

    def place(self, key: Any, draw: Callable[[], np.ndarray | None]) -> int | None:
        """Return the place of a picture, drawn where it is new; None where there is none.

        Args:
            key: What the picture shows.
            draw: Makes it: shape (h, w, 3), BGR, or None.
        """
        if key not in self._places:
            picture = draw()
            self._places[key] = None if picture is None else len(self.addresses)
            if picture is not None:
                self.addresses.append(_address(picture))
        return self._places[key]


class ArmPainter:
    """Draws arms in PyBullet, where it is installed."""

    def __init__(self) -> None:
        self._arms: dict[str, Any] = {}
        self.available = True

    def close(self) -> None:
        """Free the simulators."""
        for arm in self._arms.values():
            arm.close()
        self._arms = {}

    def draw(self, recording: Recording, pose_rad: np.ndarray) -> np.ndarray | None:
        """Draw the package's own arm in a pose; None where that cannot be.

        Args:
            recording: Tells the side and the order of the joints.
            pose_rad: Shape (n,) [rad].

        Returns:
            Shape (h, w, 3), BGR.
        """
        if not np.isfinite(pose_rad).all():
            return None
        arm = self._arm(recording.side)
        if arm is None or arm.table.names != recording.table.names:
            return None
        arm.set_positions(pose_rad)
        return cv2.cvtColor(arm.render(*_ARM_SIZE), cv2.COLOR_RGB2BGR)

    def _arm(self, side: str) -> Any:
        if side not in self._arms and self.available:
            try:
                # Imported late: PyBullet is not everywhere, and the report does without.
                from hand_imitation.arm.simulation import SimulatedArm

                description = load_description(side)
                arm = SimulatedArm(description, JointTable.from_urdf(description))
                arm.open()
                self._arms[side] = arm
            except (UserError, ImportError):
                self.available = False
        return self._arms.get(side)


def worst_moments(scores: Sequence[Sequence[Score]]) -> list[Moment]:
    """Find where the policies were worst.

    Args:
        scores: Per bag, per policy.

    Returns:
        At most `MAX_MOMENTS`, each policy's own worst among them where there is room, the worst
        first.
    """
    queues: dict[str, list[Moment]] = {}
    for bag, of_bag in enumerate(scores):
        for score in of_bag:
            queues.setdefault(score.run.policy, []).extend(_moments_of(bag, score))
    chosen: list[Moment] = []
    waiting = [sorted(moments, key=lambda m: -m.error_deg) for moments in queues.values()]
    # In turns, the worst of each, then the second worst of each.
    for turn in zip_longest(*waiting):
        for moment in turn:
            if moment is None or len(chosen) == MAX_MOMENTS:
                continue
            stamps = scores[moment.bag][0].recording.frame_ns
            if all(other.bag != moment.bag
                   or abs(stamps[other.frame] - stamps[moment.frame]) >= APART_S * 1e9
                   for other in chosen):
                chosen.append(moment)
    return sorted(chosen, key=lambda m: -m.error_deg)


def film(
    moment: Moment, of_bag: Sequence[Score], policies: Sequence[str], pictures: Pictures,
    painter: ArmPainter,
) -> dict[str, Any]:
    """Make the film of a moment, with the arms of all policies.

    Args:
        moment: The moment.
        of_bag: Scores of the policies on its recording.
        policies: Names of all policies, in the order of the report.
        pictures: Where its pictures go.
        painter: Draws the arms.

    Returns:
        What the report's script needs, ready for JSON; what is given per policy is null for one
        that did not run on this recording.
    """
    recording = of_bag[0].recording
    frame_ns = recording.frame_ns
    places = _film_frames(frame_ns, moment.frame)
    by_policy = {score.run.policy: score for score in of_bag}
    arms = {name: at_times(signal_of(score.run)[0], frame_ns[places])
            for name, score in by_policy.items()}
    reference = of_bag[0].reference
    wanted = None if reference is None else at_times(reference.pose, frame_ns[places])
    frames = []
    for row, place in enumerate(places):
        camera, points, size = _camera(moment.bag, of_bag[0], place, pictures)
        frames.append({
            'time_s': round((int(frame_ns[place]) - int(frame_ns[0])) * 1e-9, 3),
            'camera': camera, 'points': points, 'size': size,
            'tracked': bool(of_bag[0].run.tracked[place]),
            'wanted': None if wanted is None else _arm_picture(
                pictures, painter, recording, wanted[row]),
            'arms': [
                _arm_picture(pictures, painter, recording, arms[name][row])
                if name in arms else None for name in policies],
            'error_deg': [
                _known(by_policy[name].arm_error_deg[place]) if name in arms else None
                for name in policies],
            'words': [
                _words(by_policy[name], place) if name in arms else None for name in policies],
        })
    errors = by_policy[moment.policy].arm_error_deg
    joint = recording.table.names[int(np.nanargmax(np.abs(errors[moment.frame])))]
    shown = np.concatenate([np.abs(s.arm_error_deg[places]).ravel() for s in of_bag])
    worst = places.index(moment.frame)
    who = f' for {moment.policy}' if len(policies) > 1 else ''
    return {
        'bag': moment.bag, 'policy': policies.index(moment.policy), 'worst': worst,
        'frames': frames, 'time_s': frames[worst]['time_s'],
        'largest_deg': round(float(shown[np.isfinite(shown)].max(initial=0.0)), 1),
        'title': f'{frames[worst]["time_s"]:.1f} s',
        'why': f'{moment.error_deg:.0f}° mean{who}, mostly {joint.replace("_", " ")}'}


def _moments_of(bag: int, score: Score) -> list[Moment]:
    """Peaks of the error over `WINDOW_S`, the worst first."""
    frame_ns = score.recording.frame_ns
    rows = row_means(np.abs(score.arm_error_deg))
    if not np.isfinite(rows).any():
        return []
    half = round(WINDOW_S * 5e8)
    starts = np.searchsorted(frame_ns, frame_ns - half)
    ends = np.searchsorted(frame_ns, frame_ns + half, side='right')
    known = np.isfinite(rows)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, rows, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    number = count[ends] - count[starts]
    smooth = np.where(
        known & (number > 0), (total[ends] - total[starts]) / np.maximum(number, 1), -np.inf)
    found: list[Moment] = []
    while len(found) < MAX_MOMENTS and smooth.max() > 0.0:
        frame = int(np.argmax(smooth))
        found.append(Moment(bag, score.run.policy, frame, float(smooth[frame])))
        smooth[np.abs(frame_ns - frame_ns[frame]) < APART_S * 1e9] = -np.inf
    return found


def _film_frames(frame_ns: np.ndarray, worst: int) -> list[int]:
    """Frames evenly spread about the worst one, which is among them."""
    reach = round(REACH_S * 1e9)
    first = int(np.searchsorted(frame_ns, frame_ns[worst] - reach))
    last = int(np.searchsorted(frame_ns, frame_ns[worst] + reach, side='right')) - 1
    chosen = np.linspace(first, last, min(FRAMES, last - first + 1)).round().astype(int)
    nearest = int(np.argmin(np.abs(chosen - worst)))
    chosen[nearest] = worst
    return [int(place) for place in np.unique(chosen)]


def _camera(
    bag: int, score: Score, place: int, pictures: Pictures,
) -> tuple[int | None, list[list[float]] | None, list[int] | None]:
    """The camera's picture, with the landmarks in its pixels, flipped as the arm mirrors it."""
    recording, landmarks = score.recording, score.run.landmarks
    picture = recording.pictures(place) if recording.pictures is not None else None
    if picture is None:
        return None, None, None
    small = shrunk(picture, PICTURE_WIDTH)
    shown = small[:, ::-1] if recording.mirror else small
    number = pictures.place(('camera', bag, place), lambda: shown)
    height, width = small.shape[:2]
    points = None
    if landmarks is not None and np.isfinite(landmarks[place]).all():
        scaled = landmarks[place] * [width / picture.shape[1], height / picture.shape[0]]
        if recording.mirror:
            scaled[:, 0] = width - 1 - scaled[:, 0]
        points = np.round(scaled, 1).tolist()
    return number, points, [width, height]


def _arm_picture(
    pictures: Pictures, painter: ArmPainter, recording: Recording, pose_rad: np.ndarray,
) -> int | None:
    # To a hundredth of a degree, so that arms at rest share a picture.
    pose_rad = np.round(pose_rad, 4)
    key = recording.side, pose_rad.tobytes()
    return pictures.place(key, lambda: painter.draw(recording, pose_rad))


def _known(errors_deg: np.ndarray) -> list[float | None]:
    return [round(float(e), 1) if np.isfinite(e) else None for e in errors_deg]


def _words(score: Score, place: int) -> str:
    """What is to be said of a policy in one frame."""
    now, errors_deg = score.recording.frame_ns[place], score.arm_error_deg[place]
    words = [
        f'the arm is held ({reason_words(hold.reason)})' for hold in score.run.holds
        if hold.start_ns <= now < hold.end_ns][:1]
    if np.isfinite(errors_deg).any():
        joint = int(np.nanargmax(np.abs(errors_deg)))
        way = 'beyond' if errors_deg[joint] > 0 else 'short of'
        name = score.recording.table.names[joint].replace('_', ' ')
        words.append(f'furthest off is {name}, {abs(errors_deg[joint]):.0f}° {way} the reference')
    return '; '.join(words)


def reason_words(reason: str) -> str:
    """Say why the arm was held, from a word of `REASONS`, followed by a joint or not."""
    return REASONS.get(reason.split(' ')[0], reason)


def _address(picture: np.ndarray) -> str:
    good, data = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not good:
        raise ValueError('a picture could not be encoded')
    return f'data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}'
