"""Reading all servos of an arm at a steady rate, whichever of them answer.

Each cycle asks all servos for their motion, asks those again whose answer was lost, and asks one
of them, in turn, for its whole status. Servos that stay silent are left to the turn, so that
they cost the others nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from hand_imitation.hardware.bus import NoReplyError, RefusedError, Reply, ServoBus, decode_block
from hand_imitation.hardware.robot import Robot
from hand_imitation.hardware.servo_errors import StaleMeasurementError
from hand_imitation.hardware.servo_family import ServoFamily, block_of
from hand_imitation.hardware.servo_samples import Samples

_BUDGET_S = 0.010
"""When a cycle has taken this long, it asks nobody a second time."""
_STATUS_PERIOD_S = 0.12
"""Within this time every servo's status is read, however slow the cycles."""
_HURRY_S = 0.005
"""A cycle that has taken this long leaves a status that is not urgent to the next one..."""
_LATEST_S = 0.15
"""...unless it is older than this."""
_MAX_POLLS = 3
_SILENT_AFTER_S = 0.3
"""A servo that has not answered for this long is no longer asked in every cycle."""
_ENOUGH_SILENT = 1
_MOST_PATIENCE = 2
_REST_AFTER = 2
"""After this many cycles in which nobody answered, the bus is left alone for a moment."""

Judge = Callable[[int, Mapping[str, int], Sequence[str]], str]
"""Gets a servo's row, its status and its alarms; returns what is wrong with it, or ''."""


