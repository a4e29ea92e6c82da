"""Origin of figures, and commands for missing ones, from the names of option files."""
from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from gavn.config.overlays import DEGRADATION, WITH, resolve_options
from gavn.experiments.report.layout import ABLATIONS, GAVN, METHODS, Task
from gavn.experiments.report.results import Results
from gavn.runtime.project import project_root

ROOT = project_root()  # option files in results are relative to it
LEVELS_FOLDER = 'levels'


def test_command(results: Results, dataset: str, task: Task, method: str, folder: str = '') -> str:
    """The command that measures a method or an ablation on a task.

    Its option file and overlays are those of the data set's other results, else those in `options`. If the
    file reads another data set, the command sets the data set. Beside results of a comparison, it is a
    comparison of the same budget.

    Args:
        results: all results.
        dataset: to measure on.
        task: to measure.
        method: a method or an ablation.
        folder: `levels` for three levels of degradation instead of one.
    """
    if method not in METHODS | ABLATIONS:
        return f'python gavn/test.py -opt FILE.yml, the option file of {method} on {task.layer} of {dataset}'
    kind = ABLATIONS.get(method, '')
    token = METHODS.get(method, METHODS[GAVN])
    kin, presets = _kin(results, dataset)
    path = f'{kin}/test_{token}_{task.token}.yml'
    comparison = (ROOT / path).parent.parent / 'plan.json'
    if comparison.is_file():
        own = '_'.join(filter(None, ['test', token, task.token, kind]))
        if (ROOT / kin / f'{own}.yml').is_file():
            return f'python gavn/test.py -opt {kin}/{own}.yml'
        plan = json.loads(comparison.read_text(encoding='utf-8'))
        return (f'python scripts/compare.py --data {plan["data"]} --task {task.token} '
                f'--budget {plan["budget"]} --methods {"_".join(filter(None, [token, kind]))}')
    overlays = [*presets, *([f'options/ablations/{kind}.yml'] if kind else [])]
    words = [WITH, *overlays] if overlays else []
    if folder == LEVELS_FOLDER:
        words += [DEGRADATION, *task.levels]
    return ' '.join(['python gavn/test.py -opt', path, *map(shlex.quote, words)])\
        + _other_data(path, overlays, dataset)


def restore_command(dataset: str, method: str) -> str:
    """The commands that measure a method on videos without ground truth.

    Results have the name of the folder of restored videos, so each method has a folder of that name.
    """
    token = METHODS.get(method, 'METHOD')
    folder = f'restored/{token}/{dataset}'
    return (f'gavn restore VIDEO -o {folder}/VIDEO --weights WEIGHTS for each VIDEO of {dataset}, then '
            f'gavn evaluate {folder} --method {shlex.quote(method)} -o results/{token}_{dataset}.csv')


def _kin(results: Results, dataset: str) -> tuple[str, list[str]]:
    """Folder of the test files of this data set's figures, and their overlays without ablations."""
    for result in results:
        file, overlays = _parts(result.run.option_file)
        path = PurePosixPath(file)
        if result.run.dataset == dataset and path.name.startswith('test_'):
            return str(path.parent), [name for name in overlays if '/ablations/' not in name]
    return 'options', []


def _parts(option_file: str) -> tuple[str, list[str]]:
    """Splits `FILE --with OVERLAY ... --degradation LAYER ...` into option file and overlays."""
    words = shlex.split(option_file.partition(f' {DEGRADATION} ')[0])
    file, overlays = words[0] if words else '', words[2:]
    path = PurePosixPath(file)
    if (ROOT / path).is_file():
        return file, overlays
    if path.parent.name in ('ablations', 'levels'):  # files of versions before 0.2, which overlays replace
        path = path.parent.parent / path.name
    if path.parent.name == 'small':
        preset = 'small_deblur' if path.stem.endswith('_deblur') else 'small'
        return str(path.parent.parent / path.name), [f'options/presets/{preset}.yml', *overlays]
    return str(path), overlays


def _resolved(file: Path, overlays: Sequence[str]) -> dict[str, Any]:
    return resolve_options(file, [ROOT / name for name in overlays])[0]


def _other_data(option_file: str, overlays: Sequence[str], dataset: str) -> str:
    """--force_yml for an existing option file that reads another data set; '' if not needed."""
    if not (ROOT / option_file).is_file():
        return ''
    options = _resolved(ROOT / option_file, overlays)
    sections = options.get('datasets', {})
    roots = {key: section['root'] for key, section in sections.items() if section and section.get('root')}
    if not roots or dataset in (PurePosixPath(root).name for root in roots.values()):
        return ''
    changes = [f'datasets:{key}:root=datasets/{dataset}' for key in roots]
    changes.append(f'name={options["name"]}_{dataset}')
    return f' --force_yml {shlex.join(changes)}'


def window(option_file: str) -> int | None:
    """Frames of a training window, from the training file of a test's option file; None if there is none.

    `options/test_gavn_car.yml` belongs to `options/train_gavn_car.yml`, with the same overlays, as they are
    now.

    Raises:
        OptionError: a file cannot be read.
    """
    name, overlays = _parts(option_file)
    path = ROOT / name
    if not path.name.startswith('test_'):
        return None
    file = path.with_name('train_' + path.name.removeprefix('test_'))
    if not file.is_file():
        return None
    return _resolved(file, overlays).get('datasets', {}).get('train', {}).get('num_frame')
