"""The one door to video and sound files: everything that goes through PyAV is imported from here."""
from gavn.utils.media_read import (
    EmptyVideo,
    Frame,
    FrameReader,
    MediaError,
    NoVideo,
    Ticks,
    UnreadableMedia,
    VideoInfo,
    probe,
    read_frames,
    resample_frames,
    upright,
)
from gavn.utils.media_sound import iter_audio, read_audio, silent_blocks
from gavn.utils.media_write import RemuxWriter, VideoWriter, compress, encoder_versions

__all__ = [
    'EmptyVideo', 'Frame', 'FrameReader', 'MediaError', 'NoVideo', 'RemuxWriter', 'Ticks',
    'UnreadableMedia', 'VideoInfo', 'VideoWriter', 'compress', 'encoder_versions', 'iter_audio', 'probe',
    'read_audio', 'read_frames', 'resample_frames', 'silent_blocks', 'upright',
]
