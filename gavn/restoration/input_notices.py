"""Notices about unusual input videos: what happens to them, and which option avoids it."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gavn.audio.gaps import LONGEST_SILENCE
from gavn.media import PLAYED_EVERYWHERE, Frame, MediaError, VideoInfo, missing_end

_HEVC = 'libx265'
_NOTABLE_END = 0.5  # seconds; a smaller difference between header and content is not reported
_MAX_TICKS = 2 ** 31 - 1  # longest duration of a frame in .mp4 and .mov


def default_encoder(info: VideoInfo) -> str:
    """Returns the default encoder: 10-bit HEVC stays HEVC, everything else becomes H.264."""
    return _HEVC if info.codec == 'hevc' and info.depth > 8 else 'libx264'


def encoding_notices(info: VideoInfo, encoder: str, pix_fmt: str) -> Iterator[str]:
    """Yields notices about what encoding changes in a video."""
    if info.hdr:
        yield f'{info.path} is HDR, but the networks are trained on SDR: check the result with --preview'
    if info.alpha:
        yield f'{info.path} has an alpha channel: {encoder} does not store it, the output is opaque'
    if info.spherical:
        yield (f'{info.path} is tagged as spherical or stereoscopic, the output is not: tag it again, for '
               'example with Spatial Media Metadata Injector')
    if info.interlaced and encoder == _HEVC:
        yield f'{info.path} is interlaced: {encoder} does not mark the output as such; use --codec libx264'
    elif info.interlaced and not info.as_stored:
        yield f'{info.path} is interlaced: the output is upright and not marked as interlaced'
    if info.chroma not in (None, 'left') and not info.as_stored:
        yield (f'{info.path}: the chroma location ({info.chroma}) is not stored, because the image is '
               'rotated')
    yield from _compatibility_notices(info, encoder, pix_fmt)


def _compatibility_notices(info: VideoInfo, encoder: str, pix_fmt: str) -> Iterator[str]:
    if encoder != 'libx264' or pix_fmt == PLAYED_EVERYWHERE:
        return
    deep = f'; --codec {_HEVC} keeps 10 bits where phones play them' * (pix_fmt == 'yuv420p10le')
    yield (f'{info.path}: the output is H.264 in {pix_fmt} like the input; phones and browsers do not play '
           f'it; use --pix-fmt {PLAYED_EVERYWHERE} for all players{deep}')


def truncation_notice(info: VideoInfo, count: int) -> str:
    """Returns a notice if a video with `count` frames ends before its header says; '' if not."""
    if ((info.frames or 0) - count) / info.frame_rate < _NOTABLE_END:
        return ''
    missing = missing_end(info.path)
    if missing < _NOTABLE_END:  # other streams are longer than the video
        return ''
    return (f'{info.path} ends {missing:.1f} s before the end in its header: it may be truncated, as by an '
            'incomplete download')


def with_gap_notices(frames: Iterable[Frame], info: VideoInfo, target: Path, notify: Callable[[str], None]
                     ) -> Iterator[Frame]:
    """Yields the frames; calls `notify` for time gaps of more than a minute.

    Raises:
        MediaError: the container of the target cannot hold the gap.
    """
    last = None
    for frame in frames:
        if last is not None and frame.time - last > LONGEST_SILENCE:
            _check_gap(frame.time - last, info, target)
            notify(f'{info.path}: no frames from {_format_time(last)} to {_format_time(frame.time)}, as '
                   'between concatenated recordings; the gap is kept')
        last = frame.time
        yield frame


def _check_gap(seconds: float, info: VideoInfo, target: Path) -> None:
    if target.suffix.lower() in ('.mp4', '.mov') and seconds / info.time_base > _MAX_TICKS:
        raise MediaError(f'{target}: {target.suffix} cannot hold {info.path}, which has no frames for '
                         f'{seconds / 3600:.1f} hours\nwrite to .mkv, or split the video there')


def _format_time(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f'{int(minutes) // 60}:{int(minutes) % 60:02}:{rest:04.1f}'
