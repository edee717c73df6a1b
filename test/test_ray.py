"""Many bags on a Ray cluster of two real nodes, one of which dies midway."""

import sys
import threading
import time

import pytest

pytest.importorskip('rosbags')
pytest.importorskip('mediapipe')
ray = pytest.importorskip('ray')
psutil = pytest.importorskip('psutil')

from bag_rig import recording, write_bag  # noqa: E402

from hand_imitation.cli import main  # noqa: E402
from hand_imitation.errors import UserError  # noqa: E402
from hand_imitation.evaluation.many_bags import BagsReplayed, replay_bags  # noqa: E402
from hand_imitation.evaluation.metrics import document_text, metrics_document  # noqa: E402
from hand_imitation.evaluation.replay import ReplayOptions  # noqa: E402

BAGS = 20
OPTIONS = ReplayOptions(landmarks='recorded', simulate=True)


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    """Twenty short bags, no two alike."""
    folder = tmp_path_factory.mktemp('bags')
    for number in range(BAGS):
        write_bag(folder / f'bag_{number:02}', recording(6 + number))
    return folder


def written(found: BagsReplayed) -> str:
    return document_text(metrics_document(
        [r.recording for r in found.replayed], [r.runs for r in found.replayed]))


def test_a_node_that_dies_midway_costs_nothing_but_time(cluster, bags):
    paths = sorted(bags.iterdir())
    local = replay_bags(paths, OPTIONS, lambda share: None)
    shares: list[float] = []
    killed = threading.Event()

    def progress(share: float) -> None:
        shares.append(share)
        if share > 0.2 and not killed.is_set():
            killed.set()
            cluster.remove_node(cluster.nodes_with_work[0], allow_graceful=False)

    there = replay_bags(paths, OPTIONS, progress, cluster.address)
    assert killed.is_set()
    assert len(there.replayed) == BAGS and there.unscored == {}
    assert written(there) == written(local)
    assert shares == sorted(shares) and shares[-1] == 1.0
    # Pictures can be read here too, for the report.
    assert there.replayed[0].recording.pictures(0) is not None


def test_the_command_on_a_cluster(cluster, bags, tmp_path, monkeypatch, capsys):
    few = tmp_path / 'bags'
    few.mkdir()
    for path in sorted(bags.iterdir())[:3]:
        (few / path.name).symlink_to(path)
    texts = []
    for name, extra in (('here', ()), ('there', ('--ray', cluster.address))):
        monkeypatch.setattr(sys, 'argv', [
            'hand-imitation', 'replay', str(few), '--landmarks', 'recorded', '--out',
            str(tmp_path / name), *extra])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        texts.append((tmp_path / name / 'metrics.json').read_bytes())
    assert texts[0] == texts[1]


def test_no_cluster_is_told_in_a_line(bags):
    begun_s = time.monotonic()
    with pytest.raises(UserError, match="no Ray cluster at '127.0.0.1:1'"):
        replay_bags(sorted(bags.iterdir())[:2], OPTIONS, lambda share: None, '127.0.0.1:1')
    assert time.monotonic() - begun_s < 60.0  # Ray alone would try for minutes
