"""The docs say what the code does."""

import re
import runpy
from pathlib import Path

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


def test_readme_names_every_launch_argument():
    launch = (ROOT / 'launch' / 'sim.launch.py').read_text()
    arguments = re.findall(r"DeclareLaunchArgument\(\s*'(\w+)'", launch)
    readme = (ROOT / 'README.md').read_text()
    assert arguments
    assert [a for a in arguments if f'`{a}`' not in readme] == []
