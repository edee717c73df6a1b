"""`hand-imitation evaluate` and what it is made of: photographs, stills, the table, the plots."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from moving_hands import motion_arrays, still_arrays, write_arrays
from shared_data import ROOT

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli.evaluate import evaluate as command
from hand_imitation.cli.evaluate_tables import print_tables
from hand_imitation.errors import UserError
from hand_imitation.evaluation import predictors, stills
from hand_imitation.evaluation.finger_states import LabelledImage
from hand_imitation.evaluation.moving import moving_people
from hand_imitation.evaluation.moving_scores import Moving
from hand_imitation.evaluation.photographs import Photographs, plain_scores, score_photographs
from hand_imitation.evaluation.plain_policies import ConstantPolicy
from hand_imitation.evaluation.policy_plots import PLOTS, draw_plots
from hand_imitation.evaluation.policy_scores import EvaluationOptions, evaluate
from hand_imitation.evaluation.tracking import FINGER_JOINTS, TrackingOptions
from hand_imitation.human.observation import HandObservation
from hand_imitation.policy import SHIPPED
from hand_imitation.policy.base import JointTargets
from hand_imitation.policy.geometric import GeometricPolicy

RECIPE = {'split': 'test', 'seed': 0}


@pytest.fixture(scope='module')
def table():
    return JointTable.from_urdf(load_description())


@pytest.fixture(scope='module')
def arrays():
    return still_arrays()


@contextmanager
def task(words):
    yield lambda share: None


def told(table, positions_rad, names=None):
    """A policy that says the same of every picture, or, of None, nothing."""
    class Says(ConstantPolicy):
        uses_perception = True

        def act(self, observation, joint_positions, now_s):
            if positions_rad is None:
                return None
            return JointTargets(names or table.names, positions_rad, 0.0)

    return Says(table, np.zeros(len(table)))


def test_answers_of_the_formulas_agree_with_truth_seen_without_fault(arrays, table):
    shown = stills.stills_of(arrays, RECIPE, table)
    figures = stills.score_answers(stills.answers(GeometricPolicy(table), shown), shown)
    assert figures['error_deg']['fingers'] < 2.0
    assert figures['answered'] == 1.0
    assert figures['pictures'] == len(arrays['number'])


def test_who_says_nothing_counts_as_the_best_constant(arrays, table):
    shown = stills.stills_of(arrays, RECIPE, table)
    silent = stills.score_answers(stills.answers(told(table, None), shown), shown)
    constant = stills.score_answers(stills.plain_answers(shown)['best constant'], shown)
    assert silent['error_deg'] == constant['error_deg']
    assert silent['answered'] == 0.0 and silent['answered_error_deg'] is None
    assert constant['answered'] == 1.0


def test_a_joint_left_out_counts_as_the_best_constant_too(arrays, table):
    shown = stills.stills_of(arrays, RECIPE, table)
    names = tuple(name for name in table.names if name != 'elbow')
    found = stills.answers(told(table, np.zeros(len(names)), names), shown)
    figures = stills.score_answers(found, shown)
    plain = stills.plain_answers(shown)
    constant, zero = (
        stills.score_answers(plain[name], shown) for name in ('best constant', 'zero'))
    assert figures['per_joint']['elbow'] == constant['per_joint']['elbow']
    assert figures['per_joint']['wrist'] == zero['per_joint']['wrist']
    assert figures['answered'] == 1.0


def test_no_constant_is_better_than_the_best(arrays, table):
    shown = stills.stills_of(arrays, RECIPE, table)
    best = stills.score_answers(stills.plain_answers(shown)['best constant'], shown)
    for pose in (0.2, 0.7, 1.2):
        other = stills.score_answers(np.full(shown.truth_rad.shape, pose), shown)
        for name in FINGER_JOINTS:
            assert best['per_joint'][name] <= other['per_joint'][name] + 1e-6


def test_errors_are_counted_by_joint_and_palm_angle(arrays, table):
    shown = stills.stills_of(arrays, RECIPE, table)
    answers = shown.truth_rad.copy()
    index = table.index('index_distal')
    edge = shown.palm_deg >= np.median(shown.palm_deg)
    answers[edge, index] += np.radians(16.0)
    figures = stills.score_answers(answers, shown)
    assert figures['per_joint']['index_distal'] == pytest.approx(16.0 * edge.mean(), abs=0.01)
    assert figures['per_joint']['middle_distal'] == 0.0
    assert figures['error_deg']['fingers'] == pytest.approx(2.0 * edge.mean(), abs=0.01)
    bins = [b for b in figures['palm_angle'] if b['pictures']]
    assert sum(b['pictures'] for b in bins) == len(shown)
    assert bins[0]['fingers_deg'] == 0.0 and bins[-1]['fingers_deg'] == pytest.approx(2.0)


def test_errors_are_counted_by_kind_of_pose(arrays, table):
    shown = stills.stills_of(arrays, RECIPE, table)
    answers = shown.truth_rad.copy()
    answers[arrays['family'] == 'fist', table.index('index_distal')] += np.radians(16.0)
    found = stills.score_answers(answers, shown)['families']
    assert found['fist'] == {'pictures': 32, 'fingers_deg': pytest.approx(2.0)}
    assert found['pinch'] == {'pictures': 8, 'fingers_deg': 0.0}


def test_palm_angles(table):
    from skeletons import hand, turned

    for side in ('right', 'left'):
        for turn_deg in (0.0, 40.0, 90.0, 180.0):
            points = turned(hand(side), np.array([0.0, 1.0, 0.0]), np.radians(turn_deg))
            points = (points + [0.0, 0.0, 50.0])[np.newaxis]
            found = stills.palm_angles_deg(points, np.array([side == 'right']))
            assert found[0] == pytest.approx(turn_deg, abs=3.0)


def test_pictures_are_made_again_for_who_looks_at_pixels(arrays, table):
    class Looker(ConstantPolicy):
        shown: list = []

        def act(self, observation, joint_positions, now_s):
            assert not observation.valid
            self.shown.append(observation.image)
            return super().act(observation, joint_positions, now_s)

    few = {name: values[:3] for name, values in arrays.items()}
    found = stills.stills_of(few, RECIPE, table)
    pictures = [np.full((4, 4, 3), shade, np.uint8) for shade in (1, 2, 3)]
    again = stills.Stills(**{**vars(found), 'pictures': lambda: iter(pictures)})
    stills.answers(Looker(table, np.zeros(12)), again)
    assert [image[0, 0, 0] for image in Looker.shown] == [1, 2, 3]


def test_pictures_made_again_are_those_that_perception_saw(table):
    pytest.importorskip('anny')
    from hand_imitation.human.perception import StillPerception, StreamPerception
    from hand_imitation.learning.sequences import make_motion
    from hand_imitation.learning.shards import make_landmarks
    from hand_imitation.learning.splits import find_split

    class Watcher(ConstantPolicy):
        """Looks as perception does, and goes on to say nothing of it."""

        def __init__(self, perception):
            super().__init__(table, np.zeros(len(table)))
            self.perception, self.seen = perception, []

        def act(self, observation, joint_positions, now_s):
            self.seen.append(self.perception.observe(
                observation.image, observation.stamp_s).world_points)
            return super().act(observation, joint_positions, now_s)

    split = find_split('test')
    few = make_landmarks(split, 0, range(40, 43), lambda: None)
    watcher = Watcher(StillPerception())
    stills.answers(watcher, stills.stills_of(few, RECIPE, table))
    watcher.perception.close()
    np.testing.assert_allclose(watcher.seen, few['seen_world_m'], atol=1e-6)
    film = make_motion(split, 0, range(4), lambda: None)
    watcher = Watcher(StreamPerception())
    people = moving_people(film, table)
    Moving(people, RECIPE, None, table, TrackingOptions(settle_s=0.0)).follow(watcher)
    watcher.perception.close()
    np.testing.assert_allclose(watcher.seen, film['seen_world_m'], atol=1e-6)


def test_photographs_count_what_is_not_told_as_wrong(table):
    labels = [LabelledImage('0_000.jpg', 0, 0, dict.fromkeys(
        ('index', 'middle', 'ring', 'little'), False))] * 2
    seen = [HandObservation(valid=True, stamp_s=0.0)] * 2
    photographs = Photographs(labels, seen)
    fist = np.full(len(table), 1.2)
    assert score_photographs(photographs, told(table, fist))['people']['all'][
        'hands_right'] == 1.0
    part = tuple(name for name in table.names if name != 'ring_distal')
    figures = score_photographs(photographs, told(table, fist[:-1], part))
    assert figures['people']['all']['undetected'] == 2
    assert score_photographs(photographs, told(table, None))['people']['all'][
        'fingers_right'] == 0.0


def test_yardsticks_of_photographs(table):
    def image(digit, person, extended):
        fingers = ('index', 'middle', 'ring', 'little')
        return LabelledImage(f'{digit}_{person:03d}.jpg', digit, person, {
            finger: finger in extended for finger in fingers})

    labels = [image(1, 0, ['index']), image(1, 31, ['index']), image(2, 1, ['index', 'middle'])]
    rows = {name: row['people']['all'] for name, row in plain_scores(labels, table).items()}
    assert rows['ceiling']['hands_right'] == 1.0
    assert rows['best constant']['fingers_right'] == pytest.approx(11 / 12)
    assert rows['zero']['fingers_right'] == pytest.approx(4 / 12)
    assert 0.0 <= rows['random']['fingers_right'] < 1.0


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Data sets and photographs for the whole command."""
    data = tmp_path_factory.mktemp('data')
    write_arrays(data / 'landmarks' / 'test', still_arrays(), 'landmarks', 'test')
    # Long enough that the start ramp ends.
    write_arrays(data / 'motion' / 'test', motion_arrays(2, 80), 'motion', 'test')
    digits = tmp_path_factory.mktemp('digits')
    cv2.imwrite(str(digits / '5_000.jpg'), np.full((100, 100, 3), 128, np.uint8))
    (digits / 'labels.csv').write_text(
        'file,digit,thumb,index,middle,ring,little\n5_000.jpg,5,1,1,1,1,1\n')
    return data, digits


