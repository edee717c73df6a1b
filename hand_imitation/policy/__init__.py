"""Policies: from an observed hand to joint targets."""

from __future__ import annotations

from typing import Any

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.person import PersonCalibration
from hand_imitation.policy.base import Policy
from hand_imitation.policy.geometric import GeometricPolicy

POLICIES = ('geometric',)
"""Names of the policies that ship with the package."""


def load_policy(name: str, table: JointTable, parameters: dict[str, Any] | None = None,
                person: PersonCalibration | None = None) -> Policy:
    """Load a policy by its name.

    Args:
        name: One of `POLICIES`.
        table: The arm's joints.
        parameters: Parameter dataclasses by policy name, for policies that have any.
        person: Corrections for the person seen, for policies that go by landmarks.

    Returns:
        The policy, ready to act.

    Raises:
        UserError: There is no such policy.
    """
    if name == 'geometric':
        return GeometricPolicy(table, (parameters or {}).get('geometric'), person)
    raise UserError(f"no policy '{name}': choose one of {', '.join(POLICIES)}")
