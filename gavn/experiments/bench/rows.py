"""A row of the benchmark, and derived figures."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

RATE = 25  # frames per second of a stream
EDVR_M, BASICVSRPP = 'EDVR-M', 'BasicVSR++'
STOCK = ('stock', 'fp32', 'one window')  # form, precision and schedule of the baseline


@dataclass(frozen=True)
class BenchRow:
    """What was measured; a cell without a measurement is None."""

    kind: str  # `network`, `ceiling`, `deformable`, `training`, `loader` or `memory`
    name: str  # of what was measured
    device: str  # `cpu` or `cuda`
    # `stock` (planes, torchvision's deformable convolution, one alignment after the other), `gavn`
    # (channels-last, our choice), `triton` (that with our fused kernels), `compiled` (`gavn` through
    # torch.compile) or `triton, compiled`
    form: str
    precision: str  # `fp32`, `tf32` or `bf16`
    schedule: str  # how a clip is cut for the network, or what was done
    ms: float  # median milliseconds: of networks for one frame that comes out, else of one call
    spread: float  # half the distance of the quartiles, in percent of the median
    calls: int  # how many were timed
    # output frames, steps or samples (of ceilings 10^9 bytes or operations) in a second
    per_second: float | None = None
    memory_mib: float | None = None  # at the peak, see `timing.peak_mib`; of videos all of a process
    parameters: int | None = None  # parameter count
    gmacs: float | None = None  # GMACs per output frame, of one window
    streams: float | None = None  # streams of 25 frames a second that the device serves
    # to_edvr_m, to_basicvsrpp: speedup over the stock form of these
    to_edvr_m: float | None = None
    to_basicvsrpp: float | None = None
    of_matrix_rate: float | None = None  # operations, in percent of what matrix products reach
    waited: float | None = None  # percentage of the time of training that goes by while there is no batch


COLUMNS = tuple(field.name for field in fields(BenchRow))


def no_figure(what: str, error: Exception) -> str:
    """Says why there is no row, in a line."""
    return f'{what}: no figure ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ""})'


def find(rows: Sequence[BenchRow], kind: str, name: str, *case: str) -> BenchRow | None:
    """The row of a name whose form, precision and schedule begin with `case`."""
    for row in rows:
        same = (row.form, row.precision, row.schedule)[:len(case)] == case
        if same and (row.kind, row.name) == (kind, name):
            return row
    return None


def complete(rows: Sequence[BenchRow]) -> list[BenchRow]:
    """Adds figures that need all rows: streams, ratios to peers, shares of the limits."""
    return [_complete(row, rows) if row.kind == 'network' else row for row in rows]


def _complete(row: BenchRow, rows: Sequence[BenchRow]) -> BenchRow:
    matrix = find(rows, 'ceiling', 'matrix product', '', row.precision)
    return replace(
        row, streams=1000 / row.ms / RATE,
        to_edvr_m=_times(find(rows, 'network', EDVR_M, *STOCK), row),
        to_basicvsrpp=_times(find(rows, 'network', BASICVSRPP, *STOCK), row),
        of_matrix_rate=_share(row.gmacs and 2 * row.gmacs, row.ms, matrix))


def _times(peer: BenchRow | None, row: BenchRow) -> float | None:
    return None if peer is None else peer.ms / row.ms


def _share(amount: float | None, ms: float, ceiling: BenchRow | None) -> float | None:
    if amount is None or ceiling is None or ceiling.per_second is None:
        return None
    return 100 * amount / (ms / 1000) / ceiling.per_second
