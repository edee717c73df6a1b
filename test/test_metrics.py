"""Every metric on input whose answer is known."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_recordings as synthetic

from hand_imitation.errors import UserError
from hand_imitation.evaluation.figures import gaps, joint_errors
from hand_imitation.evaluation.metrics import compute_metrics, document_text, metrics_document
from hand_imitation.evaluation.recording import Hold, Series
from hand_imitation.evaluation.scoring import choose_reference

TABLE = synthetic.TABLE


def metrics(made: synthetic.Synthetic | None = None, **changes):
    made = made or synthetic.sound()
    recording, run = synthetic.recording_of(made), synthetic.run_of(made, **changes)
    return compute_metrics(recording, run, choose_reference(recording, [run]))


def still(run):
    """The run's arm, at rest in the middle of every range."""
    middle = np.where(TABLE.lower_rad < 0, 0.0, 0.6)
    return Series(run.command.time_ns, np.tile(middle, (len(run.command), 1)))


# ---- joint errors

def test_joint_errors_of_known_numbers():
    signed = np.zeros((4, 12))
    signed[:, TABLE.index('index_proximal')] = [4.0, -4.0, 4.0, np.nan]
    signed[:, TABLE.index('wrist')] = -6.0
    found = joint_errors(signed, np.array([0, 1, 2, 3]), TABLE)
    assert found['per_joint']['index_proximal'] == 4.0
    assert found['per_joint_bias']['index_proximal'] == pytest.approx(4.0 / 3.0, abs=1e-3)
    assert found['per_joint_bias']['wrist'] == -6.0
    assert found['per_finger']['index'] == pytest.approx(12.0 / 7.0, abs=1e-3)  # 3 of 7 known
    # Each frame's mean over the joints known in it: 10/12 three times, 6/11 once.
    assert found['mean'] == pytest.approx((3 * 10 / 12 + 6 / 11) / 4, abs=1e-3)
    assert found['max'] == 6.0 and found['frames'] == 4


def test_errors_count_from_the_first_command_on():
    run = synthetic.run_of(synthetic.sound())
    late = Series(run.command.time_ns[500:], run.command.position_rad[500:])
    found = metrics(command=late)
    # Frame 151 is the first after 5 s, and the last frame lies after the last command.
    assert found['joint_error_deg']['frames'] == 600 - 151 - 1
    assert found['estimate_error_deg']['frames'] == 600


def test_what_is_judged():
    sound = synthetic.run_of(synthetic.sound())
    bent = synthetic.run_of(synthetic.offset('index_proximal', 0.2)).measured
    simulated = metrics(measured=bent, measured_source='simulated')
    assert simulated['signal'] == 'measured, simulated arm'
    assert simulated['joint_error_deg']['per_joint']['index_proximal'] > 11
    behind_another = metrics(measured=bent, measured_source='recorded')
    assert behind_another['signal'] == 'command'
    assert behind_another['joint_error_deg']['mean'] < 0.01
    of_arm = behind_another['recorded_arm']['joint_error_deg']
    assert of_arm['per_joint']['index_proximal'] > 11
    itself = metrics(policy='recorded', measured=bent, measured_source='recorded')
    assert itself['signal'] == 'measured, recorded arm' and 'recorded_arm' not in itself
    none = metrics(measured=replace(sound.measured), measured_source='none')
    assert none['signal'] == 'command' and 'recorded_arm' not in none


# ---- the reference

def test_truth_is_the_reference_where_there_is_one():
    recording = synthetic.recording_of(synthetic.sound())
    runs = [synthetic.run_of(synthetic.sound(), 'a')]
    assert choose_reference(recording, runs, 'a').kind == 'truth'


@pytest.mark.parametrize(('policies', 'name', 'chosen'), [
    (['a', 'geometric', 'recorded'], None, 'recorded'), (['a', 'geometric'], None, 'geometric'),
    (['b', 'a'], None, 'b'), (['b', 'a'], 'a', 'a')])
def test_else_it_is_a_policy_and_the_document_says_which(policies, name, chosen):
    recording = synthetic.recording_of(synthetic.sound(), truth=None)
    runs = [synthetic.run_of(synthetic.sound(), policy) for policy in policies]
    document = metrics_document([recording], [runs], name)
    assert document['bags'][0]['reference'] == {'kind': 'policy', 'name': chosen}
    assert {found['reference'] for found in document['policies'].values()} == {chosen}


def test_an_unknown_reference_is_refused():
    recording = synthetic.recording_of(synthetic.sound())
    with pytest.raises(UserError, match="no policy 'c'.* a"):
        choose_reference(recording, [synthetic.run_of(synthetic.sound(), 'a')], 'c')


# ---- tracking, frames, holds

