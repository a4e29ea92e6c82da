"""Imports point downward: packages import only packages below them."""
import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from layers import ALLOWED_IMPORTS

PACKAGE = Path(__file__).resolve().parents[2] / 'gavn'
ENTRANCES = {'__init__', '__main__', 'basicsr_hook', 'basicsr_plugin', 'train', 'test', 'cli'}
"""What may import every package."""

MODULES = {path: '.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts).removesuffix('.__init__')
           for path in PACKAGE.rglob('*.py')}


def imported(path: Path) -> Iterator[str]:
    """Modules of gavn that a file imports, at any place in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split('.')[0] == 'gavn')
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: imports are absolute here'
            if (node.module or '').split('.')[0] == 'gavn':
                names = [f'{node.module}.{alias.name}' for alias in node.names]
                yield from (name if name in MODULES.values() else node.module for name in names)


def package_of(module: str) -> str:
    """'gavn.media.reader' -> 'media'; the package itself is '__init__'."""
    return [*module.split('.'), '__init__'][1]


@pytest.mark.parametrize('path', sorted(MODULES), ids=lambda path: MODULES[path])
def test_files_import_only_packages_below(path: Path) -> None:
    own = package_of(MODULES[path])
    if own in ENTRANCES:
        return
    assert own in ALLOWED_IMPORTS, f'{path}: tests/helpers/layers.py does not name its package'
    for module in imported(path):
        other = package_of(module)
        assert other in {own, '__init__', *ALLOWED_IMPORTS[own]}, f'{path} imports {module}'


def test_nothing_imports_scripts() -> None:
    for path in MODULES:
        names = {alias.name.split('.')[0] for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
                 if isinstance(node, ast.Import) for alias in node.names}
        assert not names & {'scripts', 'inference', 'tests'}, path


def test_there_are_no_import_cycles() -> None:
    graph = {module: set(imported(path)) & set(MODULES.values()) - {module, 'gavn'}
             for path, module in MODULES.items()}
    while True:
        leaves = {module for module, below in graph.items() if not below & graph.keys()}
        if not leaves:
            break
        graph = {module: below for module, below in graph.items() if module not in leaves}
    assert not graph, f'these modules import each other: {sorted(graph)}'
