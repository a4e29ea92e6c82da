"""Weights that other projects publish: their origin, their place, and their verification.

Nothing is downloaded unless a user runs `gavn models fetch NAME`. Files are in `$GAVN_HOME/models` (default
`~/.cache/gavn/models`) under their original names.
"""
from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gavn.checkpoints.download import DownloadError, download
from gavn.errors import ExitCode, GavnError
from gavn.runtime.files import atomic_path, is_full, sha256, write_text


class ModelError(GavnError, RuntimeError):
    """Weights cannot be downloaded, are damaged, or are other ones. The message says what to do."""

    exit_code = ExitCode.WEIGHTS


@dataclass(frozen=True)
class ModelFile:
    """A file of weights that another project publishes."""

    file: str  # its original name; eight hexadecimal digits in it are the start of the SHA-256
    url: str  # of the project
    sha256: str  # of the file, as many projects that use it state it
    use: str  # what it is needed for
    terms: str  # of its authors
    size: int | None = None  # in bytes; None if it is unknown before the download


MODELS = {
    'alexnet': ModelFile(
        'alexnet-owt-7be5be79.pth', 'https://download.pytorch.org/models/alexnet-owt-7be5be79.pth',
        '7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02', 'LPIPS',
        'torchvision, BSD-3-Clause; trained on ImageNet, which has terms of its own', 244_408_911),
    'syncnet': ModelFile(
        'syncnet_v2.model', 'https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model',
        '961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442', 'Sync_c, Sync_d',
        'VGG, Oxford; the code with it (joonson/syncnet_python) is MIT', 54_573_114),
    'spynet': ModelFile(
        'spynet_sintel_final-3d2a1287.pth',
        'https://github.com/JingyunLiang/VRT/releases/download/v0.0/spynet_sintel_final-3d2a1287.pth',
        '3d2a1287666aa71752ebaedc06999212886ef476f77d691a1b0006107088e714',
        'the optical flow in BasicVSR++ and VRT',
        'its authors (A. Ranjan, M. Black) allow research that is not commercial'),
}


def folder() -> Path:
    """The folder of the files, whether or not it exists."""
    return Path(os.environ.get('GAVN_HOME') or '~/.cache/gavn').expanduser() / 'models'


def model_path(name: str) -> Path | None:
    """Returns the file of a model; None if it is missing. Raises ModelError for an unknown name."""
    path = _place(name)
    return path if path.is_file() else None


