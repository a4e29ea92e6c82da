"""The paper's tables of files of results: layout, ranks, what has yet to be run, and contradictions."""
import argparse
import csv
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from result_rows import ORIGIN, references, rows

from gavn.config.overlays import add_arguments, resolve_options
from gavn.experiments.report.cells import Cell, TableContent, ranked
from gavn.experiments.report.commands import test_command as what_to_run
from gavn.experiments.report.layout import ABLATIONS, METHODS, SWEPT, TASKS
from gavn.experiments.report.make import make_tables, write_tables
from gavn.experiments.report.paper import paper_table
from gavn.experiments.report.render import latex, markdown, plain, tex
from gavn.experiments.report.results import ReportError, collect
from gavn.metrics.results_file import DEGRADED, TRUTH, ResultRow, ResultsError, RunInfo, write_results

ROOT = Path(__file__).resolve().parents[2]
DEBLUR = TableContent(
    measures=('psnr', 'lpips', 'sync_c'), tasks=[TASKS['deblur']], methods=('EDVR', 'VRT', 'GAVN'))
@pytest.fixture
def write(tmp_path):
    def written(*groups, name='r'):
        write_results(tmp_path / f'{name}.csv', [row for group in groups for row in group])
        return tmp_path / f'{name}.csv'
    return written


def table(files, plan=DEBLUR, number=1):
    return make_tables(files if isinstance(files, list) else [files], plan, [number])[number][0]


@pytest.fixture
def deblur(write):
    return write(
        references(),
        rows('EDVR', {'psnr': 30.5, 'lpips': 0.25, 'sync_c': None}, notes='sync_c: no weights | why'),
        rows('GAVN', {'psnr': 31.25, 'lpips': 0.3}, **ORIGIN))


GOLDEN = """\
### Table 1. Methods on speakers

| Task | Method | PSNR ↑ | LPIPS ↓ | Sync_c ↑ | Params (M) | GMACs | Frames/s | Training | Option file | Checkpoint |
|---|---|---:|---:|---:|---:|---:|---:|---|---|---|
| Deblur | degraded input | 25.0000 | 0.5000 | 2.0000 |  |  |  |  |  |  |
|  | EDVR | <ins>30.5000</ins> | **0.2500** | n/a |  |  |  |  |  |  |
|  | VRT | – | – | – |  |  |  |  | run: `gavn test -opt options/test_vrt_deblur.yml` |  |
|  | GAVN | **31.2500** | <ins>0.3000</ins> | not measured | 7.05 | 91.5 | 12.3 | 60,000 it, 75 min | `options/test_gavn_deblur.yml` | `0123456789ab` |
|  | ground truth |  |  | 6.0000 |  |  |  |  |  |  |

Best in bold, second best underlined, among methods.

sync_c: no weights (EDVR)
"""  # noqa: E501


def test_a_table_of_hand_written_results_reads_as_expected(deblur):
    assert markdown(table(deblur)) == GOLDEN


def test_latex_has_the_main_columns_and_the_marks(deblur):
    text = latex(table(deblur))
    assert r' & Method & PSNR $\uparrow$ & LPIPS $\downarrow$ & Sync$_c$ $\uparrow$ & Params (M)' in text
    assert r' & EDVR & \underline{30.5000} & \textbf{0.2500} & n/a &  &  &  \\' in text
    assert r' & VRT & -- & -- & -- &  &  &  \\' in text
    assert r' & GAVN & \textbf{31.2500} & \underline{0.3000} & -- & 7.05 & 91.5 & 12.3 \\' in text
    assert 'options/' not in text and '0123456789ab' not in text


def test_csv_has_every_cell_and_the_task_in_every_row(deblur):
    header, *lines = csv.reader(plain(table(deblur)).splitlines())
    assert header[:4] == ['Task', 'Method', 'speakers PSNR', 'speakers LPIPS']
    assert [line[:3] for line in lines] == [['Deblur', DEGRADED, '25.0000'], ['Deblur', 'EDVR', '30.5000'], [
        'Deblur', 'VRT', '–'], ['Deblur', 'GAVN', '31.2500'], ['Deblur', TRUTH, '']]
    assert lines[2][-2] == 'run: gavn test -opt options/test_vrt_deblur.yml'


