"""dex-retargeting, in a Python environment of its own, on our arm and the same poses.

It needs packages that it does not declare, and brings its own kinematics: so it is never imported
here, and a process of its own runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.kinematics import Kinematics
from hand_imitation.errors import UserError
from hand_imitation.human.angles import HAND_JOINTS, Side
from hand_imitation.learning.peer import python_of

PEER = 'dex-retargeting==0.5.0'
REQUIREMENTS = (PEER, 'torch==2.13.0', 'six')
"""The last two it does not declare."""
FOLDER_VARIABLE = 'HAND_IMITATION_RETARGETING_PEER'
PUBLISHED_MS = (2.1, 6.9)
"""Means on its own poses for its Inspire and Shadow hands, one thread of a 2-core machine."""

ONE_THREAD = dict.fromkeys(
    ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1')
"""Environment variables that keep numerical libraries to one thread."""

_TIPS = [4, 8, 12, 16, 20]
_SCRIPT = """
import contextlib, json, os, sys, time
replies = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
import numpy as np
import torch
torch.set_num_threads(1)
from dex_retargeting.retargeting_config import RetargetingConfig

ask = json.loads(sys.stdin.readline())
retargeting = RetargetingConfig.from_dict(ask["config"]).build()
still = np.zeros(len(retargeting.optimizer.idx_pin2fixed))
names = retargeting.optimizer.robot.dof_joint_names
for line in sys.stdin:
    vectors = np.load(json.loads(line)["file"])
    seconds, poses = [], []
    for vector in vectors:
        start = time.perf_counter()
        pose = retargeting.retarget(vector, fixed_qpos=still)
        seconds.append(time.perf_counter() - start)
        poses.append(pose.tolist())
    print(json.dumps({"seconds": seconds, "poses": poses, "names": names}), file=replies,
          flush=True)
"""


class RetargetingPeer:
    """The optimiser, ready to be timed; vectors from the wrist to the fingertips lead it.

    Its settings are those it ships for teleoperation with the Inspire hand; the hand is ours.

    Args:
        folder: Of an environment in which it is installed.

    Raises:
        UserError: It does not start.
    """

    def __init__(self, folder: Path) -> None:
        self._files = tempfile.TemporaryDirectory()
        description = load_description()
        urdf = Path(self._files.name) / 'arm.urdf'
        urdf.write_text(description, encoding='utf-8')
        table = JointTable.from_urdf(description)
        self._reach_m = float(np.linalg.norm(Kinematics(description, table).fingertips(
            np.zeros((1, len(table))), True)[0, 2]))
        self._process = subprocess.Popen(
            [str(python_of(folder)), '-c', _SCRIPT], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, **ONE_THREAD})
        fingers = ('thumb', 'index', 'middle', 'ring', 'little')
        self._tell({'config': {
            'type': 'vector', 'urdf_path': str(urdf), 'target_joint_names': list(HAND_JOINTS),
            'target_origin_link_names': ['palm_link'] * len(fingers),
            'target_task_link_names': [f'{finger}_tip_link' for finger in fingers],
            'target_link_human_indices': [[0] * len(fingers), _TIPS],
            'scaling_factor': 1.0, 'low_pass_alpha': 0.2}})

    def retarget(self, points_m: Sequence[np.ndarray], sides: Sequence[Side],
                 ) -> tuple[np.ndarray, np.ndarray]:
        """Retarget poses one after another.

        Args:
            points_m: World points of hands, each shape (21, 3).
            sides: Whose hands they are.

        Returns:
            Shape (m,), how long each took [s], and shape (m, 10), the angles found, in the order
            of `HAND_JOINTS` [rad].
        """
        vectors = np.array([
            arm_vectors(points, side) for points, side in zip(points_m, sides, strict=True)])
        longest = np.linalg.norm(vectors[:, 2], axis=1).max()
        file = Path(self._files.name) / 'vectors.npy'
        np.save(file, (vectors * self._reach_m / longest).astype(np.float32))
        self._tell({'file': str(file)})
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise UserError(f'{PEER} does not run in its environment: remove the folder, so that '
                            'it is installed anew')
        reply = json.loads(line)
        columns = [reply['names'].index(name) for name in HAND_JOINTS]
        return np.array(reply['seconds']), np.array(reply['poses'])[:, columns]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._files.cleanup()

    def _tell(self, words: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(words) + '\n')
            self._process.stdin.flush()
        except OSError:
            # It has died; the answer that does not come says so.
            return


def arm_vectors(points_m: np.ndarray, side: Side) -> np.ndarray:
    """Vectors from a hand's wrist to its fingertips, in the frame of an arm that stands upright.

    Args:
        points_m: Shape (21, 3), optical frame.
        side: Whose hand it is; a left hand is taken for its mirror image.

    Returns:
        Shape (5, 3): x the way the palm faces, y to the thumb's side, z from wrist to fingers.
    """
    points = points_m - points_m[0]
    if side == 'left':
        points = points * [-1.0, 1.0, 1.0]
    up = points[9] / np.linalg.norm(points[9])
    across = points[5] - points[17]
    across = across - (across @ up) * up
    across /= np.linalg.norm(across)
    frame = np.stack([np.cross(across, up), across, up])
    return points[_TIPS] @ frame.T
