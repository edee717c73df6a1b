"""`hand-imitation sim`: the whole graph in simulation, by one command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from hand_imitation.cli import graph_command
from hand_imitation.cli.options import RunOptions
from hand_imitation.errors import UserError
from hand_imitation.policy import DEFAULT_POLICY


def sim(
    source: Annotated[str | None, typer.Option(
        help="Camera index, video, GIF, folder of images, 'topic:/name', or 'sample'.",
        show_default='sample')] = None,
    policy: Annotated[str | None, typer.Option(
        help='Name of the policy, or folder of a checkpoint.',
        show_default=DEFAULT_POLICY)] = None,
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
    person: Annotated[Path | None, typer.Option(
        help="Calibration of the person, from 'hand-imitation calibrate person', for "
             'the geometric policy.')] = None,
    params_file: Annotated[Path | None, typer.Option(
        help='YAML file with parameters of the nodes.')] = None,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print the summary as one JSON document instead of a table.')] = False,
) -> None:
    """Let the simulated arm imitate a hand: camera, policy, commander and PyBullet.

    In a terminal, the space bar stops the arm, r lets it go on, and q ends the run.

    Example: hand-imitation sim --source 0

    Example: hand-imitation sim --source hand.mp4 --headless --out results
    """
    parameters = graph_command.merged_parameters(params_file, person)

    def settled(asked: Any, node: str, name: str) -> Any:
        return parameters[node][name] if asked is None else asked

    has_display = bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))
    options = RunOptions(
        source=settled(source, 'camera', 'source'), policy=settled(policy, 'policy', 'policy'),
        side=settled(side, 'policy', 'side'), mirror=settled(mirror, 'policy', 'mirror'),
        prefix=settled(prefix, 'policy', 'prefix'), view=not headless and has_display,
        duration_s=duration, out=out, namespace=namespace, arm='sim_bridge',
        arm_parameters={'gui': gui}, parameters=parameters)
    if gui and (headless or not has_display):
        raise UserError('--gui needs a display: leave it out, and --headless too')
    options, _ = graph_command.check(options)
    graph_command.run(options, as_json)
