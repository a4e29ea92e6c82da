"""Reading and writing video and audio files. All access to PyAV is in this package."""
from gavn.audio.gaps import LONGEST_SILENCE, AudioGap, silence_or_gap, silent_blocks
from gavn.media.audio import heard_stream, iter_audio, read_audio
from gavn.media.audio_track import fitting_ending
from gavn.media.constant_rate import at_rate, info_at_rate, parse_rate
from gavn.media.container import EmptyVideo, MediaError, NoVideo, UnreadableMedia
from gavn.media.frame import Frame, changed
from gavn.media.image_folder import ImageWriter, missing_numbers, probe_images, read_images
from gavn.media.mux import join
from gavn.media.playable import PLAYED_EVERYWHERE, Playable
from gavn.media.reader import (
    FrameReader,
    Ticks,
    VideoInfo,
    probe,
    read_frames,
    resample_frames,
    upright,
)
from gavn.media.rgb import encodable
from gavn.media.scale import FACTORS, LONGEST_SIDE, SCALES, enlarged, enlarged_size
from gavn.media.segments import SegmentWriter
from gavn.media.stream_copy import copied
from gavn.media.video_reader import VideoReader
from gavn.media.writer import VideoWriter, compress, encode_decode, encoder_versions, frame_from_image
from gavn.runtime.file_names import IMAGE_ENDINGS, images_in, is_image

__all__ = [
    'FACTORS',
    'IMAGE_ENDINGS',
    'LONGEST_SIDE',
    'LONGEST_SILENCE',
    'PLAYED_EVERYWHERE',
    'SCALES',
    'AudioGap',
    'EmptyVideo',
    'Frame',
    'FrameReader',
    'ImageWriter',
    'MediaError',
    'NoVideo',
    'Playable',
    'SegmentWriter',
    'Ticks',
    'UnreadableMedia',
    'VideoInfo',
    'VideoReader',
    'VideoWriter',
    'at_rate',
    'changed',
    'compress',
    'copied',
    'encodable',
    'encode_decode',
    'encoder_versions',
    'enlarged',
    'enlarged_size',
    'fitting_ending',
    'frame_from_image',
    'heard_stream',
    'images_in',
    'info_at_rate',
    'is_image',
    'iter_audio',
    'join',
    'missing_numbers',
    'parse_rate',
    'probe',
    'probe_images',
    'read_audio',
    'read_frames',
    'read_images',
    'resample_frames',
    'silence_or_gap',
    'silent_blocks',
    'upright',
]
