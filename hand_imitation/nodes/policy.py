"""The `policy` node: sees the hand in the newest picture and says where the joints should go.

A policy that looks for the hand itself gets the picture alone: then perception does not run, no
landmarks are told, and the markers say in words what the policy saw.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState, TimeReference
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.human.angles import Side
from hand_imitation.human.observation import HandObservation
from hand_imitation.human.perception import StreamPerception
from hand_imitation.human.person import load_person
from hand_imitation.node_parameters import PolicyParameters
from hand_imitation.nodes import health, topics
from hand_imitation.nodes.markers import hand_markers, sight_markers
from hand_imitation.nodes.messages import (
    BadMessage,
    landmarks_message,
    latency_message,
    picture_from,
    to_seconds,
    trajectory_message,
    without_prefix,
)
from hand_imitation.nodes.ros_parameters import declare
from hand_imitation.nodes.runtime import main_of
from hand_imitation.policy import load_policy, policy_name, takes_calibration
from hand_imitation.policy.base import JointTargets, in_arm_terms, sight_of
from hand_imitation.policy.sight import Sight

_OVERDUE_S = 1.0


class PolicyNode(Node):
    """Perception and policy on the latest picture; older ones that wait are passed over.

    The executor only puts pictures into a slot; a thread of its own takes them out and does the
    work, so that a slow inference delays nothing else.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('policy', **kwargs)
        parts = declare(self, 'policy')
        self._settings: PolicyParameters = parts['']
        self._side: Side = 'left' if self._settings.side == 'left' else 'right'
        self._table = JointTable.from_urdf(load_description(self._settings.side))
        person = load_person(self._settings.person) if self._settings.person else None
        self._policy = load_policy(self._settings.policy, self._table, parts, person)
        if person and not takes_calibration(self._policy):
            self.get_logger().warning(
                'this policy does not use the calibration of a person; geometric does')
        self._perception = (
            StreamPerception(parts['perception']) if self._policy.uses_perception else None)
        self._health = health.Health(self)
        self._health.set(policy=policy_name(self._settings.policy))
        self._health.state(health.OK, 'waiting for pictures')
        self._health.expect(
            _OVERDUE_S, health.WARN, 'no pictures come: does the camera see something?')
        self._joint_positions: np.ndarray | None = None
        self._camera: tuple[float, tuple[float, float]] | None = None
        self._newest: Image | None = None
        self._news = threading.Condition()
        self._halt = False

        def publisher(kind: type, topic: str):
            return self.create_publisher(kind, topic, topics.QOS[topic])

        self._targets = publisher(JointTrajectory, topics.POLICY_TRAJECTORY)
        self._landmarks = publisher(PoseArray, topics.LANDMARKS)
        self._markers = publisher(MarkerArray, topics.MARKERS)
        self._latency = publisher(TimeReference, topics.LATENCY)
        if self._policy.uses_joint_positions:
            self.create_subscription(
                JointState, topics.JOINT_STATES, self._on_joint_states,
                topics.QOS[topics.JOINT_STATES])
        self.create_subscription(
            CameraInfo, topics.CAMERA_INFO, self._on_camera_info, topics.QOS[topics.CAMERA_INFO])
        self._thread = threading.Thread(target=self._work, name='inference')
        self._thread.start()
        # Last, because a subscription to the pictures says that this node is ready for them.
        self.create_subscription(
            Image, topics.IMAGE, self._on_image, topics.QOS[topics.IMAGE])

    def close(self) -> None:
        """Stop the thread and free the perception."""
        with self._news:
            self._halt = True
            self._news.notify()
        self._thread.join(timeout=5.0)
        if self._perception is not None:
            self._perception.close()

    def _on_image(self, message: Image) -> None:
        with self._news:
            if self._newest is not None:
                self._health.tick('passed_over')
            self._newest = message
            self._news.notify()

    def _on_joint_states(self, message: JointState) -> None:
        try:
            self._joint_positions = self._table.reorder(
                without_prefix(message.name, self._settings.prefix), message.position)
        except ValueError as error:
            self._health.tick('refused')
            self._health.set(refused_reason=error)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera = (message.k[0], (message.k[2], message.k[5]))

    def _work(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._halt or self._newest is not None)
                if self._halt:
                    return
                message, self._newest = self._newest, None
            try:
                self._process(message)
            except BadMessage as error:
                self._health.tick('refused')
                self._health.state(health.ERROR, f'refused a picture: {error}')
            except Exception as error:  # one bad picture must not end the node
                if self._halt:
                    return
                self._health.tick('errors')
                self._health.state(health.ERROR, f'{type(error).__name__}: {error}')
                self.get_logger().error(
                    f'{type(error).__name__}: {error}', throttle_duration_sec=5.0)

    def _process(self, message: Image) -> None:
        """Go from one picture to targets; every picture gets a result."""
        clock, stamp = self.get_clock(), message.header.stamp
        picture, stamp_s = picture_from(message, 'rgb8'), to_seconds(stamp)
        if self._perception is not None:
            observation = self._perception.observe(picture, stamp_s)
        else:
            observation = HandObservation(valid=False, stamp_s=stamp_s, image=picture)
        seen = clock.now().to_msg()
        targets = self._policy.act(
            observation, self._joint_positions, to_seconds(clock.now()))
        decided = clock.now().to_msg()
        if targets is not None:
            in_arm = in_arm_terms(targets, self._side, self._settings.mirror)
            names = [f'{self._settings.prefix}{name}' for name in in_arm.names]
            self._targets.publish(
                trajectory_message(names, in_arm.positions_rad, stamp=stamp))
        self._latency.publish(latency_message('perception', stamp, seen))
        self._latency.publish(latency_message('policy', stamp, decided))
        self._landmarks.publish(landmarks_message(
            observation.world_points if observation.valid else None, stamp))
        sight = sight_of(self._policy, observation)
        if self._markers.get_subscription_count() > 0:
            self._mark(observation, sight, targets, stamp)
        self._tell(observation, sight, targets is not None)

    def _mark(
        self, observation: HandObservation, sight: Sight, targets: JointTargets | None,
        stamp: Time,
    ) -> None:
        if self._perception is None:
            self._markers.publish(sight_markers(
                sight, None if targets is None else targets.thumb_side, stamp))
        elif self._camera is not None:
            self._markers.publish(hand_markers(observation, *self._camera, stamp))

    def _tell(self, observation: HandObservation, sight: Sight, has_targets: bool) -> None:
        self._health.tick('pictures')
        if not sight.detected:
            self._health.state(health.WARN, 'no hand seen')
            return
        self._health.tick('hands')
        if sight.side is not None:
            self._health.set(side=sight.side)
        if sight.score is not None:
            self._health.set(score=f'{sight.score:.2f}')
        if self._perception is not None:
            self._health.set(forearm=observation.forearm_source)
        if not has_targets:
            self._health.state(health.WARN, 'another hand: waiting for it to settle'
                               if self._perception is not None else 'a hand of unknown pose')
        elif self._perception is not None and observation.forearm_source != 'skin':
            self._health.state(
                health.OK, "following; no forearm seen, the palm's tilt drives the elbow")
        else:
            self._health.state(health.OK, 'following')


def main() -> None:
    """Run the node."""
    main_of([PolicyNode])


if __name__ == '__main__':
    main()
