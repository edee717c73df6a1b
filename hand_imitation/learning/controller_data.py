"""Moving hands that were never filmed: put together from single pictures.

Motion data are dear: perception has to follow each hand for seconds. But what it says of single
pictures, and how wrong that is, is known for thousands of poses. A hand that goes from one of
them to another on the curves people use has a pose at every instant, and errors that change from
those of the one to those of the other; what comes and goes in between is noise, fitted to what
was measured on filmed sequences. Estimates of about 9 degrees error come out, that change from
picture to picture as those of real sequences do (see `docs/dataset.md`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.learning.controller_environment import Hands
from hand_imitation.learning.sequences import RATE_HZ, SEQUENCE_FRAMES

_MOVE_S = (0.25, 0.9)
_HOLD_S = (0.0, 0.7)
"""As people of filmed sequences do."""
_NEAR_YAW_RAD = 0.5
"""A sequence goes through poses seen from about the same side."""
_ERROR_SHARE = 0.85
"""Errors in streams are smaller than in single pictures, since perception follows; but those on
pictures that were learned from are smaller than on others."""
_MISSED = 0.003
"""Share of pictures at which a run of pictures without a hand begins."""
_WANDER_RAD = (0.03, 0.12)
"""Errors that change within a third of a second."""
_SHAKE_RAD = 0.0157
"""Median error of a picture by itself; larger in bad moments, up to tenfold."""
_FEWEST = 10


def composed_hands(arrays: Mapping[str, np.ndarray], estimates_rad: np.ndarray, count: int,
                   random: np.random.Generator) -> Hands:
    """Put sequences together.

    Args:
        arrays: Of a landmarks data set: `angles_rad`, `person`, `yaw_rad`.
        estimates_rad: Shape (k, 10), what an estimate says of each picture, NaN where nothing
            [rad].
        count: How many sequences.
        random: Where to draw from.

    Returns:
        Sequences of 8 s, each of one person.

    Raises:
        UserError: Nobody was seen often enough.
    """
    truth = np.asarray(arrays['angles_rad'], dtype=float)[:, :estimates_rad.shape[1]]
    known = np.isfinite(estimates_rad).all(axis=1)
    albums = [rows for who in np.unique(arrays['person'])
              if len(rows := np.flatnonzero(known & (arrays['person'] == who))) >= _FEWEST]
    if not albums:
        raise UserError(f'nobody was seen in {_FEWEST} pictures: give more landmarks data')
    errors = _ERROR_SHARE * (estimates_rad - truth)
    walks = [_walk(albums[random.integers(len(albums))], arrays['yaw_rad'], truth, errors, random)
             for _ in range(count)]
    poses, wrong = (np.stack(parts) for parts in zip(*walks, strict=True))
    estimates = np.clip(poses + wrong + _noise(poses.shape, random), 0.0, np.pi / 2.0)
    missed = _missed(count, random)
    estimates[missed] = np.nan
    return Hands(estimates, poses)


def joined_hands(hands: Sequence[Hands]) -> Hands:
    """Put sequences of several sources together."""
    return Hands(*(np.concatenate([getattr(one, name) for one in hands])
                   for name in ('estimates_rad', 'truth_rad')))


def _walk(rows: np.ndarray, yaw_rad: np.ndarray, truth: np.ndarray, errors: np.ndarray,
          random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Go through pictures of one person; truth and error, shape (frames, 10) [rad]."""
    turn = np.angle(np.exp(1j * (yaw_rad[rows] - yaw_rad[random.choice(rows)])))
    chance = np.exp(-0.5 * (turn / _NEAR_YAW_RAD) ** 2) + 1e-4
    chance /= chance.sum()
    now = random.choice(rows, p=chance)
    poses, wrong = [], []
    moves = 0
    while moves < SEQUENCE_FRAMES:
        following = random.choice(rows, p=chance)
        moving, holding = (round(float(random.uniform(*span)) * RATE_HZ)
                           for span in (_MOVE_S, _HOLD_S))
        t = np.minimum(np.arange(1, moving + holding + 1) / moving, 1.0)[:, np.newaxis]
        share = t ** 3 * (10.0 - 15.0 * t + 6.0 * t * t)
        # Errors do not change in step with the movement.
        late = np.clip(random.uniform(0.8, 1.6) * t - random.uniform(-0.1, 0.3), 0.0, 1.0)
        late = late * late * (3.0 - 2.0 * late)
        poses.append(truth[now] + share * (truth[following] - truth[now]))
        wrong.append(errors[now] + late * (errors[following] - errors[now]))
        now = following
        moves += moving + holding
    pose, error = (np.concatenate(parts)[:SEQUENCE_FRAMES] for parts in (poses, wrong))
    return pose, error


def _missed(count: int, random: np.random.Generator) -> np.ndarray:
    """Draw in which pictures no hand is seen, in runs of up to 5: shape (count, frames), bool."""
    missed = random.random((count, SEQUENCE_FRAMES)) < _MISSED
    for _ in range(4):
        missed[:, 1:] |= missed[:, :-1] & (random.random(missed[:, 1:].shape) < 0.6)
    missed[:, 0] = False
    return missed


def _noise(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """What comes and goes: wandering, and shaking that has good and bad moments [rad]."""
    count, frames, joints = shape
    raw: np.ndarray = np.zeros((count, joints))
    wander, trouble = raw.copy(), raw[:, :1].copy()
    noise = np.empty(shape)
    far = random.uniform(*_WANDER_RAD, (count, 1))
    person = _SHAKE_RAD * np.exp(0.45 * random.normal(size=(count, 1)))
    for frame in range(frames):
        raw = 0.85 * raw + 0.53 * far * random.normal(size=raw.shape)
        wander = 0.6 * wander + 0.4 * raw
        trouble = 0.75 * trouble + 0.63 * random.normal(size=trouble.shape)
        # Joints of a finger shake together, and now and then wildly.
        finger = 0.5 * np.repeat(random.standard_t(4, (count, joints // 2)), 2, axis=1)
        own = 0.6 * random.standard_t(4, (count, joints))
        noise[:, frame] = wander + person * np.exp(trouble) * (finger + own)
    return noise
