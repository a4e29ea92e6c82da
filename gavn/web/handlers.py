"""Event handlers of the page, and the updates that show the state of a session."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypedDict

import gradio as gr

from gavn.web import html
from gavn.web.examples import Examples
from gavn.web.jobs import FaceJob, RestoreJob, RestoreRequest, WebJob
from gavn.web.limits import RefusalError
from gavn.web.page import PREVIEW, Parts, lay_out
from gavn.web.session_manager import SessionManager
from gavn.web.videos import RestoredVideo, Video

POLL = 0.25  # seconds between progress updates


class _EventOptions(TypedDict):
    show_progress: Literal['hidden']
    api_visibility: Literal['private']
    concurrency_limit: None


_QUIET: _EventOptions = {
    'show_progress': 'hidden', 'api_visibility': 'private', 'concurrency_limit': None}

Updates = dict[Any, Any]


def build(sessions: SessionManager, examples: Examples) -> gr.Blocks:
    """Builds the page with its handlers; does not serve it."""
    with gr.Blocks(title='gavn: restore a talking face', analytics_enabled=False) as page:
        handlers = Handlers(sessions, examples, lay_out(sessions))
        handlers.connect(page)
    return page


class Handlers:
    """Event handlers. They return or yield the updates of components."""

    def __init__(self, sessions: SessionManager, examples: Examples, parts: Parts) -> None:
        self.sessions, self.examples, self.parts = sessions, examples, parts

    def connect(self, page: gr.Blocks) -> None:
        """Connects the handlers; call it inside the open `gr.Blocks`."""
        parts = self.parts
        selected = [parts.videos, parts.which]
        parts.drop.upload(self.add_uploads, parts.which, parts.shown, **_QUIET)
        for number, button in enumerate(parts.examples):
            button.click(_example(self, number), parts.which, parts.shown, **_QUIET)
        parts.videos.input(self.select, selected, parts.shown, **_QUIET)
        parts.which.input(self.select, selected, parts.shown, **_QUIET)
        parts.faces.select(self.choose, None, parts.status, **_QUIET)
        parts.remove.click(self.remove, selected, parts.shown, **_QUIET)
        for button, how in ((parts.preview, {'preview': PREVIEW}), (parts.restore, {}),
                            (parts.restore_all, {'all_of_them': True})):
            button.click(_restoring(self, **how), parts.choices, parts.shown, **_QUIET)
        parts.cancel.click(self.cancel, None, None, **_QUIET)
        page.unload(self.leave)

    async def add_uploads(self, which: str, event: gr.EventData, request: gr.Request
                          ) -> AsyncIterator[Updates]:
        """Adds uploaded videos."""
        tokens, failures = _strings(event.tokens), _strings(event.failures)
        yield {self.parts.status: html.note('Reading the video ...')}
        added: list[Video] = []
        for token in tokens:
            try:
                added.append(await asyncio.to_thread(self.sessions.take, _session(request), token))
            except RefusalError as error:
                failures.append(str(error))
        message = html.failure(*failures) if failures else html.READY
        async for updates in self.select(added[-1].key if added else None, which, request, message):
            yield updates

    async def take_example(self, number: int, which: str, request: gr.Request) -> AsyncIterator[Updates]:
        """Adds an example video."""
        if not self.examples.ready:
            yield {self.parts.status: html.note('Generating the examples ...')}
        try:
            file = await asyncio.to_thread(self.examples.file, number)
            video = await asyncio.to_thread(self.sessions.take_example, _session(request), file)
        except RefusalError as error:
            yield {self.parts.status: html.failure(str(error))}
            return
        async for updates in self.select(video.key, which, request, html.READY):
            yield updates

    async def select(self, key: str | None, which: str, request: gr.Request, message: str | None = None
                     ) -> AsyncIterator[Updates]:
        """Shows a video; if faces are selected by image, finds and shows them too."""
        try:
            videos = self.sessions.videos(_session(request))
            busy = self.sessions.busy(_session(request))
        except RefusalError as error:
            yield {**self._state([], None, which), self.parts.status: html.failure(str(error))}
            return
        video = next((one for one in videos if one.key == key), videos[-1] if videos else None)
        status = {} if message is None else {self.parts.status: message}
        yield self._state(videos, video, which, busy) | status
        if which != 'chosen' or video is None or video.found is not None or busy:
            return
        begin = partial(self.sessions.find_faces, _session(request), video.key, _client(request))
        async for updates in self._followed(request, video.key, which, begin):
            yield updates

    async def choose(self, event: gr.EventData, request: gr.Request) -> Updates:
        """Selects the ticked faces."""
        try:
            count = self.sessions.choose(_session(request), str(event.video),
                                         [int(face) for face in event.faces])
        except (RefusalError, TypeError, ValueError) as error:
            return {self.parts.status: html.failure(str(error))}
        return {self.parts.status: html.note(f'{count} face{"s" * (count != 1)} selected.')}

    async def remove(self, key: str | None, which: str, request: gr.Request) -> AsyncIterator[Updates]:
        """Removes the selected video."""
        try:
            await asyncio.to_thread(self.sessions.drop, _session(request), key)
            left = self.sessions.videos(_session(request))
        except RefusalError as error:
            yield {self.parts.status: html.failure(str(error))}
            return
        message = html.READY if left else html.START
        async for updates in self.select(left[-1].key if left else None, which, request, message):
            yield updates

    def cancel(self, request: gr.Request) -> None:
        """Cancels the running job."""
        with suppress(RefusalError):  # the session has expired: nothing runs
            self.sessions.cancel(_session(request))

    def leave(self, request: gr.Request) -> None:
        """Ends the session of a closed page."""
        self.sessions.leave(_session(request))

    async def restore(self, chosen: Updates, request: gr.Request, preview: float | None = None,
                      all_of_them: bool = False) -> AsyncIterator[Updates]:
        """Restores the selected video, its first seconds or all videos, as the components `chosen` say."""
        parts, session = self.parts, _session(request)
        key, which = chosen[parts.videos], chosen[parts.which]
        restore_request = RestoreRequest(chosen[parts.task], which, chosen[parts.strength], preview,
                                         chosen[parts.scale] or None, chosen[parts.force])

        def begin() -> WebJob:
            keys = [video.key for video in self.sessions.videos(session)] if all_of_them else [key]
            return self.sessions.restore(session, restore_request, keys, _client(request))
        async for updates in self._followed(request, key, which, begin):
            yield updates

    async def _followed(self, request: gr.Request, key: str | None, which: str,
                        begin: Callable[[], WebJob | None]) -> AsyncIterator[Updates]:
        """Starts a job and shows its progress until it ends."""
        parts = self.parts
        try:
            job = await asyncio.to_thread(begin)
        except RefusalError as error:  # an expired session has no videos
            busy = self.sessions.busy(_session(request))
            yield {**self._shown(request, key, which, busy), parts.status: html.failure(str(error))}
            return
        if job is None:
            return
        yield {**self._shown(request, key, which, busy=True), parts.status: html.progress(job.tracker.state)}
        while job.running:
            yield {parts.status: html.progress(job.tracker.state, job.tracker.cancelled)}
            await asyncio.sleep(POLL)
        yield {**self._shown(request, key, which, busy=False), parts.status: _outcome(job)}

    def _shown(self, request: gr.Request, key: str | None, which: str, busy: bool) -> Updates:
        try:
            videos = self.sessions.videos(_session(request))
        except RefusalError:
            videos = []
        return self._state(videos, next((video for video in videos if video.key == key), None), which, busy)

    def _state(self, videos: Iterable[Video], video: Video | None, which: str, busy: bool = False) -> Updates:
        """Returns the updates that show a selected video."""
        videos, parts, files = list(videos), self.parts, self.sessions.files
        several = len(videos) > 1
        images = ''
        if which == 'chosen' and video is not None and video.found is not None:
            images = html.faces(video, video.found)
        return {
            parts.videos: gr.update(choices=[(html.label(one), one.key) for one in videos],
                                    value=video and video.key, visible=bool(videos)),
            parts.remove: gr.update(visible=video is not None, interactive=not busy),
            parts.player: gr.update(value=html.player(video, files), visible=video is not None),
            parts.faces: gr.update(value=images, visible=bool(images)),
            parts.preview: gr.update(interactive=not busy),
            parts.restore: gr.update(value='Restore this' if several else 'Restore', interactive=not busy),
            parts.restore_all: gr.update(value=f'Restore all {len(videos)}', visible=several,
                                         interactive=not busy),
            parts.cancel: gr.update(interactive=busy),
            **self._results(video, [one.result for one in videos if one.result])}

    def _results(self, video: Video | None, results: Sequence[RestoredVideo]) -> Updates:
        parts, files = self.parts, self.sessions.files
        if video is None or video.result is None:
            return {parts.results: gr.update(visible=False)}
        result = video.result
        return {
            parts.results: gr.update(visible=True),
            parts.heading: html.heading(video, result),
            parts.comparison: html.comparison(result, files),
            parts.side: gr.update(value=html.side(result, files), visible=result.side is not None),
            parts.downloads: html.downloads(result, results, files),
            parts.report: html.report(result.report)}


def _example(handlers: Handlers, number: int) -> Callable[..., AsyncIterator[Updates]]:
    async def handler(which: str, request: gr.Request) -> AsyncIterator[Updates]:
        async for updates in handlers.take_example(number, which, request):
            yield updates
    return handler


def _restoring(handlers: Handlers, **how: Any) -> Callable[..., AsyncIterator[Updates]]:
    async def handler(chosen: Updates, request: gr.Request) -> AsyncIterator[Updates]:
        async for updates in handlers.restore(chosen, request, **how):
            yield updates
    return handler


def _session(request: gr.Request) -> str:
    assert request.session_hash is not None, 'gradio names the session of each event'
    return request.session_hash


def _client(request: gr.Request) -> str:
    return request.client.host if request.client else ''


def _strings(values: Any) -> list[str]:
    """Returns the strings of a list from the browser."""
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _outcome(job: WebJob) -> str:
    """Returns the message at the end of a job."""
    if isinstance(job, FaceJob):
        if job.failure is not None:
            return html.failure(job.failure)
        return html.note('Cancelled.' if job.cancelled and job.video.found is None else
                         'Select the faces to restore.')
    assert isinstance(job, RestoreJob), 'there are two kinds of jobs'
    return html.outcome(job.videos, job.cancelled)
