"""The schema of a bundle's header, which is checked before anything is built."""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from gavn.checkpoints.safe_files import PathLike
from gavn.config.bounded_yaml import MAX_DEPTH, MAX_VALUES
from gavn.config.check import section_problems
from gavn.config.sections import NetworkInput, WindowMode
from gavn.errors import CheckpointError

BUNDLE_FORMAT = 1


@dataclass(kw_only=True)
class BundleHeader:
    """Header of a bundle; other keys are allowed."""

    format: int  # `BUNDLE_FORMAT`
    networks: dict[str, dict]  # name (`network_g`, `network_l`) -> type of the network and its arguments
    versions: dict[str, str] | None = None  # of the tools that wrote the bundle
    network_inputs: list[NetworkInput] | None = None  # names of the inputs of `network_g`
    window: WindowMode | None = None  # its window layout, if it has no `layout`
    task: str | None = None  # the degradation that it was trained on
    sources: dict[str, str] | None = None  # origin of the weights
    budget: dict[str, float | None] | None = None  # amount of training
    custom_imports: list[str] | None = None  # modules of networks outside of gavn


def without_dead_values(header: Any) -> Any:
    """Returns a header in which `window: sequence`, which had no effect in older versions, is null."""
    if isinstance(header, dict) and header.get('window') == 'sequence':
        return {**header, 'window': None}
    return header


def check_header(header: Any, tensors: Collection[str], path: PathLike) -> None:
    """Raises CheckpointError with all faults of a header, or contradictions to the tensors."""
    remedy = 'make the bundle again: `gavn bundle -opt FILE.yml -o FILE.safetensors`'
    if words := _beyond_limits(header):
        raise CheckpointError(f'{path} is no bundle: {words}\n{remedy}')
    form = header.get('format') if isinstance(header, dict) else None
    if isinstance(form, int) and not isinstance(form, bool) and form != BUNDLE_FORMAT:
        raise CheckpointError(f'{path} is a bundle of format {form}, this version reads {BUNDLE_FORMAT}\n'
                              'update gavn, or make the bundle again')
    problems = section_problems(header, BundleHeader, 'the header') or [
        *_network_problems(header['networks'], {name.partition('/')[0] for name in tensors if '/' in name}),
        *_tensor_problems(tensors, header['networks'])]
    if problems:
        raise CheckpointError(f'{path} is no bundle: {"; ".join(problems[:4])}\n{remedy}')


def _network_problems(networks: dict[str, dict[str, Any]], held: Collection[str]) -> list[str]:
    found = [] if networks else ['it names no networks']
    for name, options in networks.items():
        if not name or '/' in name:
            found.append(f'{name!a} cannot name a network')
        elif not isinstance(options.get('type'), str):
            found.append(f'{name} names no type of network')
        elif name not in held:
            found.append(f'it names {name} but holds no weights for it')
    return found


def _tensor_problems(tensors: Collection[str], networks: Collection[str]) -> list[str]:
    strays = [name for name in tensors if name.partition('/')[0] not in networks or name.endswith('/')
              or '/' not in name]
    return [f'the tensor {strays[0][:80]!a} belongs to no network that it names'] if strays else []


def _beyond_limits(value: Any) -> str:
    """Returns the problem of a JSON value's size or texts; '' if there is none."""
    level, count = [value], 0
    for _ in range(MAX_DEPTH):
        texts = [one for one in level if isinstance(one, str)]
        if any('\ud800' <= letter <= '\udfff' or letter == '\0' for text in texts for letter in text):
            return 'a text in its header holds a character that is not text'
        level = [part for one in level if isinstance(one, list | dict) for part in _parts(one)]
        count += len(level)
        if count > MAX_VALUES:
            return f'its header has more than {MAX_VALUES:,} values'
        if not level:
            return ''
    return f'its header is nested deeper than {MAX_DEPTH} levels'


def _parts(value: list[Any] | dict[str, Any]) -> list[Any]:
    return value if isinstance(value, list) else [*value, *value.values()]
