"""The command `gavn`: one verb per job. It parses, checks and delegates.

Exit codes: 0 done, 1 failed, 2 usage, 3 no face found, 4 unreadable input, 5 unusable weights, 130
interrupted.
"""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import gavn
from gavn.runtime.arguments import Parser
from gavn.runtime.exit_codes import OK, USAGE, guarded
from gavn.runtime.notices import show_notices

METRICS = ('psnr', 'ssim', 'psnr_y', 'ssim_y', 'ms_ssim', 'lpips', 'niqe', 'sync', 'warp', 'id')
WEIGHT_FILES = ('syncnet', 'alexnet')
EVALUATE = """\
Measures restored videos, and beside them their input and the truth where these are given.

Frames are compared one by one, whole as they are; RESTORED, TRUTH and LQ go together by name, without ending,
and need the same number of frames of the same size. Sync_c and Sync_d take square crops of a face, as the
networks restore them: for other videos give --crop-face, which crops all metrics' pictures to the face.
They see 25 frames a second, by time, and hear RESTORED (TRUTH where that is silent). A metric that cannot be
had reads n/a, with the reason in the column notes; one that was asked for by --metrics and lacks its weights
is an error."""
TRAINERS = ('train', 'test')
PASSED_ON = (*TRAINERS, 'prepare')  # verbs that read their arguments themselves


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (default: the process's own) and returns the exit code."""
    args, rest = _parser().parse_known_args(argv)
    if rest and args.verb not in PASSED_ON:
        args.parser.refuse(rest)
    if args.verb in TRAINERS and (missing := _missing_option_file(rest)):
        print(f'error: cannot read the option file {missing}: no such file', file=sys.stderr)
        return USAGE
    if args.verb in PASSED_ON:  # they tell of their errors, and log, in their own way
        sys.argv = [f'gavn {args.verb}', *rest]
        return args.run() or OK
    show_notices()
    return guarded(partial(args.run, args))


def _missing_option_file(words: Sequence[str]) -> str | None:
    """What `-opt` names, if it is not there: told before PyTorch is imported."""
    named = words[words.index('-opt') + 1:][:1] if '-opt' in words else []
    root = Path(__file__).resolve().parents[2]  # where options/ is, if this is a checkout
    return next((name for name in named if not os.path.exists(os.path.expanduser(name))
                 and not os.path.exists(root / name)), None)


def bundle(args: argparse.Namespace) -> None:
    """`gavn bundle`: option file and checkpoints to one file for `gavn restore --weights`."""
    from gavn.config.option_file import read_options
    from gavn.errors import check_weights
    from gavn.restoration.output_path import check_target
    check_target(args.opt, args.output, args.force)
    read_options(args.opt)
    check_weights(args.weights)
    check_weights(args.landmark_weights)
    from gavn.restoration.restorer import Restorer
    restorer = Restorer.from_options(args.opt, args.weights, args.landmark_weights, device='cpu')
    restorer.save(args.output, args.half)
    for path, digest in restorer.weights.items():
        print(f'from {path} (sha256 {digest[:12]})')
    print(f'wrote {args.output}')


def evaluate(args: argparse.Namespace) -> None:
    """`gavn evaluate`: restored videos in numbers."""
    from gavn.errors import check_inputs, check_weights
    check_inputs((args.restored, args.reference, args.degraded))
    for _, file in args.weights:
        check_weights(file)
    from gavn.cli.evaluate import choose, evaluate_all, gather, summary
    from gavn.metrics.results_file import RunInfo, write_results
    from gavn.restoration.output_path import check_target
    from gavn.restoration.restorer import find_device
    check_target(args.restored, args.output, args.force)
    folder, clips = gather(args.restored, args.reference, args.degraded)
    device = find_device(args.device)
    measures = choose(args.metrics, args.reference is not None, dict(args.weights), device)
    run = RunInfo(args.dataset or folder, args.degradation, args.method)
    rows = evaluate_all(clips, run, measures, args.crop_face)
    print(summary(write_results(args.output, rows)))
    print(f'wrote {args.output}: {len(clips)} clip{"s" * (len(clips) != 1)}')


def train() -> None:
    """`gavn train`: as `python gavn/train.py`, which reads `sys.argv`."""
    from gavn.train import main as run
    run()


def test() -> None:
    """`gavn test`: as `python gavn/test.py`, which reads `sys.argv`."""
    from gavn.test import main as run
    run()


def prepare() -> int:
    """`gavn prepare`: as `python scripts/prepare/prepare.py`."""
    try:
        from gavn.cli.prepare import main as run
    except ModuleNotFoundError as error:
        print(f"error: preparing data needs {error.name}: pip install -c constraints.txt -e '.[prepare]'",
              file=sys.stderr)
        return USAGE
    return run()


def demo(args: argparse.Namespace) -> None:
    """`gavn demo`: as `python gavn/cli/demo.py`."""
    from gavn.cli.demo import run
    run(args.task, args.size)


def models(args: argparse.Namespace) -> None:
    """`gavn models`: the weights that come with gavn, and those that are downloads of other projects."""
    from gavn.checkpoints import hub, pretrained
    if args.job == 'list':
        print(f'{pretrained.listing()}\n{hub.listing()}')
    elif args.job == 'fetch':
        if args.name in pretrained.names():
            print(f'{args.name} comes with gavn: {pretrained.weights_of(args.name)}')
        else:
            hub.fetch(args.name, args.source, args.sha256)
    elif args.name in pretrained.names():
        pretrained.verify(args.name)
    else:
        if args.name is None:
            pretrained.verify()
        hub.verify(args.name)


def _parser() -> argparse.ArgumentParser:
    from gavn.cli.bench import add_arguments as add_bench
    from gavn.cli.config import add_arguments as add_config
    from gavn.cli.demo import add_arguments
    from gavn.cli.doctor import add_arguments as add_doctor
    from gavn.cli.export import add_arguments as add_export
    from gavn.cli.restore import add_arguments as add_restore
    from gavn.cli.web import add_arguments as add_web
    parser = Parser(prog='gavn', description='Restores talking faces in video with the help of their sound.')
    parser.add_argument('--version', action='version', version=f'gavn {gavn.__version__}')
    verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')
    add_restore(verbs.add_parser('restore', help='restore the faces in videos'))
    _add_bundle(verbs.add_parser('bundle', help='make the weights file that restore takes'))
    _add_evaluate(verbs.add_parser(
        'evaluate', help='measure restored videos', formatter_class=argparse.RawDescriptionHelpFormatter,
        description=EVALUATE, epilog=f'metrics: {", ".join(METRICS)} (sync: Sync_c and Sync_d)'))
    _add_models(verbs.add_parser('models', help='weights: list, fetch, verify'))
    for name, run, words in (('train', train, 'train a network: -opt FILE.yml [--auto_resume] ...'),
                             ('test', test, 'test a network: -opt FILE.yml ...'),
                             ('prepare', prepare, 'raw videos to a data set: --videos DIR --out ROOT ...')):
        verbs.add_parser(name, help=words, add_help=False).set_defaults(run=run)
    add_config(verbs.add_parser('config', help='the options a training or test would use, and their origin'))
    add_doctor(verbs.add_parser('doctor', help='what is installed, what works, what to install'))
    add_export(verbs.add_parser('export', help='a network as a file for onnxruntime or PyTorch alone'))
    add_bench(verbs.add_parser('bench', help='how fast every network is on this machine'))
    add_web(verbs.add_parser('web', help='a page in the browser, on this machine: drop a video'))
    whole = verbs.add_parser('demo', help='the whole job on talking faces made from nothing')
    add_arguments(whole)
    whole.set_defaults(run=demo)
    return parser


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', required=True, metavar='FILE.yml', help='the option file of the training')
    parser.add_argument('-o', '--output', required=True, metavar='FILE.safetensors')
    parser.add_argument('--weights', metavar='FILE', help='of network_g (default: what training wrote last)')
    parser.add_argument('--landmark-weights', metavar='FILE',
                        help='of network_l (default: what the option file names)')
    parser.add_argument('--half', action='store_true', help='store 16 bits a number: half the size')
    parser.add_argument('--force', action='store_true', help='replace an existing output')
    parser.set_defaults(run=bundle)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('restored', metavar='RESTORED', type=Path,
                        help='a video, a folder of pictures, or a folder of such')
    parser.add_argument('--reference', metavar='TRUTH', type=Path, help='the same clips as they should be')
    parser.add_argument('--degraded', metavar='LQ', type=Path, help='the same clips as they were before')
    parser.add_argument('--metrics', nargs='+', choices=METRICS, metavar='NAME',
                        help='see below (default: all that apply, but id)')
    parser.add_argument('--method', type=_method, default='restored', metavar='NAME',
                        help='its name in the results')
    parser.add_argument('--dataset', metavar='NAME', help='in the results (default: the folder of RESTORED)')
    parser.add_argument('--degradation', default='', metavar='LAYER',
                        help='what LQ suffered, as tables 1 to 3 name it: car_crf45, blur, sr_x8 ... '
                             '(default: none, as of videos from the world; these stand in table 4)')
    parser.add_argument('--crop-face', action='store_true',
                        help='measure the face alone, as 224x224 pixels, followed through the first there is '
                             'of TRUTH, LQ and RESTORED')
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1 ...')
    parser.add_argument('--weights', nargs='+', type=_named_file, default=[], metavar='NAME=FILE',
                        help='syncnet=FILE, alexnet=FILE (default: what `gavn models fetch` brought)')
    parser.add_argument('-o', '--output', default='results.csv', type=Path, metavar='FILE.csv',
                        help='a row per clip, means and deviations (default results.csv)')
    parser.add_argument('--force', action='store_true', help='replace an existing output')
    parser.set_defaults(run=evaluate)


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
        raise argparse.ArgumentTypeError(f'{text} is none of {known}')
    return name, file


def _add_models(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_subparsers(dest='job', required=True, metavar='JOB')
    jobs.add_parser('list', help='what there is, what it is for, where it comes from')
    fetch = jobs.add_parser('fetch', help='download one, or take it from a file')
    fetch.add_argument('name', help='one of the list')
    fetch.add_argument('--from', dest='source', metavar='FILE_OR_URL', help='instead of its own address')
    fetch.add_argument('--sha256', metavar='HEX', help='of the file, if it is not the one known here')
    verify = jobs.add_parser('verify', help='hold what was fetched to its SHA-256')
    verify.add_argument('name', nargs='?', help='one of the list (default: all that were fetched)')
    parser.set_defaults(run=models)


if __name__ == '__main__':
    sys.exit(main())
