"""SyncNet against reference vectors; Sync_c, Sync_d and the offset against cases whose answer is known."""
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from gavn.archs.syncnet_arch import FEATURES, SyncNet
from gavn.audio.mfcc import mfcc
from gavn.errors import CheckpointError
from gavn.metrics import sync
from gavn.metrics.missing import MissingWeightsError, UndefinedMetricError
from gavn.metrics.sync import SyncResult, SyncScore, load_syncnet, score

FRAMES = 26


@pytest.fixture(scope='module')
def network() -> SyncNet:
    torch.manual_seed(0)
    return SyncNet()


def audio(frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, 640 * frames, dtype=np.int16)


class Numbers(nn.Module):
    """Video features are the number of the first of five frames, audio features the place of a window.

    `first` is the number of the frame that the first window belongs to.
    """

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.first = first
        self.table = torch.randn(256, 8)
        self.windows: list[Tensor] = []

    def embed_video(self, frames: Tensor) -> Tensor:
        return self.table[frames[:-4, 0, 0, 0].long() - self.first]

    def embed_audio(self, windows: Tensor) -> Tensor:
        start = sum(map(len, self.windows))
        self.windows.append(windows)
        return self.table[start:start + len(windows)]


def numbered(frames: int) -> list[np.ndarray]:
    return [np.full((224, 224, 3), number, np.uint8) for number in range(frames)]


def run(network: nn.Module, images: list[np.ndarray], audio_features: np.ndarray | None) -> SyncResult:
    measure = SyncScore(network)
    for image in images:
        measure.update(image)
    return measure.result(audio_features)


def test_network_reproduces_the_reference(shared: Path) -> None:
    vectors = shared / 'vectors'
    spec = importlib.util.spec_from_file_location('recipe', vectors / 'recipe.py')
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    names, expected = json.loads((vectors / 'syncnet.json').read_text()), np.load(vectors / 'syncnet.npz')
    network = SyncNet()
    assert {k: list(v.shape) for k, v in network.state_dict().items()} == names['state_dict']
    assert sum(p.numel() for p in network.parameters()) == names['parameters'] == 13_631_616
    recipe.fill(network)
    clips = recipe.uniform('syncnet.lip', (2, 3, 5, 224, 224)) * 255
    with torch.no_grad():
        seen = torch.cat([network.embed_video(clip.transpose(0, 1)) for clip in clips])
        audio_features = network.embed_audio(recipe.uniform('syncnet.audio', (2, 1, 13, 20)) * 20 - 10)
    for found, key in ((seen, 'lip'), (audio_features, 'audio')):
        error = np.abs(found.numpy() - expected[key]).max() / np.abs(expected[key]).max()
        assert error < 1e-5, key


def test_every_five_frames_are_seen_alone(network: SyncNet) -> None:
    frames = torch.rand(7, 3, 224, 224) * 255
    with torch.no_grad():
        together = network.embed_video(frames)
        alone = torch.cat([network.embed_video(frames[i:i + 5]) for i in range(3)])
    assert together.shape == (3, FEATURES)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_network_names_wrong_shapes(network: SyncNet) -> None:
    with pytest.raises(ValueError, match=r'\(t >= 5, 3, 224, 224\), got \(4, 3, 224, 224\)'):
        network.embed_video(torch.zeros(4, 3, 224, 224))
    with pytest.raises(ValueError, match=r'\(n, 1, 13, 20\), got \(2, 1, 20, 13\)'):
        network.embed_audio(torch.zeros(2, 1, 20, 13))


def test_scores_by_hand() -> None:
    """No shift: (2 + 2) / 2. A frame earlier: (3 + 0) / 2. Later: (0 + 5) / 2. All others: (3 + 5) / 2."""
    found = score(torch.tensor([[3.], [5.]]), torch.tensor([[5.], [3.]]))
    assert (found.distance, found.confidence) == pytest.approx((1.5, 2.5), abs=1e-5)
    assert found.offset == 1


@settings(deadline=None, max_examples=40)
@given(offset=st.integers(-15, 15), frames=st.integers(40, 80), seed=st.integers(0, 2**16))
def test_shifted_embeddings_give_their_shift(offset: int, frames: int, seed: int) -> None:
    audio_features = torch.randn(frames, 32, generator=torch.Generator().manual_seed(seed))
    seen = torch.stack([audio_features[v - offset] if 0 <= v - offset < frames else torch.zeros(32)
                        for v in range(frames)])
    found = score(seen, audio_features)
    assert found.offset == offset
    assert found.distance == pytest.approx(0, abs=1e-4)
    assert found.confidence > 3


