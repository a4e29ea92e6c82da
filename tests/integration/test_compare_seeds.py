"""Comparisons of several tasks, and with several seeds."""
import pytest
import yaml
from tiny_comparison import fake_command, make_place, say

from gavn.metrics.results_file import MEAN, read_results


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp('compare'))


@pytest.fixture
def run(place, tmp_path, monkeypatch, capsys):
    return fake_command(place, tmp_path, monkeypatch, capsys, methods=['gavn'], budget='6it')


def test_each_seed_is_a_comparison_and_a_table_has_their_deviation(run, tmp_path):
    code, said = run('--task', 'deblur', '--seeds', '1', '5')
    assert code == 0, said
    folders = [tmp_path / f'out/deblur_seed{seed}' for seed in (1, 5)]
    seeds = [yaml.safe_load((folder / 'options/train_gavn_deblur.yml').read_text())['manual_seed']
             for folder in folders]
    assert seeds == [1, 5]
    table = (tmp_path / 'out/seeds.md').read_text()
    psnr = [row.values['psnr'] for folder in folders for row in read_results(folder / 'results/gavn_val.csv')
            if row.clip == MEAN and row.run.method == 'GAVN']
    mean, deviation = sum(psnr) / 2, abs(psnr[0] - psnr[1]) / 2**0.5
    assert table in said and f'| GAVN | 2 | {mean:.2f} ± {deviation:.2f} |' in table


def test_a_table_of_seeds_counts_those_that_are_finished(run, tmp_path):
    say(tmp_path, {'deblur_seed5_gavn': {'fail': True}})
    code, _ = run('--task', 'deblur', '--seeds', '1', '5')
    table = (tmp_path / 'out/seeds.md').read_text()
    assert code == 1 and '| GAVN | 1 |' in table and '±' not in table.split('| GAVN |')[1]


@pytest.mark.parametrize(('fakes', 'arguments', 'words'), [
    ({'deblur_seed1_edvr': {'lost': True}}, ('--jobs', '2'), 'warning: 1 of 2 tasks did not complete; '),
    ({'deblur_seed1_pfld': {'fail': True}}, ('--detectors',), 'warning: train_pfld failed: training')],
    ids=['lost', 'detector'])
def test_a_lost_task_stops_no_other_comparison(run, tmp_path, fakes, arguments, words):
    pytest.importorskip('datatrove')
    say(tmp_path, fakes)
    asked = ('--task', 'deblur', '--seeds', '1', '5', '--executor', 'local', *arguments)
    code, said = run(*asked, methods=['gavn', 'edvr'])
    first, second = (tmp_path / f'out/deblur_seed{seed}' for seed in (1, 5))
    assert code == 1 and words in said, said
    assert f'1 of 2 comparisons are not complete: {first}\n' in said
    assert 'train_edvr waiting: not finished; see ' in said and not (first / 'results/edvr_val.csv').exists()
    assert (second / 'results/edvr_val.csv').is_file() and (second / 'results/gavn_val.csv').is_file()
    say(tmp_path, {})
    code, said = run(*asked, methods=['gavn', 'edvr'])
    assert code == 0 and 'not complete' not in said, said
    assert (first / 'results/edvr_val.csv').is_file()


def test_several_tasks_are_comparisons_with_their_own_folders(run, place, tmp_path):
    for kind in ('train', 'test'):
        source = place / f'options/{kind}_gavn_deblur.yml'
        (place / f'options/{kind}_gavn_again.yml').write_text(source.read_text())
    code, said = run('--task', 'deblur', 'again')
    assert code == 0, said
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'deblur', 'again'}
    assert (tmp_path / 'out/again/tables/table1.md').is_file()
