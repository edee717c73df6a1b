"""How fast the environments are, beside the original one: measured in turns, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.kinematics import Kinematics
from hand_imitation.learning.arm_pictures import make_pictures
from hand_imitation.learning.arm_world import make_world
from hand_imitation.learning.environment import HandImitationEnv
from hand_imitation.learning.landmarks_environment import (
    HandImitationLandmarksEnv,
    HandImitationLandmarksVectorEnv,
)
from hand_imitation.learning.peer import Peer
from hand_imitation.learning.vector_environment import HandImitationVectorEnv

_BATCH = 32
_LANDMARKS_BATCH = 256
_TURN_S = 0.5
"""About how long each environment runs in its turn."""


class _OnePicture:
    """The peer's own feed: one picture for ever."""

    def __init__(self) -> None:
        self._picture = np.random.default_rng(0).integers(0, 255, (56, 56, 3)).astype(np.uint8)

    def read(self) -> tuple[bool, np.ndarray]:
        """Return it, as OpenCV's captures do."""
        return True, self._picture


def measure(peer: Peer, rounds: int, progress: Callable[[float], None]) -> dict[str, Any]:
    """Let the environments run in turns and count their steps.

    All have the same observation (a pair of 56x56 pictures), 8 physics steps of 1/240 s and the
    original reward; the landmarks environment has its own of both.

    Args:
        peer: The original.
        rounds: How many turns each gets.
        progress: Told the share done.

    Returns:
        The document of `hand-imitation bench env --json`.
    """
    feed: dict[str, Any] = {
        'cap': _OnePicture(), 'epsilon': None, 'crop': False, 'check_hand': False}
    runners: dict[str, Callable[[int], int]] = {
        'batched': _vector(HandImitationVectorEnv(_BATCH, **feed)),
        'single': _single(HandImitationEnv(**feed)),
        'single_pybullet_renderer': _single(HandImitationEnv(renderer='pybullet', **feed)),
        'landmarks': _vector(HandImitationLandmarksVectorEnv(_LANDMARKS_BATCH)),
        'landmarks_single': _single(HandImitationLandmarksEnv()),
    }
    peer_steps = _steps_for(lambda steps: peer.seconds(steps))
    sizes = {name: _steps_for(_timed(run)) for name, run in runners.items()}
    rates: dict[str, list[float]] = {name: [] for name in ('peer', *runners)}
    for done in range(rounds):
        rates['peer'].append(peer_steps / peer.seconds(peer_steps))
        for name, run in runners.items():
            start = time.perf_counter()
            made = run(sizes[name])
            rates[name].append(made / (time.perf_counter() - start))
        progress((done + 1) / rounds)
    return {
        **_compared(rates, 'batched'), 'unit': 'steps/s', 'arms': _BATCH,
        'physics': 'motors, 8 steps', 'agreement': agreement(),
        'single': {**_compared(rates, 'single'), 'physics': 'pybullet, 8 steps'},
        'single_pybullet_renderer': _compared(rates, 'single_pybullet_renderer'),
        'landmarks': {**_compared(rates, 'landmarks'), 'unit': 'steps/s',
                      'arms': _LANDMARKS_BATCH},
        'landmarks_single': _compared(rates, 'landmarks_single'),
    }


def agreement(poses: int = 60, size: int = 56) -> dict[str, float]:
    """Compare the fast renderer and the motor model with PyBullet's.

    Args:
        poses: How many random poses.
        size: Side of the pictures [px].

    Returns:
        Mean and least intersection over union of the masks, over both cameras, and the mean
        difference of joints after a step from one pose to another [deg].
    """
    description = load_description()
    table = JointTable.from_urdf(description)
    kinematics = Kinematics(description, table)
    random = np.random.default_rng(0)
    targets = random.uniform(table.lower_rad, table.upper_rad, (poses, len(table)))
    world = make_world('pybullet', 1, description, table)
    model = make_world('motors', 1, description, table)
    overlaps, differences = [], []
    try:
        for follows_hand in (True, False):
            true, fast = (make_pictures(renderer, world, description, kinematics, (size, size),
                                        follows_hand) for renderer in ('pybullet', 'fast'))
            for pose in targets:
                world.place(np.array([0]), pose[np.newaxis])
                ours, theirs = (
                    pictures.draw(world.positions())[1] for pictures in (fast, true))
                overlaps.append(float((ours & theirs).sum() / (ours | theirs).sum()))
        for pose in targets:
            model.place(np.array([0]), world.positions())
            for arms in (world, model):
                arms.move(pose[np.newaxis])
            differences.append(np.degrees(np.abs(world.positions() - model.positions())).mean())
    finally:
        world.close()
    return {'mask_iou_mean': float(np.mean(overlaps)), 'mask_iou_min': float(np.min(overlaps)),
            'joint_difference_deg': float(np.mean(differences))}


def _compared(rates: dict[str, list[float]], name: str) -> dict[str, float]:
    """Medians over the turns; the ratio is that of each turn's, so that slow spells cancel."""
    ratios = np.array(rates[name]) / np.array(rates['peer'])
    return {'ours': float(np.median(rates[name])), 'peer': float(np.median(rates['peer'])),
            'ratio': float(np.median(ratios))}


def _vector(env: gym.vector.VectorEnv) -> Callable[[int], int]:
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(16)]

    def run(steps: int) -> int:
        for step in range(steps):
            env.step(actions[step % len(actions)])
        return steps * env.num_envs

    return run


def _single(env: gym.Env) -> Callable[[int], int]:
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(64)]

    def run(steps: int) -> int:
        for step in range(steps):
            env.step(actions[step % len(actions)])
        return steps

    return run


def _timed(run: Callable[[int], int]) -> Callable[[int], float]:
    def seconds(steps: int) -> float:
        start = time.perf_counter()
        run(steps)
        return time.perf_counter() - start

    return seconds


def _steps_for(seconds: Callable[[int], float]) -> int:
    """How many steps fill a turn."""
    seconds(3)
    return max(5, round(_TURN_S * 10 / seconds(10)))
