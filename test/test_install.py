"""Each way of installing brings everything: `colcon build` (plain and symlinked), and a wheel."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NODES = [
    'camera', 'policy', 'commander', 'sim_bridge', 'servo_driver', 'ros2_control', 'recorder',
    'replayer', 'viewer']
BUILT_OR_HIDDEN = shutil.ignore_patterns(
    '.*', 'build', 'install', 'log', 'out', '*.egg-info', '__pycache__')


def run(command: list[str], folder: Path, **environment: str) -> str:
    """Run a command away from the repository's own modules; its output is shown on failure."""
    clean = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    done = subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**clean, **environment}, timeout=300)
    assert done.returncode == 0, done.stdout
    return done.stdout


def copy_of_the_sources(folder: Path) -> Path:
    shutil.copytree(ROOT, folder, ignore=BUILT_OR_HIDDEN)
    return folder


def shared_files() -> set[str]:
    """What share/hand_imitation must hold, from the sources."""
    files = {'package.xml'}
    for name in ('launch', 'config', 'config/robots', 'urdf'):
        files |= {f'{name}/{path.name}' for path in (ROOT / name).iterdir() if path.is_file()}
    return files


def package_files() -> set[str]:
    package = ROOT / 'hand_imitation'
    files = {str(p.relative_to(package)) for p in package.rglob('*.py')} | {'py.typed'}
    files |= {str(p.relative_to(package)) for p in package.glob('policy/checkpoints/*/*')}
    return files | {f'data/{path.name}' for path in (package / 'data').glob('*')}


def relative_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob('*')
            if path.is_file() and '__pycache__' not in path.parts}


@pytest.fixture(scope='module', params=['plain', 'symlink'])
def colcon_install(request, tmp_path_factory) -> Path:
    pytest.importorskip('colcon_core')
    workspace = tmp_path_factory.mktemp(f'workspace_{request.param}')
    copy_of_the_sources(workspace / 'src' / 'hand_imitation')
    options = ['--symlink-install'] if request.param == 'symlink' else []
    run([sys.executable, '-m', 'colcon', '--log-base', 'log', 'build', *options], workspace)
    return workspace / 'install' / 'hand_imitation'


def test_colcon_installs_executables_where_ros2_run_looks(colcon_install):
    folder = colcon_install / 'lib' / 'hand_imitation'
    assert {path.name for path in folder.iterdir()} == {*NODES, 'hand-imitation'}
    for path in folder.iterdir():
        assert os.access(path, os.X_OK)
        assert sys.executable in path.read_text().splitlines()[0]


def test_colcon_installs_shared_files(colcon_install):
    share = colcon_install / 'share'
    assert shared_files() <= relative_files(share / 'hand_imitation')
    assert (share / 'ament_index/resource_index/packages/hand_imitation').is_file()


def test_colcon_installed_package_is_whole(colcon_install, tmp_path):
    """Imported from the installation, the package has its data and finds its shared files."""
    script = ('import hand_imitation, hand_imitation.resources as resources; '
              'print(hand_imitation.__path__[0], resources.share_directory())')
    shell = f'. {colcon_install}/share/hand_imitation/package.sh; {sys.executable} -c "{script}"'
    out = run(['sh', '-c', shell], tmp_path, COLCON_CURRENT_PREFIX=str(colcon_install))
    package, share = map(Path, out.split())
    workspace = colcon_install.parents[1]
    assert workspace in package.parents and workspace in share.parents
    assert package_files() <= relative_files(package)
    assert shared_files() <= relative_files(share)


def test_wheel_is_whole(tmp_path):
    sources = copy_of_the_sources(tmp_path / 'sources')
    run([sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '--no-index',
         '--wheel-dir', str(tmp_path), str(sources)], tmp_path)
    wheel, = tmp_path.glob('hand_imitation-*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f'hand_imitation/{name}' for name in package_files()} <= names
    share = f'{wheel.stem.split("-py")[0]}.data/data/share/hand_imitation'
    assert {f'{share}/{name}' for name in shared_files()} <= names
    entry_points = [name for name in names if name.endswith('entry_points.txt')]
    commands = zipfile.ZipFile(wheel).read(entry_points[0]).decode()
    for name in ['hand-imitation', *NODES]:
        assert f'{name} = hand_imitation.' in commands


def test_installed_by_pip_it_finds_its_shared_files(tmp_path):
    sources = copy_of_the_sources(tmp_path / 'sources')
    run([sys.executable, '-m', 'pip', 'install', '--no-deps', '--no-build-isolation', '--no-index',
         '--ignore-installed', '--prefix', str(tmp_path / 'prefix'), str(sources)], tmp_path)
    package, = (tmp_path / 'prefix').rglob('hand_imitation/__init__.py')
    script = 'import hand_imitation.resources as resources; print(resources.share_directory())'
    out = run([sys.executable, '-c', script], tmp_path, PYTHONPATH=str(package.parents[1]),
              AMENT_PREFIX_PATH='')
    assert Path(out.strip()) == tmp_path / 'prefix' / 'share' / 'hand_imitation'
    assert shared_files() <= relative_files(Path(out.strip()))
