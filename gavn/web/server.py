"""Serving the page: on this machine alone unless asked otherwise, from a folder that goes when it stops."""
from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from gavn.web.desk import Desk
from gavn.web.examples import Examples
from gavn.web.limits import Limits
from gavn.web.networks import Networks

LOOPBACK = ('127.0.0.1', 'localhost')
_OPEN = re.compile(  # what the page itself asks for
    r'/(?:config|theme\.css|manifest\.json|favicon\.ico|robots\.txt|(?:assets|static|svelte)/.*'
    r'|gradio_api/(?:info|app_id|startup-events|heartbeat/\w+|upload|upload_progress|theme\.css|cancel|reset'
    r'|queue/(?:join|data)|file=/.*))?')


@dataclass(frozen=True)
class Address:
    """Where to listen; other hosts than LOOPBACK open the page to the network."""

    host: str = '127.0.0.1'
    port: int = 7860

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach it."""
        return self.host not in LOOPBACK


class PortError(OSError):
    """Something else listens there already."""


class Door:
    """Lets those requests through that the page makes; gradio answers others too, some by going outside.

    On a loopback host it also refuses requests that call the machine by another name: pages of other
    sites could otherwise reach it.
    """

    def __init__(self, app: Any, names: tuple[str, ...] = ()) -> None:
        self.app, self.names = app, names

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """An ASGI application."""
        if scope['type'] != 'http' or self._open(scope):
            await self.app(scope, receive, send)
            return
        await send({'type': 'http.response.start', 'status': 404,
                    'headers': [(b'content-type', b'text/plain; charset=utf-8')]})
        await send({'type': 'http.response.body', 'body': b'There is nothing here.\n'})

    def _open(self, scope: dict[str, Any]) -> bool:
        host = dict(scope['headers']).get(b'host', b'').decode('latin-1')
        named = not self.names or re.sub(r':\d+$', '', host) in self.names
        return named and _OPEN.fullmatch(scope['path']) is not None


@contextmanager
def serving(networks: Networks, address: Address, limits: Limits) -> Iterator[str]:
    """The page, served until the block is left; gives its address.

    Args:
        networks: what restores.
        address: where to listen.
        limits: which videos are taken.

    Raises PortError if the port is taken.
    """
    _check_port(address)
    folder = Path(mkdtemp(prefix='gavn_web_')).resolve()
    try:
        _set_environment(folder)
        desk = Desk(folder, networks, limits)
        examples = Examples(folder / 'examples')
        page, url = _launch(desk, examples, address)
        examples.begin()
        try:
            yield url
        finally:
            desk.close()
            page.close(verbose=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_port(address: Address) -> None:
    family = socket.AF_INET6 if ':' in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except (OSError, OverflowError) as error:
        raise PortError(f'port {address.port} of {address.host} cannot be used: {error}\n'
                        'choose another with --port') from error


def _set_environment(folder: Path) -> None:
    """Before gradio is imported: its files in our folder, no telemetry, no variables of the user for it."""
    for name in [name for name in os.environ if name.startswith('GRADIO_')]:
        del os.environ[name]
    os.environ.update(GRADIO_TEMP_DIR=str(folder), GRADIO_EXAMPLES_CACHE=str(folder / 'cached'),
                      GRADIO_ANALYTICS_ENABLED='False', HF_HUB_DISABLE_TELEMETRY='1', HF_HUB_OFFLINE='1')


def _launch(desk: Desk, examples: Examples, address: Address) -> tuple[Any, str]:
    from starlette.middleware import Middleware

    from gavn.web.page import CSS, build, theme
    page = build(desk, examples)
    names = () if address.is_open else LOOPBACK
    page.launch(
        server_name=address.host, server_port=address.port, prevent_thread_lock=True, quiet=True,
        inbrowser=False, share=False, show_error=False, ssr_mode=False, mcp_server=False, pwa=False,
        run_history=False, enable_monitoring=False, num_workers=0, footer_links=[],
        max_file_size=desk.limits.bytes, allowed_paths=[], blocked_paths=[str(desk.folder / 'cached')],
        app_kwargs={'middleware': [Middleware(Door, names=names)]}, theme=theme(), css_paths=CSS)
    return page, page.local_url
