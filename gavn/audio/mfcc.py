"""What the networks hear: mel-frequency cepstra of 16 kHz sound, twenty columns around every video frame.

The features are those of python_speech_features 0.6 with its defaults, which SyncNet and its descendants
use: 25 ms rectangular windows every 10 ms, pre-emphasis 0.97, 512-point power spectrum, 26 mel filters from 0
to 8 kHz, orthonormal DCT, lifter 22, first coefficient replaced by the log energy.
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

SAMPLE_RATE = 16000  # samples a second
HOP = SAMPLE_RATE // 100  # samples from one column of cepstra to the next: 10 ms
COLUMN_RATE = SAMPLE_RATE // HOP  # columns a second
FRAME_RATE = 25  # video frames a second that the networks are trained at
MFCC_PER_FRAME = COLUMN_RATE // FRAME_RATE  # 4 columns a video frame
WINDOW_FRAMES = 5  # a window of sound spans five video frames, as SyncNet's
WINDOW_COLUMNS = WINDOW_FRAMES * MFCC_PER_FRAME  # 20
COLUMNS_BEFORE = (WINDOW_FRAMES // 2) * MFCC_PER_FRAME  # 8: the window is centred on its frame
CEPSTRA = 13

_SPAN = SAMPLE_RATE * 25 // 1000  # samples that one column is computed from: 25 ms
_FFT = 512
_FILTERS = 26
_PREEMPHASIS = 0.97
_LIFTER = 22
_EDGE = COLUMN_RATE  # columns of silence that are kept at either side of a hole
_CHUNK = 1024  # columns computed at once: ten seconds take some 30 MB, however long the sound is


def _triangles() -> np.ndarray:
    """Mel filters (26, 257), each from the centre of the last to the centre of the next."""
    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, _FILTERS + 2) / 2595) - 1)
    edges = np.floor((_FFT + 1) * hertz / SAMPLE_RATE)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(_FFT // 2 + 1)
    return np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clip(0)


def _liftered_dct() -> np.ndarray:
    """Orthonormal DCT-II of the 26 log energies, its first 13 rows scaled by the lifter: (13, 26)."""
    order = np.arange(CEPSTRA)[:, None]
    basis = np.cos(np.pi * order * (2 * np.arange(_FILTERS) + 1) / (2 * _FILTERS)) * math.sqrt(2 / _FILTERS)
    basis[0] /= math.sqrt(2)
    return basis * (1 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER))


@lru_cache(maxsize=4)
def _matrices(device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(_triangles()).to(device), torch.from_numpy(_liftered_dct()).to(device)


def _log(energy: Tensor) -> Tensor:
    """Logarithm with zeros, and only zeros, lifted to the double-precision epsilon, as the reference does."""
    return torch.where(energy == 0, torch.finfo(torch.float64).eps, energy).log()


def _cepstra(spans: Tensor) -> Tensor:
    """Pre-emphasised samples (..., f, 400) to cepstra (..., f, 13)."""
    filters, transform = _matrices(spans.device)
    power = torch.fft.rfft(spans, _FFT).abs().square() / _FFT
    coefficients = _log(power @ filters.T) @ transform.T
    return torch.cat([_log(power.sum(-1, keepdim=True)), coefficients[..., 1:]], dim=-1)


def _spans(signal: Tensor) -> Tensor:
    """Samples (..., 1 + n), pre-emphasised, to overlapping spans (..., f, 400).

    Sample 0 is the one before the first span; the last span is completed with zeros.
    """
    emphasised = signal[..., 1:] - _PREEMPHASIS * signal[..., :-1]
    count = 1 + max(0, math.ceil((emphasised.shape[-1] - _SPAN) / HOP))
    missing = (count - 1) * HOP + _SPAN - emphasised.shape[-1]
    return F.pad(emphasised, (0, missing)).unfold(-1, _SPAN, HOP)


def _pieces(blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Sound in blocks (..., any n) to pieces (..., 1 + n) of _CHUNK columns each; the last of one or more.

    A piece begins with the sample before its own, as pre-emphasis asks (before the first there is a zero),
    and goes on to the end of its last span, so that pieces overlap. The blocks' sizes make no difference.
    """
    step = _CHUNK * HOP
    reach = 1 + step - HOP + _SPAN
    blocks = iter(blocks)
    held, length = [], 0
    for block in chain([F.pad(next(blocks, torch.zeros(0)), (1, 0))], blocks):
        held.append(block)
        length += block.shape[-1]
        if length > reach:  # not at `reach`: one sample more decides whether a column follows
            joined, starts = torch.cat(held, dim=-1), range(0, length - reach, step)
            yield from (joined[..., start:start + reach] for start in starts)
            held, length = [joined[..., len(starts) * step:]], length - len(starts) * step
    yield torch.cat(held, dim=-1)


