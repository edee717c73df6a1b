"""The docs say what the code does."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_parameter_page_is_up_to_date():
    page = runpy.run_path(str(ROOT / 'scripts' / 'make_parameter_docs.py'))['page']
    assert (ROOT / 'docs' / 'parameters.md').read_text() == page(), (
        'run: python scripts/make_parameter_docs.py')


def test_links_and_pictures_of_the_docs_exist():
    pages = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *(ROOT / 'docs').glob('*.md')]
    broken = [
        f'{page.name}: {target}'
        for page in pages
        for target in re.findall(r'\]\(([^)#]+?)(?:#[^)]*)?\)', page.read_text())
        if '://' not in target and not (page.parent / target).exists()]
    assert not broken


def test_pictures_of_the_docs_are_shown():
    """A picture that no page shows any more tells of a section that was lost."""
    shown = ' '.join(page.read_text() for page in (
        ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')))
    pictures = [path.name for path in (ROOT / 'docs').iterdir()
                if path.suffix in ('.png', '.gif')]
    assert len(pictures) > 5
    assert [name for name in pictures if f'{name})' not in shown] == []


@pytest.mark.parametrize('page, launch_file', [
    ('README.md', 'sim.launch.py'), ('docs/hardware.md', 'hardware.launch.py')])
def test_page_names_every_launch_argument(page, launch_file):
    files = ROOT / 'launch' / launch_file, ROOT / 'hand_imitation' / 'nodes' / 'launching.py'
    arguments = [argument for file in files for argument in re.findall(
        r"DeclareLaunchArgument\(\s*'(\w+)'", file.read_text())]
    told = (ROOT / page).read_text()
    assert len(arguments) > 10
    assert [a for a in arguments if f'`{a}`' not in told] == []
