"""HTML of messages, progress and the report. All external text is escaped."""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from gavn.restoration.report import ESTIMATES, Report
from gavn.web.limits import length
from gavn.web.progress_tracker import State
from gavn.web.videos import Video

MAX_FACES = 12  # in the table; the report file lists all


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
    return f'<div class="report"><dl>{rows}</dl>{_faces(found.faces)}{_notices(found.notices)}' \
           f'<p class="estimates">{escape(ESTIMATES)}</p></div>'


def _faces(faces: Iterable[dict[str, Any]]) -> str:
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
