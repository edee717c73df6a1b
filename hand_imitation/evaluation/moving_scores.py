"""How closely each policy leads an arm along moving people, and against what it is held.

Classic predictors are tuned on validation people and judged on test people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.evaluation.bootstrap import block_interval, paired_difference
from hand_imitation.evaluation.figures import interval_figures, rounded
from hand_imitation.evaluation.moving import MovingPeople
from hand_imitation.evaluation.plain_policies import (
    ConstantPolicy,
    RandomPolicy,
    RecordedPolicy,
)
from hand_imitation.evaluation.predictors import GRIDS, Said, Tuned, recorded, tune
from hand_imitation.evaluation.tracking import Tracked, TrackingOptions, track
from hand_imitation.human.observation import HandObservation
from hand_imitation.learning.sequences import RATE_HZ, film
from hand_imitation.learning.splits import find_split
from hand_imitation.policy.base import JointTargets, Policy, in_arm_terms

Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Moving:
    """Moving people to judge by, and the same of others to tune on.

    Attributes:
        test: Who is followed.
        recipe: What their data set was made by.
        validation: Whom predictors are tuned on, None where there are none.
        table: The arm's joints.
        options: Under what conditions an arm follows.
    """

    test: MovingPeople
    recipe: Mapping[str, Any]
    validation: MovingPeople | None
    table: JointTable
    options: TrackingOptions

    def follow(self, policy: Policy, progress: Progress = lambda share: None) -> Tracked:
        """Let a policy lead an arm along all test people.

        Args:
            policy: The policy; one that goes by pixels gets the pictures that perception saw,
                made again.
            progress: Called with the share done.

        Returns:
            How well they were followed.
        """
        if policy.uses_perception:
            return track(lambda place: deepcopy(policy), self.test, self.table, self.options)
        return self.repeat(recorded(policy, _films(self.test, self.recipe, progress)))

    def repeat(self, said: Said) -> Tracked:
        """Let targets that were written down lead."""
        return track(lambda place: RecordedPolicy(said[place]), self.test, self.table,
                     self.options)

    def plain(self) -> dict[str, Tracked]:
        """Let lead: nobody, chance, the best constant pose, and who knows the truth."""
        truth = self.test.in_arm_terms(self.table, self.options.side, self.options.mirror)
        # One pose for the arm, whatever hand is seen.
        constant = np.nanmedian(truth.reshape(-1, len(self.table)), axis=0)
        return {
            'zero': self._constant(np.zeros(len(self.table))),
            'random': track(lambda place: RandomPolicy(self.table, place), self.test, self.table,
                            self.options),
            'best constant': self._constant(constant),
        }

    def ceiling(self, progress: Progress = lambda share: None) -> tuple[Tracked, Tuned | None]:
        """Let lead who knows the truth of each frame, with a predictor tuned for that."""
        said = true_targets(self.test, self.table)
        if self.validation is None:
            return self.repeat(said), None
        tuned = tune(true_targets(self.validation, self.table), self.validation, self.table,
                     self.options, 'kalman', progress=progress)
        return tuned.of(said, self.test, self.table, self.options), tuned

    def predicted(self, estimate: Policy, progress: Progress = lambda share: None,
                  ) -> dict[str, tuple[Tracked, Tuned]]:
        """Let an estimate lead through each of the classic predictors.

        Args:
            estimate: A policy that goes by perception and no joint positions.
            progress: Called with the share done.

        Returns:
            Per kind of predictor what came of it, the best on validation people first; nothing
            where there are none.
        """
        if self.validation is None:
            return {}
        mine, theirs = (recorded(estimate, people.seen)
                        for people in (self.test, self.validation))
        found: list[Tuned] = []
        for kind in GRIDS:
            progress(len(found) / len(GRIDS))
            found.append(tune(theirs, self.validation, self.table, self.options, kind))
        progress(1.0)
        found.sort(key=lambda tuned: tuned.error_deg)
        return {tuned.kind: (tuned.of(mine, self.test, self.table, self.options), tuned)
                for tuned in found}

    def _constant(self, pose_rad: np.ndarray) -> Tracked:
        """Let lead one pose, given in the arm's terms."""
        signs = in_arm_terms(
            JointTargets(self.table.names, np.ones(len(self.table)), 0.0), self.options.side,
            self.options.mirror).positions_rad
        return track(lambda place: ConstantPolicy(self.table, signs * pose_rad), self.test,
                     self.table, self.options)


