"""`gavn bench`: measures the speed of networks, training and the data loader on this machine."""
from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from gavn.runtime.arguments import whole

if TYPE_CHECKING:
    import torch

    from gavn.experiments.bench.rows import BenchRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1 ...')
    parser.add_argument('--quick', action='store_true', help='fewer cases: a few minutes on a CPU')
    parser.add_argument('--networks', nargs='+', metavar='NAME',
                        help='networks whose names contain one of these (default: all; on a CPU without '
                             'EDVR-L, D-DBPN and VRT; four with --quick)')
    parser.add_argument('--compile', action='store_true',
                        help='also compile every network, which takes minutes each (on a GPU without --quick '
                             'GAVN-64 is always compiled)')
    parser.add_argument('--opt', nargs='+', default=[], metavar='FILE.yml',
                        help='also measure network_g of option files')
    parser.add_argument('--threads', type=whole(1), metavar='N',
                        help="CPU threads (default: PyTorch's default)")
    parser.add_argument('--size', type=whole(1), default=224,
                        help='frame height and width in pixels (default 224)')
    parser.add_argument('-o', '--output', type=Path, default=Path('results/bench'), metavar='FOLDER',
                        help='folder of bench.csv and bench.md (default results/bench)')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measures row by row, prints each and rewrites the output files."""
    from dataclasses import replace

    import torch

    from gavn.experiments.bench.plan import measure_plan, plan_for
    from gavn.experiments.bench.report import write
    from gavn.experiments.bench.rows import complete
    from gavn.runtime.devices import find_device, has_bfloat16
    if args.threads:
        torch.set_num_threads(args.threads)
    device = find_device(args.device)
    if device.type == 'cuda' and device.index is not None:
        torch.cuda.set_device(device)
    specs = _chosen(args, device.type)
    bfloat16 = has_bfloat16(device)
    plan = replace(plan_for(device.type, args.quick, bfloat16), size=args.size)
    if args.compile:
        plan = plan.compiling(specs)
    heading, rows, files = _heading(device), [], []
    print(f'{heading}: {len(specs)} networks', flush=True)
    if not bfloat16:
        print('no bf16 rows: no instructions for it were found', flush=True)
    for row in measure_plan(plan, specs, device):
        rows.append(row)
        print(_format_row(row), flush=True)
        files = write(args.output, complete(rows), heading, device.type)
    print(f'wrote {", ".join(map(str, files))}')


def _chosen(args: argparse.Namespace, device: str) -> dict:
    from gavn.experiments.bench.networks import QUICK, SLOW, SPECS
    from gavn.restoration.model_spec import GENERATOR, ModelSpec, RestoreError
    if args.networks:
        names = [name for name in SPECS if any(part.lower() in name.lower() for part in args.networks)]
        if not names:
            raise RestoreError(f'there is no network {" or ".join(args.networks)}\n'
                               f'available: {", ".join(SPECS)}')
    elif args.quick:
        names = list(QUICK)
    else:
        names = [name for name in SPECS if device != 'cpu' or name not in SLOW]
    specs = {name: SPECS[name] for name in names}
    for path in args.opt:  # without the landmark detector: landmarks are an input
        spec, _ = ModelSpec.read(path)
        networks = {GENERATOR: spec.networks[GENERATOR]}
        specs[Path(path).stem] = ModelSpec(networks, spec.inputs, spec.window)
    return specs


def _format_row(row: BenchRow) -> str:
    case = ', '.join(filter(None, (row.name, row.form, row.precision, row.schedule)))
    figure = f'{row.ms:.3g} ms ± {row.spread:.0f} % ({row.calls} calls)'
    if row.kind == 'memory':
        figure = f'{row.memory_mib:.0f} MiB peak memory, {row.ms:.3g} ms per frame'
    if row.waited is not None:
        figure += f', {row.waited:.1f} % of the time waiting for data'
    return f'{row.kind:>10}  {case}: {figure}'


def _heading(device: torch.device) -> str:
    import torch
    if device.type == 'cuda':
        return f'{torch.cuda.get_device_name(device)}, torch {torch.__version__}'
    return (f'{platform.machine()} CPU, {torch.get_num_threads()} threads '
            f'({torch.backends.cpu.get_cpu_capability()}), torch {torch.__version__}')
