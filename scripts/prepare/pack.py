"""Packs layers of a data set folder into LMDBs, or anew in another form: `pack.py --help`, docs/data.md."""
import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # not this folder, which would hide the package

from gavn.cli.prepare import STORE_HELP, STORES  # noqa: E402
from gavn.data.clip_store import layers_of, pack  # noqa: E402


def main() -> None:
    """Parses the command line and packs."""
    parser = argparse.ArgumentParser(description='Packs the layers of a data set folder into LMDBs.')
    parser.add_argument('root', metavar='ROOT', help='the data set folder')
    parser.add_argument('--layers', nargs='+', metavar='NAME', help='default: all that the folder has')
    parser.add_argument('--store', choices=STORES, help=STORE_HELP)
    args = parser.parse_args()
    there = layers_of(args.root)
    if unknown := sorted(set(args.layers or ()) - set(there)):
        parser.exit(2, f'error: {args.root} has no layer {unknown[0]}, only {", ".join(there) or "none"}\n')
    try:
        for path in pack(args.root, args.layers or there, args.store):
            print(path)
    except (OSError, KeyError, ValueError) as error:
        parser.exit(2, f'error: {error}\n')


if __name__ == '__main__':
    main()
