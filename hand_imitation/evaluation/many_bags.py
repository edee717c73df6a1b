"""Replays several bags, one after the other or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hand_imitation.errors import UserError
from hand_imitation.evaluation.replay import Replayed, ReplayOptions, replay_bag
from hand_imitation.ray_cluster import in_a_line, join_cluster

MAX_RETRIES = 5
"""How often a bag is begun again when the machine that replays it dies."""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class BagsReplayed:
    """Several bags, replayed.

    Attributes:
        replayed: Those that could be scored, in the order given.
        unscored: Why the others could not, by the bag's name.
    """

    replayed: tuple[Replayed, ...]
    unscored: dict[str, str]


def replay_bags(
    paths: Sequence[Path], options: ReplayOptions, progress: Progress,
    ray_address: str | None = None,
) -> BagsReplayed:
    """Replay bags; the result does not depend on where that is done.

    Args:
        paths: The bags.
        options: How, the same for all.
        progress: Called with the share that is done, 0 to 1.
        ray_address: Of a Ray cluster, such as 'auto' or '10.0.0.1:6379'; None for here. The bags
            must be found at the same paths there, and this package be installed.

    Returns:
        What became of them.

    Raises:
        UserError: There is nothing to score in any of them, or no cluster there.
    """
    if len(paths) == 1 and ray_address is None:
        return BagsReplayed((replay_bag(paths[0], options, progress),), {})
    results = dict(
        _here(paths, options, progress) if ray_address is None
        else _on_cluster(paths, options, progress, ray_address))
    replayed = tuple(
        found for number in range(len(paths)) if isinstance(found := results[number], Replayed))
    unscored = {
        path.name: str(results[number]) for number, path in enumerate(paths)
        if not isinstance(results[number], Replayed)}
    if not replayed:
        raise UserError(next(iter(unscored.values())))
    return BagsReplayed(replayed, unscored)


def _here(
    paths: Sequence[Path], options: ReplayOptions, progress: Progress,
) -> Iterator[tuple[int, Replayed | str]]:
    """Replay bags one after the other."""
    for number, path in enumerate(paths):
        def share(of_bag: float, number: int = number) -> None:
            progress((number + of_bag) / len(paths))

        yield number, _attempt(path, options, share)
        progress((number + 1) / len(paths))


def _on_cluster(
    paths: Sequence[Path], options: ReplayOptions, progress: Progress, address: str,
) -> Iterator[tuple[int, Replayed | str]]:
    """Replay bags on a Ray cluster; one lost with its machine is begun again on another."""
    ray = join_cluster(address)
    try:
        attempt = ray.remote(_attempt).options(
            num_cpus=1, max_retries=MAX_RETRIES, scheduling_strategy='SPREAD')
        pending = {
            attempt.remote(path.resolve(), options): number for number, path in enumerate(paths)}
        while pending:
            done, _ = ray.wait(list(pending))
            for reference in done:
                yield pending.pop(reference), ray.get(reference)
            progress(1.0 - len(pending) / len(paths))
    except ray.exceptions.RayError as error:
        raise OSError(f'the Ray cluster failed: {in_a_line(error)}') from error
    finally:
        ray.shutdown()


def _attempt(
    path: Path, options: ReplayOptions, progress: Progress | None = None,
) -> Replayed | str:
    """Replay a bag, or say why it cannot be scored."""
    try:
        return replay_bag(path, options, progress)
    except UserError as error:
        return str(error)
