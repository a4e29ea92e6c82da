"""Networks, losses, metrics and data sets of other packages: docs/custom.md, followed to the letter."""
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from linear_training import ROOT

from gavn.checkpoints.checkpoint import load_bundle
from gavn.restoration.model_spec import ModelSpec, RestoreError
from gavn.runtime.plugins import PluginError, import_plugins

PAGE = ROOT / 'docs' / 'custom.md'
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```', re.DOTALL | re.MULTILINE)


def command(line: str) -> list[str]:
    program, *arguments = shlex.split(line)
    return [sys.executable, *(['-m', 'gavn.cli'] if program == 'gavn' else []), *arguments]


def run(line: str, folder: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
    path = {'PYTHONPATH': str(ROOT), 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'} | environment
    done = subprocess.run(command(line.replace('$PWD', str(folder))), cwd=folder, env=path, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    assert not check or done.returncode == 0, done.stdout
    return done


@pytest.fixture(scope='module')
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who did what the page says."""
    folder = tmp_path_factory.mktemp('empty')
    blocks = BLOCK.findall(PAGE.read_text(encoding='utf-8'))
    for _, text in blocks:
        if name := re.match(r'# (\w+\.\w+)\n', text):
            (folder / name[1]).write_text(text, encoding='utf-8')
    for line in next(text for kind, text in blocks if kind == 'sh').splitlines():
        run(line, folder)
    return folder


def test_the_page_trains_and_validates(followed: Path) -> None:
    results = (followed / 'experiments/my_run/metrics/val_20.csv').read_text()
    assert 'mine' in results and 'psnr' in results
    best = (followed / 'experiments/my_run/best.json').read_text()
    assert '"mine"' in best


def test_the_page_restores_and_exports(followed: Path) -> None:
    assert (followed / 'restored.mp4').stat().st_size > 1000
    network = torch.jit.load(str(followed / 'my_net.pt'))
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 3, 64, 64)


def test_the_page_tests(followed: Path) -> None:
    options = (followed / 'my_run.yml').read_text()
    options = re.sub(r'^train:.*?(?=^val:)', '', options, flags=re.DOTALL | re.MULTILINE)
    options = re.sub(r'^  train:.*?(?=^  val:)', '', options, flags=re.DOTALL | re.MULTILINE)
    options = re.sub(r'^logger:.*\n', '', options, flags=re.MULTILINE)
    weights = followed / 'experiments/my_run/models/net_g_latest.pth'
    (followed / 'my_test.yml').write_text(
        f'{options}path: {{pretrain_network_g: {weights}, results_root: {followed}/results}}\n')
    run('gavn test -opt my_test.yml', followed)
    assert 'mine' in (followed / 'results/my_run/val.csv').read_text()


def test_training_data_cannot_be_tested_on(followed: Path) -> None:
    """A test runs every section of `datasets`; images without clips ended in AttributeError."""
    weights = 'path:pretrain_network_g=experiments/my_run/models/net_g_latest.pth'
    done = run(f'gavn test -opt my_run.yml --force_yml train=~ {weights}', followed, check=False)
    assert done.returncode == 2
    assert 'datasets.train: MyImages does not fit AVVideoModel' in done.stdout
    assert 'Traceback' not in done.stdout


def test_weights_alone_import_nothing(followed: Path) -> None:
    """A bundle of a stranger names modules, and they are not imported."""
    options, _ = load_bundle(followed / 'my_net.safetensors')
    assert options['custom_imports'] == ['my_parts']
    line = 'gavn restore images/lq/clip --weights my_net.safetensors --box 0,0,64,64 -o other.mp4'
    done = run(line, followed, check=False)
    assert done.returncode != 0
    assert 'no network called MyNet' in done.stdout and 'use --import my_parts' in done.stdout, done.stdout
    assert 'Traceback' not in done.stdout


def test_an_installed_package_needs_no_word(followed: Path, tmp_path: Path) -> None:
    """As pip lays it out: the module, and the entry point in its dist-info."""
    (tmp_path / 'my_parts.py').write_text((followed / 'my_parts.py').read_text())
    info = tmp_path / 'my_parts-1.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: my-parts\nVersion: 1\n')
    (info / 'entry_points.txt').write_text('[gavn.plugins]\nmy_parts = my_parts\n')
    run(f'gavn export torchscript --weights {followed}/my_net.safetensors --size 64 -o net.pt', tmp_path,
        PYTHONPATH=f'{ROOT}:{tmp_path}')
    assert (tmp_path / 'net.pt').is_file()


@pytest.mark.parametrize(('text', 'words'), [
    (None, r'there is no module broken_parts'),
    ('import not_installed_at_all', r'broken_parts needs the module not_installed_at_all'),
    ('x = 1\nraise OSError("no licence")', r'imported: OSError: no licence \(.*broken_parts.py, line 2'),
    ('def (', r'cannot be imported: SyntaxError'),
])
def test_a_module_that_fails_is_reported_clearly(text: str | None, words: str, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [*sys.path, str(tmp_path)])
    if text is not None:
        (tmp_path / 'broken_parts.py').write_text(text)
    with pytest.raises(PluginError, match=words):
        import_plugins(['broken_parts'])


@pytest.mark.parametrize('value', ['my_parts', '[no_such_parts]', '[1]'])
def test_custom_imports_that_are_wrong_name_the_line(value: str, tmp_path: Path) -> None:
    (tmp_path / 'x.yml').write_text(f'name: x\ncustom_imports: {value}\n')
    done = run('gavn train -opt x.yml', tmp_path, check=False)
    assert done.returncode == 2
    assert 'error: x.yml, line 2: custom_imports' in done.stdout and 'Traceback' not in done.stdout


@pytest.mark.parametrize('value', ['5', 'my_parts', '[5]', '["a b"]', '["../x"]', '{a: b}'])
def test_restoring_names_custom_imports_that_are_wrong(value: str, tmp_path: Path) -> None:
    (tmp_path / 'x.yml').write_text(f'name: x\ncustom_imports: {value}\n')
    with pytest.raises(RestoreError, match=r'x\.yml: custom_imports is .*; it must be a list of modules'):
        ModelSpec.read(tmp_path / 'x.yml')


def test_the_current_folder_is_searched_only_where_modules_are_named(tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Else modules that are optional to gavn could lie beside somebody's videos."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [folder for folder in sys.path if folder])
    import_plugins()
    assert str(tmp_path) not in sys.path
    (tmp_path / 'planned_parts.py').touch()
    import_plugins(['planned_parts'])
    assert sys.path[-1] == str(tmp_path)
