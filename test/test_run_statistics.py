"""The figures of a run, on made-up runs whose figures are known."""

import json

import numpy as np
import pytest
from skeletons import hand

from hand_imitation.evaluation.run_statistics import STAGES, RunStatistics

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
FRAME_NS = 40 * MS
NAMES = ('index_proximal', 'wrist')


def frame(k):
    return START_NS + k * FRAME_NS


def add_frame(statistics, k, camera=1, perception=8, policy=2, command=4):
    """Add a frame whose stages took so many milliseconds each; None did not happen."""
    finished = frame(k)
    for stage, took_ms in (('camera', camera), ('perception', perception), ('policy', policy),
                           ('command', command)):
        if took_ms is None:
            break
        finished += took_ms * MS
        statistics.add_latency(stage, frame(k), finished)


@pytest.fixture
def statistics():
    return RunStatistics('right', False)


def test_empty_run_has_figures_too(statistics):
    summary = statistics.summary()
    nothing = {'p50': None, 'p95': None, 'p99': None}
    assert summary == {
        'frames': 0, 'frames_tracked': 0, 'frames_dropped': 0, 'command_rate_hz': 0.0,
        'latency_ms': dict.fromkeys((*STAGES, 'end_to_end'), nothing), 'limit_violations': 0,
        'holds': 0}
    assert statistics.latest_latency_ms() is None


def test_latency_by_stage_and_end_to_end(statistics):
    for k in range(100):
        add_frame(statistics, k, perception=k + 1)
    latency = statistics.summary()['latency_ms']
    steps = np.arange(1, 101)
    for stage, values in (('perception', steps), ('policy', np.full(100, 2)),
                          ('command', np.full(100, 4)), ('end_to_end', steps + 7)):
        assert latency[stage] == {
            f'p{p}': pytest.approx(np.percentile(values, p), abs=0.006) for p in (50, 95, 99)}
    assert statistics.latest_latency_ms() == pytest.approx(107.0)


def test_first_command_from_a_frame_counts(statistics):
    """The commander repeats a frame's command; end to end is up to the first."""
    add_frame(statistics, 0)
    statistics.add_latency('command', frame(0), frame(0) + 500 * MS)
    assert statistics.summary()['latency_ms']['end_to_end']['p50'] == 15.0


def test_order_of_arrival_does_not_matter(statistics):
    statistics.add_latency('command', frame(0), frame(0) + 15 * MS)
    statistics.add_latency('policy', frame(0), frame(0) + 11 * MS)
    statistics.add_latency('camera', frame(0), frame(0) + MS)
    statistics.add_latency('perception', frame(0), frame(0) + 9 * MS)
    latency = statistics.summary()['latency_ms']
    found = {stage: values['p50'] for stage, values in latency.items()}
    assert found == {'perception': 8.0, 'policy': 2.0, 'command': 4.0, 'end_to_end': 15.0}


def test_frames_dropped_and_tracked(statistics):
    for k in range(10):
        add_frame(statistics, k, perception=None if k in (3, 4) else 8)
        seen = k not in (3, 4, 5)
        statistics.add_landmarks(frame(k), hand() if seen else None)
    summary = statistics.summary()
    assert (summary['frames'], summary['frames_tracked'], summary['frames_dropped']) == (10, 7, 2)
    assert (statistics.frames, statistics.frames_tracked) == (10, 7)


def test_frame_without_a_hand_is_not_dropped(statistics):
    """The policy looked and finished: nothing was lost."""
    add_frame(statistics, 0, command=None)
    statistics.add_landmarks(frame(0), None)
    summary = statistics.summary()
    assert summary['frames_dropped'] == 0 and summary['frames_tracked'] == 0
    assert summary['latency_ms']['end_to_end']['p50'] is None


