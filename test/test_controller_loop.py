"""The batched loop that controllers learn in does what safety filter and tracking do."""

import numpy as np
import pytest

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import Measured, SafetyFilter, SafetyParameters, Target
from hand_imitation.human.angles import HAND_JOINTS
from hand_imitation.learning.controller_environment import (
    ControllerVectorEnv,
    Following,
    Hands,
    hand_joints,
)
from hand_imitation.learning.controller_loop import ArmLoop, CommanderModel
from hand_imitation.learning.servo_model import IDEAL

TABLE = hand_joints(JointTable.from_urdf(load_description()))
JOINTS = len(HAND_JOINTS)


def wandering_targets(random, frames):
    """Targets that wander, jump, end and leave joints out, frame by frame."""
    walk = 0.7 + 0.5 * np.cumsum(random.normal(0.0, 0.2, (frames, JOINTS)), axis=0)
    walk[random.random((frames, JOINTS)) < 0.05] += 1.3
    walk = TABLE.clip(walk)
    # Runs of pictures without a hand, some longer than the input timeout, and single joints.
    gone = np.convolve(random.random(frames) < 0.04, np.ones(6), 'full')[:frames] > 0.0
    walk[gone] = np.nan
    walk[random.random((frames, JOINTS)) < 0.03] = np.nan
    return walk


def test_the_commander_model_commands_what_the_safety_filter_commands():
    parameters = SafetyParameters()
    random = np.random.default_rng(0)
    start = random.uniform(0.2, 1.2, JOINTS)
    real = SafetyFilter(TABLE, parameters)
    state = real.initial_state()
    model = CommanderModel(1, TABLE, parameters)

    def step(now_s, target):
        nonlocal state
        state, command = real.step(state, target, Measured(TABLE.names, start, now_s), now_s)
        return command.positions

    # Past the start ramp first, which the model leaves out.
    for tick in range(400):
        now_s = tick / 100.0
        step(now_s, Target(TABLE.names, start, now_s, 0.0, now_s))
    model.step(None, now_s)
    model.reset(np.array([0]), start[np.newaxis])
    targets = wandering_targets(random, 300)
    moved = 0.0
    for frame, values in enumerate(targets):
        for tick in range(3):
            now_s = 4.0 + frame / 30.0 + tick / 100.0
            known = np.isfinite(values)
            fresh = tick == 0 and known.any()
            names = tuple(name for name, has in zip(TABLE.names, known, strict=True) if has)
            target = Target(names, values[known], now_s, 0.0, now_s) if fresh else None
            commands = step(now_s, target)
            model.step(values[np.newaxis] if fresh else None, now_s)
            np.testing.assert_allclose(model.commands[0], commands, atol=1e-9)
            moved = max(moved, float(np.abs(commands - start).max()))
    assert moved > 0.5


def test_arms_of_a_batch_do_not_touch_each_other():
    random = np.random.default_rng(1)
    starts, goals = random.uniform(0.0, 1.5, (2, 3, JOINTS))
    together = ArmLoop(3, TABLE, 1.0 / 30.0, servos=IDEAL)
    together.reset(np.arange(3), starts, random)
    for _ in range(20):
        together.step(goals)
    alone = ArmLoop(1, TABLE, 1.0 / 30.0, servos=IDEAL)
    alone.reset(np.array([0]), starts[1:2], random)
    for _ in range(20):
        alone.step(goals[1:2])
    np.testing.assert_allclose(together.trace[:, 1], alone.trace[:, 0])
    np.testing.assert_allclose(together.trace[-1], goals, atol=1e-3)


def made_up_hands(sequences=3, pictures=60):
    """Hands that open and close, estimated with a constant error."""
    phase = np.linspace(0.0, 6.0, sequences)[:, np.newaxis]
    closing = 0.7 + 0.6 * np.sin(np.arange(pictures) / 10.0 + phase)
    truth = np.repeat(closing[..., np.newaxis], JOINTS, axis=2)
    estimates = truth + 0.1
    estimates[:, 20:23] = np.nan
    return Hands(estimates, truth)


def test_the_truth_a_little_ahead_follows_better_than_the_truth():
    hands, errors = made_up_hands(), []
    for ahead in (0.0, 4.0):
        random = np.random.default_rng(2)
        following = Following(3, hands, TABLE)
        following.begin(np.arange(3), np.arange(3), np.zeros(3, dtype=int), random)
        errors.append(np.mean([following.step(following.truth(ahead), random)['error']
                               for _ in range(50)]))
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize('residual', [0.0, -0.2])
def test_each_joint_of_the_environment_is_paid_for_its_own_error(residual):
    environment = ControllerVectorEnv(4, made_up_hands(), TABLE, servos=IDEAL, jerk_weight=0.0,
                                      max_episode_steps=30)
    environment.reset(seed=3)
    actions = np.zeros((4, JOINTS))
    actions[:, 3] = residual / 0.5
    rewards = []
    for _ in range(60):
        observation, reward, _, _, details = environment.step(actions.reshape(-1, 1))
        assert environment.observation_space.contains(observation)
        np.testing.assert_array_equal(details['joint_rewards'][:, 0], reward)
        rewards.append(reward.reshape(4, JOINTS).mean(axis=0))
    rewards = np.mean(rewards, axis=0)
    others = np.delete(rewards, 3)
    np.testing.assert_allclose(others, others[0], rtol=1e-6)
    assert (rewards[3] == pytest.approx(others[0])) == (residual == 0.0)


def test_the_environment_repeats_itself_with_the_same_seed():
    rollouts = []
    for _ in range(2):
        environment = ControllerVectorEnv(2, made_up_hands(), TABLE, max_episode_steps=20)
        seen = [environment.reset(seed=4)[0]]
        random = np.random.default_rng(5)
        for _ in range(30):
            seen.append(environment.step(random.uniform(-1.0, 1.0, (2 * JOINTS, 1)))[0])
        rollouts.append(np.array(seen))
    np.testing.assert_array_equal(*rollouts)
