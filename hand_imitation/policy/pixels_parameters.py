"""Parameters of the `pixels` policy, in a file that can be read without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from hand_imitation.parameters import parameter


@dataclass(frozen=True)
class PixelsParameters:
    """Finding and filtering of the pixels policy."""

    min_score: float = parameter(
        0.5, 'Below this a window is taken to hold no hand.', lower=0.0, upper=1.0)
    min_cutoff_hz: float = parameter(
        1.5, 'Smoothing cutoff of a hand at rest; lower is steadier.', lower=0.1, upper=30.0,
        unit='Hz')
    beta: float = parameter(
        2.0, 'Growth of the cutoff with speed; higher lags less.', lower=0.0, upper=100.0,
        unit='Hz per rad/s')
    max_velocity_rad_s: float = parameter(
        25.0, 'Faster than this a single estimate is a glitch and waits for the next to '
        'confirm it.', lower=1.0, upper=1000.0, unit='rad/s')
    max_gap_s: float = parameter(
        0.3, 'After a longer time without a hand the filters start afresh.', lower=0.0,
        upper=10.0, unit='s')
