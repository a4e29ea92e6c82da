"""Filter of HTTP requests; it also handles uploads and file downloads itself."""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)

from gavn.web.files import Files, ZipDownload, media_type
from gavn.web.limits import RefusalError
from gavn.web.uploads import ShortError, Uploads

_PAGE = re.compile(  # requested by gradio's scripts
    r'/(?:config|theme\.css|manifest\.json|favicon\.ico|robots\.txt|(?:assets|static|svelte)/.*'
    r'|gradio_api/(?:info|app_id|startup-events|heartbeat/\w+|theme\.css|cancel|reset|queue/(?:join|data)))?')
_FILE = re.compile(r'/file/(?P<token>[0-9a-f]{32})/[^/]+')
_UPLOAD = re.compile(r'/upload/(?P<token>[0-9a-f]{64})')
_HEADERS = {'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-store'}
_HOST = re.compile(r'(?P<name>\[[^\]]*\]|[^:]*)(?::\d+)?')


def is_loopback(name: str) -> bool:
    """Returns whether a host name or address (with or without brackets) is a loopback address."""
    if name.lower() == 'localhost':
        return True
    try:
        return ipaddress.ip_address(name.removeprefix('[').removesuffix(']')).is_loopback
    except ValueError:
        return False


class RequestFilter:
    """ASGI middleware that passes only the requests of the page to gradio.

    Gradio has other endpoints, some of which access the network. Cross-origin requests are refused. If only
    this machine can reach the server, requests with another host name are refused too (DNS rebinding).

    Args:
        app: the gradio application.
        uploads: stores uploaded files.
        files: the files that may be downloaded.
        health: returns the state of the server for `/health`.
        private: whether only this machine can reach the server.
    """

    def __init__(self, app: Any, uploads: Uploads, files: Files, private: bool,
                 health: Callable[[], Mapping[str, str | int]]) -> None:
        self.app, self.uploads, self.files, self.private = app, uploads, files, private
        self.health = health

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Handles an ASGI connection."""
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
        elif scope['type'] == 'http':
            answer = await self._answer(Request(scope, receive))
            await (answer or self.app)(scope, receive, send)
        else:
            await send({'type': 'websocket.close'})

    async def _answer(self, request: Request) -> Response | None:
        """Returns the response; None if gradio handles the request."""
        host = request.headers.get('host', '')
        named = _HOST.fullmatch(host)
        if self.private and not is_loopback(named['name'] if named else ''):
            return _not_found()
        if not _same_site(request.headers.get('origin'), host):
            return PlainTextResponse('This request comes from another site.\n', 403)
        path = request.scope['path']
        if path == '/health':
            state = self.health()
            return JSONResponse(state, 200 if state['status'] == 'ok' else 503)
        if path == '/upload' and request.method == 'POST':
            return self._announce(request)
        if (found := _UPLOAD.fullmatch(path)) and request.method == 'PUT':
            return await self._receive(found['token'], request)
        if (found := _FILE.fullmatch(path)) and request.method in ('GET', 'HEAD'):
            return self._file(found['token'], 'save' in request.query_params)
        return None if _PAGE.fullmatch(path) else _not_found()

    def _announce(self, request: Request) -> Response:
        name, size = (request.query_params.get(key, '') for key in ('name', 'size'))
        if not re.fullmatch(r'\d{1,15}', size, re.ASCII):
            return PlainTextResponse('The file size is missing.', 400)
        try:
            client = request.client.host if request.client else ''
            return JSONResponse({'token': self.uploads.announce(name, int(size), client)})
        except RefusalError as error:
            return PlainTextResponse(str(error), 413)

    async def _receive(self, token: str, request: Request) -> Response:
        try:
            await self.uploads.receive(token, request.stream())
        except RefusalError as error:
            return PlainTextResponse(str(error), 404)
        except (ShortError, ClientDisconnect) as error:
            return PlainTextResponse(f'The upload is incomplete, too long or too slow: {error}', 400)
        except OSError as error:
            return PlainTextResponse(f'The file cannot be stored: {error.strerror}', 507)
        return Response(status_code=204)

    def _file(self, token: str, save: bool) -> Response:
        path = self.files.find(token)
        if isinstance(path, ZipDownload):
            return StreamingResponse(path.content(), media_type='application/zip', headers={
                **_HEADERS, 'Content-Disposition': f'attachment; filename="{path.name}"'})
        if path is None:
            return _not_found()
        kind = media_type(path)
        return FileResponse(path, media_type=kind or 'application/octet-stream', filename=path.name,
                            content_disposition_type='attachment' if save or kind is None else 'inline',
                            headers=_HEADERS)


def _not_found() -> Response:
    return PlainTextResponse('Not found.\n', 404)


def _same_site(origin: str | None, host: str) -> bool:
    """Returns whether a request has the same origin, or no origin."""
    return origin is None or urlsplit(origin).netloc.lower() == host.lower() != ''
