#!/usr/bin/env python3
"""What the aligned reward can tell, on targets of the frozen test split.

How often the truth beats other poses, how far direct search's best pose lies from the truth, and
which joints remain ambiguous from which view.

Example:
    python scripts/study_aligned_reward.py --out docs
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.kinematics import Kinematics
from hand_imitation.cli.report import progress_bar
from hand_imitation.errors import UserError
from hand_imitation.human.angles import JOINTS, Side
from hand_imitation.learning import rewards, splits
from hand_imitation.learning.feeds import Hand, LandmarkFinder
from hand_imitation.learning.people import Model
from hand_imitation.learning.regions import ArmRegions, TargetRegions, target_regions
from hand_imitation.learning.scenes import FRAMES, draw_shot

TARGETS_A_PERSON = 8
FAR_RAD = np.radians(30.0)
_TRIES_A_JOINT = 10
_RANDOM_TRIES = 120
_GRID = 16
_TIE = 0.95
"""Values at which a finger keeps this share of its best overlap are taken for as good."""
VIEWS = {'front, to 30': (0, 30), '30 to 60': (30, 60), 'side, 60 to 120': (60, 120),
         'back, from 120': (120, 181)}
"""By the angle between the palm's normal and the direction to the camera [deg]."""
SOURCES = {'labels': 'true landmarks', 'perception': 'perceived landmarks'}
"""Where the target's regions come from."""
AMBIGUOUS_DEG = 5.0
"""Joints that score about as well this far to either side, on average, are ambiguous."""


@dataclass(frozen=True, eq=False)
class Case:
    """A test target.

    Attributes:
        truth_rad: Shape (12,), within the arm's limits, order of `JOINTS`; NaN: not to be told.
        view_deg: Between the palm's normal and the direction to the camera.
        labelled: The hand by its true joint centres.
        perceived: The hand as the landmarker sees it in the picture, or None.
    """

    truth_rad: np.ndarray
    view_deg: float
    labelled: Hand
    perceived: Hand | None


