"""A hand that moves emulated servos by script, and presses keys, while a calibration runs."""

import math

from hand_imitation.cli.keyboard import ENTER

ARRIVE_S = 2.0


class ScriptedHand:
    """Turns limp servos and presses keys; stands in for `Keyboard`.

    Each servo stands at a raw angle of its own when its joint is at zero, so that encoders may
    wrap anywhere. Actions are ('move', joint name, joint angle [rad]) and ('key', key); after a
    move it waits until the servo has arrived and stood still for a moment.
    """

    def __init__(self, robot, bus, port, zero_ticks, directions, actions):
        self.robot, self.bus, self.port = robot, bus, port
        self.zero_ticks, self.directions = zero_ticks, directions
        self.actions = list(actions)
        self._wait_s = 0.0
        for joint in robot.joints:
            self.turn(joint.name, 0.0, at_once=True)

    def turn(self, name, angle_rad, at_once=False):
        joint = next(j for j in self.robot.joints if j.name == name)
        motor = self.bus.servo(joint.id).motor
        turned = self.directions[name] * joint.gear_ratio * angle_rad
        motor.hand_rad = self.zero_ticks[name] * joint.model.rad_per_tick + turned
        if at_once:
            motor.position_rad = motor.hand_rad

    def read(self, timeout_s):
        self.port.sleep(timeout_s)
        if self.port.now_s() < self._wait_s:
            return None
        if not self.actions:
            return 'q'
        kind, *rest = self.actions.pop(0)
        if kind == 'move':
            self.turn(*rest)
            self._wait_s = self.port.now_s() + ARRIVE_S
            return None
        if kind == 'call':
            rest[0]()
            return None
        return rest[0]


def joint_script(joint):
    """What a careful user does for one joint: zero, far end, other end, back to zero."""
    actions = [('move', joint.name, 0.0), ('key', ENTER), ('move', joint.name, joint.upper_rad),
               ('key', ENTER)]
    if joint.lower_rad < 0.0:
        actions += [('move', joint.name, joint.lower_rad), ('key', ENTER)]
    return [*actions, ('move', joint.name, 0.0)]


def good_script(robot):
    """A careful user with all joints."""
    return [action for joint in robot.joints for action in joint_script(joint)]


def true_ticks(hand, name, angle_rad):
    """Raw count of the servo's encoder, over any number of turns, at a joint angle."""
    joint = next(j for j in hand.robot.joints if j.name == name)
    return hand.zero_ticks[name] + (hand.directions[name] * joint.gear_ratio * angle_rad
                                    * joint.model.ticks_per_turn / (2.0 * math.pi))
