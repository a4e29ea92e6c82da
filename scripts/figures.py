"""Draws the paper's figures 5 to 7 from images of test runs, and curves of results.

    python scripts/figures.py compare --data datasets/many_speakers --degradation car_crf45 blur sr \\
        --clips SPEAKER/CLIP --runs EDVR=results/test_edvr_{task} GAVN=results/test_gavn_{task} -o faces.png
    python scripts/figures.py curves EDVR=experiments/train_edvr_car GAVN=experiments/train_gavn_car -o c.png
    python scripts/figures.py levels results/*/*.csv -o levels.pdf
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # works without installation

from gavn.experiments.report.curves import levels_figure, read_curve, training_figure  # noqa: E402
from gavn.experiments.report.drawing import check_path, save  # noqa: E402
from gavn.experiments.report.faces import ImagePart, ImageSource, combine, faces_figure  # noqa: E402
from gavn.experiments.report.layout import LEVELS  # noqa: E402
from gavn.experiments.report.results import ReportError, collect  # noqa: E402
from gavn.metrics.table import COLUMNS  # noqa: E402
from gavn.runtime.exit_codes import guarded  # noqa: E402


def compare(args: argparse.Namespace) -> None:
    """Faces and their details side by side."""
    source = ImageSource(Path(args.data), dict(args.runs), args.eyes and ImagePart(*args.eyes),
                         args.mouth and ImagePart(*args.mouth))
    rows = [source.row(*row) for row in combine(args.degradation, args.clips, args.frames)]
    save(faces_figure(rows), args.out)


def curves(args: argparse.Namespace) -> None:
    """A metric of validation over iterations and minutes."""
    found = {name: read_curve(Path(folder), args.set, args.metric) for name, folder in args.runs}
    save(training_figure(found, args.metric), args.out)


def levels(args: argparse.Namespace) -> None:
    """PSNR over levels of degradation."""
    results = collect(args.results)
    datasets = [args.dataset] if args.dataset else results.datasets(LEVELS)
    if len(datasets) > 1:
        raise ReportError(f'there are results on {", ".join(datasets)}: say which to show (--dataset)')
    save(levels_figure(results, next(iter(datasets), 'these data')), args.out)


def _named(text: str) -> tuple[str, str]:
    name, _, folder = text.partition('=')
    if not name or not folder:
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=FOLDER')
    return name, folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest='kind', required=True, metavar='KIND')
    faces = kinds.add_parser('compare', help='faces side by side, eyes and mouth enlarged')
    faces.add_argument('--data', required=True, metavar='DIR', help='data set folder')
    faces.add_argument('--degradation', nargs='+', default=[''], metavar='LAYER',
                       help='of the input, one for all rows or one for each (default: none, for videos '
                            'without a ground truth)')
    faces.add_argument('--clips', nargs='+', required=True, metavar='CLIP', help='one for all rows or each')
    faces.add_argument('--frames', nargs='+', type=int, default=[], metavar='N',
                       help='one for all rows or for each (default: with the widest open mouth)')
    faces.add_argument('--runs', nargs='+', type=_named, required=True, metavar='NAME=DIR',
                       help='folders of tests with val.save_img; {task} is replaced by car, deblur or sr')
    for part in ('eyes', 'mouth'):
        faces.add_argument(f'--{part}', nargs=4, type=int, metavar=('LEFT', 'TOP', 'WIDTH', 'HEIGHT'),
                           help='box in pixels (default: from landmarks)')
    faces.set_defaults(draw=compare)
    lines = kinds.add_parser('curves', help='validation over iterations and minutes')
    lines.add_argument('runs', nargs='+', type=_named, metavar='NAME=DIR', help='folders of trainings')
    lines.add_argument('--set', metavar='NAME', help='of validation, where there are several')
    lines.add_argument('--metric', default='psnr', choices=COLUMNS, metavar='METRIC', help='default: psnr')
    lines.set_defaults(draw=curves)
    swept = kinds.add_parser('levels', help='PSNR over levels of degradation (table 2)')
    swept.add_argument('results', nargs='+', metavar='CSV', help='files of results')
    swept.add_argument('--dataset', metavar='NAME', help='where there are several')
    swept.set_defaults(draw=levels)
    for kind in (faces, lines, swept):
        kind.add_argument('-o', '--out', required=True, metavar='FILE', help='.png, .pdf or .svg')
    return parser


def main() -> int:
    """Parses the command line and draws; returns the exit code."""
    args = _parser().parse_args()

    def draw() -> None:
        check_path(args.out)
        args.draw(args)
        print(f'wrote {args.out}')

    return guarded(draw)


if __name__ == '__main__':
    sys.exit(main())
