"""A table, a filter and an ideal arm for the tests of the safety filter."""

import math

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.arm.safety import Measured, SafetyFilter, SafetyParameters, Target

FINGERS = ('thumb', 'index', 'middle', 'ring', 'little')
NAMES = (*(f'{f}_{part}' for f in FINGERS for part in ('proximal', 'distal')), 'wrist', 'elbow')
TABLE = JointTable(
    names=NAMES,
    lower_rad=np.array([0.0] * 10 + [-0.52, -1.04]),
    upper_rad=np.array([1.55] * 10 + [0.52, 1.04]),
    max_velocity_rad_s=np.array([6.0] * 10 + [5.0, 4.0]),
    max_effort_nm=np.array([0.5] * 10 + [2.5, 8.0]),
)
N = len(TABLE)
MIDDLE = (TABLE.lower_rad + TABLE.upper_rad) / 2
CYCLE_S = 0.01
P = SafetyParameters()
FILTER = SafetyFilter(TABLE, P)


def target_at(now_s, positions, names=NAMES, **changes):
    """Return a valid target received now from a frame 20 ms old."""
    values = {'stamp_s': 1e9 + now_s - 0.02, 'stamp_age_s': 0.02, 'received_s': now_s}
    return Target(names, positions, **{**values, **changes})


class Rig:
    """A filter, an ideal arm that is where it was commanded, and a clock."""

    def __init__(self, pose, safety=FILTER, start_s=100.0):
        self.filter = safety
        self.state = safety.initial_state()
        self.now_s = start_s
        self.pose = np.array(pose, dtype=float)
        self.measured = True
        self.times, self.commands, self.velocities, self.modes = [], [], [], []
        self.command = None

    def step(self, target=None, dt_s=CYCLE_S):
        self.now_s += dt_s
        measured = Measured(NAMES, self.pose, self.now_s) if self.measured else None
        self.state, self.command = self.filter.step(self.state, target, measured, self.now_s)
        if self.command.positions is not None:
            self.pose = np.array(self.command.positions)
            self.times.append(self.now_s)
            self.commands.append(self.command.positions)
            self.velocities.append(self.command.velocities)
            self.modes.append(self.command.mode)
        return self.command

    def follow(self, positions, seconds, period_s=1 / 30, dt_s=CYCLE_S):
        """Step for a while with new targets at a camera's rate; positions may be a function."""
        end_s = self.now_s + seconds
        next_s = self.now_s
        target = None
        while self.now_s < end_s - 1e-9:
            coming_s = self.now_s + dt_s
            if coming_s >= next_s:
                wanted = positions(coming_s) if callable(positions) else positions
                target = target_at(coming_s, wanted)
                next_s += period_s
            self.step(target, dt_s)
        return self


def tracking_rig(pose=MIDDLE, safety=FILTER):
    """Return a rig whose start ramp is over, at rest."""
    rig = Rig(pose, safety)
    rig.step()
    rig.follow(np.array(pose), 1.7)
    assert rig.command.mode == 'tracking'
    return rig


def last_change_s(rig, from_index):
    """Return the time of the last command that differs from the one before it."""
    commands = np.array(rig.commands)
    changed = np.flatnonzero(np.any(np.diff(commands, axis=0) != 0, axis=1)) + 1
    return rig.times[changed[-1]] if changed[-1] >= from_index else -math.inf


def moving_rig():
    """Return a rig with every joint at speed, and the time of its last valid input."""
    rig = tracking_rig(TABLE.lower_rad)
    for _ in range(9):
        rig.step(target_at(rig.now_s + CYCLE_S, TABLE.lower_rad + 0.95))
    assert (rig.command.velocities[:10] > 3.0).all()
    return rig, rig.now_s


BAD = {
    'nan': {'positions': [math.nan, *MIDDLE[1:]]},
    'nan (inf)': {'positions': [*MIDDLE[:11], -math.inf]},
    'nan (none)': {'positions': [None] * N},
    'nan (text)': {'positions': ['much'] * N},
    'nan (ragged)': {'positions': [[0.1], [0.1, 0.2]]},
    'nan (table)': {'positions': np.zeros((N, 1))},
    'nan (stamp)': {'stamp_s': math.nan},
    'wrong_length': {'positions': MIDDLE[:11]},
    'wrong_length (long)': {'positions': [*MIDDLE, 0.1]},
    'wrong_length (names)': {'names': NAMES[:11]},
    'wrong_length (both)': {'names': [*NAMES, 'toe'], 'positions': [*MIDDLE, 0.1]},
    'missing': {'names': (), 'positions': ()},
    'unknown_joint toe': {'names': ('toe', *NAMES[1:])},
    'duplicate_joint wrist': {'names': (*NAMES[:11], 'wrist')},
    'future_stamp': {'stamp_age_s': -0.03},
    'future_stamp (other clock)': {'stamp_age_s': -1e9},
    'future_stamp (receipt)': {'received_s': 1e6},
    'old_stamp': {'stamp_age_s': 0.26},
    'old_stamp (other clock)': {'stamp_age_s': 1e9, 'stamp_s': 0.0},
    'old_stamp (nan)': {'stamp_age_s': math.nan},
}
"""Changes that make a target bad, by the reason it must be refused for."""
