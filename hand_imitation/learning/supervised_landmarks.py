"""Learns the estimate of the `landmarks` policy, what pose the landmarks of a hand mean, and a
predictor of where the hand will be when the arm can be there.

The data are what perception really saw in pictures of synthetic people, and the truth. Each hand
is shown twice, once as the side that the landmarker took it for and once as the other, since the
landmarker is often wrong about that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.angles import HAND_JOINTS, thumb_side_sign
from hand_imitation.learning.controller_data import composed_hands, joined_hands
from hand_imitation.learning.controller_environment import hand_joints
from hand_imitation.learning.controller_predictor import LAYOUT as PREDICTOR_LAYOUT
from hand_imitation.learning.controller_predictor import (
    learn_predictor,
    recorded_hands,
    said_of,
)
from hand_imitation.learning.dataset import shard_files
from hand_imitation.learning.shards import Arrays, observation_of
from hand_imitation.learning.supervised import (
    Budget,
    Progress,
    SupervisedOptions,
    SupervisedResult,
)
from hand_imitation.learning.training import versions
from hand_imitation.policy.checkpoint import Checkpoint, save_checkpoint
from hand_imitation.policy.geometric import image_terms
from hand_imitation.policy.landmarks_network import (
    ESTIMATE_VERSION,
    ESTIMATES,
    FEATURES,
    build_mlp,
    landmark_features,
    mlp_tensors,
)

LAYOUT = {'version': ESTIMATE_VERSION, 'inputs': FEATURES, 'hidden': [256, 256],
          'outputs': len(ESTIMATES), 'max_deviation': 5.0, 'dropout': 0.1}
"""The network. Twice the width gained nothing."""
FIELDS = ('angles_rad', 'valid', 'points_px', 'detected', 'seen_world_m', 'seen_image_px',
          'seen_right', 'seen_score', 'seen_forearm', 'seen_forearm_source')
_ESTIMATE_SHARE = 0.6
"""Of the budget."""
_COMPOSED, _REPEATED = 400, 2
_EXAMPLES_PER_ROW = 6
"""The predictor looks at so many examples, one joint each, for every row of its budget."""
_BATCH = 192
_LEARNING_RATE = 2e-3
_WARM_UP = 0.1
"""Share of the budget in which the learning rate grows."""
_WEIGHT_DECAY = 0.03
_SIDE_WEIGHT = 0.05
"""Of the cross-entropy of the thumb's side, against radians of error."""
_FINGERS = slice(0, len(HAND_JOINTS))
_LEANS = slice(len(HAND_JOINTS), len(HAND_JOINTS) + 2)


@dataclass(frozen=True, eq=False)
class Lesson:
    """Hands to learn from, k of them.

    Attributes:
        features: Shape (k, FEATURES).
        wanted: Shape (k, len(ESTIMATES)), the last column 0 or 1.
        weight: The same shape; 0 where there is no telling.
    """

    features: np.ndarray
    wanted: np.ndarray
    weight: np.ndarray


