"""The YAML of all nodes against their dataclasses, and what is refused in a user's own."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from shared_data import ROOT

from hand_imitation.errors import UserError
from hand_imitation.node_parameters import NODES, grouped, is_ros_key, read_parameters_file

SHIPPED = ROOT / 'config' / 'hand_imitation.yaml'
FIELDS = [
    pytest.param(field, id=f'{node}:{prefix}{"." if prefix else ""}{field.name}')
    for node, classes in NODES.items() for prefix, cls in classes.items()
    for field in dataclasses.fields(cls)]


def leaves(tree, prefix=''):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def defaults(node):
    return {
        f'{prefix}.{field.name}'.lstrip('.'): field.default
        for prefix, cls in NODES[node].items() for field in dataclasses.fields(cls)}


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / 'mine.yaml'
        path.write_text(content)
        return path
    return write


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_parameters_file(path)
    text = str(caught.value)
    assert '\n' not in text and len(text) < 500 and path.name in text
    return text


# The shipped file.

@pytest.mark.parametrize('node', NODES)
def test_yaml_and_dataclasses_hold_the_same(node):
    sections = yaml.safe_load(SHIPPED.read_text())
    assert set(sections) == {f'/**/{name}' for name in NODES}
    values = dict(leaves(sections[f'/**/{node}']['ros__parameters']))
    assert values == defaults(node)
    # 1 == 1.0 == True to Python, and not to ROS.
    kinds = {key: type(value) for key, value in values.items()}
    assert kinds == {key: type(value) for key, value in defaults(node).items()}


def test_shipped_file_is_accepted():
    values = read_parameters_file(SHIPPED)
    assert {node: values[node] for node in NODES} == {node: defaults(node) for node in NODES}


@pytest.mark.parametrize('field', FIELDS)
def test_every_parameter_is_described_and_ranged(field):
    about = field.metadata
    assert len(about['description'].split()) >= 3
    if type(field.default) in (int, float):
        assert about['lower'] is not None and about['upper'] is not None
        assert about['lower'] <= field.default <= about['upper']
    if about['choices'] is not None:
        assert field.default in about['choices']


@pytest.mark.parametrize('node', NODES)
def test_no_values_give_the_defaults(node):
    parts = grouped(node, {})
    assert parts == {prefix: cls() for prefix, cls in NODES[node].items()}


# A user's file.

def test_some_values_of_some_nodes(written):
    path = written("""
camera:
  ros__parameters: {rate_hz: 15, loop: true}
/**/policy:
  ros__parameters:
    use_sim_time: true
    qos_overrides: {/clock: {subscription: {depth: 3}}}
    perception: {hands: 2}
    geometric.beta: 1.5
/arm/commander:
  ros__parameters:
""")
    assert read_parameters_file(path) == {
        'camera': {'rate_hz': 15, 'loop': True},
        'policy': {'perception.hands': 2, 'geometric.beta': 1.5}, 'commander': {}}


def test_ros_keys():
    assert is_ros_key('use_sim_time') and is_ros_key('qos_overrides./clock.depth')
    assert not is_ros_key('camera.use_sim_time')


@pytest.mark.parametrize('content, words', [
    ('camra: {ros__parameters: {}}', ["no node 'camra'", 'sections are camera']),
    ('3: {ros__parameters: {}}', ["no node '3'"]),
    ('camera: {rate_hz: 30.0}', ["section 'camera'", 'ros__parameters']),
    ('camera: {ros__parameters: {}, other: {}}', ['ros__parameters']),
    ('camera: [1]', ['ros__parameters']),
    ('camera: {ros__parameters: [1]}', ['name: value']),
    ('camera: {ros__parameters: {rate: 30.0}}', ["no parameter 'rate'", "'rate_hz'"]),
    ('policy: {ros__parameters: {hands: 1}}', ["no parameter 'hands'", "'perception.hands'"]),
    ('policy: {ros__parameters: {perception: {hand: 1}}}', ["'perception.hands'"]),
    ('policy: {ros__parameters: {safety: {rate_hz: 1.0}}}', ["no parameter 'safety.rate_hz'"]),
    ('camera: {ros__parameters: {3: 1}}', ["no parameter '3'"]),
    ('camera: {ros__parameters: {rate_hz: 1000}}', ['rate_hz is 1000', 'from 0.0 to 240.0']),
    ('camera: {ros__parameters: {rate_hz: .nan}}', ['rate_hz is nan']),
    ('camera: {ros__parameters: {loop: 1}}', ['loop is 1', 'true or false']),
    ('camera: {ros__parameters: {jpeg_quality: 0}}', ['jpeg_quality is 0']),
    ('camera: {ros__parameters: {source: 0}}', ['source is 0', 'text']),
    ('policy: {ros__parameters: {side: middle}}', ["side is 'middle'", 'left, right']),
    ('policy: {ros__parameters: {perception: {hands: 3}}}', ['perception.hands is 3', '1 to 2']),
    ('commander: {ros__parameters: {safety: {velocity_scale: -1.0}}}',
     ['safety.velocity_scale is -1.0']),
])
def test_mistakes_are_refused_in_one_line(written, content, words):
    text = refusal(written(content))
    for word in words:
        assert word in text


@pytest.mark.parametrize('content', [
    '[1, 2', 'a: b: c', '\t- x', 'camera: {ros__parameters: {rate_hz: 2001-99-99}}',
    'camera: {ros__parameters: {rate_hz: ' + '9' * 5000 + '}}', '{[1]: 2}', '\0',
    '[' * 20_000,
], ids=['open', 'colons', 'tab', 'date', 'long number', 'list as key', 'control', 'deep'])
def test_what_is_not_yaml_is_refused(written, content):
    assert 'is not plain YAML' in refusal(written(content))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_bytes(b'\xff\xfe\xfa\x00')
    assert 'is not plain YAML' in refusal(path)


@pytest.mark.parametrize('content', ['', '# nothing\n', '[camera]', 'text', '3'])
def test_file_without_sections_is_refused(written, content):
    assert "holds no 'name: value' lines" in refusal(written(content))


@pytest.mark.parametrize('tag', [
    '!!python/object/apply:os.system', '!!python/object/new:os.system', '!!python/name:os.system'])
def test_python_objects_are_refused_and_not_made(written, tmp_path, tag):
    trace = tmp_path / 'trace'
    content = f'camera: {{ros__parameters: {{source: {tag} ["touch {trace}"]}}}}'
    assert 'is not plain YAML' in refusal(written(content))
    assert not trace.exists()


def test_aliases_that_multiply_are_refused_at_once(written):
    lines = ['a0: &a0 {' + ', '.join(f'k{i}: 1' for i in range(10)) + '}']
    for n in range(1, 12):
        lines.append(f'a{n}: &a{n} {{' + ', '.join(f'k{i}: *a{n - 1}' for i in range(10)) + '}')
    bomb = '\n'.join(lines) + '\ncamera: {ros__parameters: *a11}\n'
    assert 'alias' in refusal(written(bomb))


def test_alias_of_itself_is_refused(written):
    assert 'alias' in refusal(written('camera: {ros__parameters: &a {x: *a}}'))


def test_huge_file_is_refused(written):
    assert 'larger than 1 MB' in refusal(written('# ' + 'x' * 1024 * 1024))


def test_file_that_is_not_there_or_is_a_folder(tmp_path):
    assert 'No such file' in refusal(tmp_path / 'nowhere.yaml')
    assert 'cannot be read' in refusal(tmp_path)
    assert 'larger than 1 MB' in refusal(Path('/dev/zero'))
