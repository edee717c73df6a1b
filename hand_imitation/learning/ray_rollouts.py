"""Collects experience on a Ray cluster: every worker has environments of its own.

Workers get the weights with each request. One that is lost with its machine is made again
elsewhere, with other random numbers; what it was doing is done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.learning.rollouts import Act, Rollout, Stage, joined
from hand_imitation.ray_cluster import join_cluster

_PATIENCE_S = 300.0
"""How long to wait for a cluster that has lost all its machines."""


class _Worker:
    """Steps environments on some machine of the cluster."""

    def __init__(self, make: Callable[[int], Stage], count: int, seed: int,
                 make_policy: Callable[[], Any]) -> None:
        import torch

        from hand_imitation.learning.learners import draw_actions

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self._policy, self._draw = make_policy(), draw_actions
        self._policy.set_training_mode(False)
        self._stage = make(count)
        self._stage.begin(seed)

    def collect(self, weights: dict[str, np.ndarray], steps: int, fresh: bool) -> Rollout:
        """Make some steps with these weights."""
        import torch

        self._policy.load_state_dict(
            {name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
        if fresh:
            self._stage.forget()
        return self._stage.collect(
            lambda observations: self._draw(self._policy, observations), steps)


class RayCollector:
    """Spreads environments over the cores of a cluster; see `rollouts.Collector`."""

    def __init__(self, address: str, make: Callable[[int], Stage], count: int, seed: int,
                 say: Callable[[str], None], workers: int | None = None) -> None:
        """Connect.

        Args:
            address: Of the cluster, such as 'auto' or '10.0.0.1:6379'.
            make: Makes environments; the package must be installed there.
            count: How many in all.
            seed: Of the workers' random numbers.
            say: Told about workers lost.
            workers: How many; one for each core of the cluster by default.

        Raises:
            UserError: There is no cluster.
        """
        ray = join_cluster(address)
        cores = int(ray.cluster_resources().get('CPU', 1))
        workers = max(1, min(workers or cores, count))
        self._ray, self._make, self._say = ray, make, say
        shares = [len(part) for part in np.array_split(np.arange(count), workers)]
        self._shares, self.count = shares, count
        self._random = np.random.default_rng(seed)
        self._workers: list[Any] = [None] * workers
        self._fresh = False

    def collect(self, policy: Any, act: Act, steps: int) -> Rollout:
        """See `rollouts.Collector.collect`."""
        ray = self._ray
        weights = ray.put({name: tensor.detach().cpu().numpy()
                           for name, tensor in policy.state_dict().items()})
        done: dict[int, Rollout] = {}
        pending: dict[Any, int] = {}
        deadline_s = time.monotonic() + _PATIENCE_S
        while len(done) < len(self._workers):
            for number in range(len(self._workers)):
                if number not in done and number not in pending.values():
                    pending[self._asked(number, policy, weights, steps)] = number
            ready, _ = ray.wait(list(pending), timeout=1.0)
            for reference in ready:
                number = pending.pop(reference)
                try:
                    done[number] = ray.get(reference)
                    deadline_s = time.monotonic() + _PATIENCE_S
                except ray.exceptions.RayActorError:
                    self._workers[number] = None
                    self._say(f'worker {number + 1} of {len(self._workers)} was lost: it is made '
                              'again')
                except ray.exceptions.RayTaskError as error:
                    # What went wrong in the environment is the user's to know.
                    if isinstance(error.cause, UserError):
                        raise error.cause from error
                    raise
            if time.monotonic() > deadline_s:
                raise OSError(f'the Ray cluster gave nothing for {_PATIENCE_S:.0f} s')
        self._fresh = False
        return joined([done[number] for number in range(len(self._workers))])

    def _asked(self, number: int, policy: Any, weights: Any, steps: int) -> Any:
        """Ask a worker, made if need be, for a rollout."""
        if self._workers[number] is None:
            kind: Any = type(policy)
            remote = self._ray.remote(_Worker).options(
                num_cpus=1, scheduling_strategy='SPREAD', max_restarts=0)
            self._workers[number] = remote.remote(
                self._make, self._shares[number], int(self._random.integers(2 ** 31)),
                partial(kind, **policy._get_constructor_parameters()))
        return self._workers[number].collect.remote(weights, steps, self._fresh)

    def forget(self) -> None:
        """See `rollouts.Collector.forget`."""
        self._fresh = True

    def generators(self) -> dict[str, np.random.Generator]:
        """See `rollouts.Collector.generators`; what workers draw is not kept."""
        return {'workers': self._random}

    def close(self) -> None:
        """Leave the cluster; its workers end."""
        self._ray.shutdown()
