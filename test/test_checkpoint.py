"""Checkpoints: whole or not at all, whatever happens to the files."""

import hashlib
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.policy.checkpoint import (
    DESCRIPTION,
    MAX_DESCRIPTION_BYTES,
    MAX_WEIGHTS_BYTES,
    WEIGHTS,
    load_checkpoint,
    save_checkpoint,
)

TABLE = JointTable.from_urdf(load_description())
ABOUT = {'layout': {'hidden': [8], 'scale': 0.5}, 'training': {'command': 'train', 'seed': 3},
         'figures': {'error_deg': 7.5}}


def weights(value: float = 0.25, count: int = 60) -> dict[str, np.ndarray]:
    return {'in.weight': np.full((3, count), value, np.float32),
            'in.bias': np.full(count, value, np.float16)}


def saved(folder: Path, value: float = 0.25, kind: str = 'landmarks', count: int = 60) -> Path:
    save_checkpoint(folder, kind, weights(value, count), TABLE, **ABOUT)
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    return saved(tmp_path / 'mine')


def refusal(folder: Path, **options) -> str:
    """What loading is refused with, in a line that says what to do."""
    with pytest.raises(UserError) as caught:
        load_checkpoint(folder, TABLE, **options)
    words = str(caught.value)
    assert '\n' not in words and len(words) < 600 and str(folder) in words and ': ' in words
    return words


def replace_weights(folder: Path, content: bytes) -> None:
    """Put other weights in place, with a description that claims them."""
    (folder / WEIGHTS).write_bytes(content)
    describe(folder, sha256=hashlib.sha256(content).hexdigest())


def describe(folder: Path, **changes) -> None:
    described = json.loads((folder / DESCRIPTION).read_text()) | changes
    (folder / DESCRIPTION).write_text(json.dumps(described))


# What is saved is what is loaded.

def test_it_comes_back_as_it_was_saved(folder):
    found = load_checkpoint(folder, TABLE, 'landmarks')
    assert found.kind == 'landmarks' and found.name == 'mine'
    assert (found.layout, found.training, found.figures) == tuple(ABOUT.values())
    assert set(found.tensors) == set(weights())
    for name, values in weights().items():
        assert found.tensors[name].dtype == np.float32  # whatever it was saved as
        assert np.array_equal(found.tensors[name], values)
        with pytest.raises(ValueError):
            found.tensors[name][0] = 1.0
    content = (folder / WEIGHTS).read_bytes()
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, WEIGHTS]


def test_the_files_are_plain_safetensors_and_json(folder, tmp_path):
    """Other programs read ours, and we read what the library writes."""
    assert set(load_file(folder / WEIGHTS)) == set(weights())
    described = json.loads((folder / DESCRIPTION).read_text())
    assert described['joints'] == list(TABLE.names) and described['kind'] == 'landmarks'
    other = {'x': np.arange(6, dtype=np.float32).reshape(2, 3)}
    save_file(other, folder / WEIGHTS, metadata={'format': 'pt'})
    describe(folder, sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest())
    assert np.array_equal(load_checkpoint(folder, TABLE).tensors['x'], other['x'])


def test_saving_twice_gives_the_same_bytes(tmp_path):
    first, second = saved(tmp_path / 'a'), saved(tmp_path / 'b')
    for name in (DESCRIPTION, WEIGHTS):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_what_numpy_and_pathlib_made_becomes_plain(tmp_path):
    save_checkpoint(
        tmp_path, 'pixels', weights(), TABLE,
        layout={'mean': np.float32(0.5), 'sizes': (np.int64(3), 4)},
        training={'out': Path('runs/a'), 3: np.arange(2)},
        figures={'lag_ms': float('nan'), 'best': np.float64('inf')})
    found = load_checkpoint(tmp_path, TABLE, 'pixels')
    assert found.layout == {'mean': 0.5, 'sizes': [3, 4]}
    assert found.training == {'out': 'runs/a', '3': [0, 1]}
    assert found.figures == {'lag_ms': None, 'best': None}


def test_arrays_that_are_views_are_saved_as_they_look(tmp_path):
    """The format holds memory, not strides."""
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    save_checkpoint(tmp_path, 'pixels', {'a': values.T, 'b': values[::2]}, TABLE, **ABOUT)
    found = load_checkpoint(tmp_path, TABLE)
    assert np.array_equal(found.tensors['a'], values.T)
    assert np.array_equal(found.tensors['b'], values[::2])


def test_other_files_in_the_folder_are_left_alone(folder):
    (folder / 'events.tfevents').write_text('curves')
    saved(folder, 0.75)
    assert (folder / 'events.tfevents').read_text() == 'curves'
    assert load_checkpoint(folder, TABLE).tensors['in.bias'][0] == 0.75


