"""Holds what a policy made of a recording against the reference, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.kinematics import PALM_LINK, Kinematics
from hand_imitation.errors import UserError
from hand_imitation.evaluation.finger_states import CURLED_ABOVE_RAD
from hand_imitation.evaluation.motion import Motion, motion_of
from hand_imitation.evaluation.recording import RECORDED, PolicyRun, Recording, Series
from hand_imitation.evaluation.signals import at_times
from hand_imitation.evaluation.silhouettes import HandSilhouettes, overlap

FINGERS = ('thumb', 'index', 'middle', 'ring', 'little')
SILHOUETTE_FRAMES = 150
"""Silhouettes are compared in at most this many frames of a recording, evenly spread."""

_POSES_AT_ONCE = 5000

MEASURED_SIMULATED = 'measured, simulated arm'
MEASURED_RECORDED = 'measured, recorded arm'
COMMANDED = 'command'


@dataclass(frozen=True, eq=False)
class Reference:
    """What errors are taken against.

    Attributes:
        kind: 'truth', the person's true pose, or 'policy', what a policy wanted.
        name: 'truth', or the policy's name.
        pose: At the stamps of the frames, in the arm's terms.
    """

    kind: Literal['truth', 'policy']
    name: str
    pose: Series


@dataclass(frozen=True, eq=False)
class Score:
    """A policy's run held against the reference; rows are the frames of the recording.

    Errors are signed: signal minus reference. NaN where either is missing.

    Attributes:
        recording: What it was replayed on.
        run: What it did.
        reference: What it is held against, None where there is nothing.
        signal: Which signal of the run `arm_error_deg` and what follows from it judge.
        arm_error_deg: Shape (f, n), of that signal.
        command_error_deg: Shape (f, n), of the command after the safety filter.
        estimate_error_deg: Shape (f, n), of what the policy wanted.
        recorded_arm_error_deg: Shape (f, n), of the recorded arm where that is not the signal.
        tip_error_mm: Shape (f, 5), distance of the fingertips in space.
        tip_error_palm_mm: Shape (f, 5), the same in the palm's frame.
        states_agree: Shape (f, 5): 1.0 where a finger is curled, or not, in both.
        silhouette_iou: Shape (f,), NaN in the frames passed over.
        motion: Of the signal.
        estimate_motion: Of what the policy wanted.
        command_motion: Of the command.
    """

    recording: Recording
    run: PolicyRun
    reference: Reference | None
    signal: str
    arm_error_deg: np.ndarray
    command_error_deg: np.ndarray
    estimate_error_deg: np.ndarray
    recorded_arm_error_deg: np.ndarray | None
    tip_error_mm: np.ndarray
    tip_error_palm_mm: np.ndarray
    states_agree: np.ndarray
    silhouette_iou: np.ndarray
    motion: Motion
    estimate_motion: Motion
    command_motion: Motion


def choose_reference(
    recording: Recording, runs: Sequence[PolicyRun], name: str | None = None,
) -> Reference | None:
    """Find what errors are taken against: truth where the bag has it, else a policy.

    Args:
        recording: The recording.
        runs: What the policies made of it.
        name: The policy to take where there is no truth; None takes 'recorded', else
            'geometric', else the first.

    Returns:
        The reference; None where no policy ran either.

    Raises:
        UserError: There is no run of that policy.
    """
    by_name = {run.policy: run for run in runs}
    if name is not None and name not in by_name:
        raise UserError(
            f"no policy '{name}' to refer to: choose one of those replayed, "
            f'{", ".join(by_name) or "none"}')
    if recording.truth is not None and np.isfinite(recording.truth.position_rad).any():
        return Reference('truth', 'truth', recording.truth)
    if not runs:
        return None
    choice = name or next((n for n in (RECORDED, 'geometric') if n in by_name), runs[0].policy)
    return Reference('policy', choice, by_name[choice].target)


def score_run(recording: Recording, run: PolicyRun, reference: Reference | None) -> Score:
    """Hold a run against the reference.

    Args:
        recording: What was replayed.
        run: What a policy made of it.
        reference: From `choose_reference`.

    Returns:
        The errors in every frame.
    """
    signal, name = signal_of(run)
    frames, joints = len(recording.frame_ns), len(recording.table)
    pose = reference.pose if reference is not None else None
    wanted = _pose_at(pose, recording.frame_ns, joints)
    arm = _pose_at(signal, recording.frame_ns, joints)
    if len(run.command):
        # What the arm did before it was first told anything is not the policy's doing.
        arm[recording.frame_ns < run.command.time_ns[0]] = np.nan
    command = _pose_at(run.command, recording.frame_ns, joints)
    behind_another = run.measured_source == 'recorded' and signal is not run.measured
    kinematics = _arm_of(recording)
    either = np.isfinite(arm).all(axis=1) & np.isfinite(wanted).all(axis=1)
    return Score(
        recording=recording, run=run, reference=reference, signal=name,
        arm_error_deg=_degrees(arm - wanted),
        command_error_deg=_degrees(command - wanted),
        estimate_error_deg=_degrees(_pose_at(run.target, recording.frame_ns, joints) - wanted),
        recorded_arm_error_deg=_degrees(
            _pose_at(run.measured, recording.frame_ns, joints) - wanted)
        if behind_another else None,
        tip_error_mm=_tip_errors_mm(kinematics, arm, wanted, False),
        tip_error_palm_mm=_tip_errors_mm(kinematics, arm, wanted, True),
        states_agree=_states_agree(recording, arm, wanted),
        silhouette_iou=_silhouette_iou(kinematics, arm, wanted, either)
        if frames else np.zeros(0),
        motion=motion_of(signal, pose),
        estimate_motion=motion_of(run.target, pose),
        command_motion=motion_of(run.command, pose))


def signal_of(run: PolicyRun) -> tuple[Series, str]:
    """Choose the signal that followed from a policy, as near to the arm as it is known.

    Joint states recorded behind another policy say nothing of this one: then it is the command.

    Args:
        run: What the policy did.

    Returns:
        The signal, and what it is.
    """
    if run.measured_source == 'simulated':
        return run.measured, MEASURED_SIMULATED
    if run.measured_source == 'recorded' and run.policy == RECORDED:
        return run.measured, MEASURED_RECORDED
    return run.command, COMMANDED


@lru_cache(maxsize=4)
def kinematics_of(side: str) -> Kinematics:
    """Return the kinematics of the package's own arm, read once."""
    description = load_description(side)
    return Kinematics(description, JointTable.from_urdf(description))


