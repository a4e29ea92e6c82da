"""The benchmark: every row was measured, every ratio follows from rows, and no figure stands without one."""
import csv
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gavn.checkpoints.checkpoint import load_bundle
from gavn.checkpoints.pretrained import list_pretrained, weights_of
from gavn.cli.bench import _chosen, _format_row
from gavn.experiments.bench import memory, networks, operators, plan, report, rows, timing, training
from gavn.experiments.bench.goals import GOALS, judge_goals
from gavn.experiments.bench.networks import ALIGNED, GAVN_64, PRETRAINED, SPECS, BenchCase, _spec
from gavn.experiments.bench.plan import BenchPlan
from gavn.experiments.bench.rows import BASICVSRPP, COLUMNS, EDVR_M, BenchRow, complete
from gavn.ops.deform_conv import BACKEND_VARIABLE
from gavn.runtime import windows

CPU = torch.device('cpu')
ALL = networks.ALL
TINY = {
    EDVR_M: _spec(type='EDVR', num_feat=8, hr_in=True, with_predeblur=True, num_extract_block=1,
                    num_reconstruct_block=1, window='centre'),
    GAVN_64: _spec(*ALL, type='GAVN', num_feat=8, radius=0, num_reconstruct_block=[1, 1],
                     detector={'type': 'PFLDAV', 'width': 0.125}),
}
OWN = (BenchCase('gavn', 'bf16', 'windows batched'), BenchCase('gavn', 'fp32', 'features once'))
CASES = (plan.PLAIN, *OWN)
SMALL = BenchPlan(2, 2, 32, 0.001, CASES, (1,), None, ())


def network(name: str, form: str, precision: str, ms: float, **others) -> BenchRow:
    return BenchRow('network', name, 'cpu', form, precision, 'one window', ms, 1., 5, 1000 / ms, **others)


def test_every_network_is_measured_in_every_way_and_written(tmp_path: Path):
    found = complete(list(plan.measure_plan(replace(SMALL, deformable=()), TINY, CPU)))
    assert {row.kind for row in found} == {'ceiling', 'network'}
    cases = [BenchCase(row.form, row.precision, row.schedule) for row in found if row.name == GAVN_64]
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
    matrix = BenchRow('ceiling', 'matrix product', 'cpu', '', 'fp32', '', 1., 1., 5, 100.)
    found = complete([matrix, network(EDVR_M, 'stock', 'fp32', 200.),
                      network(BASICVSRPP, 'stock', 'fp32', 100.),
                      network(GAVN_64, 'gavn', 'fp32', 50., gmacs=1.)])[-1]
    assert (found.to_edvr_m, found.to_basicvsrpp, found.streams) == (4, 2, 0.8)
    assert found.of_matrix_rate == pytest.approx(40)  # 2 in 50 ms of 100 a second


def test_goals_are_judged_by_measured_figures_alone():
    assert all(figure == 'not measured' and not verdict for _, _, figure, verdict in judge_goals([], 'cuda'))
    found = complete([network(GAVN_64, 'stock', 'fp32', 100.), network(GAVN_64, 'gavn', 'bf16', 30.),
                      network(PRETRAINED, 'gavn', 'fp32', 100.)])
    lines = {line[0]: line[1:] for line in judge_goals(found, 'cpu')}
    assert lines["GAVN-64 against eager with torchvision's operator"] == ('at least 2.5 times', '3.33 times',
                                                                         'reached')
    assert lines['the pretrained network: frames a second'][1:] == ('10 fps', 'not reached')
    assert len(judge_goals(found, 'cuda')) + len(lines) == len(GOALS)


