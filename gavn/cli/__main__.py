"""`python -m gavn.cli`: the command `gavn`."""
import sys

from gavn.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
