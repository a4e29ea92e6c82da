"""Origin of figures, and commands for missing ones, from the names of option files."""
from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from gavn.config.overlays import DEGRADATION, WITH, resolve_options
from gavn.experiments.report.layout import ABLATIONS, GAVN, METHODS, Task
from gavn.experiments.report.results import Results
from gavn.runtime.project import project_root

ROOT = project_root()  # option files in results are relative to it


def test_command(results: Results, dataset: str, task: Task, method: str, sweep: bool = False) -> str:
    """The command that measures a method or an ablation on a task; with `sweep` on all its levels.

    Its option file and overlays are those of the data set's other results, else those in `options`.
    """
    if method not in METHODS | ABLATIONS:
        return f'python gavn/test.py -opt FILE.yml, the option file of {method} on {task.layer} of {dataset}'
    folder, overlays = _kin(results, dataset)
    if kind := ABLATIONS.get(method):
        overlays = [*overlays, f'options/ablations/{kind}.yml']
    words = [f'{folder}/test_{METHODS.get(method, METHODS[GAVN])}_{task.token}.yml']
    words += [WITH, *overlays] if overlays else []
    words += [DEGRADATION, *task.levels] if sweep else []
    return f'python gavn/test.py -opt {shlex.join(words)}'


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
    return words[0] if words else '', words[2:]


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
    options, _ = resolve_options(file, [ROOT / overlay for overlay in overlays])
    return options.get('datasets', {}).get('train', {}).get('num_frame')
