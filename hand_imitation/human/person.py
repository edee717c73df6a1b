"""Calibration of a person: what the landmarks say of this hand when it is flat, and a fist.

Landmarks of one person are off by much the same angles all the time: a little finger that looks
bent when it is straight, a fist that never closes. Two poses everybody can hold tell how much.
"""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.human.angles import HAND_JOINTS, finger_angles
from hand_imitation.human.observation import HandObservation
from hand_imitation.parameters import from_mapping, parameter
from hand_imitation.plain_yaml import read_yaml, write_yaml

SCHEMA = 1
HOLD_S = 3.0
"""How long each pose is held [s]."""
STILL_RAD = 0.08
"""A hand is still while no joint's angle varies by more than this standard deviation [rad]."""
MAX_FLAT_RAD = 0.9
"""Proximal plus distal, mean of the four fingers, of a hand that may pass for flat [rad]."""
MIN_FIST_RAD = 1.6
"""The same of one that may pass for a fist [rad]."""
_MIN_FRAMES = 5
_FINGERS = slice(2, 10)

# True angles of a flat hand and of a fist, by the formulas of `angles`. Few people can press
# their fingers quite straight, and the knuckles of a fist stop short of a right angle.
_FLAT_RAD = np.array([0.0, 0.1] + [0.1, 0.1] * 4)
_FIST_RAD = np.array([0.0, 0.0] + [1.45, 1.55] * 4)
# People differ in these angles by about 6 degrees (standard deviation), landmarks err by about
# 8.5, so this share of a deviation is the landmarks' fault: 8.5^2 / (6^2 + 8.5^2).
_SHARE = 2.0 / 3.0


@dataclass(frozen=True)
class JointCorrection:
    """How one joint's angle is corrected: `gain * (angle - offset_rad)`."""

    offset_rad: float = parameter(
        0.0, 'Subtracted from the angle', lower=-0.6, upper=0.6, unit='rad')
    gain: float = parameter(1.0, 'What the rest is multiplied by', lower=0.6, upper=1.6)


@dataclass(frozen=True, eq=False)
class PersonCalibration:
    """Corrections of a person's finger angles.

    Attributes:
        offset_rad: Shape (10,), [rad], in the order of `HAND_JOINTS`.
        gain: Shape (10,).
    """

    offset_rad: np.ndarray
    gain: np.ndarray

    def apply(self, angles_rad: np.ndarray) -> np.ndarray:
        """Correct finger angles.

        Args:
            angles_rad: What `finger_angles` gives, shape (..., 10), [rad].

        Returns:
            The same shape, [rad].
        """
        return self.gain * (angles_rad - self.offset_rad)


class PoseCollector:
    """Waits for a hand that holds a flat hand or a fist still for long enough.

    Args:
        pose: 'flat' or 'fist'.
        hold_s: How long [s].
    """

    def __init__(self, pose: str, hold_s: float = HOLD_S) -> None:
        self.pose = pose
        self._hold_s = hold_s
        self._frames: deque[tuple[float, np.ndarray]] = deque()
        self.found: np.ndarray | None = None

    @property
    def held_s(self) -> float:
        """How long the pose has been held so far [s]."""
        return self._frames[-1][0] - self._frames[0][0] if self._frames else 0.0

    def feed(self, observation: HandObservation) -> bool:
        """Look at the next picture.

        Args:
            observation: What was seen; stamps in order.

        Returns:
            Whether the pose has been found; `found` holds its angles then, shape (k, 10) [rad].
        """
        if self.found is not None:
            return True
        angles = angles_of(observation)
        if angles is None or not is_pose(self.pose, angles):
            self._frames.clear()
            return False
        self._frames.append((observation.stamp_s, angles))
        while len(self._frames) > _MIN_FRAMES and (
                self.held_s > 1.2 * self._hold_s or not self._still()):
            self._frames.popleft()
        if self.held_s >= self._hold_s and len(self._frames) >= _MIN_FRAMES and self._still():
            self.found = np.array([angles for _, angles in self._frames])
        return self.found is not None

    def _still(self) -> bool:
        angles = np.array([angles for _, angles in self._frames])
        return bool((angles.std(axis=0) < STILL_RAD).all())


def angles_of(observation: HandObservation) -> np.ndarray | None:
    """Finger angles of what was seen, shape (10,) [rad]; None where there is no hand."""
    usable = observation.valid and observation.settled
    if not usable or not np.isfinite(observation.world_points).all():
        return None
    return finger_angles(observation.world_points, observation.side)


