"""How fast the networks are on this machine: as `gavn bench` (see --help)."""
import sys

from gavn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['bench', *sys.argv[1:]]))