def true_targets(people: MovingPeople, table: JointTable) -> Said:
    """Say the true pose in each frame, joints that cannot be told left out."""
    said = []
    for place in range(len(people)):
        of_one: list[JointTargets | None] = []
        for frame, stamp_s in enumerate(people.time_s):
            truth = people.truth_rad[place, frame]
            known = np.isfinite(truth)
            names = tuple(name for name, has in zip(table.names, known, strict=True) if has)
            of_one.append(JointTargets(
                names, table.clip(truth)[known], float(stamp_s),
                float(people.thumb_side[place, frame])))
        said.append(of_one)
    return said


def tracking_figures(tracked: Tracked) -> dict[str, Any]:
    """Sum up how people were followed.

    Args:
        tracked: From `track`.

    Returns:
        'error_deg' of 'fingers' and 'all' joints; 'ci95' of the fingers', over sequences;
        'per_joint' and 'per_joint_lag_ms'; 'lag_ms'; 'jerk_rad_s3' of the fingers; and
        'target_share'.
    """
    fingers = tracked.errors_of()
    sequences = np.arange(len(fingers))
    return {
        'error_deg': {'fingers': rounded(fingers.mean(), 3),
                      'all': rounded(tracked.errors_of(None).mean(), 3)},
        'ci95': interval_figures(block_interval(fingers, sequences), 3),
        'per_joint': {name: _mean(tracked.error_deg[:, place], 3)
                      for place, name in enumerate(tracked.names)},
        'lag_ms': _mean(tracked.lag_ms, 1),
        'per_joint_lag_ms': {name: _mean(tracked.joint_lag_ms[:, place], 1)
                             for place, name in enumerate(tracked.names)},
        'jerk_rad_s3': rounded(_rms(tracked.jerks_of()), 1),
        'target_share': _mean(tracked.target_share, 5),
    }


def comparison(name: str, ours: Tracked, against: str, theirs: Tracked) -> dict[str, Any]:
    """Compare two on the same sequences: errors and jerks of the eight finger joints.

    Args:
        name: Of the first.
        ours: How it followed.
        against: Name of the second.
        theirs: How that followed.

    Returns:
        'difference_deg', ours minus theirs, with its 95% interval by a bootstrap over sequences,
        'relative', the same as a share of theirs, and 'jerk_ratio'.
    """
    first, second = ours.errors_of(), theirs.errors_of()
    found = paired_difference(first, second, np.arange(len(first)))
    return {
        'policy': name, 'against': against,
        'difference_deg': rounded(found.mean if found else None, 3),
        'ci95': interval_figures(found, 3),
        'relative': rounded(first.mean() / second.mean() - 1.0, 4),
        'jerk_ratio': rounded(_rms(ours.jerks_of()) / _rms(theirs.jerks_of()), 4),
        'sequences': len(first),
    }


def _films(people: MovingPeople, recipe: Mapping[str, Any],
           progress: Progress) -> Iterator[Iterator[HandObservation]]:
    """Film people again, sequence after sequence."""
    split = find_split(recipe['split'])

    def frames(number: int) -> Iterator[HandObservation]:
        made = film(split, recipe['seed'], number, len(people.time_s), lambda: None)
        for frame, shot in enumerate(made):
            yield HandObservation(valid=False, stamp_s=frame / RATE_HZ, image=shot.picture)

    for count, number in enumerate(people.numbers):
        progress(count / len(people))
        yield frames(number)
    progress(1.0)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt((values ** 2).mean()))


def _mean(values: np.ndarray, digits: int) -> float | None:
    known = values[np.isfinite(values)]
    return rounded(known.mean() if len(known) else None, digits)
