"""Networks built from a description that may come from a stranger: a bundle's header.

Nothing is imported, downloaded or read for it, and nothing is allocated before the weights are known to fit.
"""
from __future__ import annotations

import importlib
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode

import gavn.archs  # noqa: F401  (registers the networks)
from gavn.checkpoints.checkpoint import CheckpointError, check_fit, load_strict
from gavn.checkpoints.safe_files import State
from gavn.config.check import network_problems
from gavn.errors import GavnError
from gavn.registry import INSTALL_BASICSR, basicsr_installed, known_networks

STOCK = ('EDSR', 'RCAN', 'RRDBNet', 'SRVGGNetCompact', 'SwinIR')
"""Networks of BasicSR that restore single frames (`window: frame`) and build on the device `meta`."""
OURS_ON_BASICSR = ('EDVR', 'BasicVSRPlusPlus')
"""Networks of gavn that derive from BasicSR's."""
OURS = ('GAVN', 'EDVR', 'BasicVSRPlusPlus', 'VRT', 'DAVDNet', 'DBPN')
DETECTORS = ('PFLDAV',)
LARGEST = 1 << 16
"""No argument of a network that restores is a larger number."""
_OUTSIDE = re.compile(r'(^|_)(paths?|files?|filenames?|dirs?|folders?|roots?|urls?|uri|weights|pretrained|'
                      r'checkpoint|ckpt|download)$')
_ERRORS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError, RuntimeError,
           MemoryError, OSError)  # what constructors raise for arguments that they did not expect


class RestoreError(GavnError):
    """Options that build no usable network, or a network that returns no numbers."""


def registered(kind: Any) -> dict[str, Callable[..., nn.Module]]:
    """All networks by the names that option files may give them; BasicSR is imported if `kind` needs it.

    Raises RestoreError for a network that comes from BasicSR where that is not installed.
    """
    if not isinstance(kind, str) or kind in known_networks():
        return known_networks()
    if basicsr_installed():
        try:
            importlib.import_module('gavn.archs.basicsr_archs')
        except ImportError as error:
            raise RestoreError(f'BasicSR cannot be imported: {error}\n{INSTALL_BASICSR}') from error
    elif kind.removesuffix('_basicsr') in (*OURS_ON_BASICSR, *STOCK):
        raise RestoreError(f'{kind} comes from BasicSR, which is not installed\n{INSTALL_BASICSR}')
    return known_networks()


def check_foreign(options: Mapping[str, Any], where: str, detector: bool = False,
                  modules: Sequence[str] = ()) -> None:
    """Holds the options of a network in a bundle to what may be built from there.

    Networks of users may be named once their package is imported; a bundle never imports one, though it tells
    of the `modules` that made it.

    Raises RestoreError for a network that is not known or does not restore (or, as `detector`, detect
    landmarks), and for arguments that are unknown, ill-typed, beyond `LARGEST`, or name a file or a download.
    """
    kind, known = options['type'], registered(options['type'])
    network = known.get(kind)
    package = getattr(network, '__module__', '').partition('.')[0]
    allowed = DETECTORS if detector else (*OURS, *STOCK)
    if package in ('gavn', 'basicsr') and kind.removesuffix('_basicsr') not in allowed:
        job = 'detects landmarks' if detector else 'restores'
        raise RestoreError(f'{where}: {kind} is no network that {job}\nsuch are {", ".join(allowed)}')
    problems = network_problems(options, known) or _argument_problems(options)
    if problems:
        hint = '' if network else f'\n{_own_network(modules)}'
        raise RestoreError(f'{where}: {"; ".join(problems[:4])}{hint}')


def _own_network(modules: Sequence[str]) -> str:
    if not modules:
        return 'of a network of your own, import the package that registers it first'
    return (f'it comes from {", ".join(modules)}; weights alone never have a module imported: import it '
            f'first, or give --import {" ".join(modules)}')


def _argument_problems(options: Mapping[str, Any]) -> list[str]:
    outside = [name for name, value in options.items() if _OUTSIDE.search(name) and value]
    large = [name for name, value in options.items() if not all(map(_usual, _numbers(value)))]
    return [*(f'{name} may not be given: a bundle holds all that its networks need' for name in outside),
            *(f'{name} is out of range: numbers go to {LARGEST:,}' for name in large)]


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list | dict):
        for part in value if isinstance(value, list) else value.values():
            yield from _numbers(part)
    elif isinstance(value, int | float):
        yield value


def _usual(number: float) -> bool:
    return abs(number) <= LARGEST and math.isfinite(number)


def build(options: Mapping[str, Any]) -> nn.Module:
    """A network with fresh weights. Raises RestoreError for an unknown type or wrong arguments."""
    arguments = dict(options)
    kind = arguments.pop('type')
    known = registered(kind)
    if not isinstance(kind, str) or kind not in known:
        raise RestoreError('; '.join(network_problems(options, known)))
    try:
        return known[kind](**arguments)
    except _ERRORS as error:
        raise RestoreError(f'{kind} cannot be built with {_shown(arguments)}\n{error}') from error


def build_with(options: Mapping[str, Any], state: State, name: str) -> nn.Module:
    """A network with the weights `state`, which are called `name`.

    It is built on the device `meta` first, where tensors have shapes alone, and held to the weights: what is
    allocated afterwards is as large as they are.

    Raises RestoreError as `build` does, and for a network that cannot be built on `meta`; CheckpointError for
    weights that do not fit.
    """
    with torch.device('meta'), _RealRamps(), _no_larger_than(state, options['type']):
        outline = build(options)
    check_fit(outline, state, name)
    network = build(options)
    _check_tables(network, state, name)
    load_strict(network, state, name)
    return network


class _RealRamps(TorchFunctionMode):
    """Lets constructors read `torch.linspace` (rates of stochastic depth) while all else is on `meta`."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
                           ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault('device', 'cpu')
        return func(*args, **kwargs)


@contextmanager
def _no_larger_than(state: State, kind: str) -> Iterator[None]:
    """Stops a constructor, in this thread, that makes far more parts or numbers than `state` holds."""
    thread, parts, numbers = threading.get_ident(), 0, 0
    most_parts = 2_000 + 16 * len(state)
    most_numbers = (1 << 24) + 4 * sum(tensor.numel() for tensor in state.values())

    def count(_module: nn.Module, _name: str, part: Any) -> None:
        nonlocal parts, numbers
        if threading.get_ident() == thread:
            parts += 1
            numbers += part.numel() if isinstance(part, Tensor) else 0
            if parts > most_parts or numbers > most_numbers:
                raise RestoreError(f'{kind} with these arguments is far larger than its weights')

    hooks = [register(count) for register in (torch_module.register_module_parameter_registration_hook,
                                              torch_module.register_module_buffer_registration_hook,
                                              torch_module.register_module_module_registration_hook)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check_tables(network: nn.Module, state: State, name: str) -> None:
    """Tables of integers are indices that a class computes; others would point beyond tensors."""
    if type(network).__module__.partition('.')[0] not in ('gavn', 'basicsr'):
        return
    for key, own in network.state_dict().items():
        if not own.is_floating_point() and own.numel() > 1 and not torch.equal(own, state[key]):
            raise CheckpointError(f'weights {name}: {key} is not the table that {type(network).__name__} '
                                  'makes\nmake the bundle again: `gavn bundle -opt FILE.yml -o FILE`')


def _shown(arguments: Mapping[str, Any]) -> str:
    text = str(arguments)
    return text if len(text) <= 400 else f'{text[:400]}...'
