"""`hand-imitation calibrate`: the arm by hand, and a person by two poses."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli.calibrate_person import person
from hand_imitation.cli.keyboard import END, ENTER, Keyboard
from hand_imitation.errors import EXIT_INTERRUPTED, UserError
from hand_imitation.hardware.bus import BusLostError
from hand_imitation.hardware.calibration import (
    Calibration,
    JointCalibration,
    default_calibration_path,
    load_calibration,
    partial_path,
    previous_path,
    save_calibration,
)
from hand_imitation.hardware.calibration_bus import ServosAtRest, bus_of
from hand_imitation.hardware.calibration_session import CalibrationSession, Key
from hand_imitation.hardware.port import Port, open_serial
from hand_imitation.hardware.robot import Robot, load_robot

_KEYS = {ENTER: Key.ACCEPT, 'b': Key.AGAIN, 's': Key.SKIP, 'q': Key.QUIT, END: Key.QUIT}
_HELP = 'Enter: take it   b: begin this joint again   s: later   q: stop and keep what is done'
_PERIOD_S = 0.02

app = typer.Typer(invoke_without_command=True, add_completion=False,
                  context_settings={'help_option_names': ['-h', '--help']})
app.command('person')(person)


class Keys(Protocol):
    """Where keys come from; see `Keyboard.read`."""

    def read(self, timeout_s: float) -> str | None:
        """Wait for a key."""


Show = Callable[[CalibrationSession], None]


@app.callback()
def calibrate(
    context: typer.Context,
    robot: Annotated[str, typer.Option(
        help='Name or path of the robot description.')] = '',
    port: Annotated[str, typer.Option(help='Serial port, such as /dev/ttyUSB0.')] = '',
    baud: Annotated[int, typer.Option(
        help='Bits per second.', show_default="the robot's")] = 0,
    joint: Annotated[list[str] | None, typer.Option(
        help='Do this joint only; can be given several times.', show_default='all')] = None,
    out: Annotated[Path | None, typer.Option(
        help='File to write.', show_default="the robot's in ~/.config/hand_imitation")] = None,
    restart: Annotated[bool, typer.Option(
        '--restart', help='Do not go on from where an earlier calibration was stopped.')] = False,
    undo: Annotated[bool, typer.Option(
        '--undo', help='Bring back the calibration before this one; once more undoes that.',
        )] = False,
    as_json: Annotated[bool, typer.Option(
        '--json', help='Print the result as one JSON document instead of a table.')] = False,
) -> None:
    """Find each joint's zero, direction and ends, moving the arm by hand with its motors off.

    Follow the instructions joint by joint. It can be stopped at any time; the same command goes
    on from there.

    Example: hand-imitation calibrate --robot dynamixel_xl330 --port /dev/ttyUSB0

    Example: hand-imitation calibrate person --source 0 --out me.yaml
    """
    if context.invoked_subcommand is not None:
        return
    if not robot or not port:
        missing = '--robot NAME' if not robot else '--port /dev/ttyUSB0'
        raise UserError(f'which {"robot" if not robot else "port"}? Give {missing}')
    table = JointTable.from_urdf(load_description())
    described = load_robot(robot, table)
    described = described.with_baud(baud) if baud else described
    for name in joint or ():
        if name not in table.names:
            raise UserError(f"no joint '{name}': joints are {', '.join(table.names)}")
    path = (out or default_calibration_path(described)).expanduser()
    with _serial(port, described.baud) as opened:
        servos = ServosAtRest(described, bus_of(described, opened))
        with _lost_bus_named():
            if undo:
                _say(undo_calibration(path, described, servos))
                return
            code = _calibrate(path, described, servos, opened, joint, restart, as_json)
    sys.exit(code)


def _calibrate(path: Path, robot: Robot, servos: ServosAtRest, port: Port,
               only: list[str] | None, restart: bool, as_json: bool) -> int:
    """Calibrate in the terminal; returns the exit code."""
    done = resumed(path, robot, only, restart)
    servos.open()
    session = CalibrationSession(robot, servos.offsets(), done, only)
    _say(f'{len(done)} of {len(robot.joints)} joints are done already.' if done else
         'All motors are off: the arm moves freely, so support what may fall.')
    try:
        with Keyboard() as keyboard, _screen() as show:
            run_session(session, servos, port, keyboard, show, path)
    except KeyboardInterrupt:
        session.quit = True
    missing = [name for name in robot.names if name not in session.results]
    if missing or session.quit:
        _say(f'{len(session.results)} of {len(robot.joints)} joints are done: run the same '
             'command again to go on')
        return EXIT_INTERRUPTED if session.quit else 1
    calibration = finish(path, robot, servos, session)
    _print_result(path, robot, calibration, as_json)
    return 0


def run_session(session: CalibrationSession, servos: ServosAtRest, port: Port, keys: Keys,
                show: Show, path: Path) -> None:
    """Feed a session with positions and keys until it ends, keeping every joint that is done.

    Args:
        session: What is asked for and accepted.
        servos: The servos, torque off.
        port: Whose clock counts.
        keys: Where keys come from.
        show: Shows the session as it is now.
        path: Where the calibration will lie; what is done waits beside it.
    """
    kept = len(session.results)
    while not session.finished:
        session.feed(servos.ticks(), port.now_s())
        key = keys.read(_PERIOD_S)
        if key in _KEYS:
            session.press(_KEYS[key])
            if len(session.results) != kept or session.message:
                kept = len(session.results)
                _save_partial(path, session)
        show(session)


def finish(path: Path, robot: Robot, servos: ServosAtRest,
           session: CalibrationSession) -> Calibration:
    """Give the servos their offsets, then write the file.

    Args:
        path: Where to.
        robot: The robot.
        servos: Its servos, torque off.
        session: With results for all joints.

    Returns:
        The calibration written.

    Raises:
        UserError: A servo's offset changed meanwhile, or does not take effect.
    """
    joints = {name: session.results[name] for name in robot.names}
    for name, held in servos.offsets().items():
        found = joints[name]
        if held not in (found.servo_offset_ticks, found.previous_offset_ticks):
            raise UserError(
                f"the servo of '{name}' has offset {held}, not {found.previous_offset_ticks} as "
                f'when it was measured: run the same command with --joint {name}')
    for name in servos.set_offsets({n: j.servo_offset_ticks for n, j in joints.items()}):
        _say(f'{name}: offset written to its servo')
    calibration = Calibration(robot.name, _now(), joints)
    save_calibration(path, calibration)
    partial_path(path).unlink(missing_ok=True)
    return calibration


def resumed(path: Path, robot: Robot, only: list[str] | None,
            restart: bool) -> dict[str, JointCalibration]:
    """Find the joints that need no more doing.

    Args:
        path: Where the calibration lies or will lie.
        robot: The robot.
        only: Joints asked for, which need doing whatever was found for them; None for all.
        restart: Forget what an earlier session found.

    Returns:
        By joint name.

    Raises:
        UserError: A file that cannot be used.
    """
    done: dict[str, JointCalibration] = {}
    if only and path.exists():
        done.update(load_calibration(path, robot).joints)
    waiting = partial_path(path)
    if waiting.exists() and not restart:
        try:
            done.update(load_calibration(waiting, robot, partial=True).joints)
        except UserError as error:
            raise UserError(f'{error}, or give --restart to begin anew') from error
    return {name: found for name, found in done.items() if name not in (only or ())}


def undo_calibration(path: Path, robot: Robot, servos: ServosAtRest) -> str:
    """Exchange the calibration and the one before it, and give the servos their offsets back.

    Args:
        path: Where the calibration lies.
        robot: The robot.
        servos: Its servos.

    Returns:
        What was done, for the user.

    Raises:
        UserError: There is nothing to undo, or a file cannot be used.
    """
    before = previous_path(path)
    if before.exists():
        offsets = {name: joint.servo_offset_ticks
                   for name, joint in load_calibration(before, robot).joints.items()}
    elif path.exists():
        offsets = {name: joint.previous_offset_ticks
                   for name, joint in load_calibration(path, robot).joints.items()}
    else:
        raise UserError(f"there is no calibration at '{path}': nothing to undo")
    servos.open()
    changed = list(servos.set_offsets(offsets))
    aside = path.with_name(f'{path.name}.undone')
    if path.exists():
        os.replace(path, aside)
    if before.exists():
        os.replace(before, path)
        what = f"'{path}' is the calibration before"
    else:
        what = f"'{path}' is gone, since there was none before"
    if aside.exists():
        os.replace(aside, before)
    return what + (f'; offsets restored in {", ".join(changed)}' if changed else '')


def _save_partial(path: Path, session: CalibrationSession) -> None:
    """Keep what is done so far."""
    unfinished = Calibration(session.robot.name, _now(), session.results)
    save_calibration(partial_path(path), unfinished, keep_previous=False)


@contextlib.contextmanager
def _serial(port: str, baud: int) -> Iterator[Port]:
    """Open the serial port, and close it in the end."""
    opened = open_serial(port, baud)
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def _lost_bus_named() -> Iterator[None]:
    """Say what to do when the adapter is unplugged."""
    try:
        yield
    except BusLostError as error:
        raise OSError(f'{error}; plug it in and run the same command again, which goes on from '
                      'there') from error


@contextlib.contextmanager
def _screen() -> Iterator[Show]:
    """Show the session: live on a terminal, as lines where there is none."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=15, transient=True) as live:
            yield lambda session: live.update(picture(session))
        return
    last: list[str] = []

    def show(session: CalibrationSession) -> None:
        lines = [line for line in (session.message, session.instruction) if line]
        if lines != last:
            last[:] = lines
            _say('\n'.join(lines))

    yield show


