"""What happens when something on the page is pressed, and how the page shows the state that this leads to."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import gradio as gr

from gavn.web import html, show
from gavn.web.examples import Examples
from gavn.web.jobs import FaceJob, Job, RestoreRequest
from gavn.web.limits import RefusalError
from gavn.web.page import PREVIEW, Parts, lay_out
from gavn.web.session_manager import SessionManager
from gavn.web.videos import Video

POLL = 0.25  # seconds between two looks at a job
_QUIET = {'show_progress': 'hidden', 'api_visibility': 'private', 'concurrency_limit': None}

Updates = dict[Any, Any]


def build(desk: SessionManager, examples: Examples) -> gr.Blocks:
    """The page with its handlers; nothing is served yet."""
    with gr.Blocks(title='gavn: restore a talking face', analytics_enabled=False) as page:
        handlers = Handlers(desk, examples, lay_out(desk))
        handlers.connect(page)
    return page


class Handlers:
    """Handlers of one server's pages. What they return is what changes on the page."""

    def __init__(self, desk: SessionManager, examples: Examples, parts: Parts) -> None:
        self.desk, self.examples, self.parts = desk, examples, parts

    def connect(self, page: gr.Blocks) -> None:
        """Within the open blocks."""
        parts = self.parts
        selected = [parts.videos, parts.which]
        parts.drop.upload(self.take, parts.which, parts.shown, **_QUIET)
        for number, button in enumerate(parts.examples):
            button.click(_example(self, number), parts.which, parts.shown, **_QUIET)
        parts.videos.input(self.look, selected, parts.shown, **_QUIET)
        parts.which.input(self.look, selected, parts.shown, **_QUIET)
        parts.faces.select(self.choose, None, parts.status, **_QUIET)
        parts.remove.click(self.remove, selected, parts.shown, **_QUIET)
        for button, handler in ((parts.preview, self.preview), (parts.restore, self.restore),
                                (parts.restore_all, self.restore_all)):
            button.click(handler, parts.choices, parts.shown, **_QUIET)
        parts.cancel.click(self.cancel, None, None, **_QUIET)
        page.unload(self.leave)

    async def take(self, which: str, event: gr.EventData, request: gr.Request) -> AsyncIterator[Updates]:
        """Files were uploaded, or could not be; those that are videos are added."""
        tokens, troubles = _strings(event.tokens), _strings(event.troubles)
        yield {self.parts.status: html.note('Looking at what came ...')}
        taken: list[Video] = []
        for token in tokens:
            try:
                taken.append(await asyncio.to_thread(self.desk.take, request.session_hash, token))
            except RefusalError as error:
                troubles.append(str(error))
        said = html.trouble(*troubles) if troubles else html.READY
        async for updates in self._select(request, taken[-1].key if taken else None, which, said):
            yield updates

    async def take_example(self, number: int, which: str, request: gr.Request) -> AsyncIterator[Updates]:
        """An example is wanted."""
        if not self.examples.ready:
            yield {self.parts.status: html.note('The examples are being drawn; a moment ...')}
        try:
            file = await asyncio.to_thread(self.examples.file, number)
            video = await asyncio.to_thread(self.desk.take_example, request.session_hash, file)
        except RefusalError as error:
            yield {self.parts.status: html.trouble(str(error))}
            return
        async for updates in self._select(request, video.key, which, html.READY):
            yield updates

    async def look(self, key: str | None, which: str, request: gr.Request) -> AsyncIterator[Updates]:
        """Another video, or another choice of faces."""
        async for updates in self._select(request, key, which, None):
            yield updates

    async def choose(self, event: gr.EventData, request: gr.Request) -> Updates:
        """Faces were ticked."""
        try:
            self.desk.choose(request.session_hash, str(event.video), [int(face) for face in event.faces])
        except (RefusalError, TypeError, ValueError) as error:
            return {self.parts.status: html.trouble(str(error))}
        count = len(event.faces)
        return {self.parts.status: html.note(f'{count} face{"s" * (count != 1)} chosen.')}

    async def remove(self, key: str | None, which: str, request: gr.Request) -> AsyncIterator[Updates]:
        """The selected video is to go."""
        try:
            await asyncio.to_thread(self.desk.drop, request.session_hash, key)
            left = self.desk.videos(request.session_hash)
        except RefusalError as error:
            yield {self.parts.status: html.trouble(str(error))}
            return
        said = html.READY if left else html.START
        async for updates in self._select(request, left[-1].key if left else None, which, said):
            yield updates

    async def preview(self, chosen: Updates, request: gr.Request) -> AsyncIterator[Updates]:
        """The beginning of the selected video."""
        async for updates in self._restore(chosen, request, preview=PREVIEW):
            yield updates

    async def restore(self, chosen: Updates, request: gr.Request) -> AsyncIterator[Updates]:
        """The selected video."""
        async for updates in self._restore(chosen, request):
            yield updates

    async def restore_all(self, chosen: Updates, request: gr.Request) -> AsyncIterator[Updates]:
        """All videos."""
        async for updates in self._restore(chosen, request, all_of_them=True):
            yield updates

    def cancel(self, request: gr.Request) -> None:
        """What runs is to end."""
        with suppress(RefusalError):  # the page was left alone: nothing runs
            self.desk.cancel(request.session_hash)

    def leave(self, request: gr.Request) -> None:
        """The page was closed."""
        self.desk.leave(request.session_hash)

    async def _restore(self, chosen: Updates, request: gr.Request, preview: float | None = None,
                       all_of_them: bool = False) -> AsyncIterator[Updates]:
        """Restores as the components `chosen` say, which stand with their values."""
        parts, session = self.parts, request.session_hash
        key, which = chosen[parts.videos], chosen[parts.which]
        order = RestoreRequest(
            chosen[parts.task],
            which,
            chosen[parts.strength],
            preview,
            chosen[parts.scale] or None,
            chosen[parts.even_so],
        )

        def begin() -> Job:
            keys = [video.key for video in self.desk.videos(session)] if all_of_them else [key]
            return self.desk.restore(session, order, keys)
        async for updates in self._followed(request, key, which, begin):
            yield updates

    async def _select(self, request: gr.Request, key: str | None, which: str, said: str | None
                      ) -> AsyncIterator[Updates]:
        """Shows a video, with its faces where these are to be chosen by picture, looking for them first."""
        try:
            videos = self.desk.videos(request.session_hash)
            busy = self.desk.busy(request.session_hash)
        except RefusalError as error:
            yield {**self._state([], None, which), self.parts.status: html.trouble(str(error))}
            return
        video = next((one for one in videos if one.key == key), videos[-1] if videos else None)
        yield self._state(videos, video, which, busy) | ({} if said is None else {self.parts.status: said})
        if which != 'chosen' or video is None or video.found is not None or busy:
            return
        begin = partial(self.desk.look_for_faces, request.session_hash, video.key)
        async for updates in self._followed(request, video.key, which, begin):
            yield updates

    async def _followed(self, request: gr.Request, key: str | None, which: str,
                        begin: Callable[[], Job | None]) -> AsyncIterator[Updates]:
        """Begins a job and tells of it until it ends."""
        parts = self.parts
        try:
            job = await asyncio.to_thread(begin)
        except RefusalError as error:  # of a page that was left alone the videos are gone
            busy = self.desk.busy(request.session_hash)
            yield {**self._shown(request, key, which, busy), parts.status: html.trouble(str(error))}
            return
        if job is None:
            return
        yield {**self._shown(request, key, which, busy=True), parts.status: html.progress(job.watch.state)}
        while job.running:
            yield {parts.status: html.progress(job.watch.state, job.watch.cancelled)}
            await asyncio.sleep(POLL)
        yield {**self._shown(request, key, which, busy=False), parts.status: _outcome(job)}

    def _shown(self, request: gr.Request, key: str | None, which: str, busy: bool) -> Updates:
        try:
            videos = self.desk.videos(request.session_hash)
        except RefusalError:
            videos = []
        return self._state(videos, next((video for video in videos if video.key == key), None), which, busy)

    def _state(self, videos: Iterable[Video], video: Video | None, which: str, busy: bool = False) -> Updates:
        """The page with a video selected, while a job runs or not."""
        videos, parts, files = list(videos), self.parts, self.desk.files
        several = len(videos) > 1
        choosing = which == 'chosen' and video and video.found
        pictures = show.faces(video, video.found) if choosing else ''
        return {
            parts.videos: gr.update(choices=[(show.label(one), one.key) for one in videos],
                                    value=video and video.key, visible=bool(videos)),
            parts.remove: gr.update(visible=video is not None, interactive=not busy),
            parts.player: gr.update(value=show.player(video, files), visible=video is not None),
            parts.faces: gr.update(value=pictures, visible=bool(pictures)),
            parts.preview: gr.update(interactive=not busy),
            parts.restore: gr.update(value='Restore this' if several else 'Restore', interactive=not busy),
            parts.restore_all: gr.update(value=f'Restore all {len(videos)}', visible=several,
                                         interactive=not busy),
            parts.cancel: gr.update(interactive=busy),
            **self._results(video)}

    def _results(self, video: Video | None) -> Updates:
        parts, files = self.parts, self.desk.files
        result = video.result if video else None
        if result is None:
            return {parts.results: gr.update(visible=False)}
        return {
            parts.results: gr.update(visible=True),
            parts.heading: show.heading(video, result),
            parts.comparison: show.comparison(result, files),
            parts.side: gr.update(value=show.side(result, files), visible=result.side is not None),
            parts.downloads: show.downloads(result, files),
            parts.report: html.report(result.report)}


def _example(handlers: Handlers, number: int) -> Callable[..., AsyncIterator[Updates]]:
    async def handler(which: str, request: gr.Request) -> AsyncIterator[Updates]:
        async for updates in handlers.take_example(number, which, request):
            yield updates
    return handler


def _strings(values: Any) -> list[str]:
    """The texts of a list that a browser sent."""
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _outcome(job: Job) -> str:
    """What is said at the end of a job."""
    if isinstance(job, FaceJob):
        if job.trouble is not None:
            return html.trouble(job.trouble)
        return html.note('Cancelled.' if job.cancelled and job.video.found is None else
                          'Choose the faces to restore.')
    return html.outcome(job.videos, job.cancelled)
