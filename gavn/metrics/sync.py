"""Sync_c and Sync_d: how well a mouth and a sound agree, as SyncNet hears and sees them.

The procedure is that of the published evaluation (Chung and Zisserman 2016, joonson/syncnet_python), whose
numbers are also called LSE-C and LSE-D. It differs in one thing: frames come straight from the clip, where
the published one first writes them as JPEG files.
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
from gavn.metrics.missing import NotMeasurable, weights_file

SHIFT = 15  # frames that the sound is moved to either side
MIN_FRAMES = WINDOW_FRAMES + 1  # fewer leave no window
_SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE  # 640
_WATCHED = 8  # windows embedded at once: some 120 MB
_HEARD = 256


@dataclass(frozen=True)
class SyncResult:
    """What a clip scores.

    Attributes:
        confidence: Sync_c, median minus least of the mean distances over the shifts; higher is better.
        distance: Sync_d, the least mean distance; lower is better.
        offset: in frames, where that lies. Positive: the sound is heard that many frames before the mouth
            that belongs to it is seen. (The published example.avi has 3.)
    """

    confidence: float
    distance: float
    offset: int


def load_syncnet(weights: PathLike | None = None) -> SyncNet:
    """SyncNet with its weights, for evaluation.

    Args:
        weights: the published `syncnet_v2.model`, or a `.pth` or `.safetensors` with the same names; by
            default the model that `gavn models fetch syncnet` brought. Nothing but tensors is read from it.

    Raises WeightsMissing where there is none, CheckpointError for a file that is not the network's.
    """
    path = weights_file('syncnet', weights)
    network = SyncNet()
    # Older versions of PyTorch kept no count of the batches; it plays no part in evaluation.
    counters = {name: value for name, value in network.state_dict().items()
                if name.endswith('num_batches_tracked')}
    load_strict(network, counters | load_state(path), str(path))
    return network.eval()


class SyncScore:
    """Scores one clip at 25 frames a second.

    `update` takes the frames in order, `result` the sound of the whole clip, whose first sample is at the
    time of the first frame. A frame is kept until the windows that it is part of are embedded; of a window,
    4 kB remain.

    Args:
        network: with its weights, in evaluation mode; moved to `device`.
    """

    def __init__(self, network: SyncNet, device: torch.device | str = 'cpu') -> None:
        self.network, self.device = network.to(device), device
        self._frames: list[np.ndarray] = []  # uint8 BGR (224, 224, 3), not all of whose windows are embedded
        self._seen: list[Tensor] = []
        self._count = 0

    def update(self, image: np.ndarray) -> None:
        """Takes the next face crop, uint8 BGR (h, w, 3), square; another size than 224 is resized to it.

        The crop is that of VoxCeleb: the detector's box with 40 % of its size added on every side.
        """
        if image.shape[:2] != (SIDE, SIDE):
            image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        self._frames.append(image)
        self._count += 1
        if len(self._frames) == _WATCHED + WINDOW_FRAMES - 1:
            self._watch()

    @torch.inference_mode()
    def _watch(self) -> None:
        frames = torch.from_numpy(np.stack(self._frames)).to(self.device)
        self._seen.append(self.network.watch(frames.movedim(-1, 1).float()).cpu())
        del self._frames[:1 - WINDOW_FRAMES]

    def result(self, sound: np.ndarray | Tensor | None) -> SyncResult:
        """The scores of the frames so far with `sound`, int16 (n,) at 16 kHz.

        The shorter of the two sets the length; its last window is left out, as in the published evaluation.
        Raises NotMeasurable where there is no sound, or only digital silence, and for fewer than six frames.
        """
        if sound is None:
            raise NotMeasurable('the clip has no sound')
        sound = torch.as_tensor(sound)
        length = min(self._count, len(sound) // _SAMPLES_PER_FRAME)
        if length < MIN_FRAMES:
            raise NotMeasurable(f'it takes {MIN_FRAMES} frames with sound, the clip has {length}')
        if not sound.any():
            raise NotMeasurable('the sound is silence')
        if len(self._frames) >= WINDOW_FRAMES:
            self._watch()
        windows = length - WINDOW_FRAMES
        return score(torch.cat(self._seen)[:windows], self._listen(sound, windows))

    @torch.inference_mode()
    def _listen(self, sound: Tensor, windows: int) -> Tensor:
        """What is heard from every frame on, (windows, 1024)."""
        spans = mfcc(sound).unfold(0, WINDOW_COLUMNS, MFCC_PER_FRAME)[:windows].unsqueeze(1)
        return torch.cat(
            [self.network.extract_features(part.to(self.device)).cpu() for part in spans.split(_HEARD)]
        )


def score(seen: Tensor, heard: Tensor) -> SyncResult:
    """Scores of embeddings (n, c) of what is seen and what is heard from the same n frames on.

    Frame v is held against the sound at v + s for every shift s from -15 to 15, before and after the clip
    against zeros; the mean over the frames is the distance of the shift. The offset is the negative of the
    best shift: `seen[v] = heard[v - k]` gives k. In clips under a second or two the zeros weigh more than the
    sound; compare such scores with care.
    """
    padded = F.pad(heard, (0, 0, SHIFT, SHIFT))
    means = torch.stack([F.pairwise_distance(seen, padded[shift:shift + len(seen)]).mean()
                         for shift in range(2 * SHIFT + 1)])
    least, best = means.min(0)
    return SyncResult(float(means.median() - least), float(least), SHIFT - int(best))
