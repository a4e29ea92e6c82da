"""Makes the weights that come with gavn.

    python scripts/ship.py mixed=options/shipped/train_gavn_mixed.yml deblur=...

Run it in the folder whose experiments/ holds the trainings. Without arguments it measures and describes anew
what gavn/weights holds.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gavn.metrics.results_file import read_results
from gavn.shipping import card, make
from gavn.utils import shipped


def main() -> None:
    """Bundles what is named, measures all that is there, and writes the cards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('made', nargs='*', metavar='NAME=OPTIONS.yml', help=f'of {", ".join(shipped.WHAT)}')
    parser.add_argument('--data', default='datasets/shipped', help='the data set that judges them')
    parser.add_argument('--frames', type=int, default=50, help='of each clip')
    args = parser.parse_args()
    for one in args.made:
        name, _, options = one.partition('=')
        print(f'wrote {make.make(name, options)}')
    results = make.measure(args.data, args.frames)
    print(f'wrote {results}')
    for name in shipped.names():
        print(f'wrote {card.write_card(name)}')
    print(card.table(read_results(results), [*shipped.names(), make.AUTO], ['psnr']))


if __name__ == '__main__':
    main()
