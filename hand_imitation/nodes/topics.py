"""Names and quality of service of every topic and service: their one home."""

from __future__ import annotations

from rclpy.qos import (
    HistoryPolicy,
    QoSPresetProfiles,
    QoSProfile,
    ReliabilityPolicy,
)

IMAGE = 'camera/image_raw'
IMAGE_COMPRESSED = 'camera/image_raw/compressed'
CAMERA_INFO = 'camera/camera_info'
LANDMARKS = 'hand/landmarks'
MARKERS = 'hand/markers'
POLICY_TRAJECTORY = 'policy/joint_trajectory'
JOINT_TRAJECTORY = 'joint_trajectory'
JOINT_STATES = 'joint_states'
TRUTH_JOINT_STATES = 'truth/joint_states'
ARM_IMAGE = 'arm_camera/image_raw'
ARM_IMAGE_COMPRESSED = 'arm_camera/image_raw/compressed'
LATENCY = 'latency'
DIAGNOSTICS = '/diagnostics'
CLOCK = '/clock'
STOP = 'commander/stop'
RESUME = 'commander/resume'

CAMERA_FRAME = 'camera_optical_frame'
ARM_CAMERA_FRAME = 'arm_camera_optical_frame'


def _sensor_data(depth: int) -> QoSProfile:
    preset = QoSPresetProfiles.SENSOR_DATA.value
    return QoSProfile(
        history=preset.history, depth=depth, reliability=preset.reliability,
        durability=preset.durability)


def _reliable(depth: int) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.RELIABLE)


QOS = {
    IMAGE: _sensor_data(1),
    IMAGE_COMPRESSED: _sensor_data(1),
    CAMERA_INFO: _sensor_data(5),
    LANDMARKS: _reliable(5),
    MARKERS: _reliable(5),
    POLICY_TRAJECTORY: _reliable(1),
    JOINT_TRAJECTORY: _reliable(1),
    JOINT_STATES: _reliable(10),
    TRUTH_JOINT_STATES: _reliable(10),
    ARM_IMAGE: _sensor_data(1),
    ARM_IMAGE_COMPRESSED: _sensor_data(1),
    LATENCY: _reliable(50),
    DIAGNOSTICS: _reliable(10),
    CLOCK: _reliable(1),
}

IMAGE_TOPICS = (IMAGE, IMAGE_COMPRESSED, ARM_IMAGE, ARM_IMAGE_COMPRESSED)


def deep(topic: str, depth: int = 100) -> QoSProfile:
    """The topic's quality of service with a longer queue, for one who wants every message.

    Args:
        topic: One of the names above.
        depth: Length of the queue.

    Returns:
        A profile that is compatible with the topic's publishers.
    """
    profile = QOS[topic]
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=profile.reliability,
        durability=profile.durability)