def test_one_document_of_everything(folders, tmp_path, capsys):
    data, digits = folders
    document = evaluate(EvaluationOptions(('geometric',), data, digits), task)
    assert document['policies'] == ['geometric']
    for part in ('photographs', 'stills', 'moving'):
        assert set(document[part]['rows']) == {
            'zero', 'random', 'best constant', 'geometric', 'ceiling'}
    assert document['photographs']['rows']['geometric']['people']['all']['undetected'] == 1
    assert 'motion/validation' in document['moving']['missing_predictors']
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    print_tables(document)
    table = capsys.readouterr().out
    for words in ('geometric', 'best constant', 'ceiling', 'index_proximal', '[deg]'):
        assert words in table
    written = draw_plots(tmp_path, document)
    assert [path.name for path in written] == list(PLOTS)
    for path in written:
        assert cv2.imread(str(path)).std() > 1.0


def test_a_learned_policy_is_taken_apart(tmp_path, monkeypatch, capsys):
    if not (SHIPPED / 'landmarks').is_dir():
        pytest.skip('no checkpoint of landmarks is installed')
    monkeypatch.setitem(predictors.GRIDS, 'ema', {
        'cutoff_hz': (20.0,), 'horizon_s': (0.0, 0.1), 'speed_cutoff_hz': (3.0,)})
    for kind in ('one_euro', 'kalman'):
        monkeypatch.setitem(predictors.GRIDS, kind, {
            name: choices[:1] for name, choices in predictors.GRIDS[kind].items()})
    for split, seed in (('test', 1), ('validation', 2)):
        write_arrays(tmp_path / 'motion' / split, motion_arrays(3, 70, seed), 'motion', split)
    document = evaluate(EvaluationOptions(
        ('geometric', 'landmarks'), tmp_path, tmp_path, ('moving',)), task)
    found = document['moving']
    assert 'landmarks, classic' in found['parts']['landmarks']
    assert set(found['parts']['landmarks']) <= set(found['rows'])
    tried = found['predictors']['landmarks']
    assert len(tried) == 3
    errors = [row['validation_error_deg'] for row in tried]
    assert errors == sorted(errors)
    assert found['rows']['landmarks, classic']['error_deg'] == tried[0]['error_deg']
    pairs = {(pair['policy'], pair['against']) for pair in found['comparisons']}
    assert {('landmarks', 'geometric'), ('landmarks', 'landmarks, classic')} <= pairs
    print_tables(document)
    assert 'landmarks, classic' in capsys.readouterr().out


