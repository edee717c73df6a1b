"""What the commands that run the whole graph, `sim` and `hardware`, have in common."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli.options import RunOptions
from hand_imitation.cli.report import (
    print_summary,
    progress_bar,
    tell_whether_calibrated,
)
from hand_imitation.cli.results import check_out
from hand_imitation.errors import UserError
from hand_imitation.frame_sources import TOPIC_PREFIX, open_source
from hand_imitation.human.hand_model import find_hand_model
from hand_imitation.human.person import load_person
from hand_imitation.node_parameters import SIDES, read_parameters_file
from hand_imitation.policy import load_policy, settled_name
from hand_imitation.resources import share_directory

RESULTS = ('side_by_side.mp4', 'bag', 'summary.json')
_ROS_NAME = re.compile(r'/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*/?', re.ASCII)


def merged_parameters(params_file: Path | None,
                      person: Path | None = None) -> dict[str, dict[str, Any]]:
    """Every parameter of every node: the package's, with the user's over them.

    Args:
        params_file: The user's YAML, or None.
        person: Calibration of the person, or None for what the parameters say.

    Raises:
        UserError: Something in the user's file is wrong.
    """
    merged = read_parameters_file(share_directory() / 'config' / 'hand_imitation.yaml')
    if params_file is not None:
        for node, values in read_parameters_file(params_file).items():
            merged[node].update(values)
    if person is not None:
        merged['policy']['person'] = str(person.expanduser().resolve())
    return merged


def check(options: RunOptions) -> tuple[RunOptions, JointTable]:
    """Find the user's mistakes before anything starts or is written.

    Returns:
        The options, with what the policy needs, and the arm's joints.

    Raises:
        UserError: There is one.
    """
    if options.side not in SIDES:
        raise UserError(f"side is '{options.side}': choose right or left")
    if options.namespace and not _ROS_NAME.fullmatch(options.namespace):
        raise UserError(
            f"'{options.namespace}' is no ROS namespace: use letters, digits and _, such as arm_1")
    table = _checked_arm(options)
    person = options.parameters['policy']['person']
    policy = load_policy(options.policy, table, person=load_person(person) if person else None)
    if person:
        tell_whether_calibrated(options.policy, policy)
    if policy.uses_perception:
        find_hand_model(options.parameters['policy']['perception.model_path'])
    if not options.source.startswith(TOPIC_PREFIX):
        open_source(options.source).close()
    elif not _ROS_NAME.fullmatch(options.source.removeprefix(TOPIC_PREFIX)):
        raise UserError(
            f"'{options.source}' names no ROS topic: give one such as 'topic:/camera/image_raw'")
    if options.out is not None:
        check_out(options.out, RESULTS)
    return dataclasses.replace(
        options, policy=settled_name(options.policy), uses_perception=policy.uses_perception,
    ), table


def run(options: RunOptions, as_json: bool) -> None:
    """Run the graph, write and print what came of it, and end the program.

    Args:
        options: What to run, checked.
        as_json: Print the summary as JSON instead of tables.
    """
    # Imported late: ROS takes a second, and a mistake of the user's should not wait for it.
    from hand_imitation.cli.run import run_graph

    out = options.out
    with tempfile.TemporaryDirectory(
            prefix='.hand_imitation_', dir=_existing_parent(out) if out else None) as folder:
        work = Path(folder)
        summary, code = run_graph(options, work)
        if out is not None and code == 0:
            _write_results(options, work, summary)
        if as_json:
            print(json.dumps(summary))
        else:
            print_summary(summary, out if code == 0 else None)
    sys.exit(code)


def _checked_arm(options: RunOptions) -> JointTable:
    """Load the arm as its nodes will, and return its joints."""
    for node in ('commander', options.arm):
        urdf = options.parameters[node]['urdf'] or None
        try:
            table = JointTable.from_urdf(
                load_description(options.side, options.prefix, urdf), options.prefix)
        except UserError as error:
            if urdf is None:
                raise
            raise UserError(f"{node}: urdf '{urdf}': {error}") from error
    return table


def _existing_parent(path: Path) -> Path:
    """Return the nearest folder above a path that exists."""
    return next(p for p in path.resolve().parents if p.is_dir())


def _write_results(options: RunOptions, work: Path, summary: dict[str, Any]) -> None:
    """Make the video, then move everything into place at once."""
    from hand_imitation.arm.simulation import SimulatedArm
    from hand_imitation.evaluation.side_by_side import write_side_by_side

    out = options.out
    assert out is not None
    description = load_description(
        options.side, path=options.parameters['commander']['urdf'] or None)
    with SimulatedArm(description, JointTable.from_urdf(description)) as arm, \
            progress_bar('video') as progress:
        write_side_by_side(
            work / 'bag', work / 'side_by_side.mp4', arm, options.mirror, options.prefix,
            progress)
    (work / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    out.mkdir(parents=True, exist_ok=True)
    for name in RESULTS:
        target = out / name
        if target.is_dir():
            shutil.rmtree(target)
        if (work / name).exists():
            (work / name).replace(target)
