"""Which networks restore, as values that another process or machine can build them from."""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gavn.restoration.auto_restorer import AutoRestorer
from gavn.restoration.model_spec import import_modules
from gavn.restoration.protocols import VideoRestorer
from gavn.restoration.restorer import Restorer
from gavn.runtime.compilation import default_mode
from gavn.runtime.devices import find_device


@dataclass(frozen=True)
class RestorerSpec:
    """Describes a restorer."""

    task: str = 'auto'  # name of pretrained weights, or 'auto'
    quality: str = 'best'  # see `AutoRestorer`
    weights: str | None = None  # the user's own weights, in place of `task`
    modules: tuple[str, ...] = ()  # modules that register the network of `weights`
    # device, dtype, batch: see `Restorer`
    device: str = 'auto'
    dtype: str = 'auto'
    batch: int | None = None
    compile: bool = False  # whether to compile the networks


def build_restorer(spec: RestorerSpec) -> VideoRestorer:
    """Returns a new restorer of a description. Raises as `Restorer.load` and `Restorer.from_pretrained`."""
    import_modules(spec.modules)
    mode = default_mode(find_device(spec.device)) if spec.compile else None
    options = spec.device, spec.dtype, spec.batch, mode
    if spec.weights:
        return Restorer.load(spec.weights, *options)
    if spec.task == 'auto':
        return AutoRestorer(*options, quality=spec.quality)
    return Restorer.from_pretrained(spec.task, *options)


@lru_cache(maxsize=1)
def load_restorer(spec: RestorerSpec) -> VideoRestorer:
    """Returns the result of `build_restorer`; the last one stays in memory, for all callers."""
    return build_restorer(spec)
