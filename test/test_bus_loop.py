"""The bus's cycle and what faults lead to, on emulated servos in emulated time."""

import threading
import time

import numpy as np
import pytest
from servo_rig import PERIOD_S, TABLE, Rig

from hand_imitation.errors import UserError
from hand_imitation.hardware.bus_loop import RETRY_S, BusLoop, Mode
from hand_imitation.hardware.bus_thread import BusThread
from hand_imitation.hardware.cycle_times import CycleTimes
from hand_imitation.hardware.frame_tracker import FrameTracker
from hand_imitation.hardware.watchdog import Tier, WatchdogParameters

TIMES = WatchdogParameters(torque_off_after_s=1.0)
MIDDLE = (TABLE.lower_rad + TABLE.upper_rad) / 2
GOAL = MIDDLE + 0.3 * (TABLE.upper_rad - MIDDLE)


class LoopRig(Rig):
    """A loop over the rig's arm."""

    def __init__(self, kind='dynamixel', **options):
        super().__init__(kind, **options)
        self.loop = BusLoop(self.arm, TIMES, self.now_s)
        self.loop.open()

    def cycles(self, duration_s, targets_rad=None):
        """Cycles for a while; with targets the commander speaks before each."""
        found = []
        end_s = self.now_s() + duration_s
        while self.now_s() < end_s:
            began_s = self.now_s()
            if targets_rad is not None:
                self.loop.command(targets_rad)
            found.append(self.loop.cycle())
            self.port.sleep(max(began_s + PERIOD_S - self.now_s(), 1e-4))
        return found

    def following(self, duration_s=0.5):
        self.loop.arm()
        self.cycles(duration_s, GOAL)
        return self

    def motors_on(self):
        return [servo.status()['torque'] for servo in self.bus.servos]


@pytest.fixture(params=['dynamixel', 'feetech'])
def rig(request):
    return LoopRig(request.param)


def test_idle_reads_and_arms_only_when_asked(rig):
    cycles = rig.cycles(0.3, GOAL)
    assert {c.mode for c in cycles} == {Mode.IDLE} and not any(rig.motors_on())
    assert all(c.state.sample_age_s.max() < 0.02 for c in cycles)
    assert rig.goals_rad() == []
    rig.loop.arm()
    assert all(rig.motors_on())
    # What was commanded before counts no more: it holds where it stands.
    assert {c.written for c in rig.cycles(0.3)} == {0}
    assert np.abs(rig.true_rad() - MIDDLE).max() < 0.01


def test_follows_and_says_when_a_command_was_written(rig):
    rig.loop.arm()
    number = rig.loop.command(GOAL)
    asked_s = rig.now_s()
    cycle = rig.loop.cycle()
    assert cycle.written == number and asked_s < cycle.written_s < rig.now_s()
    rig.cycles(1.0, GOAL)
    assert np.abs(rig.true_rad() - GOAL).max() < 0.02
    rig.loop.disarm()
    assert not any(rig.motors_on()) and rig.loop.mode is Mode.IDLE and rig.loop.fault == ''


def test_silence_holds_then_switches_off(rig):
    rig.following()
    rig.cycles(0.05, MIDDLE)  # on its way, not there yet
    heard_s = rig.now_s()
    cycles = rig.cycles(1.2)
    tiers = [c.tier for c in cycles]
    assert {Tier.FOLLOW, Tier.WARN, Tier.HOLD, Tier.TORQUE_OFF} <= set(tiers)
    last_change = {}
    for time_s, row, angle in rig.goals_rad():
        if row not in last_change or last_change[row][1] != angle:
            last_change[row] = (time_s, angle)
    moved_last_s = max(time_s for time_s, _ in last_change.values())
    assert moved_last_s <= heard_s + TIMES.hold_after_s + PERIOD_S
    off_s = [e.time_s for e in rig.writes('torque_enable') if e.value == 0 and e.time_s > heard_s]
    assert off_s[0] == pytest.approx(heard_s + TIMES.torque_off_after_s, abs=2 * PERIOD_S)
    assert not any(rig.motors_on()) and 'commander is silent' in rig.loop.fault
    rig.cycles(0.3, GOAL)  # it speaks again: not enough
    assert not any(rig.motors_on()) and rig.loop.mode is Mode.IDLE


def test_armed_without_any_command_does_not_stay_on_for_ever():
    rig = Rig('dynamixel')
    loop = BusLoop(rig.arm, WatchdogParameters(first_command_s=1.0), rig.now_s)
    loop.open()
    loop.arm()
    end_s = rig.now_s() + 1.1
    while rig.now_s() < end_s:
        loop.cycle()
        rig.port.sleep(PERIOD_S / 2)
    assert loop.mode is Mode.IDLE and not any(s.status()['torque'] for s in rig.bus.servos)


def test_unplugged_and_back(rig):
    rig.following()
    unplugged_s = rig.now_s()
    rig.fault('unplug')
    cycle = rig.cycles(0.1, GOAL)[-1]
    assert cycle.mode is Mode.LOST and cycle.fault
    with pytest.raises(UserError, match='arm when it is back'):
        rig.loop.arm()
    rig.cycles(3 * RETRY_S, GOAL)
    rig.fault('replug')
    replugged_s = rig.now_s()
    while rig.loop.mode is Mode.LOST:
        rig.cycles(PERIOD_S, GOAL)
        assert rig.now_s() < replugged_s + 2.0
    assert rig.loop.reconnects == 1
    assert rig.loop.fault  # still says why
    cycles = rig.cycles(0.5, GOAL)
    assert all(c.mode is Mode.IDLE and c.state is not None for c in cycles)
    assert not any(rig.motors_on())
    assert [e for e in rig.writes('torque_enable') if e.value and e.time_s > unplugged_s] == []
    rig.loop.arm()
    assert rig.loop.fault == '' and all(rig.motors_on())


