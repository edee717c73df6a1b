"""Ray clusters: joining one, with an answer within seconds where there is none."""

from __future__ import annotations

import logging
import socket
from typing import Any

from hand_imitation.errors import UserError

_ANSWER_S = 5.0


def join_cluster(address: str) -> Any:
    """Join a Ray cluster; leave it with `ray.shutdown()`.

    Args:
        address: Of the cluster, such as 'auto' or '10.0.0.1:6379'.

    Returns:
        The module `ray`.

    Raises:
        UserError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("--ray needs Ray: pip install 'hand_imitation[ray]'") from error
    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(f"no Ray cluster at '{address}' ({in_a_line(error)}): start one by "
                        f"'ray start --head', or leave out --ray") from error
    return ray


def in_a_line(error: Exception) -> str:
    """Return an error's words in one line; Ray's are many."""
    return ' '.join(str(error).split())[:200]


def _reach(address: str) -> None:
    """Raise OSError where nobody answers at an address; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix('ray://').rpartition(':')
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), _ANSWER_S).close()
