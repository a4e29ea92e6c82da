"""Parts of samples that both data sets share: options and audio windows."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_type_hints

import numpy as np
from torch import Tensor

from gavn.audio.mfcc import FRAME_RATE, mfcc_windows, silence
from gavn.data.clip_store import ClipEntry, ClipStore

Audio = Literal[True, 'zeros', 'shuffled']
Split = Literal['train', 'val', 'test']
T = TypeVar('T')


@dataclass(frozen=True)
class Backend:
    """`io_backend`: source of the layers. `auto` uses an LMDB if there is one."""

    type: Literal['auto', 'disk', 'lmdb'] = 'auto'


def parse_options(kind: type[T], options: Mapping[str, Any], name: str) -> T:
    """Parses a data set's options. Other keys of the section, such as those of the loader, are ignored.

    Args:
        kind: dataclass of the options.
        options: section of the option file.
        name: of the data set, for the message.

    Raises:
        ValueError: a key is missing.
    """
    own = {key: value for key, value in options.items() if key in get_type_hints(kind)}
    try:
        if isinstance(own.get('io_backend'), Mapping):
            own['io_backend'] = Backend(**own['io_backend'])
        return kind(**own)
    except TypeError as error:
        raise ValueError(f'options of {name}: {error}') from error


@dataclass(frozen=True)
class AudioSource:
    """Audio features of clips.

    Attributes:
        store: the mfcc layer. None: digital silence (`audio: zeros`), whose MFCC is not zero.
        others: for `audio: shuffled`, the clips to take audio from. Empty: each clip has its own audio.
    """

    store: ClipStore | None
    others: tuple[ClipEntry, ...] = ()

    @classmethod
    def open(cls, root: str, backend: str, entries: Sequence[ClipEntry], audio: Audio) -> AudioSource:
        """Opens the mfcc layer.

        Raises:
            ValueError: `audio` is unknown, or there are fewer than two clips to shuffle.
        """
        if audio not in get_args(Audio):
            raise ValueError(f'audio: {audio!r} is not one of true, zeros, shuffled')
        if audio == 'shuffled' and len(entries) < 2:
            raise ValueError(f'audio: shuffled needs at least two clips, {root} has {len(entries)}')
        store = None if audio == 'zeros' else ClipStore(root, 'mfcc', backend)
        return cls(store, tuple(entries) if audio == 'shuffled' else ())

    def windows(self, entry: ClipEntry, frames: range, generator: np.random.Generator) -> Tensor:
        """MFCC windows (m, 1, 13, 20) of m frames.

        Shuffled audio starts at a random frame of a random other clip and wraps around at its end.

        Args:
            entry: the clip.
            frames: their numbers.
            generator: of random numbers.
        """
        numbers = np.array(frames)
        if self.store is None:
            return silence(numbers / FRAME_RATE)
        if self.others:
            choices = [other for other in self.others if other.clip != entry.clip]
            entry = choices[generator.integers(len(choices))]
            numbers = (numbers - frames.start + generator.integers(entry.n_frames)) % entry.n_frames
        return mfcc_windows(self.store.array(entry.clip), numbers / FRAME_RATE)
