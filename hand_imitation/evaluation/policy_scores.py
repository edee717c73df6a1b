"""All policies on all there is to judge them by, as one document."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.evaluation import moving_scores, photographs, stills
from hand_imitation.evaluation.moving import moving_people
from hand_imitation.evaluation.policy_rows import load_policies, parts_of
from hand_imitation.evaluation.tracking import Tracked, TrackingOptions
from hand_imitation.learning.dataset import load_dataset, shard_files
from hand_imitation.policy.base import Policy

PARTS = ('photographs', 'stills', 'moving')
SCHEMA = 1

Task = Callable[[str], AbstractContextManager[Callable[[float], None]]]
"""Shows that something is being done: a context that gives a function for the share done."""


@dataclass(frozen=True)
class EvaluationOptions:
    """What to judge, and by what.

    Attributes:
        policies: Names or paths; none for all that are installed.
        data: Folder that holds data sets by kind and split, such as `motion/test`.
        digits: Folder of labelled photographs.
        parts: Some of `PARTS`.
        tracking: Under what conditions an arm follows.
    """

    policies: tuple[str, ...]
    data: Path
    digits: Path
    parts: tuple[str, ...] = PARTS
    tracking: TrackingOptions = field(default_factory=TrackingOptions)


def evaluate(options: EvaluationOptions, task: Task) -> dict[str, Any]:
    """Judge policies.

    Args:
        options: What to judge, and by what.
        task: Shows progress.

    Returns:
        'schema', 'policies' (names of rows), 'unavailable' (reasons by name), and per part
        'rows' with the figures of each policy and yardstick, or 'missing': what is not there,
        and the command that makes it.

    Raises:
        UserError: A policy that was asked for cannot be loaded, or none can.
    """
    table = JointTable.from_urdf(load_description())
    policies, unavailable = load_policies(options.policies, table)
    document: dict[str, Any] = {
        'schema': SCHEMA, 'policies': list(policies), 'unavailable': unavailable}
    judges = {'photographs': _photographs, 'stills': _stills, 'moving': _moving}
    for part in options.parts:
        try:
            document[part] = judges[part](options, policies, table, task)
        except _Missing as error:
            document[part] = {'missing': str(error)}
    return document


class _Missing(Exception):
    """Data are not there; says how to get them."""


def _photographs(options: EvaluationOptions, policies: dict[str, Policy], table: JointTable,
                 task: Task) -> dict[str, Any]:
    """Finger states on photographs of real hands."""
    if not (options.digits / 'labels.csv').exists():
        raise _Missing(
            f"no photographs in '{options.digits}': give the folder of sign digits, D_NNN.jpg "
            "and labels.csv, by --digits")
    perceive = any(policy.uses_perception for policy in policies.values())
    with task('photographs: perception') as progress:
        looked_at = photographs.look(options.digits, perceive, progress)
    rows = photographs.plain_scores(looked_at.labels, table)
    for name, policy in policies.items():
        with task(f'photographs: {name}') as progress:
            rows[name] = photographs.score_photographs(looked_at, policy, progress)
    return {'photographs': len(looked_at.labels), 'rows': rows}


def _stills(options: EvaluationOptions, policies: dict[str, Policy], table: JointTable,
            task: Task) -> dict[str, Any]:
    """Joint errors on single pictures of synthetic people."""
    folder = _data_folder(options, 'landmarks', 'test', 2000)
    recipe = json.loads((folder / 'recipe.json').read_text())
    shown = stills.stills_of(load_dataset(folder), recipe, table)
    rows = {name: stills.score_answers(found, shown)
            for name, found in stills.plain_answers(shown).items()}
    for name, policy in policies.items():
        with task(f'pictures of synthetic people: {name}') as progress:
            rows[name] = stills.score_answers(stills.answers(policy, shown, progress), shown)
    return {'pictures': len(shown), 'people': len(set(shown.person.tolist())),
            'detected': float(sum(seen.valid for seen in shown.seen)) / len(shown), 'rows': rows}


def _moving(options: EvaluationOptions, policies: dict[str, Policy], table: JointTable,
            task: Task) -> dict[str, Any]:
    """Tracking errors on moving synthetic people."""
    folder = _data_folder(options, 'motion', 'test', 7200)
    missing = {}
    validation = None
    try:
        tuned_on = _data_folder(options, 'motion', 'validation', 3600)
        validation = moving_people(load_dataset(tuned_on), table)
    except _Missing as error:
        missing['missing_predictors'] = str(error)
    moving = moving_scores.Moving(
        moving_people(load_dataset(folder), table), json.loads(
            (folder / 'recipe.json').read_text()), validation, table, options.tracking)
    with task('moving people: yardsticks') as progress:
        tracked = moving.plain()
        tracked['ceiling'], tuned = moving.ceiling(progress)
    for name, policy in policies.items():
        with task(f'moving people: {name}') as progress:
            tracked[name] = moving.follow(policy, progress)
    parts, predictors, comparisons = _taken_apart(options, policies, moving, tracked, task)
    return {
        'sequences': len(moving.test), 'settle_s': options.tracking.settle_s,
        'latency_ms': 1e3 * options.tracking.latency_s, **missing,
        'ceiling_predictor': tuned.document() if tuned is not None else None,
        'rows': {name: moving_scores.tracking_figures(found) for name, found in tracked.items()},
        'parts': parts, 'predictors': predictors,
        'comparisons': _against_geometric(tracked, policies, parts) + comparisons,
    }


def _taken_apart(
    options: EvaluationOptions, policies: dict[str, Policy], moving: moving_scores.Moving,
    tracked: dict[str, Tracked], task: Task,
) -> tuple[dict[str, list[str]], dict[str, Any], list[dict[str, Any]]]:
    """Follow people by the parts of learned policies too, and add that to what was tracked.

    Returns:
        Names of the new rows by policy; what predictors did by policy; and comparisons.
    """
    parts: dict[str, list[str]] = {}
    predictors: dict[str, Any] = {}
    comparisons: list[dict[str, Any]] = []
    for called, asked in zip(policies, options.policies or policies, strict=True):
        found = parts_of(asked, moving.table)
        new: dict[str, Tracked] = {}
        for part in ('no RL', 'RL only'):
            if part in found:
                with task(f'moving people: {called}, {part}') as progress:
                    new[f'{called}, {part}'] = moving.follow(found[part], progress)
        if 'estimate' in found:
            with task(f'moving people: {called}, classic predictors') as progress:
                tuned = moving.predicted(found['estimate'], progress)
            predictors[called] = [
                {**best.document(), **moving_scores.tracking_figures(behind)}
                for behind, best in tuned.values()]
            if tuned:
                new[f'{called}, classic'] = next(iter(tuned.values()))[0]
        comparisons += [moving_scores.comparison(called, tracked[called], name, behind)
                        for name, behind in new.items()]
        if new:
            parts[called] = list(new)
        tracked.update(new)
    return parts, predictors, comparisons


def _against_geometric(tracked: dict[str, Tracked], policies: dict[str, Policy],
                       parts: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Hold every policy and part against the geometric policy."""
    if 'geometric' not in policies:
        return []
    names = [row for name in policies for row in (name, *parts.get(name, ()))]
    return [moving_scores.comparison(name, tracked[name], 'geometric', tracked['geometric'])
            for name in names if name != 'geometric']


def _data_folder(options: EvaluationOptions, kind: str, split: str, images: int) -> Path:
    folder = options.data / kind / split
    if not shard_files(folder):
        raise _Missing(
            f"no data set in '{folder}': make it with 'hand-imitation dataset --kind {kind} "
            f"--split {split} --images {images} --out {folder}', or give another --data")
    return folder
