"""The environment that a controller learns in: drive arms to where moving hands are.

Hands are sequences of a motion data set: what an estimate really said of each picture, and the
truth. Arms are behind the commander's safety filter and have other servos in each episode. Every
joint is an environment of its own, so that one network learns from all of them and each joint is
paid for what it does itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.angles import HAND_JOINTS
from hand_imitation.learning.controller_loop import ArmLoop
from hand_imitation.learning.servo_model import ServoRanges
from hand_imitation.policy.landmarks_controller import (
    CONTROLLER_INPUTS,
    RATE_HZ,
    Past,
    controller_inputs,
)

EPISODE_STEPS = 60
RESIDUAL_RAD = 0.5
JERK_WEIGHT = 2e-9
"""Of the mean squared jerk [(rad/s^3)^2], against radians of error."""
_JERK_HZ = 120.0
_JOINTS = len(HAND_JOINTS)
_UNMEASURED = 0.1
"""Share of the arms that do not measure their joints, so that a controller can do without."""
_LATENCY_PICTURES = 0.6
"""The targets of a picture are with the commander this much of a frame later, 20 ms."""
_AHEAD = 2
"""Pictures after an action in which its consequences lie."""


@dataclass(frozen=True, eq=False)
class Hands:
    """What an estimate said of moving hands, s sequences of f pictures at 30 Hz.

    Attributes:
        estimates_rad: Shape (s, f, 10), NaN where it said nothing [rad].
        truth_rad: Shape (s, f, 10) [rad].
    """

    estimates_rad: np.ndarray
    truth_rad: np.ndarray


def hand_joints(table: JointTable) -> JointTable:
    """Give the part of a table that a controller drives, in the order of `HAND_JOINTS`."""
    order = [table.index(name) for name in HAND_JOINTS]
    return JointTable(HAND_JOINTS, *(values[order] for values in (
        table.lower_rad, table.upper_rad, table.max_velocity_rad_s, table.max_effort_nm)))


class Following:
    """Arms that follow hands: what happens between one picture and the next.

    Args:
        count: How many arms.
        hands: Whom they follow.
        table: Joints, from `hand_joints`.
        servos: Between what servos' numbers are drawn.
    """

    def __init__(self, count: int, hands: Hands, table: JointTable,
                 servos: ServoRanges | None = None) -> None:
        self.count, self.hands, self.table = count, hands, table
        self.past = Past(count)
        self._loop = ArmLoop(count, table, 1.0 / RATE_HZ, servos=servos)
        self._sequence, self.picture = np.zeros(count, int), np.zeros(count, int)
        self._measures = np.ones(count, dtype=bool)
        self._tail: np.ndarray = np.zeros((3, count, _JOINTS))
        self.measured: np.ndarray = np.zeros((count, _JOINTS))

    def begin(self, which: np.ndarray, sequences: np.ndarray, pictures: np.ndarray,
              random: np.random.Generator, unmeasured: float = _UNMEASURED) -> None:
        """Let some arms follow others, or from elsewhere, beginning at the true pose.

        Args:
            which: Shape (k,), numbers of the arms.
            sequences: Shape (k,), whom they follow.
            pictures: Shape (k,), from which picture on; something was seen in it.
            random: Where servos are drawn from.
            unmeasured: Share of the arms that do not measure their joints.
        """
        self._sequence[which], self.picture[which] = sequences, pictures
        start = self.table.clip(self.hands.truth_rad[sequences, pictures])
        self._loop.reset(which, start, random)
        self._tail[:, which] = start
        self._measures[which] = random.random(len(which)) >= unmeasured
        self.past.begin(which, self.hands.estimates_rad[sequences, pictures])
        self._measure(random)

    def observe(self) -> np.ndarray:
        """What the controller sees: shape (m, 10, CONTROLLER_INPUTS)."""
        return controller_inputs(self.past, self.measured)

    def step(self, goals_rad: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Send joints somewhere, until the next picture has been judged.

        Args:
            goals_rad: Shape (m, 10); not sent where nothing was seen [rad].
            random: For noise.

        Returns:
            Shape (m, 10): 'error', mean absolute, while this target was the newest [rad]; and
            'jerk', its mean square [(rad/s^3)^2].
        """
        goals = self.table.clip(goals_rad)
        sent = self.past.seen[:, :1] > 0.0
        self.past.sent(np.where(sent, goals, self.past.goals[:, 0]))
        times_s = self._loop.step(np.where(sent, goals, np.nan))
        trace = self._loop.trace
        error = np.abs(trace - self._truth_at(times_s)).mean(axis=0)
        # Every other position: as often as a viewer would look, and even across pictures.
        looked = np.concatenate([self._tail, trace[1::2]])
        jerk = (np.diff(looked, 3, axis=0) ** 2).mean(axis=0) * _JERK_HZ ** 6
        self._tail = looked[-3:]
        self.picture += 1
        estimates = self.hands.estimates_rad[self._sequence, self.picture]
        self.past.add(estimates, np.isfinite(estimates).all(axis=1))
        self._measure(random)
        return {'error': error, 'jerk': jerk, 'positions': trace[-1]}

    def truth(self, ahead: float = 0.0) -> np.ndarray:
        """The true pose some pictures ahead, within the limits: shape (m, 10) [rad]."""
        first = int(np.floor(ahead))
        last = self.hands.truth_rad.shape[1] - 1
        now, later = (self.hands.truth_rad[self._sequence, np.minimum(self.picture + n, last)]
                      for n in (first, first + 1))
        return self.table.clip(now + (ahead - first) * (later - now))

    def _truth_at(self, times_s: np.ndarray) -> np.ndarray:
        """The true pose at some times from the newest picture on: shape (k, m, 10) [rad]."""
        places = times_s * RATE_HZ
        first = np.floor(places).astype(int)
        share = (places - first)[:, np.newaxis, np.newaxis]
        truth = self.hands.truth_rad
        pictures = np.minimum(self.picture + np.arange(_AHEAD + 1)[:, np.newaxis],
                              truth.shape[1] - 1)
        near = truth[self._sequence, pictures]
        return near[first] + share * (near[first + 1] - near[first])

    def _measure(self, random: np.random.Generator) -> None:
        measured = self._loop.servos.measured(random)
        self.measured = np.where(self._measures[:, np.newaxis], measured, np.nan)