def test_gaps():
    tracked = np.array([0, 1, 1, 0, 0, 1, 0], dtype=bool)
    assert gaps(tracked, np.arange(7) * 10) == [(0, 10), (30, 50), (60, 60)]
    assert gaps(np.ones(3, bool), np.arange(3)) == []
    assert gaps(np.zeros(3, bool), np.arange(3)) == [(0, 2)]
    assert gaps(np.zeros(0, bool), np.zeros(0, np.int64)) == []


def test_tracking():
    tracked = np.ones(600, bool)
    tracked[100:115] = tracked[300] = False
    found = metrics(tracked=tracked)['tracking']
    assert found['tracked'] == 584 and found['dropouts'] == 2
    assert found['tracked_share'] == pytest.approx(584 / 600, abs=1e-5)
    assert found['longest_gap_s'] == pytest.approx(15 / 30, abs=1e-3)
    assert found['targets'] == 600


def test_missing_frames_are_those_the_camera_should_have_given():
    made = synthetic.sound()
    kept = made.kept.copy()
    kept[[100, 101, 102, 200]] = False
    found = metrics(replace(made, kept=kept))['frames']
    assert found['count'] == 596 and found['missing'] == 4
    assert found['longest_interval_s'] == pytest.approx(4 / 30, abs=1e-3)


def test_holds():
    start = synthetic.START_NS
    holds = (Hold(start, start + 2 * 10**8, 'stale'), Hold(start + 10**9, start + 2 * 10**9, 'x'),
             Hold(start + 3 * 10**9, start + 3 * 10**9 + 10**8, 'stale'))
    assert metrics(holds=holds)['holds'] == {
        'count': 3, 'total_s': 1.3, 'longest_s': 1.0, 'reasons': {'stale': 2, 'x': 1}}


def test_frame_age_latency_and_rates():
    recording = synthetic.recording_of(
        synthetic.sound(), latency_ms={'policy': np.arange(1.0, 101.0)})
    run = synthetic.run_of(synthetic.sound(), frame_age_ms=np.array([10.0, 20.0, 30.0]))
    found = compute_metrics(recording, run, None)
    assert found['frame_age_ms'] == {'p50': 20.0, 'p95': 29.0, 'p99': 29.8, 'max': 30.0}
    assert found['latency_ms']['policy'] == {'p50': 50.5, 'p95': 95.05, 'p99': 99.01, 'max': 100.0}
    assert found['rates_hz'] == {
        'frames': 30.0, 'targets': 30.0, 'commands': 100.0, 'measured': 100.0}
    assert found['joint_error_deg']['mean'] is None and found['reference'] == 'none'


# ---- violations

def test_nothing_is_violated_by_a_sound_run():
    assert metrics()['violations'] == {
        'command_position': 0, 'command_speed': 0, 'measured_position': 0}


def test_violations_are_counted_by_joint_and_sample():
    run = synthetic.run_of(synthetic.sound())
    command = still(run).position_rad.copy()
    command[100, 0] = 1.56         # beyond 1.55, and too fast; back to where the arm is is not
    measured = still(run).position_rad.copy()
    measured[50:53, 10] = -0.57    # beyond -0.52 by more than 2 degrees
    measured[60, 10] = -0.53       # beyond, but an arm sags
    found = metrics(
        command=Series(run.command.time_ns, command),
        measured=Series(run.command.time_ns, measured), violations=7)
    assert found['violations'] == {
        'command_position': 1, 'command_speed': 1, 'measured_position': 3}
    assert found['limit_violations'] == 7


def test_a_step_to_where_the_arm_is_asks_for_no_motion():
    run = synthetic.run_of(synthetic.sound())
    jumped = still(run).position_rad.copy()
    jumped[100:, 2] += 0.5
    series = Series(run.command.time_ns, jumped)
    assert metrics(command=series, measured=series)['violations']['command_speed'] == 0
    assert metrics(command=series, measured=still(run))['violations']['command_speed'] == 1
    by_arrival = metrics(policy='recorded', command=series, measured=still(run))
    assert by_arrival['violations']['command_speed'] is None


# ---- finger states

def test_a_finger_is_curled_when_its_two_joints_add_up_to_more_than_a_radian():
    made = synthetic.sound()
    recording, run = synthetic.recording_of(made), synthetic.run_of(made)
    straight = np.zeros_like(recording.truth.position_rad)
    nearly = np.zeros_like(run.command.position_rad)
    nearly[:, [TABLE.index('ring_proximal'), TABLE.index('ring_distal')]] = 0.49
    nearly[:, [TABLE.index('little_proximal'), TABLE.index('little_distal')]] = 0.51
    nearly[:, TABLE.index('thumb_distal')] = 1.2
    recording = replace(recording, truth=Series(recording.frame_ns, straight))
    run = replace(run, measured=Series(run.command.time_ns, nearly))
    found = compute_metrics(recording, run, choose_reference(recording, [run]))['finger_states']
    assert found['per_finger'] == {
        'thumb': 0.0, 'index': 1.0, 'middle': 1.0, 'ring': 1.0, 'little': 0.0}
    assert found['agreement'] == 0.75 and found['hands'] == 0.0