def picture(session: CalibrationSession) -> Group:
    """Draw a session: all joints, what was said last, and what to do now."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ('joint', 'servo', 'moved', ''):
        table.add_column(heading, justify='right' if heading in ('servo', 'moved') else 'left')
    current = session.joint
    for joint, angle in zip(session.robot.joints, session.angles_rad(), strict=True):
        found = session.results.get(joint.name)
        state = f'{found.lower_ticks} .. {found.upper_ticks}' if found else ''
        if joint is current:
            state = f'<- {session.step.value}'
        table.add_row(joint.name, str(joint.id), f'{57.29578 * angle:+.0f} deg', state,
                      style='bold' if joint is current else 'green' if found else 'dim')
    last = Text(session.message, style='yellow' if session.refused else 'green')
    return Group(table, Text(), last, Text(session.instruction, style='bold'), Text(_HELP))


def _print_result(path: Path, robot: Robot, calibration: Calibration, as_json: bool) -> None:
    """Print what was found."""
    if as_json:
        print(json.dumps({'file': str(path), 'robot': robot.name, 'joints': {
            name: dataclasses.asdict(found) for name, found in calibration.joints.items()}}))
        return
    table = Table()
    for heading in ('joint', 'servo', 'direction', 'zero', 'from', 'to'):
        table.add_column(heading, justify='left' if heading == 'joint' else 'right')
    for name, found in calibration.joints.items():
        table.add_row(name, str(found.id), f'{found.direction:+d}', str(found.zero_ticks),
                      str(found.lower_ticks), str(found.upper_ticks))
    Console().print(table)
    shifted = [name for name, found in calibration.joints.items() if found.shift_ticks]
    if shifted:
        _say(f'The encoder of {", ".join(shifted)} passes zero inside the travel: the driver '
             'counts over it.')
    _say(f"Written to '{path}'.")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')