class ControllerVectorEnv(VectorEnv):
    """`Following` for learners: each joint of each arm is an environment.

    An action is how far from where a predictor would send the joint, or from the newest estimate
    without one, to send it instead, -1 and 1 being `residual_rad`. What the predictor says is
    part of the observation, last. Episodes are cut off after `max_episode_steps`; the next one
    begins in the same step.
    """

    metadata = {'render_modes': [], 'autoreset_mode': AutoresetMode.SAME_STEP}

    def __init__(self, num_arms: int, hands: Hands, table: JointTable, *,
                 predict: Callable[[np.ndarray], np.ndarray] | None = None,
                 residual_rad: float = RESIDUAL_RAD, jerk_weight: float = JERK_WEIGHT,
                 max_episode_steps: int = EPISODE_STEPS,
                 servos: ServoRanges | None = None) -> None:
        """Make the environments.

        Args:
            num_arms: How many arms; there are ten environments for each.
            hands: Whom they follow.
            table: Joints, from `hand_joints`.
            predict: From observations, shape (k, CONTROLLER_INPUTS), to how far from the newest
                estimates a predictor would send the joints, shape (k,) [rad].
            residual_rad: How far from there a joint may be sent.
            jerk_weight: Of the mean squared jerk against the error.
            max_episode_steps: Length of an episode.
            servos: Between what servos' numbers are drawn.
        """
        pictures = hands.estimates_rad.shape[1]
        if num_arms < 1 or not 1 <= max_episode_steps <= pictures - _AHEAD - 1:
            raise UserError(f'{num_arms} arms and {max_episode_steps} steps do not fit: give at '
                            f'least 1, and at most {pictures - _AHEAD - 1} steps')
        self.following = Following(num_arms, hands, table, servos)
        self.num_envs = num_arms * _JOINTS
        self.render_mode = None
        self.single_observation_space = spaces.Box(
            -np.inf, np.inf, (CONTROLLER_INPUTS + 1,), np.float32)
        self._predict = predict
        self._ahead = np.zeros((num_arms, _JOINTS))
        self.single_action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._residual_rad, self._jerk_weight = residual_rad, jerk_weight
        self._max_steps = max_episode_steps
        self._elapsed: np.ndarray = np.zeros(num_arms, dtype=int)
        seen = np.isfinite(hands.estimates_rad).all(axis=2)
        # Where an episode may begin: on a picture with an estimate, early enough to last.
        self._starts = np.argwhere(seen[:, :pictures - max_episode_steps - _AHEAD])
        if not len(self._starts):
            raise UserError('no hand was seen long enough to follow it: give other data')

    def reset(self, *, seed: int | list[int | None] | None = None,
              options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin all episodes, at different points so that they do not end together."""
        if seed is not None:
            first = seed[0] if isinstance(seed, list) else seed
            self._np_random, self._np_random_seed = seeding.np_random(first)
        self._begin(np.arange(self.following.count))
        self._elapsed = self.np_random.integers(0, self._max_steps, self.following.count)
        return self._observe(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray,
                                                 dict[str, Any]]:
        """Send all joints somewhere."""
        following = self.following
        residual = self._residual_rad * np.clip(
            np.asarray(actions, dtype=float), -1.0, 1.0).reshape(-1, _JOINTS)
        outcome = following.step(
            following.past.estimates[:, 0] + self._ahead + residual, self.np_random)
        error, jerk = outcome['error'].ravel(), outcome['jerk'].ravel()
        rewards = -error - self._jerk_weight * jerk
        self._elapsed += 1
        over = self._elapsed >= self._max_steps
        observations = self._observe()
        details: dict[str, Any] = {
            'joint_rewards': rewards[:, np.newaxis],
            'reward_terms': {'pose': -error, 'jerk': -jerk},
            'joint_positions': outcome['positions'].reshape(-1, 1),
            'truth': following.truth(_LATENCY_PICTURES).reshape(-1, 1)}
        truncated = np.repeat(over, _JOINTS)
        if over.any():
            details = {**details, 'final_obs': observations, 'final_info': details,
                       '_final_obs': truncated, '_final_info': truncated}
            self._begin(np.flatnonzero(over))
            self._elapsed[over] = 0
            observations = self._observe()
        return observations, rewards, np.zeros(self.num_envs, dtype=bool), truncated, details

    def _begin(self, which: np.ndarray) -> None:
        starts = self._starts[self.np_random.integers(0, len(self._starts), len(which))]
        self.following.begin(which, starts[:, 0], starts[:, 1], self.np_random)

    def _observe(self) -> np.ndarray:
        seen = self.following.observe().reshape(self.num_envs, CONTROLLER_INPUTS)
        ahead = np.zeros(self.num_envs) if self._predict is None else self._predict(seen)
        self._ahead = ahead.reshape(-1, _JOINTS)
        return np.concatenate([seen, ahead[:, np.newaxis].astype(np.float32)], axis=1)
