"""Serving the page: on this machine alone unless asked otherwise, from a folder that goes when it stops."""
from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gavn.errors import GavnError
from gavn.web.door import RequestFilter, is_loopback
from gavn.web.examples import Examples
from gavn.web.limits import Limits
from gavn.web.networks import Networks
from gavn.web.place import served_folder
from gavn.web.session_manager import SessionManager

_SWEEP = 30.  # seconds between two looks for what was left


@dataclass(frozen=True)
class Address:
    """Where to listen; all but the machine's addresses for itself alone open the page to the network."""

    host: str = '127.0.0.1'
    port: int = 7860

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach it."""
        return not is_loopback(self.host)

    @property
    def for_gradio(self) -> str:
        """The host as gradio wants it: an IPv6 address in brackets."""
        return f'[{self.host}]' if ':' in self.host else self.host


class PortError(GavnError, OSError):
    """Something else listens there already."""


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
    with served_folder() as folder:
        _set_environment(folder)
        desk, examples = SessionManager(folder, networks, limits), Examples(folder / 'examples')
        page, url = _launch(desk, examples, address)
        examples.begin()
        stop = threading.Event()
        threading.Thread(target=_sweep, args=(desk, stop), name='sweeper', daemon=True).start()
        try:
            yield url
        finally:
            stop.set()
            desk.close()
            page.close(verbose=False)


def _sweep(desk: SessionManager, stop: threading.Event) -> None:
    while not stop.wait(_SWEEP):
        desk.sweep(time.monotonic())


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
    os.environ.update(GRADIO_TEMP_DIR=str(folder / 'gradio'), GRADIO_EXAMPLES_CACHE=str(folder / 'cached'),
                      GRADIO_ANALYTICS_ENABLED='False', HF_HUB_DISABLE_TELEMETRY='1', HF_HUB_OFFLINE='1')


def _launch(desk: SessionManager, examples: Examples, address: Address) -> tuple[Any, str]:
    from starlette.middleware import Middleware

    from gavn.web.handlers import build
    from gavn.web.page import CSS, theme
    page = build(desk, examples)
    door = Middleware(RequestFilter, uploads=desk.uploads, files=desk.files, private=not address.is_open)
    page.launch(
        server_name=address.for_gradio, server_port=address.port, prevent_thread_lock=True, quiet=True,
        inbrowser=False, share=False, show_error=False, ssr_mode=False, mcp_server=False, pwa=False,
        run_history=False, enable_monitoring=False, num_workers=0, footer_links=[],
        max_file_size=1, allowed_paths=[], blocked_paths=[str(desk.folder)],
        app_kwargs={'middleware': [door]}, theme=theme(), css_paths=CSS)
    return page, page.local_url
