"""How fast the networks are on this machine: as `gavn bench`."""
import argparse
import sys
from functools import partial

from gavn.bench import add_arguments
from gavn.exit_codes import guarded


def main() -> int:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    args = parser.parse_args()
    return guarded(partial(args.run, args))


if __name__ == '__main__':
    sys.exit(main())
