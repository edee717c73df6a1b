"""Which policies are judged, and what the rows of tables are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.policy import POLICIES, find_checkpoint, load_policy, policy_name
from hand_imitation.policy.base import Policy

FIRST_ROWS = ('zero', 'random', 'best constant')
LAST_ROWS = ('ceiling',)


def load_policies(
    names: Sequence[str], table: JointTable,
) -> tuple[dict[str, Policy], dict[str, str]]:
    """Load what was asked for, or else what is installed.

    Args:
        names: Names or paths; none for all of `POLICIES`.
        table: The arm's joints.

    Returns:
        Policies by what to call them, and why others cannot be loaded by name.

    Raises:
        UserError: One that was asked for cannot be loaded, or two would be called the same.
    """
    policies: dict[str, Policy] = {}
    unavailable: dict[str, str] = {}
    for name in names or POLICIES:
        called = policy_name(name)
        if called in policies or called in (*FIRST_ROWS, *LAST_ROWS, 'peer'):
            raise UserError(f"two rows would be called '{called}': give policies once, and "
                            'checkpoints in folders of different names')
        try:
            policies[called] = load_policy(name, table)
        except UserError as error:
            if names:
                raise
            unavailable[called] = str(error)
    return policies, unavailable


def rows_of(document: dict[str, Any]) -> list[str]:
    """Names of the rows of a table of everything, in order: policies followed by their parts."""
    parts = document.get('moving', {}).get('parts', {})
    policies = [[name, *parts.get(name, ())] for name in document['policies']]
    return [*FIRST_ROWS, *(row for rows in policies for row in rows), *LAST_ROWS]


def parts_of(name: str, table: JointTable) -> dict[str, Policy]:
    """Take a learned policy on landmarks apart.

    Args:
        name: As for `load_policy`.
        table: The arm's joints.

    Returns:
        'estimate': its estimate alone, not smoothed, so that a classic predictor gets all there
        is. Where it has a controller learned by reinforcement: 'no RL', the policy without it, and
        'RL only', the controller behind the formulas of the geometric policy. Nothing for
        policies of another kind.
    """
    if name == 'geometric':
        return {}
    checkpoint = find_checkpoint(name, table)
    if checkpoint.kind != 'landmarks':
        return {}
    # Imported late: who has no checkpoint of it does without.
    from hand_imitation.policy.landmarks import LandmarksParameters, LandmarksPolicy

    parts: dict[str, Policy] = {}
    if 'estimate' in checkpoint.layout:
        raw = LandmarksParameters(use_controller=False, smooth=False)
        parts['estimate'] = LandmarksPolicy(table, checkpoint, raw)
    if 'controller' in checkpoint.layout:
        for part, lacking in (('no RL', {'controller'}), ('RL only', {'estimate', 'predictor'})):
            layout = {key: value for key, value in checkpoint.layout.items()
                      if key not in lacking}
            parts[part] = LandmarksPolicy(table, replace(checkpoint, layout=layout))
    return parts
