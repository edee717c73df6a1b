"""What was seen of a hand in one image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hand_imitation.human.angles import Side

LANDMARKS = 21


@dataclass(frozen=True)
class HandObservation:
    """One hand in one image, or the fact that there was none.

    Whether a hand was seen is kept apart from its values: an all-zero hand is a legitimate
    hand, so `valid` and nothing else says whether to use the rest.

    Attributes:
        valid: A hand was detected in this image, not bridged from an earlier one.
        stamp_s: Time of acquisition [s].
        image_points: Shape (21, 2) [px] of the image the perception was given.
        world_points: Shape (21, 3) [m], optical frame, origin at the hand's centre.
        side: Whose hand it is anatomically.
        score: Confidence of the handedness, 0 to 1.
        settled: It is still the hand that was followed before. False for a moment after the
            detection jumped to another place, as it does when it leaps to a second person's
            hand; policies wait that out, so that the arm holds and re-engages gradually.
        forearm_direction: Unit image vector from elbow to wrist, shape (2,), or None.
        forearm_source: Where it comes from: 'skin', or 'palm' where no forearm was seen and
            the palm's own direction stands in, or 'none'.
        image: The image itself, shape (h, w, 3), RGB, for policies that look at pixels.
    """

    valid: bool
    stamp_s: float
    image_points: np.ndarray = field(default_factory=lambda: np.zeros((LANDMARKS, 2)))
    world_points: np.ndarray = field(default_factory=lambda: np.zeros((LANDMARKS, 3)))
    side: Side = 'right'
    score: float = 0.0
    settled: bool = True
    forearm_direction: np.ndarray | None = None
    forearm_source: str = 'none'
    image: np.ndarray | None = None
