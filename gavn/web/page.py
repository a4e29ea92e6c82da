"""The page: what stands where. `gavn.web.handlers` says what happens when something is pressed."""
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from gavn.media import SCALES
from gavn.web import html, show
from gavn.web.examples import EXAMPLES
from gavn.web.jobs import EVEN_SO
from gavn.web.session_manager import SessionManager

PREVIEW = 3.  # seconds
CSS, DROP_SCRIPT = (Path(__file__).with_name(name) for name in ('page.css', 'drop.js'))
FACES = [('all', 'all'), ('the largest', 'largest'), ('choose by picture', 'chosen')]
SIZES = [('as it is', ''), *((f'{times} times' if times.isdecimal() else times, times) for times in SCALES)]
HEADER = """<header><h1>gavn</h1><p>Restores talking faces in video: compression, blur, low resolution.
Everything happens on this machine; nothing leaves it.</p></header>"""
_button = partial(gr.Button, size='md', min_width=80)
_html = partial(gr.HTML, padding=False, apply_default_css=False)


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
    """The components of the page that handlers read or change."""

    drop: gr.HTML
    examples: list[gr.Button]
    videos: gr.Radio
    remove: gr.Button
    player: gr.HTML
    task: gr.Dropdown
    even_so: gr.Checkbox
    which: gr.Radio
    scale: gr.Dropdown
    faces: gr.HTML
    strength: gr.Slider
    preview: gr.Button
    restore: gr.Button
    restore_all: gr.Button
    cancel: gr.Button
    status: gr.HTML
    results: gr.Column
    heading: gr.HTML
    comparison: gr.HTML
    side: gr.HTML
    downloads: gr.HTML
    report: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """What changes with the state of a page."""
        return [self.videos, self.remove, self.player, self.faces, self.preview, self.restore,
                self.restore_all, self.cancel, self.status, self.results, self.heading,
                self.comparison, self.side, self.downloads, self.report]

    @property
    def choices(self) -> set[Any]:
        """What an order is made of."""
        return {self.videos, self.task, self.even_so, self.which, self.scale, self.strength}


def lay_out(desk: SessionManager) -> Parts:
    """The components, within the blocks that are open."""
    gr.HTML(HEADER, padding=False)
    parts: dict[str, Any] = {}
    with gr.Row(elem_id='work'):
        with gr.Column(scale=3, min_width=280):
            parts |= _input(desk)
        with gr.Column(scale=2, min_width=280):
            parts |= _choices(desk)
            with gr.Row():
                parts['preview'] = _button(f'Preview {PREVIEW:g} s', elem_id='preview')
                parts['restore'] = _button('Restore', variant='primary', elem_id='restore')
                parts['cancel'] = _button('Cancel', interactive=False, elem_id='cancel')
            parts['restore_all'] = _button('Restore all', visible=False, elem_id='restore-all')
            parts['status'] = _html(html.START, elem_id='status')
    return Parts(**parts, **_results())


def _input(desk: SessionManager) -> dict[str, Any]:
    drop = _html(html_template=show.DROP, js_on_load=DROP_SCRIPT.read_text(encoding='utf-8'), elem_id='drop',
                 takes=desk.limits.in_words(), bytes=desk.limits.bytes)
    with gr.Group(elem_id='examples'):
        gr.HTML('<p>No video at hand? A drawn person, three seconds:</p>', padding=False)
        with gr.Row():
            examples = [gr.Button(example.label, size='sm', min_width=80, elem_id=f'example-{example.name}')
                        for example in EXAMPLES]
    videos = gr.Radio([], label='Your videos', visible=False, elem_id='videos')
    remove = gr.Button('Remove this video', size='sm', visible=False, elem_id='remove')
    player = _html(elem_id='player', visible=False)
    return {'drop': drop, 'examples': examples, 'videos': videos, 'player': player, 'remove': remove}


def _choices(desk: SessionManager) -> dict[str, Any]:
    tasks = [(f'{name}: {text}', name) for name, text in desk.networks.tasks.items()]
    own = [] if tasks else [(f'weights of your own: {desk.networks.weights.name}', 'auto')]
    task = gr.Dropdown(tasks or own, value='auto', label='What is wrong with the faces',
                       interactive=bool(tasks), elem_id='task')
    even_so = gr.Checkbox(label=EVEN_SO, visible=bool(tasks), elem_id='even-so')
    which = gr.Radio(FACES, value='all', label='Which faces', elem_id='faces')
    faces = _html(js_on_load=show.CHOOSE, visible=False, elem_id='face-pictures')
    scale = gr.Dropdown(SIZES, value='', label='Size of the picture', info='larger keeps more of small faces',
                        elem_id='scale')
    strength = gr.Slider(0, 1, 1, step=0.05, label='Strength', info='1: all of the change; 0: none of it',
                         elem_id='strength')
    return {'task': task, 'even_so': even_so, 'which': which, 'faces': faces, 'scale': scale,
            'strength': strength}


def _results() -> dict[str, Any]:
    with gr.Column(visible=False, elem_id='results') as results:
        heading = _html()
        with gr.Row():
            with gr.Column(min_width=280):
                comparison = _html(elem_id='comparison')
            with gr.Column(min_width=280):
                side = _html(elem_id='side')
                downloads = _html(elem_id='downloads')
        report = gr.HTML(elem_id='report', padding=False)
    return {'results': results, 'heading': heading, 'comparison': comparison, 'side': side,
            'downloads': downloads, 'report': report}
