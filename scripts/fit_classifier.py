"""Fits the degradation classifier of `gavn restore --task auto` on a prepared data set (see --help).

    python scripts/fit_classifier.py --data datasets/pretraining --out gavn/restoration/degradation.json

Trains on the training split, chooses thresholds on held-out speakers, and prints results of the validation
split. The same data give the same numbers.
"""
import argparse
from pathlib import Path

from gavn.experiments.release.classifier_features import collect_features, read_speakers
from gavn.experiments.release.classifier_fit import decision_table, fit_with_thresholds
from gavn.restoration.degradation import NUMBERS, DegradationClassifier


def main() -> None:
    """Reads the arguments, fits, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, required=True, help='a prepared data set with mixed layers')
    parser.add_argument('--out', type=Path, default=NUMBERS, help='the numbers to write (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the degradations (%(default)s)')
    parser.add_argument('--workers', type=int, default=1, help='processes (%(default)s)')
    args = parser.parse_args()
    samples = {split: collect_features(args.data, split, count, args.seed, args.workers)
               for split, count in (('train', 4), ('val', 8))}
    model, report = fit_with_thresholds(samples['train'], read_speakers(args.data))
    print(report)
    model.write(args.out)
    for split, title in (('val', 'speakers that were not trained on'), ('train', 'speakers trained on')):
        print(f'\n{title}\n' + decision_table(samples[split], DegradationClassifier.read(args.out)))


if __name__ == '__main__':
    main()
