"""The measurements of a device, row by row."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch

from gavn.experiments.bench import memory, networks, operators, training
from gavn.experiments.bench.networks import BenchCase, BenchNetwork
from gavn.experiments.bench.rows import BenchRow, no_figure
from gavn.models import cost
from gavn.restoration.model_spec import GENERATOR, ModelSpec


@dataclass(frozen=True)
class BenchPlan:
    """What to measure."""

    frames: int  # of the clip that networks run over
    batch: int  # windows at a time, if a schedule has several
    size: int  # side of frames in pixels
    seconds: float  # per measurement
    cases: tuple[BenchCase, ...]  # how each network is run
    deformable: tuple[int, ...]  # batches of deformable convolution
    # windows of a training step, and the side of their frames. None: no training step.
    step: tuple[int, int] | None
    workers: tuple[int, ...]  # of the loader
    workers_of_steps: int | None = None  # workers during training steps. None: no such steps.
    minutes: tuple[float, ...] = ()  # lengths of restored videos; () for none
    # more forms of the last case, by network
    further: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions of the cases, each once."""
        return tuple(dict.fromkeys(case.precision for case in self.cases))

    def compiling(self, names: Iterable[str]) -> BenchPlan:
        """The same plan with these networks also compiled."""
        forms = {name: (*self.further.get(name, ()), networks.COMPILED) for name in names}
        return replace(self, further={**self.further, **{name: tuple(dict.fromkeys(of_one))
                                                         for name, of_one in forms.items()}})


PLAIN = BenchCase('stock', 'fp32', 'one window')
WORKERS = 8  # as in options/train_gavn_car.yml
FORMS = {  # on a GPU
    networks.PRETRAINED: (networks.TRITON,),
    networks.GAVN_64: (networks.TRITON, networks.COMPILED, f'{networks.TRITON}, {networks.COMPILED}'),
}
VIDEO_MINUTES = {'cpu': (2, 40), 'cuda': (2, 10)}  # short on a GPU, whose time is expensive


def plan_for(device: str, quick: bool = False, bfloat16: bool = True) -> BenchPlan:
    """The plan of a kind of device. `quick` has fewer cases, no loader and no videos.

    Without `bfloat16` nothing is computed in this precision.
    """
    schedules = networks.SCHEDULES
    half = ('bf16',) if bfloat16 else ()
    if device == 'cuda':
        own = [BenchCase('gavn', precision, schedule) for precision in ('fp32', 'tf32', *half)
               for schedule in schedules]
        if quick:
            return BenchPlan(48, 16, 224, 0.2, (PLAIN, own[-1]), (1, 48), (8, 224), (),
                             further={networks.GAVN_64: (networks.TRITON,)})
        return BenchPlan(48, 16, 224, 0.5, (PLAIN, *own), (1, 48), (8, 224), (0, 2, 4, 8), WORKERS,
                         VIDEO_MINUTES[device], FORMS)
    own = [BenchCase('gavn', 'fp32', schedules[0]), *(BenchCase('gavn', precision, schedules[-1])
                                                      for precision in ('fp32', *half))]
    if quick:
        return BenchPlan(8, 1, 224, 1., (PLAIN, *own[1:]), (1,), None, ())
    return BenchPlan(8, 1, 224, 2., (PLAIN, *own), (1,), (1, 64), (0, 2), 1, VIDEO_MINUTES[device])


def measure_plan(plan: BenchPlan, specs: Mapping[str, ModelSpec], device: torch.device) -> Iterator[BenchRow]:
    """Yields the rows of a plan as soon as they are measured; limits first, since others refer to them."""
    yield from operators.device_limits(device, plan.precisions, min(plan.seconds, 1.))
    for name, spec in specs.items():
        yield from _network_rows(plan, name, spec, device)
    yield from operators.deformable(device, plan.deformable, plan.seconds)
    if plan.step:
        yield from training.steps(device, *plan.step, plan.seconds)
    if plan.step and plan.workers_of_steps is not None:
        try:
            yield training.time_steps_with_loader(device, *plan.step, 4 * plan.seconds, plan.workers_of_steps)
        except RuntimeError as error:
            print(no_figure('training beside the loader', error), flush=True)
    if plan.workers:
        yield from training.time_loading(plan.size, plan.workers, plan.seconds)
    yield from memory.videos(plan.minutes)


def _network_rows(plan: BenchPlan, name: str, spec: ModelSpec, device: torch.device) -> Iterator[BenchRow]:
    subjects: dict[str, BenchNetwork] = {}
    gmacs: float | None = None
    for case in _cases(plan, name, spec):
        if case.form not in subjects:
            subjects = {case.form: networks.prepare(name, spec, device, plan.size, case.form, plan.batch)}
        subject = subjects[case.form]
        gmacs = gmacs or cost.gmacs(
            subject.network, subject.inputs, subject.layout, device, subject.detector, plan.size)
        try:
            yield networks.time_network(subject, case, plan.frames, plan.seconds, gmacs)
        except RuntimeError as error:  # too little memory, or no compiler: the other rows are still useful
            print(no_figure(f'{name}, {case.form}, {case.precision}, {case.schedule}', error), flush=True)
        if networks.COMPILED in case.form:
            torch.compiler.reset()  # frees the memory of graphs, whose number is limited


def _cases(plan: BenchPlan, name: str, spec: ModelSpec) -> list[BenchCase]:
    """Cases of a network: only GAVN reuses features; slow networks have the first and the last case."""
    cases = [plan.cases[0], plan.cases[-1]] if name in networks.SLOW else plan.cases
    cases = [*cases, *(replace(cases[-1], form=form) for form in plan.further.get(name, ()))]
    if spec.networks[GENERATOR]['type'] != 'GAVN':
        cases = [replace(case, schedule='windows batched') if case.schedule == 'features once' else case
                 for case in cases]
    return list(dict.fromkeys(cases))
