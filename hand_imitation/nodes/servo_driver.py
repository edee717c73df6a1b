"""The `servo_driver` node: an arm of Dynamixel or Feetech servos on a serial bus."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import TimeReference
from trajectory_msgs.msg import JointTrajectory

from hand_imitation.errors import UserError
from hand_imitation.hardware.bus_loop import BusLoop, Cycle, Mode
from hand_imitation.hardware.bus_thread import BusThread
from hand_imitation.hardware.connection import Connection, connect
from hand_imitation.hardware.frame_tracker import FrameTracker
from hand_imitation.hardware.servo_arm import ServoState
from hand_imitation.hardware.watchdog import Tier
from hand_imitation.nodes import health, topics
from hand_imitation.nodes.arm_node import ArmNode
from hand_imitation.nodes.messages import joint_state_message, latency_message, to_seconds
from hand_imitation.nodes.runtime import main_of
from hand_imitation.nodes.servo_health import STALE_S, ServoHealth

_SILENCE = {
    Tier.WARN: 'the commander is late', Tier.HOLD: 'the commander is silent; holding',
    Tier.TORQUE_OFF: 'the commander is silent; motors off'}


class ServoDriverNode(ArmNode):
    """Configuring opens and checks the bus, activating arms, deactivating switches off.

    Joint states and diagnostics are published while inactive, too. The bus belongs to a thread
    of its own. When the motors went off by a fault, the node becomes inactive, and only another
    activation arms again.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('servo_driver', **kwargs)
        self._frames: FrameTracker[Time] = FrameTracker()
        self._connection: Connection | None = None
        self._loop: BusLoop | None = None
        self._thread: BusThread | None = None
        self._servos: ServoHealth | None = None
        self._death: Exception | None = None
        self._cycle: Cycle | None = None
        self._targets_rad: np.ndarray | None = None
        self._was_silent = False
        self._sampled_s: np.ndarray = np.full(len(self._table), -np.inf)
        self._latency = self.create_publisher(
            TimeReference, topics.LATENCY, topics.QOS[topics.LATENCY])
        self._attention = self.create_guard_condition(self._on_attention)
        try:
            self._begin()
            # Last: it says that this node is ready. And after that to the commands: of two that
            # wait, the executor takes the elder one first.
            self.create_subscription(
                TimeReference, topics.LATENCY, self._on_latency, topics.QOS[topics.LATENCY])
        except BaseException:
            self.close()  # nobody else knows of this node yet
            raise

    # Life cycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the bus and check the servos, motors off."""
        settings = self._settings
        try:
            self._connection = connect(
                settings.driver, settings.robot, settings.port, settings.baud,
                settings.calibration, self._table, self._parts['bus'])
            loop = BusLoop(self._connection.arm, self._parts['watchdog'], time.monotonic)
            loop.open()
        except UserError as error:
            return self._fail(error)
        self._loop = loop
        self._servos = ServoHealth(self._connection.robot)
        self._thread = BusThread(
            loop, settings.rate_hz, self._on_cycle, self._on_death, settings.realtime_priority)
        self._health.state(health.OK, 'inactive, motors off')
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Arm: the servos hold the pose they are in, then follow."""
        assert self._connection is not None
        if self._connection.arming_refused:
            return self._fail(UserError(self._connection.arming_refused))
        try:
            self._call(self._arm)
        except UserError as error:
            return self._fail(error)
        self._active = True
        self.get_logger().warning('armed: the motors are on')
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Switch the motors off."""
        self._active = False
        assert self._loop is not None
        self._call(self._loop.disarm)
        self.get_logger().warning('motors off')
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the bus."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Switch the motors off and close the bus."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Switch the motors off and close the bus: a transition failed in a way not foreseen."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def make_safe(self) -> None:
        """Switch the motors off and close the port, before anything else ends."""
        self.close()

    def close(self) -> None:
        """Switch the motors off, close the port and end the bus's thread."""
        self._active = False
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    def _call(self, action: Callable[[], None]) -> None:
        """Have something done in the bus's thread."""
        assert self._thread is not None
        self._thread.call(action)

    # In the executor's thread

    def _take(self, targets_rad: np.ndarray, message: JointTrajectory, now_s: float) -> None:
        assert self._loop is not None
        self._targets_rad = targets_rad
        self._frames.commanded(self._loop.command(targets_rad), now_s)

    def _on_latency(self, message: TimeReference) -> None:
        if message.source != 'command' or not self._active:
            return
        ago_s = to_seconds(self.get_clock().now()) - to_seconds(message.header.stamp)
        written_s = self._frames.announced(message.time_ref, time.monotonic() - ago_s)
        if written_s is not None:
            self._announce(message.time_ref, written_s)

    def _on_attention(self) -> None:
        """Follow the bus: it is dead, or the motors went off by a fault."""
        if self._death is not None:
            raise self._death
        if self._active and self._cycle is not None and self._cycle.mode is not Mode.ARMED:
            self.get_logger().error(self._cycle.fault)
            self.trigger_deactivate()

    # In the bus's thread

    def _arm(self) -> None:
        assert self._loop is not None and self._thread is not None and self._servos is not None
        # What the cycles before said must not deactivate this life.
        self._targets_rad = self._cycle = None
        self._loop.arm()
        self._thread.reset_times()
        self._servos.reset()
        self._frames.clear()
        self._gate.armed(time.monotonic())

    def _on_cycle(self, cycle: Cycle) -> None:
        """Publish what was measured, and look after what went wrong."""
        self._cycle = cycle
        if cycle.state is not None:
            self._publish_states(cycle.state)
            self._start_over_after_silence(cycle)
        for frame in self._frames.written(cycle.written, cycle.written_s):
            self._announce(frame, cycle.written_s)
        self._tell(cycle)
        if self._active and cycle.mode is not Mode.ARMED:
            self._attention.trigger()

    def _start_over_after_silence(self, cycle: Cycle) -> None:
        """Begin again, gradually, when a servo is back for whose sake the arm held."""
        assert self._servos is not None and self._loop is not None
        was_silent, self._was_silent = self._was_silent, bool(self._servos.silent())
        if was_silent and not self._was_silent and cycle.mode is Mode.ARMED:
            self._loop.start_over()
            self._gate.armed(time.monotonic())

    def _publish_states(self, state: ServoState) -> None:
        """Publish the joints that were measured just now; a silent servo's is left out."""
        assert self._servos is not None
        sampled_s = state.stamp_s - state.sample_age_s
        fresh = (sampled_s > self._sampled_s + 1e-6) & np.isfinite(state.position_rad)
        self._sampled_s = np.where(fresh, sampled_s, self._sampled_s)
        age_s = state.sample_age_s
        self._measured_rad = np.where(age_s <= STALE_S, state.position_rad, np.nan)
        self._servos.take(state, self._targets_rad if self._active else None, fresh)
        if fresh.any() and not self._gate.withholds_states(time.monotonic()):
            self._states.publish(joint_state_message(
                self._names[fresh].tolist(), self.get_clock().now().to_msg(),
                state.position_rad[fresh], state.velocity_rad_s[fresh], state.effort_nm[fresh]))
            self._health.tick('joint_states')

    def _announce(self, frame: Time, written_s: float) -> None:
        """Say when the command that follows a frame was written."""
        ago = Duration(seconds=time.monotonic() - written_s)
        self._latency.publish(latency_message(
            'bus', frame, (self.get_clock().now() - ago).to_msg()))
        self._health.tick('frames')

    def _tell(self, cycle: Cycle) -> None:
        """Report the state of the bus; a change at once."""
        assert self._servos is not None
        silent = self._servos.silent()
        if cycle.mode is Mode.LOST:
            self._health.state(
                health.ERROR, f'{cycle.fault}; looking for it again, motors stay off')
        elif cycle.fault:
            self._health.state(health.ERROR, f'{cycle.fault}; motors off until armed again')
        elif silent:
            holds = '; the arm holds' if cycle.mode is Mode.ARMED else ''
            self._health.state(health.ERROR, f'no answer from {", ".join(silent)}{holds}')
        elif cycle.mode is Mode.IDLE:
            self._health.state(health.OK, 'inactive, motors off')
        elif cycle.tier is not Tier.FOLLOW:
            self._health.state(health.WARN, _SILENCE[cycle.tier])
        elif cycle.written == 0:
            self._health.state(health.OK, 'armed, holding; waiting for commands')
        else:
            self._health.state(health.OK, 'following')

    def _describe(self) -> Sequence[health.Part]:
        """Figures of the bus and of each servo, for a report."""
        thread, servos, cycle = self._thread, self._servos, self._cycle
        if thread is None or servos is None or cycle is None or self._loop is None:
            return ()
        work, jitter = thread.work_times, thread.jitter
        self._health.set(
            mode=cycle.mode.value, fault=cycle.fault, cycles=work.count,
            cycle_ms_p50=_ms(work.percentile_ms(50)), cycle_ms_p99=_ms(work.percentile_ms(99)),
            cycle_ms_max=_ms(work.longest_s * 1e3),
            jitter_ms_p50=_ms(jitter.percentile_ms(50)),
            jitter_ms_p99=_ms(jitter.percentile_ms(99)), overruns=thread.overruns,
            reconnects=self._loop.reconnects, realtime=thread.is_realtime,
            retries=cycle.state.retries if cycle.state is not None else '')
        return servos.parts()

    def _on_death(self, error: Exception) -> None:
        self._death = error
        self._attention.trigger()


def _ms(value: float | None) -> str:
    return '' if value is None else f'{value:.2f}'


def main() -> None:
    """Run the node."""
    main_of([ServoDriverNode])


if __name__ == '__main__':
    main()
