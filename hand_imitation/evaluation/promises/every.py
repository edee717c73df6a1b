"""All promises, and how thoroughly each is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hand_imitation.evaluation.promises import commands, ending, packets, servos, starting
from hand_imitation.evaluation.promises.outcome import Outcome
from hand_imitation.evaluation.promises.rig import FAMILIES

Scenario = Callable[[str, int], list[Outcome]]


@dataclass(frozen=True)
class Trial:
    """A scenario and how often it is played.

    Attributes:
        scenario: Plays it for a family of servos, that often.
        full: How often the promise speaks of.
        quick: How often is enough to notice that it is broken.
    """

    scenario: Scenario
    full: int
    quick: int

    @property
    def name(self) -> str:
        """What the scenario is called."""
        return getattr(self.scenario, '__name__', '').replace('_', ' ')


TRIALS = (
    Trial(starting.no_jump, 1000, 20),
    Trial(starting.re_arming, 50, 2),
    Trial(starting.outside_its_travel, 50, 4),
    Trial(commands.garbage, 1_000_000, 5_000),
    Trial(commands.silence_of_the_policy, 20, 1),
    Trial(commands.lost_hand, 20, 2),
    Trial(commands.silence_of_the_commander, 20, 2),
    Trial(packets.nothing_wrong_is_believed, 1_000_000, 20_000),
    Trial(packets.losses, 60, 4),
    Trial(packets.stale_samples_hold, 24, 2),
    Trial(servos.servo_errors, 10, 1),
    Trial(servos.power_loss, 20, 2),
    Trial(servos.temperature, 10, 1),
    Trial(ending.driver_dies, 50, 4),
    Trial(ending.unplugging, 50, 4),
    Trial(ending.stopping, 10, 1),
    Trial(ending.breaking, 10, 1),
    Trial(ending.wrong_set_up, 1, 1),
)
"""Every promise that can be tried in emulated time, with either family of servos."""


def play(
    full: bool, progress: Callable[[float, str], None] | None = None,
) -> Iterator[Outcome]:
    """Try every promise with both families.

    Args:
        full: As often as the promises speak of; else as often as shows that one is broken.
        progress: Called with the share done, 0 to 1, and what is being tried.

    Yields:
        What became of each.
    """
    plays = [(trial, family) for trial in TRIALS for family in FAMILIES]
    for number, (trial, family) in enumerate(plays):
        if progress is not None:
            progress(number / len(plays), f'{trial.name}, {family}')
        yield from trial.scenario(family, trial.full if full else trial.quick)
    if progress is not None:
        progress(1.0, '')