def _arm_of(recording: Recording) -> Kinematics | None:
    """Kinematics in the recording's joint order; None for an arm with other joints than ours."""
    kinematics = kinematics_of(recording.side)
    return kinematics if kinematics.table.names == recording.table.names else None


def _pose_at(series: Series | None, time_ns: np.ndarray, joints: int) -> np.ndarray:
    if series is None:
        return np.full((len(time_ns), joints), np.nan)
    return at_times(series, time_ns)


def _degrees(angles_rad: np.ndarray) -> np.ndarray:
    """To degrees, as short numbers: a recording may have a million frames."""
    return np.degrees(angles_rad).astype(np.float32)


def _tip_errors_mm(
    kinematics: Kinematics | None, arm: np.ndarray, wanted: np.ndarray, relative_to_palm: bool,
) -> np.ndarray:
    if kinematics is None:
        return np.full((len(arm), len(FINGERS)), np.nan)
    errors = np.empty((len(arm), len(FINGERS)), np.float32)
    for start in range(0, len(arm), _POSES_AT_ONCE):
        part = slice(start, start + _POSES_AT_ONCE)
        tips = [kinematics.fingertips(pose[part], relative_to_palm) for pose in (arm, wanted)]
        errors[part] = 1000.0 * np.linalg.norm(tips[0] - tips[1], axis=-1)
    return errors


def _states_agree(recording: Recording, arm: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """1.0 where a finger is curled in both poses or in neither, NaN where it is not known."""
    table = recording.table
    agree = np.full((len(arm), len(FINGERS)), np.nan, np.float32)
    for place, finger in enumerate(FINGERS):
        names = (f'{finger}_proximal', f'{finger}_distal')
        if not set(names) <= set(table.names):
            continue
        columns = [table.index(name) for name in names]
        bends = [pose[:, columns].sum(axis=1) for pose in (arm, wanted)]
        same = (bends[0] > CURLED_ABOVE_RAD) == (bends[1] > CURLED_ABOVE_RAD)
        agree[:, place] = np.where(np.isfinite(bends[0] + bends[1]), same, np.nan)
    return agree


def _silhouette_iou(
    kinematics: Kinematics | None, arm: np.ndarray, wanted: np.ndarray, known: np.ndarray,
) -> np.ndarray:
    """Overlap of the hand's silhouettes in some of the frames known."""
    values = np.full(len(arm), np.nan)
    if kinematics is None or PALM_LINK not in kinematics.links:
        return values
    frames = np.arange(0, len(arm), max(1, -(-len(arm) // SILHOUETTE_FRAMES)))
    frames = frames[known[frames]]
    silhouettes = HandSilhouettes(kinematics)
    if not silhouettes.available or not len(frames):
        return values
    table = kinematics.table
    values[frames] = overlap(
        silhouettes.masks(table.clip(arm[frames])), silhouettes.masks(wanted[frames]))
    return values