def test_what_came_before_the_first_frame_seen_does_not_count(statistics):
    """The rest of a frame whose publication was missed at the start."""
    statistics.add_latency('policy', frame(0), frame(0) + 9 * MS)
    statistics.add_landmarks(frame(0), hand())
    add_frame(statistics, 1)
    summary = statistics.summary()
    assert (summary['frames'], summary['frames_tracked']) == (1, 0)


def test_command_rate_counts_distinct_frames(statistics):
    for k in range(26):
        add_frame(statistics, k, command=None if 10 <= k < 15 else 4)
    # 21 frames commanded from the first to the last, a second apart.
    assert statistics.summary()['command_rate_hz'] == pytest.approx(20.0)


def test_single_command_has_no_rate(statistics):
    add_frame(statistics, 0)
    assert statistics.summary()['command_rate_hz'] == 0.0


# Errors against the truth.

def with_truth(statistics, truth, frames=10, **measured):
    """A run whose truth is constant and whose arm stands still."""
    for k in range(frames):
        add_frame(statistics, k)
        statistics.add_truth(frame(k), list(truth), list(truth.values()))
        for half in (0, 1):
            time_ns = frame(k) - FRAME_NS // 4 + half * FRAME_NS // 2
            statistics.add_measured(time_ns, list(measured), list(measured.values()))
    return statistics.summary()


def test_without_truth_there_is_no_error(statistics):
    add_frame(statistics, 0)
    assert 'joint_error_deg' not in statistics.summary()


def test_mean_error_is_over_joints(statistics):
    summary = with_truth(
        statistics, {'index_proximal': 1.0, 'ring_distal': 0.5, 'elbow': 0.0},
        index_proximal=1.0 + np.radians(10), ring_distal=0.5 - np.radians(4), elbow=0.0)
    assert summary['joint_error_deg'] == {
        'mean': 4.67, 'per_joint': {'index_proximal': 10.0, 'ring_distal': 4.0, 'elbow': 0.0}}


@pytest.mark.parametrize('side, mirror', [
    ('right', True), ('right', False), ('left', True), ('left', False)])
@pytest.mark.parametrize('person', ['right', 'left'])
def test_arm_that_leans_as_shown_has_no_error(side, mirror, person):
    """The person leans 0.3 rad to the thumb; a perfect arm's own angle depends on the view."""
    statistics = RunStatistics(side, mirror)
    for k in range(10):
        statistics.add_landmarks(frame(k), hand(person))
    person_leans = 0.3 * np.sign(hand(person)[4, 0])
    shown = -person_leans if mirror else person_leans
    own = shown * np.sign(hand(side)[4, 0])
    summary = with_truth(statistics, {'wrist': 0.3, 'elbow': 0.3}, wrist=own, elbow=own)
    assert summary['joint_error_deg'] == {'mean': 0.0, 'per_joint': {'wrist': 0.0, 'elbow': 0.0}}
    json.dumps(summary)


def test_lean_keeps_its_sense_where_no_hand_was_found(statistics):
    """The thumb's side seen last holds on."""
    statistics.add_landmarks(frame(0), hand('left'))
    summary = with_truth(statistics, {'wrist': 0.3}, wrist=-0.3)
    assert summary['joint_error_deg']['per_joint'] == {'wrist': 0.0}


def test_measured_pose_is_interpolated_at_the_frame(statistics):
    """The truth and the arm move at the same speed, the arm 10 ms late: no sample fits a frame."""
    speed = np.radians(50.0)
    for k in range(20):
        add_frame(statistics, k)
        statistics.add_truth(frame(k), NAMES, [speed * k * FRAME_NS * 1e-9, 0.0])
    for j in range(-5, 100):
        time_ns = START_NS + j * 9 * MS
        position = speed * ((time_ns - START_NS) * 1e-9 - 0.010)
        statistics.add_measured(time_ns, NAMES, [position, 0.0])
    error = statistics.summary()['joint_error_deg']['per_joint']
    assert error == {'index_proximal': 0.5, 'wrist': 0.0}


