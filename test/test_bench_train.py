"""`hand-imitation bench train`, with next to no time to learn."""

import csv
import json

import pytest

pytest.importorskip('stable_baselines3')
pytest.importorskip('cma')

from typer.testing import CliRunner  # noqa: E402

from hand_imitation.cli.bench import app  # noqa: E402
from hand_imitation.errors import UserError  # noqa: E402
from hand_imitation.learning import bench_tasks, bench_training, yardsticks  # noqa: E402


@pytest.fixture(autouse=True)
def short_search(monkeypatch):
    monkeypatch.setattr(yardsticks, 'CONSTANT_EVALUATIONS', 400)
    monkeypatch.setattr(yardsticks, 'CEILING_EVALUATIONS', 40)
    monkeypatch.setattr(yardsticks, 'CEILING_RESTARTS', 1)
    monkeypatch.setattr(bench_tasks, 'TRAINING_TARGETS', 16)
    monkeypatch.setattr(bench_training, 'POINTS', 2)


def _run(*arguments):
    return CliRunner().invoke(app, ['train', *arguments], catch_exceptions=False)


def test_learning_shows_within_seconds(tmp_path):
    done = _run('--minutes', '0.05', '--seeds', '2', '--algo', 'ppo', '--searched', '2',
                '--out', str(tmp_path), '--json')
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert {'ours', 'peer', 'ratio', 'unit'} <= document.keys()
    row, sticks = document['landmarks']['ppo'], document['landmarks']['yardsticks']
    assert set(row['g']) == {'1', '2'}
    assert document['ours'] == row['worst'] == min(row['g'].values())
    # From next to nothing: the first policies are no better than any pose.
    assert row['worst'] > 0.1
    assert sticks['targets'] == 2000 and sticks['targets_are_the_frozen_ones']
    assert sticks['constant_return'] < sticks['ceiling_return'] < 0.0
    with (tmp_path / 'curves_landmarks.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert {row['seed'] for row in rows} == {'1', '2'}
    assert float(rows[-1]['g']) == pytest.approx(row['g']['2'], abs=1e-3)
    assert (tmp_path / 'learning_curves.png').stat().st_size > 5000
    # Yardsticks are kept for the same targets, and only for them.
    kept = json.loads((tmp_path / 'yardsticks_landmarks.json').read_text())
    assert kept['constant_return'] == sticks['constant_return']


@pytest.mark.parametrize(('arguments', 'words'), [
    (('--policy', 'pixels'), '--data'),
    (('--policy', 'sound'), 'landmarks, pixels'),
    (('--algo', 'dqn'), 'ppo, sac, a2c'),
])
def test_mistakes_are_named(arguments, words):
    with pytest.raises(UserError, match=words):
        _run(*arguments)


def test_a_data_set_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match='hand-imitation dataset'):
        _run('--policy', 'pixels', '--data', str(tmp_path))