def test_deformable_convolution_training_and_loader_have_rows(capsys):
    found = list(operators.deformable(CPU, (1,), 0.001, side=8))
    assert {row.schedule for row in found} == {'forward', 'forward + backward'}
    assert {row.name for row in found} >= {'reference, batch 1', 'torchvision, batch 1'}
    assert 'mmcv: no figure (ImportError: ' in capsys.readouterr().out
    fed = training.time_steps_with_loader(CPU, 1, 32, 0.001, 1, 'tiny', TINY[GAVN_64])
    assert fed.calls >= 10 and 0 <= fed.waited < 100
    assert f'{fed.waited:.1f} % of the time waiting for data' in _format_row(fed)
    loaded = list(training.time_loading(32, (0,), 0.001))
    assert loaded[0].per_second > 0


def test_waiting_for_a_slow_loader_is_counted():
    class Slow(torch.utils.data.Dataset):
        def __getitem__(self, _):
            time.sleep(0.01)
            return {'lq': torch.zeros(1)}

    given = []
    data = torch.utils.data.DataLoader(Slow(), 1, sampler=range(1000))
    timed, waited = training._train(given.append, data, CPU, 0.001)
    assert timed.calls == 10 and len(given) > 10 and timed.ms >= 10 and waited > 80


def test_stock_aligns_one_after_the_other_with_the_same_results():
    together, results = {}, []
    for form in ('stock', 'gavn'):
        subject = networks.prepare('tiny', TINY[GAVN_64], CPU, 32, form)
        calls = together[form] = []
        (align,) = subject.network.temporal.aligns.values()
        align.register_forward_hook(lambda _, given, __, calls=calls: calls.append(len(given[0][0])))
        with torch.no_grad():
            results.append(torch.stack(list(
                windows.run(subject.restore, subject.clip(2), subject.layout, 2))))
    assert together['stock'] == [2] * 7 and together['gavn'] == [10, 4]
    torch.testing.assert_close(*results, atol=1e-5, rtol=0)


def test_compiled_networks_get_one_shape_and_give_equal_results(monkeypatch, capsys):
    def stands_in(part, mode):
        part._compiled_call_impl = part._call_impl
        compiled.append((part, mode))

    compiled = []
    monkeypatch.setattr(networks, 'compile_in_place', stands_in)
    case, shapes = BenchCase(networks.COMPILED, 'fp32', 'features once'), set()
    subject = networks.prepare('tiny', TINY[GAVN_64], CPU, 32, case.form, 2)
    assert compiled == [(part, 'default') for part in (subject.network, subject.detector)]
    features = subject.network.features
    monkeypatch.setattr(subject.network, 'features',
                        lambda frames: shapes.add(frames.shape) or features(frames))
    row = networks.time_network(subject, case, 5, 0.001, ())
    assert row.form == 'compiled' and 'tiny: compiled in ' in capsys.readouterr().out
    with torch.no_grad():
        clip = subject.clip(5)
        found = subject.features(frames := torch.stack([sample['lq'] for sample in clip]))
        torch.testing.assert_close(found, features(frames))
    assert shapes == {(2, 3, 32, 32)}


@pytest.mark.parametrize(('form', 'backend'), [
    ('stock', 'torchvision'), ('gavn', None), ('triton', 'triton'), ('triton, compiled', 'triton')])
def test_forms_choose_the_operator(form, backend, monkeypatch):
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    with networks.operators(BenchCase(form, 'bf16', '')):
        assert os.environ.get(BACKEND_VARIABLE) == backend
    assert BACKEND_VARIABLE not in os.environ


def test_a_failing_training_step_is_reported_and_skipped(monkeypatch, capsys):
    student = training._training_step

    def fails(case, *options):
        if case.form == 'gavn':
            raise RuntimeError('no kernel')
        return student(case, *options)

    monkeypatch.setattr(training, '_training_step', fails)
    rows_ = list(training.steps(CPU, 1, 32, 0.001, 'tiny', TINY[GAVN_64]))
    assert [row.form for row in rows_] == ['stock']
    assert capsys.readouterr().out == 'training step, gavn: no figure (RuntimeError: no kernel)\n'


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_bfloat16_is_measured_where_the_device_has_it(monkeypatch, precision):
    monkeypatch.setattr(training, 'has_bfloat16', lambda device: precision == 'bf16')
    stepped = list(training.steps(CPU, 1, 32, 0.001, 'tiny', TINY[GAVN_64]))
    assert [(row.form, row.precision) for row in stepped] == [('stock', 'fp32'), ('gavn', precision)]
    for device in ('cpu', 'cuda'):
        for quick in (True, False):
            cases = plan.plan_for(device, quick, precision == 'bf16').cases
            assert ('bf16' in {case.precision for case in cases}) == (precision == 'bf16')
            assert cases[-1] == BenchCase('gavn', cases[-1].precision, 'features once')


