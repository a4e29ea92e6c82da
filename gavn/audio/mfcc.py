"""MFCC of 16 kHz audio, in windows of twenty columns around every video frame.

The features are those of python_speech_features 0.6 with its defaults, as in SyncNet and related networks:
25 ms rectangular windows every 10 ms, pre-emphasis 0.97, 512-point power spectrum, 26 mel filters from 0 to
8 kHz, orthonormal DCT, lifter 22, first coefficient replaced by the log energy.
"""
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from tempfile import TemporaryFile

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gavn.audio.gaps import AudioGap
from gavn.audio.rates import FRAME_RATE, SAMPLE_RATE

HOP = SAMPLE_RATE // 100  # samples between columns of MFCC: 10 ms
COLUMN_RATE = SAMPLE_RATE // HOP  # columns per second
MFCC_PER_FRAME = COLUMN_RATE // FRAME_RATE  # 4 columns per video frame
WINDOW_FRAMES = 5  # an audio window spans five video frames, as in SyncNet
WINDOW_COLUMNS = WINDOW_FRAMES * MFCC_PER_FRAME  # 20
COLUMNS_BEFORE = (WINDOW_FRAMES // 2) * MFCC_PER_FRAME  # 8: the window is centred on its frame
N_MFCC = 13

_SPAN = SAMPLE_RATE * 25 // 1000  # samples per column: 25 ms
_FFT = 512
_FILTERS = 26
_PREEMPHASIS = 0.97
_LIFTER = 22
_EDGE = COLUMN_RATE  # columns of silence that are kept on both sides of a gap
_CHUNK = 1024  # columns per computation: ten seconds, about 30 MB


def _triangles() -> np.ndarray:
    """Returns mel filters (26, 257), each from the centre of the previous to that of the next."""
    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, _FILTERS + 2) / 2595) - 1)
    edges = np.floor((_FFT + 1) * hertz / SAMPLE_RATE)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(_FFT // 2 + 1)
    return np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clip(0)


def _liftered_dct() -> np.ndarray:
    """Returns the first 13 rows of the orthonormal DCT-II, scaled by the lifter: (13, 26)."""
    order = np.arange(N_MFCC)[:, None]
    basis = np.cos(np.pi * order * (2 * np.arange(_FILTERS) + 1) / (2 * _FILTERS)) * math.sqrt(2 / _FILTERS)
    basis[0] /= math.sqrt(2)
    return basis * (1 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER))


