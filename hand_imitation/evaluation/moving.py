"""Moving people as a camera at 30 Hz saw them, with the truth in the arm's terms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.angles import JOINTS, Side, thumb_side_sign
from hand_imitation.human.observation import HandObservation
from hand_imitation.learning.shards import Arrays, observation_of
from hand_imitation.policy.base import LEANING_JOINTS, lean_sign


@dataclass(frozen=True, eq=False)
class MovingPeople:
    """Sequences of the same length; rows of `truth_rad` are in the table's order.

    Attributes:
        numbers: Which sequences of the data set, b of them.
        time_s: Shape (f,), when the frames were taken, the same in every sequence [s].
        seen: Per sequence and frame what perception saw.
        truth_rad: Shape (b, f, n), in the person's terms, NaN where a picture cannot tell [rad].
        thumb_side: Shape (b, f), as in `JointTargets`, but true.
    """

    numbers: tuple[int, ...]
    time_s: np.ndarray
    seen: list[list[HandObservation]]
    truth_rad: np.ndarray
    thumb_side: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def in_arm_terms(self, table: JointTable, side: Side, mirror: bool) -> np.ndarray:
        """Where an arm should be: shape (b, f, n) [rad].

        A hand that turns over changes the sign of its leans, and an arm that follows it does not
        jump: so truth is interpolated and compared in these terms.

        Args:
            table: The arm's joints.
            side: Which arm it is.
            mirror: The arm mirrors the person.
        """
        signs = np.vectorize(lambda thumb: lean_sign(thumb, side, mirror))(self.thumb_side)
        truth = self.truth_rad.copy()
        for name in LEANING_JOINTS:
            truth[..., table.index(name)] *= signs
        return truth


def moving_people(
    arrays: Arrays, table: JointTable, sequences: Sequence[int] | None = None,
) -> MovingPeople:
    """Take sequences out of a data set of kind 'motion'.

    Args:
        arrays: Of the data set, see `docs/dataset.md`.
        table: The arm's joints.
        sequences: Which of its sequences; None for all. One that is shorter than the others,
            as the last may be, is left out.

    Returns:
        The sequences.

    Raises:
        UserError: The data set has no sequences, or not those.
    """
    if 'sequence' not in arrays:
        raise UserError("these pictures are of hands that do not move: make a data set with "
                        "'hand-imitation dataset --kind motion'")
    found = {int(number): rows for number, rows in _rows(arrays['sequence'])}
    wanted = list(found) if sequences is None else [int(number) for number in sequences]
    missing = [number for number in wanted if number not in found]
    if missing:
        raise UserError(f'the data set has no sequence {missing[0]}: it has {len(found)}')
    longest = max((len(found[number]) for number in wanted), default=0)
    wanted = [number for number in wanted if len(found[number]) == longest]
    if not wanted:
        raise UserError('no sequence to follow: give at least one')
    rows = np.stack([found[number] for number in wanted])
    order = [JOINTS.index(name) for name in table.names]
    truth = np.where(arrays['valid'][rows], arrays['angles_rad'][rows], np.nan)[..., order]
    thumbs = [[thumb_side_sign(arrays['joints_m'][row]) for row in of_one] for of_one in rows]
    return MovingPeople(
        tuple(wanted), np.asarray(arrays['time_s'][rows[0]], dtype=float),
        [[_seen(arrays, row) for row in of_one] for of_one in rows],
        np.asarray(truth, dtype=float), np.array(thumbs))


def _rows(numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Rows of each sequence, in order."""
    for number in np.unique(numbers):
        yield int(number), np.flatnonzero(numbers == number)


def _seen(arrays: Arrays, row: int) -> HandObservation:
    return replace(
        observation_of(arrays, row), stamp_s=float(arrays['time_s'][row]),
        settled=bool(arrays['seen_settled'][row]))
