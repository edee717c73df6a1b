"""`hand-imitation calibrate person`: a flat hand and a fist, three seconds each."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from hand_imitation.errors import UserError
from hand_imitation.frame_sources import FrameSource, open_source, read_image, shrunk
from hand_imitation.human.angles import HAND_JOINTS
from hand_imitation.human.person import (
    HOLD_S,
    PersonCalibration,
    PoseCollector,
    angles_of,
    fit,
    save_person,
)

_WIDTH_PX = 640
_PATIENCE_S = 60.0
_ASKED = {'flat': 'Show a flat hand, palm to the camera, fingers straight, and hold it still',
          'fist': 'Now make a fist, and hold it still'}


def person(
    source: Annotated[str, typer.Option(
        help='Camera index, video or folder of images: first a flat hand, then a fist.')] = '',
    flat: Annotated[list[Path] | None, typer.Option(
        help='Image of a flat hand, instead of --source; can be given several times.')] = None,
    fist: Annotated[list[Path] | None, typer.Option(
        help='Image of a fist.')] = None,
    out: Annotated[Path | None, typer.Option(help='File to write.')] = None,
    hold: Annotated[float, typer.Option(
        min=0.2, max=30.0, help='How long each pose must be held [s].')] = HOLD_S,
) -> None:
    """Learn how the landmarks of one person are off, from a flat hand and a fist.

    Give the file to other commands as --person, or to the policy node as its parameter 'person'.

    Example: hand-imitation calibrate person --source 0 --out me.yaml

    Example: hand-imitation calibrate person --flat flat.jpg --fist fist.jpg --out me.yaml
    """
    if out is None:
        raise UserError('where shall it be written? Give --out me.yaml')
    if bool(source) == bool(flat or fist) or bool(flat) != bool(fist):
        raise UserError('give --source, or else --flat and --fist with images')
    found = (from_stream(source, hold) if source else
             fit(_angles_of_images(flat or []), _angles_of_images(fist or [])))
    save_person(out, found)
    for name, offset, gain in zip(HAND_JOINTS, found.offset_rad, found.gain, strict=True):
        print(f'{name:16} offset {np.degrees(offset):+6.1f} deg   gain {gain:.2f}')
    print(f"Written to '{out}'.", file=sys.stderr)


def from_stream(source: str, hold_s: float) -> PersonCalibration:
    """Find both poses in a camera's or a file's pictures.

    Args:
        source: As in `open_source`.
        hold_s: How long each pose must be held [s].

    Raises:
        UserError: No such source, or the poses are not in it.
    """
    # Imported late: MediaPipe takes a second.
    from hand_imitation.human.perception import StreamPerception

    pictures = open_source(source)
    perception = StreamPerception()
    collectors = {pose: PoseCollector(pose, hold_s) for pose in ('flat', 'fist')}
    waiting = list(collectors)
    asked = ''
    try:
        for picture, stamp_s in _frames(pictures):
            if waiting[0] != asked and pictures.live:
                asked = waiting[0]
                print(f'{_ASKED[asked]} for {hold_s:g} s.', file=sys.stderr, flush=True)
            rgb = cv2.cvtColor(shrunk(picture, _WIDTH_PX), cv2.COLOR_BGR2RGB)
            if collectors[waiting[0]].feed(perception.observe(rgb, stamp_s)):
                waiting.pop(0)
                if not waiting:
                    break
    finally:
        perception.close()
        pictures.close()
    if waiting:
        missing = 'flat hand' if waiting[0] == 'flat' else 'fist after the flat hand'
        raise UserError(
            f"no {missing} held still for {hold_s:g} s was seen in '{source}': show one hand, in "
            'good light, with the palm to the camera, or give a shorter --hold')
    return fit(collectors['flat'].found, collectors['fist'].found)  # type: ignore[arg-type]


def _frames(source: FrameSource) -> Iterator[tuple[np.ndarray, float]]:
    """Pictures with their time [s]: a file's own, a camera's by the clock, until patience ends."""
    start_s, count = time.monotonic(), 0
    while True:
        picture = source.read()
        now_s = time.monotonic() - start_s
        if picture is None or (source.live and now_s > _PATIENCE_S):
            return
        yield picture, now_s if source.live else count / source.rate_hz
        count += 1


def _angles_of_images(files: list[Path]) -> np.ndarray:
    """Angles of the hand in each image, shape (n, 10) [rad]."""
    from hand_imitation.human.perception import StillPerception

    perception = StillPerception()
    angles = []
    try:
        for file in files:
            picture = read_image(file)
            if picture is None:
                raise UserError(f"'{file}' cannot be read as an image: give a .jpg or .png file")
            seen = angles_of(perception.observe(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)))
            if seen is None:
                raise UserError(f"no hand is seen in '{file}': give another image, with the palm "
                                'to the camera')
            angles.append(seen)
    finally:
        perception.close()
    return np.array(angles)
