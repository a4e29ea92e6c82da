"""Validation over data sets of whole clips: rows, averages, the best weights; `gavn/test.py` runs it too."""
import csv
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch.distributed as dist
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import get_dist_info
from torch.utils.data import DataLoader
from tqdm import tqdm

from gavn.metrics.evaluate import average, measures_of
from gavn.models.best import BestRecord
from gavn.models.clip_runner import ClipRunner, Keeping, validate_clip
from gavn.utils.files import atomic_path
from gavn.utils.option_file import building
from gavn.utils.option_sections import ClipValOptions

_BAR = '{l_bar}{bar}| {n:.1f}/{total} clips [{elapsed}<{remaining}]'


class ClipValidation:
    """The half of a model that validates; the other half has the networks (see `AVVideoModel`)."""

    ValOptions = ClipValOptions  # what `val` may hold

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        with building('val.metrics'):
            measures_of(self._metrics)  # now, not at the first validation

    def validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any,
                   save_img: bool = False) -> None:
        """Restores every clip of an AVVideoDataset, measures it and keeps what `val` asks for.

        Processes share the clips. Rows go to `<experiment>/metrics/<set>_<iteration>.csv` when training, to
        `<results>/<set>.csv` when testing; pictures and videos into the folder `visualization`. The weights
        with the best first metric on the first validation set are kept as `net_g_best.pth` and, with all
        that restoring needs, `restore_best.safetensors`. What was just validated is not validated again.
        """
        data_set = dataloader.dataset
        name = data_set.opt['name']
        if self.is_train and self._validated.get(name) == self.iteration:
            return
        self._validated[name] = self.iteration
        folder = Path(self.opt['path']['visualization'], name)
        keeping = Keeping(folder / str(self.iteration) if self.is_train else folder, save_img,
                          self.opt['val'].get('save_video', ClipValOptions.save_video))
        rows = self._rows(data_set, keeping)
        if get_dist_info()[0] == 0:
            self._report(name, rows, tb_logger)

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

    def _rows(self, data_set: Any, keeping: Keeping) -> list[dict[str, Any]]:
        """One row per clip, in the order of the data set, on every process."""
        rank, processes = get_dist_info()
        network = self._judged_network()
        was_training = network.training
        network.eval()
        runner = ClipRunner(network, self.layout, self.inputs, self.device, self.net_l, self._switches())
        shown = rank == 0 and self.opt['val'].get('pbar', ClipValOptions.pbar)
        with tqdm(total=len(data_set), bar_format=_BAR, desc=data_set.opt['name'],
                  disable=None if shown else True) as bar:
            rows = {}
            for index in range(rank, len(data_set), processes):
                clip = data_set.clip(index)
                part = min(processes, len(data_set) - index + rank) / clip.n_frames
                rows[index] = validate_clip(runner, clip, self._metrics, keeping, partial(bar.update, part))
        network.train(was_training)
        return _gathered(rows, processes)

    def _report(self, name: str, rows: Sequence[dict[str, Any]], tb_logger: Any) -> None:
        averages, path = average(rows), self._table(name)
        if self.is_train and self._is_best(name, averages):
            self._save_networks('best')
            self.save_restorer('best')
        self._record.update(name, averages, self.iteration)  # after the files that it vouches for
        _write_csv(path, [*rows, {'clip': 'average', **averages}])  # last: see lacks_validation
        get_root_logger().info(f'{self._summary(name, len(rows), averages)}\n\tclip by clip: {path}')
        if tb_logger is not None:
            for column in averages.keys() - {'frames'}:
                tb_logger.add_scalar(f'metrics/{name}/{column}', averages[column], self.iteration)

    def _table(self, name: str) -> Path:
        if self.is_train:
            return Path(self.opt['path']['experiments_root'], 'metrics', f'{name}_{self.iteration}.csv')
        return Path(self.opt['path']['results_root'], f'{name}.csv')

    def lacks_validation(self, name: str) -> bool:
        """Whether a run that resumes at this iteration was stopped while it validated this data set."""
        return not self._table(name).exists()

    def _is_best(self, name: str, averages: dict[str, float]) -> bool:
        """Whether the first metric on the first validation set is better than ever before."""
        first = next(opt['name'] for key, opt in self.opt['datasets'].items() if key.startswith('val'))
        metric = next(iter(self._metrics), None)
        return name == first and metric in self._record.better(name, averages)

    def _summary(self, name: str, clips: int, averages: dict[str, float]) -> str:
        lines = [f'Validation {name}, {clips} clips, {averages["frames"]} frames']
        for column in averages.keys() - {'frames'}:
            best = self._record.values.get(name, {}).get(column)
            note = f' (best {best["value"]:.4f} at {best["iteration"]})' if best and self.is_train else ''
            lines.append(f'\t # {column}: {averages[column]:.4f}{note}')
        return '\n'.join([lines[0], *sorted(lines[1:])])


def _gathered(rows: dict[int, dict[str, Any]], processes: int) -> list[dict[str, Any]]:
    if processes > 1:
        parts: list[Any] = [None] * processes
        dist.all_gather_object(parts, rows)
        rows = {index: row for part in parts for index, row in part.items()}
    return [rows[index] for index in sorted(rows)]


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with atomic_path(path) as part, part.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
