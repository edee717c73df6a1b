"""How long policies take to decide, on one thread, beside an optimiser on the same hands.

The hands are those of the package's sample clip, as perception sees them. All take turns, so that
what else the machine does is shared.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.evaluation.policy_rows import load_policies
from hand_imitation.evaluation.retargeting_peer import (
    ONE_THREAD,
    PEER,
    PUBLISHED_MS,
    RetargetingPeer,
)
from hand_imitation.frame_sources import open_source
from hand_imitation.human.angles import Side
from hand_imitation.human.observation import HandObservation
from hand_imitation.human.perception import StreamPerception
from hand_imitation.policy import POLICIES, load_policy, policy_name, settled_name
from hand_imitation.policy.base import Policy, unseen

FRAMES = 240
"""Of the sample clip: 8 s, in which all fingers move."""
PERCENTILES = (50, 95, 99)

_seen: list[HandObservation] = []
_policies: dict[str, Policy] = {}
"""In the process that measures."""


def measure(
    names: dict[str, str], peer: RetargetingPeer | None, rounds: int,
    progress: Callable[[float], None] = lambda share: None, frames: int = FRAMES,
) -> dict[str, np.ndarray]:
    """Time `Policy.act` of policies, and the peer.

    Args:
        names: What to load by what to call it.
        peer: The optimiser, or None.
        rounds: How often each goes through all hands; one more before, to warm up.
        progress: Called with the share done.
        frames: How many pictures of the clip.

    Returns:
        By name, and under 'peer', how long each decision took [s].
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with _one_thread(), ProcessPoolExecutor(
            1, multiprocessing.get_context('spawn')) as process:
        points, sides = process.submit(_prepare, names, frames).result()
        if peer is not None:
            found['peer'] = []
        for turn in range(rounds + 1):
            for name, times in found.items():
                if name == 'peer' and peer is not None:
                    times.append(peer.retarget(points, sides)[0])
                else:
                    times.append(process.submit(_times, name).result())
            progress((turn + 1) / (rounds + 1))
    return {name: np.concatenate(times[1:]) for name, times in found.items()}


def loadable(asked: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Find out which policies can be timed.

    Args:
        asked: Names or paths; none for all that are installed.

    Returns:
        What to load by what to call it, and why the others cannot be by name.

    Raises:
        UserError: One that was asked for cannot be loaded.
    """
    policies, unavailable = load_policies(asked, JointTable.from_urdf(load_description()))
    names = {policy_name(name): settled_name(name) for name in asked or POLICIES}
    return {called: names[called] for called in policies}, unavailable


def speed_figures(seconds: dict[str, np.ndarray], unavailable: dict[str, str],
                  why_no_peer: str | None) -> dict[str, Any]:
    """Sum up what `measure` found.

    Args:
        seconds: From it.
        unavailable: Why some policies were not measured.
        why_no_peer: Why the peer was not, or None.

    Returns:
        'ours', the median of `landmarks` or else of the first policy, 'peer', 'ratio' and
        'unit'; 'policies' with percentiles and ratios; and what there is to say of the peer.
    """
    rows = {name: _percentiles_ms(times) for name, times in seconds.items()}
    peer_ms = rows.pop('peer', None)
    peer = peer_ms['p50'] if peer_ms is not None else None
    for row in rows.values():
        row['ratio'] = round(peer / row['p50'], 2) if peer is not None else None
    first = 'landmarks' if 'landmarks' in rows else next(iter(rows))
    return {
        'ours': rows[first]['p50'], 'peer': peer, 'ratio': rows[first]['ratio'], 'unit': 'ms',
        'policy': first, 'policies': rows, 'unavailable': unavailable, 'peer_name': PEER,
        'peer_ms': peer_ms, 'peer_unavailable': why_no_peer, 'peer_published_ms': PUBLISHED_MS,
        'decisions': {name: len(times) for name, times in seconds.items()}}


def _percentiles_ms(times_s: np.ndarray) -> dict[str, Any]:
    return {f'p{p}': round(float(np.percentile(1e3 * times_s, p)), 4) for p in PERCENTILES}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Start processes in which numerical libraries use one thread."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _prepare(names: dict[str, str], frames: int) -> tuple[list[np.ndarray], list[Side]]:
    """Load policies and look at hands, in the process that measures.

    Returns:
        World points of the hands and whose they are, for the peer.
    """
    table = JointTable.from_urdf(load_description())
    _policies.update((called, load_policy(name, table)) for called, name in names.items())
    if 'torch' in sys.modules:
        sys.modules['torch'].set_num_threads(1)
    perception = StreamPerception()
    source = open_source('sample')
    for frame in range(frames):
        picture = source.read()
        if picture is None:
            break
        seen = perception.observe(picture[..., ::-1], frame / source.rate_hz)
        if seen.valid:
            _seen.append(seen)
    perception.close()
    source.close()
    return [seen.world_points for seen in _seen], [seen.side for seen in _seen]


def _times(name: str) -> np.ndarray:
    """Let a policy decide on all hands: shape (m,) [s]."""
    policy = _policies[name]
    policy.reset()
    joints = np.zeros(len(JointTable.from_urdf(load_description())))
    shown = _seen if policy.uses_perception else [unseen(seen) for seen in _seen]
    seconds = []
    for seen in shown:
        start = time.perf_counter()
        policy.act(seen, joints, seen.stamp_s)
        seconds.append(time.perf_counter() - start)
    return np.array(seconds)
