"""`gavn export`: a network as a file for onnxruntime, or for PyTorch without gavn."""
from __future__ import annotations

import argparse
from pathlib import Path

from gavn.errors import check_weights
from gavn.runtime.arguments import whole

FORMS = ('onnx', 'torchscript')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument('form', choices=FORMS, help='onnx (needs the extra [export]) or torchscript')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--task', default='mixed', metavar='NAME',
                       help='weights that come with gavn (default mixed; see `gavn models list`)')
    which.add_argument('--weights', metavar='BUNDLE', help='a bundle of your own, see `gavn bundle`')
    parser.add_argument('--import', dest='modules', nargs='+', default=[], metavar='MODULE',
                        help='with --weights of a network of your own: the module that registers it')
    parser.add_argument('--size', type=whole(1), default=224, metavar='PIXELS',
                        help='height and width of the face crops (default 224); any number of windows')
    parser.add_argument('-o', '--output', type=Path, metavar='FILE',
                        help='default: gavn_TASK.onnx or .pt in this folder')
    parser.add_argument('--force', action='store_true', help='replace an existing output')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Writes the file, checks it against the networks, and says by how much it differs."""
    check_weights(args.weights)
    from gavn.checkpoints.pretrained import weights_of
    from gavn.restoration.export import CHECKED, FORMATS, export, input_names
    from gavn.restoration.model_spec import import_modules
    from gavn.restoration.output_path import check_target
    from gavn.restoration.restorer import Restorer
    weights = args.weights or weights_of(args.task)
    target = args.output or Path(f'gavn_{Path(weights).stem}{FORMATS[args.form]}')
    check_target(weights, target, args.force)
    import_modules(args.modules)
    restorer = Restorer.load(weights, device='cpu')
    if args.form == 'onnx':
        print('exporting to ONNX takes a minute or two', flush=True)
    worst = export(restorer, target, args.form, args.size)
    windows = ' and '.join(map(str, CHECKED))
    print(f'wrote {target}: {", ".join(input_names(restorer))} -> restored, any number of windows; with '
          f'{windows} windows it differs by at most {worst:.1e}')