def fetch(name: str, source: str | None = None, digest: str | None = None) -> Path:
    """Downloads a model if it is missing, and returns its file.

    Partial downloads resume; the file is renamed after its SHA-256 matches.

    Args:
        source: a local file, or the URL of a mirror. None: the URL of the project.
        digest: the expected SHA-256. None: the known one.

    Raises:
        ModelError: there is no network, no file or no space, or the SHA-256 is another one (the file is
            removed).
    """
    model, target, expected = _known(name), _place(name), _hexadecimal(digest) or _known(name).sha256
    if target.is_file() and sha256(target) == expected:
        print(f'{name} is there already: {target} (SHA-256 verified)')
        return target
    origin = source or model.url
    local = None if urlsplit(origin).scheme in ('http', 'https') else Path(origin).expanduser()
    _check_origin(origin, local)
    print(f'{name}, for {model.use}: {_bytes(model.size)} from {origin}\nterms: {model.terms}\nto {target}')
    with _in_words(name, model, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if local:
            _take(local, target, expected)
        else:
            _download(origin, target, expected, model.size)
        _record(target, expected, model)
    print(f'fetched {name} (SHA-256 {expected[:12]}... verified)')
    return target


def verify(name: str | None = None) -> None:
    """Verifies the SHA-256 of a model, or of all that were downloaded; prints a line for each.

    Raises:
        ModelError: one is damaged, or `name` is missing.
    """
    if name and model_path(name) is None:
        raise ModelError(f'{name} was not fetched: gavn models fetch {name}')
    damaged = []
    for one in [name] if name else MODELS:
        path = model_path(one)
        if path is None:
            print(f'{one}: not fetched')
            continue
        found, expected, record = sha256(path), _known(one).sha256, _record_of(path)
        if record.is_file():
            expected = record.read_text(encoding='utf-8').split()[0]
        if found != expected:
            damaged.append(f'{path} has SHA-256 {found}, not {expected}\n'
                           f'it is damaged: gavn models fetch {one}')
        else:
            stranger = '' if expected == _known(one).sha256 else ', accepted with --sha256'
            print(f'{one}: SHA-256 verified ({found[:12]}...{stranger}), {path}')
    if damaged:
        raise ModelError('\n'.join(damaged))


def listing() -> str:
    """Returns lines about all models: state, file, use, source and terms."""
    lines = []
    for name, model in MODELS.items():
        there = 'fetched' if model_path(name) else 'not fetched'
        lines += [f'{name}: {there}, {model.file}, {_bytes(model.size)}, for {model.use}',
                  f'  from {model.url}', f'  terms: {model.terms}']
    return '\n'.join([*lines, f'folder: {folder()}'])


def _known(name: str) -> ModelFile:
    if name not in MODELS:
        raise ModelError(f'there is no model called {name}; there are {", ".join(MODELS)}')
    return MODELS[name]


def _place(name: str) -> Path:
    return folder() / _known(name).file


def _hexadecimal(digest: str | None) -> str | None:
    if digest is None:
        return None
    if len(digest) != 64 or set(digest.lower()) - set('0123456789abcdef'):
        raise ModelError(f'{digest} is no SHA-256: 64 hexadecimal digits are expected')
    return digest.lower()


def _check_origin(origin: str, local: Path | None) -> None:
    if local and not local.is_file():
        raise ModelError(f'{origin} is neither a file on this machine nor a URL (https://...)')
    if not local and os.environ.get('GAVN_OFFLINE', '0') not in ('', '0'):
        raise ModelError(f'GAVN_OFFLINE is set: {origin} is not contacted\n'
                         'unset it, or give a file on this machine: --from FILE')


def _bytes(size: int | None) -> str:
    return 'size not known' if size is None else f'{size / 2 ** 20:.1f} MiB'


def _take(local: Path, target: Path, expected: str) -> None:
    """Copies a local file, which stays unchanged."""
    with atomic_path(target) as part:
        shutil.copyfile(local, part)
        _check(part, expected, str(local))


def _download(url: str, target: Path, expected: str, size: int | None) -> None:
    part = target.with_name(f'{target.name}.part')
    done = part.stat().st_size if part.exists() else 0
    if size and shutil.disk_usage(target.parent).free < size - done:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    download(url, part)
    try:
        _check(part, expected, url)
    except ModelError:
        part.unlink()
        raise
    with part.open('rb') as file:
        os.fsync(file.fileno())
    os.replace(part, target)


def _check(part: Path, expected: str, origin: str) -> None:
    found = sha256(part)
    if found != expected:
        raise ModelError(f'{origin} is not the file that was expected, and was not kept\n'
                         f'its SHA-256    {found}\nexpected       {expected}\n'
                         'fetch it again, or from another mirror: --from URL; where its publisher states '
                         'another SHA-256 by now, give that: --sha256 HEX')


def _record(target: Path, expected: str, model: ModelFile) -> None:
    """Stores a SHA-256 that the user confirmed beside the file, in the format of `sha256sum -c`."""
    record = _record_of(target)
    if expected == model.sha256:
        record.unlink(missing_ok=True)
        return
    write_text(record, f'{expected}  {target.name}\n')


def _record_of(target: Path) -> Path:
    return target.with_name(f'{target.name}.sha256')


@contextmanager
def _in_words(name: str, model: ModelFile, target: Path) -> Iterator[None]:
    """Converts errors of network and disk to ModelError; an interrupt says that nothing is lost."""
    try:
        yield
    except DownloadError as error:
        raise ModelError(f'{error}\nor take the file from another mirror or disk: '
                         f'gavn models fetch {name} --from URL_OR_FILE') from error
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt('interrupted: rerun the same command to resume') from stop
    except OSError as error:
        if is_full(error):
            raise ModelError(f'the disk of {target.parent} is full ({error.strerror}): {model.file} needs '
                             f'{_bytes(model.size)}\n'
                             'make room, or set GAVN_HOME to a folder on another disk') from error
        raise ModelError(f'cannot write {error.filename or target}: {error.strerror}\n'
                         'set GAVN_HOME to a folder that can be written') from error