def train_estimate(options: SupervisedOptions, progress: Progress) -> SupervisedResult:
    """Train estimate and predictor and save them as a checkpoint.

    The estimate gets three fifths of the budget. A run that was stopped and is resumed goes on
    with the estimate; the predictor, which follows from it, is always learned from the start.

    Args:
        options: What to do; `data` holds `landmarks/train` and `landmarks/validation`, and
            perhaps `motion/train`, from which the predictor learns too. (That the estimate learn
            from it gained nothing.)
        progress: Told the share done.

    Returns:
        What came of it; figures in degrees, of the hands detected.

    Raises:
        UserError: Data are missing, or nothing can be saved.
    """
    import torch

    from hand_imitation.learning import resume

    torch.manual_seed(options.seed)
    random = np.random.default_rng(options.seed)
    arrays = options.load('landmarks', 'train', (*FIELDS, 'person', 'yaw_rad'))
    if not arrays['detected'].any():
        raise UserError(f"perception saw no hand in the data of '{options.data}': give another "
                        '--data')
    lesson = _joined([lesson_of(arrays, shown_as) for shown_as in ('said', 'other')])
    held_out = lesson_of(options.load('landmarks', 'validation', FIELDS), 'said')
    network = build_mlp(LAYOUT).to(options.device)
    network.mean.copy_(torch.from_numpy(lesson.features.mean(axis=0)))
    # What hardly varies in the data must not count a thousandfold in a photograph.
    network.scale.copy_(torch.from_numpy(1.0 / (lesson.features.std(axis=0) + 1e-3)))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=_WEIGHT_DECAY)
    seen, spent_s = 0, 0.0
    if options.resume:
        saved, values = resume.load_state(options.state)
        if values['rows'] != len(lesson.features):
            raise UserError(f"the run in '{options.out}' learned from {values['rows']} rows, and "
                            f'there are {len(lesson.features)} now: leave out --resume')
        resume.restore_module(network, 'network', saved)
        resume.restore_optimizer(optimizer, 'optimizer', saved)
        resume.restore_random(values['random'], {'batches': random})
        seen, spent_s = values['seen'], values['seconds']
    budget = Budget(_part(options, _ESTIMATE_SHARE), spent_s)
    tensors = [torch.from_numpy(part).to(options.device)
               for part in (lesson.features, lesson.wanted, lesson.weight)]
    while budget.share(seen) < 1.0 and not options.stop.is_set:
        seen = _learn_epoch(network, optimizer, tensors, random, budget, seen,
                            lambda share: progress(_ESTIMATE_SHARE * share))
        figures = judge(network, held_out)
        for name in ('joint_error_deg', 'fingers_deg'):
            options.writer.add_scalar(f'held_out/{name}', figures[name], seen)
    figures = judge(network, held_out)
    resume.save_state(
        options.state,
        {**resume.module_arrays(network, 'network'),
         **resume.optimizer_arrays(optimizer, 'optimizer')},
        {'seen': seen, 'seconds': budget.seconds, 'rows': len(lesson.features),
         'random': resume.random_values({'batches': random})})
    tensors_found = mlp_tensors(network, 'estimate')
    training = _training(options, len(arrays['detected']), seen)
    minutes = budget.seconds / 60.0
    layout = {'estimate': LAYOUT}
    if budget.share(seen) >= 1.0:
        estimate = Checkpoint('landmarks', tensors_found, layout, {}, {}, '')
        more, training['predictor'] = _learn_predictor(options, estimate, arrays, progress)
        if more:
            tensors_found, layout = {**tensors_found, **more}, {
                **layout, 'predictor': PREDICTOR_LAYOUT}
            minutes += training['predictor']['minutes']
    save_checkpoint(
        options.checkpoint, 'landmarks', tensors_found, _table(), layout=layout,
        training={**training, 'minutes': round(minutes, 2)},
        figures={'validation, hands detected': figures})
    return SupervisedResult(seen, minutes, figures, options.stop.is_set)


