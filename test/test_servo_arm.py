"""What an arm of servos promises, checked at the emulated bus: bytes on the wire, motors."""

import collections

import numpy as np
import pytest
from servo_rig import PERIOD_S, TABLE, Rig

from hand_imitation.arm.driver import NotArmedError
from hand_imitation.errors import UserError
from hand_imitation.hardware.servo_arm import (
    BusLostError,
    ServoFaultError,
    StaleMeasurementError,
)

MIDDLE = (TABLE.lower_rad + TABLE.upper_rad) / 2
KINDS = ['dynamixel', 'feetech', 'scs']
TICK_RAD = {'dynamixel': 2 * np.pi / 4096, 'feetech': 2 * np.pi / 4096, 'scs': 2 * np.pi / 1024}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def armed(kind, **options):
    rig = Rig(kind, **options)
    rig.arm.open()
    rig.arm.arm()
    rig.bus.record.clear()
    return rig


def torques(rig):
    return [servo.motor.on for servo in rig.bus.servos]


def wave(rig, number, width_rad=0.4):
    phase = 2 * np.pi * 0.5 * number * PERIOD_S
    return MIDDLE + width_rad * np.sin(phase)


# Arming


def test_goal_is_the_present_before_torque_whatever_it_was(kind):
    rng = np.random.default_rng(1)
    for _ in range(10):
        rig = Rig(kind, positions_rad=rng.uniform(TABLE.lower_rad, TABLE.upper_rad))
        rig.arm.open()
        for servo in rig.bus.servos:
            servo.table['goal_position'] = rng.integers(0, servo.model.ticks_per_turn)
        rig.bus.record.clear()
        before = [servo.position for servo in rig.bus.servos]
        rig.arm.arm()
        goals = {}
        for event in rig.bus.wire:
            if event.register == 'goal_position':
                goals[event.id] = event.value
            if event.register == 'torque_enable' and event.value:
                assert abs(goals[event.id] - before[event.id - 1]) <= 1
        for _ in range(10):
            rig.cycle()
        moved = np.abs([servo.position - start
                        for servo, start in zip(rig.bus.servos, before, strict=True)])
        assert torques(rig) == [True] * 12
        assert moved.max() <= 2


def test_lossy_line_arms_with_the_right_goals_or_not_at_all(kind):
    outcomes = collections.Counter()
    for seed in range(12):
        rig = Rig(kind, seed=seed, positions_rad=MIDDLE + 0.1)
        rig.arm.open()
        for servo in rig.bus.servos:
            servo.table['goal_position'] = 100
        for name in ('drop', 'corrupt', 'delay', 'wrong_id'):
            rig.fault(name, p=0.02)
        rig.bus.record.clear()
        try:
            rig.arm.arm()
            outcomes['armed'] += 1
        except (RuntimeError, UserError):
            outcomes['refused'] += 1
        last = {}
        for event in rig.bus.wire:
            if event.accepted and event.register == 'goal_position':
                last[event.id] = event.value
            if event.accepted and event.register == 'torque_enable' and event.value:
                truth = rig.bus.servo(event.id).position
                assert abs(last.get(event.id, 100) - truth) <= 2
    assert outcomes['armed'] >= 6


def test_joint_outside_its_limits_is_not_armed(kind):
    rig = Rig(kind)
    servo = rig.bus.servo(3)
    servo.motor.position_rad -= 1.2
    rig.arm.open()
    with pytest.raises(UserError, match='index_proximal.*outside'):
        rig.arm.arm()
    assert not any(torques(rig))
    with pytest.raises(NotArmedError):
        rig.arm.write(MIDDLE)


def test_joint_just_outside_gets_its_limit_as_goal(kind):
    start = MIDDLE.copy()
    start[4] = TABLE.lower_rad[4]
    rig = Rig(kind, positions_rad=start)
    tick_rad = rig.bus.servo(5).model.rad_per_tick
    rig.bus.servo(5).motor.position_rad -= 0.02
    rig.arm.open()
    rig.arm.arm()
    for _, row, goal in rig.goals_rad():
        assert TABLE.lower_rad[row] - tick_rad / 2 <= goal <= TABLE.upper_rad[row] + tick_rad / 2


@pytest.mark.parametrize('kind', ['dynamixel', 'feetech'])
def test_moving_joint_is_not_armed(kind):
    rig = Rig(kind)
    rig.arm.open()
    for number in range(200):
        ticks = rig.scale.to_ticks(MIDDLE)[2] + 10 * number
        rig.fault('move', id=3, ticks=float(ticks % 900), at=0.002 * number)
    with pytest.raises((UserError, ServoFaultError)):
        rig.arm.arm()
    assert not any(torques(rig))


