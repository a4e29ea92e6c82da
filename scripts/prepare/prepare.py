"""Makes a data set folder of raw videos: `python scripts/prepare/prepare.py --help`."""
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # not this folder, which would hide the package

from gavn.cli.main import main  # noqa: E402

if __name__ == '__main__':
    sys.exit(main(['prepare', *sys.argv[1:]]))
