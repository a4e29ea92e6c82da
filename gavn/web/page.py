"""The page: what stands where, and what happens when something is pressed."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from gavn.web import words
from gavn.web.desk import Desk
from gavn.web.examples import EXAMPLES, Examples
from gavn.web.jobs import Job, Order
from gavn.web.limits import RefusalError

PREVIEW = 3.  # seconds
POLL = 0.25  # seconds between two looks at a job
KEPT_FOR = 24 * 3600  # seconds that gradio keeps files of pages that were left open
CSS = Path(__file__).with_name('page.css')
FACES = [('all', 'all'), ('the largest', 'largest')]
HEADER = """<header><h1>gavn</h1><p>Restores talking faces in video: compression, blur, low resolution.
Everything happens on this machine; nothing leaves it.</p></header>"""
_button = partial(gr.Button, size='md', min_width=80)
_QUIET = {'show_progress': 'hidden', 'api_visibility': 'private'}

Updates = dict[Any, Any]


def theme() -> gr.themes.Base:
    """System fonts: nothing is loaded from elsewhere."""
    return gr.themes.Base(
        primary_hue='teal', neutral_hue='slate', radius_size='md',
        font=('system-ui', '-apple-system', 'Segoe UI', 'Roboto', 'sans-serif'),
        font_mono=('ui-monospace', 'Consolas', 'monospace'),
    ).set(  # text that stands out enough from what is behind it
        body_text_color_subdued='*neutral_600', block_info_text_color='*neutral_600',
        block_label_text_color='*neutral_600', block_title_text_color='*neutral_700',
        button_primary_background_fill='*primary_700', button_primary_background_fill_hover='*primary_800',
        slider_color='*primary_700')


@dataclass(frozen=True)
class Parts:
    """The components that handlers change."""

    video: gr.Video
    preview: gr.Button
    restore: gr.Button
    cancel: gr.Button
    status: gr.HTML
    results: gr.Column
    heading: gr.HTML
    slider: gr.ImageSlider
    side: gr.Video
    report: gr.HTML
    download: gr.DownloadButton
    notes: gr.DownloadButton

    def all(self) -> list[Any]:
        """For handlers that may change each of them."""
        return list(vars(self).values())


def build(desk: Desk, examples: Examples) -> gr.Blocks:
    """The page with its handlers; nothing is served yet."""
    with gr.Blocks(title='gavn: restore a talking face', analytics_enabled=False,
                   delete_cache=(600, KEPT_FOR)) as page:
        gr.HTML(HEADER, padding=False)
        with gr.Row(elem_id='work'):
            with gr.Column(scale=3, min_width=280):
                video = gr.Video(label=f'Your video ({desk.limits.in_words()})', sources=['upload'],
                                 height=340, buttons=[], elem_id='video')
                with gr.Group(elem_id='examples'):
                    gr.HTML('<p>No video at hand? A drawn person, three seconds:</p>', padding=False)
                    with gr.Row():
                        buttons = [gr.Button(example.label, size='sm', min_width=80,
                                             elem_id=f'example-{example.name}') for example in EXAMPLES]
            with gr.Column(scale=2, min_width=280):
                choices = _choices(desk)
                with gr.Row():
                    preview = _button(f'Preview {PREVIEW:g} s', elem_id='preview')
                    restore = _button('Restore', variant='primary', elem_id='restore')
                    cancel = _button('Cancel', interactive=False, elem_id='cancel')
                status = gr.HTML(words.note('Drop a video, or take an example.'), elem_id='status',
                                 padding=False)
        parts = Parts(video, preview, restore, cancel, status, *_results())
        _connect(page, desk, examples, parts, choices, buttons)
    _refuse_addresses(page)
    return page


def _choices(desk: Desk) -> list[Any]:
    tasks = [(f'{name}: {text}', name) for name, text in desk.networks.tasks.items()]
    own = [] if tasks else [(f'weights of your own: {desk.networks.weights.name}', 'auto')]
    return [
        gr.Dropdown(tasks or own, value='auto', label='What is wrong with the faces',
                    interactive=bool(tasks), elem_id='task'),
        gr.Radio(FACES, value='all', label='Which faces', elem_id='faces'),
        gr.Slider(0, 1, 1, step=0.05, label='Strength', info='1: all of the change; 0: none of it',
                  elem_id='strength'),
    ]


def _results() -> tuple[Any, ...]:
    with gr.Column(visible=False, elem_id='results') as results:
        heading = gr.HTML(padding=False)
        with gr.Row():
            with gr.Column(min_width=280):
                slider = gr.ImageSlider(label='One frame: before | after', buttons=['fullscreen'],
                                        interactive=False, elem_id='slider')
            with gr.Column(min_width=280):
                side = gr.Video(label='Before and after, with sound', interactive=False, buttons=[],
                                elem_id='side')
                with gr.Row():
                    download = gr.DownloadButton('Download the video', variant='primary', size='md',
                                                 min_width=130, elem_id='download')
                    notes = gr.DownloadButton('Download the report', size='md', min_width=130,
                                              elem_id='download-report')
        report = gr.HTML(elem_id='report', padding=False)
    return results, heading, slider, side, report, download, notes


def _connect(page: gr.Blocks, desk: Desk, examples: Examples, parts: Parts, choices: list[Any],
             buttons: list[gr.Button]) -> None:
    changed = [parts.video, parts.status, parts.results]

    def take(upload: str, request: gr.Request) -> Updates:
        return _taken(parts, lambda: desk.take(request.session_hash, Path(upload)))

    def show(number: int, request: gr.Request) -> Iterator[Updates]:
        if not examples.ready:
            yield {parts.status: words.note('The examples are being drawn; a moment ...')}
        yield _taken(parts, lambda: desk.take_example(request.session_hash, examples.file(number)))

    def clear(request: gr.Request) -> Updates:
        desk.drop(request.session_hash)
        return {parts.status: words.note('Drop a video, or take an example.'),
                parts.results: gr.update(visible=False)}

    def leave(request: gr.Request) -> None:
        desk.leave(request.session_hash)

    def cancel(request: gr.Request) -> None:
        desk.cancel(request.session_hash)

    async def work(task: str, faces: str, strength: float, request: gr.Request, seconds: float | None = None
                   ) -> AsyncIterator[Updates]:
        order = Order(task, faces, strength, seconds)
        async for updates in _followed(partial(desk.start, request.session_hash, order), parts):
            yield updates

    async def preview(task: str, faces: str, strength: float, request: gr.Request) -> AsyncIterator[Updates]:
        async for updates in work(task, faces, strength, request, PREVIEW):
            yield updates

    parts.video.upload(take, parts.video, changed, **_QUIET)
    parts.video.clear(clear, None, [parts.status, parts.results], **_QUIET)
    for number, button in enumerate(buttons):
        button.click(_numbered(show, number), None, changed, **_QUIET)
    for button, handler in ((parts.restore, work), (parts.preview, preview)):
        button.click(handler, choices, parts.all(), concurrency_limit=None, **_QUIET)
    parts.cancel.click(cancel, None, None, concurrency_limit=None, **_QUIET)
    page.unload(leave)


def _numbered(show: Callable[[int, gr.Request], Iterator[Updates]], number: int
              ) -> Callable[[gr.Request], Iterator[Updates]]:
    def handler(request: gr.Request) -> Iterator[Updates]:
        yield from show(number, request)
    return handler


def _taken(parts: Parts, take: Callable[[], Path]) -> Updates:
    hidden = gr.update(visible=False)
    try:
        source = take()
    except RefusalError as error:
        return {parts.video: None, parts.status: words.trouble(str(error)), parts.results: hidden}
    return {parts.video: str(source), parts.results: hidden,
            parts.status: words.note('Ready. A preview shows soon what a whole run will do.')}


async def _followed(start: Callable[[], Job], parts: Parts) -> AsyncIterator[Updates]:
    """Starts a job and tells of it until it ends."""
    try:
        job = await asyncio.to_thread(start)
    except RefusalError as error:
        yield {parts.status: words.trouble(str(error))}
        return
    yield {**_busy(parts, True), parts.results: gr.update(visible=False),
           parts.status: words.progress(job.watch.state)}
    while job.running:
        yield {parts.status: words.progress(job.watch.state, job.watch.cancelled)}
        await asyncio.sleep(POLL)
    yield {**_busy(parts, False), **_outcome(job, parts)}


def _busy(parts: Parts, busy: bool) -> Updates:
    return {parts.preview: gr.update(interactive=not busy), parts.restore: gr.update(interactive=not busy),
            parts.cancel: gr.update(interactive=busy)}


def _outcome(job: Job, parts: Parts) -> Updates:
    if job.trouble is not None:
        return {parts.status: words.trouble(job.trouble)}
    if (made := job.result) is None:
        return {parts.status: words.note('Cancelled; nothing was kept.')}
    whole = job.order.preview is None
    title = 'Restored' if whole else f'Preview of the first {job.order.preview:g} s'
    return {
        parts.status: words.note('Done: see below.'),
        parts.results: gr.update(visible=True),
        parts.heading: f'<h2>{title}</h2>',
        parts.slider: (str(made.before), str(made.after)),
        parts.side: gr.update(value=str(made.side) if made.side else None, visible=made.side is not None),
        parts.report: words.report(made.report),
        parts.download: gr.update(label='Download the video' if whole else 'Download the preview',
                                  value=str(made.video)),
        parts.notes: str(made.notes),
    }


def _refuse_addresses(page: gr.Blocks) -> None:
    """Gradio fetches a file that a request names by an address; here files are uploaded, or refused."""
    from gradio_client.utils import is_http_url_like

    def local(move: Callable[..., Any]) -> Callable[..., Any]:
        async def moved(path: str | Path | None) -> str | None:
            if is_http_url_like(str(path)):
                raise gr.Error('Files are uploaded, not fetched from an address.')
            return await move(path)
        return moved

    for block in page.blocks.values():
        block.async_move_resource_to_block_cache = local(block.async_move_resource_to_block_cache)