def _learn_predictor(
    options: SupervisedOptions, estimate: Checkpoint, arrays: Arrays, progress: Progress,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Learn the predictor of an estimate; nothing where somebody wants to stop."""
    random = np.random.default_rng(options.seed)
    hands = [composed_hands(arrays, said_of(arrays, estimate), _COMPOSED, random)]
    if shard_files(options.data / 'motion' / 'train'):
        recorded = recorded_hands(options.load('motion', 'train'), estimate)
        # Real sequences are few, and count several times.
        hands += [recorded] * _REPEATED
    budget = Budget(_part(options, 1.0 - _ESTIMATE_SHARE, _EXAMPLES_PER_ROW))
    tensors = learn_predictor(
        joined_hands(hands), hand_joints(_table()), options.seed, budget.share,
        lambda share: progress(_ESTIMATE_SHARE + (1.0 - _ESTIMATE_SHARE) * share),
        lambda: options.stop.is_set)
    facts = {'sequences': {'composed': _COMPOSED,
                           'motion/train': len(hands[-1].truth_rad) if len(hands) > 1 else 0},
             'minutes': round(budget.seconds / 60.0, 2)}
    return ({} if options.stop.is_set else tensors), facts


def _part(options: SupervisedOptions, share: float, each: float = 1.0) -> SupervisedOptions:
    """Give a share of the budget, `each` examples for a step."""
    return replace(
        options, minutes=None if options.minutes is None else share * options.minutes,
        steps=None if options.steps is None else max(round(share * each * options.steps), 1))


def lesson_of(arrays: Arrays, shown_as: str) -> Lesson:
    """Make a lesson of a data set.

    Args:
        arrays: With `FIELDS`.
        shown_as: 'said', as the side that the landmarker took each hand for, or 'other'.

    Returns:
        The hands that were detected.
    """
    rows = np.flatnonzero(arrays['detected'])
    right = arrays['seen_right'][rows] ^ (shown_as == 'other')
    features = landmark_features(
        arrays['seen_world_m'][rows].astype(float), arrays['seen_image_px'][rows].astype(float),
        right, arrays['seen_score'][rows], arrays['seen_forearm'][rows].astype(float),
        arrays['seen_forearm_source'][rows] == 'skin')
    true_side = np.array([thumb_side_sign(points) for points in arrays['points_px'][rows]])
    formula = np.array([image_terms(observation_of(arrays, row), np.zeros(len(HAND_JOINTS)))[-2:]
                        for row in rows])
    mirror = np.where(right, 1.0, -1.0)
    truth = arrays['angles_rad'][rows].astype(float)
    correction = truth[:, -2:] * true_side[:, np.newaxis] - formula
    correction = (correction + np.pi) % (2.0 * np.pi) - np.pi
    wanted = np.column_stack([truth[:, _FINGERS], correction * mirror[:, np.newaxis],
                              true_side * mirror > 0.0])
    weight = np.ones_like(wanted)
    weight[:, _LEANS] = arrays['valid'][rows][:, -2:]
    weight[~np.isfinite(wanted)] = 0.0
    return Lesson(features, np.nan_to_num(wanted).astype(np.float32), weight.astype(np.float32))


def judge(network: Any, lesson: Lesson) -> dict[str, Any]:
    """Score a network.

    Args:
        network: Of `build_mlp`.
        lesson: Hands it has not learned from.

    Returns:
        Mean absolute errors [deg]: `joint_error_deg` of all joints, `fingers_deg` of the eight
        finger joints, `per_joint_deg`; and the share of hands whose thumb is put on the right
        side, `thumb_side_right`.
    """
    import torch

    network.eval()
    with torch.no_grad():
        features = torch.from_numpy(lesson.features).to(network.mean.device)
        found = network(features).cpu().numpy()
    found[:, _FINGERS] = np.clip(found[:, _FINGERS], 0.0, np.radians(90.0))
    error = np.abs(found - lesson.wanted)[:, :-1]
    weight = lesson.weight[:, :-1]
    each = np.degrees((error * weight).sum(axis=0) / weight.sum(axis=0))
    side = (found[:, -1] > 0.0) == (lesson.wanted[:, -1] > 0.5)
    return {'joint_error_deg': float(each.mean()), 'fingers_deg': float(each[2:10].mean()),
            'per_joint_deg': dict(zip(ESTIMATES, each.round(2).tolist(), strict=False)),
            'thumb_side_right': float(side.mean())}


def _learn_epoch(network: Any, optimizer: Any, tensors: list[Any], random: np.random.Generator,
                 budget: Budget, seen: int, progress: Progress) -> int:
    """Go through the data once, or until the time is up; returns how many rows were seen."""
    import torch

    options = budget.options
    features, wanted, weight = tensors
    network.train()
    losses: list[float] = []
    order = torch.from_numpy(random.permutation(len(features))).to(features.device)
    for rows in order.split(_BATCH):
        share = budget.share(seen)
        progress(min(share, 1.0))
        if share >= 1.0 or options.stop.is_set:
            break
        for group in optimizer.param_groups:
            group['lr'] = _LEARNING_RATE * min(share / _WARM_UP, 1.0) * (
                0.5 + 0.5 * np.cos(np.pi * share)) + 1e-6
        loss = _loss(network(features[rows]), wanted[rows], weight[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += len(rows)
        losses.append(loss.item())
    if losses:
        options.writer.add_scalar('train/loss', float(np.mean(losses)), seen)
    return seen


def _loss(found: Any, wanted: Any, weight: Any) -> Any:
    """Mean absolute error of the angles, and a little of the thumb's side."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    angles = ((found - wanted)[:, :-1].abs() * weight[:, :-1]).mean()
    return angles + _SIDE_WEIGHT * binary_cross_entropy_with_logits(found[:, -1], wanted[:, -1])


def _joined(lessons: list[Lesson]) -> Lesson:
    return Lesson(*(np.concatenate([getattr(lesson, name) for lesson in lessons])
                    for name in ('features', 'wanted', 'weight')))


def _training(options: SupervisedOptions, rows: int, seen: int) -> dict[str, Any]:
    """Say how the checkpoint came about."""
    return {
        'command': options.command, 'algo': 'supervised', 'seed': options.seed,
        'data': {'folder': options.data.name, 'landmarks/train': rows}, 'rows_seen': seen,
        'device': options.device,
        'versions': versions()}


def _table() -> JointTable:
    return JointTable.from_urdf(load_description())
