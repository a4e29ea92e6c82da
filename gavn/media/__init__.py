"""The one door to video and sound files: everything that goes through PyAV is imported from here."""
from gavn.audio.gaps import LONGEST_SILENCE, Hole, silence_or_hole, silent_blocks
from gavn.media.audio import heard_stream, iter_audio, read_audio
from gavn.media.audio_track import fitting_ending
from gavn.media.constant_rate import at_rate, info_at_rate, parse_rate
from gavn.media.container import EmptyVideo, MediaError, NoVideo, UnreadableMedia
from gavn.media.frame import Frame, changed
from gavn.media.image_folder import PictureWriter, missing_numbers, probe_pictures, read_pictures
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
from gavn.media.segments import PieceWriter
from gavn.media.stream_copy import copied
from gavn.media.writer import VideoWriter, compress, encode_decode, encoder_versions, picture_of
from gavn.runtime.file_names import PICTURES, is_picture, pictures_in

__all__ = [
    'FACTORS', 'LONGEST_SIDE', 'LONGEST_SILENCE', 'PICTURES', 'PLAYED_EVERYWHERE', 'SCALES',
    'EmptyVideo', 'Frame', 'FrameReader', 'Hole', 'MediaError', 'NoVideo', 'PictureWriter',
    'PieceWriter', 'Playable', 'Ticks', 'UnreadableMedia', 'VideoInfo', 'VideoWriter', 'at_rate',
    'changed', 'compress', 'copied', 'encodable', 'encode_decode', 'encoder_versions', 'enlarged',
    'enlarged_size', 'fitting_ending', 'heard_stream', 'info_at_rate', 'is_picture', 'iter_audio',
    'join', 'missing_numbers', 'parse_rate', 'picture_of', 'pictures_in', 'probe', 'probe_pictures',
    'read_audio', 'read_frames', 'read_pictures', 'resample_frames', 'silence_or_hole', 'silent_blocks',
    'upright',
]