def test_deviations_follow_the_means(deblur):
    plan = TableContent(('psnr',), DEBLUR.tasks, ('EDVR', 'GAVN'), std=True)
    assert '| **31.2500** ± 1.0000 |' in markdown(table(deblur, plan))
    assert r'\textbf{31.2500} $\pm$ 1.0000' in latex(table(deblur, plan))


def test_landmark_errors_are_empty_for_methods_without_landmarks(write):
    file = write(rows('EDVR', {'psnr': 30.0}), rows('GAVN', {'psnr': 31.0, 'nme': 4.0, 'warp': 1.06}))
    text = markdown(table(file, TableContent(('nme', 'warp'), DEBLUR.tasks, ('EDVR', 'GAVN'))))
    assert '| Landmark input error (%) ↓ | Warping error (10^-3) ↓ |' in text
    assert '| EDVR |  | not measured |' in text and '| GAVN | 4.00 | 1.0600 |' in text


@pytest.mark.parametrize(('better', 'values', 'marks'), [
    ('higher', (1, 3, 2), ('', 'best', 'second')),
    ('lower', (1, 3, 2), ('best', '', 'second')),
    ('higher', (3, 3, 2, 2, 1), ('best', 'best', 'second', 'second', '')),
    ('lower', (None, 2, None), ('', '', '')),
    ('higher', (2, 2), ('best', 'best')),
    ('higher', (None, 1, 2), ('', 'second', 'best')),
    ('higher', (), ()),
])
def test_ranks(better, values, marks):
    cells = ranked([Cell(str(value), value) for value in values], better)
    assert tuple(cell.mark for cell in cells) == marks


def test_equal_printed_values_have_equal_ranks(write):
    values = {'EDVR': 30.00001, 'GAVN': 30.00002, 'VRT': 29.0}
    file = write(*(rows(method, {'psnr': value}) for method, value in values.items()))
    text = markdown(table(file))
    assert text.count('**30.0000**') == 2 and '<ins>29.0000</ins>' in text


def test_the_paper_s_methods_come_first_in_its_order_and_others_last(write):
    names = ['Mine', 'GAVN', 'EDVR-L', 'EDVR']
    file = write(references(), *(rows(name, {'psnr': 30.0}) for name in names))
    found = [row[1].text for row in table(file, TableContent(('psnr',), DEBLUR.tasks)).blocks[0]]
    assert found == [DEGRADED, 'DBPN', 'EDVR', 'EDVR-L', 'BasicVSR++', 'DAVD-Net (ours)', 'VRT', 'GAVN',
                     'Mine', TRUTH]


def test_missing_cells_name_their_data_set(write):
    file = write(rows('EDVR', {'psnr': 30.0}, data='a'), rows('GAVN', {'psnr': 31.0}, data='a', **ORIGIN),
                 rows('GAVN', {'psnr': 33.0}, data='b',
                      option_file='options/test_gavn_deblur.yml --with options/presets/small_deblur.yml'))
    made = table(file, TableContent(('psnr',), DEBLUR.tasks, ('EDVR', 'GAVN')))
    text = markdown(made)
    assert '| a<br>PSNR ↑ | b<br>PSNR ↑ |' in text
    assert '| <ins>30.0000</ins> | – |' in text and '| **31.0000** | 33.0000 |' in text  # alone: no rank
    assert 'run (b): `gavn test -opt options/test_edvr_deblur.yml`' in text
    assert '`options/test_gavn_deblur.yml`<br>`options/test_gavn_deblur.yml --with' in text
    assert r'\multicolumn{1}{c}{a} & \multicolumn{1}{c}{b}' in latex(made)


