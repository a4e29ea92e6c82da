"""HTML of videos and images, with native controls that are accessible by keyboard."""
from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from gavn.web.files import Archive, Files
from gavn.web.limits import length
from gavn.web.videos import Found, Result, Video

DROP = """<label class="drop"><input type="file" multiple accept="video/*,.mkv,.ts,.mts,.m2ts,.ogv">
<strong>Drop videos here</strong><span>or choose files</span><small>${takes}</small></label>
<div class="sending" hidden><span></span><progress max="1"></progress></div>"""
"""The drop zone; `drop.js` has its script."""

CHOOSE = """element.addEventListener('change', () => trigger('select', {
    video: element.querySelector('fieldset').dataset.video,
    faces: [...element.querySelectorAll('input:checked')].map(box => Number(box.value))}))"""
"""Script: sends the ticked faces."""


def label(video: Video) -> str:
    """Returns a line with name, length, size and state of a video."""
    info = video.info
    return f'{video.source.name} · {length(info.duration)} · {info.width} × {info.height}{_state(video)}'


def _state(video: Video) -> str:
    if video.result is None:
        return ' · failed' if video.failure else ''
    done = 'restored' if video.result.report.restored else 'unchanged'
    return f' · {done}' if video.result.preview is None else ' · preview'


def player(video: Video | None, files: Files) -> str:
    """Returns a player of the input video; it shows the first frame if the browser cannot play it."""
    if video is None:
        return ''
    return _player(files.address(video.source), f'The video {video.source.name}',
                   files.address(video.poster))


def _player(source: str, name: str, poster: str = '') -> str:
    shown = f' poster="{escape(poster)}"' if poster else ''
    return (f'<video controls preload="metadata" src="{escape(source)}"{shown} aria-label="{escape(name)}" '
            'onloadedmetadata="this.nextElementSibling.hidden = true" '
            'onerror="this.nextElementSibling.hidden = false"></video>'
            '<p class="unplayable" hidden>This browser cannot play the file; gavn can still '
            'restore it.</p>')


def faces(video: Video, found: Found) -> str:
    """Returns thumbnails of the faces with checkboxes."""
    chosen = video.chosen or frozenset()
    boxes = []
    for face in found.pictured:
        start, end = map(_clock, found.seconds(face))
        ticked = ' checked' if face.id in chosen else ''
        boxes.append(f'<label><input type="checkbox" value="{face.id}"{ticked}>'
                     f'<img src="{face.thumbnail}" alt="Face {face.id}">'
                     f'<span>Face {face.id}<br>{start} to {end}</span></label>')
    rest = len(found.faces.faces) - len(boxes)
    more = f'<p>{rest} more faces, which appear in fewer frames, are always restored.</p>' if rest else ''
    return (f'<fieldset class="faces" data-video="{escape(video.key)}"><legend>Faces of '
            f'{escape(video.source.name)}</legend>{"".join(boxes)}</fieldset>{more}')


def comparison(result: Result, files: Files) -> str:
    """Returns an image before and after with a slider between them."""
    before, after = (escape(files.address(path)) for path in (result.before, result.after))
    return ('<figure class="comparison" style="--at: 50%">'
            f'<img src="{before}" alt="before"><img class="after" src="{after}" alt="after">'
            '<input type="range" min="0" max="100" value="50" aria-label="Position of the border '
            'between before and after" '
            'oninput="this.parentElement.style.setProperty(\'--at\', this.value + \'%\')">'
            '<figcaption><span>before</span><span>after</span></figcaption></figure>')


def side(result: Result, files: Files) -> str:
    """Returns a player of the comparison video."""
    return _player(files.address(result.side), 'Before and after, with audio') if result.side else ''


def downloads(result: Result, results: Sequence[Result], files: Files) -> str:
    """Returns download links of the video and the report, and of all `results` if there are several."""
    what = 'video' if result.preview is None else 'preview'
    links: list[tuple[str, str, Path | Archive]] = [
        (f'Download the {what}', 'download', result.video),
        ('Download the report', 'download-report', result.notes)]
    if len(results) > 1:
        archive = Archive(tuple(path for one in results for path in (one.video, one.notes)))
        links.append((f'Download all {len(results)} results (.zip)', 'download-all', archive))
    return '<p class="downloads">' + ''.join(
        f'<a id="{name}" href="{escape(files.address(path))}?save" download="{escape(path.name)}">'
        f'{text}</a>' for text, name, path in links) + '</p>'


def heading(video: Video, result: Result) -> str:
    """Returns the heading of the results."""
    report, first = result.report, f' in the first {result.preview:g} s' if result.preview else ''
    what = f'Preview of the first {result.preview:g} s' if first else 'Restored'
    if report.hardly_changed:
        what = f'Hardly any change{first}'
        more = f'The faces change by {report.change:.2f} grey levels, which is not visible'
    elif not report.restored:
        what, more = f'Nothing restored{first}', 'The faces are unchanged'
    else:
        more = ''
    copied = '; the video stream is copied without encoding' if report.copied else ''
    details = f'<p>{more}{copied}.</p>' if more else ''
    return f'<h2>{what}: {escape(video.source.name)}</h2>{details}'


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f'{minutes}:{rest:02d}'
