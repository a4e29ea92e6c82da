"""The first steps of the networks that GAVN is compared with: a peer that starts dead is no peer."""
import pytest
import tiny_peers
import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY

from gavn import basicsr_plugin  # noqa: F401  (fills the registries)


def gain(name: str, init: str, steps: int) -> float:
    """dB that a very small network gains on the middle frame of one clip."""
    torch.manual_seed(0)
    network = ARCH_REGISTRY.get(name)(**tiny_peers.PEERS[name].network, init=init)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    lq, target = tiny_peers.drifting(1)
    audio = {'audio': 10 * torch.randn(1, 1, 1, 13, 20)} if 'audio' in tiny_peers.PEERS[name].inputs else {}

    def restored() -> torch.Tensor:
        result = network(lq, **audio)
        return result[:, 2] if result.dim() == 5 else result

    for _ in range(steps):
        optimizer.zero_grad()
        (restored() - target).abs().mean().backward()
        optimizer.step()
    with torch.no_grad():
        before, after = (F.mse_loss(x, target) for x in (lq[:, 2], restored()))
    return 10 * torch.log10(before / after).item()


@pytest.mark.parametrize(('name', 'steps'), [('EDVR', 30), ('BasicVSRPlusPlus', 20), ('DAVDNet', 30)])
def test_a_peer_learns_from_the_first_steps_where_ordinary_weights_do_not(name, steps):
    assert gain(name, 'scaled', steps) > 0.8
    assert gain(name, 'ordinary', steps) < 0.4


@pytest.mark.parametrize('name', ['EDVR', 'BasicVSRPlusPlus', 'DAVDNet'])
def test_the_start_is_one_of_two(name):
    with pytest.raises(ValueError, match="init: 'lucky' is not one of scaled, ordinary"):
        ARCH_REGISTRY.get(name)(**tiny_peers.PEERS[name].network, init='lucky')


@pytest.mark.parametrize('options', [{'with_tsa': False}, {'with_predeblur': False, 'hr_in': False}])
def test_edvr_starts_near_its_input_in_every_form(options):
    network = ARCH_REGISTRY.get('EDVR')(**{**tiny_peers.PEERS['EDVR'].network, **options})
    lq, _ = tiny_peers.drifting(1)
    base = lq[:, 2] if network.hr_in else F.interpolate(lq[:, 2], scale_factor=4, mode='bilinear')
    assert 0 < (network(lq) - base).square().mean().sqrt() < 0.1


def test_enlarging_basicvsrpp_starts_near_its_input():
    network = ARCH_REGISTRY.get('BasicVSRPlusPlus')(8, 1, min_side=4)
    lq = torch.rand(1, 2, 3, 16, 16)
    base = F.interpolate(lq[:, 1], scale_factor=4, mode='bilinear')
    assert 0 < (network(lq)[:, 1] - base).square().mean().sqrt() < 0.1


def test_features_settle_however_long_the_clip():
    """Propagation passes on half of what comes along; with all of it they would grow with every frame."""
    network = ARCH_REGISTRY.get('BasicVSRPlusPlus')(**tiny_peers.PEERS['BasicVSRPlusPlus'].network)
    still = tiny_peers.drifting(1)[0][:, :1]

    def size(length: int) -> float:
        seen = []
        hook = network.reconstruction.register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0].std(dim=(-2, -1)).mean().item()))
        with torch.no_grad():
            network(still.expand(-1, length, -1, -1, -1).contiguous())
        hook.remove()
        return max(seen)

    assert size(30) < 1.3 * size(15)
