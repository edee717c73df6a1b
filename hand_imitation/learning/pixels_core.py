"""Any number of arms, each beside a picture of a hand: what the pixels environments share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from gymnasium import spaces

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.kinematics import Kinematics
from hand_imitation.errors import UserError
from hand_imitation.human.angles import Side
from hand_imitation.learning import rewards as reward_terms
from hand_imitation.learning.arm_geometry import ArmGeometry
from hand_imitation.learning.arm_pictures import RENDERERS, make_pictures
from hand_imitation.learning.arm_world import PHYSICS_STEPS, make_world, travelled
from hand_imitation.learning.feeds import (
    Feed,
    Finder,
    Hand,
    Labels,
    LandmarkFinder,
    SourceFeed,
    angles_for_arm,
    cropped,
    next_picture,
    open_feed,
    skin_mask,
)
from hand_imitation.learning.regions import ArmRegions, TargetRegions, target_regions
from hand_imitation.policy.base import lean_sign

MAX_EPISODE_STEPS = 1000
DEFAULT_REWARDS = {'original': 1.0}
CONTROLLERS = ('direct', 'travel')
_MODES = ('Direct', 'GUI')
_MAX_PIXELS = 1024
_MAX_MISSES = 100
"""Pictures in a row without a hand after which the feed is taken for one without hands."""
_STEP_S = PHYSICS_STEPS / 240.0
_TRAVEL_SPEED = 0.8
"""Share of the joints' speed used to travel; the rest is for keeping up."""
_SETTLING_STEPS = 3
Preprocess = Callable[[np.ndarray], np.ndarray]


@dataclass(eq=False)
class _Target:
    """What one arm is to imitate, ready for use."""

    picture: np.ndarray
    mask: np.ndarray
    hand_present: bool
    true_rad: np.ndarray
    regions: TargetRegions | None
    lean_sign: float