@given(seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=20)
def test_unrelated_embeddings_have_no_confidence(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    seen, audio_features = torch.randn(2, 1000, 64, generator=generator)
    found = score(seen, audio_features)
    assert found.distance == pytest.approx(128 ** 0.5, abs=0.3)
    assert 0 <= found.confidence < 0.15


@pytest.mark.parametrize('late', [-3, 0, 3])
def test_a_image_that_comes_late_has_a_positive_offset(late: int) -> None:
    assert run(Numbers(first=10), numbered(60)[10 - late:50 - late], audio(40)).offset == late


def test_audio_windows_match_their_frames() -> None:
    """The windows start with their first frame; there are five fewer than frames, or than frames of audio."""
    network = Numbers()
    found = run(network, numbered(FRAMES + 9), audio())
    windows = torch.cat(network.windows)[:, 0]
    columns = mfcc(audio())
    assert len(windows) == FRAMES - 5
    assert all(torch.equal(window, columns[4 * v:4 * v + 20].T) for v, window in enumerate(windows))
    assert found.offset == 0 and found.distance == pytest.approx(0, abs=1e-4)


def test_images_reach_the_network_as_they_are() -> None:
    seen = []

    class Watcher(Numbers):
        def embed_video(self, frames: Tensor) -> Tensor:
            seen.append(frames)
            return super().embed_video(frames)

    image = np.zeros((112, 112, 3), np.uint8)
    image[..., 0], image[..., 2] = 7, 250  # blue, red
    run(Watcher(), [image] * 6, audio(6))
    assert seen[0].shape == (6, 3, 224, 224) and seen[0].dtype == torch.float32
    assert seen[0][:, :, 100, 100].unique(dim=0).tolist() == [[7, 0, 250]]


def test_batches_change_nothing_and_frames_do_not_pile_up(network: SyncNet,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    images = [np.random.default_rng(i).integers(0, 256, (224, 224, 3), np.uint8) for i in range(9)]
    results = []
    for watched in (1, 3, 100):
        monkeypatch.setattr(sync, '_VIDEO_BATCH', watched)
        measure = SyncScore(network)
        for image in images:
            measure.update(image)
            assert len(measure._frames) < watched + 5
        results.append(measure.result(audio(9)))
        assert measure.result(audio(9)) == results[-1]
    for other in results[1:]:
        assert other.offset == results[0].offset
        assert other.distance == pytest.approx(results[0].distance, rel=1e-5)
        assert other.confidence == pytest.approx(results[0].confidence, rel=1e-3)


def test_clips_without_a_value_say_why() -> None:
    with pytest.raises(UndefinedMetricError, match='the clip has no audio'):
        run(Numbers(), numbered(8), None)
    with pytest.raises(UndefinedMetricError, match='needs 6 frames with audio, the clip has 5'):
        run(Numbers(), numbered(5), audio())
    with pytest.raises(UndefinedMetricError, match='needs 6 frames with audio, the clip has 5'):
        run(Numbers(), numbered(8), audio(6)[:-1])
    with pytest.raises(UndefinedMetricError, match='silent'):
        run(Numbers(), numbered(8), np.zeros(640 * 8, np.int16))
    assert run(Numbers(), numbered(6), audio(6)).distance == pytest.approx(0, abs=1e-4)


def test_the_published_kind_of_file_loads(network: SyncNet, tmp_path: Path) -> None:
    """A state dictionary of an old PyTorch, saved from a GPU: no archive, no counters, tensors of CUDA."""
    state = {k: v for k, v in network.state_dict().items() if not k.endswith('num_batches_tracked')}
    path = tmp_path / 'syncnet_v2.model'
    torch.save(state, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'ctorch\nFloatStorage\n', b'ctorch.cuda\nFloatStorage\n'))
    assert path.read_bytes() != content and content[:2] != b'PK'
    loaded = load_syncnet(path)
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in state.items())
    assert not loaded.training


def test_safetensors_load_and_other_files_do_not(network: SyncNet, tmp_path: Path) -> None:
    path = tmp_path / 'syncnet.safetensors'
    save_file(network.state_dict(), path)
    assert torch.equal(load_syncnet(path).netfclip[3].weight, network.netfclip[3].weight)
    save_file({'netcnnaud.0.weight': torch.zeros(64, 1, 3, 3)}, path)
    with pytest.raises(CheckpointError, match=r'netcnnaud.0.bias'):
        load_syncnet(path)
    torch.save(nn.Linear(1, 1), tmp_path / 'module.model', _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match='refused'):
        load_syncnet(tmp_path / 'module.model')
    with pytest.raises(CheckpointError, match='does not exist'):
        load_syncnet(tmp_path / 'absent.model')


def test_weights_that_were_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('GAVN_HOME', str(tmp_path))
    with pytest.raises(MissingWeightsError, match='gavn models fetch syncnet'):
        load_syncnet()
