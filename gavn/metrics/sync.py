"""Sync_c and Sync_d: audio-visual synchronisation by SyncNet.

The procedure is that of the published evaluation (Chung and Zisserman 2016, joonson/syncnet_python), whose
values are also called LSE-C and LSE-D. One thing differs: the published evaluation first writes frames as
JPEG files.
"""
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gavn.archs.syncnet_arch import SIDE, SyncNet
from gavn.audio.mfcc import FRAME_RATE, MFCC_PER_FRAME, SAMPLE_RATE, WINDOW_COLUMNS, WINDOW_FRAMES, mfcc
from gavn.checkpoints.checkpoint import PathLike, load_state, load_strict
from gavn.metrics.missing import UndefinedMetricError, weights_file

MAX_SHIFT = 15  # frames of audio offset in both directions
MIN_FRAMES = WINDOW_FRAMES + 1  # fewer have no window
_SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE  # 640
_VIDEO_BATCH = 8  # windows per call, about 120 MB
_AUDIO_BATCH = 256


@dataclass(frozen=True)
class SyncResult:
    """Scores of a clip."""

    confidence: float  # Sync_c, median minus minimum of the mean distances over the shifts; higher is better
    distance: float  # Sync_d, the minimum mean distance; lower is better
    # shift of the minimum in frames. Positive: audio is ahead of video. (The published example.avi has 3.)
    offset: int


def load_syncnet(weights: PathLike | None = None) -> SyncNet:
    """Loads SyncNet in eval mode.

    Args:
        weights: the published `syncnet_v2.model`, or a `.pth` or `.safetensors` with the same names. Default:
            the model of `gavn models fetch syncnet`. Only tensors are read from it.

    Raises:
        MissingWeightsError: there are no weights.
        CheckpointError: the file belongs to another network.
    """
    path = weights_file('syncnet', weights)
    network = SyncNet()
    # Old versions of PyTorch did not store num_batches_tracked, which evaluation does not use.
    counters = {name: value for name, value in network.state_dict().items()
                if name.endswith('num_batches_tracked')}
    load_strict(network, counters | load_state(path), str(path))
    return network.eval()


class SyncScore:
    """Scores one clip of 25 frames per second.

    `update` takes the frames in order, `result` the audio of the whole clip, which starts with the first
    frame. Frames are kept until their windows are embedded. An embedding takes 4 kB.
    """

    def __init__(self, network: SyncNet, device: torch.device | str = 'cpu') -> None:
        self.network, self.device = network.to(device), device
        self._frames: list[np.ndarray] = []  # uint8 BGR (224, 224, 3), not fully embedded
        self._embeddings: list[Tensor] = []
        self._count = 0

    def update(self, image: np.ndarray) -> None:
        """Adds the next face crop.

        Args:
            image: uint8 BGR (s, s, 3), cropped as in VoxCeleb: the detector's box with 40 % of its size added
                on every side. Resized to 224 pixels.
        """
        if image.shape[:2] != (SIDE, SIDE):
            image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        self._frames.append(image)
        self._count += 1
        if len(self._frames) == _VIDEO_BATCH + WINDOW_FRAMES - 1:
            self._embed_frames()

    @torch.inference_mode()
    def _embed_frames(self) -> None:
        frames = torch.from_numpy(np.stack(self._frames)).to(self.device)
        self._embeddings.append(self.network.embed_video(frames.movedim(-1, 1).float()).cpu())
        del self._frames[:1 - WINDOW_FRAMES]

    def result(self, audio: np.ndarray | Tensor | None) -> SyncResult:
        """Scores of the frames so far.

        Args:
            audio: int16 (n,) at 16 kHz. The shorter of video and audio sets the length. The last window is
                not used, as in the published evaluation.

        Raises:
            UndefinedMetricError: there is no audio, or only silence, or fewer than six frames.
        """
        if audio is None:
            raise UndefinedMetricError('the clip has no audio')
        audio = torch.as_tensor(audio)
        length = min(self._count, len(audio) // _SAMPLES_PER_FRAME)
        if length < MIN_FRAMES:
            raise UndefinedMetricError(f'it needs {MIN_FRAMES} frames with audio, the clip has {length}')
        if not audio.any():
            raise UndefinedMetricError('the audio is silent')
        if len(self._frames) >= WINDOW_FRAMES:
            self._embed_frames()
        windows = length - WINDOW_FRAMES
        return score(torch.cat(self._embeddings)[:windows], self._embed_audio(audio, windows))

    @torch.inference_mode()
    def _embed_audio(self, audio: Tensor, windows: int) -> Tensor:
        """Audio embeddings (windows, 1024) of the windows that start at every frame."""
        spans = mfcc(audio).unfold(0, WINDOW_COLUMNS, MFCC_PER_FRAME)[:windows].unsqueeze(1)
        return torch.cat(
            [self.network.embed_audio(part.to(self.device)).cpu() for part in spans.split(_AUDIO_BATCH)]
        )


def score(video: Tensor, audio: Tensor) -> SyncResult:
    """Scores from embeddings.

    For every shift s from -15 to 15, video window v is compared with audio window v + s, or with zeros
    outside the clip. The mean over the windows is the distance of the shift. The offset is the negative
    of the best shift: `video[v] = audio[v - k]` yields k. In clips under two seconds
    the zeros outweigh the audio.

    Args:
        video, audio: embeddings (n, c) of the same n windows.
    """
    padded = F.pad(audio, (0, 0, MAX_SHIFT, MAX_SHIFT))
    means = torch.stack([F.pairwise_distance(video, padded[shift:shift + len(video)]).mean()
                         for shift in range(2 * MAX_SHIFT + 1)])
    minimum, best = means.min(0)
    return SyncResult(float(means.median() - minimum), float(minimum), MAX_SHIFT - int(best))
