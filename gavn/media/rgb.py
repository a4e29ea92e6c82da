"""RGB and grey frames as in image files, with or without alpha, with 8 or 16 bits per sample."""
from __future__ import annotations

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter

_FORMATS = {(1, 1): 'gray', (1, 3): 'bgr24', (1, 4): 'bgra',
            (2, 1): 'gray16le', (2, 3): 'bgr48le', (2, 4): 'bgra64le'}  # by bytes per sample and channels
_NAMES = frozenset(_FORMATS.values())
_GREY = (0.114, 0.587, 0.299)  # weights of blue, green and red, as in OpenCV
_BT709, _LIMITED, _SWS_BT709 = 1, 1, 1
_TO_YUV = 4 | 0x40000  # swscale's bicubic, with accurate rounding


def is_plain(av_frame: VideoFrame) -> bool:
    """Returns whether a frame is RGB or grey, not YCbCr."""
    return av_frame.format.name in _NAMES


def frame_from_samples(samples: np.ndarray) -> VideoFrame:
    """Creates a frame with exact samples (h, w), (h, w, 3) BGR or (h, w, 4) BGRA, uint8 or uint16.

    Raises:
        ValueError: the samples have another type or shape.
    """
    channels = 1 if samples.ndim == 2 else samples.shape[-1]
    name = _FORMATS.get((samples.itemsize, channels)) if samples.dtype.kind == 'u' else None
    if name is None or samples.ndim > 3:
        raise ValueError(f'expected 8 or 16 bits per sample in 1, 3 or 4 channels, got {samples.dtype} '
                         f'{samples.shape}')
    return VideoFrame.from_ndarray(np.ascontiguousarray(samples), format=name)


def samples_of(av_frame: VideoFrame) -> np.ndarray:
    """Returns the samples; the inverse of `frame_from_samples`."""
    return av_frame.to_ndarray()


def bgr_of(av_frame: VideoFrame) -> np.ndarray:
    """Converts to uint8 BGR (h, w, 3) without alpha; 16 bits are rounded to 8."""
    samples = samples_of(av_frame)
    if samples.dtype == np.uint16:
        samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if samples.ndim == 2:
        return np.repeat(samples[..., None], 3, axis=2)
    return np.ascontiguousarray(samples[..., :3])


def added(av_frame: VideoFrame, x0: int, y0: int, change: np.ndarray) -> VideoFrame:
    """Adds a change (h, w, 3) BGR, in units of 1/255, at pixel (x0, y0); alpha is kept.

    Samples where the change is zero keep their exact value. Grey frames take the change of luma.
    """
    samples = samples_of(av_frame).copy()
    highest = np.iinfo(samples.dtype).max
    place = samples[y0:y0 + change.shape[0], x0:x0 + change.shape[1]]
    if samples.ndim == 2:
        change = change @ np.array(_GREY, np.float32)
    else:
        place = place[..., :3]
    place[...] = np.clip(np.rint(place + change * np.float32(highest / 255)), 0, highest)
    return frame_from_samples(samples)


def encodable(av_frame: VideoFrame, depth: int) -> VideoFrame:
    """Converts an RGB or grey frame to YCbCr (BT.709, limited range, without alpha).

    The format is 4:2:0, or 4:4:4 if a side is odd, with 8 bits for a `depth` of 8, else 10. YCbCr frames are
    returned unchanged.
    """
    if not is_plain(av_frame):
        return av_frame
    samples = samples_of(av_frame)
    if samples.ndim == 2:
        samples = np.repeat(samples[..., None], 3, axis=2)
    wide = samples.dtype == np.uint16
    rgb = VideoFrame.from_ndarray(np.ascontiguousarray(samples[..., 2::-1]),
                                  format='rgb48le' if wide else 'rgb24')
    chroma = 444 if av_frame.width % 2 or av_frame.height % 2 else 420
    result = VideoReformatter().reformat(
        rgb, format=f'yuv{chroma}p' + ('10le' if depth > 8 else ''), interpolation=_TO_YUV,
        dst_colorspace=_SWS_BT709, dst_color_range=_LIMITED)
    result.colorspace = result.color_primaries = result.color_trc = _BT709
    result.color_range = _LIMITED
    return result