def cases(count: int) -> Iterator[Case]:
    """Draw targets from the frozen test split."""
    table = JointTable.from_urdf(load_description())
    split = splits.find_split('test')
    finder = LandmarkFinder()
    for number in range(count):
        if number % TARGETS_A_PERSON == 0:
            model = Model(splits.person(split, number // TARGETS_A_PERSON))
        random = splits.picture_random(split, number)
        shot = draw_shot(random, model, 256, FRAMES, splits.draw_held_out(split, random))
        forearm = (shot.joints_m[0] - shot.joints_m[21])[:2]
        labelled = Hand(shot.points_px, shot.joints_m[:21], shot.side, forearm)
        yield Case(table.clip(np.where(shot.valid, shot.angles_rad, np.nan)),
                   _view_deg(shot.joints_m, shot.side), labelled,
                   finder(np.ascontiguousarray(shot.picture[..., ::-1])))
    finder.close()


def _view_deg(joints: np.ndarray, side: Side) -> float:
    """Angle between the palm's normal and the direction to the camera [deg]."""
    out = np.cross(joints[5] - joints[17], joints[9] - joints[0]) * (
        1.0 if side == 'right' else -1.0)
    towards = -joints[9]
    cosine = out @ towards / np.linalg.norm(out) / np.linalg.norm(towards)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def aligned(out: Path, count: int) -> dict[str, Any]:
    """Try the aligned reward on test targets."""
    description = load_description()
    table = JointTable.from_urdf(description)
    arm = ArmRegions(Kinematics(description, table))
    random = np.random.default_rng(0)
    wins: dict[str, list[np.ndarray]] = {source: [] for source in SOURCES}
    found: dict[str, list[np.ndarray]] = {source: [] for source in SOURCES}
    views, ties = [], []
    with progress_bar('targets') as progress:
        for number, case in enumerate(cases(count)):
            views.append(case.view_deg)
            poses, changed = _wrong_poses(table, case.truth_rad, random)
            for source, hand in zip(SOURCES, (case.labelled, case.perceived), strict=True):
                won, best, tie = np.full(13, np.nan), np.full(12, np.nan), np.full(12, np.nan)
                if hand is not None:
                    target = _target(hand)
                    won = _wins(_overlaps(arm, target, poses), changed)
                    best, tie = search(arm, table, target)
                wins[source].append(won)
                found[source].append(np.degrees(np.abs(best - case.truth_rad)))
                if source == 'labels':
                    ties.append(tie)
            progress((number + 1) / count)
    figures = _summary({k: np.array(v) for k, v in wins.items()},
                       {k: np.array(v) for k, v in found.items()},
                       np.array(views), np.degrees(ties))
    _plot_aligned(figures, out / 'aligned_study.png')
    return figures


def _target(hand: Hand) -> TargetRegions:
    assert hand.points is not None
    return target_regions(hand.points, hand.side, hand.forearm_direction)


def _overlaps(arm: ArmRegions, target: TargetRegions, poses: np.ndarray) -> np.ndarray:
    return rewards.region_overlaps(arm.masks(target, poses), target.masks)


def _wrong_poses(table: JointTable, truth: np.ndarray,
                 random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw poses 30 degrees or more off the truth, in one joint alone or in any.

    Returns:
        Poses, shape (m, 12), the first one the truth, 0 where that is not known [rad]; and for
        each the joint changed, -1 for the truth, 12 for poses drawn altogether at random.
    """
    poses, joints = [np.nan_to_num(truth)], [-1]
    for joint in range(12):
        # A wrist near its middle cannot be 30 degrees off: it reaches no further.
        below = max(truth[joint] - FAR_RAD - table.lower_rad[joint], 0.0)
        above = max(table.upper_rad[joint] - truth[joint] - FAR_RAD, 0.0)
        for _ in range(_TRIES_A_JOINT if below + above > 0.0 else 0):
            far = random.uniform(-below, above)
            pose = poses[0].copy()
            pose[joint] = truth[joint] + far + np.copysign(FAR_RAD, far)
            poses.append(pose)
            joints.append(joint)
    while joints.count(12) < _RANDOM_TRIES:
        pose = random.uniform(table.lower_rad, table.upper_rad)
        if np.nanmax(np.abs(pose - truth)) >= FAR_RAD:
            poses.append(pose)
            joints.append(12)
    return np.array(poses), np.array(joints)


def _wins(overlaps: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Share of wrong poses that the truth, the first one, beats: by the joint changed.

    Returns:
        Shape (13,), the last one for random poses; NaN for a joint whose truth is not known.
    """
    score = rewards.aligned(overlaps)
    beaten = score[0] > score
    return np.array([beaten[changed == joint].mean() if (changed == joint).any() else np.nan
                     for joint in range(13)])


def search(arm: ArmRegions, table: JointTable,
           target: TargetRegions) -> tuple[np.ndarray, np.ndarray]:
    """Find the pose with the best aligned reward, directly.

    A region depends on the joints of its own finger alone, so a grid over two joints at a time,
    then a finer one around its best, finds the best pose of all.

    Returns:
        The pose, shape (12,), and for each joint half the range of values within which its
        finger scores at least `_TIE` of its best, shape (12,) [rad].
    """
    low, high = table.lower_rad.copy(), table.upper_rad.copy()
    ties = np.zeros(12)
    for finer in (False, True):
        share = np.linspace(0.0, 1.0, _GRID)
        pairs = np.stack(np.meshgrid(share, share, indexing='ij'), axis=-1).reshape(-1, 2)
        poses = low + np.tile(pairs, 6) * (high - low)
        chains = np.nan_to_num(_overlaps(arm, target, poses)).reshape(len(poses), 6, 2).sum(-1)
        best = poses.reshape(-1, 6, 2)[chains.argmax(axis=0), np.arange(6)].ravel()
        if not finer:
            good = chains >= _TIE * chains.max(axis=0)
            for joint in range(12):
                values = poses[good[:, joint // 2], joint]
                ties[joint] = np.ptp(values) / 2.0
            step = (high - low) / (_GRID - 1)
            low, high = table.clip(best - step), table.clip(best + step)
    return best, ties


def _summary(wins: dict[str, np.ndarray], found: dict[str, np.ndarray], views: np.ndarray,
             ties: np.ndarray) -> dict[str, Any]:
    """Put the figures together."""
    bins = {name: (views >= low) & (views < high) for name, (low, high) in VIEWS.items()}
    figures: dict[str, Any] = {
        'targets': len(views),
        'truth_beats_one_joint_changed': {
            source: float(np.nanmean(won[:, :12])) for source, won in wins.items()},
        'truth_beats_random_poses': {
            source: float(np.nanmean(won[:, 12])) for source, won in wins.items()},
        'truth_beats_by_joint': {
            source: dict(zip(JOINTS, np.nanmean(won[:, :12], axis=0).tolist(), strict=True))
            for source, won in wins.items()},
        'truth_beats_by_view': {
            source: {name: float(np.nanmean(won[chosen, :12]))
                     for name, chosen in bins.items() if chosen.any()}
            for source, won in wins.items()},
        'perceived': float(np.isfinite(found['perception']).any(axis=1).mean()),
        'views': {name: int(chosen.sum()) for name, chosen in bins.items()},
    }
    for source, errors in found.items():
        figures[f'optimum_error_deg_{source}'] = {
            'all': dict(zip(JOINTS, np.nanmean(errors, axis=0).tolist(), strict=True)),
            **{name: dict(zip(JOINTS, np.nanmean(errors[chosen], axis=0).tolist(), strict=True))
               for name, chosen in bins.items() if chosen.any()}}
    figures['tie_half_range_deg'] = {
        name: dict(zip(JOINTS, np.nanmean(ties[chosen], axis=0).tolist(), strict=True))
        for name, chosen in bins.items() if chosen.any()}
    figures['optimum_30_deg_off'] = {
        source: dict(zip(JOINTS, [float((column[np.isfinite(column)] >= 30.0).mean())
                                  for column in errors.T], strict=True))
        for source, errors in found.items()}
    figures['ambiguous'] = {
        name: [joint for joint, half_deg in joints.items() if half_deg > AMBIGUOUS_DEG]
        for name, joints in figures['tie_half_range_deg'].items()}
    return figures


def _plot_aligned(figures: dict[str, Any], path: Path) -> None:
    """Plot the optimum's error by joint and view, and how often the truth wins."""
    figure = Figure(figsize=(10, 12))
    axes = figure.subplots(4, 1, sharex=True)
    place = np.arange(12)
    views = [name for name in VIEWS if name in figures['tie_half_range_deg']]
    rows = (('optimum_error_deg_labels', 'best pose to truth [deg]\ntrue landmarks'),
            ('tie_half_range_deg', 'as good within +- [deg]\ntrue landmarks'),
            ('optimum_error_deg_perception', 'best pose to truth [deg]\nperceived landmarks'))
    for axis, (key, words) in zip(axes, rows, strict=False):
        for i, view in enumerate(views):
            values = [figures[key][view][joint] for joint in JOINTS]
            axis.bar(place + 0.2 * i - 0.3, values, 0.2, label=view)
        axis.set_ylabel(words)
        axis.grid(axis='y', alpha=0.3)
    axes[1].axhline(AMBIGUOUS_DEG, color='k', lw=0.8, ls=':')
    axes[0].legend(title="palm's normal to the direction of the camera [deg]", ncols=4, fontsize=8,
                   title_fontsize=8, loc='lower center', bbox_to_anchor=(0.5, 1.0))
    for i, (source, colour) in enumerate(zip(SOURCES, ('tab:green', 'tab:olive'), strict=True)):
        beats = [100.0 * figures['truth_beats_by_joint'][source][joint] for joint in JOINTS]
        axes[3].bar(place + 0.4 * i - 0.2, beats, 0.4, color=colour, label=SOURCES[source])
    axes[3].legend(loc='lower left', ncols=2, fontsize=8)
    axes[3].axhline(95.0, color='k', lw=0.8, ls=':')
    axes[3].set_ylim(50.0, 101.0)
    axes[3].set_ylabel('truth beats poses 30 deg or\nmore off in this joint [%]')
    axes[3].grid(axis='y', alpha=0.3)
    axes[3].set_xticks(place, [joint.replace('_', '\n') for joint in JOINTS], fontsize=8)
    figure.suptitle(f'The aligned reward on {figures["targets"]} targets of the test split')
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    """Read the command line, print the figures as JSON, write the plot."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('docs'), help='folder for the plot')
    parser.add_argument('--targets', type=int, default=200)
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        figures = aligned(options.out, options.targets)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
