"""The file of results: what is written is read, averaged over clips, and reported where it is wrong."""
import csv

import pytest

from gavn.metrics.results_file import (
    DEGRADED,
    LEADING,
    TRAILING,
    TRUTH,
    ResultRow,
    ResultsError,
    RunInfo,
    read_results,
    write_results,
)
from gavn.metrics.table import COLUMNS

RUN = RunInfo('speakers', 'blur', 'GAVN', 'options/test_gavn_deblur.yml', '0123456789ab', 8441123, 91.5,
              12.25, 60000, 1234.5)
DEGRADED_RUN, TRUTH_RUN = (RunInfo('speakers', 'blur', method) for method in (DEGRADED, TRUTH))


def rows():
    return [
        ResultRow(RUN, 'anna/1', 100, {'psnr': 30.1, 'niqe': 5.5, 'sync_c': None},
                  'sync_c: no SyncNet weights'),
        ResultRow(RUN, 'bob', 1, {'psnr': 20.3, 'niqe': 6.5, 'sync_c': 7.0}),
        ResultRow(DEGRADED_RUN, 'anna/1', 100, {'psnr': 1 / 3, 'niqe': 9.0}),
        ResultRow(TRUTH_RUN, 'anna/1', 100, {'niqe': 4.0}),
    ]


@pytest.fixture
def file(tmp_path):
    write_results(tmp_path / 'new' / 'r.csv', rows())
    return tmp_path / 'new' / 'r.csv'


def test_rows_are_written_and_read(file):
    found = read_results(file)
    assert [row for row in found if row.is_clip] == rows()
    assert [row.clip for row in found] == ['anna/1', 'bob', 'mean', 'std', *(['anna/1', 'mean', 'std'] * 2)]


def test_columns_are_in_order(file):
    with file.open(newline='') as text:
        header, first, *_ = csv.reader(text)
    assert header == [*LEADING, 'psnr', 'niqe', 'sync_c', *TRAILING]
    assert set(header[5:8]) <= set(COLUMNS)
    assert first[:8] == ['speakers', 'blur', 'GAVN', 'anna/1', '100', '30.1', '5.5', 'n/a']
    cells = {tuple(row[:4]): row for row in csv.reader(file.open(newline=''))}
    assert cells['speakers', 'blur', TRUTH, 'mean'][5:] == ['', '4.0', '', *([''] * len(TRAILING))]


def test_means_count_each_clip_once_and_what_was_measured(file):
    mean, std = (row for row in read_results(file) if not row.is_clip and row.run.method == 'GAVN')
    assert (mean.clip, mean.run, mean.frames) == ('mean', RUN, 101)
    assert mean.values == {'psnr': pytest.approx(25.2), 'niqe': 6.0, 'sync_c': 7.0}
    assert std.values == {'psnr': pytest.approx(4.9), 'niqe': 0.5, 'sync_c': 0.0}
    assert mean.notes == std.notes == 'sync_c: from 1 of 2 clips | sync_c: no SyncNet weights'


def test_undefined_metrics_have_no_mean(tmp_path):
    written = write_results(tmp_path / 'r.csv', rows()[:1])
    assert [row.values['sync_c'] for row in written] == [None] * 3
    assert read_results(tmp_path / 'r.csv') == written


def test_a_file_that_cannot_be_written_leaves_the_old_one(file):
    before = file.read_bytes()
    with pytest.raises(ValueError, match='psnr is nan'):
        write_results(file, [ResultRow(RUN, 'a', 1, {'psnr': float('nan')})])
    with pytest.raises(ValueError, match="the name 'mean'"):
        write_results(file, [ResultRow(RUN, 'mean', 1)])
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


def edited(file, old, new):
    file.write_text(file.read_text().replace(old, new, 1))
    return file


@pytest.mark.parametrize(('old', 'new', 'words'), [
    ('dataset,degradation', 'set,task', r'r\.csv lacks the columns dataset, degradation'),
    ('psnr,niqe', 'psnr,psnr', "column 'psnr' twice"),
    ('20.3', 'twenty', r"r\.csv, line 3: psnr is 'twenty', not a number"),
    ('20.3', 'nan', r"line 3: psnr is 'nan', not a number"),
    (',100,', ',1e2,', r"line 2: frames is '1e2', not a whole number"),
    ('8441123', 'many', r"line 2: parameters is 'many', not a whole number"),
    ('91.5', 'inf', r"line 2: gmacs is 'inf', not a number"),
    ('bob,', '', r'line 3: 15 cells for 16 columns'),
])
def test_errors_name_file_and_line(file, old, new, words):
    with pytest.raises(ResultsError, match=words):
        read_results(edited(file, old, new))


@pytest.mark.parametrize(('content', 'words'), [
    (None, 'cannot read the results'), (b'', 'lacks the columns dataset'), (b'\xff\xfe,', 'is not a CSV')])
def test_other_files_are_refused(tmp_path, content, words):
    path = tmp_path / 'r.csv'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ResultsError, match=words):
        read_results(path)
