"""The benchmark: every row was measured, every ratio follows from rows, and no figure stands without one."""
import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gavn.bench import _chosen
from gavn.benchmark import loader, networks, operators, plan, report, rows, timing, training
from gavn.benchmark.goals import GOALS, judged
from gavn.benchmark.networks import GAVN_64, RECIPES, SHIPPED, Case, _recipe
from gavn.benchmark.plan import Plan
from gavn.benchmark.rows import BASICVSRPP, COLUMNS, EDVR_M, Row, complete

CPU = torch.device('cpu')
ALL = networks.ALL
TINY = {
    EDVR_M: _recipe(type='EDVR', num_feat=8, hr_in=True, with_predeblur=True, num_extract_block=1,
                    num_reconstruct_block=1, window='centre'),
    GAVN_64: _recipe(*ALL, type='GAVN', num_feat=8, radius=0, num_reconstruct_block=[1, 1],
                     detector={'type': 'PFLDAV', 'width': 0.125}),
}
OWN = (Case('gavn', 'bf16', 'windows batched'), Case('gavn', 'fp32', 'features once'))
CASES = (plan.PLAIN, *OWN)
SMALL = Plan(2, 2, 32, 0.001, CASES, (1,), None, ())


def network(name: str, form: str, precision: str, ms: float, **others) -> Row:
    return Row('network', name, 'cpu', form, precision, 'one window', ms, 1., 5, 1000 / ms, **others)


def test_every_network_is_measured_in_every_way_and_written(tmp_path: Path):
    found = complete(list(plan.measured(replace(SMALL, deformable=()), TINY, CPU)))
    assert {row.kind for row in found} == {'ceiling', 'network'}
    cases = [Case(row.form, row.precision, row.schedule) for row in found if row.name == GAVN_64]
    assert cases == list(CASES)
    for row in found:
        assert row.ms > 0 and row.calls >= 3 and row.per_second > 0
    edvr = rows.find(found, 'network', EDVR_M, *rows.STOCK)
    gavn = rows.find(found, 'network', GAVN_64, 'gavn', 'fp32', 'features once')
    assert edvr.to_edvr_m == 1 and gavn.to_edvr_m == pytest.approx(edvr.ms / gavn.ms)
    assert gavn.to_basicvsrpp is None and 0 < gavn.of_matrix_rate < 100 and gavn.gmacs > 0
    report.write(tmp_path, found, 'a machine', 'cpu')
    with (tmp_path / report.CSV).open(encoding='utf-8') as file:
        written = list(csv.DictReader(file))
    assert tuple(written[0]) == COLUMNS and len(written) == len(found)
    assert float(written[-1]['ms']) == found[-1].ms and written[-1]['to_basicvsrpp'] == ''
    assert 'not measured' in (tmp_path / report.MARKDOWN).read_text(encoding='utf-8')


def test_ratios_and_shares_follow_from_the_rows():
    matrix = Row('ceiling', 'matrix product', 'cpu', '', 'fp32', '', 1., 1., 5, 100.)
    copy = Row('ceiling', 'copy', 'cpu', '', 'fp32', '', 1., 1., 5, 10.)
    found = complete([matrix, copy, network(EDVR_M, 'stock', 'fp32', 200.),
                      network(BASICVSRPP, 'stock', 'fp32', 100.),
                      network(GAVN_64, 'gavn', 'fp32', 50., gmacs=1., traffic_gb=0.1)])[-1]
    assert (found.to_edvr_m, found.to_basicvsrpp, found.streams) == (4, 2, 0.8)
    assert (found.of_matrix_rate, found.of_copy_rate) == pytest.approx((40, 20))  # 2 in 50 ms of 100 a second


def test_goals_are_judged_by_measured_figures_alone():
    assert all(figure == 'not measured' and not verdict for _, _, figure, verdict in judged([], 'cuda'))
    found = complete([network(GAVN_64, 'stock', 'fp32', 100.), network(GAVN_64, 'gavn', 'bf16', 30.),
                      network(SHIPPED, 'gavn', 'fp32', 100.)])
    lines = {line[0]: line[1:] for line in judged(found, 'cpu')}
    assert lines["GAVN-64 against eager with torchvision's operator"] == ('at least 2.5 times', '3.33 times',
                                                                         'reached')
    assert lines['the network that the package ships: frames a second'][1:] == ('10 fps', 'not reached')
    assert len(judged(found, 'cuda')) + len(lines) == len(GOALS)


def test_deformable_convolution_training_and_loader_have_rows(capsys):
    found = list(operators.deformable(CPU, (1,), 0.001, side=8))
    assert {row.schedule for row in found} == {'forward', 'forward + backward'}
    assert {row.name for row in found} >= {'reference, batch 1', 'torchvision, batch 1'}
    assert 'mmcv: no figure (ImportError: ' in capsys.readouterr().out
    stepped = list(training.steps(CPU, 1, 32, 0.001, 'tiny', TINY[GAVN_64]))
    assert [(row.form, row.precision) for row in stepped] == [('stock', 'fp32'), ('gavn', 'bf16')]
    loaded = list(loader.loading(32, (0,), 0.001))
    assert loaded[0].per_second > 0


def test_timing_counts_and_traffic_is_that_of_the_operators():
    calls = []
    found = timing.measure(lambda: calls.append(0), CPU, 0.001)
    assert len(calls) == found.calls + 1 and found.ms >= 0 and math.isfinite(found.spread)
    a = torch.zeros(1000)
    assert timing.traffic(lambda: (a + a).view(10, 100)) == pytest.approx(3 * 4000 / 1e9)
    assert timing.peak_mib(lambda: torch.ones(2**24).sum(), CPU) == pytest.approx(64, abs=16)


def test_all_networks_of_the_table_can_be_built_and_chosen():
    class Args:
        networks, quick, opt = ['edvr', 'vrt'], False, []
    assert list(_chosen(Args, 'cpu')) == [EDVR_M, 'EDVR-L', 'VRT']
    for name in ('D-DBPN', 'DAVD-Net (ours)', BASICVSRPP):
        subject = networks.prepare(name, RECIPES[name], CPU, 32, 'stock')
        assert subject.layout.outputs >= 1
