"""What is unusual about a video, in words that say what becomes of it and what to give instead."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gavn.media import LONGEST_SILENCE, PLAYED_EVERYWHERE, Frame, MediaError, VideoInfo

_HEVC = 'libx265'
_LARGEST = 2 ** 31 - 1  # ticks for which .mp4 and .mov can show a frame


def encoder_for(info: VideoInfo) -> str:
    """The encoder where none was chosen: HEVC of ten bits stays HEVC, all else becomes H.264."""
    return _HEVC if info.codec == 'hevc' and info.depth > 8 else 'libx264'


def unusual(info: VideoInfo, encoder: str, pix_fmt: str) -> Iterator[str]:
    """Notices about a video.

    Args:
        info: of the source.
        encoder: of the output, by name.
        pix_fmt: of the output's frames.
    """
    if info.hdr:
        yield f'{info.path} is HDR, but the networks know SDR alone: look at a --preview first'
    if info.alpha:
        yield f'{info.path} is partly transparent: {encoder} stores no transparency, the output is opaque'
    if info.spherical:
        yield (f'{info.path} is marked as spherical or stereoscopic, and the output is not: mark it again, '
               'as with the program Spatial Media Metadata Injector')
    if info.interlaced and encoder == _HEVC:
        yield (f'{info.path} is made of fields (interlaced): {encoder} stores the frames, but not that they '
               'are fields; give --codec libx264')
    elif info.interlaced and (info.rotation % 180 or info.mirrored):
        yield f'{info.path} is made of fields (interlaced): turned upright, its frames are not marked as such'
    if info.chroma not in (None, 'left') and not info.as_stored:
        yield (f'{info.path}: where its chroma samples lie ({info.chroma}) is not stored, as the image is '
               'turned')
    yield from _refused_by_phones(info, encoder, pix_fmt)


def _refused_by_phones(info: VideoInfo, encoder: str, pix_fmt: str) -> Iterator[str]:
    if encoder != 'libx264' or pix_fmt == PLAYED_EVERYWHERE:
        return
    deep = f'; --codec {_HEVC} keeps ten bits where phones play them' * (pix_fmt == 'yuv420p10le')
    yield (f'{info.path}: the output is H.264 in {pix_fmt}, as the source, which phones and browsers refuse; '
           f'--pix-fmt {PLAYED_EVERYWHERE} makes what all play{deep}')


def with_holes_told(frames: Iterable[Frame], info: VideoInfo, target: Path, tell: Callable[[str], None]
                    ) -> Iterator[Frame]:
    """The frames; `tell` is told where nothing is shown for more than a minute.

    Raises MediaError where the target's container cannot hold that.
    """
    last = None
    for frame in frames:
        if last is not None and frame.time - last > LONGEST_SILENCE:
            _check_hole(frame.time - last, info, target)
            tell(f'{info.path}: nothing is shown from {_clock(last)} to {_clock(frame.time)}, as where '
                 'recordings are strung together; the hole stays')
        last = frame.time
        yield frame


def _check_hole(seconds: float, info: VideoInfo, target: Path) -> None:
    if target.suffix.lower() in ('.mp4', '.mov') and seconds / info.time_base > _LARGEST:
        raise MediaError(f'{target}: {target.suffix} cannot hold {info.path}, in which nothing is shown for '
                         f'{seconds / 3600:.1f} hours\nwrite to .mkv, or split the video there')


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f'{int(minutes) // 60}:{int(minutes) % 60:02}:{rest:04.1f}'