def test_error_counts_from_the_first_command_on(statistics):
    """Before that the arm has nothing to follow."""
    for k in range(10):
        add_frame(statistics, k, command=4 if k >= 5 else None)
        statistics.add_truth(frame(k), ['index_proximal'], [9.0 if k < 5 else 0.2])
        statistics.add_measured(frame(k) - MS, ['index_proximal'], [0.2])
        statistics.add_measured(frame(k) + MS, ['index_proximal'], [0.2])
    assert statistics.summary()['joint_error_deg']['per_joint'] == {'index_proximal': 0.0}


def test_estimate_is_compared_frame_by_frame(statistics):
    for k in range(10):
        add_frame(statistics, k)
        statistics.add_truth(frame(k), ['index_proximal'], [0.1 * k])
        if k != 4:
            statistics.add_estimate(
                frame(k), ['index_proximal'], [0.1 * k + np.radians(2.0)])
    error = statistics.summary()['estimate_error_deg']
    assert error == {'mean': 2.0, 'per_joint': {'index_proximal': 2.0}}


def test_measurements_out_of_order_are_passed_over(statistics):
    statistics.add_measured(frame(1), ['index_proximal'], [9.0])
    statistics.add_measured(frame(0), ['index_proximal'], [0.0])
    statistics.add_measured(frame(1), ['index_proximal'], [0.0])
    statistics.add_measured(frame(3), ['index_proximal'], [9.0])
    add_frame(statistics, 2)
    statistics.add_truth(frame(2), ['index_proximal'], [9.0])
    assert statistics.summary()['joint_error_deg']['per_joint'] == {'index_proximal': 0.0}


def test_truth_that_nothing_was_measured_for(statistics):
    add_frame(statistics, 0)
    statistics.add_truth(frame(0), ['index_proximal'], [0.1])
    assert statistics.summary()['joint_error_deg'] == {'mean': None, 'per_joint': {}}


def test_hold_after_the_last_picture_does_not_count():
    statistics = RunStatistics('right', True)
    statistics.add_latency('camera', 1_000, 1_500)
    statistics.add_holds(500, 1)
    statistics.add_holds(2_000, 2)
    assert statistics.summary()['holds'] == 1


# A servo bus.

def test_without_a_bus_there_are_no_figures_of_it(statistics):
    add_frame(statistics, 0)
    assert not {'bus', 'frame_to_bus_ms', 'following_error_deg'} & set(statistics.summary())


def test_figures_of_the_bus(statistics):
    for k in range(100):
        add_frame(statistics, k)
        if k != 7:
            statistics.add_latency('bus', frame(k), frame(k) + (k + 1) * MS)
    armed = {'mode': 'armed', 'cycles': '300', 'cycle_ms_p50': '6.50', 'jitter_ms_p99': '',
             'fault': ''}
    statistics.add_bus('', {'mode': 'idle', 'cycles': '5', 'cycle_ms_p50': '9.00'})
    statistics.add_bus('', armed)
    statistics.add_bus('wrist', {'following_error_mean_deg': '2.00'})
    statistics.add_bus('elbow', {'following_error_mean_deg': '3.00'})
    statistics.add_bus('index_distal', {'following_error_mean_deg': 'nan'})
    for _ in range(2):  # said again and again until it is armed once more
        statistics.add_bus('', {'mode': 'idle', 'cycles': '9', 'fault': 'elbow: too hot'})
    summary = statistics.summary()
    assert summary['bus'] == {'cycles': 300.0, 'cycle_ms_p50': 6.5, 'faults': ['elbow: too hot']}
    steps = np.delete(np.arange(1, 101), 7)
    assert summary['frame_to_bus_ms'] == {
        f'p{p}': pytest.approx(np.percentile(steps, p), abs=0.006) for p in (50, 95, 99)}
    assert summary['following_error_deg'] == {
        'mean': 2.5, 'per_joint': {'wrist': 2.0, 'elbow': 3.0}}
    assert set(summary['latency_ms']) == {*STAGES, 'end_to_end'}
    json.dumps(summary)
