"""The `landmarks` policy: networks on landmarks, and on how the arm has followed so far.

An estimate, learned from synthetic people through real perception, tells the pose; it stands
where the `geometric` policy has its formulas. After it comes a controller learned by trial, which
says where to send the joints so that they are in time, or else the same smoothing as there. A
checkpoint holds one of the two or both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.angles import HAND_JOINTS, JOINTS
from hand_imitation.human.observation import HandObservation
from hand_imitation.human.person import PersonCalibration
from hand_imitation.parameters import parameter
from hand_imitation.policy.base import JointTargets
from hand_imitation.policy.checkpoint import Checkpoint
from hand_imitation.policy.filters import FilterParameters, GlitchFilter, OneEuroFilter
from hand_imitation.policy.landmarks_controller import Controller, JointController
from hand_imitation.policy.landmarks_estimate import Estimate, Formulas, UsualBones
from hand_imitation.policy.landmarks_observation import ObservationController

_FINGERS = len(HAND_JOINTS)


@dataclass(frozen=True)
class LandmarksParameters(FilterParameters):
    """Filtering of the landmarks policy."""

    use_controller: bool = parameter(
        True, 'Let the controller lead, where the checkpoint holds one.')
    smooth: bool = parameter(
        True, 'Smooth what no controller leads; off, estimates go out as they are.')
    max_bone_deviation: float = parameter(
        0.45, "Mean relative deviation from the person's own bone lengths above which a frame "
        'is no believable hand and is passed over.', lower=0.05, upper=10.0)


class LandmarksPolicy:
    """Networks on landmarks; see the module.

    Attributes:
        goes_by_formulas: The checkpoint holds no estimate.

    Args:
        table: The arm's joints; targets are clipped to its limits.
        checkpoint: Holds the networks.
        parameters: Filtering.
        person: A calibration corrects what the formulas make of a person's landmarks; it is used
            where the checkpoint has no estimate. The estimate was learned from people of all
            proportions and is not corrected.

    Raises:
        UserError: The checkpoint is not for this policy, of another version, or damaged.
    """

    uses_perception = True

    def __init__(
        self, table: JointTable, checkpoint: Checkpoint,
        parameters: LandmarksParameters | None = None, person: PersonCalibration | None = None,
    ) -> None:
        self._parameters = parameters or LandmarksParameters()
        parts = ('estimate', 'predictor', 'controller')
        known = [name for name in parts if name in checkpoint.layout]
        if not known:
            raise UserError(f"checkpoint '{checkpoint.name}' holds neither estimate nor "
                            "controller: train one by 'hand-imitation train --policy landmarks'")
        order = [table.index(name) for name in JOINTS]
        self._lower_rad, self._upper_rad = table.lower_rad[order], table.upper_rad[order]
        self._measured_order = order
        self._estimate: Estimate | Formulas = (
            Estimate(checkpoint) if 'estimate' in known else Formulas(person))
        self.goes_by_formulas = 'estimate' not in known
        self._controller: Controller | None = None
        if known != ['estimate'] and self._parameters.use_controller:
            of_joints = 'predictor' in known or (
                checkpoint.layout['controller'].get('sees') == 'joints')
            self._controller = (JointController if of_joints else ObservationController)(
                checkpoint, self._lower_rad, self._upper_rad)
        self.uses_joint_positions = self._controller is not None
        self._glitches = GlitchFilter(self._parameters.max_velocity_rad_s)
        self._smoothing = OneEuroFilter(self._parameters.min_cutoff_hz, self._parameters.beta)
        self._bones = UsualBones()
        self._last_s = -np.inf

    def reset(self) -> None:
        """Forget the person and the past."""
        self._bones.reset()
        self._restart()

    def act(
        self, observation: HandObservation, joint_positions: np.ndarray | None, now_s: float,
    ) -> JointTargets | None:
        """Tell where the joints should go; see `Policy.act`.

        A first picture is followed as it is: there is nothing yet to control by.
        """
        if not usable(observation):
            return None
        stamp_s = observation.stamp_s
        if not 0.0 <= stamp_s - self._last_s <= self._parameters.max_gap_s:
            self._restart()
        pose = self._estimate(observation)
        if not self._bones.accept(pose.log_lengths, self._parameters.max_bone_deviation):
            return None
        self._last_s = stamp_s
        angles = self._glitches(pose.angles_rad, stamp_s)
        angles = self._led(angles, pose.points, joint_positions, stamp_s, pose.thumb_side)
        angles[_FINGERS:] *= pose.thumb_side
        known = np.isfinite(angles)
        positions = np.minimum(np.maximum(angles, self._lower_rad), self._upper_rad)
        names: tuple[str, ...] = JOINTS
        if not known.all():
            names = tuple(name for name, told in zip(JOINTS, known, strict=True) if told)
            positions = positions[known]
        return JointTargets(names, positions, stamp_s, pose.thumb_side)

    def _led(
        self, angles: np.ndarray, points: np.ndarray, joint_positions: np.ndarray | None,
        stamp_s: float, thumb_side: float,
    ) -> np.ndarray:
        """Lead the joints to the estimate, by controller or smoothing; all shape (12,) [rad]."""
        smooth = self._smoothing(angles, stamp_s) if self._parameters.smooth else angles.copy()
        if self._controller is None:
            return smooth
        measured = None if joint_positions is None else joint_positions[self._measured_order]
        return self._controller(angles, smooth, points, measured, stamp_s, thumb_side)

    def _restart(self) -> None:
        self._estimate.reset()
        self._glitches.reset()
        self._smoothing.reset()
        if self._controller is not None:
            self._controller.reset()
        self._last_s = -np.inf


def usable(observation: HandObservation) -> bool:
    """Tell whether there is a settled hand in an observation, all its points finite."""
    # A sum is finite when all terms are, and quicker than looking at each.
    return bool(observation.valid and observation.settled and np.isfinite(
        observation.world_points.sum() + observation.image_points.sum()))
