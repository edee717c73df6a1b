"""What a bag itself tells: of the person, of the run that was recorded, of its latency."""

from __future__ import annotations

from typing import Literal

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.evaluation.bag import Bag, counted
from hand_imitation.evaluation.bag_contents import Contents
from hand_imitation.evaluation.bag_series import STAGES, FramePictures
from hand_imitation.evaluation.recording import RECORDED, PolicyRun, Recording, Series
from hand_imitation.evaluation.replay_frames import Seen
from hand_imitation.human.angles import Side
from hand_imitation.policy.base import LEANING_JOINTS, lean_sign

LEAD_NS = 1_000_000_000
"""How much of the recorded arm and truth before the first frame is used."""


def recording_of(
    bag: Bag, contents: Contents, table: JointTable, side: Side, mirror: bool,
    frames: np.ndarray, seen: Seen, end_ns: int,
) -> Recording:
    """Put together what a bag holds.

    Args:
        bag: The bag, scanned.
        contents: What was found in it.
        table: The arm's joints.
        side: Which arm it is.
        mirror: Whether it mirrors the person.
        frames: Stamps of the frames, shape (f,) [ns].
        seen: What was seen in them.
        end_ns: When the recording ends [ns].

    Returns:
        What the bag holds, apart from any policy.
    """
    pictures = contents.pictures
    unreadable = counted(pictures.unreadable) if pictures is not None else []
    if pictures is not None:
        pictures.unreadable.clear()
    return Recording(
        source=bag.name, table=table, side=side, mirror=mirror, frame_ns=frames,
        truth=_truth(contents, table, side, mirror, frames, seen),
        pictures=FramePictures(pictures, frames) if pictures is not None else None,
        truncated=bag.truncated,
        problems=(*bag.problems, *counted(contents.problems), *unreadable),
        latency_ms=latency_ms(contents, frames),
        recorded_holds=contents.holds(end_ns) if contents.modes else (),
        recorded_violations=contents.violations)


def _truth(
    contents: Contents, table: JointTable, side: Side, mirror: bool, frames: np.ndarray,
    seen: Seen,
) -> Series | None:
    """The person's true pose at the frames, turned into the arm's terms.

    Which way is towards the thumb follows from the landmarks; where no hand is seen, from those
    before, or after.
    """
    if contents.truth is None:
        return None
    recorded = contents.truth.series(frames[0] - LEAD_NS, frames[-1] + LEAD_NS)
    if not len(recorded):
        return None
    values = np.stack([
        np.interp(frames, recorded.time_ns, column, left=np.nan, right=np.nan)
        for column in recorded.position_rad.T], axis=1)
    known = np.flatnonzero(np.isfinite(seen.thumb_sides))
    place = np.searchsorted(known, np.arange(len(frames)), side='right') - 1
    thumb_sides = seen.thumb_sides[known[np.maximum(place, 0)]]
    signs = np.array([lean_sign(thumb_side, side, mirror) for thumb_side in thumb_sides])
    for name in LEANING_JOINTS:
        if name in table.names:
            values[:, table.index(name)] *= signs
    return Series(frames, values)


def latency_ms(contents: Contents, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Tell how long each stage took while the bag was recorded.

    Args:
        contents: Of the bag.
        frames: Stamps of the frames, shape (f,) [ns].

    Returns:
        By stage from the end of the one before, and 'end_to_end' [ms], a value for each frame
        that says; stages that are not in the bag are left out.
    """
    finished = {
        stage: contents.stages[stage].finished_ns(frames)
        for stage in STAGES if stage in contents.stages}
    latency = {}
    for before, stage in zip(STAGES, STAGES[1:], strict=False):
        if before in finished and stage in finished:
            both = (finished[before] >= 0) & (finished[stage] >= 0)
            latency[stage] = (finished[stage] - finished[before])[both] * 1e-6
    if 'command' in finished:
        known = finished['command'] >= 0
        latency['end_to_end'] = (finished['command'] - frames)[known] * 1e-6
    return {stage: values for stage, values in latency.items() if len(values)}


def told_run(
    name: str, contents: Contents, recording: Recording, seen: Seen, end_ns: int,
    source: Literal['simulated', 'recorded'],
) -> PolicyRun:
    """Read from a bag what a policy did while it was recorded.

    Args:
        name: What to call it.
        contents: Of the bag.
        recording: Frames and joints to tell it for.
        seen: What was seen in the frames.
        end_ns: When it ends [ns].
        source: Whether the arm in the bag is a simulated one behind this policy.

    Raises:
        UserError: The bag has neither targets nor commands.
    """
    if contents.targets is None and contents.commands is None:
        raise UserError(
            f"'{contents.bag.name}' tells of no policy: leave out --policy {RECORDED}")
    frames, joints = recording.frame_ns, len(recording.table)
    nothing = Series(np.zeros(0, np.int64), np.zeros((0, joints)))
    targets = np.full((len(frames), joints), np.nan)
    if contents.targets is not None:
        wanted = contents.targets.series(int(frames[0]), int(frames[-1]))
        _, at, place = np.intersect1d(frames, wanted.time_ns, return_indices=True)
        targets[at] = wanted.position_rad[place]
    command = nothing if contents.commands is None else contents.commands.series(
        int(frames[0]), end_ns, contents.clock_shift_ns)
    measured = nothing if contents.states is None else contents.states.series(
        int(frames[0]), end_ns)
    return PolicyRun(
        name, seen.tracked, seen.points, Series(frames, targets), command, measured,
        source if len(measured) else 'none', contents.holds(end_ns), contents.violations or 0,
        None)
