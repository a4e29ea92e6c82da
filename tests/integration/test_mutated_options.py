"""Option files changed at random: read and checked, or refused in words, and nothing is written."""
import contextlib
import random
import sys
import time
from pathlib import Path

import pytest
import tiny_run
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mutators import mutate_yaml

from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.basicsr_patches import utils_options
from gavn.config.bounded_yaml import YamlError, parse, write_options
from gavn.config.option_file import OptionError, read_options
from gavn.errors import MissingPackageError
from gavn.restoration.model_spec import ModelSpec, RestoreError, weight_files

FILES = 300
SLOWEST = 10.  # seconds for one file, on a busy machine


@pytest.fixture(scope='module')
def sources(tmp_path_factory) -> list[str]:
    """A tiny run's option file, and real ones: of training, of a test, on a base."""
    folder = tmp_path_factory.mktemp('sources')
    detector = tiny_run.make_detector(folder / 'detector.pth')
    tiny = tiny_run.options(tiny_run.make_data(folder / 'data'), detector, folder)
    root = Path(__file__).resolve().parents[2] / 'options'
    real = [yaml.safe_dump(read_options(root / f'{name}.yml')[0], sort_keys=False)
            for name in ('train_gavn_mixed', 'test_gavn_car', 'train_vrt_sr')]
    return [yaml.safe_dump(tiny, sort_keys=False)] * 3 + real


def try_all(sources: list[str], seeds: range, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of the mutated files are accepted for training."""
    accepted = 0
    (folder / 'x.yml').write_text('scale: 1\n')
    file = folder / 'options.yml'
    monkeypatch.setattr(sys, 'argv', ['train', '-opt', str(file)])
    for seed in seeds:
        draw = random.Random(seed)
        file.write_bytes(mutate_yaml(draw.choice(sources), draw))
        start = time.monotonic()
        try:
            recipe(file)
            utils_options.parse_options(str(folder), is_train=bool(seed % 4))
            accepted += 1
        except (OptionError, MissingPackageError) as error:
            assert str(error).replace('\n', '').isprintable()
        except Exception as error:
            raise AssertionError(f'seed {seed}: {file.read_bytes()!r}') from error
        assert time.monotonic() - start < SLOWEST, f'seed {seed}'
        assert sorted(path.name for path in folder.iterdir()) == ['options.yml', 'x.yml']
    return accepted


def recipe(file: Path) -> None:
    """As restoring reads the file, which checks less."""
    with contextlib.suppress(RestoreError):
        weight_files(ModelSpec.read(file)[1])


def test_mutated_option_files(sources, tmp_path, monkeypatch):
    accepted = try_all(sources, range(FILES), tmp_path, monkeypatch)
    assert 5 < accepted < FILES / 2  # the mutators leave some right, and break most


@pytest.mark.slow
def test_many_mutated_option_files(sources, tmp_path, monkeypatch):
    try_all(sources, range(FILES, 20 * FILES), tmp_path, monkeypatch)


TEXT = st.text(st.characters(exclude_categories=['Cs', 'Cc']))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_rows_are_written_and_read(values):
    assert parse(write_options(values))[0] == values


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text() | st.text('[]{}:,-?&*!|>\'"%@` \nab0.~<=#'))
def test_any_text_is_read_or_refused(text):
    try:
        value, lines = parse(text)
    except YamlError as error:
        assert 1 <= error.line <= len(text.splitlines()) + 1
    else:
        assert all(line >= 1 for line in lines.values())
        assert bool(lines) == (isinstance(value, dict | list) and bool(value))
