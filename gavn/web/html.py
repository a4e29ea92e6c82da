"""HTML of messages, progress, the report and videos.

All external text is escaped. Controls are native and accessible by keyboard.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from gavn.restoration.report import ESTIMATES, Report
from gavn.web.files import Files, ZipDownload
from gavn.web.limits import length
from gavn.web.progress_tracker import State
from gavn.web.videos import DetectedFaces, RestoredVideo, Video

MAX_FACES = 12  # in the table; the report file lists all
DROP = """<label class="drop"><input type="file" multiple accept="video/*,.mkv,.ts,.mts,.m2ts,.ogv">
<strong>Drop videos here</strong><span>or choose files</span><small>${takes}</small></label>
<div class="sending" hidden><span></span><progress max="1"></progress></div>"""
"""The drop zone; `drop.js` has its script."""
CHOOSE = """element.addEventListener('change', () => trigger('select', {
    video: element.querySelector('fieldset').dataset.video,
    faces: [...element.querySelectorAll('input:checked')].map(box => Number(box.value))}))"""
"""Script: sends the ticked faces."""


def progress(state: State, cancelling: bool = False) -> str:
    """Returns a progress bar with the step, frames per second and the remaining time."""
    what = 'cancelling' if cancelling else state.what
    about = f'<p>{escape(state.about)}</p>' if state.about else ''
    value = f' value="{state.done}" max="{state.total}"' if state.total else ''
    facts = []
    if state.done:
        facts.append(f'{state.done} of {state.total} frames' if state.total else f'{state.done} frames')
    if state.rate:
        facts.append(f'{state.rate:.1f} frames/s')
    if state.left is not None and state.rate and state.done > 1:
        facts.append(f'about {length(max(state.left, 1))} left')
    return (f'<div class="working">{about}<p><strong>{escape(what.capitalize())}</strong> '
            f'<span>{" · ".join(facts)}</span></p>'
            f'<progress aria-label="{escape(what)}"{value}></progress></div>')


def failure(*failures: str, done: str = '') -> str:
    """Returns error messages, the first line of each in bold; `done` says what succeeded."""
    lines = []
    for message in failures:
        first, *rest = message.splitlines() or ['']
        lines.append(f'<p><strong>{escape(_sentence(first))}</strong></p>')
        lines += [f'<p>{escape(line)}</p>' for line in rest]
    before = f'<p>{escape(done)}</p>' if done else ''
    return f'<div class="failure" role="alert">{before}{"".join(lines)}</div>'


def note(message: str) -> str:
    """Returns a status message of one line."""
    return f'<div class="note" role="status"><p>{escape(message)}</p></div>'


START = note('Drop a video, or select an example.')
READY = note('Ready. A preview shows the result for the first seconds.')


def outcome(videos: Sequence[Video], cancelled: bool) -> str:
    """Returns the message at the end of a restoration."""
    done = sum(video.result is not None for video in videos)
    failures = [video.failure if len(videos) == 1 else f'{video.source.name}: {video.failure}'
                for video in videos if video.failure]
    counted = f'{done} of {len(videos)} videos restored' if len(videos) > 1 else ''
    if failures:
        return failure(*failures, done=counted)
    if cancelled and done < len(videos):
        return note(f'Cancelled; {counted or "no result was kept"}.')
    return note(f'Done: {counted + "; select one to see it" if counted else "see below"}.')


def report(found: Report) -> str:
    """Returns the report: frames, faces with their quality, notices."""
    faces = len(found.faces)
    rate = f' ({found.frames_out / found.seconds:.1f} frames/s)' if found.seconds else ''
    facts = [
        ('Frames', f'{found.frames_out} of {found.frames_in} written: {found.restored} with restored faces, '
                   f'{found.passed_through} unchanged'),
        ('Faces', str(faces)),
        ('Time', f'{length(found.seconds)}{rate}'),
        ('Weights', ', '.join(f'{name} (sha256 {digest[:12]})' for name, digest in found.weights.items())
         or 'none'),
    ]
    rows = ''.join(f'<dt>{name}</dt><dd>{escape(fact)}</dd>' for name, fact in facts)
    return f'<div class="report"><dl>{rows}</dl>{_face_table(found.faces)}{_notices(found.notices)}' \
           f'<p class="estimates">{escape(ESTIMATES)}</p></div>'


def _face_table(faces: Iterable[dict[str, Any]]) -> str:
    faces = list(faces)
    if not faces:
        return ''
    rows = ''.join(
        f'<tr><td>{face["face"]}</td><td>{face["first_frame"]} to {face["last_frame"]}</td>'
        f'<td>{face["height"]:.0f}</td><td>{_change(face, "sharpness")}</td>'
        f'<td>{_change(face, "flicker")}</td></tr>' for face in faces[:MAX_FACES])
    rest = len(faces) - MAX_FACES
    more = f'<p>{rest} more faces are listed in the report.</p>' if rest > 0 else ''
    return ('<table><caption>Before → after; sharpness and flicker in grey levels</caption>'
            '<thead><tr><th scope="col">Face</th><th scope="col">Frames</th><th scope="col">Pixels high</th>'
            '<th scope="col">Sharpness</th><th scope="col">Flicker</th></tr></thead>'
            f'<tbody>{rows}</tbody></table>{more}')


def _change(face: dict[str, Any], measure: str) -> str:
    values = [face[when][measure] for when in ('before', 'after')]
    return ' → '.join('–' if value is None else f'{value:.1f}' for value in values)


def _notices(notices: Iterable[str]) -> str:
    items = ''.join(f'<li>{escape(_sentence(_controls_for_options(notice)))}</li>' for notice in notices)
    return f'<p>Notices:</p><ul>{items}</ul>' if items else ''


def _controls_for_options(notice: str) -> str:
    """Names the controls of the page in place of command-line options; joins lines."""
    notice = re.sub(r'--task (\w+)', r'the degradation "\1"', '; '.join(notice.splitlines()))
    return re.sub(r'--scale (\d)', r'the output size "\1 times"', notice)


def _sentence(message: str) -> str:
    """Capitalises a message unless it begins with a file name."""
    return message if message.partition(' ')[0].endswith(':') else message[:1].upper() + message[1:]


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


def faces(video: Video, found: DetectedFaces) -> str:
    """Returns thumbnails of the faces with checkboxes."""
    chosen = video.chosen or frozenset()
    boxes = []
    for face in found.with_thumbnails:
        start, end = map(_clock, found.seconds(face))
        ticked = ' checked' if face.id in chosen else ''
        boxes.append(f'<label><input type="checkbox" value="{face.id}"{ticked}>'
                     f'<img src="{face.thumbnail}" alt="Face {face.id}">'
                     f'<span>Face {face.id}<br>{start} to {end}</span></label>')
    rest = len(found.faces.faces) - len(boxes)
    more = f'<p>{rest} more faces, which appear in fewer frames, are always restored.</p>' if rest else ''
    return (f'<fieldset class="faces" data-video="{escape(video.key)}"><legend>Faces of '
            f'{escape(video.source.name)}</legend>{"".join(boxes)}</fieldset>{more}')


def comparison(result: RestoredVideo, files: Files) -> str:
    """Returns an image before and after with a slider between them."""
    before, after = (escape(files.address(path)) for path in (result.before, result.after))
    return ('<figure class="comparison" style="--at: 50%">'
            f'<img src="{before}" alt="before"><img class="after" src="{after}" alt="after">'
            '<input type="range" min="0" max="100" value="50" aria-label="Position of the border '
            'between before and after" '
            'oninput="this.parentElement.style.setProperty(\'--at\', this.value + \'%\')">'
            '<figcaption><span>before</span><span>after</span></figcaption></figure>')


def side(result: RestoredVideo, files: Files) -> str:
    """Returns a player of the comparison video."""
    return _player(files.address(result.side), 'Before and after, with audio') if result.side else ''


def downloads(result: RestoredVideo, results: Sequence[RestoredVideo], files: Files) -> str:
    """Returns download links of the video and the report, and of all `results` if there are several."""
    what = 'video' if result.preview is None else 'preview'
    links: list[tuple[str, str, Path | ZipDownload]] = [
        (f'Download the {what}', 'download', result.video),
        ('Download the report', 'download-report', result.notes)]
    if len(results) > 1:
        archive = ZipDownload(tuple(path for one in results for path in (one.video, one.notes)))
        links.append((f'Download all {len(results)} results (.zip)', 'download-all', archive))
    return '<p class="downloads">' + ''.join(
        f'<a id="{name}" href="{escape(files.address(path))}?save" download="{escape(path.name)}">'
        f'{text}</a>' for text, name, path in links) + '</p>'


def heading(video: Video, result: RestoredVideo) -> str:
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
