"""Compares methods at an equal budget: `python scripts/compare.py --help`."""
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, which would hide the package

from gavn.cli.compare import main  # noqa: E402

if __name__ == '__main__':
    sys.exit(main())
