"""Training and validation on video with audio, for any registered restoration network."""
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn

from gavn.archs.inputs import layout_of, network_inputs
from gavn.checkpoints.checkpoint import load_state, load_strict, load_trained, save_bundle
from gavn.config.option_file import OptionError, option_errors
from gavn.config.sections import RestoringTrainOptions, task_of
from gavn.models.cost import gmacs, parameters
from gavn.models.new_network import adopt_audio_statistics, warn_of_untrained_parts
from gavn.models.training_checks import check_keys, check_windows
from gavn.models.training_memory import recompute, split_batch
from gavn.models.validation import ClipValidation
from gavn.runtime.compilation import compile_in_place
from gavn.runtime.tensors import channels_last


@MODEL_REGISTRY.register()
class AVVideoModel(ClipValidation):
    """Trains one restoration network with the inputs of `network_inputs` in the phases of `train.phases`.

    The landmark detector `network_l` is frozen and in eval mode. The audio encoder of a new network takes the
    MFCC statistics of the training data (ROOT/stats.json). Loaded weights contain their own.

    Raises:
        OptionError: options do not fit together.
        CheckpointError: weights cannot be used.
    """

    TrainOptions = RestoringTrainOptions

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.inputs = tuple(opt.get('network_inputs') or ('lq',))
        self.net_l = self._build_detector() if 'landmarks' in self.inputs else None
        self.net_g = self._build_network().to(self.device)
        with option_errors('network_g'):
            self.layout = layout_of(self.net_g, opt.get('window'))
        self._log_size()
        if self.is_train:
            check_windows(self.net_g, self.layout, opt['datasets']['train'])
            self._check_accumulation()
            if opt['train'].get('channels_last'):
                channels_last(self.net_g)
            self.prepare_training(self.net_g)
            self.start_averaging(self.net_g, file=opt['path'].get('pretrain_network_g'))
            self._apply_speed_options(self.net_g)

    def _check_accumulation(self) -> None:
        self.accumulate = self.opt['train'].get('accumulate', 1)
        batch = self.opt['datasets']['train']['batch_size_per_gpu']
        if self.accumulate < 1 or batch % self.accumulate:
            raise OptionError(f'train.accumulate: {self.accumulate} does not divide '
                              f'batch_size_per_gpu: {batch}')

    def _apply_speed_options(self, network: nn.Module) -> None:
        """Applies `train.recompute` and `train.compile`, after the averaged copy was made."""
        recompute(network, self.opt['train'].get('recompute') or ())
        if (mode := self.opt['train'].get('compile', 'none')) != 'none':
            compile_in_place(network, mode)

    def _new_network(self) -> nn.Module:
        with option_errors('network_g'):
            network = build_network(self.opt['network_g'])
        path = self.opt['path']
        loads_statistics = path.get('pretrain_network_g') and path.get('strict_load_g', True)
        if self.is_train and not loads_statistics:
            adopt_audio_statistics(network, self.opt['datasets']['train'])
        return network

    def _build_network(self) -> nn.Module:
        """Builds `network_g` and loads its weights. With `strict_load_g: false` the log names mismatches."""
        path = self.opt['path']
        file = path.get('pretrain_network_g')
        key = path.get('param_key_g', 'params' if self.is_train else None)
        if file is None and self.is_train:
            network = self._new_network()
            warn_of_untrained_parts(network, self.opt['network_g'])
            return network
        if file is None:
            raise OptionError('path.pretrain_network_g is not set: give the weights to test (net_g_*.pth)')
        if self.is_train:
            state = load_state(file, key)
        else:
            self.opt['network_g'], state = load_trained(file, self.opt['network_g'], key)
        network = self._new_network()
        if path.get('strict_load_g', True):
            load_strict(network, state, file)
            get_root_logger().info(f'Loaded {file} into {type(network).__name__}')
        else:
            self.load_network(network, file, strict=False, param_key=key or 'params_ema')
        return network

    def _build_detector(self) -> nn.Module:
        if 'network_l' not in self.opt:
            raise OptionError('network_inputs contains landmarks: the options need their detector, network_l')
        path = self.opt['path'].get('pretrain_network_l')
        if path is None:
            raise OptionError('network_inputs contains landmarks, but path.pretrain_network_l is not set: '
                              'train the detector (options/train_pfld_*.yml) and give its net_l_*.pth')
        with option_errors('network_l'):
            detector = build_network(self.opt['network_l'])
        load_strict(detector, load_state(path), path)
        return detector.to(self.device).eval().requires_grad_(False)

    def _log_size(self) -> None:
        parts = ', '.join(f'{name} {parameters(part):,}' for name, part in self.net_g.named_children())
        name, size = type(self.net_g).__name__, parameters(self.net_g)
        get_root_logger().info(f'{name}: {size:,} parameters ({parts})')

    def feed_data(self, data: dict[str, Any]) -> None:
        """Stores a training batch (n, t, ...). For a network of single frames, n and t are joined."""
        self.count_clips(len(data['lq']))
        batch = {key: value.to(self.device, non_blocking=True) for key, value in data.items()
                 if isinstance(value, Tensor)}
        if self.layout.mode == 'frame' and batch['lq'].dim() == 5:
            batch = {key: batch[key].flatten(0, 1) for key in ('lq', 'gt', 'audio', 'face') if key in batch}
        if self.layout.mode == 'centre' and batch['gt'].dim() == 4:  # of basicsr's data sets
            batch['gt'] = batch['gt'].unsqueeze(1)
        self.batch = batch

    def check_sample(self, sample: Mapping[str, Any]) -> None:
        """Raises ValueError for a training sample that lacks an input of the network or has another shape."""
        further = {'audio'} & set(self.inputs) if self.net_l is None else {'audio', 'face'}
        check_keys(sample, ('lq', 'gt', *sorted(further)), self.opt['network_g']['type'])
        if self.layout.mode != 'frame' and sample['lq'].dim() != 4:
            raise ValueError(f'{self.opt["network_g"]["type"]} takes windows of frames, but the samples are '
                             f'{tuple(sample["lq"].shape)}')

    def optimize_parameters(self, current_iter: int) -> None:
        """Trains one step on the batch of `feed_data`."""
        def losses(part: dict[str, Tensor]) -> dict[str, Tensor]:
            return {'l_pix': self.criterion(self._restored(part), part['gt'])}

        self.step(*(partial(losses, part) for part in split_batch(self.batch, self.accumulate)))

    def _restored(self, batch: dict[str, Tensor]) -> Tensor:
        inputs = network_inputs(batch, self.inputs, self.net_l)
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision is not None):
            restored = self.net_g(batch['lq'], **inputs, **self._forward_options()).float()
        if self.layout.mode == 'centre':
            restored = restored.unsqueeze(1)
        if restored.shape != batch['gt'].shape:
            raise OptionError(f'the network returned {tuple(restored.shape)}, but the ground truth is '
                              f'{tuple(batch["gt"].shape)}: set num_frame and gt_frames of the training '
                              'data to those of the network')
        return restored

    def _save_networks(self, label: int | str) -> None:
        network = self.get_bare_model(self.net_g)
        if self.ema_decay > 0:
            self.save_network([network, self.net_g_ema], 'net_g', label, ['params', 'params_ema'])
        else:
            self.save_network(network, 'net_g', label)

    @master_only
    def save_restorer(self, label: str) -> None:
        """Writes `models/restore_<label>.safetensors`, the bundle that restoring a video needs."""
        networks = {'network_g': self._network_to_release()}
        if self.net_l is not None:
            networks['network_l'] = self.opt['network_l'], self.net_l
        meta = {'task': task_of(self.opt['datasets']['train']),
                'network_inputs': list(self.inputs), 'window': self.opt.get('window'),
                'sources': {self.opt['name']: f'iteration {self.iteration}'},
                **self.budget.checkpoint_entry(self.iteration)}
        save_bundle(Path(self.opt['path']['models'], f'restore_{label}.safetensors'), networks, meta)

    def _gmacs(self) -> float:
        return gmacs(self._evaluated_network(), self.inputs, self.layout, self.device, self.net_l)

    def _network_to_release(self) -> tuple[dict[str, Any], nn.Module]:
        """The options and the network that a bundle contains."""
        return self.opt['network_g'], self._evaluated_network()

    def _evaluated_network(self) -> nn.Module:
        """The averaged network if there is one, else the trained one."""
        return self.net_g_ema if self.is_train and self.ema_decay > 0 else self.get_bare_model(self.net_g)

    def _evaluated_detector(self) -> nn.Module | None:
        return self.net_l
