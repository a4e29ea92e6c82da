"""Validation on data sets of whole clips, in training and in `gavn/test.py`."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import get_dist_info
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from gavn.checkpoints.checkpoint import training_budget
from gavn.config.option_file import option_errors
from gavn.config.sections import ClipValOptions
from gavn.metrics.clip_metrics import MetricFactory, check_metrics, metric_factories
from gavn.metrics.evaluate import RESTORED, SUBJECTS, ClipScores, EvaluatedFrame, Scores
from gavn.metrics.results_file import (
    DEGRADED,
    MEAN,
    ResultRow,
    RunInfo,
    check_names,
    with_summaries,
    write_results,
)
from gavn.models.best import BestRecord
from gavn.models.clip_runner import ClipRunner, ValidationOutput, validate_clip
from gavn.models.cost import parameters
from gavn.models.phased_model import PhasedModel
from gavn.runtime.files import sha256
from gavn.runtime.windows import Layout

_BAR = '{l_bar}{bar}| {n:.1f}/{total} clips [{elapsed}<{remaining}]'
MAX_SHOWN = 3  # clips of a data set whose first frames tensorboard receives
_HASH = 12  # digits of a checkpoint's SHA-256 that name it in results


@dataclass
class _DataSetScores:
    """Scores of a data set by clip number, and the time of restoring."""

    clips: dict[int, tuple[str, ClipScores]]
    frames: int
    seconds: float

    @classmethod
    def joined(cls, parts: Iterable['_DataSetScores']) -> '_DataSetScores':
        parts = list(parts)
        clips = {index: clip for part in parts for index, clip in part.clips.items()}
        return cls(dict(sorted(clips.items())), sum(part.frames for part in parts),
                   sum(part.seconds for part in parts))


class ClipValidation(PhasedModel):
    """A model that validates on whole clips.

    A subclass sets `layout` and `inputs`, and implements `_evaluated_network`, `_evaluated_detector` and
    `_gmacs`; `_forward_options` has a default. `AVVideoModel` is an example.
    """

    layout: Layout  # window layout of the evaluated network
    inputs: tuple[str, ...]  # names of its inputs (`network_inputs`)
    ValOptions = ClipValOptions  # schema of section `val`
    evaluated = 'network_g'  # section of the validated network
    validates_clips = True  # of AVVideoDataset, or of another data set with its method `clip`

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        with option_errors('val.metrics'):
            check_metrics(self._metrics)  # before training, not at the first validation

    def _evaluated_network(self) -> nn.Module:
        """The network that restores clips."""
        raise NotImplementedError

    def _evaluated_detector(self) -> nn.Module | None:
        """The detector of the landmarks in `inputs`; None without them."""
        raise NotImplementedError

    def _forward_options(self) -> dict[str, Any]:
        """Further arguments of the network's `forward` in the current phase. The default has none."""
        return {}

    def _gmacs(self) -> float:
        """GMACs per output frame."""
        raise NotImplementedError

    def validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any,
                   save_img: bool = False) -> None:
        """Restores and evaluates every clip of an AVVideoDataset.

        Processes share the clips. Scores of the network, its input and the ground truth go to
        `<experiment>/metrics/<set>_<iteration>.csv` in training and to `<results>/<set>.csv` in tests (see
        `gavn.metrics.results_file`); images and videos go to the folder `visualization`. The weights with
        the best first metric on the first validation set are saved as `net_g_best.pth` and as the bundle
        `restore_best.safetensors`. A second call at the same iteration does nothing.

        Args:
            dataloader: its `dataset` is used.
            current_iter: unused; the model counts iterations.
            tb_logger: tensorboard's writer, or None.
            save_img: whether to write images.
        """
        data_set: Any = dataloader.dataset  # an AVVideoDataset, or another with `opt` and `clip`
        name = data_set.opt['name']
        if self.is_train and self._validated.get(name) == self.iteration:
            return
        self._validated[name] = self.iteration
        folder = Path(self.opt['path']['visualization'], name)
        shown: dict[str, np.ndarray] = {}

        def show(key: str, frame: EvaluatedFrame) -> None:
            if tb_logger is not None and len(shown) < MAX_SHOWN:
                shown[key] = _strip(frame)
        output = ValidationOutput(folder / str(self.iteration) if self.is_train else folder, save_img,
                                  self.opt['val'].get('save_video', ClipValOptions.save_video), show)
        with self.budget.paused():
            rows = self._rows(data_set, output)
            if get_dist_info()[0] == 0:
                self._report(name, rows, tb_logger)
                for key, image in shown.items():
                    tb_logger.add_image(f'{name}/{key}', image, self.iteration, dataformats='HWC')

    @cached_property
    def _validated(self) -> dict[str, int]:
        """The iteration at which each data set was last validated."""
        return {}

    @cached_property
    def _record(self) -> BestRecord:
        path = Path(self.opt['path']['experiments_root'], 'best.json') if self.is_train else None
        return BestRecord(path, self._metrics)

    @property
    def _metrics(self) -> dict[str, dict[str, Any]]:
        return (self.opt.get('val') or {}).get('metrics') or {}

    @cached_property
    def _metric_factories(self) -> list[MetricFactory]:
        """Metrics with loaded networks. Logs once which lack weights."""
        def warn(key: str, reason: str) -> None:
            get_root_logger().warning(f'val.metrics.{key} is skipped: {reason}')

        with option_errors('val.metrics'):
            return metric_factories(self._metrics, self.device, warn)

    @cached_property
    def _references(self) -> dict[tuple[str, str], dict[str, Scores]]:
        """Scores of input and ground truth by data set and clip, computed once."""
        return {}

    def _rows(self, data_set: Any, output: ValidationOutput) -> list[ResultRow]:
        """Rows for each clip and subject, in the order of the data set, in every process."""
        rank, processes = get_dist_info()
        with option_errors(f'data set {data_set.opt["name"]}'):
            check_names(item['key'] for item in data_set)
        network, detector = self._evaluated_network(), self._evaluated_detector()
        was_training = network.training
        network.eval()
        runner = ClipRunner(network, self.layout, self.inputs, self.device, detector, self._forward_options())
        shown = rank == 0 and self.opt['val'].get('pbar', ClipValOptions.pbar)
        clips = {}
        with tqdm(total=len(data_set), bar_format=_BAR, desc=data_set.opt['name'],
                  disable=None if shown else True) as bar:
            for index in range(rank, len(data_set), processes):
                clip = data_set.clip(index)
                part = min(processes, len(data_set) - index + rank) / clip.n_frames
                clips[index] = clip.key, self._scores(runner, clip, output, partial(bar.update, part),
                                                      data_set.opt['name'])
        measured = _gather(_DataSetScores(clips, runner.watch.frames, runner.watch.seconds), processes)
        run = self._run_info(data_set, network, measured)
        network.train(was_training)
        return [row for key, scores in measured.clips.values() for row in scores.rows(run, key)]

    def _scores(self, runner: ClipRunner, clip: Any, output: ValidationOutput, tick: Any, name: str
                ) -> ClipScores:
        known = self._references.get((name, clip.key))
        scores = validate_clip(runner, clip, self._metric_factories, output, tick,
                               SUBJECTS if known is None else (RESTORED,))
        if known is None:
            known = {subject: found for subject, found in scores.subjects.items() if subject != RESTORED}
            self._references[name, clip.key] = known
        return ClipScores(scores.frames, scores.subjects | known)

    def _run_info(self, data_set: Any, network: nn.Module, measured: _DataSetScores) -> RunInfo:
        file = None if self.is_train else self.opt['path'][f'pretrain_{self.evaluated}']
        spent = self.budget.facts(self.iteration) if file is None else training_budget(file)
        iterations = spent.get('iterations')
        return RunInfo(
            data_set.folder, data_set.options.degradation or '',
            self.opt.get('method') or self.opt[self.evaluated]['type'], self.opt.get('option_file', ''),
            checkpoint='' if file is None else sha256(file)[:_HASH],
            parameters=parameters(network, self._evaluated_detector()),
            gmacs=None if self.is_train else self._gmacs(),
            fps=measured.frames / measured.seconds if measured.seconds else None,
            iterations=None if iterations is None else int(iterations), minutes=spent.get('minutes'))

    def _report(self, name: str, rows: Sequence[ResultRow], tb_logger: Any) -> None:
        summed, path = with_summaries(rows), self._table(name)
        averages = _averages(summed)
        if self.is_train and self._is_best(name, averages):
            self._save_networks('best')
            self.save_restorer('best')
        self._record.update(name, averages, self.iteration)  # after the files that it refers to
        write_results(path, rows)  # last: see lacks_validation
        get_root_logger().info(f'{self._summary(name, summed, averages)}\n\tclip by clip: {path}')
        if tb_logger is not None:
            for column, value in averages.items():
                tb_logger.add_scalar(f'metrics/{name}/{column}', value, self.iteration)

    def _table(self, name: str) -> Path:
        if self.is_train:
            return Path(self.opt['path']['experiments_root'], 'metrics', f'{name}_{self.iteration}.csv')
        return Path(self.opt['path']['results_root'], f'{name}.csv')

    def lacks_validation(self, name: str) -> bool:
        """Whether a resumed run was stopped before it finished the validation of this data set."""
        return not self._table(name).exists()

    def _is_best(self, name: str, averages: dict[str, float]) -> bool:
        """Whether the first metric on the first validation set is better than the record."""
        first = next(opt['name'] for key, opt in self.opt['datasets'].items() if key.startswith('val'))
        metric = next(iter(self._record.lower_better), None)
        return name == first and metric in self._record.better(name, averages)

    def _summary(self, name: str, summed: Sequence[ResultRow], averages: dict[str, float]) -> str:
        mean = next(row for row in summed if row.clip == MEAN)
        clips = sum(row.is_clip and row.run.method == mean.run.method for row in summed)
        lines = [f'\t # {column}: n/a' for column, value in mean.values.items() if value is None]
        for column, value in averages.items():
            best = self._record.values.get(name, {}).get(column)
            note = f' (best {best["value"]:.4f} at {best["iteration"]})' if best and self.is_train else ''
            lines.append(f'\t # {column}: {value:.4f}{note}')
        return '\n'.join([f'Validation {name}, {clips} clips, {mean.frames} frames', *sorted(lines)])


def _strip(frame: EvaluatedFrame) -> np.ndarray:
    """Input, result and ground truth side by side, (h, w, 3) uint8 RGB."""
    images = [image for image in (frame.degraded, frame.restored, frame.truth) if image is not None]
    return np.concatenate(images, 1)[..., ::-1]


def _averages(summed: Sequence[ResultRow]) -> dict[str, float]:
    """Means by column of the network (the first method) and, as `<column>_input`, of its input."""
    means = [row for row in summed if row.clip == MEAN]
    inputs = [row for row in means if row.run.method == DEGRADED]
    return {f'{column}{ending}': value for rows, ending in ((means, ''), (inputs, '_input'))
            for row in rows[:1] for column, value in row.values.items() if value is not None}


def _gather(measured: _DataSetScores, processes: int) -> _DataSetScores:
    parts: list[Any] = [measured]
    if processes > 1:
        parts *= processes
        dist.all_gather_object(parts, measured)
    return _DataSetScores.joined(parts)
