"""`hand-imitation emulate`: a servo bus on a pseudo-terminal, to try and to test with."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from hand_imitation.errors import UserError

_FAULT_HELP = (
    'What goes wrong, as NAME or NAME:key=value,key=value; again for more. Packets: drop, '
    'corrupt, truncate, delay, duplicate, wrong_id, wrong_length, noise (p=0.05, id). Bus: echo, '
    'unplug, replug. Servos (id, or all): dead, alive, reset, overload, voltage, heat, sensor, '
    'current, overheat, undervoltage, jam, load, move, release, heal. Each takes at=SECONDS and '
    'for=SECONDS.')


def emulate(
    protocol: Annotated[str, typer.Argument(
        help='Family of servos: dynamixel or feetech.')],
    servos: Annotated[int, typer.Option(help='How many, with the ids 1, 2, 3, ...')] = 12,
    ids: Annotated[str | None, typer.Option(
        help='Their ids instead, such as 1,2,4; the same one twice for a mistake.')] = None,
    baud: Annotated[int, typer.Option(help='Rate of the bus; timing follows it.')] = 1_000_000,
    model: Annotated[str | None, typer.Option(
        help='Of the servos; XL330-M288 or STS3215 by default.')] = None,
    fault: Annotated[list[str] | None, typer.Option(
        metavar='SPEC', help=_FAULT_HELP)] = None,
    control: Annotated[Path | None, typer.Option(
        help='Listen for live faults at this Unix socket: one JSON object a line, such as '
        '{"do": "dead", "id": 3}, {"do": "status"} or {"do": "writes"}.')] = None,
    link: Annotated[Path | None, typer.Option(
        help='Make a symbolic link to the terminal, which also outlasts unplugging.')] = None,
    seed: Annotated[int, typer.Option(help='Of what chance decides about faults.')] = 0,
) -> None:
    """Emulate a bus of servos on a pseudo-terminal, until Ctrl-C.

    The first line ends with the path of the terminal, which takes the place of /dev/ttyUSB0.

    Example: hand-imitation emulate dynamixel --link /tmp/servos --fault drop:p=0.01
    """
    from hand_imitation.emulator.bus import make_bus
    from hand_imitation.emulator.faults import Faults
    from hand_imitation.emulator.pty_host import PtyHost

    bus = make_bus(protocol, servos, baud, model, faults=Faults.parse(fault or ()), seed=seed,
                   ids=_numbers(ids) if ids is not None else None)
    described = f'{len(bus.servos)} {bus.servos[0].model.name} at {baud} baud'

    def announce(path: str) -> None:
        print(f'{protocol}: {described}: {path}', flush=True)

    host = PtyHost(bus, link, control, announce)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: host.stop())
    host.run()
    print(f'{bus.instructions} instructions, {bus.answers} answers, {bus.collisions} collisions',
          file=sys.stderr)


def _numbers(text: str) -> list[int]:
    try:
        return [int(item) for item in text.split(',')]
    except ValueError:
        raise UserError(f'--ids {text}: write numbers and commas, such as 1,2,4') from None
