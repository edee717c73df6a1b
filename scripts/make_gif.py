#!/usr/bin/env python3
"""Make a small GIF of part of a video, for the README.

Example:
    hand-imitation sim --headless --out out/sim
    python scripts/make_gif.py out/sim/side_by_side.mp4 docs/sample.gif --start 8 --end 16
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def main() -> None:
    """Read the command line and write the GIF."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('video', type=Path)
    parser.add_argument('gif', type=Path)
    parser.add_argument('--start', type=float, default=0.0, help='[s]')
    parser.add_argument('--end', type=float, default=8.0, help='[s]')
    parser.add_argument('--width', type=int, default=640, help='[px]')
    parser.add_argument('--rate', type=float, default=10.0, help='pictures per second')
    parser.add_argument('--colours', type=int, default=255)
    options = parser.parse_args()
    capture = cv2.VideoCapture(str(options.video))
    video_rate_hz = capture.get(cv2.CAP_PROP_FPS)
    step = max(round(video_rate_hz / options.rate), 1)
    pictures, index = [], 0
    while True:
        good, picture = capture.read()
        if not good or index > options.end * video_rate_hz:
            break
        if index >= options.start * video_rate_hz and index % step == 0:
            height = round(picture.shape[0] * options.width / picture.shape[1])
            small = cv2.resize(picture, (options.width, height), interpolation=cv2.INTER_AREA)
            pictures.append(Image.fromarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB)))
        index += 1
    if not pictures:
        raise SystemExit(f"error: '{options.video}' holds no pictures in that time")
    # One palette for all, or still parts flicker; from a few of them, so that it knows all.
    few = [np.asarray(p) for p in pictures[:: max(len(pictures) // 6, 1)]]
    palette = Image.fromarray(np.vstack(few)).quantize(options.colours)
    frames = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    options.gif.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(
        options.gif, save_all=True, append_images=frames[1:], loop=0,
        duration=round(1000 * step / video_rate_hz), optimize=True)


if __name__ == '__main__':
    main()
