"""Bundles, measures and describes the pretrained weights of gavn.

    python scripts/release.py mixed=options/pretrained/train_gavn_mixed.yml deblur=...

Run it in the folder with the trainings in experiments/. Without NAME=OPTIONS.yml it measures and describes
the weights in gavn/weights. `--layers` and `--methods` measure a part and keep the other rows. Other methods
(SPAN, Real-ESRGAN, FFmpeg's spp) need `pip install -c constraints.txt -e '.[peers]'`.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gavn.checkpoints import pretrained
from gavn.experiments.release import card
from gavn.experiments.release.measure import ALL_LAYERS, ALL_METHODS, CONTROLS, measure
from gavn.metrics.results_file import read_results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('made', nargs='*', metavar='NAME=OPTIONS.yml',
                        help=f'of {", ".join(pretrained.WHAT)}')
    parser.add_argument('--data', default='datasets/pretraining', help='the data set to measure on')
    parser.add_argument('--frames', type=int, help='of each clip (default: all)')
    parser.add_argument('--layers', nargs='*', choices=ALL_LAYERS, default=ALL_LAYERS,
                        help='degradations to measure (default: all)')
    parser.add_argument('--methods', nargs='*', choices=(*ALL_METHODS, *CONTROLS), default=ALL_METHODS,
                        help='methods to measure (default: all but the controls, weights without the '
                             'neighbouring frames or without the audio)')
    return parser.parse_args()


def main() -> None:
    """Bundles the named weights, measures the selection, and writes the cards."""
    args = _arguments()
    for one in args.made:
        name, _, options = one.partition('=')
        print(f'wrote {card.bundle(name, options)}')
    results = measure(args.data, args.layers, args.methods, args.frames)
    print(f'wrote {results}')
    for name in pretrained.list_pretrained():
        print(f'wrote {card.write_card(name)}')
    print(card.table(read_results(results), ALL_METHODS, ['psnr']))


if __name__ == '__main__':
    main()
