"""The checkpoints in the package: whole, small, said of them what is so, and working."""

import json
import os
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
from shared_data import ROOT
from skeletons import fist, hand, seen

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.policy import POLICIES, SHIPPED, load_policy
from hand_imitation.policy.checkpoint import DESCRIPTION, WEIGHTS, load_checkpoint

TABLE = JointTable.from_urdf(load_description())
LEARNED = [name for name in POLICIES if name != 'geometric']
WITHOUT_PYTORCH = """
import sys
sys.modules['torch'] = None
from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.policy import load_policy
try:
    load_policy(sys.argv[1], JointTable.from_urdf(load_description()))
    print('loaded')
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize('name', LEARNED)
def test_it_ships_whole_and_small(name):
    found = load_checkpoint(SHIPPED / name, TABLE, name)
    assert found.name == name
    assert found.training['command'].startswith('hand-imitation train')
    assert found.figures
    files = {path.name: path.stat().st_size for path in (SHIPPED / name).iterdir()}
    assert set(files) == {DESCRIPTION, WEIGHTS} and sum(files.values()) <= 10_000_000


@pytest.mark.parametrize('name', LEARNED)
def test_nothing_in_it_names_the_machine_it_was_made_on(name):
    text = (SHIPPED / name / DESCRIPTION).read_text()
    assert re.findall(r'[\s"=]/\w+', text) == []
    assert json.loads(text)['saved_by'].startswith('hand_imitation ')


def test_the_model_card_says_what_the_checkpoints_say():
    page = runpy.run_path(str(ROOT / 'scripts' / 'make_model_card.py'))['page']
    card = (ROOT / 'docs' / 'MODEL_CARD.md').read_text()
    assert card == page(), 'run: python scripts/make_model_card.py'
    for name in LEARNED:
        assert load_checkpoint(SHIPPED / name, TABLE).sha256 in card


@pytest.mark.parametrize('name, told', [
    ('landmarks', 'loaded'), ('pixels', "pip install 'hand_imitation[pixels]'")])
def test_without_pytorch(name, told):
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_PYTORCH, name], capture_output=True, text=True, timeout=60,
        env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert told in done.stdout, done.stderr


def test_landmarks_tells_a_fist_from_a_flat_hand():
    policy = load_policy('landmarks', TABLE)
    bends = []
    for points in (hand(), fist()):
        policy.reset()
        targets = policy.act(seen(points), None, 0.0)
        bends.append(np.mean([
            value for name, value in targets.as_dict().items()
            if name not in ('wrist', 'elbow') and 'thumb' not in name]))
    assert bends[0] < 0.5 and bends[1] > 1.0
