"""The steps that silence of the commander leads to."""

import pytest

from hand_imitation.errors import UserError
from hand_imitation.hardware.watchdog import Tier, Watchdog, WatchdogParameters

TIMES = WatchdogParameters(
    warn_after_s=0.05, hold_after_s=0.1, torque_off_after_s=1.0, first_command_s=5.0)


def armed_at(now_s):
    watchdog = Watchdog(TIMES)
    watchdog.armed(now_s)
    return watchdog


@pytest.mark.parametrize('silence_s, tier', [
    (0.0, Tier.FOLLOW), (0.049, Tier.FOLLOW), (0.051, Tier.WARN), (0.099, Tier.WARN),
    (0.101, Tier.HOLD), (0.99, Tier.HOLD), (1.01, Tier.TORQUE_OFF), (1e9, Tier.TORQUE_OFF)])
def test_tiers_of_silence(silence_s, tier):
    watchdog = armed_at(3.0)
    watchdog.heard(7.0)
    assert watchdog.tier(7.0 + silence_s) is tier
    assert watchdog.silence_s(7.0 + silence_s) == pytest.approx(silence_s, abs=1e-6)


def test_a_command_ends_warning_and_hold():
    watchdog = armed_at(0.0)
    watchdog.heard(1.0)
    assert watchdog.tier(1.5) is Tier.HOLD
    watchdog.heard(1.5)
    assert watchdog.tier(1.51) is Tier.FOLLOW


def test_before_the_first_command_only_time_since_arming_counts():
    watchdog = armed_at(100.0)
    assert watchdog.silence_s(104.0) is None
    assert watchdog.tier(104.9) is Tier.FOLLOW
    assert watchdog.tier(105.1) is Tier.TORQUE_OFF


def test_arming_forgets_the_life_before():
    watchdog = armed_at(0.0)
    watchdog.heard(0.0)
    assert watchdog.tier(50.0) is Tier.TORQUE_OFF
    watchdog.armed(50.0)
    assert watchdog.tier(50.0) is Tier.FOLLOW


@pytest.mark.parametrize('times', [
    {'warn_after_s': 0.2, 'hold_after_s': 0.1}, {'hold_after_s': 3.0, 'torque_off_after_s': 2.0}])
def test_times_out_of_order_are_refused(times):
    with pytest.raises(UserError, match='in this order'):
        WatchdogParameters(**times)


def test_times_out_of_range_are_refused():
    with pytest.raises(UserError, match='hold_after_s'):
        WatchdogParameters(hold_after_s=0.0)
