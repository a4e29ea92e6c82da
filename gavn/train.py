"""Trains a network with basicsr's own pipeline: `python gavn/train.py -opt options/train_gavn_car.yml`."""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Runs `gavn train` with the arguments of the command line; returns its exit code."""
    from gavn.cli.main import main as run
    return run(['train', *sys.argv[1:]])


if __name__ == '__main__':
    # without this file's own folder, where `data`, `models` ... would hide packages of those names
    sys.path[:] = [str(ROOT), *(folder for folder in sys.path if Path(folder).resolve() != ROOT / 'gavn')]
    sys.exit(main())
