"""How good is a return? Between the best constant pose and the best pose for each target.

G = (return - constant) / (ceiling - constant). Constant: the one pose, held whatever is shown,
that CMA-ES finds best on training targets. Ceiling: for each target the better of its true pose
and of what CMA-ES finds for it alone. Both are measured in the environment, like the policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError

CONSTANT_EVALUATIONS = 5000
CEILING_EVALUATIONS = 2000
CEILING_RESTARTS = 3
_POPULATION = 20
_SPREAD = 0.3
"""How far the search looks at first, as a share of a joint's range."""

Play = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Holds pose poses[i], shape (k, n) [rad], before target numbers[i], shape (k,), for an episode:
returns, shape (k,)."""


@dataclass(frozen=True, eq=False)
class Yardsticks:
    """What returns of a policy are held against.

    Attributes:
        constant: Mean return of the best constant pose.
        ceiling: Mean return of the best pose for each target.
        pose_rad: The best constant pose, shape (n,) [rad].
    """

    constant: float
    ceiling: float
    pose_rad: np.ndarray

    def g(self, mean_return: float) -> float:
        """Share of the way from the constant to the ceiling; 1 is as good as can be."""
        return (mean_return - self.constant) / (self.ceiling - self.constant)


@dataclass(frozen=True, eq=False)
class Search:
    """What direct search found for some targets.

    Attributes:
        poses_rad: Shape (k, n) [rad].
        returns: Shape (k,).
    """

    poses_rad: np.ndarray
    returns: np.ndarray


def best_constant(play: Play, targets: int, table: JointTable, *,
                  evaluations: int, seed: int = 0) -> np.ndarray:
    """Search the pose that is best when held before every target.

    Args:
        play: Tries poses.
        targets: How many there are; all are played in each evaluation.
        table: Joints and their limits.
        evaluations: How many poses are tried.
        seed: Of the search.

    Returns:
        Shape (n,) [rad].
    """
    def judge(candidates: np.ndarray) -> np.ndarray:
        numbers = np.tile(np.arange(targets), len(candidates))
        return play(numbers, np.repeat(candidates, targets, axis=0)).reshape(
            len(candidates), targets).mean(axis=1)

    return _search(lambda poses: judge(poses[0])[np.newaxis], 1, table, evaluations,
                   seed).poses_rad[0]


def best_poses(play: Play, numbers: np.ndarray, table: JointTable, *,
               evaluations: int, restarts: int, seed: int = 0) -> Search:
    """Search the best pose of each target on its own.

    Args:
        play: Tries poses.
        numbers: Shape (k,), which targets.
        table: Joints and their limits.
        evaluations: How many poses are tried for each target and restart.
        restarts: How often the search starts, each time from another pose.
        seed: Of the search.

    Returns:
        The best of all restarts.
    """
    def judge(candidates: np.ndarray) -> np.ndarray:
        many = candidates.shape[1]
        return play(np.repeat(numbers, many), candidates.reshape(-1, len(table))).reshape(
            len(numbers), many)

    found = [_search(judge, len(numbers), table, evaluations, seed + restart)
             for restart in range(restarts)]
    returns = np.array([one.returns for one in found])
    best, rows = returns.argmax(axis=0), np.arange(len(numbers))
    return Search(np.array([one.poses_rad for one in found])[best, rows], returns[best, rows])


def _search(judge: Callable[[np.ndarray], np.ndarray], count: int, table: JointTable,
            evaluations: int, seed: int) -> Search:
    """Run some searches side by side, so that their poses are tried together.

    Args:
        judge: From poses, shape (count, population, n), to returns, shape (count, population).
        count: How many searches.
        table: Joints and their limits.
        evaluations: Of each.
        seed: Of all.
    """
    cma = _cma()
    low, wide = table.lower_rad, table.upper_rad - table.lower_rad
    starts = np.random.default_rng(seed).uniform(0.2, 0.8, (count, len(table)))
    # The library takes a seed of 0 for none.
    searches = [cma.CMAEvolutionStrategy(start, _SPREAD, {
        'bounds': [0.0, 1.0], 'popsize': _POPULATION, 'seed': 1 + seed * count + number,
        'verbose': -9}) for number, start in enumerate(starts)]
    best = Search(low + starts * wide, np.full(count, -np.inf))
    for _ in range(max(evaluations // _POPULATION, 1)):
        asked = [search.ask() for search in searches]
        poses = low + np.array(asked) * wide
        returns = judge(poses)
        for search, candidates, values in zip(searches, asked, returns, strict=True):
            search.tell(candidates, (-values).tolist())
        first, rows = returns.argmax(axis=1), np.arange(count)
        better = returns[rows, first] > best.returns
        best = Search(np.where(better[:, np.newaxis], poses[rows, first], best.poses_rad),
                      np.where(better, returns[rows, first], best.returns))
    return best


def measure(play: Play, train_play: Play, train_targets: int, truth_rad: np.ndarray,
            searched: int, table: JointTable) -> tuple[Yardsticks, dict[str, Any]]:
    """Find constant and ceiling.

    Args:
        play: Tries poses on held-out targets.
        train_play: The same on training targets.
        train_targets: How many of those there are.
        truth_rad: Shape (k, n), true poses of the held-out targets; 0 where not known [rad].
        searched: On how many of them CMA-ES looks for a better pose. The others count with
            their true pose, so where search finds nothing better the ceiling is exact.
        table: Joints and their limits.

    Returns:
        The yardsticks, and how they came about: returns of the truth on all targets, and of
        truth and search where both were tried.
    """
    everyone = np.arange(len(truth_rad))
    pose = best_constant(train_play, train_targets, table, evaluations=CONSTANT_EVALUATIONS)
    constant = play(everyone, np.tile(pose, (len(everyone), 1)))
    truth = play(everyone, table.clip(truth_rad))
    found = best_poses(play, everyone[:searched], table, evaluations=CEILING_EVALUATIONS,
                       restarts=CEILING_RESTARTS)
    ceiling = truth.copy()
    ceiling[:searched] = np.maximum(truth[:searched], found.returns)
    sticks = Yardsticks(float(constant.mean()), float(ceiling.mean()), pose)
    return sticks, {
        'constant_return': sticks.constant, 'ceiling_return': sticks.ceiling,
        'truth_return': float(truth.mean()), 'targets': len(everyone),
        'constant_evaluations': CONSTANT_EVALUATIONS, 'training_targets': train_targets,
        'searched_targets': searched, 'search_evaluations': CEILING_EVALUATIONS,
        'search_restarts': CEILING_RESTARTS,
        'searched_truth_return': float(truth[:searched].mean()),
        'searched_search_return': float(found.returns.mean()),
        'search_beats_truth': float((found.returns > truth[:searched] + 1e-9).mean()),
        'constant_rad': dict(zip(table.names, pose.round(4).tolist(), strict=True)),
    }


def fingerprint(truth_rad: np.ndarray) -> str:
    """Hash targets, to notice when they are not the same any more.

    Args:
        truth_rad: Shape (k, n), NaN where not known [rad].

    Returns:
        SHA-256 of the poses to three digits.
    """
    lines = (' '.join(f'{value + 0.0:.3f}' for value in row) for row in truth_rad)
    return hashlib.sha256('\n'.join(lines).encode()).hexdigest()


def _cma() -> Any:
    try:
        import cma
    except ImportError as error:
        raise UserError("direct search needs the package cma: pip install "
                        "'hand_imitation[train]'") from error
    return cma