def test_what_is_missing_is_said_with_the_command_that_makes_it(tmp_path):
    document = evaluate(EvaluationOptions((), tmp_path / 'a', tmp_path / 'b'), task)
    assert '--digits' in document['photographs']['missing']
    for part, kind in (('stills', 'landmarks'), ('moving', 'motion')):
        said = document[part]['missing']
        assert f'hand-imitation dataset --kind {kind} --split test' in said
        assert str(tmp_path / 'a' / kind / 'test') in said
    assert 'geometric' in document['policies']
    assert draw_plots(tmp_path, document) == []


def test_policies_that_cannot_be_told_apart_or_loaded_are_refused(tmp_path):
    with pytest.raises(UserError, match='geometric'):
        evaluate(EvaluationOptions(('geometric', 'geometric'), tmp_path, tmp_path), task)
    with pytest.raises(UserError, match="no policy 'nobody'"):
        evaluate(EvaluationOptions(('nobody',), tmp_path, tmp_path), task)


def run(*arguments):
    return subprocess.run(
        [sys.executable, '-m', 'hand_imitation', 'evaluate', *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, 'PYTHONPATH': str(ROOT)})


def test_command_line(folders, tmp_path):
    data, _ = folders
    out = tmp_path / 'out'
    done = run('--data', data, '--part', 'stills', '--policy', 'geometric', '--json', '--out', out,
               '--plots')
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((out / 'evaluation.json').read_text())
    assert (out / 'error_per_joint.png').exists() and not (out / 'tracking.png').exists()


def test_command_line_refuses_bad_input(tmp_path):
    done = run('--digits', tmp_path)
    assert done.returncode == 2 and done.stdout == ''
    assert 'labels.csv' in done.stderr and len(done.stderr.strip().splitlines()) == 1
    for options, words in (
            ({'plots': True}, '--out'), ({'part': ['all']}, 'photographs, stills, moving'),
            ({'digits': tmp_path / 'none'}, '--digits'), ({'data': tmp_path / 'none'}, '--data')):
        with pytest.raises(UserError, match=words):
            command(**{'policy': None, 'data': Path('data'), **options})
