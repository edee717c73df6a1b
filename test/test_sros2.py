"""The SROS2 policies name our nodes, and exactly the topics and services that each of them has."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
from shared_data import ROOT

pytest.importorskip('rclpy')

from graph_rig import Graph, wait_until  # noqa: E402

POLICIES = ROOT / 'config' / 'sros2' / 'policies.xml'
EXECUTABLES = re.findall(r"'(\w+)'", re.search(
    r'NODES = \[(.*?)\]', (ROOT / 'setup.py').read_text(), re.DOTALL).group(1))
# A recording is not played where an arm is.
NODES = [name for name in EXECUTABLES if name != 'replayer']
# Nodes that a process of ours runs beside the one it is named after.
BESIDE = {'recorder': ('recorder_inputs',)}
KINDS = ('publish', 'subscribe', 'reply', 'request')


def absolute(name: str) -> str:
    """Expand a name of the policy file, in the root namespace."""
    return name if name.startswith('/') else f'/{name}'


def allowed() -> dict[str, dict[str, set[str]]]:
    """What the file allows, by node and kind."""
    root = ElementTree.parse(POLICIES).getroot()
    assert (root.tag, root.get('version')) == ('policy', '0.2.0')
    found = {}
    for enclave in root.iterfind('enclaves/enclave'):
        for profile in enclave.iterfind('profiles/profile'):
            node = profile.get('node')
            assert profile.get('ns') == '/'
            assert enclave.get('path') == f'/hand_imitation/{owner(node)}'
            assert node not in found
            found[node] = {kind: set() for kind in KINDS}
            for group in profile:
                kind, permission = next(iter(group.attrib.items()))
                assert permission == 'ALLOW' and kind in KINDS
                assert group.tag == ('services' if kind.startswith('re') else 'topics')
                for item in group:
                    assert item.tag == group.tag.rstrip('s')
                    found[node][kind].add(absolute(item.text))
    return found


def owner(node: str) -> str:
    """The node whose process a node runs in."""
    return next((name for name, beside in BESIDE.items() if node in beside), node)


@pytest.fixture(scope='module')
def graph(tmp_path_factory):
    """All nodes at once; none needs an arm, a camera or a window as long as it only waits."""
    folder = tmp_path_factory.mktemp('sros2')
    parameters = {
        'camera': {'autostart': False}, 'servo_driver': {'autostart': False},
        'ros2_control': {'autostart': False},
        'recorder': {'out': str(folder / 'out')}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('DISPLAY', ':99')
        graph = Graph(folder)
        try:
            for node in NODES:
                graph.start(node, **parameters.get(node, {}))
            yield graph
        finally:
            graph.close()


def actual(graph: Graph, node: str) -> dict[str, set[str]]:
    """What a node has, by kind."""
    asked = {
        'publish': graph.node.get_publisher_names_and_types_by_node,
        'subscribe': graph.node.get_subscriber_names_and_types_by_node,
        'reply': graph.node.get_service_names_and_types_by_node,
        'request': graph.node.get_client_names_and_types_by_node}
    return {kind: {name for name, _ in ask(node, '/')} for kind, ask in asked.items()}


def test_every_executable_has_a_profile():
    assert {owner(node) for node in allowed()} == set(NODES)


@pytest.mark.parametrize('node', [
    name for own in NODES for name in (own, *BESIDE.get(own, ()))])
def test_profile_is_what_the_node_has(graph, node):
    wanted = allowed()[node]
    if node == 'recorder':
        # It asks every node for its parameters, but only once each.
        assert wanted['request'] == {
            f'/{name}/{what}_parameters' for name in NODES for what in ('get', 'list')}
    # Discovery comes piece by piece: wait for all of it, and only then compare.
    try:
        wait_until(lambda: node in graph.node.get_node_names() and actual(graph, node) == wanted,
                   f'agreement about {node}', 20.0)
    except AssertionError:
        assert actual(graph, node) == wanted, graph.logs()


@pytest.mark.skipif(shutil.which('ros2') is None or subprocess.run(
    ['ros2', 'security', '--help'], capture_output=True).returncode != 0,
    reason='the sros2 tools are not here')
def test_artifacts_can_be_made_from_it(tmp_path):
    subprocess.run(['ros2', 'security', 'generate_artifacts', '-k', str(tmp_path / 'keystore'),
                    '-p', str(POLICIES)], check=True)
