"""`gavn prepare`: makes a data set folder from raw videos."""
from __future__ import annotations

import argparse

from gavn.errors import ExitCode
from gavn.runtime.arguments import OldName, positive, whole
from gavn.runtime.executors import add_executor_arguments, add_task_arguments
from gavn.runtime.input_checks import check_inputs

# as in gavn.data.landmark_annotator, gavn.data.storage and gavn.faces.geometry, which are slow to import
ANNOTATORS = ('auto', 'dlib', 'face-alignment')
STORES = ('webp', 'png', 'raw')
SIZE = 224
STORE_HELP = ('format of frames in LMDBs: webp (lossless), png (larger and slower) or raw (fastest, 3 times '
              'as large). Default: webp; existing LMDBs keep their format')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.description = 'Makes a data set folder from raw videos.'
    parser.epilog = 'docs/data.md describes the folder and the steps.'
    add = parser.add_argument
    add('--videos', required=True, metavar='DIR', help='folder of raw videos, or the folder of VoxCeleb2')
    add('--out', required=True, metavar='ROOT', help='data set folder to create or complete')
    add('--csv', metavar='FILE', help='table of file, speaker, split; without it, --videos is VoxCeleb2')
    add('--only', default='*', metavar='PATTERN', help='with --csv: only matching files, e.g. "studio/*"')
    add('--known-speakers', action='store_true', help='with --csv: allow a speaker in several splits')
    add('--speakers', nargs=3, metavar='TXT', help='VoxCeleb2: lists of speakers for train, val and test')
    add('--split-by', choices=('speaker', 'video'), default='speaker',
        help='without --csv: speaker reads --videos as VoxCeleb2, video draws splits from all videos '
             '(the second scenario of the paper: one speaker)')
    add('--split-counts', nargs=3, type=whole(0), default=(200, 5, 20), metavar='N',
        help='speakers or videos to draw for train, val and test (default: 200 5 20 speakers, as in the '
             'paper; its second scenario has 150 5 25 videos)')
    add('--clip-counts', nargs=3, type=whole(0), metavar='N',
        help='number of clips to draw for train, val and test, over all speakers (the paper: 4860 297 894)')
    add('--cut', type=positive(), metavar='SECONDS', help='cut videos into clips of this length')
    add('--flat-ids', action='store_true', help='clip names with _ in place of /')
    add('--clips-per-speaker', type=whole(1), metavar='N', help='VoxCeleb2: clips to draw per speaker')
    add('--seed', type=whole(0), default=0, help='seed of all random draws')
    add('--degradations', nargs='*', default=['car', 'blur', 'sr'], metavar='NAME',
        help='layers to write: car, blur, sr, or one level such as car_crf35, blur_k21, sr_x4')
    add('--annotator', choices=ANNOTATORS, default='auto',
        help='finds the 68 landmarks (default: dlib if installed, else face-alignment)')
    add('--teacher', choices=ANNOTATORS, dest='annotator', action=OldName, default=argparse.SUPPRESS,
        help=argparse.SUPPRESS)
    add('--download', action='store_true',
        help='allow face-alignment to download its weights (177 MiB from its author)')
    add('--crop', choices=('auto', 'face', 'none'), default='auto',
        help='auto: crop videos that do not have the size of the crops yet')
    add('--size', type=whole(1), default=SIZE, help='side of the crops in pixels')
    add('--no-lmdb', action='store_true', help='keep the layers as plain files')
    add('--store', choices=STORES, help=STORE_HELP)
    add('--retry', action='store_true', help='process failed videos again')
    add_task_arguments(parser)
    add_executor_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Makes the data set; returns 1 if no clip is usable."""
    check_inputs((args.csv, *(args.speakers or ())))
    from gavn.cli.prepare_clips import prepare_folder
    counts = prepare_folder(args)
    for reason, count in counts.items():
        print(f'{count:6d}  {reason}')
    print(f'{args.out}/report.csv has the result of each video' if counts else 'submitted')
    return ExitCode.OK if counts.get('ok') or args.executor == 'slurm' else ExitCode.FAILED
