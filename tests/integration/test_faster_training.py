"""What makes training faster leaves its results as they are."""
import pytest
import torch
from tiny_model import FINETUNE, STARTS, make_batch, make_place, model_of, run, state_of

from gavn.config.option_file import OptionError

AT = STARTS[FINETUNE]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp('faster'))


@pytest.fixture(scope='module')
def batch(place):
    return make_batch(place)


@pytest.fixture(scope='module')
def plain(place, batch):
    """Weights and log after one step of the whole network."""
    model = model_of(place)
    run(model, batch, (AT,))
    return state_of(model.net_g), model.get_current_log()


def after_a_step(place, batch, **train):
    model = model_of(place, train=train)
    run(model, batch, (AT,))
    return model, state_of(model.net_g)


def gradients(place, batch, **train):
    model, _ = after_a_step(place, batch, **train, grad_clip=None)
    return {name: parameter.grad for name, parameter in model.net_g.named_parameters()}


def test_a_batch_in_parts_has_the_gradients_of_the_whole(place, batch):
    whole, parts = gradients(place, batch), gradients(place, batch, accumulate=2)
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-2, atol=1e-6 + 1e-3 * gradient.abs().max())


def test_the_log_has_the_loss_of_the_whole_batch_and_the_memory(place, batch, plain):
    model, _ = after_a_step(place, batch, accumulate=2)
    log = model.get_current_log()
    assert log['l_pix'] == pytest.approx(plain[1]['l_pix'], rel=1e-5)
    assert 0.05 < log['peak_gib'] < 64


def test_parts_must_divide_the_batch(place):
    with pytest.raises(OptionError, match='accumulate: 3 does not divide batch_size_per_gpu: 2'):
        model_of(place, train={'accumulate': 3})


def test_what_is_computed_twice_is_the_same(place, batch, plain):
    parts = ['temporal.aligns.all', 'reconstruction.up1', 'identity']
    calls = []
    model = model_of(place, train={'recompute': parts})
    model.net_g.reconstruction.up1.conv.register_forward_hook(lambda *_: calls.append(1))
    run(model, batch, (AT,))
    assert len(calls) == 2
    after = state_of(model.net_g)
    assert all(torch.equal(after[name], value) for name, value in plain[0].items())
    averaged = model.net_g_ema.reconstruction.up1
    assert averaged.forward.__self__ is averaged  # computes with its own weights, once


def test_a_part_that_is_not_there_is_reported(place):
    with pytest.raises(OptionError, match=r"no part 'temporal.align'; it has temporal, temporal.extractor"):
        model_of(place, train={'recompute': ['temporal.align']})


def test_channels_last_changes_no_more_than_rounding(place, batch, plain):
    model, after = after_a_step(place, batch, channels_last=True)
    assert model.net_g.temporal.extractor.conv_l2_1.weight.is_contiguous(memory_format=torch.channels_last)
    for name, value in plain[0].items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=1e-4)  # half of Adam's step at most


def test_a_traced_network_trains_alike(place, batch, plain):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model, after = after_a_step(place, batch, compile='eager')
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] >= 1
    assert after.keys() == plain[0].keys()
    for name, value in plain[0].items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=1e-4)
    model.save_restorer('latest')
