"""What a step of stage 2 takes, as written plainly and as the option files ask for it."""
from __future__ import annotations

from collections.abc import Iterator

import torch

from gavn.benchmark.networks import GAVN_64, RECIPES, Case, computing, prepare
from gavn.benchmark.rows import Row
from gavn.benchmark.timing import measure, peak_mib
from gavn.models.cost import parameters
from gavn.pipeline.recipe import Recipe

PLAIN, OURS = Case('stock', 'fp32', 'step'), Case('gavn', 'bf16', 'step')
_EPS = 1e-6  # of the Charbonnier loss


def steps(device: torch.device, batch: int, size: int, seconds: float, name: str = GAVN_64,
          recipe: Recipe | None = None) -> Iterator[Row]:
    """A step (forward, loss, backward, Adam) of the whole network: plain, then bf16 and channels-last.

    Ours also takes the fused Adam. Landmarks are given; noise stands in for faces.
    """
    for case in (PLAIN, OURS):
        yield _time_step(case, name, recipe or RECIPES[name], device, batch, size, seconds)


def _time_step(case: Case, name: str, recipe: Recipe, device: torch.device, batch: int, size: int,
               seconds: float) -> Row:
    subject = prepare(name, recipe, device, size, case.form)
    network, layout = subject.network.train().requires_grad_(), subject.layout
    adam = torch.optim.Adam(network.parameters(), lr=1e-4, fused=case.form == 'gavn')
    clips = [torch.utils.data.default_collate(subject.clip(layout.inputs)) for _ in range(batch)]
    windows = torch.utils.data.default_collate(clips)
    inside = slice(layout.context, layout.context + layout.outputs)
    given = {key: value if key == 'lq' else value[:, inside] for key, value in windows.items()}
    truth = torch.rand_like(windows['lq'][:, inside])

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=case.precision == 'bf16'):
            restored = subject.forward(given)
        ((restored.float() - truth).square() + _EPS).sqrt().mean().backward()
        adam.step()

    with computing(device, Case(case.form, 'fp32', '')):
        memory, timing = peak_mib(step, device), measure(step, device, seconds)
    return Row('training', f'{name}, {batch} x {layout.inputs} x {size}', device.type, case.form,
               case.precision, case.schedule, timing.ms, timing.spread, timing.calls, 1000 / timing.ms,
               memory, parameters(network))