# ---- several policies and bags

def document_of(*policies, **changes):
    recording = synthetic.recording_of(synthetic.sound(), **changes)
    return metrics_document([recording], [list(policies)])


def test_the_better_of_two_policies_is_named():
    document = document_of(
        synthetic.run_of(synthetic.offset('wrist', 0.1), 'bent'),
        synthetic.run_of(synthetic.offset('wrist', 0.02), 'straight'))
    comparison, = document['comparisons']
    assert (comparison['policy'], comparison['against']) == ('bent', 'straight')
    found = comparison['metrics']['joint_error_deg']
    assert found['difference'] == pytest.approx(math.degrees(0.08) / 12, abs=2e-3)
    assert found['ci95']['low'] > 0 and found['better'] == 'straight'


def test_two_that_are_alike_have_no_better():
    document = document_of(
        synthetic.run_of(synthetic.sound(), 'a'), synthetic.run_of(synthetic.sound(), 'b'))
    comparison, = document['comparisons']
    assert {found['better'] for found in comparison['metrics'].values()} == {None}


def test_different_signals_are_not_compared():
    document = document_of(
        synthetic.run_of(synthetic.sound(), 'a'),
        synthetic.run_of(synthetic.delay(1), 'b', measured_source='none'))
    comparison, = document['comparisons']
    assert set(comparison['metrics']) == {'command_error_deg', 'estimate_error_deg'}


def test_a_reference_is_not_compared_with_those_held_against_it():
    document = document_of(
        synthetic.run_of(synthetic.sound(), 'geometric'),
        synthetic.run_of(synthetic.delay(1), 'a'), synthetic.run_of(synthetic.delay(2), 'b'),
        truth=None)
    assert [(c['policy'], c['against']) for c in document['comparisons']] == [('a', 'b')]


def test_several_bags_are_taken_together_and_told_apart():
    sound, bent = synthetic.sound(), synthetic.offset('index_proximal', 0.2)
    short = replace(bent, kept=np.arange(len(bent.kept)) < 300, tracked=bent.tracked)
    recordings = [synthetic.recording_of(sound, 'first'), synthetic.recording_of(short, 'second')]
    document = metrics_document(
        recordings, [[synthetic.run_of(sound)], [synthetic.run_of(short)]])
    found = document['policies']['synthetic']
    second = found['bags']['second']['joint_error_deg']['per_joint']['index_proximal']
    assert second == pytest.approx(math.degrees(0.2), abs=0.05)
    # By frames: 299 of 898 are of the bent one (the last of each lies after the last command).
    together = found['joint_error_deg']['per_joint']['index_proximal']
    assert together == pytest.approx(second / 3, rel=0.01)
    assert found['frames']['count'] == 900
    assert [bag['name'] for bag in document['bags']] == ['first', 'second']


# ---- the document

def test_the_course_over_time():
    course = metrics(synthetic.offset('index_proximal', 0.2))['over_time']
    assert course['bin_s'] == 1 and course['start_s'] == list(range(20))
    assert len(course['per_joint_deg']) == 12
    assert np.allclose(course['per_joint_deg']['index_proximal'], math.degrees(0.2), atol=0.05)
    assert course['tracked_share'] == [1.0] * 20


def test_no_hand_at_all():
    made = replace(synthetic.sound(), tracked=np.zeros(600, bool))
    nothing = Series(np.zeros(0, np.int64), np.zeros((0, 12)))
    document = document_of(
        synthetic.run_of(made, command=nothing, measured=nothing))
    found = document['policies']['synthetic']
    assert found['tracking']['tracked'] == 0 and found['tracking']['targets'] == 0
    assert found['joint_error_deg']['mean'] is None and found['lag_ms']['all'] is None
    json.loads(document_text(document))


def test_the_same_input_gives_the_same_bytes():
    """In another process, with another hash seed, too."""
    script = (
        'import synthetic_recordings as s\n'
        'from hand_imitation.evaluation.metrics import document_text, metrics_document\n'
        'made = s.jitter(0.01)\n'
        'print(document_text(metrics_document([s.recording_of(made)], [['
        's.run_of(made, "b"), s.run_of(s.delay(2), "a")]])), end="")')
    folder = Path(__file__).parent
    texts = {
        subprocess.run(
            [sys.executable, '-c', script], cwd=folder, capture_output=True, check=True,
            timeout=120, env={**os.environ, 'PYTHONHASHSEED': seed,
                              'PYTHONPATH': f'{folder.parent}'}).stdout
        for seed in ('1', '2')}
    assert len(texts) == 1
    document = json.loads(texts.pop())
    assert document['schema'] == 1 and list(document['policies']) == ['b', 'a']
