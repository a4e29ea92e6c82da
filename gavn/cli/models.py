"""`gavn models`: pretrained weights, and weights of other projects that are downloaded."""
from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    jobs = parser.add_subparsers(dest='job', required=True)
    jobs.add_parser('list', help='list the weights with purpose and origin')
    fetch = jobs.add_parser('fetch', help='download weights, or copy them from a file')
    fetch.add_argument('name', help='a name from the list')
    fetch.add_argument('--from', dest='source', metavar='FILE_OR_URL', help='replaces the default URL')
    fetch.add_argument('--sha256', metavar='HEX', help='of the file, if it differs from the known one')
    verify = jobs.add_parser('verify', help='check the SHA-256 of weights')
    verify.add_argument('name', nargs='?', help='a name from the list (default: all)')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Lists, fetches or verifies weights."""
    from gavn.checkpoints import hub, pretrained
    from gavn.runtime.arguments import nearest
    names = [*pretrained.list_pretrained(), *hub.MODELS]
    if args.job != 'list' and args.name not in (None, *names):
        raise hub.ModelError(f'there are no weights called {args.name}{nearest(args.name, names)}\n'
                             f'there are {", ".join(names)}')
    if args.job == 'list':
        print(f'{pretrained.listing()}\n{hub.listing()}')
    elif args.job == 'fetch':
        if args.name in pretrained.list_pretrained():
            print(f'{args.name} comes with gavn: {pretrained.weights_of(args.name)}')
        else:
            hub.fetch(args.name, args.source, args.sha256)
    elif args.name in pretrained.list_pretrained():
        pretrained.verify(args.name)
    else:
        if args.name is None:
            pretrained.verify()
        hub.verify(args.name)
