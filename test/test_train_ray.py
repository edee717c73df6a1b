"""Experience collected on a Ray cluster of two real nodes, one of which dies midway."""

import pytest

pytest.importorskip('stable_baselines3')
ray = pytest.importorskip('ray')
pytest.importorskip('psutil')

from ray.cluster_utils import Cluster  # noqa: E402
from shared_data import ROOT  # noqa: E402

from hand_imitation.learning.train_options import TrainOptions  # noqa: E402
from hand_imitation.learning.training import train  # noqa: E402

STEPS = 16 * 8 * 30


@pytest.fixture
def cluster(monkeypatch):
    """A head without work of its own, and two nodes of one core."""
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


def test_a_node_that_dies_midway_is_replaced_and_learning_goes_on(cluster, tmp_path):
    said, shares = [], []

    def progress(share):
        shares.append(share)
        if len(shares) == 10:
            cluster.remove_node(cluster.nodes_with_work[0], allow_graceful=False)
            cluster.add_node(num_cpus=1, object_store_memory=100 * 1024 * 1024)

    result = train(TrainOptions(
        policy='landmarks', algo='ppo', out=tmp_path, steps=STEPS, ray=cluster.address,
        environments=16, progress=progress, say=said.append))
    assert any('was lost' in words for words in said)
    # No rollout is missing an environment, and none was counted twice.
    assert result['steps'] == STEPS and len(shares) == STEPS // (16 * 8)
    assert not result['interrupted']
    assert result['figures']['joint_error_deg'] < 21.0
    assert (tmp_path / 'checkpoint' / 'checkpoint.json').exists()