class PixelsCore:
    """Arms, targets, physics, pictures and rewards; time passes in `step` alone."""

    def __init__(
        self, count: int, cap: str | Feed = 'sample', mod: str = 'Direct',
        epsilon: float | None = 150, preprocess: Preprocess | None = None,
        resolution: Sequence[int] = (56, 56, 3), *, crop: bool = True, check_hand: bool = True,
        finder: Finder | None = None, controller: str = 'direct', physics: str = 'pybullet',
        renderer: str = 'fast', rewards: Mapping[str, float] | None = None,
        side: Side = 'right', mirror: bool = True,
    ) -> None:
        """Open the feed and make the arms; for the arguments see `HandImitationEnv`."""
        self.count = count
        self.size = _checked_size(resolution)
        self.epsilon = _checked_epsilon(epsilon)
        self.weights = checked_rewards(DEFAULT_REWARDS if rewards is None else rewards)
        _one_of('mod', mod, _MODES)
        _one_of('controller', controller, CONTROLLERS)
        _one_of('renderer', renderer, RENDERERS)
        if renderer == 'none' and (self.epsilon >= 0.0 or 'original' in self.weights):
            raise UserError("renderer 'none' shows no arm to compare: give epsilon=None and other "
                            "rewards than 'original', or choose 'fast'")
        if preprocess is not None and not callable(preprocess):
            raise UserError('preprocess must be a function that makes a mask of a picture')
        self.crop, self.check_hand, self.mirror, self.side = crop, check_hand, mirror, side
        self.controller = controller
        self.preprocess = preprocess or skin_mask
        self.finder = finder or LandmarkFinder()
        self.feed = open_feed(cap)
        description = load_description(side)
        self.table = JointTable.from_urdf(description)
        kinematics = Kinematics(description, self.table)
        self.world = make_world(physics, count, description, self.table, mod == 'GUI')
        self.pictures = make_pictures(renderer, self.world, description, kinematics, self.size,
                                      follows_hand=crop)
        self.geometry = ArmGeometry(kinematics)
        self.regions = ArmRegions(kinematics)
        self.targets: list[_Target] = []
        self.commands = np.zeros((count, 3, len(self.table)))
        self.action_space = spaces.Box(
            self.table.lower_rad.astype(np.float32), self.table.upper_rad.astype(np.float32))
        height, width = self.size
        self.observation_space = spaces.Box(0, 255, (height, 2 * width, 3), np.uint8)
        self.observations = np.zeros((count, height, 2 * width, 3), np.uint8)

    def reset(self, which: Sequence[int] | np.ndarray, random: np.random.Generator,
              start_again: bool = False) -> None:
        """Give some arms a new target and bring them to the zero pose.

        Args:
            which: Numbers of the arms.
            random: For feeds that pick.
            start_again: Start the feed from its first picture, where it can.
        """
        if start_again and callable(getattr(self.feed, 'rewind', None)):
            self.feed.rewind()  # type: ignore[attr-defined]
        for number in which:
            target = self._next_target(random)
            if number == len(self.targets):
                self.targets.append(target)
            else:
                self.targets[number] = target
        numbers = np.asarray(which)
        self.world.place(numbers, np.zeros((len(numbers), len(self.table))))
        self.commands[numbers] = 0.0

    def observe(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Look at all arms.

        Returns:
            Observations, shape (m, h, 2 w, 3); masks of the arms, shape (m, h, w); measured
            joints, shape (m, n) [rad].
        """
        positions = self.world.positions()
        shown, masks = self.pictures.draw(positions)
        width = self.size[1]
        for observation, target in zip(self.observations, self.targets, strict=True):
            observation[:, :width] = target.picture
        self.observations[:, :, width:] = shown
        return self.observations.copy(), masks, positions

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray,
                                                 dict[str, Any]]:
        """Move all arms.

        Args:
            actions: Shape (m, n) [rad].

        Returns:
            Observations, rewards, which episodes have reached their goal, and details by name,
            each with one entry for each arm; `reward_terms` holds the terms by name.
        """
        goals = self.table.clip(_checked_actions(actions, (self.count, len(self.table))))
        self.commands = np.concatenate([self.commands[:, 1:], goals[:, np.newaxis]], axis=1)
        if self.controller == 'travel':
            self._travel(goals)
        else:
            self.world.move(goals)
        observations, masks, positions = self.observe()
        mismatch = reward_terms.original(
            masks, np.array([target.mask for target in self.targets]))
        terms = self._terms(mismatch, positions)
        details = {
            'reward_terms': terms,
            'joint_rewards': reward_terms.by_joint(terms, self.weights, {
                'pose': reward_terms.pose_by_joint(positions, self.truths()),
                'smoothness': reward_terms.smoothness_by_joint(self.commands)}),
            'mismatched_pixels': -mismatch.astype(int),
            'hand_present': np.array([target.hand_present for target in self.targets]),
            'joint_positions': positions,
        }
        reached = -mismatch <= self.epsilon
        return observations, reward_terms.total(terms, self.weights), reached, details

    def close(self) -> None:
        """End the physics, and close what was opened here."""
        self.world.close()
        if isinstance(self.feed, SourceFeed):
            self.feed.close()
        if isinstance(self.finder, LandmarkFinder):
            self.finder.close()

    def _travel(self, goals: np.ndarray) -> None:
        """Travel from pose to pose until every arm has arrived."""
        start = self.world.positions()
        speed = _TRAVEL_SPEED * self.table.max_velocity_rad_s
        longest_s = float((np.abs(goals - start) / speed).max())
        steps = int(np.ceil(longest_s / _STEP_S)) + _SETTLING_STEPS
        for step in range(1, steps + 1):
            self.world.move(travelled(start, goals, speed, step * _STEP_S))

    def _terms(self, mismatch: np.ndarray, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the terms that have a weight."""
        compute: dict[str, Callable[[], np.ndarray]] = {
            'original': lambda: mismatch,
            'aligned': lambda: self._aligned(positions),
            'pose': lambda: reward_terms.pose(positions, self.truths()),
            'fingertips': lambda: reward_terms.fingertips(
                self.geometry.fingertips(positions),
                self.geometry.fingertips(np.nan_to_num(self.truths()))),
            'smoothness': lambda: reward_terms.smoothness(self.commands),
            'self_collision': lambda: reward_terms.self_collision(
                *self.geometry.capsules(positions), self.geometry.radii_m, self.geometry.pairs),
        }
        return {name: compute[name]() for name in self.weights}

    def truths(self) -> np.ndarray:
        """True poses of the targets, in the arm's terms: shape (m, n), NaN where unknown [rad]."""
        return np.array([target.true_rad for target in self.targets])

    def _aligned(self, positions: np.ndarray) -> np.ndarray:
        """The aligned reward; -1 where the target has no landmarks."""
        leaning = [self.table.index(name) for name in ('wrist', 'elbow')]
        values = []
        for target, pose in zip(self.targets, positions, strict=True):
            if target.regions is None:
                values.append(-1.0)
                continue
            person = pose.copy()
            person[leaning] *= target.lean_sign
            overlaps = reward_terms.region_overlaps(
                self.regions.masks(target.regions, person[np.newaxis]), target.regions.masks)
            values.append(float(reward_terms.aligned(overlaps)[0]))
        return np.array(values)

    def _next_target(self, random: np.random.Generator) -> _Target:
        """Read pictures until one has a hand, or the first one where that is not asked for."""
        for _ in range(_MAX_MISSES):
            picture = next_picture(self.feed, random)
            labels: Labels | None = getattr(self.feed, 'labels', None)
            hand = self._find(picture, labels)
            if hand is not None or not self.check_hand:
                return self._prepared(picture, hand, labels)
        raise UserError(f'no hand in {_MAX_MISSES} pictures in a row: show one to the camera, or '
                        'set check_hand=False and crop=False')

    def _find(self, picture: np.ndarray, labels: Labels | None) -> Hand | None:
        if labels is not None and labels.hand is not None:
            return labels.hand
        if self.crop or self.check_hand or 'aligned' in self.weights:
            return self.finder(picture)
        return None

    def _prepared(self, picture: np.ndarray, hand: Hand | None,
                  labels: Labels | None) -> _Target:
        """Crop, scale, mirror and mask a picture."""
        if self.crop and hand is not None:
            small = cropped(picture, hand, self.size)
        else:
            small = cv2.resize(picture, self.size[::-1], interpolation=cv2.INTER_AREA)
        if self.mirror:
            small = np.ascontiguousarray(small[:, ::-1])
        mask = np.asarray(self.preprocess(small))
        if mask.shape != self.size:
            raise UserError(f'preprocess gave shape {mask.shape} for a picture of {self.size}: '
                            'it must return a mask as high and wide as the picture')
        true = np.full(len(self.table), np.nan)
        if labels is not None:
            true = angles_for_arm(labels, self.table.names, self.side, self.mirror)
        elif any(name in self.weights for name in reward_terms.NEED_TRUTH):
            raise UserError("the rewards 'pose' and 'fingertips' need a feed with truth: use "
                            "'sample', LabelledPictures, or the reward 'aligned'")
        regions, sign = None, 1.0
        if 'aligned' in self.weights and hand is not None and hand.points is not None:
            regions = target_regions(hand.points, hand.side, hand.forearm_direction)
            sign = lean_sign(regions.thumb_side, self.side, self.mirror)
        return _Target(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), mask > 100, hand is not None,
                       true, regions, sign)


