"""The one door to video and sound files: everything that goes through PyAV is imported from here."""
from gavn.utils.file_names import PICTURES, is_picture, pictures_in
from gavn.utils.holes import LONGEST_SILENCE, Hole, silence_or_hole, silent_blocks
from gavn.utils.media_copy import copied
from gavn.utils.media_folder import PictureWriter, missing_numbers, probe_pictures, read_pictures
from gavn.utils.media_join import join
from gavn.utils.media_open import EmptyVideo, MediaError, NoVideo, UnreadableMedia
from gavn.utils.media_picture import Frame, changed
from gavn.utils.media_pieces import PieceWriter
from gavn.utils.media_playable import PLAYED_EVERYWHERE, Playable
from gavn.utils.media_rate import at_rate, info_at_rate, parse_rate
from gavn.utils.media_read import (
    FrameReader,
    Ticks,
    VideoInfo,
    probe,
    read_frames,
    resample_frames,
    upright,
)
from gavn.utils.media_rgb import encodable
from gavn.utils.media_scale import FACTORS, LONGEST_SIDE, SCALES, enlarged, enlarged_size
from gavn.utils.media_sound import heard_stream, iter_audio, read_audio
from gavn.utils.media_sound_track import fitting_ending
from gavn.utils.media_write import VideoWriter, compress, encode_decode, encoder_versions, picture_of

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