def levels(write):
    return write(
        *(references(layer, psnr=20.0 + place) for place, layer in enumerate(('blur_k17', 'blur_k21'))),
        rows('EDVR', {'psnr': 30.0}, 'blur_k17'), rows('BasicVSR++', {'psnr': 30.5}, 'blur_k17'),
        rows('GAVN', {'psnr': 31.0}, 'blur_k17', **ORIGIN), rows('EDVR', {'psnr': 32.0}, 'blur_k21'),
        rows('GAVN', {'psnr': 31.75}, 'blur_k21', **ORIGIN))


def test_levels_show_the_gain_over_the_best_of_the_others(write):
    text = markdown(table(levels(write), TableContent(tasks=DEBLUR.tasks), 2)).splitlines()
    assert text[2] == '| Distortion | σ | degraded input | EDVR | BasicVSR++ | DAVD-Net (ours) | GAVN |'
    assert text[4:7] == [
        '| Deblur | 17 | 20.0000 | 30.0000 | <ins>30.5000</ins> | run [1] | **31.0000** (+0.5000) |',
        '|  | 21 | 21.0000 | **32.0000** | run [2] | run [1] | <ins>31.7500</ins> (−0.2500) |',
        '|  | 25 | – | run [3] | run [2] | run [1] | run [4] |']
    assert ('[2] run: `gavn test -opt options/test_basicvsrpp_deblur.yml '
            '--degradation blur_k17 blur_k21 blur_k25`') in text


def test_levels_in_latex_and_csv(write):
    made = table(levels(write), TableContent(tasks=DEBLUR.tasks), 2)
    assert r' & 25 & -- & -- & -- & -- & -- \\' in latex(made) and 'run' not in latex(made)
    assert 'run: gavn test -opt options/test_edvr_deblur.yml --degradation blur_k17' in plain(made)


def test_ablations_have_a_table_of_their_own(write):
    own, deaf = rows('GAVN', {'psnr': 31.0}), rows('GAVN zero audio (trained)', {'psnr': 30.5})
    file = write(references(), own, deaf)
    plan = TableContent(('psnr',), DEBLUR.tasks)
    assert [row[1].text for row in table(file, plan, 3).blocks[0]] == [
        'GAVN w/o IF', 'GAVN w/o AF', 'GAVN zero audio (trained)', 'GAVN shuffled audio (trained)',
        'GAVN zero audio (test only)', 'GAVN shuffled audio (test only)', 'GAVN inject', 'GAVN']
    text = markdown(table(file, plan, 3))
    assert '| GAVN zero audio (trained) | <ins>30.5000</ins> |' in text and '| GAVN | **31.0000** |' in text
    assert ('run: `gavn test -opt options/test_gavn_deblur.yml '
            '--with options/ablations/wo_if.yml`') in text
    assert 'audio' not in markdown(table(file, plan, 1))
    alone = write(deaf, name='alone')
    assert list(make_tables([alone], plan)) == [3]


def test_videos_without_ground_truth(write):
    file = write(rows('EDVR', {'niqe': 6.0, 'sync_c': 1.5}, ''),
                 rows('GAVN', {'niqe': 5.5, 'sync_c': 1.25}, ''), rows(DEGRADED, {'niqe': 9.0}, ''))
    lines = markdown(table(file, TableContent(methods=('EDVR', 'GAVN')), 4)).splitlines()
    assert lines[2:6:2] == ['| Metric | degraded input | EDVR | GAVN |',
                            '| NIQE ↓ | 9.0000 | <ins>6.0000</ins> | **5.5000** |']
    assert lines[5:7] == ['| Sync_c ↑ |  | **1.5000** | <ins>1.2500</ins> |',
                          '| Sync_d ↓ |  | not measured | not measured |']
    text = markdown(table(file, TableContent(methods=('VRT', 'GAVN')), 4))
    assert '| NIQE ↓ | 9.0000 | run [1] | 5.5000 |' in text
    assert 'gavn evaluate restored/vrt/speakers --method VRT -o results/vrt_speakers.csv`' in text


