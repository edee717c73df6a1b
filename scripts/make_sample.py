#!/usr/bin/env python3
"""Make the sample clip and the joint angles that are true in it.

Two synthetic people, one after the other, show a left hand to the camera: in a mirror it looks
like the right arm, which is the default. The angles are computed from the joint centres of the
posed people.

Example:
    python scripts/make_sample.py --out hand_imitation/data
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace

from hand_imitation.errors import UserError
from hand_imitation.human import synthetic_motion as motion
from hand_imitation.human.angles import JOINTS, WRIST, Side
from hand_imitation.human.synthetic import Person, View, rotation_xyz, true_angles
from hand_imitation.human.synthetic_mesh import ELBOW, load_body, reshape
from hand_imitation.human.synthetic_motion import Keyframe
from hand_imitation.human.synthetic_raster import Camera
from hand_imitation.human.synthetic_render import DAYLIGHT, LAMPLIGHT, Light, render, room
from hand_imitation.human.synthetic_skin import DARK_SKIN, LIGHT_SKIN, SkinTone, skin_colours

RATE_HZ = 30
SIDE: Side = 'left'
CAMERA = Camera(1280, 720, 1500.0)
WRIST_M = np.array([0.03, 0.055, 0.74])
QUALITY_CRF = 24


@dataclass(frozen=True)
class Scene:
    """One person, one room, and what the person does.

    Attributes:
        phenotype: For `load_body`.
        length: For `reshape`.
        girth: For `reshape`.
        tone: The person's skin.
        light: How the room is lit.
        wall: The room's colour, linear RGB.
        seed: For the skin's pattern, the things in the room and the sway of the arm.
        keyframes: What the person does.
    """

    phenotype: dict[str, float]
    length: dict[str, float]
    girth: dict[str, float]
    tone: SkinTone
    light: Light
    wall: tuple[float, float, float]
    seed: int
    keyframes: list[Keyframe]


def scenes() -> list[Scene]:
    """Say who does what."""
    return [
        Scene({'gender': 0.75}, {}, {}, LIGHT_SKIN, DAYLIGHT, (0.33, 0.37, 0.40), 1,
              first_keyframes()),
        Scene({'gender': 0.25, 'weight': 0.45},
              {f'{finger}{i}': 1.05 for finger in ('index', 'middle', 'ring', 'little')
               for i in (1, 2, 3)}, {'forearm': 0.95},
              DARK_SKIN, LAMPLIGHT, (0.38, 0.31, 0.24), 4, second_keyframes()),
    ]


def first_keyframes() -> list[Keyframe]:
    """Each finger alone, fist, spread, wrist, elbow."""
    keys = [Keyframe('rest', motion.rest(), 0.0, 0.8)]
    for finger in ('thumb', 'index', 'middle', 'ring', 'little'):
        keys += there_and_back(f'close {finger}', motion.close_fingers(finger), 0.55)
    keys += fist()
    keys += there_and_back('spread', motion.spread(), 0.4, hold_s=0.4)
    return keys + swing('wrist', 0.40, 0.55) + swing('elbow', 0.48, 0.75)


def second_keyframes() -> list[Keyframe]:
    """Digits, pinch, a rolling fist, wrist, elbow."""
    keys = [Keyframe('rest', motion.rest(), 0.0, 0.4)]
    for number in range(1, 6):
        name, pose = f'digit {number}', motion.digit(number)
        if number == 2:
            # The middle finger comes out from under the thumb.
            keys.append(Keyframe(name, motion.thumb_off(motion.digit(1)), 0.25, 0.0))
            keys.append(Keyframe(name, motion.thumb_off(pose), 0.35, 0.0))
            keys.append(Keyframe(name, pose, 0.25, 0.4))
        else:
            keys.append(Keyframe(name, pose, 0.5, 0.5))
    keys += there_and_back('pinch', motion.pinch(), 0.5, hold_s=0.4)
    order = ('little', 'ring', 'middle', 'index')
    for count in range(1, 5):
        closed = motion.close_fingers(*order[:count])
        keys.append(Keyframe('roll', closed, 0.32, 0.0))
    keys += fist()
    keys += swing('wrist', 0.40, 0.5) + swing('elbow', 0.48, 0.75)
    return [*keys, Keyframe('rest', motion.rest(), 0.2, 0.3)]


def fist() -> list[Keyframe]:
    """Close the fingers, then the thumb over them, and open again."""
    fingers = motion.thumb_off(motion.fist())
    return [Keyframe('fist', fingers, 0.45, 0.0), Keyframe('fist', motion.fist(), 0.3, 0.4),
            Keyframe('fist', fingers, 0.25, 0.0), Keyframe('fist', motion.rest(), 0.5, 0.15)]


def there_and_back(name: str, pose: motion.Pose, move_s: float,
                   hold_s: float = 0.25) -> list[Keyframe]:
    """Reach a pose from rest and return."""
    return [Keyframe(name, pose, move_s, hold_s),
            Keyframe(name, motion.rest(), move_s, 0.15)]


def swing(joint: str, angle_rad: float, move_s: float) -> list[Keyframe]:
    """Lean to the thumb's side, to the other, and back."""
    poses = [motion.lean(motion.rest(), **{joint: angle_rad}),
             motion.lean(motion.rest(), **{joint: -angle_rad}), motion.rest()]
    times = (move_s, 1.6 * move_s, move_s)
    return [Keyframe(joint, pose, time, 0.2) for pose, time in zip(poses, times, strict=True)]


