"""One file over HTTP: what was read stays on the disk, and the next call goes on behind it."""
from __future__ import annotations

import json
import re
import time
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from gavn.errors import GavnError

TRIES = 3
PAUSE = 1.0  # seconds before a cut connection is tried again
_TIMEOUT = (15, 60)  # seconds: to connect, and between two pieces
_PIECE = 1 << 16


class DownloadError(GavnError, RuntimeError):
    """A file could not be fetched; the message says why, and what to do."""


class _CutError(Exception):
    """The connection broke off; a further request may go on."""


def download(url: str, part: Path) -> None:
    """Reads `url` into the file `part`, behind what an earlier call left there.

    A part is gone on with only if the server says that the file is still the same one (by its ETag or date,
    with If-Range); else it is read anew. Proxies are those of the environment (HTTPS_PROXY, NO_PROXY ...).
    Where the file comes from stands in `<part>.json` until it is whole.

    Raises DownloadError with words for the user, OSError if `part` cannot be written.
    """
    for left in reversed(range(TRIES)):
        try:
            _go_on(url, part)
        except _CutError as error:
            if not left:
                raise DownloadError(
                    f'{url}: the connection was cut after {_size_of(part):,} bytes ({error})\n'
                    'what was read is kept: the same command goes on there') from error
            time.sleep(PAUSE)
        else:
            _note(part).unlink(missing_ok=True)
            return


def _go_on(url: str, part: Path) -> None:
    validator = _validator_of_part(url, part)
    done = _size_of(part) if validator else 0
    headers = {'Accept-Encoding': 'identity', 'User-Agent': 'gavn'}  # bytes as they are: they are counted
    if done:
        headers |= {'Range': f'bytes={done}-', 'If-Range': validator}
    with _request(url, headers) as answer:
        start = _start(answer)
        if start not in (0, done):  # not what was asked for: from the beginning, then
            part.unlink(missing_ok=True)
            raise _CutError('the server could not go on')
        if not start:
            origin = {'url': url, 'validator': _validator(answer)}
            _note(part).write_text(json.dumps(origin), encoding='utf-8')
        with part.open('r+b' if start else 'wb') as file:
            file.seek(start)
            _copy(answer, file, start)


def _request(url: str, headers: dict[str, str]) -> requests.Response:
    """The answer to a GET, its body unread. Raises DownloadError for one that will never hold the file."""
    host = urlsplit(url).hostname
    try:
        answer = requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    except requests.exceptions.ProxyError as error:
        raise DownloadError(f'{url}: the proxy does not answer\ncheck HTTPS_PROXY and HTTP_PROXY '
                            f'({_cause(error)})') from error
    except requests.exceptions.SSLError as error:
        raise DownloadError(f'{host} shows a certificate that cannot be trusted ({_cause(error)})\nbehind a '
                            'proxy that reads along, set REQUESTS_CA_BUNDLE to its certificate') from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise DownloadError(f'{host} cannot be reached ({_cause(error)})\nis there a network? behind a '
                            'proxy, set HTTPS_PROXY') from error
    except (requests.RequestException, ValueError) as error:  # ValueError: what no URL can hold
        raise DownloadError(f'{url} cannot be asked for ({error})') from error
    if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return answer
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        raise DownloadError(f'{host} answers {answer.status_code} {answer.reason} for {url}')
    if answer.headers.get('Content-Type', '').startswith('text/html'):
        raise DownloadError(f'{url} is a web page, not a file of weights\nmaybe the login page of a network')
    return answer


def _cause(error: BaseException) -> str:
    """The innermost reason in words; what stands around it is of no use to the reader."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error) or type(error).__name__


def _start(answer: requests.Response) -> int | None:
    """The place in the file where the body begins; None where the server has nothing behind ours."""
    if answer.status_code == HTTPStatus.PARTIAL_CONTENT:
        span = re.match(r'bytes (\d+)-', answer.headers.get('Content-Range', ''))
        return int(span[1]) if span else None
    return 0 if answer.status_code == HTTPStatus.OK else None


def _copy(answer: requests.Response, file: BinaryIO, start: int) -> None:
    """Body to file, with a bar on a terminal. Raises _CutError if fewer bytes come than were announced."""
    length = answer.headers.get('Content-Length')
    total = start + int(length) if length else None
    bar = tqdm(total=total, initial=start, unit='B', unit_scale=True, unit_divisor=1024, disable=None)
    with bar:
        try:
            for piece in answer.iter_content(_PIECE):
                file.write(piece)
                bar.update(len(piece))
        except requests.RequestException as error:
            raise _CutError(_cause(error)) from error
    if total is not None and file.tell() != total:
        raise _CutError(f'{total:,} were announced')


def _validator(answer: requests.Response) -> str:
    """What tells this version of a file from another: a strong ETag, or its date; '' for neither."""
    etag = answer.headers.get('ETag', '')
    return etag if etag.startswith('"') else answer.headers.get('Last-Modified', '')


def _note(part: Path) -> Path:
    return part.with_name(f'{part.name}.json')


def _validator_of_part(url: str, part: Path) -> str:
    """The validator of what lies in `part`; '' if that is nothing, or of another URL."""
    try:
        note = json.loads(_note(part).read_text(encoding='utf-8'))
    except (OSError, json.JSONDecodeError):
        return ''
    return note['validator'] if _size_of(part) and note['url'] == url else ''


def _size_of(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
