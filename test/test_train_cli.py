"""`hand-imitation train` as a user meets it: mistakes, Ctrl-C, a full disk, other machines."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip('stable_baselines3')
pytest.importorskip('safetensors')

from shared_data import ROOT  # noqa: E402

from hand_imitation.cli import main  # noqa: E402


def command(*words, out):
    return [sys.executable, '-m', 'hand_imitation', 'train', '--out', str(out), *words]


def environment():
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}


def said(monkeypatch, capsys, *words):
    """Run the command in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, 'argv', ['hand-imitation', 'train', *map(str, words)])
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code or 0
    shown = capsys.readouterr()
    return code, shown.out, shown.err


LANDMARKS = ('--policy', 'landmarks', '--algo', 'ppo')
PIXELS = ('--policy', 'pixels', '--algo', 'ppo')
SUPERVISED = ('--policy', 'landmarks', '--algo', 'supervised', '--steps', 9)


@pytest.mark.parametrize(('words', 'why'), [
    (('--policy', 'smells', '--algo', 'ppo', '--steps', 9), "no --policy 'smells'"),
    (('--policy', 'landmarks', '--algo', 'dqn', '--steps', 9), "no --algo 'dqn'"),
    (LANDMARKS, 'give --steps or --minutes'),
    ((*LANDMARKS, '--steps', 0), 'give 1 or more'),
    ((*LANDMARKS, '--minutes', 'nan'), 'give more than 0'),
    ((*LANDMARKS, '--steps', 9, '--seed', -1), 'give 0 or more'),
    ((*LANDMARKS, '--steps', 9, '--resume'), 'nothing to resume'),
    ((*LANDMARKS, '--steps', 9, '--data', '/nowhere'), "no folder '/nowhere'"),
    ((*LANDMARKS, '--steps', 9, '--data', '.'), 'hand-imitation dataset --kind landmarks'),
    ((*LANDMARKS, '--steps', 9, '--reward', 'pose=much'), 'has no number'),
    ((*LANDMARKS, '--steps', 9, '--reward', 'praise=1'), "no reward 'praise'"),
    ((*LANDMARKS, '--steps', 9, '--source', 'sample'), 'are for --policy pixels'),
    ((*LANDMARKS, '--steps', 9, '--ray', '127.0.0.1:1'), 'no Ray cluster'),
    ((*SUPERVISED, '--data', '.'), 'hand-imitation dataset --kind landmarks'),
    (('--policy', 'pixels', '--algo', 'supervised', '--steps', 9), 'give --data'),
    ((*PIXELS, '--steps', 9, '--source', '/nowhere.mp4'), '/nowhere.mp4'),
    ((*PIXELS, '--steps', 9, '--resolution', 4), 'does not fit'),
    ((*PIXELS, '--steps', 9, '--source', 'sample', '--data', '.'), 'give one of them'),
])
def test_mistakes_are_one_line_and_nothing_is_written(
        tmp_path, monkeypatch, capsys, words, why):
    out = tmp_path / 'run'
    code, stdout, stderr = said(monkeypatch, capsys, *words, '--out', out)
    lines = [line for line in stderr.splitlines() if line.startswith('error: ')]
    assert code == 2 and stdout == ''
    assert len(lines) == 1 and why in lines[0]
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / 'file').write_text('')
    for out in (tmp_path / 'file', tmp_path / 'file' / 'under'):
        code, _, stderr = said(monkeypatch, capsys, *LANDMARKS, '--steps', 9, '--out', out)
        assert code == 2 and '--out' in stderr


def test_a_missing_package_is_named(tmp_path, monkeypatch, capsys):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: (
        None if name == 'stable_baselines3' else found(name)))
    code, _, stderr = said(
        monkeypatch, capsys, *LANDMARKS, '--steps', 9, '--out', tmp_path / 'run')
    assert code == 2 and "pip install 'hand_imitation[train]'" in ' '.join(stderr.split())


def test_the_result_is_one_document(tmp_path, monkeypatch, capsys):
    out = tmp_path / 'run'
    code, stdout, _ = said(
        monkeypatch, capsys, *LANDMARKS, '--steps', 4096, '--out', out, '--json')
    result = json.loads(stdout)
    assert code == 0 and stdout.count('\n') == 1
    assert result == json.loads((out / 'result.json').read_text())
    assert result['algo'] == 'ppo' and result['seed'] == 0 and result['steps'] >= 4096
    assert {'reward', 'joint_error_deg'} <= set(result['figures'])
    assert {'torch', 'stable-baselines3', 'hand_imitation'} <= set(result['versions'])
    assert (out / 'checkpoint' / 'checkpoint.json').exists()


def test_ctrl_c_keeps_the_work_and_says_how_to_go_on(tmp_path):
    out = tmp_path / 'run'
    process = subprocess.Popen(
        command(*LANDMARKS, '--minutes', '60', out=out), env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline_s = time.monotonic() + 120.0
        while not (out / 'tensorboard').exists() and time.monotonic() < deadline_s:
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60.0)
    finally:
        process.kill()
    words = ' '.join(stderr.split())
    assert process.returncode == 130, stderr
    assert 'interrupted after' in words and '--resume' in words
    assert 'Traceback' not in stderr
    steps = json.loads((out / 'result.json').read_text())['steps']
    more = subprocess.run(
        command(*LANDMARKS, '--steps', str(steps + 4096), '--resume', '--json', out=out),
        env=environment(), capture_output=True, text=True, timeout=120)
    assert more.returncode == 0, more.stderr
    assert json.loads(more.stdout)['steps'] >= steps + 4096


def test_a_full_disk_leaves_what_was_saved_whole(tmp_path):
    out = tmp_path / 'run'
    done = subprocess.run(command(*LANDMARKS, '--steps', '4096', out=out), env=environment(),
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    before = {path: path.read_bytes() for part in ('checkpoint', 'state')
              for path in (out / part).iterdir()}

    def no_room():
        # Files end after 100 kB, as on a disk that is full by then.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    failed = subprocess.run(
        command(*LANDMARKS, '--steps', '9000', '--resume', out=out), env=environment(),
        capture_output=True, text=True, timeout=120, preexec_fn=no_room)
    assert failed.returncode == 3, failed.stderr
    words = ' '.join(failed.stderr.split())
    assert 'was not saved' in words and '--resume' in words and 'Traceback' not in words
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for part in ('checkpoint', 'state') for path in (out / part).iterdir()} == {
        path.name for path in before}
    again = subprocess.run(command(*LANDMARKS, '--steps', '9000', '--resume', out=out),
                           env=environment(), capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