def _columns(blocks: Iterable[Tensor | np.ndarray]) -> Iterator[Tensor]:
    """Sound in blocks (..., any n) to its cepstra in order, (..., _CHUNK, 13) float64 and a last rest."""
    return (_cepstra(_spans(piece.double())) for piece in _pieces(map(torch.as_tensor, blocks)))


def mfcc(signal: Tensor | np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
    """Cepstra (..., f, 13) of 16 kHz sound (..., n) in int16 units (-32768..32767, whatever the type).

    Computed in float64. Column i covers 25 ms from i * 10 ms on. The sound of T frames at 25 a second (640 T
    samples) gives 4 T - 1 columns; sound shorter than 25 ms, even none, gives one, completed with silence.
    """
    return torch.cat([columns.to(dtype) for columns in _columns([signal])], dim=-2)


class StoredMFCC:
    """Cepstra in a nameless file, read as frames ask for them: however long the sound, they take no memory.

    Args:
        blocks: sound at 16 kHz in blocks (n,) of any sizes, some or none; the memory taken is that of ten
            seconds of sound and one block. Their cepstra equal `mfcc` of the blocks joined, bit by bit. Of a
            Hole only the edges are computed and stored, for all columns within are those of silence.
        folder: on the disk that is to hold the file, 5 kB a second.
    """

    def __init__(self, blocks: Iterable[np.ndarray | AudioGap], folder: str | os.PathLike[str]) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 (`close` closes it)
        self._skips: list[tuple[int, int]] = []  # stored columns after which some are left out, and how many
        self._stored = 0
        for columns in _columns(self._without_holes(blocks)):
            self._stored += len(columns)
            self._file.write(columns.float().numpy().tobytes())
        self._file.flush()

    @property
    def count(self) -> int:
        """Columns of the whole sound."""
        return self._stored + sum(left_out for _, left_out in self._skips)

    def _without_holes(self, blocks: Iterable[np.ndarray | AudioGap]) -> Iterator[np.ndarray]:
        """The blocks, with two seconds of silence and part of a column's step in place of each hole."""
        given = 0
        for block in blocks:
            if isinstance(block, AudioGap):
                left_out = max(0, block.samples // HOP - 2 * _EDGE)
                self._skips.append((given // HOP + _EDGE, left_out))
                block = np.zeros(block.samples - left_out * HOP, np.int16)
            given += len(block)
            yield block

    def _places(self, index: Tensor) -> Tensor:
        """Where columns are stored; of those in a hole one of its edge stands for all."""
        for at, left_out in self._skips:
            index = torch.where(index > at, (index - left_out).clamp(min=at), index)
        return index

    def window(self, time: float) -> Tensor:
        """What `mfcc_windows` gives for a frame at `time` seconds: (1, 13, 20)."""
        index = self._places(_window_columns([time], self.count)[0])
        first, last = int(index[0]), int(index[-1])
        return self.columns(first, last + 1)[index - first].T[None]

    def close(self) -> None:
        """Removes the file."""
        self._file.close()

    def columns(self, start: int, end: int) -> Tensor:
        """Some of the columns: (end - start, 13) float32."""
        size = CEPSTRA * torch.float32.itemsize
        self._file.seek(start * size)
        read = bytearray(self._file.read((end - start) * size))
        return torch.frombuffer(read, dtype=torch.float32).view(-1, CEPSTRA)


def mfcc_windows(features: Tensor | np.ndarray, times: Tensor | np.ndarray | Sequence[float]) -> Tensor:
    """The sound around each video frame: cepstra (f, 13) and frame times (t,) in seconds to (t, 1, 13, 20).

    A frame at time s takes columns [c - 8, c + 12) with c = round(100 s): at 25 frames a second frame t takes
    [4 t - 8, 4 t + 12), that is SyncNet's window of five frames centred on frame t. Time zero is the first
    sample; before it and after the end the edge column is repeated. Rows are cepstra, columns time, values as
    they are (not normalised). Raises ValueError for cepstra of another shape.
    """
    features = torch.as_tensor(features)
    if features.dim() != 2 or features.shape[0] < 1 or features.shape[1] != CEPSTRA:
        raise ValueError(f'expected cepstra (f >= 1, {CEPSTRA}), got {tuple(features.shape)}')
    return features[_window_columns(times, len(features)).to(features.device)].transpose(1, 2).unsqueeze(1)


def _window_columns(times: Tensor | np.ndarray | Sequence[float], count: int) -> Tensor:
    """Which of `count` columns the frames at `times` (t,) take: (t, 20)."""
    centres = (torch.as_tensor(times, dtype=torch.float64).cpu() * COLUMN_RATE).round().long()
    columns = torch.arange(-COLUMNS_BEFORE, WINDOW_COLUMNS - COLUMNS_BEFORE)
    return (centres[:, None] + columns).clamp(0, count - 1)


def silence(times: Tensor | np.ndarray | Sequence[float]) -> Tensor:
    """What a frame without sound hears: the cepstra of digital silence (t, 1, 13, 20), float32."""
    return mfcc_windows(mfcc(torch.zeros(_SPAN)), times)
