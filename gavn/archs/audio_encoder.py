"""Audio encoder: an MFCC window becomes a feature vector."""

import torch
from torch import Tensor, nn

from gavn.archs.blocks import SLOPE, fill_bias
from gavn.audio.mfcc import N_MFCC, WINDOW_COLUMNS

ROUGH_STD = 10.0  # of MFCCs, until the statistics of the training set are set
LIMIT = 4.0  # standard deviations; digital silence is about nine below speech and would dominate


class AudioEncoder(nn.Module):
    """Encodes raw MFCC windows by four convolutions and a linear layer (633,728 parameters).

    The buffers `mean` and `std` (one value per coefficient) hold the statistics of the training set, so that
    a checkpoint is self-contained. They are 0 and 10 until `set_audio_statistics` is called. Normalised
    values are clamped to four standard deviations. The paper does not describe these layers (eq. 13).
    """

    out_features = 256
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('mean', torch.zeros(N_MFCC))
        self.register_buffer('std', torch.full((N_MFCC,), ROUGH_STD))
        self.convs = nn.Sequential(  # 13 x 20 -> 13 x 20 -> 13 x 10 -> 7 x 5 -> 4 x 3
            nn.Conv2d(1, 32, 3, 1, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(32, 64, 3, (1, 2), 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(64, 128, 3, 2, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(128, 128, 3, 2, 1),
            nn.LeakyReLU(SLOPE),
        )
        self.fc = nn.Linear(128 * 4 * 3, self.out_features)
        self.lrelu = nn.LeakyReLU(SLOPE)
        self._init_weights()

    def _init_weights(self) -> None:
        """He initialisation. PyTorch's default shrinks the signal to a hundredth over five layers."""
        for layer in (*self.convs, self.fc):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, a=SLOPE)
                fill_bias(layer)

    def set_audio_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Sets the normalisation: mean and standard deviation (13,) of the MFCCs of the training set.

        Raises:
            ValueError: the shapes are wrong, or a standard deviation is not positive.
        """
        mean, std = (torch.as_tensor(x, dtype=self.mean.dtype, device=self.mean.device) for x in (mean, std))
        if mean.shape != (N_MFCC,) or std.shape != (N_MFCC,):
            raise ValueError(
                f'mean and std need the shape ({N_MFCC},), got {tuple(mean.shape)} and {tuple(std.shape)}'
            )
        if not bool((std > 0).all()):
            raise ValueError(f'the standard deviation of the MFCC must be positive, got {std.tolist()}')
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, audio: Tensor) -> Tensor:
        """Raw MFCC windows (n, 1, 13, 20) -> features (n, 256)."""
        if audio.shape[1:] != (1, N_MFCC, WINDOW_COLUMNS):
            expected = f'(n, 1, {N_MFCC}, {WINDOW_COLUMNS})'
            raise ValueError(f'expected MFCC windows {expected}, got {tuple(audio.shape)}')
        audio = ((audio - self.mean[:, None]) / self.std[:, None]).clamp(-LIMIT, LIMIT)
        return self.lrelu(self.fc(self.convs(audio).flatten(1)))
