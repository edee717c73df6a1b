"""What all tests share."""

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

# Real processes over real DDS: where a busy machine starves one of them, the test is tried once
# more. A fault of ours fails both times.
OVER_DDS = {
    'test_cli', 'test_graph', 'test_graph_faults', 'test_graph_nodes', 'test_hardware_cli',
    'test_hardware_launch', 'test_launch', 'test_policies_nodes', 'test_recorder',
    'test_replay_ros', 'test_ros2_control', 'test_servo_driver', 'test_sros2'}


@pytest.fixture(scope='session')
def workspace(tmp_path_factory):
    """A workspace with the package built by colcon."""
    from launch_rig import build_workspace

    return build_workspace(tmp_path_factory.mktemp('launch_workspace'))


@pytest.fixture
def cluster(monkeypatch):
    """A Ray cluster: a head without work of its own, and two nodes of one core."""
    import ray
    from ray.cluster_utils import Cluster
    from shared_data import ROOT

    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    # Found dead within seconds instead of half a minute.
    monkeypatch.setenv('RAY_health_check_period_ms', '500')
    monkeypatch.setenv('RAY_health_check_failure_threshold', '3')
    store = 100 * 1024 * 1024
    cluster = Cluster(
        initialize_head=True, head_node_args={'num_cpus': 0, 'object_store_memory': store})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=store) for _ in range(2)]
    cluster.wait_for_nodes()
    cluster.nodes_with_work = nodes
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in OVER_DDS:
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=2))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Files go to workers whole; what crashed a worker is tried again like any failure."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def mark_test_pending(self, item):
            """Nothing to do: it is still among its file's tests, which go to another worker."""

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Real nodes keep real time, so while a file of their tests runs, the other workers wait.

    The whole file, since nodes that one test leaves running serve the next.
    """
    run = os.environ.get('PYTEST_XDIST_TESTRUNUID')
    if run is None:
        return (yield)
    alone = item.path.stem in OVER_DDS
    if _room.whose != item.path:
        _room.enter(Path(tempfile.gettempdir()) / f'hand_imitation_tests_{run}', item.path, alone)
    try:
        return (yield)
    finally:
        if not alone or nextitem is None or nextitem.path != item.path:
            _room.leave()


class _Room:
    """Where tests run, alone or with others; who waits to be alone lets nobody else in."""

    def __init__(self):
        self.whose = None
        self._files = []

    def enter(self, path, whose, alone):
        self._files = door, room = [
            os.open(f'{path}.{part}', os.O_CREAT | os.O_RDWR) for part in ('door', 'room')]
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        self.whose = whose

    def leave(self):
        self.whose = None
        for file in self._files:
            os.close(file)  # and with it goes its lock


_room = _Room()
