"""The arm in PyBullet: physics in fixed steps, servo-like motors, and a camera before the palm."""

import math
import tempfile
from pathlib import Path

import numpy as np

from hand_imitation.arm.bullet import pybullet
from hand_imitation.arm.driver import ArmDriver, ArmState, NotArmedError
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.quiet import quiet

PHYSICS_RATE_HZ = 240

# Share of the position error that a motor tries to remove within one physics step.
_POSITION_GAIN = 0.15

# Twice PyBullet's default: fingers and thumb jammed against each other otherwise push joints
# several degrees beyond their limits; with this, measured over random extreme commands, 0.6.
_SOLVER_ITERATIONS = 100

# The arm camera looks along -x from in front of the palm. The whole reach of the arm, [m], fits
# into the picture whatever its aspect; far away with a narrow lens, so that perspective is weak.
_CAMERA_DISTANCE_M = 2.0
_CAMERA_HEIGHT_M = 0.30
_VIEW_HALF_WIDTH_M = 0.46
_VIEW_HALF_HEIGHT_M = 0.33

# Light from the front and the thumb's side, and hardly from above: TinyRenderer smooths the
# normals of a cylinder over its ends, so light from above would make each one fade downwards.
_LIGHT_DIRECTION = (1.0, 1.0, 0.1)
_BACKGROUND_TOP_RGB = (238, 241, 245)
_BACKGROUND_BOTTOM_RGB = (196, 203, 212)