def test_table_4_omits_videos_with_ground_truth(write):
    known = write(rows('EDVR', {'psnr': 30.0, 'niqe': 6.0}, '', 'known'), name='known')
    true = write(rows('EDVR', {'niqe': 6.0}, '', 'true'), rows(TRUTH, {'niqe': 5.0}, '', 'true'), name='true')
    wild = write(rows('EDVR', {'niqe': 6.0}, '', 'wild'), name='wild')
    made = make_tables([known, true, wild])
    assert list(made) == [4] and 'wild' in markdown(made[4][0]) and len(made[4]) == 2
    with pytest.raises(ReportError, match='--reference TRUTH --dataset NAME --degradation car_crf45'):
        make_tables([known, true])


def test_rows_that_repeat_must_agree(write):
    first = write(references(), rows('EDVR', {'psnr': 30.0}), name='first')
    second = write(references(psnr=25.0 + 1e-8), rows('GAVN', {'psnr': 31.0}), name='second')
    other = write(references(psnr=25.001), rows('GAVN', {'psnr': 31.0}), name='other')
    assert len(list(collect([first, second, first]))) == 4
    with pytest.raises(ReportError, match=r'first\.csv and .*other\.csv come from different data: degraded '
                                          r'input on speakers \(blur\), anna: psnr is 24\.0 and 24\.001'):
        collect([first, other])


def test_a_method_is_measured_once(write):
    first, same, later = (write(rows('GAVN', {'psnr': psnr}, **ORIGIN | {'checkpoint': weights}), name=name)
                          for name, psnr, weights in (('first', 31.0, 'aa'), ('same', 31.0002, 'aa'),
                                                      ('later', 31.0, 'bb')))
    changed = write(rows('GAVN', {'psnr': 32.0}, **ORIGIN | {'checkpoint': 'aa'}), name='changed')
    assert next(iter(collect([first, same]))).mean['psnr'] == 31.0
    with pytest.raises(ReportError, match=r'first\.csv and .*later\.csv both hold GAVN on speakers \(blur\), '
                                          r'of different weights \(checkpoints aa and bb\)'):
        collect([first, later])
    with pytest.raises(ReportError, match=r'first\.csv and .*changed\.csv contradict each other: .*psnr is'):
        collect([first, changed])


def test_landmark_detectors_are_no_methods(write):
    names = [f'pfld_{place}' for place in range(2)]
    files = [write(rows('PFLDAV', {'nme': 5.0 + place}), rows(DEGRADED, {}), name=name)
             for place, name in enumerate(names)]
    assert not list(collect(files))


def test_the_option_files_that_are_named_exist_and_call_methods_as_tables_do(monkeypatch):
    monkeypatch.chdir(ROOT)
    changes = argparse.ArgumentParser()
    changes.add_argument('opt')
    add_arguments(changes)
    named = [(method, sweep) for methods, sweep in ((METHODS, False), (SWEPT, True), (ABLATIONS, False))
             for method in methods if method != 'DAVD-Net']  # the paper's own
    for method, sweep in named:
        for task in TASKS.values():
            command = what_to_run('talking_faces', task, method, sweep)
            args = changes.parse_args(command.removeprefix('gavn test -opt ').split())
            options = resolve_options(args.opt, args.overlays, args.degradation, args.force_yml)[0]
            assert options.get('method', options['network_g']['type']) == method
            layers = {section['degradation'] for section in options['datasets'].values()}
            assert layers == (set(task.levels) if sweep else {task.layer})


@pytest.mark.parametrize(('clips', 'words'), [
    (('anna',), r"clip 'bob'\n.*one\.csv: EDVR on speakers \(blur\) has 10 frames\n.*no such clip"),
    (('anna', 'cid'), "clip 'bob'")])
def test_methods_are_compared_on_the_same_clips(write, clips, words):
    one = write(rows('EDVR', {'psnr': 30.0}), name='one')
    two = write(rows('GAVN', {'psnr': 30.0}, clips=clips), name='two')
    with pytest.raises(ReportError, match=words):
        collect([one, two])


