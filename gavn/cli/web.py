"""`gavn web`: serves a local web page that restores videos."""
from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from gavn.runtime.arguments import positive, seconds, whole
from gavn.runtime.input_checks import check_weight_file
from gavn.runtime.optional_packages import require_packages

_POLL = 1.0  # seconds
NEEDED = ('gradio', 'skimage')  # skimage generates the examples
EPILOG = """\
By default only this machine can open the page (127.0.0.1). The page accesses no network. Videos are kept in
a temporary folder while their page is open. The folder is removed when the server stops (Ctrl-C); if the
server is killed, when the next one starts.
Restored pixels are estimates, not evidence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EPILOG
    parser.add_argument('--weights', type=Path, metavar='FILE',
                        help='your own weights for every task, as for `gavn restore`')
    parser.add_argument('--import', dest='modules', nargs='+', default=[], metavar='MODULE',
                        help='modules that register your own network for --weights')
    parser.add_argument('--host', default='127.0.0.1', metavar='ADDRESS',
                        help='address to listen on (default 127.0.0.1: only this machine)')
    parser.add_argument('--port', type=whole(1, 65535), default=7860, metavar='N', help='default 7860')
    parser.add_argument('--max-mb', type=positive(), default=500, metavar='MB',
                        help='size of the largest video (default 500)')
    parser.add_argument('--max-seconds', type=seconds, default=600, metavar='S',
                        help='length of the longest video (default 600)')
    parser.add_argument('--max-videos', type=whole(1), default=20, metavar='N',
                        help='videos per page (default 20)')
    parser.add_argument('--max-total-mb', type=positive(), metavar='MB',
                        help='size of all files of all pages (default: 10 times --max-mb)')
    parser.add_argument('--workers', type=whole(1), default=0, metavar='N',
                        help='jobs that run at a time (default: one on each GPU, or one on a CPU)')
    parser.add_argument('--max-waiting', type=whole(0), default=100, metavar='N',
                        help='jobs that may wait (default 100)')
    parser.add_argument('--max-jobs', type=whole(1), default=3, metavar='N',
                        help='jobs of one client, running or waiting (default 3)')
    parser.add_argument('--grace', type=seconds, default=60., metavar='TIME',
                        help='after SIGTERM, the time for running jobs to finish and for their pages to '
                        'download the results (default 60)')
    parser.add_argument('--idle', type=seconds, default=3600., metavar='TIME',
                        help='remove the files of a page after so long without use (default 60min)')
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1, mps ...')
    parser.add_argument('--dtype', default='auto', choices=['auto', 'float32', 'bfloat16'])
    parser.add_argument('--batch', type=whole(1), metavar='N',
                        help='windows per call of the network (default: 16 on a GPU, else 1)')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Serves until SIGTERM, which lets running jobs finish, or Ctrl-C, which cancels them.

    Raises:
        MissingPackageError: the extra is not installed.
        ArgumentError: a limit is invalid.
    """
    require_packages(NEEDED, 'web', 'the page')
    check_weight_file(args.weights)
    from gavn.restoration.model_spec import import_modules
    from gavn.web.limits import Limits
    from gavn.web.networks import Networks
    from gavn.web.server import Address, serving
    limits = Limits(args.max_mb, args.max_seconds, args.max_videos, args.max_total_mb, args.idle,
                    args.max_waiting, args.max_jobs)
    import_modules(args.modules)
    networks = Networks(args.weights, args.device, args.dtype, args.batch, args.workers)
    networks.check()
    address = Address(args.host, args.port)
    if address.is_open:
        print(f'notice: every machine that can reach {args.host} can use the page, without a '
              'password', file=sys.stderr)
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with suppress(KeyboardInterrupt), serving(networks, address, limits, _draw_examples, args.grace) as url:
        print(f'the page is at {url} (Ctrl-C stops it)', flush=True)
        while not stop.wait(_POLL):  # a wait without a limit can miss Ctrl-C
            pass
        print(f'stopping: running jobs have {args.grace:g} s to finish', flush=True)
    print('stopped; temporary files are removed')


def _draw_examples(folder: Path) -> list[Path]:
    from gavn.experiments.synthetic.web_examples import draw
    return draw(folder)
