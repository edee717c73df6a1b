"""The robot description, checked by rules of its own rather than by the code that made it."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from hand_imitation import resources
from hand_imitation.arm.description import load_description
from hand_imitation.errors import UserError


@pytest.fixture(scope='module', params=['right', 'left'])
def robot(request):
    return ElementTree.fromstring(load_description(request.param))


def numbers(text):
    return np.array([float(number) for number in text.split()])


def test_links_and_joints_form_one_tree(robot):
    links = [link.get('name') for link in robot.findall('link')]
    children = [joint.find('child').get('link') for joint in robot.findall('joint')]
    parents = {joint.find('child').get('link'): joint.find('parent').get('link')
               for joint in robot.findall('joint')}
    assert len(set(links)) == len(links)
    assert len(set(children)) == len(children)
    assert set(links) - set(children) == {'base_link'}
    assert set(parents.values()) | set(children) == set(links)
    for link in links:
        steps = 0
        while link != 'base_link':
            link, steps = parents[link], steps + 1
            assert steps <= len(links), 'the links run in a circle'


def test_attributes_are_sound(robot):
    materials = {material.get('name') for material in robot.findall('material')}
    for joint in robot.iter('joint'):
        if joint.get('type') == 'revolute':
            assert np.linalg.norm(numbers(joint.find('axis').get('xyz'))) == pytest.approx(
                1, abs=1e-3)
    for visual in robot.iter('visual'):
        assert visual.find('material').get('name') in materials
    for shape in robot.iter('geometry'):
        for value in shape[0].attrib.values():
            assert (numbers(value) > 0).all()


def test_every_moving_link_has_mass_shape_and_collision_shape(robot):
    for link in robot.findall('link'):
        if link.get('name') != 'base_link':
            assert link.find('visual') is not None, link.get('name')
            assert link.find('collision') is not None, link.get('name')
            assert float(link.find('inertial/mass').get('value')) > 0


def test_inertias_are_physical(robot):
    for element in robot.iter('inertia'):
        value = {key: float(text) for key, text in element.attrib.items()}
        tensor = np.array([[value['ixx'], value['ixy'], value['ixz']],
                           [value['ixy'], value['iyy'], value['iyz']],
                           [value['ixz'], value['iyz'], value['izz']]])
        moments = np.linalg.eigvalsh(tensor)  # ascending
        assert moments[0] > 0
        assert moments[0] + moments[1] >= moments[2] * (1 - 1e-9)


def test_proportions_are_human():
    robot = ElementTree.fromstring(load_description())
    origin = {joint.get('name'): numbers(joint.find('origin').get('xyz'))
              for joint in robot.findall('joint') if joint.find('origin') is not None}
    tip_radius = float(robot.find("link[@name='middle_tip_link']/visual/geometry/sphere")
                       .get('radius'))
    hand = sum(np.linalg.norm(origin[name]) for name in (
        'middle_proximal', 'middle_distal', 'middle_tip_joint')) + tip_radius
    assert hand == pytest.approx(0.19, abs=0.01)
    assert np.linalg.norm(origin['wrist']) == pytest.approx(0.26, abs=0.01)


def test_prefix_is_on_every_link_and_joint():
    robot = ElementTree.fromstring(load_description(prefix='arm1_'))
    names = [element.get('name') for tag in ('link', 'joint') for element in robot.findall(tag)]
    names += [element.get('link') for tag in ('parent', 'child') for element in robot.iter(tag)]
    assert len(names) > 60
    assert all(name.startswith('arm1_') for name in names)


def test_another_file_may_be_given(tmp_path):
    plain = tmp_path / 'my.urdf'
    plain.write_text('<robot name="mine"/>')
    assert load_description(path=plain) == '<robot name="mine"/>'
    macro = tmp_path / 'my.urdf.xacro'
    macro.write_text('<robot xmlns:xacro="http://www.ros.org/wiki/xacro" name="r">'
                     '<xacro:arg name="side" default=""/><link name="$(arg side)"/></robot>')
    assert '<link name="left"/>' in load_description(side='left', path=macro)


@pytest.mark.parametrize(('content', 'name'), [
    (None, 'absent.urdf'), (b'\xff\xfe\x00', 'binary.urdf'), (b'<robot', 'open.urdf.xacro'),
    (b'<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><link name="${nothing}"/></robot>',
     'unknown.urdf.xacro'),
    (b'<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><link name="${1/0}"/></robot>',
     'divides.urdf.xacro'),
    (b'<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:nothing/></robot>',
     'macro.urdf.xacro'),
    (b'<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><link name="$(arg nothing)"/></robot>',
     'argument.urdf.xacro'),
    (b'<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:include filename="no.xacro"/>'
     b'</robot>', 'include.urdf.xacro'),
])
def test_unusable_files_are_refused_in_one_line(tmp_path, content, name):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=name) as caught:
        load_description(path=path)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('arguments', [{'side': 'upper'}, {'prefix': 'a b'}, {'prefix': '"/>'}])
def test_unusable_arguments_are_refused(arguments):
    with pytest.raises(UserError, match=next(iter(arguments))):
        load_description(**arguments)


def test_share_directory_of_an_installation(tmp_path, monkeypatch):
    package = tmp_path / 'lib' / 'python3' / 'site-packages' / 'hand_imitation'
    share = tmp_path / 'share' / 'hand_imitation'
    package.mkdir(parents=True)
    share.mkdir(parents=True)
    monkeypatch.setattr(resources, '__file__', str(package / 'resources.py'))
    monkeypatch.setattr(resources.sys, 'prefix', str(tmp_path / 'elsewhere'))
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    with pytest.raises(UserError, match='install the package again'):
        resources.share_directory()
    (share / 'package.xml').write_text('<package/>')
    assert resources.share_directory() == share


def test_share_directory_of_the_source_tree():
    if not (Path(resources.__file__).resolve().parents[1] / 'setup.py').is_file():
        pytest.skip('the package under test is installed, not a source tree')
    assert (resources.share_directory() / 'urdf' / 'hand_arm.urdf.xacro').is_file()
