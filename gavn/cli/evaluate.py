"""`gavn evaluate`: measures the quality of restored videos."""
from __future__ import annotations

import argparse
from pathlib import Path

from gavn.runtime.input_checks import check_inputs, check_weight_file

METRICS = ('psnr', 'ssim', 'psnr_y', 'ssim_y', 'ms_ssim', 'lpips', 'niqe', 'sync', 'warp', 'id')
WEIGHT_FILES = ('syncnet', 'alexnet')
DESCRIPTION = """\
Measures restored videos and, if they are given, their input and the ground truth.

Frames are compared one by one and whole. RESTORED, TRUTH and LQ are matched by name without extension, and
must have the same number of frames of the same size. Sync_c and Sync_d need square face crops: use
--crop-face for other videos; it crops the images of all metrics to the face. Both resample the video to 25
frames per second by time, and use the audio of RESTORED (of TRUTH if it has none). A metric that cannot be
computed is n/a, and the column notes has the reason. A metric in --metrics without weights is an error."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = DESCRIPTION
    parser.epilog = f'metrics: {", ".join(METRICS)} (sync: Sync_c and Sync_d)'
    parser.add_argument('restored', metavar='RESTORED', type=Path,
                        help='a video, an image folder, or a folder of these')
    parser.add_argument('--reference', metavar='TRUTH', type=Path, help='the ground truth of the same clips')
    parser.add_argument('--degraded', metavar='LQ', type=Path, help='the degraded input of the same clips')
    parser.add_argument('--metrics', nargs='+', choices=METRICS, metavar='NAME',
                        help='see below (default: all that apply, except id)')
    parser.add_argument('--method', type=_method, default='restored', metavar='NAME',
                        help='name of the method in the results')
    parser.add_argument('--dataset', metavar='NAME', help='in the results (default: the folder of RESTORED)')
    parser.add_argument('--degradation', default='', metavar='LAYER',
                        help='degradation of LQ as in tables 1 to 3: car_crf45, blur, sr_x8 ... '
                             '(default: none, for real-world videos as in table 4)')
    parser.add_argument('--crop-face', action='store_true',
                        help='measure 224x224 face crops, tracked in TRUTH, else LQ, else RESTORED')
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1 ...')
    parser.add_argument('--weights', nargs='+', type=_named_file, default=[], metavar='NAME=FILE',
                        help='syncnet=FILE, alexnet=FILE (default: from `gavn models fetch`)')
    parser.add_argument('-o', '--output', default='results.csv', type=Path, metavar='FILE.csv',
                        help='a row per clip, means and standard deviations (default results.csv)')
    parser.add_argument('--force', action='store_true', help='replace an existing output')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measures all clips, prints a summary and writes the results."""
    check_inputs((args.restored, args.reference, args.degraded))
    for _, file in args.weights:
        check_weight_file(file)
    from gavn.cli.evaluate_clips import choose, evaluate_all, gather, summary
    from gavn.metrics.results_file import RunInfo, write_results
    from gavn.restoration.output_path import check_output_path
    from gavn.runtime.devices import find_device
    check_output_path(args.restored, args.output, args.force)
    folder, clips = gather(args.restored, args.reference, args.degraded)
    device = find_device(args.device)
    metrics = choose(args.metrics, args.reference is not None, dict(args.weights), device)
    info = RunInfo(args.dataset or folder, args.degradation, args.method)
    rows = evaluate_all(clips, info, metrics, args.crop_face)
    print(summary(write_results(args.output, rows)))
    print(f'wrote {args.output}: {len(clips)} clip{"s" * (len(clips) != 1)}')


def _method(text: str) -> str:
    from gavn.config.sections import check_method
    try:
        return check_method(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _named_file(text: str) -> tuple[str, str]:
    name, equals, file = text.partition('=')
    if name not in WEIGHT_FILES or not equals or not file:
        known = ', '.join(f'{name}=FILE' for name in WEIGHT_FILES)
        raise argparse.ArgumentTypeError(f'{text} is not one of {known}')
    return name, file
