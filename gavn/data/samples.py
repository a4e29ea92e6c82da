"""What both data sets make of a clip's files: pictures for the landmark detector, and sound."""
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
    """`io_backend`: where layers are read from; auto takes LMDB where there is one."""

    type: Literal['auto', 'disk', 'lmdb'] = 'auto'


def parse_options(kind: type[T], options: Mapping[str, Any], name: str) -> T:
    """A data set's own options out of its section of the option file, which also holds the loader's.

    Raises ValueError naming what is missing.
    """
    own = {key: value for key, value in options.items() if key in get_type_hints(kind)}
    try:
        if isinstance(own.get('io_backend'), Mapping):
            own['io_backend'] = Backend(**own['io_backend'])
        return kind(**own)
    except TypeError as error:
        raise ValueError(f'options of {name}: {error}') from error


@dataclass(frozen=True)
class Sound:
    """The sound that goes with the frames of a clip.

    Attributes:
        store: the mfcc layer; None = digital silence (`audio: zeros`), which is not a tensor of zeros.
        others: for `audio: shuffled`, the clips to take another's sound from; empty: the clip's own.
    """

    store: ClipStore | None
    others: tuple[ClipEntry, ...] = ()

    @classmethod
    def open(cls, root: str, backend: str, entries: Sequence[ClipEntry], audio: Audio) -> Sound:
        """Raises ValueError for a choice that is none of Audio's, or with nothing to shuffle."""
        if audio not in get_args(Audio):
            raise ValueError(f'audio: {audio!r} is none of true, zeros, shuffled')
        if audio == 'shuffled' and len(entries) < 2:
            raise ValueError(f'audio: shuffled needs at least two clips, {root} has {len(entries)}')
        store = None if audio == 'zeros' else ClipStore(root, 'mfcc', backend)
        return cls(store, tuple(entries) if audio == 'shuffled' else ())

    def windows(self, entry: ClipEntry, frames: range, draw: np.random.Generator) -> Tensor:
        """Raw cepstra (m, 1, 13, 20) of the frames.

        Shuffled sound runs on from a drawn frame of a drawn clip, round its end to its beginning.
        """
        numbers = np.array(frames)
        if self.store is None:
            return silence(numbers / FRAME_RATE)
        if self.others:
            choices = [other for other in self.others if other.clip != entry.clip]
            entry = choices[draw.integers(len(choices))]
            numbers = (numbers - frames.start + draw.integers(entry.n_frames)) % entry.n_frames
        return mfcc_windows(self.store.array(entry.clip), numbers / FRAME_RATE)
