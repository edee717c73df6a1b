import json
import os

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip('anny')
pytest.importorskip('torch')

import typer  # noqa: E402

from hand_imitation.cli.dataset import dataset  # noqa: E402
from hand_imitation.errors import UserError  # noqa: E402
from hand_imitation.human.angles import JOINTS  # noqa: E402
from hand_imitation.human.synthetic import true_angles  # noqa: E402
from hand_imitation.learning import dataset as data  # noqa: E402
from hand_imitation.learning import shards  # noqa: E402
from hand_imitation.learning.dataset import Recipe, load_dataset, write_dataset  # noqa: E402
from hand_imitation.learning.poses import (  # noqa: E402
    FAMILIES,
    FREE_FAMILIES,
    HELD_OUT_FAMILIES,
)
from hand_imitation.learning.scenes import HELD_OUT_YAW_RAD  # noqa: E402
from hand_imitation.learning.splits import (  # noqa: E402
    SPLITS,
    fingerprint,
    person,
)

SMALL = 24


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(data, 'SHARD_PICTURES', SMALL)


@pytest.fixture(scope='module')
def pixels():
    """A shard of pictures of each split."""
    return {name: shards.make_pixels(split, 0, range(60), 64, lambda: None)
            for name, split in SPLITS.items()}


def test_the_labels_follow_from_the_joints(pixels):
    train = pixels['train']
    for joints, angles, right in zip(train['joints_m'], train['angles_rad'], train['right'],
                                     strict=True):
        again = true_angles(joints.astype(float), 'right' if right else 'left')
        np.testing.assert_allclose(angles, again, atol=1e-3)
    assert np.isfinite(train['angles_rad'][train['valid']]).all()


def test_the_pictures_show_the_hand_where_the_labels_say(pixels):
    # The same hand drawn on two backgrounds would be ideal; skin against its surroundings does.
    train = pixels['train']
    assert train['picture'].dtype == np.uint8
    inside = ((train['points_px'] > 0) & (train['points_px'] < 64)).all(axis=2)
    assert inside.mean() > 0.97
    different = []
    for picture, points in zip(train['picture'], train['points_px'], strict=True):
        blurred = cv2.GaussianBlur(picture, (0, 0), 1.0).astype(float)
        palm = np.clip(points[[0, 5, 9, 13, 17]].mean(axis=0), 0, 63).astype(int)
        corner = blurred[[0, 0], [0, 63]].mean(axis=0)
        different.append(np.abs(blurred[palm[1], palm[0]] - corner).max())
    assert np.mean(np.array(different) > 12.0) > 0.8


def test_both_hands_lead_and_fingers_open_and_close(pixels):
    train = pixels['train']
    assert 0.25 < train['right'].mean() < 0.75
    closure = train['angles_rad'][:, 2:10].reshape(-1, 4, 2).sum(axis=2)
    curled = (closure > 1.0).mean(axis=0)
    assert (curled > 0.2).all()
    assert (curled < 0.8).all()


def test_the_test_split_shows_what_training_does_not(pixels):
    train, test = pixels['train'], pixels['test']
    assert set(train['family']) <= {*FAMILIES, *FREE_FAMILIES}
    assert set(test['family']) & set(HELD_OUT_FAMILIES)
    assert not set(train['background']) & set(test['background'])
    low, high = HELD_OUT_YAW_RAD

    def in_band(arrays):
        return (low <= arrays['yaw_rad']) & (arrays['yaw_rad'] <= high)

    assert not in_band(train).any()
    np.testing.assert_array_equal(in_band(test), test['held_out_view'])
    assert test['held_out_view'].any()


def test_no_two_splits_share_a_person():
    lengths = {tuple(person(split, number).length.values())
               for split in SPLITS.values() for number in range(30)}
    assert len(lengths) == 30 * len(SPLITS)


@pytest.mark.parametrize('split', SPLITS.values(), ids=SPLITS)
def test_the_crowd_is_the_one_written_down(split):
    assert fingerprint(split) == split.people_sha256


def test_the_same_numbers_give_the_same_pictures(pixels):
    again = shards.make_pixels(SPLITS['train'], 0, range(40, 44), 64, lambda: None)
    np.testing.assert_array_equal(again['picture'], pixels['train']['picture'][40:44])
    other = shards.make_pixels(SPLITS['train'], 1, range(40, 44), 64, lambda: None)
    assert (other['picture'] != again['picture']).mean() > 0.5


def test_it_goes_on_where_it_stopped(tmp_path):
    write_dataset(tmp_path, Recipe('pixels', 'train', SMALL, 64), workers=1)
    first = tmp_path / 'shard_0000.npz'
    os.utime(first, (1, 1))
    shares = []
    card = write_dataset(tmp_path, Recipe('pixels', 'train', SMALL + 6, 64), 1,
                         progress=shares.append)
    assert first.stat().st_mtime == 1
    assert shares == [0.5, 1.0]
    arrays = load_dataset(tmp_path)
    np.testing.assert_array_equal(arrays['number'], np.arange(SMALL + 6))
    # Bytes of a file that was begun and not finished are no shard.
    (tmp_path / 'shard_0001.99.tmp').write_bytes(b'half')
    assert len(load_dataset(tmp_path, ['number'])['number']) == SMALL + 6
    assert card['images'] == SMALL + 6
    assert json.loads((tmp_path / 'card.json').read_text())['images'] == SMALL + 6
    assert cv2.imread(str(tmp_path / 'contact_sheet.png')) is not None


def test_a_folder_of_another_data_set_is_left_alone(tmp_path):
    write_dataset(tmp_path, Recipe('pixels', 'train', 4, 64), workers=1)
    with pytest.raises(UserError, match='another data set.*size_px'):
        write_dataset(tmp_path, Recipe('pixels', 'train', 4, 96), workers=1)
    with pytest.raises(UserError, match='images'):
        write_dataset(tmp_path, Recipe('pixels', 'train', 2, 64), workers=1)


@pytest.mark.parametrize('wrong', [
    {'kind': 'sounds'}, {'split': 'exam'}, {'images': 0}, {'size_px': 4}])
def test_a_wrong_recipe_is_refused(wrong):
    with pytest.raises(UserError, match='give'):
        Recipe(**{'kind': 'pixels', 'split': 'train', 'images': 4, **wrong})


def test_no_data_set_is_said(tmp_path):
    with pytest.raises(UserError, match='hand-imitation dataset'):
        load_dataset(tmp_path)


def test_it_pauses_while_asked_to(tmp_path, monkeypatch):
    pause = tmp_path / 'pause'
    pause.touch()
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        pause.unlink()

    monkeypatch.setattr(data.time, 'sleep', sleep)
    write_dataset(tmp_path / 'out', Recipe('pixels', 'train', 2, 64), 1, pause)
    assert len(waits) == 1


def test_the_command(tmp_path):
    app = typer.Typer()
    app.command()(dataset)
    result = CliRunner().invoke(app, [
        '--out', str(tmp_path), '--images', '3', '--size', '48', '--workers', '1', '--json'])
    assert result.exit_code == 0, result.output
    card = json.loads(result.stdout)
    assert card['images'] == 3
    assert set(card['angles_deg']) == set(JOINTS)