class ServoReader:
    """Asks the servos.

    Args:
        bus: Where they are.
        family: What they are.
        robot: Which servos there are.
        samples: Where what they say goes.
        judge: Says what is wrong with a servo.

    Attributes:
        heard_s: When a servo was last asked that answered [s].
        silent_cycles: How many cycles in a row nobody has answered.
    """

    def __init__(self, bus: ServoBus, family: ServoFamily, robot: Robot, samples: Samples,
                 judge: Judge) -> None:
        self._bus = bus
        self._robot = robot
        self._samples = samples
        self._judge = judge
        self._motion_names = [family.motion_names(joint.model) for joint in robot.joints]
        self._status_names = [family.status_names(joint.model) for joint in robot.joints]
        # All models of a family have these at the same addresses.
        model = robot.joints[0].model
        self._motion = block_of(model, self._motion_names[0])
        self._status = block_of(model, self._status_names[0])
        self._row_of = {joint.id: row for row, joint in enumerate(robot.joints)}
        self._misses = [0] * len(robot.joints)
        self._urgent: set[int] = set()
        self.silent_cycles = 0
        self._has_sync_read = model.has_sync_read
        self.heard_s = -math.inf

    def cycle(self, period_s: float) -> None:
        """Read what can be read.

        Args:
            period_s: Since the cycle before [s].

        Raises:
            BusLostError: The port is gone.
        """
        began_s = self._bus.port.now_s()
        self.silent_cycles = 0 if self._read_motion(began_s) else self.silent_cycles + 1
        if self.silent_cycles and self.silent_cycles % _REST_AFTER == 0:
            self._bus.rest()
        share = len(self._misses) * period_s / _STATUS_PERIOD_S
        for row in self._next_polls(min(_MAX_POLLS, max(1, math.ceil(share - 1e-6)))):
            now_s = self._bus.port.now_s()
            can_wait = (row not in self._urgent
                        and now_s - self._samples.status_s[row] < _LATEST_S)
            if now_s - began_s > (_HURRY_S if can_wait else _BUDGET_S):
                break
            self._poll(row)

    def read_all(self, names: Sequence[str]) -> list[dict[str, int]]:
        """Read registers of all servos, asking as often as it takes.

        Args:
            names: Registers, close together.

        Returns:
            Their values, one dictionary a servo.

        Raises:
            StaleMeasurementError: A servo does not answer.
            BusLostError: The port is gone.
        """
        model = self._robot.joints[0].model
        block = block_of(model, names)
        replies = self._bus.sync_read(block.address, block.size, self._robot.ids)
        silent = []
        for joint in self._robot.joints:
            if joint.id not in replies:
                try:
                    replies[joint.id] = self._bus.read(joint.id, block.address, block.size)
                except (NoReplyError, RefusedError):
                    silent.append(joint.name)
        if silent:
            raise StaleMeasurementError(silent)
        return [decode_block(joint.model, names, block.address, replies[joint.id].data)
                for joint in self._robot.joints]

    def poll_all(self) -> None:
        """Read the status of every servo now, asking as often as it takes.

        Raises:
            StaleMeasurementError: A servo does not answer.
            BusLostError: The port is gone.
        """
        answered = [self._poll(row, attempts=None) for row in range(len(self._misses))]
        silent = [joint.name for joint, did in zip(self._robot.joints, answered, strict=True)
                  if not did]
        if silent:
            raise StaleMeasurementError(silent)

    def _read_motion(self, began_s: float) -> bool:
        """Read the motion of all servos that are not silent; say whether any answered."""
        age_s = self._samples.age_s(began_s)
        rows = [row for row in range(len(age_s)) if age_s[row] < _SILENT_AFTER_S]
        # Last of all those that did not answer: behind a dead servo others may be silent too.
        rows.sort(key=lambda row: (self._misses[row], 0.0 if self._has_sync_read else -age_s[row]))
        answered: set[int] = set()
        if rows and self._has_sync_read:
            ids = [self._robot.joints[row].id for row in rows]
            replies = self._bus.sync_read(
                self._motion.address, self._motion.size, ids, self._patience())
            answered = {row for row in rows if self._robot.joints[row].id in replies}
            rows = [row for row in rows if row not in answered or not self._take_motion(
                row, replies[self._robot.joints[row].id])]
        # One is asked again whatever the time: so a dead servo is found.
        for number, row in enumerate(rows):
            if number and self._bus.port.now_s() - began_s > _BUDGET_S:
                break
            if self._read_motion_of(row):
                answered.add(row)
            # Where nobody at all answers, asking everybody would take too long.
            elif number >= _ENOUGH_SILENT and not answered:
                break
        return bool(answered)

    def _patience(self) -> int:
        """How many times the usual timeout to wait: more while nobody answers.

        A busy machine may be slower than the servos ever are.
        """
        return 1 << min(self.silent_cycles, _MOST_PATIENCE)

    def _read_motion_of(self, row: int) -> bool:
        id_ = self._robot.joints[row].id
        self._bus.statistics.retries += self._has_sync_read
        try:
            reply = self._bus.read(
                id_, self._motion.address, self._motion.size, 1, self._patience())
        except (NoReplyError, RefusedError):
            self._misses[row] += 1
            return False
        self._take_motion(row, reply)
        return True

    def _take_motion(self, row: int, reply: Reply) -> bool:
        self._heard(row, reply)
        model = self._robot.joints[row].model
        values = decode_block(model, self._motion_names[row], self._motion.address, reply.data)
        return self._samples.take(row, values, reply.asked_s)

    def _heard(self, row: int, reply: Reply) -> None:
        self._misses[row] = 0
        self.heard_s = max(self.heard_s, reply.asked_s)
        if bool(self._bus.alarms(reply.error)) != bool(self._samples.trouble[row]):
            self._urgent.add(row)

    def _next_polls(self, count: int) -> list[int]:
        """Choose whose status to read: of those that give an alarm, else the oldest."""
        by_age = sorted(range(len(self._misses)),
                        key=lambda row: (row not in self._urgent, self._samples.status_s[row]))
        return by_age[:max(count, min(_MAX_POLLS, len(self._urgent)))]

    def _poll(self, row: int, attempts: int | None = 1) -> bool:
        """Read the status of one servo, what is wrong twice; say whether it answered."""
        self._urgent.discard(row)
        trouble = self._read_status(row, attempts)
        if trouble and trouble != self._samples.trouble[row]:
            trouble = self._read_status(row, attempts)
        if trouble is None:
            return False
        self._samples.trouble[row] = trouble
        return True

    def _read_status(self, row: int, attempts: int | None) -> str | None:
        """Read the status of one servo and judge it; None where it does not answer."""
        joint = self._robot.joints[row]
        # Also where it does not answer: then the others are next.
        self._samples.status_s[row] = self._bus.port.now_s()
        try:
            reply = self._bus.read(joint.id, self._status.address, self._status.size, attempts)
        except (NoReplyError, RefusedError):
            self._misses[row] += 1
            return None
        self._heard(row, reply)
        values = decode_block(
            joint.model, self._status_names[row], self._status.address, reply.data)
        self._samples.take(row, values, reply.asked_s)
        return self._judge(row, values, self._bus.alarms(reply.error))
