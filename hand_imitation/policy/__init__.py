"""Policies: from an observed hand to joint targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.person import PersonCalibration
from hand_imitation.policy.base import Policy
from hand_imitation.policy.checkpoint import DESCRIPTION, Checkpoint, load_checkpoint
from hand_imitation.policy.geometric import GeometricPolicy
from hand_imitation.policy.landmarks import LandmarksPolicy

POLICIES = ('geometric', 'landmarks', 'pixels')
"""Names of the policies: one of formulas, and two learned ones."""
DEFAULT_POLICY = 'landmarks'
"""The policy where none is asked for; `config/hand_imitation.yaml` says the same."""
SHIPPED = Path(__file__).parent / 'checkpoints'
"""Checkpoints of the learned policies, each in a folder of the policy's name."""
_OF_A_RUN = 'checkpoint'
"""Where `hand-imitation train` leaves a checkpoint in the folder of a run."""


def load_policy(name: str, table: JointTable, parameters: dict[str, Any] | None = None,
                person: PersonCalibration | None = None) -> Policy:
    """Load a policy by its name, or by the path of a checkpoint.

    Args:
        name: One of `POLICIES`, or else the path of a folder that holds a checkpoint, or of the
            run that left it there in 'checkpoint'. A folder called like a policy is meant where
            a slash is in it: './pixels'.
        table: The arm's joints.
        parameters: Parameter dataclasses by policy name, for policies that have any.
        person: Corrections for the person seen, for policies that go by landmarks.

    Returns:
        The policy, ready to act.

    Raises:
        UserError: There is no such policy, its checkpoint does not fit, or what it needs is not
            installed.
    """
    given = parameters or {}
    if name == 'geometric':
        return GeometricPolicy(table, given.get('geometric'), person)
    checkpoint = find_checkpoint(name, table)
    try:
        if checkpoint.kind == 'landmarks':
            return LandmarksPolicy(table, checkpoint, given.get('landmarks'), person)
        # Imported late: it takes PyTorch, which only this policy needs.
        import torch

        from hand_imitation.policy.pixels import PixelsPolicy

        # For one small picture a second thread gains little, and where cores are busy the two
        # wait for each other: measured on 2 such cores, 1,000 ms a picture instead of 24.
        torch.set_num_threads(1)
        return PixelsPolicy(table, checkpoint, given.get('pixels'))
    except ModuleNotFoundError as error:
        if error.name != 'torch':
            raise
        raise UserError(f"policy '{name}' needs PyTorch, which is not installed: "
                        "pip install 'hand_imitation[pixels]'") from error
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        # The files are sound, so the layout is of another version or made up.
        words = ' '.join(str(error).split())[:80]
        raise UserError(f"checkpoint '{name}' has a layout that this version does not know "
                        f'({words}): save it again with this version by '
                        f"'hand-imitation train'") from error


def takes_calibration(policy: Policy) -> bool:
    """Tell whether a person's calibration makes a difference to a policy.

    Args:
        policy: From `load_policy`.

    Returns:
        True for those that go by formulas.
    """
    return isinstance(policy, GeometricPolicy) or (
        isinstance(policy, LandmarksPolicy) and policy.goes_by_formulas)


def policy_name(name: str) -> str:
    """Tell what to call a policy in tables and reports.

    Args:
        name: As for `load_policy`.

    Returns:
        The name itself, or the name of a checkpoint's folder, or of its run where that folder is
        called 'checkpoint', as those of all runs are.
    """
    if not _is_path(name):
        return name
    folder = _folder(name)
    return folder.name if folder.name != _OF_A_RUN else folder.parent.name


def settled_name(name: str) -> str:
    """Return a policy's name or the absolute path of its checkpoint, for other processes."""
    return str(_folder(name)) if _is_path(name) else name


def _folder(name: str) -> Path:
    """Find the folder of a checkpoint from its path, or that of its run."""
    folder = Path(name).expanduser().resolve()
    inside = folder / _OF_A_RUN
    return inside if inside.is_dir() and not (folder / DESCRIPTION).exists() else folder


def _is_path(name: str) -> bool:
    """Tell whether a folder is meant."""
    return name not in POLICIES and ('/' in name or Path(name).is_dir())


def find_checkpoint(name: str, table: JointTable, kind: str | None = None) -> Checkpoint:
    """Load the checkpoint of a learned policy.

    Args:
        name: As for `load_policy`.
        table: The arm's joints.
        kind: What it must be for, or None for any.

    Returns:
        The checkpoint.

    Raises:
        UserError: There is none, or it does not fit.
    """
    if _is_path(name):
        return load_checkpoint(_folder(name), table, kind)
    if name not in POLICIES:
        raise UserError(f"no policy '{name}': choose one of {', '.join(POLICIES)}, or give the "
                        f'folder of a checkpoint')
    if not (SHIPPED / name).is_dir():
        raise UserError(f"this installation holds no checkpoint of '{name}': train one by "
                        f"'hand-imitation train --policy {name}' and give its folder")
    return load_checkpoint(SHIPPED / name, table, kind or name)
