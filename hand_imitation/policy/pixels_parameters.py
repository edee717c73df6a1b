"""Parameters of the `pixels` policy, in a file that can be read without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from hand_imitation.parameters import parameter
from hand_imitation.policy.filters import FilterParameters


@dataclass(frozen=True)
class PixelsParameters(FilterParameters):
    """Finding and filtering of the pixels policy."""

    min_score: float = parameter(
        0.5, 'Below this a window is taken to hold no hand.', lower=0.0, upper=1.0)
