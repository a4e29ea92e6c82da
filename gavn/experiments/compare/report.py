"""The results of a comparison: tables, curves, and a page about them."""
from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gavn.checkpoints.checkpoint import training_budget
from gavn.errors import CheckpointError, MissingPackageError
from gavn.experiments.compare.experiments import Method, size_warning
from gavn.experiments.compare.folder import PAGE
from gavn.experiments.compare.jobs import JobOutcome
from gavn.experiments.compare.plan import ComparePlan
from gavn.experiments.compare.settings import CompareSettings
from gavn.experiments.report.cells import TableContent
from gavn.experiments.report.curves import read_curve, training_figure
from gavn.experiments.report.drawing import save
from gavn.experiments.report.layout import TASKS, Task
from gavn.experiments.report.make import make_tables, write_tables
from gavn.experiments.report.results import ReportError
from gavn.metrics.results_file import ResultsError
from gavn.models.budget import FILE as BUDGET
from gavn.runtime.files import atomic_path, write_text
from gavn.runtime.project import locate

COLUMNS = ('method', 'parameters', 'batch', 'frames', 'iterations', 'clips seen', 'frames restored', 's/it',
           'min planned', 'min of training', 'min took')
SPEED = 'fps'  # column of results that depends on other load
CURVE = 'psnr'  # metric of the curves
TABLE, TABLES = 'table1.md', 'tables.md'  # in the folder tables: ours, and with the paper's


def gather(settings: CompareSettings, methods: Sequence[Method], outcomes: Mapping[str, JobOutcome]
           ) -> list[Path]:
    """Copies the results of finished tests to `results/<method>_<set>.csv`; returns the copies.

    Frames per second are omitted if other jobs ran during the test.
    """
    folder = settings.out / 'results'
    shutil.rmtree(folder, ignore_errors=True)
    copies = []
    for method in methods:
        for test in method.tests(settings):
            outcome = outcomes.get(f'test_{test.token}')
            if outcome is None or outcome.state != 'done':
                continue
            copy = shutil.copyfile if outcome.alone else _copy_without_speed
            for file in test.results(settings):
                copies.append(folder / f'{test.token}_{file.name}')
                with atomic_path(copies[-1]) as part:
                    copy(file, part)
    return copies


def _copy_without_speed(file: Path, copy: Path) -> None:
    with file.open(newline='', encoding='utf-8') as source, \
            copy.open('w', newline='', encoding='utf-8') as target:
        header, *rows = csv.reader(source)
        writer = csv.DictWriter(target, header)
        writer.writeheader()
        writer.writerows({**dict(zip(header, row, strict=True)), SPEED: ''} for row in rows)


def tabulate(settings: CompareSettings, files: Sequence[Path], methods: Sequence[Method]) -> str:
    """Writes the tables of results into `tables`; returns why that is not possible, else ''."""
    if not files:
        return 'no test has finished'
    titles = [test.title for method in methods for test in method.tests(settings)]
    try:
        made = make_tables(files, TableContent(tasks=_tasks(settings, methods), methods=titles), [1])
    except (ResultsError, ReportError) as error:
        return str(error)
    write_tables(made, settings.out / 'tables')
    return ''


def _tasks(settings: CompareSettings, methods: Sequence[Method]) -> list[Task]:
    """A row for each tested layer, which may be others than the paper's."""
    task = TASKS.get(settings.task) or Task(settings.task, settings.task, '', '', {})
    layers = dict.fromkeys(section.get('degradation', '') for method in methods
                           for section in method.test['datasets'].values())
    return [replace(task, layer=layer) for layer in layers]


def draw_curves(settings: CompareSettings, methods: Sequence[Method], outcomes: Mapping[str, JobOutcome]
                ) -> str:
    """Draws the validations of finished trainings; returns why that is not possible, else ''."""
    names = {method.title: settings.name(method.token) for method in methods
             if (outcome := outcomes.get(f'train_{method.token}')) and outcome.state == 'done'}
    sets = [section['name'] for key, section in methods[0].train['datasets'].items() if key != 'train']
    if not names or not sets:
        return 'nothing was trained' if not names else 'the option files name no data for validation'
    try:
        curves = {title: read_curve(settings.out / 'experiments' / name, sets[0], CURVE)
                  for title, name in names.items()}
        save(training_figure(curves, CURVE), settings.out / 'figures' / f'{CURVE}.png')
    except (ResultsError, ReportError, MissingPackageError) as error:
        return str(error)
    return ''