def test_servo_in_error_is_not_armed(kind):
    rig = Rig(kind)
    rig.arm.open()
    rig.fault('overload', id=9)
    rig.port.sleep(0.01)
    with pytest.raises(ServoFaultError, match='little_proximal.*overload'):
        rig.arm.arm()
    assert not any(torques(rig))


def test_silent_servo_is_not_armed(kind):
    rig = Rig(kind)
    rig.arm.open()
    rig.fault('dead', id=9)
    rig.port.sleep(0.2)
    with pytest.raises(StaleMeasurementError, match='little_proximal'):
        rig.arm.arm()
    assert not any(servo.motor.on for servo in rig.bus.servos if servo.alive)


# Goals


def test_no_goal_outside_limits_and_none_too_fast(kind):
    rng = np.random.default_rng(2)
    rig = armed(kind)
    tick_rad = TICK_RAD[kind]
    for number in range(250):
        targets = rng.uniform(-20, 20, 12) if number % 3 else rng.choice([-1e9, 1e9], 12)
        rig.cycle(targets, period_s=rng.uniform(0.006, 0.03))
    last = {}
    fastest = np.array([joint.max_velocity_rad_s for joint in rig.robot.joints])
    for time_s, row, goal in rig.goals_rad():
        assert TABLE.lower_rad[row] - 1e-6 <= goal <= TABLE.upper_rad[row] + 1e-6
        if row in last:
            before_s, before = last[row]
            most = fastest[row] * (time_s - before_s) + tick_rad
            assert abs(goal - before) <= most + 1e-9
        last[row] = time_s, goal
    assert len(last) == 12


def test_goals_do_not_run_ahead_of_a_jammed_joint(kind):
    rig = armed(kind)
    rig.fault('jam', id=2)
    targets = MIDDLE + 0.5
    for _ in range(40):
        try:
            rig.cycle(targets)
        except ServoFaultError:
            break
    goals = [goal for _, row, goal in rig.goals_rad() if row == 1]
    assert max(goals) - MIDDLE[1] <= 0.35 + TICK_RAD[kind]


def test_after_a_pause_the_goal_does_not_jump(kind):
    rig = armed(kind)
    rig.cycle(MIDDLE)
    rig.port.sleep(0.08)
    rig.bus.record.clear()
    rig.arm.read()
    rig.arm.write(MIDDLE + 0.5)
    fastest = max(joint.max_velocity_rad_s for joint in rig.robot.joints)
    for _, row, goal in rig.goals_rad():
        assert abs(goal - MIDDLE[row]) <= fastest * 0.05 + TICK_RAD[kind]


def test_hold_repeats_the_last_goal(kind):
    rig = armed(kind)
    for number in range(30):
        rig.cycle(wave(rig, number))
    goals = rig.arm.goal_rad
    rig.bus.record.clear()
    for _ in range(10):
        rig.arm.hold()
        rig.arm.read()
    for _, row, goal in rig.goals_rad():
        assert abs(goal - goals[row]) <= TICK_RAD[kind]
    assert len(rig.goals_rad()) == 120


def test_goals_stand_still_while_a_joint_is_not_heard(kind):
    rig = armed(kind)
    for number in range(30):
        rig.cycle(wave(rig, number))
    rig.fault('dead', id=6)
    died_s = rig.now_s()
    for number in range(30, 90):
        rig.cycle(wave(rig, number))
    late = [event for event in rig.writes('goal_position') if event.time_s > died_s + 0.13]
    assert len(late) > 300
    for id_ in range(1, 13):
        assert len({event.value for event in late if event.id == id_}) <= 1


# Trouble


def run_until_fault(rig, number_of_cycles=100):
    started_s = rig.now_s()
    for number in range(number_of_cycles):
        try:
            rig.cycle(wave(rig, number))
        except ServoFaultError as error:
            return rig.now_s() - started_s, error.faults
    raise AssertionError('no fault was raised')


@pytest.mark.parametrize('fault', ['overload', 'heat', 'voltage'])
def test_servo_error_surfaces_in_time_and_is_not_cleared(kind, fault):
    rig = armed(kind)
    for number in range(20):
        rig.cycle(wave(rig, number))
    rig.fault(fault, id=7)
    took_s, faults = run_until_fault(rig)
    assert took_s <= 0.2
    assert list(faults) == ['ring_proximal']
    with pytest.raises(ServoFaultError):
        rig.arm.write(MIDDLE)
    rig.arm.disarm()
    assert not any(torques(rig))
    assert rig.arm.read().hardware_error[6] == faults['ring_proximal']
    with pytest.raises(ServoFaultError):
        rig.arm.arm()


