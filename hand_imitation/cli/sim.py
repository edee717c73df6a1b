"""`hand-imitation sim`: the whole graph in simulation, by one command."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli.options import SimOptions
from hand_imitation.cli.report import print_summary, progress_bar
from hand_imitation.errors import UserError
from hand_imitation.frame_sources import TOPIC_PREFIX, open_source
from hand_imitation.human.hand_model import find_hand_model
from hand_imitation.node_parameters import SIDES, read_parameters_file
from hand_imitation.policy import load_policy
from hand_imitation.resources import share_directory

_ROS_NAME = re.compile(r'/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*/?', re.ASCII)
RESULTS = ('side_by_side.mp4', 'bag', 'summary.json')


def sim(
    source: Annotated[str | None, typer.Option(
        help="Camera index, video, GIF, folder of images, 'topic:/name', or 'sample'.",
        show_default='sample')] = None,
    policy: Annotated[str | None, typer.Option(
        help='Name of the policy.', show_default='geometric')] = None,
    headless: Annotated[bool, typer.Option(
        '--headless', help='Open no window even where there is a display.')] = False,
    gui: Annotated[bool, typer.Option('--gui', help="Show PyBullet's own window.")] = False,
    duration: Annotated[float | None, typer.Option(
        min=0.1, help='Stop after this many seconds; a file stops at its end.')] = None,
    out: Annotated[Path | None, typer.Option(
        help='Folder for side_by_side.mp4, bag/ and summary.json.')] = None,
    side: Annotated[str | None, typer.Option(
        help='Which arm: right or left.', show_default='right')] = None,
    mirror: Annotated[bool | None, typer.Option(
        help='Lean like a mirror image of the person.', show_default='mirror')] = None,
    namespace: Annotated[str, typer.Option(help='ROS namespace of all nodes.')] = '',
    prefix: Annotated[str | None, typer.Option(help='Put before every joint name.')] = None,
    params_file: Annotated[Path | None, typer.Option(
        help='YAML file with parameters of the nodes.')] = None,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print the summary as one JSON document instead of a table.')] = False,
) -> None:
    """Let the simulated arm imitate a hand: camera, policy, commander and PyBullet.

    Example: hand-imitation sim --source 0

    Example: hand-imitation sim --source hand.mp4 --headless --out results
    """
    parameters = _merged_parameters(params_file)

    def settled(asked: Any, node: str, name: str) -> Any:
        return parameters[node][name] if asked is None else asked

    options = SimOptions(
        source=settled(source, 'camera', 'source'), policy=settled(policy, 'policy', 'policy'),
        side=settled(side, 'policy', 'side'), mirror=settled(mirror, 'policy', 'mirror'),
        prefix=settled(prefix, 'policy', 'prefix'), gui=gui,
        view=not headless and _has_display(), duration_s=duration, out=out, namespace=namespace,
        parameters=parameters)
    _check(options, headless)
    # Imported late: ROS takes a second, and a mistake above should not wait for it.
    from hand_imitation.cli.run import run_sim

    with tempfile.TemporaryDirectory(
            prefix='.hand_imitation_', dir=_existing_parent(out) if out else None) as folder:
        work = Path(folder)
        summary, code = run_sim(options, work)
        if out is not None and code == 0:
            _write_results(options, work, summary)
        if as_json:
            print(json.dumps(summary))
        else:
            print_summary(summary, out if code == 0 else None)
    sys.exit(code)


def _merged_parameters(params_file: Path | None) -> dict[str, dict[str, Any]]:
    """Every parameter of every node: the package's, with the user's over them."""
    merged = read_parameters_file(share_directory() / 'config' / 'hand_imitation.yaml')
    if params_file is not None:
        for node, values in read_parameters_file(params_file).items():
            merged[node].update(values)
    return merged


def _check(options: SimOptions, headless: bool) -> None:
    """Find the user's mistakes before anything starts or is written."""
    if options.side not in SIDES:
        raise UserError(f"side is '{options.side}': choose right or left")
    if options.gui and (headless or not _has_display()):
        raise UserError('--gui needs a display: leave it out, and --headless too')
    if options.namespace and not _ROS_NAME.fullmatch(options.namespace):
        raise UserError(
            f"'{options.namespace}' is no ROS namespace: use letters, digits and _, such as arm_1")
    load_policy(options.policy, _checked_arm(options))
    find_hand_model(options.parameters['policy']['perception.model_path'])
    if not options.source.startswith(TOPIC_PREFIX):
        open_source(options.source).close()
    elif not _ROS_NAME.fullmatch(options.source.removeprefix(TOPIC_PREFIX)):
        raise UserError(
            f"'{options.source}' names no ROS topic: give one such as 'topic:/camera/image_raw'")
    if options.out is not None:
        _check_out(options.out)


def _checked_arm(options: SimOptions) -> JointTable:
    """Load the arm as its nodes will, and return its joints."""
    for node in ('commander', 'sim_bridge'):
        urdf = options.parameters[node]['urdf'] or None
        try:
            table = JointTable.from_urdf(
                load_description(options.side, options.prefix, urdf), options.prefix)
        except UserError as error:
            if urdf is None:
                raise
            raise UserError(f"{node}: urdf '{urdf}': {error}") from error
    return table


def _check_out(out: Path) -> None:
    """Make sure that results can be written, without writing."""
    nearest = next(p for p in (out.resolve(), *out.resolve().parents) if p.exists())
    if not nearest.is_dir():
        raise UserError(f"'{nearest}' is a file: give a folder for --out")
    others = [p.name for p in out.iterdir() if p.name not in RESULTS] if out.is_dir() else []
    if others:
        raise UserError(
            f"'{out}' holds other things, such as '{others[0]}': give an empty or a new folder")
    if not os.access(_existing_parent(out), os.W_OK):
        raise UserError(f"'{_existing_parent(out)}' may not be written to: give another folder")


def _existing_parent(path: Path) -> Path:
    """Return the nearest folder above a path that exists."""
    return next(p for p in path.resolve().parents if p.is_dir())


def _write_results(options: SimOptions, work: Path, summary: dict[str, Any]) -> None:
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


def _has_display() -> bool:
    return bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))
