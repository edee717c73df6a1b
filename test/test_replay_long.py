"""Long bags: memory stays bounded. HAND_IMITATION_LONG_BAG_GB=10 makes the bag that large."""

import os
import shutil
import subprocess
import sys

import cv2
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('mediapipe')

from bag_rig import frame_ns, raw_image, sample_pictures, write_bag  # noqa: E402
from shared_data import ROOT  # noqa: E402

SIZE_GB = float(os.environ.get('HAND_IMITATION_LONG_BAG_GB', '0.3'))
WIDTH, HEIGHT = 1280, 720
MOST_MB = 1000
_PEAK = (
    'import resource, subprocess, sys\n'
    'code = subprocess.run(sys.argv[1:]).returncode\n'
    'print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)\n')


def large_pictures():
    """The sample to and fro, as a camera without compression gives it."""
    large = [cv2.resize(picture, (WIDTH, HEIGHT)) for picture in sample_pictures()]
    swing = [*large, *reversed(large)]
    for number in range(round(SIZE_GB * 1e9 / (WIDTH * HEIGHT * 3))):
        at_ns = frame_ns(number)
        yield '/camera/image_raw', at_ns, raw_image(swing[number % len(swing)], at_ns)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_memory_stays_below_a_gigabyte(tmp_path, storage):
    bag = write_bag(tmp_path / 'bag', large_pictures(), storage)
    assert sum(path.stat().st_size for path in bag.iterdir()) > 0.95e9 * SIZE_GB
    done = subprocess.run(
        [sys.executable, '-c', _PEAK, sys.executable, '-m', 'hand_imitation', 'replay', str(bag),
         '--out', str(tmp_path / 'out')],
        cwd=ROOT, capture_output=True, text=True, timeout=7200)
    shutil.rmtree(bag)
    code, peak_mb = map(int, done.stdout.splitlines()[-1].split())
    print(f'{SIZE_GB} GB of {storage}: {peak_mb} MB')
    assert code == 0, done.stderr
    assert peak_mb < MOST_MB
