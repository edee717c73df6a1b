"""The robot's description: xacro in, URDF out."""

import re
from pathlib import Path
from xml.parsers.expat import ExpatError

import xacro

from hand_imitation.errors import UserError
from hand_imitation.resources import share_directory

SIDES = ('right', 'left')


def load_description(side: str = 'right', prefix: str = '',
                     path: str | Path | None = None) -> str:
    """Expand the arm's xacro file to URDF.

    Args:
        side: 'right' or 'left'; the left arm is the mirror image of the right one.
        prefix: put before every link and joint name, for example 'left_'.
        path: another description. A `.xacro` file is expanded with the same arguments; any
            other file is read as it stands. None takes the package's own arm.

    Returns:
        The URDF as XML text.

    Raises:
        UserError: unknown side, unusable prefix, missing or broken file.
    """
    if side not in SIDES:
        raise UserError(f'unknown side {side!r}: use one of {", ".join(SIDES)}')
    if not re.fullmatch(r'[A-Za-z0-9_]*', prefix):
        raise UserError(f'prefix {prefix!r} cannot be part of a joint name: '
                        'use letters, digits and underscores')
    source = share_directory() / 'urdf' / 'hand_arm.urdf.xacro' if path is None else Path(path)
    if not source.is_file():
        raise UserError(f'robot description {source} does not exist: check the path')
    if source.suffix == '.xacro':
        return _expand(source, {'side': side, 'prefix': prefix})
    try:
        return source.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'robot description {source} is not readable text: {error}') from error


def _expand(source: Path, arguments: dict[str, str]) -> str:
    """Run xacro on a file."""
    try:
        return xacro.process_file(str(source), mappings=arguments).toprettyxml(indent='  ')
    except (xacro.XacroException, ExpatError, OSError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise UserError(f'robot description {source} is not valid xacro: {reason}') from error