def details_of(details: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Take one arm's details out of those of all.

    Args:
        details: As `PixelsCore.step` gives them.
        number: Which arm.

    Returns:
        Plain numbers, and arrays of one dimension less.
    """
    one: dict[str, Any] = {}
    for name, values in details.items():
        if isinstance(values, Mapping):
            one[name] = details_of(values, number)
        else:
            value = values[number]
            one[name] = value.item() if np.ndim(value) == 0 else value
    return one


def checked_rewards(weights: Mapping[str, float]) -> dict[str, float]:
    """Check the names and weights of rewards.

    Args:
        weights: By name.

    Returns:
        The same.

    Raises:
        UserError: A name is unknown, a weight is no number, or there is none at all.
    """
    unknown = [name for name in weights if name not in reward_terms.REWARDS]
    if unknown or not weights:
        what = f"no reward '{unknown[0]}'" if unknown else 'no reward given'
        raise UserError(f'{what}: choose from {", ".join(reward_terms.REWARDS)}')
    if not all(np.isfinite(weight) for weight in weights.values()):
        raise UserError('the weights of rewards must be finite numbers')
    return dict(weights)


def _checked_actions(actions: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if actions.shape != shape:
        raise UserError(f'an action has {shape[1]} angles, this one has shape '
                        f'{actions.shape[1:]}: give one for each joint')
    if not np.isfinite(actions).all():
        raise UserError('an action holds NaN or infinity: a policy that has diverged? Actions '
                        'are finite angles in radians')
    return actions


def _checked_size(resolution: Sequence[int]) -> tuple[int, int]:
    values = tuple(resolution) if isinstance(resolution, (tuple, list)) else ()
    whole = all(isinstance(value, (int, np.integer)) for value in values)
    if len(values) != 3 or not whole or values[2] != 3 or not all(
            8 <= value <= _MAX_PIXELS for value in values[:2]):
        raise UserError(f'resolution {resolution!r} does not fit: give (height, width, 3), each '
                        f'side 8 to {_MAX_PIXELS} pixels, such as (56, 56, 3)')
    return int(values[0]), int(values[1])


def _checked_epsilon(epsilon: float | None) -> float:
    if epsilon is None:
        return -1.0
    if not (np.isfinite(epsilon) and epsilon >= 0):
        raise UserError(f'epsilon {epsilon} is no number of pixels: give 0 or more, or None')
    return float(epsilon)


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f'{option} {value!r} is unknown: choose one of {", ".join(choices)}')
