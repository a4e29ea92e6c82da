"""docs/options.md lists every key of every option schema with its default, and no other key."""
import ast
import dataclasses
import inspect
import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch.distributed as dist
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY

import gavn
from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.archs.gavn_arch import GAVN
from gavn.archs.pfld_arch import PFLDAV
from gavn.basicsr_patches.utils_dist_util import init_dist
from gavn.config import sections
from gavn.config.option_file import BASE
from gavn.config.overlays import BY_NETWORK, META
from gavn.config.schedulers import SCHEDULERS
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.data.av_video_dataset import AVVideoDataset
from gavn.losses.pfld_loss import PFLDLoss
from gavn.models.landmark_model import LandmarkModel

PAGE = Path(__file__).resolve().parents[2] / 'docs/options.md'
REQUIRED, ANY = dataclasses.MISSING, object()  # ANY: a default that no schema has


def fields(*classes: type) -> dict[str, Any]:
    """Keys of schemas with their defaults. A section that is always there counts with its keys."""
    found: dict[str, Any] = {}
    for cls in classes:
        hints = get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if dataclasses.is_dataclass(hints[field.name]):
                inner = fields(hints[field.name])
                found |= {f'{field.name}.{key}': default for key, default in inner.items()}
            else:
                found[field.name] = field.default
    return found


def arguments(target: Callable[..., Any]) -> dict[str, Any]:
    """Arguments of a class or function with their defaults."""
    return {name: REQUIRED if parameter.default is parameter.empty else parameter.default
            for name, parameter in inspect.signature(target).parameters.items()}


TABLES = {
    'General': fields(sections.FileOptions) | dict.fromkeys((BASE, f'{META}.suffix', f'{META}.trained',
                                                             BY_NETWORK)),
    'Networks': dict.fromkeys(get_args(sections.NetworkInput), ANY),
    'GAVN': arguments(GAVN),
    'PFLDAV': arguments(PFLDAV),
    'Data sets': fields(sections.LoaderOptions),
    'AVClipDataset': fields(AVClipDataset.Options),
    'AVVideoDataset': fields(AVVideoDataset.Options),
    'path': fields(sections.PathOptions) | {f'{prefix}X': ANY for prefix in sections.NETWORK_PATHS},
    'train': fields(sections.RestoringTrainOptions),
    'LandmarkModel': fields(LandmarkModel.Options),
    'PFLDLoss': arguments(PFLDLoss),
    'phases': fields(sections.PhaseOptions),
    'scheduler': fields(*SCHEDULERS.values()),
    "train of BasicSR's models": fields(sections.EDVRTrainOptions),
    'val': fields(sections.ClipValOptions),
    "val of BasicSR's models": fields(sections.StockValOptions),
    'logger': fields(sections.LoggerOptions),
    'dist_params': {'port': arguments(init_dist)['port'],
                    'backend': arguments(dist.init_process_group)['backend']},
}
"""Heading of the page -> keys of its tables with their defaults."""


def schemas() -> set[type]:
    """All dataclasses of option sections. Those named Any... have no keys of their own."""
    found = {cls for name, cls in vars(sections).items() if name.endswith('Options') and 'Any' not in name}
    registered = [cls for registry in (MODEL_REGISTRY, DATASET_REGISTRY) for _, cls in registry
                  if cls.__module__.startswith('gavn.')]
    found |= {getattr(cls, name) for cls in registered for name in ('TrainOptions', 'ValOptions', 'Options')
              if hasattr(cls, name)}
    hints = {hint for cls in found for hint in get_type_hints(cls).values() if inspect.isclass(hint)}
    return found | set(filter(dataclasses.is_dataclass, hints)) | set(SCHEDULERS.values())


def rows() -> dict[str, dict[str, str]]:
    """Heading -> key -> second column of the tables below it, up to the next heading."""
    found: dict[str, dict[str, str]] = {}
    for block in re.split(r'^#+ ', PAGE.read_text(encoding='utf-8'), flags=re.MULTILINE)[1:]:
        cells = re.findall(r'^\| `([\w.]+)` \| (.+?) \|', block, re.MULTILINE)
        if cells:
            found[block.splitlines()[0]] = dict(cells)
    return found


def shown(default: Any) -> str:
    """A default as the page has it."""
    if default is REQUIRED:
        return 'required'
    text = '~' if default is None else default if isinstance(default, str) else json.dumps(default)
    return f'`{text}`'


def test_every_table_is_checked():
    assert rows().keys() == {*TABLES, 'Environment variables'}


@pytest.mark.parametrize('heading', TABLES)
def test_a_table_has_the_keys_and_defaults_of_its_schema(heading):
    cells, expected = rows()[heading], TABLES[heading]
    assert cells.keys() == expected.keys()
    wrong = {key: cells[key] for key, default in expected.items()
             if default is not ANY and not cells[key].endswith(f', {shown(default)}')}
    assert not wrong


@pytest.mark.parametrize('schema', sorted(schemas(), key=lambda cls: cls.__qualname__),
                         ids=lambda cls: cls.__qualname__)
def test_every_schema_is_on_the_page_and_explains_its_fields(schema):
    own = fields(schema).keys()
    assert any(own <= {*table, *(key.rpartition('.')[2] for key in table)} for table in TABLES.values())
    source = textwrap.dedent(inspect.getsource(schema))
    lines = source.splitlines()
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.AnnAssign):
            before = lines[node.lineno - 2].strip()
            assert '  # ' in lines[node.end_lineno - 1] or before.startswith('# '), ast.unparse(node)


def test_the_variables_are_those_that_the_package_reads():
    sources = '\n'.join(path.read_text(encoding='utf-8') for path in Path(gavn.__file__).parent.rglob('*.py'))
    assert rows()['Environment variables'].keys() == set(re.findall(r'\bGAVN_[A-Z]+(?:_[A-Z]+)*\b', sources))
