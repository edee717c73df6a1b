"""`hand-imitation predict`: the pose of the hand in single images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli.report import tell_whether_calibrated
from hand_imitation.frame_sources import read_image
from hand_imitation.human.observation import HandObservation
from hand_imitation.human.perception import StillPerception
from hand_imitation.human.person import load_person
from hand_imitation.policy import DEFAULT_POLICY, load_policy
from hand_imitation.policy.base import Policy, sight_of


def predict(
    files: Annotated[list[Path], typer.Argument(help='Images, each judged alone.')],
    policy: Annotated[str, typer.Option(
        help='Name of the policy, or folder of a checkpoint.')] = DEFAULT_POLICY,
    person: Annotated[Path | None, typer.Option(
        help="Calibration of the person, from 'hand-imitation calibrate person', for "
             'the geometric policy.')] = None,
) -> None:
    """Print the joint angles of the hand in each image, one JSON object a line.

    Angles are in radians and in the person's terms: positive is flexion, wrist and elbow are
    positive towards the thumb of the hand seen. The exit code is 1 if any file could not be read.

    Example: hand-imitation predict hand.jpg other.png
    """
    loaded = load_policy(
        policy, JointTable.from_urdf(load_description()),
        person=load_person(person) if person else None)
    if person:
        tell_whether_calibrated(policy, loaded)
    perception = StillPerception() if loaded.uses_perception else None
    failed = False
    for file in files:
        result = predict_file(file, perception, loaded)
        failed = failed or 'error' in result
        print(json.dumps(result), flush=True)
    if perception is not None:
        perception.close()
    sys.exit(1 if failed else 0)


def predict_file(
    file: Path, perception: StillPerception | None, policy: Policy,
) -> dict[str, Any]:
    """Judge one image alone.

    Args:
        file: The image.
        perception: Looks for the hand; None where the policy does that itself.
        policy: Tells the joints; reset first, so that no image bears on another.

    Returns:
        What is printed for it.
    """
    picture = read_image(file)
    if picture is None:
        reason = 'is not an image that can be read' if file.exists() else 'does not exist'
        return {'file': str(file), 'error': f"'{file}' {reason}"}
    picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    observation = HandObservation(valid=False, stamp_s=0.0, image=picture)
    if perception is not None:
        observation = perception.observe(picture)
    policy.reset()
    targets = policy.act(observation, None, 0.0)
    sight = sight_of(policy, observation)
    return {
        'file': str(file),
        'detected': bool(sight.detected),
        'handedness': sight.side,
        'score': None if sight.score is None else round(float(sight.score), 4),
        'joints': None if targets is None else {
            name: round(value, 4) for name, value in targets.as_dict().items()},
    }
