"""The networks that come with the package, chosen for each video by what is wrong with its faces."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gavn.pipeline.damage import Damage, estimate
from gavn.pipeline.face_tracks import Faces
from gavn.pipeline.restorer import AUTO, Restorer, find_device, quick_dtype
from gavn.utils import shipped
from gavn.utils.faces import crop
from gavn.utils.files import sha256
from gavn.utils.media import Frame

SAMPLES = 16  # frames that are looked at
NEEDS_LOSSLESS = ('deblur',)


@dataclass
class Automatic:
    """Stands where a `Restorer` does; see there for `device`, `dtype`, `batch` and `compile`."""

    device: str = 'auto'
    dtype: str = AUTO
    batch: int | None = None
    compile: str | None = None
    _loaded: dict[str, Restorer] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        device = find_device(self.device)
        self.device, self.dtype = str(device), quick_dtype(device) if self.dtype == AUTO else self.dtype

    @cached_property
    def weights(self) -> dict[str, str]:
        """All files that may be chosen, with their SHA-256."""
        files = map(shipped.weights_of, shipped.names())
        return {str(file): sha256(file) for file in files}

    def named(self, name: str) -> Restorer:
        """The networks of a name, which are loaded once."""
        if name not in self._loaded:
            self._loaded[name] = Restorer.from_pretrained(
                name, self.device, self.dtype, self.batch, self.compile)
        return self._loaded[name]


def name_for(damage: Damage, lossless: bool) -> str:
    """Which of the shipped weights suit a damage best: its own, or those for all kinds.

    Those in NEEDS_LOSSLESS are for videos that are stored without loss: what a codec left they take for
    detail, and lose against `mixed` at CRF 18 and worse.
    """
    own = damage.kind in shipped.names() and (lossless or damage.kind not in NEEDS_LOSSLESS)
    return damage.kind if own else 'mixed'


def look_at(frames: Iterable[Frame], faces: Faces) -> Damage:
    """What is wrong with the faces, by samples spread over all frames that show one."""
    return estimate(samples(frames, faces))


def samples(frames: Iterable[Frame], faces: Faces) -> Iterator[np.ndarray]:
    """Crops of the largest face in `SAMPLES` frames, or all that show one: uint8 BGR."""
    shown = faces.shown
    some = np.linspace(0, len(shown) - 1, min(SAMPLES, len(shown))).round().astype(int)
    wanted = set(shown[some].tolist())
    for frame in frames:
        if frame.index in wanted:
            face = max(faces.present(frame.index), key=lambda face: faces.region(face, frame.index).area)
            yield crop(frame.image, faces.region(face, frame.index))
            wanted.remove(frame.index)
            if not wanted:
                return