def test_errors_say_what_tables_need(write, tmp_path):
    file = write(references(), rows('GAVN', {'psnr': 31.0}))
    with pytest.raises(ReportError, match=r'nothing to tabulate in .*r\.csv: there are degraded input on '
                                          r'speakers \(blur\).*\ntable 2 needs results on .* sr_x8'):
        make_tables([file], TableContent(), [1, 2])
    with pytest.raises(ReportError, match=r'there are no rows\ntable 1 needs .*\ntable 2 needs'):
        make_tables([write(name='empty')])
    half = tmp_path / 'half.csv'
    half.write_text(''.join(line for line in file.read_text().splitlines(True) if ',std,' not in line))
    with pytest.raises(ResultsError, match=r"half\.csv: degraded input on speakers has no row 'std'"):
        collect([half])


def test_files_are_written_and_the_script_says_where(deblur, tmp_path):
    arguments = deblur, '-o', tmp_path / 'out', '--tasks', 'deblur'
    command = [sys.executable, ROOT / 'scripts/tables.py', *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '') and 'wrote table 1 to' in done.stdout
    names = {path.name for path in (tmp_path / 'out').iterdir()}
    assert names == {'tables.md', 'table1.md', 'table1.tex', 'table1.csv', 'table1_paper.md',
                     'table1_paper.tex', 'table1_paper.csv'}
    together = (tmp_path / 'out/tables.md').read_text()
    assert together.index('Methods on speakers') < together.index('Methods on VoxCeleb2 and Obama')


def test_the_script_prints_errors(write, tmp_path, monkeypatch, capsys):
    file = write(rows('GAVN', {'psnr': 31.0}, **ORIGIN))
    file.write_text(file.read_text().replace('dataset,', 'set,'))
    monkeypatch.setattr(sys, 'argv', ['tables.py', str(file), '-o', str(tmp_path / 'out')])
    monkeypatch.setattr(sys, 'path', list(sys.path))
    assert runpy.run_path(str(ROOT / 'scripts/tables.py'), run_name='script')['main']() == 1
    assert re.match(r'error: .*r\.csv lacks the columns dataset', capsys.readouterr().err)
    assert not (tmp_path / 'out').exists()


# LaTeX.

@pytest.fixture
def documents(deblur, write, tmp_path):
    odd = [ResultRow(RunInfo('50%_of & more', 'blur', 'A_b^2 {x} ~#$ [1] \\ <é>'), 'c', 1, {'psnr': 30.0})]
    made = make_tables([deblur, write(odd, name='odd')], TableContent(('psnr', 'nme')))
    folder = tmp_path / 'tex'
    write_tables({**made, **{n: [paper_table(n)] for n in (2, 3, 4)}}, folder)
    return folder


def test_latex_is_well_formed(documents):
    files = list(documents.glob('*.tex'))
    assert len(files) == 5
    for path in files:
        text = path.read_text()
        bare = re.sub(r'\\\\|\\[{}]', '', text)
        assert bare.count('{') == bare.count('}')
        assert not re.search(r'(?<!\\)[#~]|[^\x00-\x7fé]', text)
        assert not re.search(r'(?<!\\)%(?!$)', text, re.M)
        assert re.findall(r'\\begin\{(.+?)\}', text) == ['table*', 'tabular']
        assert re.findall(r'\\end\{(.+?)\}', text) == ['tabular', 'table*']
        width = len(re.search(r'\\begin\{tabular\}\{(\w+)\}', text)[1])
        body = text.split('\\midrule', 1)[1].split('\\bottomrule')[0].replace('\\&', '')
        lines = [line for line in body.splitlines() if line and line != '\\midrule']
        assert lines and all(line.count('&') == width - 1 and line.endswith('\\\\') for line in lines)


def test_latex_characters_are_escaped():
    assert tex('a_b & 5% ±') == r'a\_b \& 5\% $\pm$'
