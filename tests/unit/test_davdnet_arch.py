"""DAVDNet, our re-creation: size, shapes, what audio and region do, and its first steps."""
import pytest
import tiny_peers
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

from gavn.archs.davdnet_arch import DAVDNet
from gavn.archs.inputs import layout_of
from gavn.runtime.windows import Layout

SMALL = {'num_feat': 8, 'num_extract_block': 1, 'num_reconstruct_block': 1, 'deformable_groups': 2}
ADAM_EPS = 1e-8  # gradients of this size move half as far as larger ones


def inputs(n: int = 2, size: tuple[int, int] = (32, 32)) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 5, 3, *size), 10 * torch.randn(n, 1, 1, 13, 20)


def test_has_the_size_of_our_table():
    with torch.device('meta'):
        assert sum(p.numel() for p in ARCH_REGISTRY.get('DAVDNet')().parameters()) == 5_122_243


@pytest.mark.parametrize('size', [(32, 32), (30, 21), (5, 7), (224, 16)])
def test_restores_the_middle_frame_of_any_size(size):
    lq, audio = inputs(size=size)
    assert DAVDNet(**SMALL)(lq, audio).shape == (2, 3, *size)
    assert layout_of(DAVDNet(**SMALL)) == Layout(1, 2, 'centre')


def test_is_its_input_where_the_last_layer_adds_nothing():
    network = DAVDNet(**SMALL)
    torch.nn.init.zeros_(network.reconstruction.last.weight)
    lq, audio = inputs(size=(30, 21))
    assert torch.equal(network(lq, audio), lq[:, 2])


@pytest.mark.parametrize('init', ['scaled', 'ordinary'])
def test_every_frame_and_the_audio_reach_the_output(init):
    network = DAVDNet(**SMALL, init=init)
    lq, audio = (x.requires_grad_() for x in inputs())
    network(lq, audio).square().sum().backward()
    assert (lq.grad.abs().sum((0, 2, 3, 4)) > 0).all()
    assert (audio.grad.abs().sum((1, 2, 3, 4)) > 0).all()


def test_other_audio_gives_another_image():
    network = DAVDNet(**SMALL).eval()
    lq, audio = inputs()
    assert not torch.equal(network(lq, audio), network(lq, audio.flip(0)))


def test_audio_is_placed_by_the_region():
    """A crop gets the audio map of its place in the face; without a region it counts as the full face."""
    network = DAVDNet(**SMALL).eval()
    lq, audio = inputs(1, (64, 64))
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    corner = torch.tensor([[0.5, 0.5, 1.0, 1.0]])
    assert torch.equal(network(lq, audio), network(lq, audio, whole))
    assert not torch.equal(network(lq, audio), network(lq, audio, corner))


def test_padding_does_not_move_the_audio(monkeypatch):
    network, seen = DAVDNet(**SMALL), []
    run = network.audio.forward
    monkeypatch.setattr(network.audio, 'forward',
                        lambda audio, region, size: seen.append((region, size)) or run(audio, region, size))
    network(*inputs(1, (24, 40)), torch.tensor([[0.0, 0.5, 0.5, 0.75]]))
    region, size = seen[0]
    assert size == (32, 48)
    torch.testing.assert_close(region, torch.tensor([[0.0, 0.5, 0.6, 0.5 + 0.25 * 32 / 24]]))


@pytest.mark.parametrize(('wrong', 'words'), [
    ({'num_frame': 4}, 'an odd num_frame'), ({'num_feat': 9}, 'divisible by deformable_groups'),
    ({'init': 'lucky'}, "init: 'lucky' is not one of scaled, ordinary")])
def test_options_that_do_not_fit_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        DAVDNet(**{**SMALL, **wrong})


def test_inputs_that_do_not_fit_are_named():
    network = DAVDNet(**SMALL)
    lq, audio = inputs()
    with pytest.raises(ValueError, match='got 3 frames, the network has num_frame: 5'):
        network(lq[:, :3], audio)
    with pytest.raises(ValueError, match=r'audio has the shape \(1, 1, 1, 13, 20\), expected \(2, 1'):
        network(lq, audio[:1])


def test_signals_and_gradients_keep_their_size():
    """Those of the image a hundred times Adam's epsilon, those of the audio's attention ten times."""
    network, signals = DAVDNet(16), {}
    blocks = ('extractor', 'align', 'fusion', 'audio', 'attend', 'join', 'reconstruction.up2',
              'reconstruction.up1', 'reconstruction.hr')

    def note(name, result):
        signals[name] = (result[0] if isinstance(result, list) else result).std(dim=(-2, -1)).mean().item()

    for name in blocks:
        network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, result, name=name: note(name, result))
    lq, target = tiny_peers.drifting()
    (network(lq, inputs()[1]) - target).abs().mean().backward()
    gradients = {name: torch.stack([p.grad.square().mean() for p in network.get_submodule(name).parameters()]
                                   ).mean().sqrt().item() for name in blocks}
    assert {name: value for name, value in signals.items() if not 0.005 < value < 1} == {}
    floors = dict.fromkeys(blocks, 100 * ADAM_EPS) | {'attend': 10 * ADAM_EPS}
    assert {name: value for name, value in gradients.items() if not floors[name] < value < 1} == {}
