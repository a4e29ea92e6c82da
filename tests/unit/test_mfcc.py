"""MFCCs against the reference package, and their times."""
from pathlib import Path

import numpy as np
import pytest
import torch
from audio_blocks import Passing
from hypothesis import given, settings
from hypothesis import strategies as st
from python_speech_features import mfcc as reference_mfcc

from gavn.audio import mfcc
from gavn.audio.gaps import AudioGap

GOLDEN = [19.5121, 19.5095, 2.6441, -13.1919, -26.1621, -32.5259, -28.6832, -17.6791, -2.3542, 10.7892,
          18.8813, 18.6872, 12.3887]


def sine(seconds: float = 1.0, amplitude: int = 10000) -> np.ndarray:
    samples = np.arange(round(seconds * mfcc.SAMPLE_RATE))
    return (amplitude * np.sin(2 * np.pi * 440 * samples / mfcc.SAMPLE_RATE)).astype(np.int16)


def ramp_features(count: int) -> torch.Tensor:
    """MFCCs whose every coefficient is its own column number."""
    return torch.arange(count, dtype=torch.float32)[:, None].expand(count, mfcc.N_MFCC)


def test_constants_agree_with_each_other() -> None:
    assert (mfcc.HOP, mfcc.MFCC_PER_FRAME, mfcc.WINDOW_COLUMNS, mfcc.COLUMNS_BEFORE) == (160, 4, 20, 8)
    assert mfcc.HOP * mfcc.MFCC_PER_FRAME * mfcc.FRAME_RATE == mfcc.SAMPLE_RATE


def in_float64(signal: np.ndarray) -> torch.Tensor:
    return torch.cat(list(mfcc._columns([signal])), dim=-2)


def test_golden_row_of_a_sine() -> None:
    features = mfcc.mfcc(torch.from_numpy(sine()))
    assert features.dtype == torch.float32 and features.shape == (99, 13)
    np.testing.assert_allclose(features[10], GOLDEN, atol=1e-4)


@pytest.mark.parametrize('length', [1, 399, 400, 401, 560, 16000, 16001, 51234])
def test_equals_the_reference_on_noise(length: int) -> None:
    signal = np.random.default_rng(length).integers(-32768, 32768, length).astype(np.int16)
    expected = reference_mfcc(signal, mfcc.SAMPLE_RATE)
    np.testing.assert_allclose(in_float64(signal), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize('level', [0, 1, 300])
def test_equals_the_reference_with_silence(level: int) -> None:
    signal = np.zeros(8000, np.int16)
    signal[2000:4000] = level
    expected = reference_mfcc(signal, mfcc.SAMPLE_RATE)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(in_float64(signal), expected, rtol=0, atol=1e-9)


def test_digital_silence_is_finite_and_known() -> None:
    windows = mfcc.silence([0.0, 0.04, 0.08])
    assert windows.shape == (3, 1, 13, 20) and windows.dtype == torch.float32
    assert torch.allclose(windows[..., 0, :], torch.tensor(-36.0437), atol=1e-4)
    assert windows[..., 1:, :].abs().max() < 1e-11


@pytest.mark.parametrize('frames', [1, 2, 25, 195])
def test_column_count_of_whole_frames(frames: int) -> None:
    samples = frames * mfcc.SAMPLE_RATE // mfcc.FRAME_RATE
    assert mfcc.mfcc(torch.zeros(samples)).shape == (4 * frames - 1, 13)


def test_no_samples_at_all_is_one_silent_column() -> None:
    features = mfcc.mfcc(torch.zeros(0, dtype=torch.int16))
    assert torch.equal(features, mfcc.mfcc(torch.zeros(400)))
    assert mfcc.mfcc_windows(features, [0, 1, 2]).shape == (3, 1, 13, 20)


def test_batches_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    signal = torch.randint(-9999, 9999, (2, 3, 4000))
    whole = mfcc.mfcc(signal)
    monkeypatch.setattr(mfcc, '_CHUNK', 7)
    assert torch.equal(mfcc.mfcc(signal), whole)
    assert torch.equal(mfcc.mfcc(signal[1, 2]), whole[1, 2])


@settings(max_examples=150, deadline=None)
@given(sizes=st.lists(st.integers(0, 3) | st.integers(0, 2500), max_size=12),
       chunk=st.sampled_from([1, 2, 7, 1024]), seed=st.integers(0, 99))
def test_blocks_of_any_size_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], chunk: int, seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    blocks = [rng.integers(-32768, 32768, size).astype(np.int16) for size in sizes]
    whole = np.concatenate([np.zeros(0, np.int16), *blocks])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mfcc, '_CHUNK', chunk)
        stored, joined = mfcc.StoredMFCC(iter(blocks), tmp_path_factory.getbasetemp()), mfcc.mfcc(whole)
        assert torch.equal(stored.columns(0, stored.count), joined)
        for time in (0, 0.0349, len(whole) / 32000, 9.):
            assert torch.equal(stored.window(time), mfcc.mfcc_windows(joined, [time])[0])
        stored.close()
        features = in_float64(whole)
    expected = reference_mfcc(whole if whole.size else np.zeros(400), mfcc.SAMPLE_RATE)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize('size', [150, 1024, 50000])
