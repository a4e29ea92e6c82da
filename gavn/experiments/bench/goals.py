"""Target figures beside measured ones."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gavn.experiments.bench.networks import GAVN_64, PRETRAINED
from gavn.experiments.bench.rows import BASICVSRPP, EDVR_M, STOCK, BenchRow, find


@dataclass(frozen=True)
class Goal:
    """A target: device, name, bound, and how rows give the figure."""

    device: str
    what: str
    target: float
    unit: str
    measured: Callable[[Sequence[BenchRow]], float | None]
    at_most: bool = False

    def reached(self, value: float) -> bool:
        """Whether a measured value reaches the target."""
        return value <= self.target if self.at_most else value >= self.target


Figure = Callable[[Sequence[BenchRow]], float | None]


def _fastest(rows: Iterable[BenchRow]) -> BenchRow | None:
    """The fastest of gavn's forms."""
    return min((row for row in rows if row.form != 'stock'), key=lambda row: row.ms, default=None)


def _best(rows: Sequence[BenchRow], name: str, *precision: str) -> BenchRow | None:
    """The fastest of gavn's forms of a network."""
    return _fastest(row for row in rows if (row.kind, row.name) == ('network', name)
                    and (not precision or row.precision in precision))


def _ratio(slow: BenchRow | None, fast: BenchRow | None) -> float | None:
    return None if slow is None or fast is None else slow.ms / fast.ms


def _against(name: str) -> Figure:
    return lambda rows: _ratio(find(rows, 'network', name, *STOCK), _best(rows, GAVN_64))


def _deformable(what: str, batch: int) -> Figure:
    """Time of torchvision over that of the fastest backend."""
    def measured(rows: Sequence[BenchRow]) -> float | None:
        found = [row for row in rows if row.kind == 'deformable' and row.schedule == what
                 and row.name.endswith(f'batch {batch}')]
        stock = find(found, 'deformable', f'torchvision, batch {batch}')
        return _ratio(stock, min(found, key=lambda row: row.ms, default=None))
    return measured


def _training(rows: Sequence[BenchRow]) -> float | None:
    steps = [row for row in rows if row.kind == 'training' and row.waited is None]
    return _ratio(next((row for row in steps if row.form == 'stock'), None), _fastest(steps))


def _growth(rows: Sequence[BenchRow]) -> float | None:
    """Memory of the longest video over that of the shortest."""
    videos = sorted((row.calls, memory) for row in rows
                    if row.kind == 'memory' and (memory := row.memory_mib) is not None)
    return videos[-1][1] / videos[0][1] if len(videos) > 1 else None


def _cell(name: str, column: str, *precision: str) -> Figure:
    return lambda rows: getattr(_best(rows, name, *precision), column, None)


GOALS = (
    Goal('cuda', 'GAVN-64, bf16: ms per output frame', 0.30, 'ms', _cell(GAVN_64, 'ms', 'bf16'),
         at_most=True),
    Goal('cuda', 'GAVN-64, bf16: streams at 25 fps', 130, 'streams', _cell(GAVN_64, 'streams', 'bf16')),
    Goal('cuda', 'deformable convolution, batch 48, forward: against torchvision', 3, 'times',
         _deformable('forward', 48)),
    Goal('cuda', 'deformable convolution, batch 48, forward + backward: against torchvision', 2, 'times',
         _deformable('forward + backward', 48)),
    Goal('cuda', 'GAVN-64 against stock EDVR-M (eager fp32)', 5, 'times', _against(EDVR_M)),
    Goal('cuda', 'GAVN-64 against stock BasicVSR++ (eager fp32)', 1, 'times', _against(BASICVSRPP)),
    Goal('cuda', 'training step of stage 2 against plain fp32 eager', 2, 'times', _training),
    Goal('cuda', 'training of stage 2: time that goes by without a batch', 5, '%',
         lambda rows: next((row.waited for row in rows if row.waited is not None), None), at_most=True),
    Goal('cpu', "GAVN-64 against eager with torchvision's operator", 2.5, 'times', _against(GAVN_64)),
    Goal('cpu', 'the pretrained network: frames a second', 25, 'fps',
         _cell(PRETRAINED, 'per_second')),
    *(Goal(device, 'memory of restoring the long video against the short one', 1.05, 'times', _growth,
           at_most=True) for device in ('cpu', 'cuda')),
)


def judge_goals(rows: Sequence[BenchRow], device: str) -> list[tuple[str, ...]]:
    """Rows (name, target, figure, whether it is reached) for a device; targets without a figure say so."""
    lines: list[tuple[str, ...]] = []
    for goal in GOALS:
        if goal.device != device:
            continue
        value, sign = goal.measured(rows), 'at most' if goal.at_most else 'at least'
        figure = 'not measured' if value is None else f'{value:.3g} {goal.unit}'
        verdict = '' if value is None else ('reached' if goal.reached(value) else 'not reached')
        lines.append((goal.what, f'{sign} {goal.target:g} {goal.unit}', figure, verdict))
    return lines
