"""The original environment, gym-handofjustice, in a Python environment of its own.

It needs an old gym and numpy, so it is never imported here: a process of its own runs it, and the
two talk in lines of JSON.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hand_imitation.errors import UserError

PEER = 'gym-handofjustice==0.0.12'
REQUIREMENTS = (PEER, 'gym==0.26.2', 'numpy<2', 'opencv-python-headless<5', 'pybullet==3.2.7',
                'setuptools<80')
FOLDER_VARIABLE = 'HAND_IMITATION_PEER'
"""Names the folder of the peer's environment; by default it lies in the user's cache."""
_INSTALL_TIMEOUT_S = 1200.0
_SCRIPT = """
import json, os, sys, time
replies = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
import numpy as np
from gym_handOfJustice.envs import HandOfJusticeEnv

class Feed:
    picture = np.random.default_rng(0).integers(0, 255, (56, 56, 3)).astype("uint8")
    def read(self):
        return True, self.picture

feed = Feed()
env = HandOfJusticeEnv(cap=feed)
env.reset()
random = np.random.default_rng(0)
low, high = env.action_space.low, env.action_space.high
for line in sys.stdin:
    ask = json.loads(line)
    if "steps" in ask:
        actions = random.uniform(low, high, (ask["steps"], 12))
        start = time.perf_counter()
        for action in actions:
            env.step(action)
        reply = {"seconds": time.perf_counter() - start}
    else:
        given = np.load(ask["file"])
        seen, rewards = [], []
        for picture, action in zip(given["pictures"], given["actions"]):
            feed.picture = picture
            env.reset()
            for _ in range(ask["repeat"]):
                observation, reward, _, _ = env.step(action)
            seen.append(observation)
            rewards.append(float(reward))
        np.save(ask["file"] + ".out.npy", np.array(seen))
        reply = {"rewards": rewards}
    print(json.dumps(reply), file=replies, flush=True)
"""


def default_folder(peer: str = PEER, variable: str = FOLDER_VARIABLE) -> Path:
    """Where a peer's environment is looked for and made.

    Args:
        peer: What is installed there, as pip names it.
        variable: Of the environment, that may name the folder.
    """
    named = os.environ.get(variable)
    if named:
        return Path(named)
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    return cache / 'hand_imitation' / 'peers' / peer.replace('==', '-')


def installed(folder: Path, requirements: Sequence[str] = REQUIREMENTS) -> bool:
    """Tell whether a peer, the first of what it requires, is installed there with the rest."""
    python = python_of(folder)
    if not python.exists():
        return False
    names = [re.split('[=<>]', requirement)[0] for requirement in requirements]
    asked = [str(python), '-c', 'import sys; from importlib.metadata import version; '
             'print([version(name) for name in sys.argv[1:]][0])', *names]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return f'{names[0]}=={done.stdout.strip()}' == requirements[0]


def install(folder: Path, requirements: Sequence[str] = REQUIREMENTS) -> None:
    """Make an environment and install a peer in it; takes a minute.

    Args:
        folder: For the environment; made if it does not exist.
        requirements: What pip is given, the peer first.

    Raises:
        UserError: It cannot be installed.
    """
    try:
        venv.create(folder, with_pip=True)
        done = subprocess.run(
            [str(python_of(folder)), '-m', 'pip', 'install', '--quiet', *requirements],
            capture_output=True, text=True, check=False, timeout=_INSTALL_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"the peer cannot be installed in '{folder}' ({error}): give another "
                        'folder with --peer') from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ['pip failed'])[-1]
        raise UserError(f"the peer cannot be installed in '{folder}' ({reason}): is there a "
                        'network, or give a folder with it by --peer')


class Peer:
    """The original environment, running."""

    def __init__(self, folder: Path) -> None:
        """Start it.

        Args:
            folder: Of an environment in which it is installed.

        Raises:
            UserError: It does not start.
        """
        self._process = subprocess.Popen(
            [str(python_of(folder)), '-c', _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        try:
            self.seconds(1)
        except UserError:
            self.close()
            raise

    def seconds(self, steps: int) -> float:
        """Make steps with random actions.

        Args:
            steps: How many.

        Returns:
            How long they took [s].
        """
        return float(self._ask({'steps': steps})['seconds'])

    def play(self, pictures: np.ndarray, actions: np.ndarray,
             repeat: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Go for one pose from a reset for each pair.

        Args:
            pictures: Shape (k, 56, 56, 3), uint8, BGR, targets.
            actions: Shape (k, 12) [rad].
            repeat: How many steps with the same action.

        Returns:
            Last observations, shape (k, 56, 112, 3), and last rewards, shape (k,).
        """
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / 'given.npz')
            np.savez(file, pictures=pictures, actions=actions)
            reply = self._ask({'file': file, 'repeat': repeat})
            return np.load(f'{file}.out.npy'), np.array(reply['rewards'])

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + '\n')
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ''
        if not line:
            raise UserError(f'{PEER} does not run in its environment: remove the folder, so that '
                            'it is installed anew')
        return json.loads(line)


def python_of(folder: Path) -> Path:
    """Give the interpreter of an environment."""
    return folder / ('Scripts/python.exe' if sys.platform == 'win32' else 'bin/python')
