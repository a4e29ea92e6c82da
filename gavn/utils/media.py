"""The one door to video and sound files: everything that goes through PyAV is imported from here."""
from gavn.utils.media_decode import EmptyVideo, MediaError, NoVideo, UnreadableMedia
from gavn.utils.media_join import join, silenced
from gavn.utils.media_picture import Frame, changed
from gavn.utils.media_pieces import PieceWriter
from gavn.utils.media_read import (
    FrameReader,
    Ticks,
    VideoInfo,
    probe,
    read_frames,
    resample_frames,
    upright,
)
from gavn.utils.media_sound import iter_audio, read_audio, silent_blocks
from gavn.utils.media_write import VideoWriter, compress, encoder_versions, picture_of

__all__ = [
    'EmptyVideo', 'Frame', 'FrameReader', 'MediaError', 'NoVideo', 'PieceWriter', 'Ticks', 'UnreadableMedia',
    'VideoInfo', 'VideoWriter', 'changed', 'compress', 'encoder_versions', 'iter_audio', 'join', 'picture_of',
    'probe', 'read_audio', 'read_frames', 'resample_frames', 'silenced', 'silent_blocks', 'upright',
]