def test_precision_settings_of_cases():
    cuda = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [place.allow_tf32 for place in cuda]
    for precision, expected in (('fp32', [False] * 2), ('tf32', [True] * 2), ('bf16', before)):
        with networks.computing(CPU, BenchCase('gavn', precision, '')):
            assert [place.allow_tf32 for place in cuda] == expected
            assert torch.is_autocast_enabled('cpu') == (precision == 'bf16')
    assert [place.allow_tf32 for place in cuda] == before


@pytest.mark.skipif(not timing.STATUS.exists(), reason='needs the peak of resident memory')
def test_videos_are_restored_each_in_a_process_of_its_own():
    short, = memory.videos((0.02,))
    assert short.calls == 30 and short.memory_mib > 100  # torch alone is more
    assert f'{short.memory_mib:.0f} MiB peak memory' in _format_row(short)
    for growth, verdict in ((1.04, 'reached'), (1.06, 'not reached')):
        long = replace(short, calls=300, memory_mib=growth * short.memory_mib)
        assert judge_goals([long, short], 'cpu')[-1][2:] == (f'{growth} times', verdict)


def test_plans_measure_what_goals_need():
    full, quick = plan.plan_for('cuda'), plan.plan_for('cuda', quick=True)
    for a_plan, name, forms in ((full, PRETRAINED, ['triton']), (quick, GAVN_64, ['triton']),
                                (full, GAVN_64, ['triton', 'compiled', 'triton, compiled'])):
        cases = plan._cases(a_plan, name, SPECS[name])
        assert cases[-len(forms):] == [BenchCase(form, 'bf16', 'features once') for form in forms]
        assert {case.form for case in cases[:-len(forms)]} == {'stock', 'gavn'}
    asked = quick.compiling([GAVN_64, EDVR_M])
    assert asked.further == {GAVN_64: ('triton', 'compiled'), EDVR_M: ('compiled',)}
    assert full.compiling([GAVN_64]).further == full.further
    assert full.workers_of_steps == 8 and full.minutes and not quick.minutes
    asked = replace(SMALL, further={EDVR_M: ('compiled',)})
    assert plan._cases(asked, EDVR_M, TINY[EDVR_M])[-1] == BenchCase('compiled', 'fp32', 'windows batched')


def test_timing_counts_calls_and_memory():
    calls = []
    found = timing.measure(lambda: calls.append(0), CPU, 0.001)
    assert len(calls) == found.calls + 1 and found.ms >= 0 and math.isfinite(found.spread)
    assert timing.peak_mib(lambda: torch.ones(2**24).sum(), CPU) == pytest.approx(64, abs=16)


def test_the_pretrained_network_of_the_table_is_that_of_the_weights():
    for name in list_pretrained():
        header, _ = load_bundle(weights_of(name))
        header['networks']['network_g'].pop('use_span', None)  # a part of `sr` that is not timed
        assert header['networks'] in (SPECS[PRETRAINED].networks, SPECS[ALIGNED].networks)


def test_all_networks_of_the_table_can_be_built_and_chosen():
    class Args:
        networks, quick, opt = ['edvr', 'vrt'], False, []
    assert list(_chosen(Args, 'cpu')) == [EDVR_M, 'EDVR-L', 'VRT']
    for name in ('D-DBPN', 'DAVD-Net (ours)', BASICVSRPP):
        subject = networks.prepare(name, SPECS[name], CPU, 32, 'stock')
        assert subject.layout.outputs >= 1
