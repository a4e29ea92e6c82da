"""Where figures come from, and what to run where there are none: option files by the names that they have."""
from __future__ import annotations

import json
import shlex
from pathlib import Path, PurePosixPath

from gavn.config.option_file import read_options
from gavn.experiments.report.layout import ABLATIONS, GAVN, METHODS, Task
from gavn.experiments.report.results import Results

ROOT = Path(__file__).resolve().parents[3]  # of the project, which option files in results are relative to
_KINDS = ('ablations', 'levels')  # folders below `options` whose files are not one per method and task


def test_command(results: Results, dataset: str, task: Task, method: str, folder: str = '') -> str:
    """The command that measures a method or an ablation on a task, where that has yet to be done.

    Its option file stands where those stand that the data set's other results came from, else in
    `options/<folder>`. If it reads another data set, the command says which one to take. What is lacking
    beside results of a comparison takes a comparison at the same budget.
    """
    if method not in METHODS | ABLATIONS:
        return f'python gavn/test.py -opt FILE.yml, the option file of {method} on {task.layer} of {dataset}'
    kind = ABLATIONS.get(method, '')
    token = METHODS.get(method, METHODS[GAVN])
    name = '_'.join(filter(None, ['test', token, task.token, kind]))
    path = f'{_folder_of_kin(results, dataset, "ablations" if kind else folder)}/{name}.yml'
    comparison = (ROOT / path).parent.parent / 'plan.json'
    if comparison.is_file() and not (ROOT / path).is_file():
        plan = json.loads(comparison.read_text(encoding='utf-8'))
        return (f'python scripts/compare.py --data {plan["data"]} --task {task.token} '
                f'--budget {plan["budget"]} --methods {"_".join(filter(None, [token, kind]))}')
    return f'python gavn/test.py -opt {path}{_other_data(path, dataset)}'


def restore_command(dataset: str, method: str) -> str:
    """The commands that measure a method on videos without ground truth, where that has yet to be done.

    Results are called by the folder of restored videos, so each method has one of that name.
    """
    token = METHODS.get(method, 'METHOD')
    folder = f'restored/{token}/{dataset}'
    return (f'gavn restore VIDEO -o {folder}/VIDEO --weights WEIGHTS for each VIDEO of {dataset}, then '
            f'gavn evaluate {folder} --method {shlex.quote(method)} -o results/{token}_{dataset}.csv')


def _folder_of_kin(results: Results, dataset: str, folder: str) -> str:
    """Folder of the test files that this data set's figures came from: `options`, `options/small` ..."""
    for result in results:
        path = PurePosixPath(result.run.option_file)
        if result.run.dataset == dataset and path.name.startswith('test_'):
            kind = path.parent.name if path.parent.name in _KINDS else ''
            if kind == folder:
                return str(path.parent)
    return str(PurePosixPath('options', folder))


def _other_data(option_file: str, dataset: str) -> str:
    """Changes of an option file that is there but reads another data set; '' where none is needed."""
    if not (ROOT / option_file).is_file():
        return ''
    options = read_options(ROOT / option_file)[0]
    sections = options.get('datasets', {})
    roots = {key: section['root'] for key, section in sections.items() if section and section.get('root')}
    if not roots or dataset in (PurePosixPath(root).name for root in roots.values()):
        return ''
    changes = [f'datasets:{key}:root=datasets/{dataset}' for key in roots]
    changes.append(f'name={options["name"]}_{dataset}')
    return f' --force_yml {shlex.join(changes)}'


def window(option_file: str) -> int | None:
    """Frames at once in the training that belongs to a test's option file; None where that is not there.

    `options/test_gavn_car.yml` belongs to `options/train_gavn_car.yml`; files of levels, to the folder above.
    They are read as they stand in the project now. Raises OptionError for a file that cannot be read.
    """
    path = ROOT / option_file
    if not path.name.startswith('test_'):
        return None
    name = 'train_' + path.name.removeprefix('test_')
    for file in (path.with_name(name), path.parent.parent / name):
        if file.is_file():
            return read_options(file)[0].get('datasets', {}).get('train', {}).get('num_frame')
    return None
