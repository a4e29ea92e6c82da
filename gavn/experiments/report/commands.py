"""Commands that make missing figures, from the names of option files."""
from __future__ import annotations

import shlex

from gavn.config.overlays import DEGRADATION, WITH
from gavn.experiments.report.layout import ABLATIONS, GAVN, METHODS, Task


def test_command(dataset: str, task: Task, method: str, sweep: bool = False) -> str:
    """The command that measures a method or an ablation on a task; with `sweep` on all its levels."""
    if method not in METHODS | ABLATIONS:
        return f'gavn test -opt FILE.yml, the option file of {method} on {task.layer} of {dataset}'
    words = [f'options/test_{METHODS.get(method, METHODS[GAVN])}_{task.token}.yml']
    if ablation := ABLATIONS.get(method):
        words += [WITH, f'options/ablations/{ablation}.yml']
    if sweep:
        words += [DEGRADATION, *task.levels]
    return f'gavn test -opt {" ".join(words)}'


def restore_command(dataset: str, method: str) -> str:
    """The commands that measure a method on videos without ground truth.

    Results have the name of the folder of restored videos, so each method has a folder of that name.
    """
    token = METHODS.get(method, 'METHOD')
    folder = f'restored/{token}/{dataset}'
    return (f'gavn restore VIDEO -o {folder}/VIDEO --weights WEIGHTS for each VIDEO of {dataset}, then '
            f'gavn evaluate {folder} --method {shlex.quote(method)} -o results/{token}_{dataset}.csv')
