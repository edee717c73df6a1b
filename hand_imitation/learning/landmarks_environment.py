"""`hand_imitation/HandImitationLandmarks-v0`: follow a moving hand with servos as they are.

The observation is what a controller has: landmarks and estimates that are noisy, late and
sometimes missing, measured joints, and its own past commands. The reward uses the truth. Actions
are in [-1, 1]. A step lasts 1/30 s. Wrist and elbow are in the person's terms throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.kinematics import Kinematics
from hand_imitation.errors import UserError
from hand_imitation.human.angles import JOINTS
from hand_imitation.learning import rewards as reward_terms
from hand_imitation.learning.arm_geometry import ArmGeometry
from hand_imitation.learning.pixels_core import checked_rewards, details_of
from hand_imitation.learning.servo_model import RATE_HZ, ServoModel, ServoRanges
from hand_imitation.learning.stick_people import People, PerceptionFaults, StickPeople
from hand_imitation.policy.landmarks_observation import ACTIONS, assembled, observation_sizes

MAX_EPISODE_STEPS = 300
STEP_S = 1.0 / 30.0
DEFAULT_REWARDS = {'pose': 1.0, 'smoothness': 0.1}
_TERMS = ('pose', 'fingertips', 'smoothness', 'self_collision')
_SUBSTEPS = round(RATE_HZ * STEP_S)
_FAULTS = PerceptionFaults()


class LandmarksCore:
    """Any number of people, each with an arm to follow them."""

    def __init__(
        self, count: int, *, people: People | None = None, moving: bool = True,
        faults: PerceptionFaults | None = _FAULTS, servos: ServoRanges | None = None,
        action: str = 'absolute', residual_rad: float = 0.4, history: int = 8,
        rewards: Mapping[str, float] | None = None,
    ) -> None:
        """Make people and arms; for the arguments see `HandImitationLandmarksEnv`."""
        if action not in ACTIONS:
            raise UserError(f'action {action!r} is unknown: choose one of {", ".join(ACTIONS)}')
        if not 1 <= history <= 64:
            raise UserError(f'history {history} does not fit: give 1 to 64 steps')
        self.weights = checked_rewards(DEFAULT_REWARDS if rewards is None else rewards)
        pictured = [name for name in self.weights if name not in _TERMS]
        if pictured:
            raise UserError(f"the reward '{pictured[0]}' needs pictures, which this environment "
                            f'has none of: choose from {", ".join(_TERMS)}')
        self.count = count
        description = load_description()
        self.table = JointTable.from_urdf(description)
        self._order = np.array([JOINTS.index(name) for name in self.table.names])
        self.geometry = ArmGeometry(Kinematics(description, self.table))
        self.people = people or StickPeople(count, moving, faults)
        self.servos = ServoModel(count, self.table, servos)
        self._residual_rad = residual_rad if action == 'residual' else None
        self._middle = (self.table.upper_rad + self.table.lower_rad) / 2.0
        self._half = (self.table.upper_rad - self.table.lower_rad) / 2.0
        joints = len(self.table)
        sizes = observation_sizes(history, joints)
        ends = np.cumsum(list(sizes.values()))
        self.layout = {name: slice(int(end - size), int(end))
                       for (name, size), end in zip(sizes.items(), ends, strict=True)}
        self._past = {name: np.zeros((count, history, joints))
                      for name in ('estimates', 'joints', 'commands')}
        self._past_valid = np.zeros((count, history))
        self._points: np.ndarray = np.zeros((count, 63))
        # Pictures that perception is still working on, the newest first.
        self._coming: list[tuple[np.ndarray, ...]] = []
        self._commands = np.zeros((count, 3, joints))
        self.observation_space = spaces.Box(-10.0, 10.0, (int(ends[-1]),), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (joints,), np.float32)

    def reset(self, which: np.ndarray, random: np.random.Generator) -> None:
        """Give some arms another person and other servos, standing anywhere.

        Args:
            which: Shape (k,), numbers of the arms.
            random: Where to draw from.
        """
        self.people.reset(which, random)
        start = random.uniform(self.table.lower_rad, self.table.upper_rad,
                               (len(which), len(self.table)))
        self.servos.reset(which, start, random)
        self._commands[which] = start[:, np.newaxis]
        scaled = ((start - self._middle) / self._half)[:, np.newaxis]
        self._past['joints'][which] = self._past['commands'][which] = scaled
        # A first look, from before the episode, so that there is something to start from.
        sight = self._look(random)
        self._points[which] = sight[0][which]
        self._past['estimates'][which] = sight[1][which][:, np.newaxis]
        self._past_valid[which] = sight[2][which][:, np.newaxis]
        # It is also what perception was working on before, however long that takes.
        longest = int(np.round(self.people.delays_s() / STEP_S).max(initial=0))
        while len(self._coming) < longest:
            self._coming.append(tuple(part.copy() for part in (self._coming or [sight])[-1]))
        for one in self._coming:
            for kept, fresh in zip(one, sight, strict=True):
                kept[which] = fresh[which]

    def observe(self) -> np.ndarray:
        """What the controllers have: shape (m, observations), float32; see `layout`."""
        past = self._past
        return assembled(self._points, past['estimates'], self._past_valid, past['joints'],
                         past['commands'])

    def baseline(self) -> np.ndarray:
        """The newest estimate, within the limits: shape (m, n) [rad]."""
        newest = self._past['estimates'][:, 0] * self._half + self._middle
        return self.table.clip(newest)

    def step(self, actions: np.ndarray, random: np.random.Generator,
             ) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """Command all arms and let 1/30 s pass.

        Args:
            actions: Shape (m, n), -1 to 1.
            random: For noise.

        Returns:
            Observations, rewards and details, as `PixelsCore.step` gives them.
        """
        if actions.shape != (self.count, len(self.table)):
            raise UserError(f'an action has {len(self.table)} numbers, this one has shape '
                            f'{actions.shape[1:]}: give one for each joint')
        if not np.isfinite(actions).all():
            raise UserError('an action holds NaN or infinity: a policy that has diverged? '
                            'Actions are numbers from -1 to 1')
        actions = np.clip(actions, -1.0, 1.0)
        if self._residual_rad is None:
            goals = self._middle + actions * self._half
        else:
            goals = self.table.clip(self.baseline() + self._residual_rad * actions)
        self._commands = np.concatenate(
            [self._commands[:, 1:], goals[:, np.newaxis]], axis=1)
        self.servos.step(goals, _SUBSTEPS)
        self.people.advance(STEP_S, random)
        self._remember(goals, random)
        positions, truth = self.servos.positions(), self.people.truth()[:, self._order]
        terms = self._terms(positions, truth)
        joint_rewards = reward_terms.by_joint(terms, self.weights, {
            'pose': reward_terms.pose_by_joint(positions, truth),
            'smoothness': reward_terms.smoothness_by_joint(self._commands)})
        details = {'reward_terms': terms, 'joint_rewards': joint_rewards,
                   'joint_positions': positions, 'truth': truth, 'commands': goals}
        return self.observe(), reward_terms.total(terms, self.weights), details

    def _look(self, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Landmarks, scaled estimates and validity of a picture taken now."""
        sight = self.people.look(random)
        estimates = (sight.estimates_rad[:, self._order] - self._middle) / self._half
        return (sight.points.reshape(self.count, 63).copy(), estimates,
                sight.valid.astype(float))

    def _remember(self, goals: np.ndarray, random: np.random.Generator) -> None:
        """Take a picture, receive the one that perception is done with, measure the joints."""
        late = np.round(self.people.delays_s() / STEP_S).astype(int)
        self._coming.insert(0, self._look(random))
        del self._coming[int(late.max(initial=0)) + 1:]
        late = np.minimum(late, len(self._coming) - 1)
        arms = np.arange(self.count)
        points, estimates, valid = (
            np.stack(parts)[late, arms] for parts in zip(*self._coming, strict=True))
        seen = valid[:, np.newaxis] > 0.0
        self._points = np.where(seen, points, self._points)
        newest = {
            'estimates': np.where(seen, estimates, self._past['estimates'][:, 0]),
            'joints': (self.servos.measured(random) - self._middle) / self._half,
            'commands': (goals - self._middle) / self._half}
        for name, past in self._past.items():
            past[:, 1:] = past[:, :-1].copy()
            past[:, 0] = newest[name]
        self._past_valid[:, 1:] = self._past_valid[:, :-1].copy()
        self._past_valid[:, 0] = valid

    def _terms(self, positions: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the terms that have a weight."""
        compute = {
            'pose': lambda: reward_terms.pose(positions, truth),
            'fingertips': lambda: reward_terms.fingertips(
                self.geometry.fingertips(positions), self.geometry.fingertips(truth)),
            'smoothness': lambda: reward_terms.smoothness(self._commands),
            'self_collision': lambda: reward_terms.self_collision(
                *self.geometry.capsules(positions), self.geometry.radii_m, self.geometry.pairs),
        }
        return {name: compute[name]() for name in self.weights}


class HandImitationLandmarksEnv(gym.Env[np.ndarray, np.ndarray]):
    """One person and one arm; see the module, and `layout` for what is where.

    An observation holds the newest landmarks (21 points from the wrist, in lengths of the palm),
    then histories, the newest first: estimates of the pose, whether a hand was detected, measured
    joints, own commands. Angles are scaled so that joint limits are at -1 and 1. Where no hand was
    detected the last landmarks and estimate stay.
    """

    metadata = {'render_modes': [], 'render_fps': 30}

    def __init__(self, *, render_mode: str | None = None, **options: Any) -> None:
        """Make the environment.

        Args:
            render_mode: None: there is nothing to see.
            options: people: who is before the camera (see `stick_people.People`); by default
                stick people. moving: whether they move, or hold one pose an episode. faults: what
                is wrong with estimates, None for nothing. servos: between what servos' numbers
                are drawn. action: 'absolute', -1 and 1 are the joint limits, or 'residual', what
                is added to the newest estimate. residual_rad: how much that is at most. history:
                how many steps are remembered. rewards: weights by name.

        Raises:
            UserError: An option makes no sense.
        """
        self.render_mode = render_mode
        self.core = LandmarksCore(1, **options)
        self.layout = self.core.layout
        self.action_space = self.core.action_space
        self.observation_space = self.core.observation_space

    def reset(self, *, seed: int | None = None,
              options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin with another person and other servos."""
        super().reset(seed=seed)
        self.core.reset(np.array([0]), self.np_random)
        return self.core.observe()[0], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Command the arm; episodes have no end of their own."""
        observations, reward, details = self.core.step(
            np.asarray(action, dtype=float)[np.newaxis], self.np_random)
        return observations[0], float(reward[0]), False, False, details_of(details, 0)


class HandImitationLandmarksVectorEnv(VectorEnv):
    """As many of `HandImitationLandmarksEnv` as asked for, computed together.

    Episodes are cut off after `max_episode_steps`; the next one begins in the
    same step, the last observation and details being in `infos['final_obs']` and
    `infos['final_info']`.
    """

    metadata = {'render_modes': [], 'autoreset_mode': AutoresetMode.SAME_STEP}

    def __init__(self, num_envs: int = 64, *, max_episode_steps: int = MAX_EPISODE_STEPS,
                 **options: Any) -> None:
        """Make the environments.

        Args:
            num_envs: How many.
            max_episode_steps: Length of an episode.
            options: As in `HandImitationLandmarksEnv`.
        """
        if num_envs < 1 or max_episode_steps < 1:
            raise UserError(f'{num_envs} environments of {max_episode_steps} steps: give at '
                            'least 1 of each')
        self.core = LandmarksCore(num_envs, **options)
        self.layout = self.core.layout
        self.num_envs = num_envs
        self.single_action_space = self.core.action_space
        self.single_observation_space = self.core.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.render_mode = None
        self._max_steps = max_episode_steps
        self._elapsed = np.zeros(num_envs, dtype=int)

    def reset(self, *, seed: int | list[int | None] | None = None,
              options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin all episodes."""
        if seed is not None:
            first = seed[0] if isinstance(seed, list) else seed
            self._np_random, self._np_random_seed = seeding.np_random(first)
        self.core.reset(np.arange(self.num_envs), self.np_random)
        self._elapsed[:] = 0
        return self.core.observe(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray,
                                                 dict[str, Any]]:
        """Command all arms."""
        observations, rewards, details = self.core.step(
            np.asarray(actions, dtype=float), self.np_random)
        self._elapsed += 1
        truncated = self._elapsed >= self._max_steps
        if truncated.any():
            details = {**details, 'final_obs': observations, 'final_info': details,
                       '_final_obs': truncated, '_final_info': truncated}
            self.core.reset(np.flatnonzero(truncated), self.np_random)
            self._elapsed[truncated] = 0
            observations = self.core.observe()
        return observations, rewards, np.zeros(self.num_envs, dtype=bool), truncated, details
