"""Reading and writing video and audio files. All access to PyAV is in this package."""
from gavn.media.audio import iter_audio, read_audio
from gavn.media.audio_track import fitting_ending
from gavn.media.constant_rate import Ticks, parse_rate, resample_frames
from gavn.media.container import EmptyVideo, MediaError, NoVideo, UnreadableMedia
from gavn.media.filters import PLAYED_EVERYWHERE, Playable
from gavn.media.frame import Frame, changed
from gavn.media.image_folder import ImageWriter, missing_numbers
from gavn.media.mux import join
from gavn.media.reader import VideoInfo, missing_end, probe, read_frames
from gavn.media.rgb import encodable
from gavn.media.scale import FACTORS, LONGEST_SIDE, SCALES, enlarged, enlarged_size
from gavn.media.segments import SegmentWriter
from gavn.media.stream_copy import copied
from gavn.media.video_reader import VideoReader
from gavn.media.writer import VideoWriter, compress, encode_decode, encoder_versions, frame_from_image

__all__ = [
    'FACTORS', 'LONGEST_SIDE', 'PLAYED_EVERYWHERE', 'SCALES', 'EmptyVideo', 'Frame', 'ImageWriter',
    'MediaError', 'NoVideo', 'Playable', 'SegmentWriter', 'Ticks', 'UnreadableMedia', 'VideoInfo',
    'VideoReader', 'VideoWriter', 'changed', 'compress', 'copied', 'encodable', 'encode_decode',
    'encoder_versions', 'enlarged', 'enlarged_size', 'fitting_ending', 'frame_from_image', 'iter_audio',
    'join', 'missing_end', 'missing_numbers', 'parse_rate', 'probe', 'read_audio', 'read_frames',
    'resample_frames',
]
