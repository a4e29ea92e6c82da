"""Serves the page, by default only to this machine, from a temporary folder.

If the server is killed, the next one removes the folder.
"""
from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any

from filelock import FileLock, Timeout

from gavn.errors import GavnError
from gavn.web.examples import Draw, Examples
from gavn.web.limits import Limits
from gavn.web.networks import Networks
from gavn.web.request_filter import RequestFilter, is_loopback
from gavn.web.session_manager import SessionManager

_SWEEP = 30.  # seconds between removals of expired sessions
PREFIX = 'gavn_web_'
_LOCK = 'lock'  # held while the server runs; the system releases it
_PAGES = 256  # whose controls gradio remembers, closed ones included; each takes some 160 KiB
_YOUNG = 60  # seconds; a younger folder without a lock may belong to a starting server


@dataclass(frozen=True)
class Address:
    """Where to listen. Any address other than loopback opens the page to the network."""

    host: str = '127.0.0.1'
    port: int = 7860

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach the page."""
        return not is_loopback(self.host)

    @property
    def for_gradio(self) -> str:
        """The host for gradio, which needs brackets around IPv6 addresses."""
        return f'[{self.host}]' if ':' in self.host else self.host


class PortError(GavnError, OSError):
    """The port is in use."""


@contextmanager
def serving(networks: Networks, address: Address, limits: Limits, draw: Draw,
            grace: float = 0.) -> Iterator[str]:
    """Serves the page inside the block; a context manager that returns the URL.

    Args:
        networks: the restorers.
        address: where to listen.
        limits: limits on the videos.
        draw: writes the example videos.
        grace: longest time to finish at the end of the block, see `SessionManager.drain`; an error in the
            block stops the server at once.

    Raises:
        PortError: the port is in use.
    """
    _check_port(address)
    with server_folder() as folder:
        _set_environment(folder)
        sessions, examples = SessionManager(folder, networks, limits), Examples(folder / 'examples', draw)
        page, url = _launch(sessions, examples, address)
        examples.begin()
        stop = threading.Event()
        threading.Thread(target=_sweep, args=(sessions, stop), name='sweeper', daemon=True).start()
        try:
            yield url
            sessions.drain(grace)
        finally:
            stop.set()
            sessions.close()
            page.close(verbose=False)


def _sweep(sessions: SessionManager, stop: threading.Event) -> None:
    while not stop.wait(_SWEEP):
        sessions.sweep(time.monotonic())


def _check_port(address: Address) -> None:
    family = socket.AF_INET6 if ':' in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except (OSError, OverflowError) as error:
        raise PortError(f'port {address.port} of {address.host} cannot be used: {error}\n'
                        'use another --port') from error


def _set_environment(folder: Path) -> None:
    """Configures gradio before its import: files in our folder, no telemetry, no user variables."""
    for name in [name for name in os.environ if name.startswith('GRADIO_')]:
        del os.environ[name]
    os.environ.update(GRADIO_TEMP_DIR=str(folder / 'gradio'), GRADIO_EXAMPLES_CACHE=str(folder / 'cached'),
                      GRADIO_ANALYTICS_ENABLED='False', HF_HUB_DISABLE_TELEMETRY='1', HF_HUB_OFFLINE='1')


def _launch(sessions: SessionManager, examples: Examples, address: Address) -> tuple[Any, str]:
    from starlette.middleware import Middleware

    from gavn.web.handlers import build
    from gavn.web.page import CSS, theme
    page = build(sessions, examples)
    request_filter = Middleware(RequestFilter, uploads=sessions.uploads, files=sessions.files,
                                private=not address.is_open, health=sessions.queue.status)
    _, url, _ = page.launch(
        server_name=address.for_gradio, server_port=address.port, prevent_thread_lock=True, quiet=True,
        inbrowser=False, share=False, show_error=False, ssr_mode=False, mcp_server=False, pwa=False,
        run_history=False, enable_monitoring=False, num_workers=0, footer_links=[],
        max_file_size=1, state_session_capacity=_PAGES, allowed_paths=[],
        blocked_paths=[str(sessions.folder)],
        app_kwargs={'middleware': [request_filter]}, theme=theme(), css_paths=CSS)
    return page, url


@contextmanager
def server_folder() -> Iterator[Path]:
    """Creates a folder and removes it at the end; first removes the folders of killed servers."""
    remove_abandoned(Path(gettempdir()))
    folder = Path(mkdtemp(prefix=PREFIX)).resolve()
    lock = FileLock(folder / _LOCK)
    lock.acquire()
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path) -> list[Path]:
    """Removes and returns the folders of killed servers."""
    gone = [folder for folder in sorted(parent.glob(f'{PREFIX}*')) if _own(folder) and _abandoned(folder)]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return gone


def _own(folder: Path) -> bool:
    """Returns whether it is a folder of this user and not a link."""
    found = folder.lstat()
    return folder.is_dir() and not folder.is_symlink() and found.st_uid == getattr(os, 'getuid', lambda: 0)()


def _abandoned(folder: Path) -> bool:
    lock = folder / _LOCK
    if not lock.exists():
        return time.time() - folder.stat().st_mtime > _YOUNG
    try:
        with FileLock(lock, timeout=0):
            return True
    except Timeout:
        return False