def test_power_of_the_servos_lost_and_back(rig):
    rig.following()
    rig.fault('dead')
    assert rig.cycles(0.3, GOAL)[-1].mode is Mode.LOST
    rig.fault('alive')
    rig.cycles(2.0, GOAL)
    assert rig.loop.mode is Mode.IDLE and not any(rig.motors_on())


def test_servo_fault_switches_all_off(rig):
    rig.following()
    rig.fault('overload', id=5)
    faulted_s = rig.now_s()
    while rig.loop.mode is Mode.ARMED:
        rig.cycles(PERIOD_S, GOAL)
        assert rig.now_s() < faulted_s + 0.2
    assert rig.loop.fault.startswith('middle_proximal')
    assert not any(rig.motors_on())
    with pytest.raises(UserError, match='middle_proximal'):
        rig.loop.arm()
    assert not any(rig.motors_on()) and rig.loop.mode is Mode.IDLE


def test_one_dead_servo_leaves_the_others_fresh(rig):
    rig.following()
    rig.fault('dead', id=7)
    cycles = rig.cycles(1.0, GOAL)
    ages = np.array([c.state.sample_age_s for c in cycles])
    assert cycles[-1].mode is Mode.ARMED
    # Half of the age at which the arm would hold.
    assert ages[:, np.arange(12) != 6].max() < 0.05
    assert ages[-1, 6] > 0.9


def test_lost_packets_are_survived(rig):
    rig.following()
    rig.fault('drop', p=0.05)
    cycles = rig.cycles(3.0, GOAL)
    assert {c.mode for c in cycles} == {Mode.ARMED}
    assert max(c.state.sample_age_s.max() for c in cycles) < 0.1


# The thread.

class Steps:
    """Stands in for a loop, to see who calls it when."""

    def __init__(self, work_s=0.0, fails_at=None):
        self.begun_s, self.threads, self.closed = [], set(), False
        self.work_s, self.fails_at = work_s, fails_at

    def cycle(self):
        self.begun_s.append(time.monotonic())
        self.threads.add(threading.current_thread().name)
        if len(self.begun_s) == self.fails_at:
            raise RuntimeError('broken on purpose')
        time.sleep(self.work_s)
        return len(self.begun_s)

    def close(self):
        self.threads.add(threading.current_thread().name)
        self.closed = True


def wait_for(condition):
    end_s = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def test_thread_keeps_the_rate_and_serves_requests():
    steps, seen, deaths = Steps(), [], []
    thread = BusThread(steps, 100.0, seen.append, deaths.append)
    wait_for(lambda: len(seen) > 50)
    assert thread.call(lambda: threading.current_thread().name) == 'bus'
    with pytest.raises(UserError, match='no'):
        thread.call(lambda: (_ for _ in ()).throw(UserError('no')))
    thread.close()
    assert steps.closed and steps.threads == {'bus'} and deaths == []
    assert seen[:3] == [1, 2, 3]
    # However busy the machine: never faster than asked for, on the whole.
    assert (len(steps.begun_s) - 1) / (steps.begun_s[-1] - steps.begun_s[0]) < 105.0
    assert thread.work_times.count >= 50 and thread.jitter.percentile_ms(50) is not None
    with pytest.raises(RuntimeError, match='closed'):
        thread.call(lambda: None)


def test_cycles_that_take_too_long_leave_others_out():
    steps = Steps(work_s=0.025)
    thread = BusThread(steps, 100.0, lambda _: None, lambda _: None)
    wait_for(lambda: len(steps.begun_s) > 10)
    thread.close()
    assert thread.overruns > 10


def test_mistake_of_ours_ends_with_motors_off():
    steps, deaths = Steps(fails_at=5), []
    thread = BusThread(steps, 200.0, lambda _: None, deaths.append)
    wait_for(lambda: deaths)
    assert steps.closed and str(deaths[0]) == 'broken on purpose'
    thread.close()


# Figures.

def test_percentiles_of_cycle_times():
    times = CycleTimes()
    assert times.percentile_ms(50) is None
    durations = np.random.default_rng(1).gamma(4.0, 0.002, 5000)
    for duration in durations:
        times.add(duration)
    for percent in (1, 50, 95, 99):
        assert times.percentile_ms(percent) == pytest.approx(
            np.percentile(durations, percent) * 1e3, abs=0.15)
    times.add(7.0)
    assert times.percentile_ms(100) == pytest.approx(200.0) and times.longest_s == 7.0


def test_frames_are_joined_with_the_write_that_carries_them():
    frames = FrameTracker()
    assert frames.announced('early', 0.5) is None  # its command has not come in yet
    frames.commanded(1, 1.0)
    assert frames.announced('a', 1.0005) is None
    assert frames.written(0, 0.0) == []
    assert frames.written(1, 1.01) == ['early', 'a']
    assert frames.written(1, 1.01) == []  # once only
    frames.commanded(2, 1.02)
    assert frames.written(2, 1.021) == []
    assert frames.announced('b', 1.0205) == 1.021  # written before it was announced
    assert frames.announced('c', 1.05) is None  # the command of c is still on its way
    frames.commanded(5, 1.051)
    assert frames.written(5, 1.06) == ['c']
    frames.announced('d', 1.2)
    frames.clear()
    assert frames.written(9, 1.3) == []
