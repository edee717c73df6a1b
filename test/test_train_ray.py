"""Experience collected on a Ray cluster of two real nodes, one of which dies midway."""

import pytest

pytest.importorskip('stable_baselines3')
ray = pytest.importorskip('ray')
pytest.importorskip('psutil')


from hand_imitation.learning.train_options import TrainOptions  # noqa: E402
from hand_imitation.learning.training import train  # noqa: E402

STEPS = 16 * 8 * 30


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
