"""What comes into the safety filter, read by joint name and refused with a reason.

A message that is wrong in any way is refused whole: a value that happens to look sane beside
a NaN is not to be trusted. Only leaving joints out is allowed; those are then held.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety_types import Measured, Target


def read_target(target: Target, table: JointTable) -> tuple[np.ndarray | None, list[str]]:
    """Bring a target's positions into the table's order and inside the limits.

    Args:
        target: What the policy wants; only names and positions are looked at.
        table: The arm's joints.

    Returns:
        Shape (n,), [rad], NaN for joints left out, or None when refused; and the reasons for
        whatever was refused or changed.
    """
    values = _numbers(target.positions)
    if values is None:
        return None, ['nan']
    names = tuple(target.names)
    if len(names) != len(values) or len(values) > len(table):
        return None, ['wrong_length']
    if not names:
        return None, ['missing']
    reasons = [] if np.isfinite(values).all() else ['nan']
    if names != table.names:
        known = set(table.names)
        reasons += [f'unknown_joint {str(name)[:40]}' for name in names if name not in known]
        reasons += [f'duplicate_joint {name}' for name in table.names if names.count(name) > 1]
    if reasons:
        return None, reasons
    ordered = _in_table_order(names, values, table)
    inside = np.clip(ordered, table.lower_rad, table.upper_rad)
    clamped = np.abs(inside - ordered) > 1e-9
    return inside, named('clamped', clamped, table)


def read_measured(measured: Measured, table: JointTable) -> np.ndarray:
    """Bring measured positions into the table's order.

    Args:
        measured: What the arm reports.
        table: The arm's joints.

    Returns:
        Shape (n,), [rad], NaN for every joint without a usable measurement.
    """
    values = _numbers(measured.positions)
    names = tuple(measured.names)
    if values is None or len(names) != len(values) or len(set(names)) != len(names):
        return np.full(len(table), np.nan)
    ordered = _in_table_order(names, values, table)
    ordered[~np.isfinite(ordered)] = np.nan
    return ordered


def named(word: str, mask: np.ndarray, table: JointTable) -> list[str]:
    """Return one reason per joint of a mask, such as 'clamped index_distal'."""
    if not mask.any():
        return []
    return [f'{word} {table.names[row]}' for row in np.flatnonzero(mask)]


def _numbers(positions: Sequence[float] | np.ndarray) -> np.ndarray | None:
    """Return a copy as a flat array of floats, or None where it is something else."""
    try:
        values = np.array(positions, dtype=float)
    except (TypeError, ValueError, OverflowError):
        return None
    return values if values.ndim == 1 else None


def _in_table_order(names: tuple[str, ...], values: np.ndarray, table: JointTable) -> np.ndarray:
    """Return values by the table's order, shape (n,), NaN for joints not named."""
    if names == table.names:
        return values
    by_name = dict(zip(names, values, strict=True))
    return np.array([by_name.get(name, np.nan) for name in table.names])
