"""Compares methods at an equal budget: as `gavn compare` (see --help)."""
import sys

from gavn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['compare', *sys.argv[1:]]))
