"""Trains a network with basicsr's own pipeline: `python gavn/train.py -opt options/train_gavn_car.yml`."""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Trains as the command line says."""
    from gavn.cli.pipeline import run_pipeline
    run_pipeline('train')


if __name__ == '__main__':
    # without this file's own folder, where `data`, `models` ... would hide packages of those names
    sys.path[:] = [str(ROOT), *(folder for folder in sys.path if Path(folder).resolve() != ROOT / 'gavn')]
    main()