class SimulatedArm(ArmDriver):
    """An arm in a physics world of its own; several may exist side by side.

    Time passes only in `step`. `read` stamps with the simulated time.
    """

    def __init__(self, description: str, table: JointTable, gui: bool = False,
                 prefix: str = '') -> None:
        """Keep the settings; `open` does the work.

        Args:
            description: URDF text.
            table: the joints to drive, as read from the same text.
            gui: show PyBullet's window.
            prefix: what the URDF's names carry before those of the table.
        """
        self.table = table
        self._description = description
        self._gui = gui
        self._prefix = prefix
        self._client: int | None = None
        self._body = -1
        self._joints: list[int] = []
        self._links: dict[str, int] = {}
        self._armed = False
        self._steps = 0
        self._unspent_s = 0.0

    @property
    def client_id(self) -> int:
        """PyBullet's physics client, for questions that this class does not answer."""
        if self._client is None:
            raise RuntimeError('the simulated arm is not open: call open() first')
        return self._client

    @property
    def body_id(self) -> int:
        """PyBullet's number of the arm's body."""
        return self._body

    @property
    def links(self) -> dict[str, int]:
        """PyBullet's link numbers by name, without the prefix; the root link is not there."""
        return dict(self._links)

    def open(self) -> None:
        """Start the physics, stand the arm upright with a straight, open hand, motors off."""
        if self._client is not None:
            return
        with quiet():
            try:
                self._client = pybullet.connect(pybullet.GUI if self._gui else pybullet.DIRECT)
            except pybullet.error as error:
                raise UserError(f'PyBullet cannot open its window ({error}): is there a display? '
                                'Run headless instead') from error
        try:
            self._load()
            self.disarm()
            self.reset()
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        """Load the description and find the joints of the table in it."""
        pybullet.setPhysicsEngineParameter(
            fixedTimeStep=1 / PHYSICS_RATE_HZ, deterministicOverlappingPairs=1,
            numSolverIterations=_SOLVER_ITERATIONS, physicsClientId=self.client_id)
        pybullet.setGravity(0, 0, -9.81, physicsClientId=self.client_id)
        flags = (pybullet.URDF_USE_SELF_COLLISION
                 | pybullet.URDF_USE_SELF_COLLISION_EXCLUDE_PARENT
                 | pybullet.URDF_USE_IMPLICIT_CYLINDER)
        with tempfile.TemporaryDirectory() as folder, quiet():
            path = Path(folder) / 'arm.urdf'
            # PyBullet breaks lines of more than a few thousand characters in the middle of a word.
            path.write_text(self._description.replace('><', '>\n<'), encoding='utf-8')
            try:
                self._body = pybullet.loadURDF(str(path), useFixedBase=True, flags=flags,
                                               physicsClientId=self.client_id)
            except pybullet.error as error:
                raise UserError(f'PyBullet refuses the robot description ({error}): '
                                'check it with `check_urdf`') from error
        numbers = {}
        for number in range(pybullet.getNumJoints(self._body, physicsClientId=self.client_id)):
            info = pybullet.getJointInfo(self._body, number, physicsClientId=self.client_id)
            numbers[info[1].decode()] = number
            self._links[info[12].decode().removeprefix(self._prefix)] = number
        absent = [name for name in self.table.names if self._prefix + name not in numbers]
        if absent:
            raise UserError(f'robot description has no joint {self._prefix}{absent[0]}: '
                            'table and description must come from the same file and prefix')
        self._joints = [numbers[self._prefix + name] for name in self.table.names]

    def arm(self) -> None:
        """Switch the motors on, holding the present position."""
        measured = self.read().position_rad
        self._armed = True
        self.write(measured)

    def write(self, targets_rad: np.ndarray) -> None:
        """Set position targets; see `ArmDriver.write`."""
        client = self.client_id
        if not self._armed:
            raise NotArmedError('the motors are off: call arm() first')
        for joint, target, velocity, effort in zip(
                self._joints, self.table.clip(self._checked(targets_rad)),
                self.table.max_velocity_rad_s, self.table.max_effort_nm, strict=True):
            pybullet.setJointMotorControl2(
                self._body, joint, pybullet.POSITION_CONTROL, targetPosition=target,
                positionGain=_POSITION_GAIN, maxVelocity=velocity, force=effort,
                physicsClientId=client)

    def read(self) -> ArmState:
        """Measure all joints; the stamp is the simulated time."""
        states = pybullet.getJointStates(self._body, self._joints, physicsClientId=self.client_id)
        return ArmState(
            position_rad=np.array([state[0] for state in states]),
            velocity_rad_s=np.array([state[1] for state in states]),
            effort_nm=np.array([state[3] for state in states]),
            stamp_s=self._steps / PHYSICS_RATE_HZ)

    def disarm(self) -> None:
        """Switch the motors off; only the joints' damping slows the arm down."""
        self._armed = False
        for joint in self._joints:
            pybullet.setJointMotorControl2(self._body, joint, pybullet.VELOCITY_CONTROL, force=0,
                                           physicsClientId=self.client_id)

    def close(self) -> None:
        """End the physics. Does no harm when closed already."""
        if self._client is None:
            return
        with quiet():
            # The window may have been closed by hand, which ends the connection too.
            if pybullet.isConnected(self._client):
                pybullet.disconnect(self._client)
        self._client = None
        self._armed = False
        self._joints = []
        self._links = {}

    def step(self, duration_s: float) -> int:
        """Let time pass.

        Args:
            duration_s: how long, [s]. What does not fill a physics step counts next time.

        Returns:
            The number of physics steps made.
        """
        if not (math.isfinite(duration_s) and duration_s >= 0):
            raise ValueError(f'time cannot pass by {duration_s} s')
        client = self.client_id
        self._unspent_s += duration_s
        # The small term keeps 10 x 0.1 s from losing a step to rounding.
        steps = int(self._unspent_s * PHYSICS_RATE_HZ + 1e-6)
        self._unspent_s -= steps / PHYSICS_RATE_HZ
        for _ in range(steps):
            pybullet.stepSimulation(physicsClientId=client)
        self._steps += steps
        return steps

    def set_positions(self, positions_rad: np.ndarray) -> None:
        """Put the joints somewhere at once, at rest; motors that are on hold them there.

        Args:
            positions_rad: Shape (n,), order of the joint table, [rad]; clipped to the limits.
        """
        client = self.client_id
        positions = self.table.clip(self._checked(positions_rad))
        for joint, position in zip(self._joints, positions, strict=True):
            pybullet.resetJointState(self._body, joint, position, physicsClientId=client)
        if self._armed:
            self.write(positions)

    def reset(self) -> None:
        """Return to the start pose: forearm upright, hand straight and open."""
        self.set_positions(np.zeros(len(self.table)))

    def link_position(self, name: str) -> np.ndarray:
        """Return where the frame of a link is, such as `index_tip_link`.

        Args:
            name: link name without the prefix.

        Returns:
            Shape (3,), world frame, [m].
        """
        state = pybullet.getLinkState(self._body, self._links[name], computeForwardKinematics=True,
                                      physicsClientId=self.client_id)
        return np.array(state[4])

    def render(self, width: int, height: int) -> np.ndarray:
        """Take a picture with the arm camera, which sees the arm in every pose.

        Args:
            width: [px].
            height: [px].

        Returns:
            Shape (height, width, 3), uint8, RGB.
        """
        aspect = width / height
        half_height = max(_VIEW_HALF_HEIGHT_M, _VIEW_HALF_WIDTH_M / aspect)
        view = pybullet.computeViewMatrix(
            (_CAMERA_DISTANCE_M, 0, _CAMERA_HEIGHT_M), (0, 0, _CAMERA_HEIGHT_M), (0, 0, 1))
        projection = pybullet.computeProjectionMatrixFOV(
            math.degrees(2 * math.atan(half_height / _CAMERA_DISTANCE_M)), aspect, 0.5, 4.0)
        _, _, rgba, _, segments = pybullet.getCameraImage(
            width, height, view, projection, lightDirection=_LIGHT_DIRECTION,
            lightColor=(1, 1, 1), lightDistance=3, shadow=0, lightAmbientCoeff=0.45,
            lightDiffuseCoeff=0.6, lightSpecularCoeff=0.05,
            renderer=pybullet.ER_TINY_RENDERER, physicsClientId=self.client_id)
        # PyBullet built without numpy returns flat tuples.
        image = np.array(np.asarray(rgba, dtype=np.uint8).reshape(height, width, 4)[..., :3])
        empty = np.asarray(segments).reshape(height, width) < 0
        background = np.broadcast_to(_background(height), image.shape)
        image[empty] = background[empty]
        return image

    def _checked(self, values: np.ndarray) -> np.ndarray:
        """Return one finite number per joint, or raise ValueError."""
        checked = np.asarray(values, dtype=float)
        if checked.shape != (len(self.table),):
            raise ValueError(f'{len(self.table)} joints, but values of shape {checked.shape}')
        if not np.isfinite(checked).all():
            raise ValueError('joint values must be finite numbers')
        return checked


def _background(height: int) -> np.ndarray:
    """Make a column that fades from top to bottom, shape (height, 1, 3), uint8."""
    column = np.linspace(_BACKGROUND_TOP_RGB, _BACKGROUND_BOTTOM_RGB, height)
    return column.astype(np.uint8)[:, np.newaxis]
