"""Pictures as picture files hold them: RGB or grey, with or without alpha, 8 or 16 bits a sample."""
from __future__ import annotations

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter

_FORMATS = {(1, 1): 'gray', (1, 3): 'bgr24', (1, 4): 'bgra',
            (2, 1): 'gray16le', (2, 3): 'bgr48le', (2, 4): 'bgra64le'}  # by bytes a sample and channels
_NAMES = frozenset(_FORMATS.values())
_GREY = (0.114, 0.587, 0.299)  # how much of it blue, green and red are, as OpenCV has it
_BT709, _LIMITED, _SWS_BT709 = 1, 1, 1
_TO_YUV = 4 | 0x40000  # swscale's bicubic, with accurate rounding


def is_plain(picture: VideoFrame) -> bool:
    """Whether a picture is of this kind, not YCbCr."""
    return picture.format.name in _NAMES


def plain_picture(samples: np.ndarray) -> VideoFrame:
    """A picture of samples (h, w), (h, w, 3) BGR or (h, w, 4) BGRA, uint8 or uint16, kept bit by bit.

    Raises ValueError for any others.
    """
    channels = 1 if samples.ndim == 2 else samples.shape[-1]
    name = _FORMATS.get((samples.itemsize, channels)) if samples.dtype.kind == 'u' else None
    if name is None or samples.ndim > 3:
        raise ValueError(f'8 or 16 bits a sample in 1, 3 or 4 channels are known, not {samples.dtype} '
                         f'{samples.shape}')
    return VideoFrame.from_ndarray(np.ascontiguousarray(samples), format=name)


def samples_of(picture: VideoFrame) -> np.ndarray:
    """What `plain_picture` was given."""
    return picture.to_ndarray()


def bgr_of(picture: VideoFrame) -> np.ndarray:
    """The picture as uint8 BGR (h, w, 3), without alpha; 16 bits are rounded to 8."""
    samples = samples_of(picture)
    if samples.dtype == np.uint16:
        samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if samples.ndim == 2:
        return np.repeat(samples[..., None], 3, axis=2)
    return np.ascontiguousarray(samples[..., :3])


def added(picture: VideoFrame, x0: int, y0: int, change: np.ndarray) -> VideoFrame:
    """The picture with a change (h, w, 3) BGR, in units of 1/255, at pixel (x0, y0); alpha stays.

    Samples where the change is zero keep every bit. Grey takes the change of the brightness.
    """
    samples = samples_of(picture).copy()
    highest = np.iinfo(samples.dtype).max
    place = samples[y0:y0 + change.shape[0], x0:x0 + change.shape[1]]
    if samples.ndim == 2:
        change = change @ np.array(_GREY, np.float32)
    else:
        place = place[..., :3]
    place[...] = np.clip(np.rint(place + change * np.float32(highest / 255)), 0, highest)
    return plain_picture(samples)


def encodable(picture: VideoFrame, depth: int) -> VideoFrame:
    """The picture in YCbCr of BT.709, limited range, without alpha, as players take it.

    4:2:0, or 4:4:4 where a side is odd; 8 bits for a `depth` of 8, else 10. Pictures that are YCbCr already
    are returned as they are.
    """
    if not is_plain(picture):
        return picture
    samples = samples_of(picture)
    if samples.ndim == 2:
        samples = np.repeat(samples[..., None], 3, axis=2)
    wide = samples.dtype == np.uint16
    rgb = VideoFrame.from_ndarray(np.ascontiguousarray(samples[..., 2::-1]),
                                  format='rgb48le' if wide else 'rgb24')
    chroma = 444 if picture.width % 2 or picture.height % 2 else 420
    result = VideoReformatter().reformat(
        rgb, format=f'yuv{chroma}p' + ('10le' if depth > 8 else ''), interpolation=_TO_YUV,
        dst_colorspace=_SWS_BT709, dst_color_range=_LIMITED)
    result.colorspace = result.color_primaries = result.color_trc = _BT709
    result.color_range = _LIMITED
    return result
