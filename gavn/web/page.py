"""Layout of the page. `gavn.web.handlers` has the event handlers."""
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from gavn.media import SCALES
from gavn.web import html
from gavn.web.examples import EXAMPLES
from gavn.web.jobs import FORCE_LABEL
from gavn.web.session_manager import SessionManager

PREVIEW = 3.  # seconds
CSS, DROP_SCRIPT = (Path(__file__).with_name(name) for name in ('page.css', 'drop.js'))
FACES = [('all', 'all'), ('the largest', 'largest'), ('select by image', 'chosen')]
SIZES = [('original', ''), *((f'{times} times' if times.isdecimal() else times, times) for times in SCALES)]
HEADER = """<header><h1>gavn</h1><p>Restores talking faces in video: compression, blur, low resolution.
All processing is local.</p></header>"""
_button = partial(gr.Button, size='md', min_width=80)
_html = partial(gr.HTML, padding=False, apply_default_css=False)


def theme() -> gr.themes.Base:
    """Returns a theme with system fonts, so that nothing is loaded from the network."""
    return gr.themes.Base(
        primary_hue='teal', neutral_hue='slate', radius_size='md',
        font=('system-ui', '-apple-system', 'Segoe UI', 'Roboto', 'sans-serif'),
        font_mono=('ui-monospace', 'Consolas', 'monospace'),
    ).set(  # sufficient contrast
        body_text_color_subdued='*neutral_600', block_info_text_color='*neutral_600',
        block_label_text_color='*neutral_600', block_title_text_color='*neutral_700',
        button_primary_background_fill='*primary_700', button_primary_background_fill_hover='*primary_800',
        slider_color='*primary_700')


@dataclass(frozen=True)
class Parts:
    """The components that handlers read or update."""

    drop: gr.HTML
    examples: list[gr.Button]
    videos: gr.Radio
    remove: gr.Button
    player: gr.HTML
    task: gr.Dropdown
    force: gr.Checkbox
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
        """The components that show the state."""
        return [self.videos, self.remove, self.player, self.faces, self.preview, self.restore,
                self.restore_all, self.cancel, self.status, self.results, self.heading,
                self.comparison, self.side, self.downloads, self.report]

    @property
    def choices(self) -> set[Any]:
        """The components that a restoration is configured with."""
        return {self.videos, self.task, self.force, self.which, self.scale, self.strength}


def lay_out(sessions: SessionManager) -> Parts:
    """Creates the components; call it inside the open `gr.Blocks`."""
    gr.HTML(HEADER, padding=False)
    parts: dict[str, Any] = {}
    with gr.Row(elem_id='work'):
        with gr.Column(scale=3, min_width=280):
            parts |= _input(sessions)
        with gr.Column(scale=2, min_width=280):
            parts |= _choices(sessions)
            with gr.Row():
                parts['preview'] = _button(f'Preview {PREVIEW:g} s', elem_id='preview')
                parts['restore'] = _button('Restore', variant='primary', elem_id='restore')
                parts['cancel'] = _button('Cancel', interactive=False, elem_id='cancel')
            parts['restore_all'] = _button('Restore all', visible=False, elem_id='restore-all')
            parts['status'] = _html(html.START, elem_id='status')
    return Parts(**parts, **_results())


def _input(sessions: SessionManager) -> dict[str, Any]:
    script = DROP_SCRIPT.read_text(encoding='utf-8')
    drop = _html(html_template=html.DROP, js_on_load=script, elem_id='drop',
                 takes=sessions.limits.describe(), bytes=sessions.limits.bytes)
    with gr.Group(elem_id='examples'):
        gr.HTML('<p>No video at hand? Synthetic examples, three seconds:</p>', padding=False)
        with gr.Row():
            examples = [gr.Button(example.label, size='sm', min_width=80, elem_id=f'example-{example.name}')
                        for example in EXAMPLES]
    videos = gr.Radio([], label='Your videos', visible=False, elem_id='videos')
    remove = gr.Button('Remove this video', size='sm', visible=False, elem_id='remove')
    player = _html(elem_id='player', visible=False)
    return {'drop': drop, 'examples': examples, 'videos': videos, 'player': player, 'remove': remove}


def _choices(sessions: SessionManager) -> dict[str, Any]:
    tasks = [(f'{name}: {text}', name) for name, text in sessions.networks.tasks.items()]
    weights = sessions.networks.weights
    own = [] if weights is None else [(f'your weights: {weights.name}', 'auto')]
    task = gr.Dropdown(tasks or own, value='auto', label='Degradation of the faces',
                       interactive=bool(tasks), elem_id='task')
    force = gr.Checkbox(label=FORCE_LABEL, visible=bool(tasks), elem_id='force')
    which = gr.Radio(FACES, value='all', label='Faces', elem_id='faces')
    faces = _html(js_on_load=html.CHOOSE, visible=False, elem_id='face-images')
    scale = gr.Dropdown(SIZES, value='', label='Output size', info='larger keeps more detail of small faces',
                        elem_id='scale')
    strength = gr.Slider(0, 1, 1, step=0.05, label='Strength', info='1: full restoration; 0: no change',
                         elem_id='strength')
    return {'task': task, 'force': force, 'which': which, 'faces': faces, 'scale': scale,
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