def test_servo_that_starts_anew_is_a_fault_and_arming_seeds_its_goal(kind):
    rig = armed(kind)
    for number in range(60):
        rig.cycle(wave(rig, number))
    rig.fault('reset', id=4)
    took_s, faults = run_until_fault(rig)
    # It is deaf for 150 ms while it starts.
    assert took_s <= 0.15 + 0.2
    assert list(faults) == ['index_distal']
    rig.arm.disarm()
    rig.port.sleep(0.3)
    rig.arm.read()
    rig.bus.record.clear()
    truth = rig.bus.servo(4).position
    rig.arm.arm()
    goals = [event.value for event in rig.writes('goal_position') if event.id == 4]
    assert abs(goals[-1] - truth) <= 1
    assert torques(rig) == [True] * 12


def test_warm_servo_is_slower_and_hot_one_stops(kind):
    rig = armed(kind)
    limit_c = rig.bus.servo(5).table['temperature_limit']
    speed = rig.robot.joints[4].max_velocity_rad_s

    def fastest_step(cycles):
        rig.bus.record.clear()
        for number in range(cycles):
            rig.cycle(MIDDLE + (0.6 if number // 50 % 2 else -0.6))
        goals = [(time_s, goal) for time_s, row, goal in rig.goals_rad() if row == 4]
        return max(abs(b - a) / (t - s) for (s, a), (t, b) in zip(goals, goals[1:], strict=False))

    assert fastest_step(150) > 0.8 * speed
    rig.fault('overheat', id=5, celsius=limit_c - 9.0)
    for _ in range(100):
        rig.cycle(MIDDLE)
    assert fastest_step(100) <= 0.5 * speed * 1.2 + TICK_RAD[kind] / PERIOD_S
    rig.fault('overheat', id=5, celsius=limit_c - 2.0)
    took_s, faults = run_until_fault(rig)
    assert took_s <= 1.0
    assert list(faults) == ['middle_proximal']
    assert 'cool' in faults['middle_proximal']


def test_watchdog_stops_dynamixels_and_nothing_resumes_by_itself():
    rig = armed('dynamixel')
    for number in range(40):
        rig.cycle(wave(rig, number))
    rig.port.sleep(0.12)
    standing = [servo.motor.velocity_rad_s for servo in rig.bus.servos]
    assert np.abs(standing).max() < 0.01
    took_s, faults = run_until_fault(rig)
    assert took_s <= 0.2
    assert 'heard nothing' in next(iter(faults.values()))
    rig.arm.disarm()
    rig.arm.read()
    rig.arm.arm()
    for number in range(20):
        rig.cycle(wave(rig, number))


def test_feetech_servos_go_no_further_than_the_lead():
    for kind in ('feetech', 'scs'):
        rig = armed(kind)
        for _ in range(15):
            rig.cycle(MIDDLE + 0.7)
        where = np.array(rig.true_rad())
        rig.port.sleep(2.0)
        assert np.abs(rig.true_rad() - where).max() <= 0.35 + 0.02


# Torque off


@pytest.mark.parametrize('dead', [(), (1,), (6,), (12,), (3, 4, 5), tuple(range(1, 12))])
def test_disarming_tries_every_motor_in_time(kind, dead):
    rig = armed(kind)
    for id_ in dead:
        rig.fault('dead', id=id_)
    rig.cycle(MIDDLE)
    began_s = rig.now_s()
    rig.arm.disarm()
    assert rig.now_s() - began_s < 0.5
    alive = [servo for servo in rig.bus.servos if servo.alive]
    assert not any(servo.motor.on for servo in alive)
    for _ in range(40):
        try:
            state = rig.cycle()
            break
        except BusLostError:
            # All but one silent: it takes a while to find the one.
            assert len(dead) > 6
    unconfirmed = {rig.robot.joints[row].id
                   for row, text in enumerate(state.hardware_error) if text}
    assert unconfirmed == set(dead)


def test_disarming_on_a_bad_line_still_gets_all_motors_off(kind):
    for seed in range(6):
        rig = armed(kind, seed=seed)
        for name in ('drop', 'corrupt', 'truncate', 'delay', 'wrong_id', 'noise'):
            rig.fault(name, p=0.03)
        began_s = rig.now_s()
        rig.arm.disarm()
        assert rig.now_s() - began_s < 0.5
        off = [not servo.motor.on for servo in rig.bus.servos]
        named = [bool(text) for text in rig.arm.read().hardware_error]
        assert all(is_off or is_named for is_off, is_named in zip(off, named, strict=True))


def test_motor_that_comes_back_on_is_switched_off(kind):
    rig = armed(kind)
    rig.fault('dead', id=8)
    rig.cycle(MIDDLE)
    rig.arm.disarm()
    assert rig.bus.servo(8).motor.on
    rig.fault('alive', id=8)
    for _ in range(30):
        state = rig.cycle()
    assert not rig.bus.servo(8).motor.on
    assert not any(state.hardware_error)


def test_closing_switches_off(kind):
    rig = armed(kind)
    rig.arm.close()
    assert not any(torques(rig))


def test_failing_calls_do_not_keep_others_from_their_attempt(kind, monkeypatch):
    rig = armed(kind)
    bus = rig.arm._bus

    def broken(*_):
        raise ValueError('a mistake in the program')

    monkeypatch.setattr(bus, 'sync_write', broken)
    monkeypatch.setattr(bus, 'sync_read', broken)
    monkeypatch.setattr(rig.arm._family, 'end_watchdog', lambda *_: None)
    rig.arm.disarm()
    assert not any(torques(rig))


# Unplugging


def test_unplugging_is_noticed_at_once_and_arming_is_deliberate(kind):
    rig = armed(kind)
    for number in range(20):
        rig.cycle(wave(rig, number))
    rig.fault('unplug')
    began_s = rig.now_s()
    with pytest.raises(BusLostError):
        rig.cycle(MIDDLE)
    assert rig.now_s() - began_s < 0.1
    with pytest.raises(BusLostError):
        rig.arm.disarm()
    with pytest.raises(UserError):
        rig.arm.reconnect()
    rig.port.sleep(0.2)
    rig.port.replug()
    began_s = rig.now_s()
    rig.arm.reconnect()
    assert rig.now_s() - began_s < 0.5
    assert not any(torques(rig))
    with pytest.raises(NotArmedError):
        rig.arm.write(MIDDLE)
    for _ in range(20):
        rig.cycle()
    assert not any(torques(rig))
    rig.bus.record.clear()
    places = [servo.position for servo in rig.bus.servos]
    rig.arm.arm()
    for event in rig.writes('goal_position'):
        assert abs(event.value - places[event.id - 1]) <= 1
    rig.cycle(MIDDLE)


def test_unplugging_in_the_middle_of_a_read(kind):
    rig = armed(kind)
    rig.fault('unplug', at=0.0015)
    with pytest.raises(BusLostError):
        rig.arm.read()
    rig.port.replug()
    rig.arm.reconnect()
    rig.arm.close()


def test_servos_without_power_are_a_lost_bus(kind):
    rig = armed(kind)
    rig.fault('dead')
    began_s = rig.now_s()
    with pytest.raises(BusLostError, match='power'):
        for number in range(60):
            rig.cycle(wave(rig, number))
    assert rig.now_s() - began_s < 0.3
    rig.arm.disarm()
    rig.fault('alive')
    rig.port.sleep(0.1)
    rig.arm.reconnect()
    assert not any(torques(rig))


# Figures


def test_measures_in_the_joints_own_units(kind):
    rig = armed(kind)
    states = [rig.cycle(wave(rig, number)) for number in range(150)]
    time_s = np.array([state.stamp_s - state.sample_age_s[4] for state in states])
    angles = np.array([state.position_rad[4] for state in states])
    speeds = np.array([state.velocity_rad_s[4] for state in states])
    slopes = np.gradient(angles, time_s)
    assert np.corrcoef(slopes[20:], speeds[20:])[0, 1] > 0.95
    last = states[-1]
    assert ((last.temperature_c > 15) & (last.temperature_c < 60)).all()
    assert (np.abs(last.voltage_v - rig.robot.joints[0].model.voltage_v) < 0.5).all()
    assert (np.abs(last.load) <= 1.2).all()
    assert last.cycle_s < 0.01


def test_one_dead_servo_leaves_the_others_fresh(kind):
    rig = armed(kind)
    rig.fault('dead', id=5)
    cycles, ages = [], []
    for number in range(300):
        state = rig.cycle(wave(rig, number))
        cycles.append(state.cycle_s)
        ages.append(np.delete(state.sample_age_s, 4).max())
    assert np.percentile(cycles, 99) <= 0.02
    assert max(ages) <= 0.1
    assert state.sample_age_s[4] > 1.0


@pytest.mark.parametrize('loss', [0.01, 0.05])
def test_lost_packets_cost_little(kind, loss):
    rig = armed(kind)
    rig.fault('drop', p=loss)
    cycles, ages = [], []
    for number in range(400):
        state = rig.cycle(wave(rig, number))
        cycles.append(state.cycle_s)
        ages.append(state.sample_age_s)
    assert np.percentile(cycles, 99) <= 0.02
    assert np.percentile(ages, 99.9) <= 0.1