def frames() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield what is done, the picture (uint8 RGB) and the true angles [rad] of every frame."""
    for scene in scenes():
        body = reshape(load_body(scene.phenotype), scene.length, scene.girth)
        person = Person(body, SIDE)
        colours, gloss = skin_colours(body, scene.tone, scene.seed)
        forearm_m = np.linalg.norm(body.joints[WRIST] - body.joints[ELBOW])
        elbow = WRIST_M + [0.0, forearm_m, 0.0]
        background = room(CAMERA, scene.seed, scene.wall)
        for i, (name, pose) in enumerate(motion.play(scene.keyframes, RATE_HZ)):
            offset, turn = motion.sway(i / RATE_HZ, scene.seed)
            posed = person.pose(pose, View(elbow + offset, rotation_xyz(turn)))
            picture = render(posed.vertices, person.faces, colours, gloss, CAMERA, scene.light,
                             background)
            yield name, picture, true_angles(posed.joints, SIDE)


def write(out: Path) -> None:
    """Write sample.mp4 and sample_truth.json into a folder, showing progress."""
    out.mkdir(parents=True, exist_ok=True)
    total = sum(len(motion.play(scene.keyframes, RATE_HZ)) for scene in scenes())
    clip = out / 'sample.mp4'
    names: list[str] = []
    angles: list[list[float]] = []
    with av.open(str(clip), 'w') as container:
        stream = container.add_stream('libx264', rate=RATE_HZ)
        stream.width, stream.height, stream.pix_fmt = CAMERA.width, CAMERA.height, 'yuv420p'
        # What the conversion from RGB really is; players would guess another for this size.
        stream.codec_context.colorspace = Colorspace.ITU601
        # One thread: the number of threads changes the bytes.
        stream.options = {'crf': str(QUALITY_CRF), 'preset': 'slow', 'threads': '1',
                          'movflags': '+faststart'}
        for name, picture, true in frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
            names.append(name)
            angles.append([round(float(angle), 4) for angle in true])
            if len(names) % 10 == 0 or len(names) == total:
                print(f'\r{len(names)} of {total} frames', end='', file=sys.stderr, flush=True)
        container.mux(stream.encode())
    print(file=sys.stderr)
    truth = {
        'clip': clip.name,
        'sha256': hashlib.sha256(clip.read_bytes()).hexdigest(),
        'fps': RATE_HZ,
        'side': SIDE,
        'joints': list(JOINTS),
        'gestures': gestures(names),
    }
    head = json.dumps(truth, indent=1)[:-2]
    rows = ',\n  '.join(json.dumps(row) for row in angles)
    (out / 'sample_truth.json').write_text(f'{head},\n "angles_rad": [\n  {rows}\n ]\n}}\n')


def gestures(names: list[str]) -> list[dict[str, object]]:
    """Say from which frame on, and for how many, each gesture lasts."""
    starts = [i for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
    ends = [*starts[1:], len(names)]
    return [{'name': names[start], 'first_frame': start, 'frames': end - start}
            for start, end in zip(starts, ends, strict=True)]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('hand_imitation/data'),
                        help='folder for sample.mp4 and sample_truth.json (default: %(default)s)')
    try:
        write(parser.parse_args().out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
