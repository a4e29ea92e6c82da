"""`--quality fast`: the weights `mixed` for every degradation."""
from types import SimpleNamespace

import pytest

from gavn.checkpoints import pretrained
from gavn.cli import main as cli
from gavn.restoration.auto_restorer import AutoRestorer
from gavn.restoration.degradation import KINDS, DegradationEstimate
from gavn.restoration.restorer_spec import RestorerSpec, load_restorer
from gavn.restoration.weight_selection import FAST, select_weights
from gavn.web.networks import Networks

MIXED = {str(pretrained.weights_of('mixed'))}


@pytest.mark.parametrize('kind', KINDS)
def test_fast_has_the_same_weights_for_every_degradation(kind):
    loaded = []
    found = DegradationEstimate(kind, {one: float(one == kind) for one in KINDS}, 4, 0.4, 1., 0.1)
    choice = select_weights(lambda name: loaded.append(name) or SimpleNamespace(), found, FAST)
    assert loaded == ['mixed'] and choice.restores == (kind != 'clean')


def test_fast_needs_the_file_of_these_weights_alone():
    best, fast = AutoRestorer('cpu'), AutoRestorer('cpu', quality=FAST)
    assert set(fast.weights) == MIXED < set(best.weights)
    assert load_restorer(RestorerSpec(device='cpu', quality=FAST)).weights == fast.weights


def test_an_unknown_quality_is_refused():
    with pytest.raises(ValueError, match="quality 'quick' is not one of best, fast"):
        AutoRestorer('cpu', quality='quick')


@pytest.mark.parametrize(('arguments', 'other'), [
    (['--task', 'deblur'], '--task deblur'), (['--weights', 'w.safetensors'], '--weights')])
def test_fast_excludes_other_weights(arguments, other, capsys):
    assert cli.main(['restore', 'talk.mp4', '--quality', 'fast', *arguments]) != 0
    assert f'excludes {other}' in capsys.readouterr().err


def test_the_page_offers_it(monkeypatch):
    networks = Networks(device='cpu')
    assert FAST in networks.tasks and set(networks.restorer(FAST).weights) == MIXED
    monkeypatch.setattr(pretrained, 'list_pretrained', lambda: ['sr'])
    assert FAST not in networks.tasks
