"""Every safety promise, tried in emulated time; and each kind of trial can fail."""

import pytest

from hand_imitation.evaluation.promises import commands, ending, packets, servos, starting
from hand_imitation.evaluation.promises.every import TRIALS
from hand_imitation.evaluation.promises.rig import FAMILIES
from hand_imitation.evaluation.promises.soak import soak
from hand_imitation.hardware.bus import ServoBus
from hand_imitation.hardware.dynamixel_arm import DynamixelFamily
from hand_imitation.hardware.robot import TickScale
from hand_imitation.hardware.servo_arm import ServoArm


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('trial', TRIALS, ids=lambda trial: trial.name)
def test_promise_is_kept(trial, family):
    outcomes = trial.scenario(family, trial.quick)
    assert outcomes
    assert [outcome for outcome in outcomes if not outcome.held] == []


def broken(outcomes):
    """The promises that were not kept."""
    return [outcome.promise for outcome in outcomes if not outcome.held]


def test_a_driver_without_the_bus_watchdog_is_caught(monkeypatch):
    monkeypatch.setattr(DynamixelFamily, 'start_watchdog', lambda *_: None)
    assert 'a dead driver cannot leave servos running' in broken(
        ending.driver_dies('dynamixel', 2))


@pytest.mark.parametrize('family', FAMILIES)
def test_a_driver_that_overlooks_servo_errors_is_caught(family, monkeypatch):
    monkeypatch.setattr(ServoArm, '_judge', lambda *_: '')
    assert "a servo's fault surfaces and ends the motion" in broken(
        servos.servo_errors(family, 1))


@pytest.mark.parametrize('family', FAMILIES)
def test_a_driver_without_a_speed_limit_is_caught(family, monkeypatch):
    monkeypatch.setattr(ServoArm, '_since_write_s', lambda *_: 1.0)
    assert broken(starting.no_jump(family, 3)) == [
        'no step of a goal is faster than the joint may move']


def test_a_driver_that_does_not_seed_its_goals_is_caught(monkeypatch):
    import hand_imitation.hardware.servo_arm as module

    seed_goals = module.seed_goals

    def careless(bus, reader, robot, scale, *rest):
        goals, turns = seed_goals(bus, reader, robot, scale, *rest)
        joint = robot.joints[0]
        bus.write_register(joint.id, joint.model, 'goal_position', int(goals[0]) + 40)
        return goals, turns

    monkeypatch.setattr(module, 'seed_goals', careless)
    assert 'the goal is where the servo stands before its motor goes on' in broken(
        starting.no_jump('dynamixel', 2))


@pytest.mark.parametrize('family', FAMILIES)
def test_a_driver_without_limits_is_caught(family, monkeypatch):
    def unlimited(self, positions_rad, turns=0):
        return (self._zero + positions_rad * self._slope).astype(int)

    monkeypatch.setattr(TickScale, 'to_ticks', unlimited)
    monkeypatch.setattr(ServoArm, '_step', lambda self, targets, now_s: targets)
    assert broken(commands.garbage(family, 400))


def test_a_bus_that_takes_any_answer_is_caught(monkeypatch):
    def credulous(self, ids, hearing, suspect):
        return hearing.replies

    monkeypatch.setattr(ServoBus, '_believed', credulous)
    monkeypatch.setattr(ServoBus, '_settle', lambda self: None)
    monkeypatch.setattr(ServoBus, '_margins', lambda self, address, size: (0, 0))
    assert broken(packets.nothing_wrong_is_believed('dynamixel', 20_000))


def test_a_driver_that_leaves_motors_on_is_caught(monkeypatch):
    monkeypatch.setattr(ServoArm, 'disarm', lambda self: None)
    assert broken(ending.stopping('feetech', 1))


@pytest.mark.parametrize('family', FAMILIES)
def test_a_minute_with_random_faults(family):
    # Together two minutes: see `hand-imitation bench safety --soak` for longer ones.
    assert [outcome for outcome in soak(family, 1.0, seed=7) if not outcome.held] == []
