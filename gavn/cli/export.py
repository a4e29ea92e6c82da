"""`gavn export`: exports a network to ONNX or TorchScript."""
from __future__ import annotations

import argparse
from pathlib import Path

from gavn.runtime.arguments import whole
from gavn.runtime.input_checks import check_weight_file

FORMS = ('onnx', 'torchscript')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('form', choices=FORMS, help='onnx (requires the extra [export]) or torchscript')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--task', default='mixed', metavar='NAME',
                       help='pretrained weights (default mixed; see `gavn models list`)')
    which.add_argument('--weights', metavar='BUNDLE', help='your own bundle; see `gavn bundle`')
    parser.add_argument('--import', dest='modules', nargs='+', default=[], metavar='MODULE',
                        help='modules that register your own network for --weights')
    parser.add_argument('--size', type=whole(1), default=224, metavar='PIXELS',
                        help='height and width of the face crops (default 224)')
    parser.add_argument('-o', '--output', type=Path, metavar='FILE',
                        help='default: gavn_TASK.onnx or .pt in the current folder')
    parser.add_argument('--force', action='store_true', help='replace an existing output')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Exports the network and prints the largest difference of the results."""
    check_weight_file(args.weights)
    from gavn.checkpoints.pretrained import weights_of
    from gavn.restoration.export import CHECKED, FORMATS, export, input_names
    from gavn.restoration.model_spec import import_modules
    from gavn.restoration.output_path import check_output_path
    from gavn.restoration.restorer import Restorer
    weights = args.weights or weights_of(args.task)
    target = args.output or Path(f'gavn_{Path(weights).stem}{FORMATS[args.form]}')
    check_output_path(weights, target, args.force)
    import_modules(args.modules)
    restorer = Restorer.load(weights, device='cpu')
    if args.form == 'onnx':
        print('exporting to ONNX takes up to three minutes', flush=True)
    largest = export(restorer, target, args.form, args.size)
    windows = ' and '.join(map(str, CHECKED))
    print(f'wrote {target}: {", ".join(input_names(restorer))} -> restored, dynamic batch size; largest '
          f'difference with batches of {windows}: {largest:.1e}')
