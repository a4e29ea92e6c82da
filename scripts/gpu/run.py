"""Uses a GPU for some minutes: tests, benchmark, and a training that ends on time (docs/training.md)."""
import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # not this folder, which would hide the package

from gavn.experiments.gpu_run import ROOT, GPURun  # noqa: E402
from gavn.runtime.arguments import whole  # noqa: E402


def main() -> int:
    """Parses the command line and runs; 0 where there are weights at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('packed', type=Path, metavar='FILE',
                        help='a data set packed by scripts/gpu/portable_data.py')
    parser.add_argument('-o', '--out', type=Path, default=Path('results/gpu'), metavar='FOLDER',
                        help='of summary.md, weights.safetensors, train.yml, logs.zip (default results/gpu)')
    parser.add_argument('--opt', type=Path, default=ROOT / 'options/pretrained/train_gavn_wide.yml',
                        metavar='FILE.yml', help='option file of the training')
    parser.add_argument('--budget', type=float, default=GPURun.budget, metavar='SECONDS',
                        help='in all (default 570)')
    parser.add_argument('--reserve', type=float, default=GPURun.reserve, metavar='SECONDS',
                        help='of it, for validation and bundling (default 40)')
    parser.add_argument('--step', type=float, default=GPURun.step, metavar='SECONDS',
                        help='for the tests, for the benchmark and to choose the batch (default 60 each)')
    parser.add_argument('--workers', type=whole(1), default=GPURun.workers, metavar='N',
                        help='processes that unpack (default 16)')
    parser.add_argument('--batches', type=whole(1), nargs='+', default=GPURun.batches, metavar='N',
                        help='batch sizes to choose from (default 8 16 32 64)')
    args = parser.parse_args()
    run = GPURun(args.packed.resolve(), args.opt.resolve(), args.out.resolve(), args.budget, args.reserve,
                 args.step, args.workers, args.batches)
    return 0 if run.run() else 1


if __name__ == '__main__':
    sys.exit(main())