def test_a_tensor_must_be_there_and_fit(folder):
    found = load_checkpoint(folder, TABLE)
    assert found.tensor('in.weight', (3, None)).shape == (3, 60)
    with pytest.raises(UserError, match="'out.weight' is missing"):
        found.tensor('out.weight', (3, None))
    with pytest.raises(UserError, match=r'has shape \(3, 60\), not \(4, None\)'):
        found.tensor('in.weight', (4, None))


# What cannot be saved.

@pytest.mark.parametrize('values, words', [
    (np.array([1.0, np.nan], np.float32), 'not finite'),
    (np.array([1.0, -np.inf], np.float16), 'not finite'),
    (np.zeros(2), 'float64'), (np.zeros(2, np.int64), 'int64')])
def test_weights_that_would_be_refused_are_not_saved(folder, values, words):
    with pytest.raises(ValueError, match=words):
        save_checkpoint(folder, 'landmarks', {'x': values}, TABLE, **ABOUT)
    assert load_checkpoint(folder, TABLE).tensors['in.bias'][0] == 0.25


def test_kind_layout_and_size_are_checked_before_saving(folder):
    with pytest.raises(ValueError, match='sound'):
        save_checkpoint(folder, 'sound', weights(), TABLE, **ABOUT)
    with pytest.raises(ValueError, match='no weights'):
        save_checkpoint(folder, 'pixels', {}, TABLE, **ABOUT)
    for bad in ({'a': np.nan}, {'a': [{'b': np.array([1.0, np.inf])}]}):
        with pytest.raises(ValueError, match='layout'):
            save_checkpoint(folder, 'pixels', weights(), TABLE, **{**ABOUT, 'layout': bad})
    huge = {'x': np.zeros(MAX_WEIGHTS_BYTES // 4 + 1, np.float32)}
    with pytest.raises(UserError, match='smaller'):
        save_checkpoint(folder, 'pixels', huge, TABLE, **ABOUT)
    with pytest.raises(UserError, match='smaller'):
        save_checkpoint(folder, 'pixels', weights(), TABLE, **{
            **ABOUT, 'training': {'log': 'x' * MAX_DESCRIPTION_BYTES}})
    assert MAX_WEIGHTS_BYTES + MAX_DESCRIPTION_BYTES <= 10_000_000
    assert load_checkpoint(folder, TABLE).kind == 'landmarks'


# What is not a checkpoint of ours.

def test_no_folder(tmp_path, folder):
    assert 'does not exist' in refusal(tmp_path / 'nowhere')
    assert 'is no folder' in refusal(folder / WEIGHTS)
    empty = tmp_path / 'empty'
    empty.mkdir()
    assert f'has no {DESCRIPTION}' in refusal(empty)


def test_a_file_is_missing(folder):
    (folder / WEIGHTS).unlink()
    assert f'has no {WEIGHTS}' in refusal(folder)


@pytest.mark.parametrize('changes, words', [
    ({'format': 'something'}, 'something else'),
    ({'version': 2}, 'update hand_imitation'),
    ({'version': 'new'}, 'format version new'),
    ({'kind': 'sound'}, "of kind 'sound'"),
    ({'kind': ['landmarks']}, 'of kind'),
    ({'joints': list(TABLE.names[::-1])}, 'another order (number 1 is elbow'),
    ({'joints': list(TABLE.names[:-1])}, 'for other joints (11 there, 12 in the arm)'),
    ({'joints': [*TABLE.names[:-1], 'shoulder']}, 'for other joints'),
    ({'joints': None}, 'does not name its joints'),
    ({'joints': [1] * 12}, 'does not name its joints'),
    ({'layout': []}, "no 'layout'"),
    ({'training': None}, "no 'training'"),
    ({'figures': 'good'}, "no 'figures'"),
    ({'sha256': 5}, "no 'sha256'"),
    ({'sha256': '0' * 64}, 'another SHA-256')])
def test_a_description_that_does_not_fit(folder, changes, words):
    describe(folder, **changes)
    assert words in refusal(folder)


def test_the_kind_asked_for(folder):
    assert "of kind 'landmarks', not 'pixels'" in refusal(folder, kind='pixels')


def test_another_arm(folder):
    other = JointTable(
        (*TABLE.names[1:], TABLE.names[0]), TABLE.lower_rad, TABLE.upper_rad,
        TABLE.max_velocity_rad_s, TABLE.max_effort_nm)
    with pytest.raises(UserError, match='another order'):
        load_checkpoint(folder, other)


@pytest.mark.parametrize('text', [
    b'', b'{', b'[]', b'null', b'\xff\xfe{}', b'{"format": NaN}', b'[' * 100_000,
    b'{"format": 1e999}', b'{"format": ' + b'1' * 5000 + b'}'],
    ids=['empty', 'truncated', 'list', 'null', 'no text', 'NaN', 'deep', 'inf', 'long number'])
def test_a_description_that_is_none(folder, text):
    (folder / DESCRIPTION).write_bytes(text)
    assert DESCRIPTION in refusal(folder)


@pytest.mark.parametrize('name', [DESCRIPTION, WEIGHTS])
def test_a_file_that_is_too_large_is_not_read(folder, name):
    with open(folder / name, 'r+b') as file:
        file.truncate(50_000_000_000)  # sparse: the disk holds none of it
    assert 'larger than' in refusal(folder)


# Damaged, and hostile.

@pytest.mark.parametrize('dtype', ['float64', 'int64', 'uint8', 'bool'])
def test_weights_of_another_type(folder, dtype):
    replace_weights(folder, save({'x': np.zeros(3, dtype)}))
    assert f'is {dtype}' in refusal(folder)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_weights_that_are_not_finite(folder, value):
    replace_weights(folder, save({'x': np.array([0.0, value], np.float32)}))
    assert "'x' has values that are not finite" in refusal(folder)


def raw(header: dict, data: bytes = b'\0' * 8) -> bytes:
    """A file in the format of safetensors, with any header."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, 'little') + text + data


@pytest.mark.parametrize('content', [
    b'', b'\0' * 7, b'\0' * 8, b'\xff' * 8 + b'{}', b'hello world, this is text',
    raw({}), raw({'x': {}}), raw({'x': {'dtype': 'F32', 'shape': [3], 'data_offsets': [0, 12]}}),
    raw({'x': {'dtype': 'F32', 'shape': [2 ** 62, 4], 'data_offsets': [0, 8]}}),
    raw({'x': {'dtype': 'BF16', 'shape': [4], 'data_offsets': [0, 8]}}),
    raw({'x': {'dtype': 'object', 'shape': [1], 'data_offsets': [0, 8]}}),
    raw({'x': {'dtype': 'F32', 'shape': [2], 'data_offsets': [-8, 0]}}),
    raw({'x': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]},
         'y': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}})])
def test_weights_that_are_no_safetensors(folder, content):
    replace_weights(folder, content)
    assert any(words in refusal(folder) for words in ('truncated', 'no weights', 'is bfloat16'))


class Malice:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_file_is_refused_and_nothing_in_it_runs(folder, tmp_path, protocol):
    trap = tmp_path / 'trap'
    content = pickle.dumps({'weights': Malice(trap)}, protocol)
    replace_weights(folder, content)
    words = refusal(folder)
    assert not trap.exists()
    assert 'hold code' in words if protocol >= 2 else 'no safetensors' in words
    pickle.loads(content)
    assert trap.exists()  # it would have


def test_what_torch_saves_is_refused(folder, tmp_path):
    """A zip archive with a pickle in it, as `torch.save` writes them."""
    trap, archive = tmp_path / 'trap', tmp_path / 'weights.pt'
    with zipfile.ZipFile(archive, 'w') as file:
        file.writestr('archive/data.pkl', pickle.dumps(Malice(trap), 2))
    replace_weights(folder, archive.read_bytes())
    assert 'a zip archive' in refusal(folder) and not trap.exists()


def test_a_header_as_long_as_a_pickles_first_byte_is_no_pickle(folder):
    """The header's length comes first, and 128 of it is what a pickle starts with."""
    values = {'x': np.zeros(3, np.float32)}
    content = next(c for n in range(200) if (c := save(values, {'note': 'n' * n}))[0] == 0x80)
    replace_weights(folder, content)
    assert np.array_equal(load_checkpoint(folder, TABLE).tensors['x'], values['x'])


def test_truncated_anywhere_it_is_refused(folder):
    whole = (folder / WEIGHTS).read_bytes()
    for length in [*range(0, 200, 7), len(whole) - 1]:
        (folder / WEIGHTS).write_bytes(whole[:length])
        assert 'SHA-256' in refusal(folder) or 'is a pickled' in refusal(folder)
        replace_weights(folder, whole[:length])
        refusal(folder)


def test_any_changed_byte_is_noticed(folder):
    whole = (folder / WEIGHTS).read_bytes()
    dice = random.Random(5)
    for _ in range(100):
        place = dice.randrange(len(whole))
        changed = bytearray(whole)
        changed[place] ^= 1 << dice.randrange(8)
        (folder / WEIGHTS).write_bytes(changed)
        refusal(folder)


def test_garbage_that_claims_to_be_right_does_no_harm(folder):
    """With the SHA-256 to it, only the format itself is left to be checked."""
    whole, dice = (folder / WEIGHTS).read_bytes(), random.Random(6)
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(dice.randrange(1, 6)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        replace_weights(folder, bytes(changed))
        try:
            found = load_checkpoint(folder, TABLE)
        except UserError:
            refused += 1
        else:
            assert all(np.isfinite(values).all() for values in found.tensors.values())
    assert refused > 30


def test_links_are_followed_to_files_only(folder, tmp_path):
    link = tmp_path / 'link'
    link.symlink_to(folder)
    assert load_checkpoint(link, TABLE).name == 'mine'
    shutil.move(folder / WEIGHTS, tmp_path / 'elsewhere')
    (folder / WEIGHTS).symlink_to(tmp_path / 'elsewhere')
    assert load_checkpoint(folder, TABLE).tensors
    for target, words in (
            ('nowhere', f'has no {WEIGHTS}'), (WEIGHTS, 'cannot be read'),
            ('/dev/zero', 'is no file'), (str(tmp_path), 'cannot be read')):
        (folder / WEIGHTS).unlink()
        (folder / WEIGHTS).symlink_to(target)
        assert words in refusal(folder)


def test_a_pipe_in_its_place_is_not_waited_for(folder):
    (folder / DESCRIPTION).unlink()
    os.mkfifo(folder / DESCRIPTION)
    assert 'is no file' in refusal(folder)


def test_a_link_laid_out_does_not_lead_to_somebody_elses_file(folder, tmp_path):
    thesis = tmp_path / 'thesis.txt'
    thesis.write_text('years of work')
    (folder / f'{WEIGHTS}.next').symlink_to(thesis)
    saved(folder, 0.5)
    assert thesis.read_text() == 'years of work'
    assert load_checkpoint(folder, TABLE).tensors['in.bias'][0] == 0.5


# Saving that fails, stops, or meets a reader.

ON_A_FULL_DISK = """
import resource, sys
from test_checkpoint import saved
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
from hand_imitation.errors import UserError
from pathlib import Path
try:
    saved(Path(sys.argv[1]), 0.75, count=20_000)
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize('limit_bytes', [0, 100, 100_000])
def test_a_full_disk_leaves_the_earlier_checkpoint(folder, limit_bytes):
    """The system itself refuses to write more; nothing is pretended."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, '-c', ON_A_FULL_DISK, str(folder), str(limit_bytes)],
        cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60)
    assert 'was not saved' in done.stdout and 'free some space' in done.stdout, done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert load_checkpoint(folder, TABLE).tensors['in.bias'][0] == 0.25
    saved(folder, 0.75)
    assert load_checkpoint(folder, TABLE).tensors['in.bias'][0] == 0.75


def test_a_folder_that_cannot_be_made(folder):
    with pytest.raises(UserError, match='another folder'):
        saved(folder / WEIGHTS / 'inside')


class Killed(BaseException):
    """Stands for the process ending here."""


@pytest.mark.parametrize('steps', range(6))
def test_killed_at_any_step_one_whole_checkpoint_is_left(folder, monkeypatch, steps):
    """Both files are written, then the weights take their place, which is what decides."""
    done = []

    def killed_in_time(real):
        def step(*arguments):
            if len(done) == steps:
                raise Killed
            real(*arguments)
            done.append(real)
        return step

    monkeypatch.setattr(os, 'fsync', killed_in_time(os.fsync))
    monkeypatch.setattr(Path, 'replace', killed_in_time(Path.replace))
    with pytest.raises(Killed):
        saved(folder, 0.75, kind='pixels')
    found = load_checkpoint(folder, TABLE)
    expected = ('landmarks', 0.25) if steps < 3 else ('pixels', 0.75)
    assert (found.kind, found.tensors['in.bias'][0]) == expected
    monkeypatch.undo()
    saved(folder, 0.5)
    assert load_checkpoint(folder, TABLE).tensors['in.bias'][0] == 0.5
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, WEIGHTS]


def test_whoever_reads_while_it_is_replaced_gets_one_or_the_other(folder):
    """The reader goes on until the writer is done, however slow the disk is."""
    kinds = {0.25: 'landmarks', 0.75: 'pixels'}

    def replace() -> None:
        for _ in range(40):
            for value, kind in kinds.items():
                saved(folder, value, kind)

    saved(folder, 0.25, 'landmarks')
    thread = threading.Thread(target=replace)
    thread.start()
    seen = []
    try:
        while thread.is_alive():
            found = load_checkpoint(folder, TABLE)
            value = float(found.tensors['in.bias'][0])
            assert found.kind == kinds[value]
            assert (found.tensors['in.weight'] == value).all()
            seen.append(value)
    finally:
        thread.join()
    assert set(seen) == set(kinds)


def test_without_safetensors_it_says_what_to_install(folder, monkeypatch):
    for name in [n for n in sys.modules if n.split('.')[0] == 'safetensors']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, 'path', [str(Path(__file__).parents[1])])
    with pytest.raises(UserError, match='pip install safetensors'):
        load_checkpoint(folder, TABLE)