def test_blocks_are_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int) -> None:
    """A minute of audio: what is alive at once is what 100 columns are computed from, and a block."""
    widest, mfcc_frames = [], mfcc._coefficients
    monkeypatch.setattr(mfcc, '_CHUNK', 100)
    monkeypatch.setattr(mfcc, '_coefficients', lambda spans: widest.append(len(spans)) or mfcc_frames(spans))
    signal = np.random.default_rng(size).integers(-9999, 9999, 60 * mfcc.SAMPLE_RATE).astype(np.int16)
    blocks = Passing(np.split(signal, range(size, len(signal), size)))
    stored = mfcc.StoredMFCC(blocks, tmp_path)
    assert torch.equal(stored.columns(0, stored.count), mfcc.mfcc(signal)) and max(widest) == 100
    assert blocks.most <= 100 * mfcc.HOP // size + 4 and blocks.alive == 0


def test_windows_at_25_frames_a_second() -> None:
    windows = mfcc.mfcc_windows(ramp_features(99), np.arange(25) / 25)
    assert windows.shape == (25, 1, 13, 20)
    for frame in range(2, 22):
        assert windows[frame, 0, 0].tolist() == list(range(4 * frame - 8, 4 * frame + 12))


@pytest.mark.parametrize('rate', [24000 / 1001, 30000 / 1001, 30, 50, 12.5])
def test_windows_follow_the_time_not_the_index(rate: float) -> None:
    times = np.arange(40, 60) / rate
    windows = mfcc.mfcc_windows(ramp_features(2000), times)
    centres = windows[:, 0, 0, mfcc.COLUMNS_BEFORE].numpy()
    assert np.abs(centres / mfcc.COLUMN_RATE - times).max() <= 0.005 + 1e-9


def test_edges_repeat() -> None:
    windows = mfcc.mfcc_windows(ramp_features(7), [-1.0, 0.0, 0.04, 9.0])[:, 0, 5]
    assert windows[0].tolist() == [0.0] * 20
    assert windows[1].tolist() == [0.0] * 8 + [0, 1, 2, 3, 4, 5, 6] + [6.0] * 5
    assert windows[2].tolist() == [0.0] * 4 + [0, 1, 2, 3, 4, 5, 6] + [6.0] * 9
    assert windows[3].tolist() == [6.0] * 20


def test_rows_are_mfcc_and_columns_time() -> None:
    features = mfcc.mfcc(sine())
    window = mfcc.mfcc_windows(features, [0.4])[0, 0]
    assert torch.equal(window[:, 3], features[35])


@pytest.mark.parametrize('shape', [(0, 13), (5, 12), (13,)])
def test_wrong_mfcc_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match='expected MFCC'):
        mfcc.mfcc_windows(torch.zeros(shape), [0.0])


@pytest.mark.parametrize('length', [16000, 16000 * 75 + 37, 2 * 16000 + 320])
def test_a_hole_is_silence(tmp_path, length):
    """Window by window as if its zeros had been computed, before, in and after it."""
    rng = np.random.default_rng(0)
    before, after = (rng.integers(-9000, 9000, size).astype(np.int16) for size in (50123, 30077))
    short = mfcc.StoredMFCC([before, AudioGap(length), after, AudioGap(length)], tmp_path)
    zeros = np.zeros(length, np.int16)
    whole = mfcc.StoredMFCC([before, zeros, after, zeros], tmp_path)
    assert short.count == whole.count
    for time in np.arange(-1, 2 * length / 16000 + 6, 0.13):
        assert torch.equal(short.window(time), whole.window(time)), time
    if length > 16000 * 60:
        assert short._stored < whole._stored / 4
