"""Packs a data set folder into one small file, or unpacks that (see --help and docs/training.md)."""
import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # not this folder, which would hide the package

from gavn.data.portable import CRF, PackedClip, pack_data_set, unpack_data_set  # noqa: E402
from gavn.runtime.arguments import whole  # noqa: E402


def main() -> None:
    """Parses the command line and packs or unpacks."""
    parser = argparse.ArgumentParser(description='Packs a data set folder into one file, or unpacks it.')
    verbs = parser.add_subparsers(dest='verb', required=True)
    pack = verbs.add_parser('pack', help='ROOT to FILE: HEVC frames, MFCC, landmarks')
    pack.add_argument('root', metavar='ROOT')
    pack.add_argument('file', metavar='FILE')
    pack.add_argument('--train-frames', type=whole(1), metavar='N',
                      help='of each training clip (default: all)')
    pack.add_argument('--val-frames', type=whole(1), metavar='N',
                      help='of each validation clip (default: all)')
    pack.add_argument('--crf', type=float, default=CRF, help=f'of x265 (default {CRF})')
    unpack = verbs.add_parser('unpack', help='FILE to ROOT: raw LMDBs, with degraded layers')
    unpack.add_argument('file', metavar='FILE')
    unpack.add_argument('root', metavar='ROOT')
    unpack.add_argument('--degradations', nargs='*', default=[], metavar='NAME')
    for verb in (pack, unpack):
        verb.add_argument('--workers', type=whole(1), default=1, metavar='N', help='processes')
    args = parser.parse_args()
    if args.verb == 'pack':
        frames = {'train': args.train_frames, 'val': args.val_frames}
        print(_described(args.file, pack_data_set(args.root, args.file, frames, args.crf, args.workers)))
    else:
        print(unpack_data_set(args.file, args.root, args.degradations, args.workers))


def _described(file: str, clips: list[PackedClip]) -> str:
    worst = min(clips, key=lambda clip: clip.psnr)
    frames = sum(clip.entry.n_frames for clip in clips)
    psnr = sum(clip.psnr for clip in clips) / len(clips)
    return (f'{file}: {Path(file).stat().st_size / 2**20:.1f} MiB, {len(clips)} clips, {frames} frames, '
            f'PSNR {psnr:.2f} dB (worst clip {worst.psnr:.2f}, {worst.entry.clip})')


if __name__ == '__main__':
    main()
