"""How fast the networks are on this machine: as `gavn bench`."""
import argparse
import sys
from functools import partial

from gavn.cli.bench import add_arguments
from gavn.runtime.exit_codes import guarded


def main() -> int:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    args = parser.parse_args()
    return guarded(partial(args.run, args))


if __name__ == '__main__':
    sys.exit(main())