def write_page(settings: CompareSettings, plan: ComparePlan, methods: Sequence[Method],
               outcomes: Mapping[str, JobOutcome], missing: Mapping[str, str]) -> Path:
    """Writes README.md with budget, machine, shares and failures; returns its path.

    `missing` says why tables or curves do not exist.
    """
    device = f'GPU {", ".join(settings.gpus)}' if settings.gpus else 'the CPU'
    if settings.gpus is None:
        device = 'a GPU of the cluster'
    lines = [f'# {settings.task}: {", ".join(method.title for method in methods)}', '',
             f'- data: `{plan.data}`', f'- options: `{settings.relative_path(settings.options)}`',
             f'- budget of each method: {_budget(plan)}',
             f'- machine: {", ".join(f"{key} {value}" for key, value in plan.machine.items())}',
             f'- {settings.jobs} at a time, {settings.threads} threads each, on {device}'
             f'{f", trained in {settings.amp}" if settings.amp else ""}', '',
             '| ' + ' | '.join(COLUMNS) + ' |', '|---|' + '--:|' * (len(COLUMNS) - 1)]
    lines += [_row(settings, plan, method, outcomes) for method in methods]
    lines += ['', 'A clip is a sample of training: so many frames, of which the network restores all or '
                  'those in the middle. Parameters include the landmark detector\'s. Minutes of training: '
                  'the clock without validations; took: all of the job.']
    lines += [f'\n{words}' for words in (*_detectors(settings, methods), _without_speed(outcomes)) if words]
    if words := size_warning(methods):
        lines += ['', f'Warning: {words}.']
    lines += ['', f'Files: results/*.csv, [tables/{TABLES}](tables/{TABLES}), [figures/{CURVE}.png]'
                  f'(figures/{CURVE}.png), the option files in options.']
    lines += [f'\nNo {what}: {reason}' for what, reason in missing.items()]
    lost = {name: outcome for name, outcome in outcomes.items() if outcome.state != 'done'}
    if lost:
        lines += ['', '## Not done', '', *(f'- {name}: {outcome.reason}' for name, outcome in lost.items())]
    path = settings.out / PAGE
    write_text(path, '\n'.join(lines) + '\n')
    return path


def _detectors(settings: CompareSettings, methods: Sequence[Method]) -> list[str]:
    """Describes each landmark detector that some of the methods use."""
    users: dict[str, list[Method]] = {}
    for method in methods:
        if method.detects:
            users.setdefault(method.train['path']['pretrain_network_l'], []).append(method)
    maker = 'trained by this comparison' if settings.detectors else 'trained before'
    return [f'Landmark detector of {", ".join(method.title for method in methods)}: '
            f'{methods[0].train["network_l"]["type"]}, '
            f'weights `{settings.relative_path(settings.root / weights)}`, {maker}. '
            f'{_took(settings, weights)}'
            for weights, methods in users.items()]


def _took(settings: CompareSettings, weights: str) -> str:
    """Time of its training, which is in no method's budget."""
    file = locate(weights, settings.root)
    try:
        spent = training_budget(file) if file else {}
    except CheckpointError:
        return 'What its training took is not known: the weights cannot be read.'
    names = {'iterations': '{:,.0f} iterations', 'clips_seen': '{:,.0f} clips seen', 'minutes': '{:.1f} min'}
    known = [words.format(spent[key]) for key, words in names.items() if spent.get(key) is not None]
    if not known:
        return 'What its training took is not known: its weights do not say; it is in no budget.'
    return f'Its own training took {", ".join(known)}, which is in no method\'s budget.'


def _budget(plan: ComparePlan) -> str:
    if plan.clips:
        return f'{plan.budget}, that is {plan.clips:,} clips seen'
    beside = ' or '.join(str(count) for count in sorted({share.beside for share in plan.shares.values()}))
    return (f'{plan.budget} of training here, from the seconds that an iteration took in a short run before, '
            f'{beside} side by side')


def _without_speed(outcomes: Mapping[str, JobOutcome]) -> str:
    """Notes about tests during which other jobs ran; '' if there are none."""
    tests = [name for name, outcome in outcomes.items()
             if name.startswith('test_') and outcome.state == 'done' and not outcome.alone]
    if not tests:
        return ''
    return (f'Frames a second are left out for {", ".join(tests)}: other jobs ran beside. '
            '`gavn bench` measures speed.')


def _row(settings: CompareSettings, plan: ComparePlan, method: Method, outcomes: Mapping[str, JobOutcome]
         ) -> str:
    """A line under `COLUMNS`; cells are empty if nothing was planned or timed."""
    share, training = plan.shares.get(method.token), outcomes.get(f'train_{method.token}')
    data = method.train['datasets']['train']
    cells = [method.title, f'{method.parameters:,}', str(method.batch), str(data.get('num_frame', ''))]
    cells += [f'{share.iterations:,}', f'{share.clips:,}'] if share else ['', '']
    cells += [f'{share.clips * method.outputs:,}' if share and method.outputs else '']
    cells += ([f'{share.minutes * 60 / share.iterations:.3f}', f'{share.minutes:.1f}']
              if share and share.minutes else ['', ''])
    cells += [_trained(settings, method.token)]
    cells += [f'{training.seconds / 60:.1f}' if training and training.state == 'done' else 'not done']
    return f'| {" | ".join(cells)} |'


def _trained(settings: CompareSettings, token: str) -> str:
    """Minutes of training that a run has recorded; '' if it has not."""
    noted = settings.out / 'experiments' / settings.name(token) / BUDGET
    minutes = json.loads(noted.read_text(encoding='utf-8'))['minutes'] if noted.is_file() else None
    return '' if minutes is None else f'{minutes:.1f}'
