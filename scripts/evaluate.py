"""Measures restored videos: `python scripts/evaluate.py RESTORED --reference TRUTH` (see --help)."""
import sys

from gavn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['evaluate', *sys.argv[1:]]))
