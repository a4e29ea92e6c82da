"""Download of a file over HTTP; interrupted downloads resume."""
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
PAUSE = 1.0  # seconds before a retry after an interrupted connection
_TIMEOUT = (15, 60)  # seconds: to connect, and between two chunks
_PIECE = 1 << 16


class DownloadError(GavnError, RuntimeError):
    """A download failed. The message says why, and what to do."""


class _IncompleteError(Exception):
    """The connection was interrupted; another request may resume."""


def download(url: str, part: Path) -> None:
    """Downloads `url` to the file `part`, and resumes what an earlier call left there.

    A partial file resumes only if the server confirms that the file is unchanged (ETag or date, with
    If-Range); otherwise it is downloaded again. Proxies are those of the environment (HTTPS_PROXY, NO_PROXY
    ...). `<part>.json` holds the origin until the file is complete.

    Raises:
        DownloadError: with a message for the user.
        OSError: `part` cannot be written.
    """
    for left in reversed(range(TRIES)):
        try:
            _resume(url, part)
        except _IncompleteError as error:
            if not left:
                raise DownloadError(
                    f'{url}: the connection was cut after {_size_of(part):,} bytes ({error})\n'
                    'rerun the same command to resume') from error
            time.sleep(PAUSE)
        else:
            _note(part).unlink(missing_ok=True)
            return


def _resume(url: str, part: Path) -> None:
    validator = _validator_of_part(url, part)
    done = _size_of(part) if validator else 0
    headers = {'Accept-Encoding': 'identity', 'User-Agent': 'gavn'}  # bytes are counted
    if done:
        headers |= {'Range': f'bytes={done}-', 'If-Range': validator}
    with _request(url, headers) as answer:
        start = _start(answer)
        if start not in (0, done):  # another range: start again
            part.unlink(missing_ok=True)
            raise _IncompleteError('the server could not resume')
        if not start:
            origin = {'url': url, 'validator': _validator(answer)}
            _note(part).write_text(json.dumps(origin), encoding='utf-8')
        with part.open('r+b' if start else 'wb') as file:
            file.seek(start)
            _copy(answer, file, start)


def _request(url: str, headers: dict[str, str]) -> requests.Response:
    """Returns the response of a GET with an unread body. Raises DownloadError if it cannot be the file."""
    host = urlsplit(url).hostname
    try:
        answer = requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    except requests.exceptions.ProxyError as error:
        raise DownloadError(f'{url}: the proxy does not answer\ncheck HTTPS_PROXY and HTTP_PROXY '
                            f'({_cause(error)})') from error
    except requests.exceptions.SSLError as error:
        raise DownloadError(f'{host} shows a certificate that cannot be trusted ({_cause(error)})\nbehind a '
                            'TLS-inspecting proxy, set REQUESTS_CA_BUNDLE to its certificate') from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise DownloadError(f'{host} cannot be reached ({_cause(error)})\nis there a network? behind a '
                            'proxy, set HTTPS_PROXY') from error
    except (requests.RequestException, ValueError) as error:  # ValueError: invalid URLs
        raise DownloadError(f'{url} cannot be requested ({error})') from error
    if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return answer
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        raise DownloadError(f'{host} answers {answer.status_code} {answer.reason} for {url}')
    if answer.headers.get('Content-Type', '').startswith('text/html'):
        raise DownloadError(f'{url} is a web page, not a file of weights\npossibly a captive portal: open '
                            'it in a browser and log in')
    return answer


def _cause(error: BaseException) -> str:
    """Returns the message of the innermost cause; the outer ones do not help users."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error) or type(error).__name__


def _start(answer: requests.Response) -> int | None:
    """Returns the position of the body in the file; None if the server has nothing after our part."""
    if answer.status_code == HTTPStatus.PARTIAL_CONTENT:
        span = re.match(r'bytes (\d+)-', answer.headers.get('Content-Range', ''))
        return int(span[1]) if span else None
    return 0 if answer.status_code == HTTPStatus.OK else None


def _copy(answer: requests.Response, file: BinaryIO, start: int) -> None:
    """Writes the body to the file, with a progress bar on a terminal.

    Raises:
        _IncompleteError: it is too short.
    """
    length = answer.headers.get('Content-Length')
    total = start + int(length) if length else None
    bar = tqdm(total=total, initial=start, unit='B', unit_scale=True, unit_divisor=1024, disable=None)
    with bar:
        try:
            for piece in answer.iter_content(_PIECE):
                file.write(piece)
                bar.update(len(piece))
        except requests.RequestException as error:
            raise _IncompleteError(_cause(error)) from error
    if total is not None and file.tell() != total:
        raise _IncompleteError(f'{total:,} were announced')


def _validator(answer: requests.Response) -> str:
    """Returns an identifier of this version of a file: a strong ETag, or its date; '' for neither."""
    etag = answer.headers.get('ETag', '')
    return etag if etag.startswith('"') else answer.headers.get('Last-Modified', '')


def _note(part: Path) -> Path:
    return part.with_name(f'{part.name}.json')


def _validator_of_part(url: str, part: Path) -> str:
    """Returns the validator of the content of `part`; '' if it is empty or of another URL."""
    try:
        note = json.loads(_note(part).read_text(encoding='utf-8'))
    except (OSError, json.JSONDecodeError):
        return ''
    return note['validator'] if _size_of(part) and note['url'] == url else ''


def _size_of(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