def is_pose(pose: str, angles_rad: np.ndarray) -> bool:
    """Tell whether a hand may pass for 'flat' or 'fist'.

    Args:
        pose: 'flat' or 'fist'.
        angles_rad: Shape (10,) [rad].
    """
    curl_rad = 2.0 * float(angles_rad[_FINGERS].mean())
    return curl_rad < MAX_FLAT_RAD if pose == 'flat' else curl_rad > MIN_FIST_RAD


def fit(flat_rad: np.ndarray | Sequence[np.ndarray],
        fist_rad: np.ndarray | Sequence[np.ndarray]) -> PersonCalibration:
    """Find the corrections that bring a person's flat hand and fist to where they belong.

    Two thirds of the deviation are corrected, since the rest may be how the person really holds
    the hand. The thumb is corrected by its flat pose alone: where it lies in a fist is a habit.

    Args:
        flat_rad: Angles of frames with a flat hand, shape (k, 10) [rad].
        fist_rad: Angles of frames with a fist, shape (m, 10) [rad].

    Returns:
        The corrections, within the bounds of `JointCorrection`.

    Raises:
        UserError: No frames, or poses that are not what they should be.
    """
    medians = {}
    for pose, frames in (('flat', flat_rad), ('fist', fist_rad)):
        angles = np.asarray(frames, dtype=float)
        if angles.ndim != 2 or angles.shape[0] == 0 or not np.isfinite(angles).all():
            raise UserError(f'no hand was seen for the pose {pose!r}: show one hand, in good '
                            'light, with the palm to the camera')
        medians[pose] = np.median(angles, axis=0)
        if not is_pose(pose, medians[pose]):
            raise UserError('the hand is not flat: stretch all fingers' if pose == 'flat' else
                            'the hand is no fist: close all fingers')
    flat = _FLAT_RAD + _SHARE * (medians['flat'] - _FLAT_RAD)
    fist = _FIST_RAD + _SHARE * (medians['fist'] - _FIST_RAD)
    gain = np.ones(len(HAND_JOINTS))
    reach = np.maximum(fist[_FINGERS] - flat[_FINGERS], 1e-3)
    gain[_FINGERS] = np.clip(
        (_FIST_RAD - _FLAT_RAD)[_FINGERS] / reach, *_bounds('gain'))
    offset = np.clip(flat - _FLAT_RAD / gain, *_bounds('offset_rad'))
    return PersonCalibration(offset, gain)


def save_person(path: Path, person: PersonCalibration) -> None:
    """Write a person's calibration, atomically.

    Raises:
        UserError: It cannot be written there.
    """
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')
    joints = {name: {'offset_rad': round(float(offset), 4), 'gain': round(float(gain), 4)}
              for name, offset, gain in zip(
                  HAND_JOINTS, person.offset_rad, person.gain, strict=True)}
    write_yaml(path, {'schema': SCHEMA, 'created': created, 'joints': joints},
               'A person, from `hand-imitation calibrate person`: '
               'corrected angle = gain * (angle - offset_rad).')


def load_person(path: Path | str) -> PersonCalibration:
    """Load a person's calibration and check it.

    Raises:
        UserError: Missing, not YAML, an unknown or missing joint, or a value out of bounds.
    """
    path = Path(path).expanduser()
    remedy = "make it anew with 'hand-imitation calibrate person'"
    content = read_yaml(path, "person's calibration", remedy)
    try:
        corrections = _corrections(content)
    except UserError as error:
        raise UserError(f"person's calibration '{path}': {error}; {remedy}") from error
    return PersonCalibration(np.array([c.offset_rad for c in corrections]),
                             np.array([c.gain for c in corrections]))


def _corrections(content: dict[str, Any]) -> list[JointCorrection]:
    """Check a file's content; corrections in the order of `HAND_JOINTS`."""
    if content.get('schema') != SCHEMA:
        raise UserError(f"schema is {content.get('schema')!r}, this version reads {SCHEMA}")
    joints = content.get('joints')
    if not isinstance(joints, dict):
        raise UserError('it has no joints')
    unknown = [name for name in joints if name not in HAND_JOINTS]
    missing = [name for name in HAND_JOINTS if name not in joints]
    if unknown or missing:
        raise UserError(f"a hand has no joint '{str(unknown[0])[:60]}'" if unknown else
                        f"joint '{missing[0]}' is missing")
    corrections = []
    for name in HAND_JOINTS:
        if not isinstance(joints[name], dict):
            raise UserError(f"joint '{name}' does not hold offset_rad and gain")
        try:
            corrections.append(from_mapping(JointCorrection, joints[name]))
        except UserError as error:
            raise UserError(f"joint '{name}': {error}") from error
    return corrections


def _bounds(field: str) -> tuple[float, float]:
    """Bounds of a field of `JointCorrection`."""
    about = JointCorrection.__dataclass_fields__[field].metadata
    return about['lower'], about['upper']
