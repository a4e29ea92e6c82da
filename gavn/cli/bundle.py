"""`gavn bundle`: packs an option file and checkpoints into one file for `gavn restore --weights`."""
from __future__ import annotations

import argparse

from gavn.config.overlays import add_arguments as add_changes
from gavn.config.overlays import resolve_arguments
from gavn.runtime.input_checks import check_weight_file
from gavn.runtime.project import project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('-opt', required=True, metavar='FILE.yml',
                        help='option file of the training, or the one in the folder of the run')
    parser.add_argument('-o', '--output', required=True, metavar='FILE.safetensors')
    parser.add_argument('--weights', metavar='FILE',
                        help='checkpoint of network_g (default: the latest of the training)')
    parser.add_argument('--landmark-weights', metavar='FILE',
                        help='checkpoint of network_l (default: named in the option file)')
    parser.add_argument('--half', action='store_true', help='store float16 weights: half the size')
    parser.add_argument('--force', action='store_true', help='replace an existing output')
    add_changes(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Writes the bundle."""
    from gavn.restoration.output_path import check_output_path
    options, _ = resolve_arguments(args, project_root())
    check_output_path(args.opt, args.output, args.force)
    check_weight_file(args.weights)
    check_weight_file(args.landmark_weights)
    from gavn.restoration.restorer import Restorer
    restorer = Restorer.from_options(args.opt, args.weights, args.landmark_weights, device='cpu',
                                     options=options)
    restorer.save(args.output, args.half)
    for path, digest in restorer.weights.items():
        print(f'from {path} (sha256 {digest[:12]})')
    print(f'wrote {args.output}')
