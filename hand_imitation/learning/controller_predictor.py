"""What a controller starts from: a predictor, learned by supervision.

It sees what the controller sees, and learns where the hand will be when the arm can be there.
What it sees depends on where it sent the joints before, so it is taught again on what came of
that (Ross, Gordon and Bagnell, "A reduction of imitation learning and structured prediction to
no-regret online learning", AISTATS 2011).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.learning.controller_environment import RESIDUAL_RAD, Following, Hands
from hand_imitation.learning.shards import Arrays
from hand_imitation.policy.checkpoint import Checkpoint
from hand_imitation.policy.landmarks_controller import (
    CONTROLLER_INPUTS,
    CONTROLLER_VERSION,
)
from hand_imitation.policy.landmarks_network import (
    Network,
    build_mlp,
    landmark_features,
    mlp_tensors,
)

LAYOUT = {'version': CONTROLLER_VERSION, 'inputs': CONTROLLER_INPUTS, 'hidden': [128, 128],
          'outputs': 1, 'residual_rad': RESIDUAL_RAD}
LEAD_PICTURES = 5.0
"""How far ahead of a picture the hand's pose is learned: with the truth known, the least error
comes of sending joints to where the hand is 5 pictures later, of 0 to 6 tried."""
ROUNDS = 3
_BATCH = 2048
_LEARNING_RATE = 1e-3
_FIRST_PICTURES = 8
"""Not learned from: there is no past yet."""


def recorded_hands(arrays: Arrays, checkpoint: Checkpoint) -> Hands:
    """Give what an estimate says of the sequences of a data set.

    Args:
        arrays: Of kind 'motion'.
        checkpoint: Holds the estimate.

    Returns:
        The whole sequences in which a hand was seen at least four fifths of the time, the first
        picture included.
    """
    from hand_imitation.learning.sequences import SEQUENCE_FRAMES

    said = said_of(arrays, checkpoint)
    said[np.logical_not(arrays['seen_settled'])] = np.nan
    whole = len(said) // SEQUENCE_FRAMES
    shape = whole, SEQUENCE_FRAMES, said.shape[1]
    estimates = said[:whole * SEQUENCE_FRAMES].reshape(shape)
    truth = arrays['angles_rad'][:whole * SEQUENCE_FRAMES, :said.shape[1]].reshape(shape)
    seen = np.asarray(np.isfinite(estimates).all(axis=2))
    good = (seen.mean(axis=1) >= 0.8) & seen[:, 0]
    return Hands(estimates[good], truth[good].astype(float))


def said_of(arrays: Arrays, checkpoint: Checkpoint) -> np.ndarray:
    """Give what an estimate says of each picture of a data set.

    Args:
        arrays: Of kind 'landmarks' or 'motion'.
        checkpoint: Holds the estimate.

    Returns:
        Shape (k, 10), within the limits, NaN where no hand was detected [rad].
    """
    network = Network(checkpoint, 'estimate', checkpoint.layout['estimate'])
    found = network(landmark_features(
        arrays['seen_world_m'].astype(float), arrays['seen_image_px'].astype(float),
        arrays['seen_right'], arrays['seen_score'], arrays['seen_forearm'].astype(float),
        arrays['seen_forearm_source'] == 'skin'))[:, :10].astype(float)
    found = np.clip(found, 0.0, np.radians(89.0))
    found[np.logical_not(arrays['detected'])] = np.nan
    return found


def learn_predictor(
    hands: Hands, table: JointTable, seed: int, share: Callable[[int], float],
    progress: Callable[[float], None] = lambda share: None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, np.ndarray]:
    """Learn a predictor.

    Args:
        hands: Whom to follow.
        table: Joints, from `hand_joints`.
        seed: Of weights, servos and batches.
        share: From the number of examples looked at, one joint in one picture each, to the share
            of the budget that is used up.
        progress: Told that share.
        stop: Asked whether to stop.

    Returns:
        Tensors by the names that `JointController` looks for.
    """
    import torch

    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = build_mlp(LAYOUT)
    done = 0

    def predict(inputs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            told = network(torch.from_numpy(inputs)).numpy()[:, 0]
        return RESIDUAL_RAD * np.clip(told, -1.0, 1.0)

    for number in range(ROUNDS):
        network.eval()
        inputs, wanted = _examples(hands, table, predict if number else None, random)
        if number == 0:
            network.mean.copy_(torch.from_numpy(inputs.mean(axis=0)))
            network.scale.copy_(torch.from_numpy(1.0 / (inputs.std(axis=0) + 1e-2)))
        done = _teach(network, torch.from_numpy(inputs), torch.from_numpy(wanted), done,
                      partial(_of_round, share, number), stop)
        progress(min(share(done), 1.0))
    network.eval()
    return mlp_tensors(network, 'predictor')


def _examples(hands: Hands, table: JointTable, predict: Callable[[np.ndarray], np.ndarray] | None,
              random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Let arms follow, and note what was seen and how far from the estimates the hand will be."""
    count, pictures = hands.estimates_rad.shape[:2]
    following = Following(count, hands, table)
    following.begin(np.arange(count), np.arange(count), np.zeros(count, dtype=int), random)
    inputs, wanted = [], []
    for picture in range(pictures - int(LEAD_PICTURES) - 3):
        seen = following.observe()
        newest = following.past.estimates[:, 0]
        if picture >= _FIRST_PICTURES:
            now = following.past.seen[:, 0] > 0.0
            inputs.append(seen[now].reshape(-1, CONTROLLER_INPUTS))
            ahead = following.truth(LEAD_PICTURES) - newest
            wanted.append(ahead[now].ravel().astype(np.float32))
        goals = newest
        if predict is not None:
            goals = newest + predict(seen.reshape(-1, CONTROLLER_INPUTS)).reshape(count, -1)
        following.step(goals, random)
    return np.concatenate(inputs), np.concatenate(wanted)


def _of_round(share: Callable[[int], float], number: int, done: int) -> float:
    """Tell the share of a round's budget that is used up."""
    return ROUNDS * share(done) - number


def _teach(network: Any, inputs: Any, wanted: Any, done: int, share: Callable[[int], float],
           stop: Callable[[], bool]) -> int:
    """Learn from examples until the round is over; returns how many were looked at in all.

    The error counts as it is, not squared, as tracking is judged.
    """
    import torch

    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-3)
    network.train()
    while True:
        for rows in torch.randperm(len(inputs)).split(_BATCH):
            used = max(share(done), 0.0)
            if used >= 1.0 or stop():
                return done
            for group in optimizer.param_groups:
                group['lr'] = _LEARNING_RATE * min(used / 0.05, 1.0) * max(1.0 - used, 0.02)
            told = RESIDUAL_RAD * network(inputs[rows])[:, 0]
            loss = (told - wanted[rows]).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += len(rows)
