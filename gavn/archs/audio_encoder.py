"""The audio half of the network: an MFCC window becomes a feature vector."""

import torch
from torch import Tensor, nn

from gavn.archs.blocks import fill_bias
from gavn.audio.mfcc import CEPSTRA, WINDOW_COLUMNS

SLOPE = 0.1  # of every LeakyReLU
ROUGH_STD = 10.0  # of MFCC, until the training set's is known
LIMIT = 4.0  # standard deviations: digital silence lies about nine below speech and would swamp the rest


class AudioEncoder(nn.Module):
    """Encode MFCC windows with four convolutions and a linear layer (633,728 parameters).

    The windows come in raw; the statistics of the training set live here as buffers `mean` and `std`
    (one value a coefficient), so that a checkpoint is enough to run the network. Until
    `set_audio_statistics` is called they are 0 and 10. What lies further than four standard deviations from
    the mean counts as four. Layers and widths are ours: the paper says only that audio features are extracted
    (eq. 13).
    """

    out_features = 256
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('mean', torch.zeros(CEPSTRA))
        self.register_buffer('std', torch.full((CEPSTRA,), ROUGH_STD))
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
        self._keep_the_scale()

    def _keep_the_scale(self) -> None:
        """He initialisation: torch's own would shrink the signal to a hundredth over five layers."""
        for layer in (*self.convs, self.fc):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, a=SLOPE)
                fill_bias(layer)

    def set_audio_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Set what the windows are normalised with: mean and standard deviation (13,) of the training MFCC.

        Raises:
            ValueError: another shape, or a standard deviation that is not positive.
        """
        mean, std = (torch.as_tensor(x, dtype=self.mean.dtype, device=self.mean.device) for x in (mean, std))
        if mean.shape != (CEPSTRA,) or std.shape != (CEPSTRA,):
            raise ValueError(
                f'mean and std need the shape ({CEPSTRA},), got {tuple(mean.shape)} and {tuple(std.shape)}'
            )
        if not bool((std > 0).all()):
            raise ValueError(f'the standard deviation of the MFCC must be positive, got {std.tolist()}')
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, audio: Tensor) -> Tensor:
        """Raw MFCC windows (n, 1, 13, 20) -> features (n, 256)."""
        if audio.shape[1:] != (1, CEPSTRA, WINDOW_COLUMNS):
            expected = f'(n, 1, {CEPSTRA}, {WINDOW_COLUMNS})'
            raise ValueError(f'expected MFCC windows {expected}, got {tuple(audio.shape)}')
        audio = ((audio - self.mean[:, None]) / self.std[:, None]).clamp(-LIMIT, LIMIT)
        return self.lrelu(self.fc(self.convs(audio).flatten(1)))
