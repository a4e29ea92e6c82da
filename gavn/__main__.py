"""`python -m gavn`: the command `gavn`."""
import sys

from gavn.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
