"""What every policy takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hand_imitation.human.angles import Side
from hand_imitation.human.observation import HandObservation
from hand_imitation.policy.sight import Sight

LEANING_JOINTS = ('wrist', 'elbow')
"""Joints whose sign depends on who looks: the person's thumb or the arm's own."""


@dataclass(frozen=True)
class JointTargets:
    """Where a policy wants joints to be, in the person's terms.

    Attributes:
        names: Joints the policy has an opinion on; a joint left out is to be held.
        positions_rad: Shape (len(names),) [rad]; wrist and elbow positive towards the thumb of
            the hand seen.
        stamp_s: Time of acquisition of the frame they come from [s].
        thumb_side: +1.0 where the thumb lies clockwise of the palm in the image, else -1.0.
    """

    names: tuple[str, ...]
    positions_rad: np.ndarray
    stamp_s: float
    thumb_side: float = 1.0

    def as_dict(self) -> dict[str, float]:
        """Positions by joint name [rad]."""
        return dict(zip(self.names, self.positions_rad.tolist(), strict=True))


class Policy(Protocol):
    """Turns an observed hand into joint targets.

    Attributes:
        uses_joint_positions: Whether `act` looks at the measured joints; they arrive 100 times
            a second, and one who does not need them is spared that.
        uses_perception: Whether `act` goes by what perception saw. If not, perception does not
            run: the observation has `valid` False and holds the picture and its stamp alone. The
            policy looks for the hand itself, and says what it saw in its attribute `sight`, a
            `Sight` of the picture that `act` was called with last.
    """

    uses_joint_positions: bool
    uses_perception: bool

    def act(
        self, observation: HandObservation, joint_positions: np.ndarray | None, now_s: float,
    ) -> JointTargets | None:
        """Decide where the joints should go.

        Args:
            observation: What was seen.
            joint_positions: Measured joints in table order, shape (12,) [rad], or None.
            now_s: The time now [s].

        Returns:
            Targets in the person's terms, or None where there is no telling.
        """

    def reset(self) -> None:
        """Forget the past."""


def unseen(observation: HandObservation) -> HandObservation:
    """Return the picture and stamp of an observation without what was seen in it."""
    return HandObservation(
        valid=False, stamp_s=observation.stamp_s, image=observation.image)


def sight_of(policy: Policy, observation: HandObservation) -> Sight:
    """Tell what was seen in the picture that a policy has just acted on.

    Args:
        policy: The policy.
        observation: What it was given.

    Returns:
        What perception saw, or what the policy says it saw itself.
    """
    if not policy.uses_perception:
        sight: Sight = policy.sight  # type: ignore[attr-defined]
        return sight
    if not observation.valid:
        return Sight()
    return Sight(True, observation.side, observation.score)


def lean_sign(thumb_side: float, side: Side, mirror: bool) -> float:
    """Factor between the person's terms and the arm's for wrist and elbow.

    Hand and arm shall lean the same way in the pictures shown: the arm's camera sees its palm,
    and with `mirror` the person's picture is shown flipped, as in a mirror.

    Args:
        thumb_side: As in `JointTargets`.
        side: Which arm it is.
        mirror: The arm mirrors the person.

    Returns:
        +1.0 or -1.0.
    """
    arm_thumb_side = 1.0 if side == 'right' else -1.0
    return thumb_side * arm_thumb_side * (-1.0 if mirror else 1.0)


def in_arm_terms(targets: JointTargets, side: Side, mirror: bool) -> JointTargets:
    """Turn targets from the person's terms into the arm's: only wrist and elbow change sign.

    Args:
        targets: In the person's terms.
        side: Which arm it is.
        mirror: The arm mirrors the person.

    Returns:
        The same targets, wrist and elbow positive towards the arm's own thumb.
    """
    sign = lean_sign(targets.thumb_side, side, mirror)
    factors = np.array([sign if name in LEANING_JOINTS else 1.0 for name in targets.names])
    return JointTargets(
        targets.names, targets.positions_rad * factors, targets.stamp_s, targets.thumb_side)
