"""Networks compiled for one shape: every call has it, and the frames are those of networks as written."""
import numpy as np
import pytest
import torch

from gavn.cli.main import _parser
from gavn.cli.restore import _networks
from gavn.models.clip_runner import ClipRunner
from gavn.restoration.model_spec import ModelSpec
from gavn.restoration.restorer import Restorer
from gavn.runtime.batching import chunked_forward
from gavn.runtime.compilation import TRACED, compile_in_place, is_compiled
from gavn.runtime.tensors import to_tensor

NETWORKS = {'network_g': {'type': 'GAVN', 'num_feat': 8, 'num_extract_block': 1, 'deformable_groups': 2,
                          'num_reconstruct_block': [1, 1], 'radius': 0},
            'network_l': {'type': 'PFLDAV', 'width': 0.125},
            'network_inputs': ['lq', 'audio', 'landmarks']}


@pytest.fixture
def networks() -> dict[str, torch.nn.Module]:
    torch._dynamo.reset()  # what was traced before belongs to classes, not to these objects
    torch.manual_seed(0)
    return ModelSpec.parse(NETWORKS, 'here').build()


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)


def restorer(networks: dict[str, torch.nn.Module], **options) -> Restorer:
    return Restorer(ModelSpec.parse(NETWORKS, 'here'), networks, 'cpu', batch=4, **options)


def test_clips_of_all_lengths_have_one_shape_and_the_same_frames(networks, frames):
    plain = restorer(networks)
    expected = {length: list(plain.residuals(frames[:length])) for length in (1, 4, 6, 11)}
    compiled = restorer(networks, compile=TRACED)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for length, wanted in expected.items():
            got = list(compiled.residuals(frames[:length]))
            np.testing.assert_allclose(got, wanted, atol=255e-5)
            assert np.abs(got).max() > 0.01


def test_a_compiled_network_is_validated_in_one_shape_too(networks, frames):
    network, detector = networks['network_g'].eval(), networks['network_l'].eval()
    clip = [{'lq': to_tensor(frame), 'audio': torch.zeros(1, 13, 20), 'face': torch.zeros(3, 112, 112)}
            for frame in frames]
    runner = ClipRunner(network, network.layout, NETWORKS['network_inputs'], torch.device('cpu'), detector)
    runner.batch = 4
    expected = [frame.restored for frame in runner.run(clip)]
    compile_in_place(network, TRACED)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for length in (11, 5):
            got = [frame.restored.astype(int) for frame in runner.run(clip[:length])]
            assert len(got) == length and np.abs(got[:3] - np.array(expected[:3], int)).max() <= 1


def test_portions_are_filled_up_and_their_results_kept():
    """As of CUDA graphs: one shape in, and the memory of results is written over by the next call."""
    memory = torch.empty(4)

    def call(batch):
        assert batch['lq'].shape == (4,) and batch['features'][0].shape == (4, 2)
        return [memory.copy_(batch['lq'] + batch['features'][0].sum(1))]

    ones = [torch.ones(6, 2)]
    (result,), size = chunked_forward(
        call, {'lq': torch.arange(6.0), 'features': ones}, 2, share=2, whole=True
    )
    assert size == 2 and result.tolist() == [2, 3, 4, 5, 6, 7]


def test_the_command_compiles_where_it_is_asked_to():
    parse = _parser().parse_args
    assert _networks(parse(['restore', 'a.mp4', '--device', 'cpu'])).compile is None
    asked = _networks(parse(['restore', 'a.mp4', '--device', 'cpu', '--compile', '--batch', '3']))
    assert asked.compile == 'default'
    named = asked.named('sr')
    assert (named.compile, named.batch, is_compiled(named.networks['network_g'])) == ('default', 3, True)
    assert (named.dtype, named.device.type, len(named.weights)) == (asked.dtype, 'cpu', 1)
