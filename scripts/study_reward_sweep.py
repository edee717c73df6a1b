#!/usr/bin/env python3
"""Close the arm's hand step by step before an open hand, and plot what each reward makes of it.

The original reward tells nothing, or gets better; the others get worse.

Example:
    python scripts/study_reward_sweep.py --out docs
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from hand_imitation.errors import UserError
from hand_imitation.frame_sources import SAMPLE, open_source
from hand_imitation.learning.environment import HandImitationEnv
from hand_imitation.learning.feeds import LabelledPictures, Labels, LandmarkFinder
from hand_imitation.learning.peer import Peer, default_folder, installed

CLOSURES = np.linspace(0.0, 1.0, 17)
FIST_RAD = 1.5
OPEN_GESTURES = ('rest', 'spread', 'wrist', 'elbow')
FIRST_PERSON_FRAMES = 520
CURTAIN_BGR = (90, 60, 30)
"""Behind the original's own clips hangs something blue, which its skin mask tells from skin."""


def open_hands() -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures of the sample clip that show an open hand, square, and their true angles."""
    truth = json.loads((SAMPLE.parent / 'sample_truth.json').read_text())
    wanted = {gesture['first_frame'] + gesture['frames'] - 2 for gesture in truth['gestures']
              if gesture['name'] in OPEN_GESTURES}
    source = open_source(str(SAMPLE))
    hands = []
    for number in range(FIRST_PERSON_FRAMES):
        picture = source.read()
        if number in wanted and picture is not None:
            middle = picture.shape[1] // 2 + 20
            half = picture.shape[0] // 2
            hands.append((np.ascontiguousarray(picture[:, middle - half:middle + half]),
                          np.array(truth['angles_rad'][number])))
    source.close()
    return hands


def before_curtain(picture: np.ndarray) -> np.ndarray:
    """Replace what is not skin, so that the original's own skin mask finds the hand alone."""
    skin = cv2.inRange(cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb), np.array([0, 138, 70]),
                       np.array([255, 190, 130]))
    skin = cv2.morphologyEx(skin, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    return np.where(skin[..., np.newaxis] > 0, picture, np.array(CURTAIN_BGR, np.uint8))


def sweep(out: Path, clip: Path | None) -> dict[str, Any]:
    """Close the hand before open hands; plot every reward against how closed it is.

    Args:
        out: Folder for the plot.
        clip: A clip of the original project, hand in the left half, for one more curve.

    Returns:
        For each reward its value for the open hand and the fist, and the best closure.
    """
    hands = open_hands()
    finder = LandmarkFinder()
    labels = [Labels(angles, finder(picture)) for picture, angles in hands]
    pictures = np.array([before_curtain(picture) for picture, _ in hands])
    finder.close()
    curves = {
        'original, whole pictures': _sweep_ours(pictures, labels, 'original', crop=False),
        'original, cropped': _sweep_ours(pictures, labels, 'original', crop=True),
        'aligned': _sweep_ours(pictures, labels, 'aligned', crop=True),
        'pose': _sweep_ours(pictures, labels, 'pose', crop=True),
        'fingertips': _sweep_ours(pictures, labels, 'fingertips', crop=True),
    }
    if installed(default_folder()):
        if clip is not None:
            curves = {'original, its own clip': _sweep_peer(_left_halves(clip)), **curves}
        curves = {'original, in gym-handofjustice': _sweep_peer(pictures), **curves}
    else:
        print('the original is not installed: run `hand-imitation bench env` once to compare '
              'with it', file=sys.stderr)
    _plot_sweep(curves, out / 'reward_sweep.png')
    return {name: {'open': float(curve[0]), 'fist': float(curve[-1]),
                   'best_closure': float(CLOSURES[np.argmax(curve)])}
            for name, curve in curves.items()}


def _left_halves(clip: Path) -> np.ndarray:
    """Every fourth picture of a clip, its left half."""
    source = open_source(str(clip))
    pictures = []
    while (picture := source.read()) is not None:
        pictures.append(picture[:, :picture.shape[1] // 2])
    source.close()
    return np.array(pictures[::4])


def _poses(count: int) -> np.ndarray:
    """Poses from open to fist: shape (closures, count), in the original's order."""
    poses = np.zeros((len(CLOSURES), count))
    poses[:, :10] = CLOSURES[:, np.newaxis] * FIST_RAD
    return poses


def _sweep_ours(pictures: np.ndarray, labels: list[Labels], name: str, crop: bool) -> np.ndarray:
    """Mean reward at each closure, in our environment."""
    values = []
    for picture, label in zip(pictures, labels, strict=True):
        feed = LabelledPictures(picture[np.newaxis], [label])
        env = HandImitationEnv(feed, crop=crop, epsilon=None, rewards={name: 1.0},
                               controller='travel', physics='motors')
        env.reset(seed=0)
        values.append([env.step(pose)[1] for pose in _poses(12)])
        env.close()
    return np.mean(values, axis=0)


def _sweep_peer(pictures: np.ndarray) -> np.ndarray:
    """Mean reward at each closure, in the original itself."""
    peer = Peer(default_folder())
    values = []
    for picture in pictures:
        small = cv2.resize(picture, (56, 56))
        _, got = peer.play(np.repeat(small[np.newaxis], len(CLOSURES), axis=0), _poses(12),
                           repeat=30)
        values.append(got)
    peer.close()
    return np.mean(values, axis=0)


def _plot_sweep(curves: dict[str, np.ndarray], path: Path) -> None:
    """One small plot for each reward: its unit is its own."""
    figure = Figure(figsize=(11, 5.6))
    axes = figure.subplots(2, (len(curves) + 1) // 2, sharex=True)
    for axis, (name, curve) in zip(axes.flat, curves.items(), strict=False):
        best = CLOSURES[np.argmax(curve)]
        axis.plot(100.0 * CLOSURES, curve, color='tab:red' if best > 0.3 else 'tab:green', lw=2)
        axis.plot(100.0 * best, curve.max(), 'ko', ms=6)
        axis.set_title(f'{name}\nbest at {100.0 * best:.0f}% closed', fontsize=9)
        axis.grid(alpha=0.3)
        axis.ticklabel_format(useOffset=False)
    for axis in axes[-1]:
        axis.set_xlabel('how closed the arm\'s hand is [%]')
    for axis in axes[:, 0]:
        axis.set_ylabel('reward')
    for axis in axes.flat[len(curves):]:
        axis.remove()
    figure.suptitle('Closing the arm\'s hand step by step while an open hand is shown; dots mark '
                    'the best')
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    """Read the command line, print the figures as JSON, write the plot."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('docs'), help='folder for the plot')
    parser.add_argument('--clip', type=Path, help="one of the original's own clips")
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        figures = sweep(options.out, options.clip)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
