"""The frames of a bag and what is seen in them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import cv2
import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.evaluation.bag import Bag
from hand_imitation.evaluation.bag_contents import Contents
from hand_imitation.frame_sources import shrunk
from hand_imitation.human.angles import thumb_side_sign
from hand_imitation.human.observation import LANDMARKS, HandObservation
from hand_imitation.human.perception import PerceptionParameters, StreamPerception

_MAX_DELAY_NS = 1_000_000_000
Eyes = Callable[[int, float], tuple[HandObservation, float]]
"""From a frame's number and stamp [s] to what is seen in it, and the factor from its pixels to
those of the picture."""
Pictures = Callable[[int], tuple[np.ndarray | None, float]]
"""From a frame's number to its picture, shape (h, w, 3), RGB, None where it cannot be read, and
the factor from its pixels to those of the recorded picture; each frame once, in their order."""


def chosen_frames(
    contents: Contents, start_s: float, end_s: float, with_landmarks: bool = False,
) -> np.ndarray:
    """Choose the frames of a bag in a range of time.

    Args:
        contents: Of the bag.
        start_s: Leave out what is before, seconds after the first frame.
        end_s: Leave out what is after, in the same way.
        with_landmarks: A frame counts as well if landmarks of it are all there is.

    Returns:
        Their stamps, shape (f,) [ns].

    Raises:
        UserError: There are none.
    """
    bag = contents.bag
    stamps = contents.pictures.stamps_ns if contents.pictures else np.zeros(0, np.int64)
    if with_landmarks:
        stamps = np.union1d(stamps, contents.hands.stamps_ns)
    if not len(stamps):
        raise UserError(_no_pictures(bag))
    since_s = (stamps - stamps[0]) * 1e-9
    chosen = stamps[(since_s >= start_s) & (since_s <= end_s)]
    if not len(chosen):
        raise UserError(f"'{bag.name}' has no picture from {start_s:g} to {end_s:g} s: it is "
                        f'{since_s[-1]:.1f} s long')
    return chosen


def _no_pictures(bag: Bag) -> str:
    """Say why a bag has no pictures, and what to do."""
    if bag.truncated:
        why = f': {bag.problems[-1]}' if bag.problems else ''
        return f"'{bag.name}' holds no whole picture{why}: record it again"
    if not bag.topics:
        return f"'{bag.name}' is empty: record something first"
    return (f"'{bag.name}' has no pictures on 'camera/image_raw': if they are on another of its "
            f'topics ({", ".join(sorted(bag.topics)[:12])}), give '
            f'--topic camera/image_raw=THAT_TOPIC')


def delays_ns(contents: Contents, frames: np.ndarray) -> np.ndarray:
    """Tell how late a policy's word on each frame came when the bag was recorded.

    Args:
        contents: Of the bag.
        frames: Stamps of the frames, shape (f,) [ns].

    Returns:
        Shape (f,) [ns]; where the bag does not say, the median in it, or else 0.
    """
    if 'policy' not in contents.stages:
        return np.zeros(len(frames), np.int64)
    finished = contents.stages['policy'].finished_ns(frames)
    delays = finished - frames
    known = (finished >= 0) & (delays >= 0) & (delays <= _MAX_DELAY_NS)
    usual = int(np.median(delays[known])) if known.any() else 0
    return np.where(known, delays, usual)


def open_pictures(
    stack: ExitStack, contents: Contents, frames: np.ndarray, picture_width: int,
) -> Pictures:
    """Return the pictures of the frames, each decoded while the last is looked at.

    Args:
        stack: Closes what is opened.
        contents: Of the bag.
        frames: Stamps of the frames, shape (f,) [ns].
        picture_width: Larger pictures are scaled down to this [px]; 0 for never.
    """
    recorded = contents.pictures
    stamps_ns = recorded.stamps_ns if recorded is not None else np.zeros(0, np.int64)
    places = np.searchsorted(stamps_ns, frames)

    def prepared(number: int) -> tuple[np.ndarray | None, float]:
        if number >= len(frames) or recorded is None:
            return None, 1.0
        place = int(places[number])
        if place >= len(stamps_ns) or stamps_ns[place] != frames[number]:
            return None, 1.0
        picture = recorded(place)
        if picture is None:
            return None, 1.0
        small = shrunk(picture, picture_width)
        return cv2.cvtColor(small, cv2.COLOR_BGR2RGB), picture.shape[1] / small.shape[1]

    decoder = stack.enter_context(ThreadPoolExecutor(max_workers=1))
    ahead = {0: decoder.submit(prepared, 0)}

    def picture_of(number: int) -> tuple[np.ndarray | None, float]:
        found = ahead.pop(number).result()
        ahead[number + 1] = decoder.submit(prepared, number + 1)
        return found

    return picture_of


def open_eyes(
    stack: ExitStack, pictures: Pictures, parameters: PerceptionParameters,
) -> Eyes:
    """Return what looks for hands in the pictures.

    Args:
        stack: Closes what is opened.
        pictures: Of the frames.
        parameters: Of perception.
    """
    perception = StreamPerception(parameters)
    stack.callback(perception.close)

    def look(number: int, stamp_s: float) -> tuple[HandObservation, float]:
        picture, scale = pictures(number)
        if picture is None:
            return HandObservation(valid=False, stamp_s=stamp_s), scale
        return perception.observe(picture, stamp_s), scale

    return look


def closed_eyes(pictures: Pictures) -> Eyes:
    """Return what shows the pictures alone, to policies that look for hands themselves."""
    def look(number: int, stamp_s: float) -> tuple[HandObservation, float]:
        picture, scale = pictures(number)
        return HandObservation(valid=False, stamp_s=stamp_s, image=picture), scale

    return look


def remembered(contents: Contents, frames: np.ndarray, pictures: Pictures | None = None) -> Eyes:
    """Return what tells of the hands that were seen when a bag was recorded.

    Args:
        contents: Of the bag.
        frames: Stamps of the frames, shape (f,) [ns].
        pictures: Shown as well, for policies that look for hands themselves.
    """
    def look(number: int, stamp_s: float) -> tuple[HandObservation, float]:
        observation = contents.hands.observation(int(frames[number]), stamp_s)
        if pictures is None:
            return observation, 1.0
        return replace(observation, image=pictures(number)[0]), 1.0

    return look


class Seen:
    """What was seen in the frames so far, kept small.

    Attributes:
        tracked: Shape (f,), bool: a hand was seen.
        points: Shape (f, 21, 2), landmarks in the picture [px], NaN where unknown.
        thumb_sides: Shape (f,), as in `JointTargets.thumb_side`, NaN without a hand.
        look_ms: Shape (f,), how long looking took [ms].
    """

    def __init__(self, frames: np.ndarray, eyes: Eyes) -> None:
        self._frames = frames
        self._eyes = eyes
        self.tracked = np.zeros(len(frames), bool)
        self.points = np.full((len(frames), LANDMARKS, 2), np.nan, np.float32)
        self.thumb_sides = np.full(len(frames), np.nan)
        self.look_ms = np.zeros(len(frames))

    def look(self, number: int) -> HandObservation:
        """Look at a frame; each once, in their order."""
        begun_s = time.perf_counter()
        observation, scale = self._eyes(
            number, (self._frames[number] - self._frames[0]) * 1e-9)
        self.look_ms[number] = (time.perf_counter() - begun_s) * 1e3
        if observation.valid:
            self.tracked[number] = True
            self.points[number] = observation.image_points * scale
            self.thumb_sides[number] = thumb_side_sign(observation.world_points)
        return observation

    def tell(self, number: int, detected: bool, thumb_side: float | None) -> None:
        """Take a policy's word on a frame, where nobody else looked for hands.

        Args:
            number: Of the frame.
            detected: It saw a hand.
            thumb_side: As in `JointTargets`, None where that is not told.
        """
        self.tracked[number] = detected
        self.thumb_sides[number] = np.nan if thumb_side is None else thumb_side

    def tell_as_recorded(self, contents: Contents) -> None:
        """Take the word of the policy that was recorded, if it looked for hands itself."""
        if contents.hands.has_sights:
            for number, frame_ns in enumerate(self._frames.tolist()):
                self.tell(number, *contents.hands.sight(frame_ns))

    def check(self, contents: Contents) -> None:
        """Refuse a bag in which no hand was seen at all."""
        if self.tracked.any():
            return
        pictures, name = contents.pictures, contents.bag.name
        if pictures is not None and pictures.unreadable.total() >= len(self._frames):
            reason = next(iter(pictures.unreadable))
            raise UserError(f"'{name}': none of {len(self._frames)} pictures can be read "
                            f'({reason}): record it again')
        raise UserError(f"'{name}': no hand is seen in any of {len(self._frames)} pictures: "
                        f'there is nothing to score')
