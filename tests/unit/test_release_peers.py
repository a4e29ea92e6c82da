"""Methods of others that the pretrained weights are measured beside."""
import numpy as np
import pytest
from skimage import data

from gavn.data.av_video_dataset import Clip
from gavn.data.degradation import downscale
from gavn.errors import MissingPackageError
from gavn.experiments.release.peers import PEERS
from gavn.media import compress
from gavn.metrics import psnr

TRUTH = [np.ascontiguousarray(data.astronaut()[:224, 112 + t:336 + t, ::-1]) for t in range(3)]
# the network of Real-ESRGAN needs minutes of a core
CASES = [pytest.param(peer, id=peer.name, marks=[pytest.mark.slow] * (peer.name == 'Real-ESRGAN'))
         for peer in PEERS]


def _clip(degraded):
    return Clip('a', len(TRUTH), degraded.__getitem__, TRUTH.__getitem__, None, None)


def _restored(peer, degraded):
    try:
        return list(peer.restore(_clip(degraded)))
    except MissingPackageError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize('peer', CASES)
def test_each_returns_every_frame_close_to_the_truth(peer):
    degraded = downscale(TRUTH, 4) if 'sr_x4' in peer.layers else compress(TRUTH, 45)
    restored = _restored(peer, degraded)
    assert [image.shape for image in restored] == [image.shape for image in TRUTH]
    assert all(psnr(image, truth) > psnr(bad, truth) - 3
               for image, bad, truth in zip(restored, degraded, TRUTH, strict=True))


def test_span_is_better_than_bicubic():
    degraded = downscale(TRUTH, 4)
    restored = _restored(PEERS[0], degraded)
    assert psnr(restored[1], TRUTH[1]) > psnr(degraded[1], TRUTH[1]) + 1


def test_spp_changes_blocks_and_keeps_order():
    degraded = compress(TRUTH, 45)
    restored = _restored(PEERS[2], degraded)
    for index, image in enumerate(restored):
        errors = [np.abs(image.astype(int) - bad).mean() for bad in degraded]
        assert int(np.argmin(errors)) == index and errors[index] > 0
