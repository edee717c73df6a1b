"""`hand-imitation bench env`, with the original really running beside ours."""

import json
import subprocess
import sys

import pytest

from hand_imitation.learning.peer import Peer, default_folder, installed


@pytest.fixture(autouse=True)
def original():
    if not installed(default_folder()):
        pytest.skip('gym-handofjustice is not installed: `hand-imitation bench env` does that')


def test_one_json_document():
    done = subprocess.run(
        [sys.executable, '-m', 'hand_imitation', 'bench', 'env', '--json', '--rounds', '1'],
        capture_output=True, text=True, timeout=300, check=True)
    figures = json.loads(done.stdout)
    assert figures['unit'] == 'steps/s'
    for row in (figures, figures['single'], figures['landmarks'], figures['landmarks_single']):
        assert row['ours'] > 0.0 and row['peer'] > 0.0
        assert row['ratio'] == pytest.approx(row['ours'] / row['peer'])
    assert figures['agreement']['mask_iou_mean'] >= 0.97


def test_the_original_makes_the_steps_asked_for():
    peer = Peer(default_folder())
    few, many = peer.seconds(5), peer.seconds(50)
    peer.close()
    assert few < many
