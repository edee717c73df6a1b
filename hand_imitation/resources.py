"""Where the package's own files are: urdf, config, launch."""

import sys
from pathlib import Path

from hand_imitation.errors import UserError

_PACKAGE_NAME = 'hand_imitation'


def share_directory() -> Path:
    """Find the folder that holds `urdf/`, `config/` and `launch/`.

    That is the repository root in a source checkout (and after `colcon build
    --symlink-install`), and `<prefix>/share/hand_imitation` after an installation.

    Returns:
        The first candidate that has a package.xml.

    Raises:
        UserError: there is none, because the installation is incomplete.
    """
    package_directory = Path(__file__).resolve().parent
    for candidate in _candidates(package_directory):
        if (candidate / 'package.xml').is_file():
            return candidate
    raise UserError(
        f'the data files of {_PACKAGE_NAME} (share/{_PACKAGE_NAME}) were not found near '
        f'{package_directory}: install the package again with pip or colcon')


def _candidates(package_directory: Path) -> list[Path]:
    """List the places to look in, the most specific first."""
    found = [package_directory.parent]
    found += _ament_share()
    found.append(Path(sys.prefix) / 'share' / _PACKAGE_NAME)
    # site-packages lies two to four folders below its prefix, depending on the platform.
    found += [parent / 'share' / _PACKAGE_NAME for parent in package_directory.parents[1:6]]
    return found


def _ament_share() -> list[Path]:
    """Ask the ament index, when there is one and it knows the package."""
    try:
        from ament_index_python.packages import get_package_share_directory
    except ImportError:
        return []
    try:
        return [Path(get_package_share_directory(_PACKAGE_NAME))]
    except (LookupError, OSError):  # not registered; AMENT_PREFIX_PATH not set
        return []
