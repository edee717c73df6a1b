"""Finger states told from labelled photographs, see `finger_states`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.evaluation.finger_states import (
    FOUR_FINGERS,
    LabelledImage,
    read_labels,
    score,
)
from hand_imitation.frame_sources import read_image
from hand_imitation.human.observation import HandObservation
from hand_imitation.human.perception import StillPerception
from hand_imitation.policy.base import Policy, unseen

Progress = Callable[[float], None]

_BENT_RAD = 1.0
_FINGERS = ('thumb', *FOUR_FINGERS)


@dataclass(frozen=True, eq=False)
class Photographs:
    """Labelled photographs, looked at once for all policies.

    Attributes:
        labels: What is in them.
        seen: What perception saw, and the pictures.
    """

    labels: Sequence[LabelledImage]
    seen: Sequence[HandObservation]


def look(folder: Path, perceive: bool = True,
         progress: Progress = lambda share: None) -> Photographs:
    """Read photographs and let perception look at them.

    Args:
        folder: Holds the photographs and labels.csv.
        perceive: Otherwise they are only read, for policies that look for themselves.
        progress: Called with the share done.

    Returns:
        The photographs.

    Raises:
        UserError: Labels or photographs cannot be read.
    """
    labels = read_labels(folder / 'labels.csv')
    perception = StillPerception() if perceive else None
    seen = []
    for count, image in enumerate(labels, start=1):
        picture = read_image(folder / image.file)
        if picture is None:
            raise UserError(f"'{folder / image.file}' is not an image that can be read: give the "
                            'whole folder of photographs')
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        seen.append(HandObservation(valid=False, stamp_s=0.0, image=rgb) if perception is None
                    else perception.observe(rgb))
        progress(count / len(labels))
    if perception is not None:
        perception.close()
    return Photographs(labels, seen)


def score_photographs(photographs: Photographs, policy: Policy,
                      progress: Progress = lambda share: None) -> dict[str, Any]:
    """Ask a policy for the hand in each photograph, judged alone.

    Args:
        photographs: From `look`.
        policy: The policy.
        progress: Called with the share done.

    Returns:
        As `finger_states.score`.
    """
    joints: list[dict[str, float] | None] = []
    for observation in photographs.seen:
        policy.reset()
        shown = observation if policy.uses_perception else unseen(observation)
        targets = policy.act(shown, None, shown.stamp_s)
        found = None if targets is None else targets.as_dict()
        # One that leaves a finger out has not told the hand.
        whole = found is not None and all(
            f'{finger}_{part}' in found for finger in _FINGERS for part in ('proximal', 'distal'))
        joints.append(found if whole else None)
        progress(len(joints) / len(photographs.seen))
    return score(photographs.labels, joints)


def plain_scores(labels: Sequence[LabelledImage], table: JointTable) -> dict[str, dict[str, Any]]:
    """Score nobody, chance, the best constant hand, and who knows the labels.

    Args:
        labels: Of the photographs.
        table: The arm's joints.

    Returns:
        Per row of the table, as `finger_states.score`.
    """
    random = np.random.default_rng(0)
    usual = {
        finger: sum(image.extended.get(finger, False) for image in labels) * 2 >= sum(
            finger in image.extended for image in labels)
        for finger in _FINGERS}
    return {
        'zero': score(labels, [_hand(dict.fromkeys(_FINGERS, True)) for _ in labels]),
        'random': score(labels, [
            dict(zip(table.names, random.uniform(table.lower_rad, table.upper_rad).tolist(),
                     strict=True))
            for _ in labels]),
        'best constant': score(labels, [_hand(usual) for _ in labels]),
        'ceiling': score(labels, [_hand(image.extended) for image in labels]),
    }


def _hand(extended: Mapping[str, bool]) -> dict[str, float]:
    """Angles of a hand with these fingers extended and the others bent."""
    return {
        f'{finger}_{part}': 0.0 if extended.get(finger, True) else _BENT_RAD
        for finger in _FINGERS for part in ('proximal', 'distal')}
