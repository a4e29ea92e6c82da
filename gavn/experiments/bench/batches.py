"""How many windows a training step should take: the smallest batch that is about as fast as any, a window."""
from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from gavn.experiments.bench.networks import TRITON
from gavn.experiments.bench.training import steps
from gavn.restoration.model_spec import GENERATOR, ModelSpec
from gavn.runtime.devices import find_device

_NEAR = 0.9  # of the best rate
_SECONDS = 1.0


class Rate(NamedTuple):
    """Windows a second in steps of `batch` windows, by an operator: triton or the device's default ('')."""

    batch: int
    backend: str
    windows: float


def choose(lines: Iterable[str]) -> Rate | None:
    """The smallest batch near the best rate that `main` has printed so far, by its faster operator."""
    rates = [Rate(*json.loads(line)) for line in lines if line.startswith('[')]
    best = max((rate.windows for rate in rates), default=0)
    near = [rate for rate in rates if rate.windows >= _NEAR * best]
    return min(near, key=lambda rate: (rate.batch, -rate.windows), default=None)


def main(option_file: str, crop: str, *batches: str) -> None:
    """Times training steps of an option file's network and prints a line of JSON for each rate."""
    spec, _ = ModelSpec.read(option_file)
    spec = replace(spec, networks={GENERATOR: spec.networks[GENERATOR]})
    for batch in map(int, batches):
        for row in steps(find_device(), batch, int(crop), _SECONDS, 'network', spec):
            if row.form != 'stock':
                backend = TRITON if row.form == TRITON else ''
                print(json.dumps(Rate(batch, backend, 1000 * batch / row.ms)), flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
