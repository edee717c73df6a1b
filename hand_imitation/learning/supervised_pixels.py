"""Learns the network of the `pixels` policy from pictures of synthetic people."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.angles import HAND_JOINTS
from hand_imitation.learning import resume
from hand_imitation.learning.pixel_lessons import FIELDS, Lesson, Lessons
from hand_imitation.learning.supervised import (
    Budget,
    Progress,
    SupervisedOptions,
    SupervisedResult,
)
from hand_imitation.learning.training import versions
from hand_imitation.policy.checkpoint import save_checkpoint
from hand_imitation.policy.pixels_network import (
    OUTPUTS,
    PixelsNetwork,
    build_pixels_network,
    default_layout,
    network_tensors,
)

CURLED_RAD = 1.0
"""A finger whose proximal and distal angles add up to more counts as curled (docs/metrics.md)."""
_BATCH = 128
_LEARNING_RATE = 3e-3
_WARM_UP = 0.05
"""Share of the budget in which the learning rate grows."""
_WEIGHT_DECAY = 0.05
_AVERAGING = 0.998
"""Of the weights that are kept: a running average of those that learn."""
_JUDGE_EVERY_S = 240.0
_WEIGHTS = {'fingers': 1.0, 'leans': 0.3, 'points': 4.0, 'states': 0.1, 'forearm': 0.03,
            'thumb_side': 0.05, 'detected': 0.1}
"""Of the parts of the loss."""


def train_pixels(options: SupervisedOptions, progress: Progress) -> SupervisedResult:
    """Train the network and save it as a checkpoint.

    Args:
        options: What to do; `data` holds `pixels/train` and `pixels/validation`.
        progress: Told the share done.

    Returns:
        What came of it, on the validation pictures.

    Raises:
        UserError: Data are missing, or nothing can be saved.
    """
    return _Training(options, progress).run()


class _Training:
    """One run."""

    def __init__(self, options: SupervisedOptions, progress: Progress) -> None:
        torch.manual_seed(options.seed)
        # Pictures are prepared by a thread beside the one that learns.
        cv2.setNumThreads(1)
        self._options, self._progress = options, progress
        self._random = np.random.default_rng(options.seed)
        layout = default_layout()
        train = options.load('pixels', 'train', FIELDS)
        self._count = len(train['picture'])
        self._lessons = Lessons(train, layout['size_px'], self._random)
        held_out = options.load('pixels', 'validation', FIELDS)
        rows = np.arange(min(len(held_out['picture']), 2000))
        self._held_out = Lessons(held_out, layout['size_px'], self._random, plain=True
                                 ).lesson(rows)
        self._layout = layout
        self._network = build_pixels_network(layout).to(options.device).to(
            memory_format=torch.channels_last)
        self._average = build_pixels_network(layout).to(options.device)
        self._average.load_state_dict(self._network.state_dict())
        self._averaged, self._learned = (
            [value for value in network.state_dict().values() if value.is_floating_point()]
            for network in (self._average, self._network))
        decayed = [p for p in self._network.parameters() if p.ndim > 1]
        others = [p for p in self._network.parameters() if p.ndim <= 1]
        self._optimizer = torch.optim.AdamW([
            {'params': decayed, 'weight_decay': _WEIGHT_DECAY},
            {'params': others, 'weight_decay': 0.0}])
        self._seen = 0
        spent_s = self._restore() if options.resume else 0.0
        self._budget = Budget(options, spent_s)
        self._judged_s = self._budget.seconds

    def run(self) -> SupervisedResult:
        """Learn until the budget is used up or the run is stopped."""
        options, budget = self._options, self._budget
        with ThreadPoolExecutor(1) as helper:
            coming = helper.submit(self._next_lesson)
            while budget.share(self._seen) < 1.0 and not options.stop.is_set:
                lesson = coming.result()
                if budget.share(self._seen + _BATCH) < 1.0:
                    coming = helper.submit(self._next_lesson)
                loss = self._learn(lesson)
                self._progress(min(budget.share(self._seen), 1.0))
                if self._seen // _BATCH % 50 == 0:
                    options.writer.add_scalar('train/loss', loss, self._seen)
                if budget.seconds - self._judged_s > _JUDGE_EVERY_S:
                    self._judged_s = budget.seconds
                    self._keep()
        # Not later than what is saved: a run that goes on has learned for longer than this one.
        minutes = budget.seconds / 60.0
        figures = self._keep()
        return SupervisedResult(self._seen, minutes, figures,
                                options.stop.is_set and budget.share(self._seen) < 1.0)

    def _next_lesson(self) -> Lesson:
        return self._lessons.lesson(self._random.integers(self._count, size=_BATCH))

    def _learn(self, lesson: Lesson) -> float:
        """Take one step."""
        device = self._options.device
        share = min(self._budget.share(self._seen), 1.0)
        for group in self._optimizer.param_groups:
            group['lr'] = _LEARNING_RATE * min(share / _WARM_UP, 1.0) * (
                0.5 + 0.5 * np.cos(np.pi * share)) + 1e-6
        self._network.train()
        pictures = torch.from_numpy(lesson.pictures).to(device).permute(0, 3, 1, 2)
        with torch.autocast(device.split(':')[0], torch.bfloat16):
            found = self._network(pictures)
        loss = _loss(found, torch.from_numpy(lesson.wanted).to(device),
                     torch.from_numpy(lesson.weight).to(device))
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 2.0)
        self._optimizer.step()
        self._seen += len(lesson.pictures)
        # At first the average would remember nothing but noise.
        kept = min(_AVERAGING, self._seen / (self._seen + 20.0 * _BATCH))
        with torch.no_grad():
            for value, newest in zip(self._averaged, self._learned, strict=True):
                value.lerp_(newest, 1.0 - kept)
        return loss.item()

    def _keep(self) -> dict[str, Any]:
        """Judge, and save state and checkpoint."""
        options, budget = self._options, self._budget
        figures = judge(self._average, self._held_out)
        for name in ('joint_error_deg', 'fingers_deg', 'states_right'):
            options.writer.add_scalar(f'held_out/{name}', figures[name], self._seen)
        resume.save_state(
            options.state,
            {**resume.module_arrays(self._network, 'network'),
             **resume.module_arrays(self._average, 'average'),
             **resume.optimizer_arrays(self._optimizer, 'optimizer')},
            {'seen': self._seen, 'seconds': budget.seconds, 'pictures': self._count,
             'random': resume.random_values({'lessons': self._random})})
        save_checkpoint(
            options.checkpoint, 'pixels', network_tensors(self._average),
            JointTable.from_urdf(load_description()), layout={'network': self._layout},
            training={
                'command': options.command, 'algo': 'supervised', 'seed': options.seed,
                'data': {'folder': options.data.name, 'pictures': self._count},
                'pictures_seen': self._seen, 'minutes': round(budget.seconds / 60.0, 2),
                'device': options.device, 'threads': torch.get_num_threads(),
                'versions': versions()},
            figures={'validation, hands cut out by their true landmarks': figures})
        return figures

    def _restore(self) -> float:
        """Take up where an earlier run stopped; returns how long it learned [s]."""
        arrays, values = resume.load_state(self._options.state)
        if values['pictures'] != self._count:
            raise UserError(
                f"the run in '{self._options.out}' learned from {values['pictures']} pictures, "
                f'and there are {self._count} now: leave out --resume')
        resume.restore_module(self._network, 'network', arrays)
        resume.restore_module(self._average, 'average', arrays)
        resume.restore_optimizer(self._optimizer, 'optimizer', arrays)
        resume.restore_random(values['random'], {'lessons': self._random})
        self._seen = values['seen']
        return float(values['seconds'])


def judge(network: PixelsNetwork, lesson: Lesson) -> dict[str, Any]:
    """Score a network.

    Args:
        network: The network.
        lesson: Hands it has not learned from, cut out as the policy does it.

    Returns:
        Mean absolute errors [deg]: `joint_error_deg` of all joints, `fingers_deg` of the eight
        finger joints, `per_joint_deg`; `states_right`, the share of fingers rightly found curled
        or extended; `thumb_side_right`; `points_error`, of landmarks, in sides of the picture.
    """
    network.eval()
    device = next(network.parameters()).device
    pictures = torch.from_numpy(lesson.pictures).permute(0, 3, 1, 2)
    with torch.no_grad():
        found = torch.cat([network(part.to(device)).cpu() for part in pictures.split(200)]).numpy()
    fingers = np.clip(found[:, OUTPUTS['fingers']], 0.0, 1.55)
    truth = np.clip(lesson.wanted[:, OUTPUTS['fingers']], 0.0, 1.55)
    leans = np.abs(found - lesson.wanted)[:, OUTPUTS['leans']]
    told = lesson.weight[:, OUTPUTS['leans']]
    each = np.degrees(np.concatenate([
        np.abs(fingers - truth).mean(axis=0),
        (leans * told).sum(axis=0) / np.maximum(told.sum(axis=0), 1.0)]))
    curled = [angles[:, 2::2] + angles[:, 3::2] > CURLED_RAD for angles in (fingers, truth)]
    points = np.abs(found - lesson.wanted)[:, OUTPUTS['points']]
    side = (found[:, OUTPUTS['thumb_side']] > 0.0) == (lesson.wanted[:, OUTPUTS['thumb_side']] > 0)
    return {'joint_error_deg': float(each.mean()), 'fingers_deg': float(each[2:10].mean()),
            'states_right': float((curled[0] == curled[1]).mean()),
            'thumb_side_right': float(side.mean()), 'points_error': float(points.mean()),
            'per_joint_deg': dict(zip((*HAND_JOINTS, 'wrist', 'elbow'),
                                      each.round(2).tolist(), strict=True))}


def _loss(found: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Add up the parts; each is a mean over what can be told."""
    def mean(values: Tensor, name: str) -> Tensor:
        told = weight[:, OUTPUTS[name]]
        return _WEIGHTS[name] * (values * told).sum() / told.sum().clamp_min(1.0)

    parts = [mean(smooth_l1_loss(found[:, OUTPUTS[name]], wanted[:, OUTPUTS[name]],
                                 reduction='none', beta=beta), name)
             for name, beta in (('fingers', 0.1), ('leans', 0.1), ('points', 0.02))]
    parts += [mean(binary_cross_entropy_with_logits(
        found[:, OUTPUTS[name]], wanted[:, OUTPUTS[name]], reduction='none'), name)
        for name in ('forearm', 'thumb_side', 'detected')]
    fingers, truth = found[:, OUTPUTS['fingers']], wanted[:, OUTPUTS['fingers']].clamp_min(0.0)
    # What is asked in the end: curled or extended? It sharpens the angles in between.
    bent = 5.0 * (fingers[:, 2::2] + fingers[:, 3::2] - CURLED_RAD)
    curled = (truth[:, 2::2] + truth[:, 3::2] > CURLED_RAD).float()
    told = weight[:, OUTPUTS['fingers']][:, 2::2]
    states = binary_cross_entropy_with_logits(bent, curled, reduction='none')
    parts.append(_WEIGHTS['states'] * (states * told).sum() / told.sum().clamp_min(1.0))
    return torch.stack(parts).sum()


