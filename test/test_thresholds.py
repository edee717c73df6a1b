import json

import pytest
import synthetic_recordings as synthetic

from hand_imitation.errors import UserError
from hand_imitation.evaluation.metrics import document_text, metrics_document
from hand_imitation.evaluation.thresholds import (
    REGRESSIONS,
    check_baseline,
    check_thresholds,
    metric_paths,
    parse_threshold,
    read_baseline,
)


@pytest.fixture(scope='module')
def document():
    recording = synthetic.recording_of(synthetic.sound())
    return metrics_document([recording], [[
        synthetic.run_of(synthetic.sound(), 'good'),
        synthetic.run_of(synthetic.offset('index_proximal', 0.2), 'bent')]])


def above(text):
    return [parse_threshold(text, 'above')]


def below(text):
    return [parse_threshold(text, 'below')]


def test_each_policy_is_held_against_a_limit(document):
    checks = check_thresholds(document, above('joint_error_deg.mean=0.5'))
    assert [(c.policy, c.passed) for c in checks] == [('good', True), ('bent', False)]
    value = document['policies']['bent']['joint_error_deg']['mean']
    assert checks[1].words == f'bent: joint_error_deg.mean is {value:g}, above 0.5'


def test_a_limit_is_itself_allowed(document):
    value = document['policies']['bent']['joint_error_deg']['mean']
    assert check_thresholds(document, above(f'bent.joint_error_deg.mean={value}'))[0].passed
    assert check_thresholds(document, below(f'bent.joint_error_deg.mean={value}'))[0].passed


def test_a_policy_in_front_limits_it_alone(document):
    checks = check_thresholds(document, above('good.joint_error_deg.per_joint.wrist=1'))
    assert [(c.policy, c.metric) for c in checks] == [
        ('good', 'joint_error_deg.per_joint.wrist')]


def test_below(document):
    checks = check_thresholds(document, below('tracking.tracked_share=1'))
    assert all(c.passed for c in checks)
    assert checks[0].words == 'good: tracking.tracked_share is 1, at least 1'
    states = check_thresholds(document, below('finger_states.agreement=0.999'))
    assert [c.passed for c in states] == [True, False]


def test_what_is_not_known_is_a_miss(document):
    check, _ = check_thresholds(document, above('frame_age_ms.p95=50'))
    assert not check.passed and check.value is None
    assert 'not known' in check.words


@pytest.mark.parametrize('text', [
    '', '=', '=3', 'joint_error_deg.mean', 'joint_error_deg.mean=', 'a=b', 'a=nan', 'a=inf'])
def test_malformed_limits_are_refused(text):
    with pytest.raises(UserError, match='metric=value'):
        parse_threshold(text, 'above')


@pytest.mark.parametrize(('text', 'hint'), [
    ('jont_error_deg.mean=1', 'did you mean joint_error_deg.mean'),
    ('joint_error_deg.per_joint.indx_proximal=1', 'per_joint.index_proximal'),
    ('gud.joint_error_deg.mean=1', 'joint_error_deg.mean'),
    ('good.nothing=1', 'policies replayed: good, bent'),
    ('joint_error_deg=1', 'is a group of metrics: choose .*joint_error_deg.mean'),
    ('good=1', 'no metric or policy'),
    ('signal=1', 'not a number'),
    ('over_time.joint_error_deg=1', 'not a number'),
])
def test_unknown_metrics_and_policies_are_refused_with_a_hint(document, text, hint):
    with pytest.raises(UserError, match=hint):
        check_thresholds(document, above(text))


def test_every_metric_that_is_listed_can_be_limited(document):
    paths = list(metric_paths(document['policies']['good']))
    assert len(paths) > 150
    checks = check_thresholds(document, [parse_threshold(f'{p}=1e9', 'above') for p in paths])
    assert len(checks) == 2 * len(paths)


def test_dots_in_the_name_of_a_bag(document):
    recordings = [
        synthetic.recording_of(synthetic.sound(), source) for source in ('run.1', 'run.2')]
    runs = [[synthetic.run_of(synthetic.sound())]] * 2
    both = metrics_document(recordings, runs)
    check, = check_thresholds(both, above('bags.run.2.joint_error_deg.mean=1'))
    assert check.passed


def test_the_same_again_is_no_regression(document):
    checks = check_baseline(document, json.loads(document_text(document)))
    assert all(check.passed for check in checks)
    assert {check.policy for check in checks} == {'good', 'bent'}


def test_every_regression_is_a_metric(document):
    paths = set(metric_paths(document['policies']['good']))
    assert set(REGRESSIONS) <= paths


def test_worse_than_the_baseline_is_a_miss(document):
    recording = synthetic.recording_of(synthetic.sound())
    worse = metrics_document(
        [recording], [[synthetic.run_of(synthetic.offset('index_proximal', 0.3), 'good')]])
    missed = {c.metric for c in check_baseline(worse, document) if not c.passed}
    assert {'joint_error_deg.mean', 'fingertip_error_mm.mean'} <= missed
    assert 'tracking.tracked_share' not in missed and 'jerk_rad_s3.mean' not in missed


def test_better_than_the_baseline_passes(document):
    recording = synthetic.recording_of(synthetic.sound())
    better = metrics_document([recording], [[synthetic.run_of(synthetic.sound(), 'bent')]])
    assert all(check.passed for check in check_baseline(better, document))


def test_a_baseline_of_other_recordings_is_refused(document):
    made = synthetic.dropped_frames(0.1)
    other = metrics_document([synthetic.recording_of(made)], [[synthetic.run_of(made, 'good')]])
    with pytest.raises(UserError, match='other recordings .*540 frames.*600 frames'):
        check_baseline(document, other)


def test_a_baseline_without_these_policies_is_refused(document):
    recording = synthetic.recording_of(synthetic.sound())
    other = metrics_document([recording], [[synthetic.run_of(synthetic.sound(), 'third')]])
    with pytest.raises(UserError, match='none of the policies replayed: it has third'):
        check_baseline(document, other)


def test_a_baseline_of_another_signal_is_refused(document):
    recording = synthetic.recording_of(synthetic.sound())
    run = synthetic.run_of(synthetic.sound(), 'good', measured_source='none')
    with pytest.raises(UserError, match='another signal'):
        check_baseline(metrics_document([recording], [[run]]), document)


@pytest.mark.parametrize('content', [
    '', '[]', '{}', 'null', '{"schema": 2, "policies": {}, "bags": []}',
    '{"schema": 1, "policies": [], "bags": []}', '{"schema": 1}', '[' * 100_000, '\x00'])
def test_a_file_that_is_no_baseline_is_refused(tmp_path, content):
    (tmp_path / 'metrics.json').write_text(content)
    with pytest.raises(UserError, match='is no metrics.json'):
        read_baseline(tmp_path / 'metrics.json')


def test_a_baseline_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match='cannot be read'):
        read_baseline(tmp_path / 'metrics.json')


def test_a_baseline_is_read_back(tmp_path, document):
    (tmp_path / 'metrics.json').write_text(document_text(document))
    assert read_baseline(tmp_path / 'metrics.json') == document
