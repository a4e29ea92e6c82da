"""Training of the landmark detector."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn

from gavn.audio.mfcc import silence
from gavn.checkpoints.checkpoint import load_state, load_strict
from gavn.config.option_file import OptionError, option_errors
from gavn.faces.geometry import DETECTOR_SIZE
from gavn.faces.landmarks import draw, euler_angles, to_pixels
from gavn.losses import pfld_loss  # noqa: F401  (registers PFLDLoss)
from gavn.models.cost import detector_gmacs, parameters
from gavn.models.face_jitter import Jitter, transform
from gavn.models.new_network import adopt_audio_statistics
from gavn.models.training_checks import check_keys
from gavn.models.validation import ClipValidation
from gavn.runtime.tensors import to_images, to_tensor
from gavn.runtime.windows import Layout

# Streams of random numbers, separate from those of the data sets.
_SILENCE_STREAM, _JITTER_STREAM = 2, 3


class DetectorWithPose(nn.Module):
    """The detector and the auxiliary net that estimates the head pose from its features (PFLD)."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector
        self.pose = build_network({'type': 'AuxiliaryPoseNet', 'channels': detector.tap_channels})

    def forward(self, face: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Faces (n, 3, 112, 112), (n, 1, 13, 20) -> points (n, p, 2) in the unit square; angles (n, 3)."""
        points, features = self.detector(face, audio, with_features=True)
        return points, self.pose(features)


class LandmarkOverlay(nn.Module):
    """Draws landmarks on its input. Validation uses it in place of a restoration network."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector
        self.training = detector.training

    def forward(self, lq: Tensor, landmarks: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1], (n, p, 2) in the unit square -> (n, 3, h, w)."""
        points = to_pixels(landmarks, width=lq.shape[-1], height=lq.shape[-2]).cpu().numpy()
        marked = [draw(image, marks) for image, marks in zip(to_images(lq), points, strict=True)]
        return to_tensor(marked).to(lq)


@MODEL_REGISTRY.register()
class LandmarkModel(ClipValidation):
    """Trains the landmark detector `network_l` on degraded faces and audio, with landmarks of an annotator.

    Phases name parts of `DetectorWithPose` (`detector`, `detector.audio`, `pose` ...; none: all);
    normalisation layers of a frozen part keep their statistics. `net_l_*.pth` holds the detector (`params`,
    `params_ema`) and the auxiliary pose net (`auxiliary`), from which training resumes. Validation takes the
    metric `landmark_nme`. The images that it saves are the degraded frames with the landmarks drawn.

    Raises:
        OptionError: options do not fit together.
        CheckpointError: weights cannot be used.
    """

    @dataclass(frozen=True)
    class Options:
        """Keys of section `train` beside those of every model."""

        # share of faces in [0, 1] that are trained with silence instead of their audio, because the detector
        # must also work on videos without audio
        silent_share: float = 0.1
        jitter: Jitter = field(default_factory=Jitter)  # random rotation, shift and scale of training faces

    evaluated = 'network_l'
    inputs = ('landmarks',)
    layout = Layout(1, 0, 'frame')

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        with option_errors('network_l'):
            detector = build_network(opt['network_l'])
        get_root_logger().info(f'{type(detector).__name__}: {parameters(detector):,} parameters')
        if self.is_train:
            adopt_audio_statistics(detector, opt['datasets']['train'])
        self.net_g = DetectorWithPose(detector).to(self.device)
        self._load()
        if self.is_train:
            self.silent_share = opt['train'].get('silent_share', self.Options.silent_share)
            with option_errors('train.jitter'):
                self.jitter = Jitter(**opt['train'].get('jitter') or {})
            self.prepare_training(self.net_g)
            self.start_averaging(self.net_g, 'detector', opt['path'].get('pretrain_network_l'))

    def _load(self) -> None:
        """Loads the detector's weights if the options name any, and the pose net's when resuming."""
        path = self.opt['path']
        file = path.get('pretrain_network_l')
        if file is not None:
            key = path.get('param_key_l', 'params' if self.is_train else None)
            load_strict(self.net_g.get_submodule('detector'), load_state(file, key), file)
            get_root_logger().info(f'Loaded {file} into {type(self.net_g.detector).__name__}')
        elif not self.is_train:
            raise OptionError('path.pretrain_network_l is not set: give the weights to test (net_l_*.pth)')
        if path.get('resume_state'):
            load_strict(self.net_g.get_submodule('pose'), load_state(file, 'auxiliary'), file)

    @property
    def net_l(self) -> nn.Module:
        """The detector that is validated: the averaged one if there is one."""
        averaged = self.is_train and self.ema_decay > 0
        network: nn.Module = self.net_g_ema if averaged else self.get_bare_model(self.net_g)
        return network.get_submodule('detector')

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Sets phase and learning rate. Frozen normalisation layers keep their statistics."""
        super().update_learning_rate(current_iter, warmup_iter)
        for module in self.net_g.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(module.weight.requires_grad)

    def feed_data(self, data: dict[str, Any]) -> None:
        """Stores a training batch (n, m, ...) as n * m faces. Their pose is computed from the landmarks."""
        self.count_clips(len(data['face']))
        batch = {key: data[key].flatten(0, 1) for key in ('face', 'audio', 'landmarks')}
        if self.jitter:
            similarities = self.jitter.draw(len(batch['face']), self._generator(_JITTER_STREAM))
            batch['face'], batch['landmarks'] = transform(batch['face'], batch['landmarks'], similarities)
        pixels = to_pixels(batch['landmarks'], width=DETECTOR_SIZE, height=DETECTOR_SIZE).cpu().numpy()
        batch['angles'] = torch.from_numpy(euler_angles(pixels, DETECTOR_SIZE))
        batch['audio'] = self._silence_some(batch['audio'])
        self.batch = {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}

    def check_sample(self, sample: Mapping[str, Any]) -> None:
        """Raises ValueError for a training sample without face, audio or landmarks."""
        check_keys(sample, ('face', 'audio', 'landmarks'), 'LandmarkModel')

    def _silence_some(self, audio: Tensor) -> Tensor:
        """MFCC (n, 1, 13, 20) with some of them replaced by silence."""
        silent = torch.from_numpy(self._generator(_SILENCE_STREAM).random(len(audio)) < self.silent_share)
        silent = silent.to(audio.device)[:, None, None, None]
        return torch.where(silent, silence(np.zeros(1)).to(audio), audio)

    def _generator(self, stream: int) -> np.random.Generator:
        """Random generator of this iteration, a function of seed, process and iteration only."""
        return np.random.default_rng([self.opt['manual_seed'], self.opt['rank'], self.iteration, stream])

    def optimize_parameters(self, current_iter: int) -> None:
        """Trains one step on the batch of `feed_data`."""
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision is not None):
            points, angles = self.net_g(self.batch['face'], self.batch['audio'])
        l_points, l_pose = self.criterion(points.float(), angles.float(), self.batch['landmarks'],
                                          self.batch['angles'])
        self.step(lambda: {'l_points': l_points, 'l_pose': l_pose})

    def _save_networks(self, label: int | str) -> None:
        network = self.get_bare_model(self.net_g)
        networks = {'params': network.detector, 'auxiliary': network.pose}
        if self.ema_decay > 0:
            networks['params_ema'] = self.net_g_ema.detector
        self.save_network(list(networks.values()), 'net_l', label, list(networks))

    def _evaluated_network(self) -> nn.Module:
        return LandmarkOverlay(self.net_l)

    def _evaluated_detector(self) -> nn.Module:
        return self.net_l

    def _gmacs(self) -> float:
        """GMACs of the detector for one face."""
        return detector_gmacs(self.net_l, self.device)