@lru_cache(maxsize=4)
def _matrices(device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(_triangles()).to(device), torch.from_numpy(_liftered_dct()).to(device)


def _log(energy: Tensor) -> Tensor:
    """Returns the logarithm; only zeros are replaced by the float64 epsilon, as in the reference."""
    return torch.where(energy == 0, torch.finfo(torch.float64).eps, energy).log()


def _coefficients(spans: Tensor) -> Tensor:
    """Converts pre-emphasised samples (..., f, 400) to MFCC (..., f, 13)."""
    filters, transform = _matrices(spans.device)
    power = torch.fft.rfft(spans, _FFT).abs().square() / _FFT
    coefficients = _log(power @ filters.T) @ transform.T
    return torch.cat([_log(power.sum(-1, keepdim=True)), coefficients[..., 1:]], dim=-1)


def _spans(signal: Tensor) -> Tensor:
    """Applies pre-emphasis to samples (..., 1 + n) and splits them into overlapping spans (..., f, 400).

    Sample 0 precedes the first span; the last span is padded with zeros.
    """
    emphasised = signal[..., 1:] - _PREEMPHASIS * signal[..., :-1]
    count = 1 + max(0, math.ceil((emphasised.shape[-1] - _SPAN) / HOP))
    missing = (count - 1) * HOP + _SPAN - emphasised.shape[-1]
    return F.pad(emphasised, (0, missing)).unfold(-1, _SPAN, HOP)


def _pieces(blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Regroups audio blocks (..., any n) into overlapping pieces (..., 1 + n) of _CHUNK columns each.

    A piece starts with the sample before it (zero at the start), for pre-emphasis, and ends with its last
    span. The result does not depend on the block sizes.
    """
    step = _CHUNK * HOP
    reach = 1 + step - HOP + _SPAN
    blocks = iter(blocks)
    held, length = [], 0
    for block in chain([F.pad(next(blocks, torch.zeros(0)), (1, 0))], blocks):
        held.append(block)
        length += block.shape[-1]
        if length > reach:  # not at `reach`: one more sample adds a column
            joined, starts = torch.cat(held, dim=-1), range(0, length - reach, step)
            yield from (joined[..., start:start + reach] for start in starts)
            held, length = [joined[..., len(starts) * step:]], length - len(starts) * step
    yield torch.cat(held, dim=-1)


def _columns(blocks: Iterable[Tensor | np.ndarray]) -> Iterator[Tensor]:
    """Converts audio blocks (..., any n) to MFCC in order: (..., up to _CHUNK, 13) float64."""
    return (_coefficients(_spans(piece.double())) for piece in _pieces(map(torch.as_tensor, blocks)))


def mfcc(signal: Tensor | np.ndarray) -> Tensor:
    """Computes MFCC (..., f, 13) float32 of 16 kHz audio (..., n).

    Column i covers 25 ms from i * 10 ms on. The audio of T frames at 25 frames per second (640 T samples) has
    4 T - 1 columns. Audio shorter than 25 ms, even empty, is padded with silence to one column.

    Args:
        signal: samples in int16 units (-32768..32767) of any type.
    """
    return torch.cat([columns.float() for columns in _columns([signal])], dim=-2)


class StoredMFCC:
    """MFCC in an anonymous temporary file, so that long audio needs no memory.

    Args:
        blocks: audio at 16 kHz in blocks (n,) of any sizes, in int16 units. The values equal `mfcc` of the
            joined blocks exactly. Only the edges of an AudioGap are computed and stored.
        folder: folder of the file, which takes 5 kB per second.
    """

    def __init__(self, blocks: Iterable[np.ndarray | AudioGap], folder: str | os.PathLike[str]) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 (`close` closes it)
        self._skips: list[tuple[int, int]] = []  # (stored column, number of columns omitted after it)
        self._stored = 0
        for columns in _columns(self._without_gaps(blocks)):
            self._stored += len(columns)
            self._file.write(columns.float().numpy().tobytes())
        self._file.flush()

    @property
    def count(self) -> int:
        """Number of columns of the whole audio."""
        return self._stored + sum(left_out for _, left_out in self._skips)

    def _without_gaps(self, blocks: Iterable[np.ndarray | AudioGap]) -> Iterator[np.ndarray]:
        """Yields the blocks; an AudioGap becomes about two seconds of silence."""
        samples = 0
        for block in blocks:
            if isinstance(block, AudioGap):
                left_out = max(0, block.samples // HOP - 2 * _EDGE)
                self._skips.append((samples // HOP + _EDGE, left_out))
                block = np.zeros(block.samples - left_out * HOP, np.int16)
            samples += len(block)
            yield block

    def _places(self, index: Tensor) -> Tensor:
        """Maps column indices to stored columns; a column of silence represents all columns of a gap."""
        for at, left_out in self._skips:
            index = torch.where(index > at, (index - left_out).clamp(min=at), index)
        return index

    def window(self, time: float) -> Tensor:
        """Returns the window of a frame at `time` seconds: (1, 13, 20); see `mfcc_windows`."""
        index = self._places(_window_columns([time], self.count)[0])
        first, last = int(index[0]), int(index[-1])
        return self.columns(first, last + 1)[index - first].T[None]

    def close(self) -> None:
        """Removes the file."""
        self._file.close()

    def columns(self, start: int, end: int) -> Tensor:
        """Reads stored columns: (end - start, 13) float32."""
        size = N_MFCC * torch.float32.itemsize
        self._file.seek(start * size)
        read = bytearray(self._file.read((end - start) * size))
        return torch.frombuffer(read, dtype=torch.float32).view(-1, N_MFCC)


def mfcc_windows(features: Tensor | np.ndarray, times: Tensor | np.ndarray | Sequence[float]) -> Tensor:
    """Returns the MFCC window around each video frame.

    A frame at time s has columns [c - 8, c + 12) with c = round(100 s). At 25 frames per second frame t has
    [4 t - 8, 4 t + 12), which is SyncNet's window of five frames centred on frame t. Edge columns are
    repeated before the first sample and after the end.

    Args:
        features: MFCC (f, 13).
        times: frame times (t,) in seconds from the first sample.

    Returns:
        Windows (t, 1, 13, 20): coefficients by time, not normalised.

    Raises:
        ValueError: the features have another shape.
    """
    features = torch.as_tensor(features)
    if features.dim() != 2 or features.shape[0] < 1 or features.shape[1] != N_MFCC:
        raise ValueError(f'expected MFCC (f >= 1, {N_MFCC}), got {tuple(features.shape)}')
    return features[_window_columns(times, len(features)).to(features.device)].transpose(1, 2).unsqueeze(1)


def _window_columns(times: Tensor | np.ndarray | Sequence[float], count: int) -> Tensor:
    """Returns column indices of the windows at `times` (t,), within `count` columns: (t, 20)."""
    centres = (torch.as_tensor(times, dtype=torch.float64).cpu() * COLUMN_RATE).round().long()
    columns = torch.arange(-COLUMNS_BEFORE, WINDOW_COLUMNS - COLUMNS_BEFORE)
    return (centres[:, None] + columns).clamp(0, count - 1)


def silence(times: Tensor | np.ndarray | Sequence[float]) -> Tensor:
    """Returns the MFCC windows of digital silence: (t, 1, 13, 20), float32."""
    return mfcc_windows(mfcc(torch.zeros(_SPAN)), times)
