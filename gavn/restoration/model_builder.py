"""Builds networks from options, also from the untrusted header of a bundle.

Building from a header imports, downloads and reads nothing, and allocates memory only after the weights are
known to fit.
"""
from __future__ import annotations

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
from gavn.checkpoints.checkpoint import check_fit, load_strict
from gavn.checkpoints.safe_files import State
from gavn.config.check import network_problems
from gavn.errors import CheckpointError, ExitCode, GavnError
from gavn.registry import ARCH_REGISTRY, basicsr_installed, known_networks
from gavn.runtime.messages import shortened
from gavn.runtime.optional_packages import missing_package

STOCK = ('EDSR', 'RCAN', 'RRDBNet', 'SRVGGNetCompact', 'SwinIR')
"""BasicSR networks that restore single frames (`window: frame`) and can be built on the device `meta`."""
OURS_ON_BASICSR = ('EDVR', 'BasicVSRPlusPlus')
"""Networks of gavn that derive from BasicSR's."""
OURS = ('GAVN', 'EDVR', 'BasicVSRPlusPlus', 'VRT', 'DAVDNet', 'DBPN')
DETECTORS = ('PFLDAV',)
MAX_ARGUMENT = 1 << 16
"""Largest number allowed as a network argument in a bundle."""
_FILE_ARGUMENT = re.compile(
    r'(^|_)(paths?|files?|filenames?|dirs?|folders?|roots?|urls?|uri|weights|pretrained|'
    r'checkpoint|ckpt|download)$')
_ERRORS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError, RuntimeError,
           MemoryError, OSError)  # raised by constructors for unexpected arguments


class RestoreError(GavnError):
    """The options build no usable network, or the network returns invalid values."""

    exit_code = ExitCode.WEIGHTS


def registered(kind: Any) -> Mapping[str, Callable[..., nn.Module]]:
    """Returns all networks by the names that option files may use; imports BasicSR if `kind` needs it.

    Raises:
        MissingPackageError: the network comes from BasicSR, which is not installed.
    """
    if not isinstance(kind, str) or kind in ARCH_REGISTRY:
        return known_networks()
    if basicsr_installed():
        try:
            from gavn.archs import basicsr_archs  # noqa: F401  (joins the registries)
        except ImportError as error:
            raise missing_package('basicsr', 'train', kind, error) from error
    elif kind.removesuffix('_basicsr') in (*OURS_ON_BASICSR, *STOCK):
        raise missing_package('basicsr', 'train', kind)
    return known_networks()


def check_foreign(options: Mapping[str, Any], where: str, detector: bool = False,
                  modules: Sequence[str] = ()) -> None:
    """Checks that a bundle may build a network.

    A network from outside gavn is allowed once its package is imported. A bundle never imports a package.

    Args:
        detector: whether the network must detect landmarks rather than restore.

    Raises:
        RestoreError: the network is unknown or has another purpose, or an argument is unknown, has a wrong
            type, is larger than `MAX_ARGUMENT`, or names a file or a download.
    """
    kind, known = options['type'], registered(options['type'])
    network = known.get(kind)
    package = getattr(network, '__module__', '').partition('.')[0]
    allowed = DETECTORS if detector else (*OURS, *STOCK)
    if package in ('gavn', 'basicsr') and kind.removesuffix('_basicsr') not in allowed:
        purpose = 'detects landmarks' if detector else 'restores'
        raise RestoreError(f'{where}: {kind} is not a network that {purpose}\n'
                           f'use one of {", ".join(allowed)}')
    problems = network_problems(options, known) or _argument_problems(options)
    if problems:
        hint = '' if network else f'\n{_import_hint(modules)}'
        raise RestoreError(f'{where}: {"; ".join(problems[:4])}{hint}')


def _import_hint(modules: Sequence[str]) -> str:
    if not modules:
        return 'import the package that registers the network first'
    return (f'it comes from {", ".join(modules)}; a bundle never imports a module: import it first, '
            f'or use --import {" ".join(modules)}')


def _argument_problems(options: Mapping[str, Any]) -> list[str]:
    files = [name for name, value in options.items() if _FILE_ARGUMENT.search(name) and value]
    large = [name for name, value in options.items() if not all(map(_in_range, _numbers(value)))]
    return [*(f'{name} is not allowed: a bundle contains all that its networks need' for name in files),
            *(f'{name} is out of range: the largest number is {MAX_ARGUMENT:,}' for name in large)]


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list | dict):
        for part in value if isinstance(value, list) else value.values():
            yield from _numbers(part)
    elif isinstance(value, int | float):
        yield value


def _in_range(number: float) -> bool:
    return abs(number) <= MAX_ARGUMENT and math.isfinite(number)


def build(options: Mapping[str, Any]) -> nn.Module:
    """Builds a network with fresh weights.

    Raises:
        RestoreError: the type is unknown or the arguments are invalid.
    """
    arguments = dict(options)
    kind = arguments.pop('type')
    known = registered(kind)
    if not isinstance(kind, str) or kind not in known:
        raise RestoreError('; '.join(network_problems(options, known)))
    try:
        return known[kind](**arguments)
    except _ERRORS as error:
        shown = shortened(str(arguments), 400)
        raise RestoreError(f'{kind} cannot be built with {shown}\n{error}') from error


def build_with(options: Mapping[str, Any], state: State, name: str) -> nn.Module:
    """Builds a network with weights.

    The network is first built on the device `meta`, without memory, and compared with the weights. So it
    never allocates more than the weights take.

    Args:
        name: name of the weights, for messages.

    Raises:
        RestoreError: see `build`; also if the network cannot be built on `meta`.
        CheckpointError: the weights do not fit.
    """
    with torch.device('meta'), _LinspaceOnCPU(), _no_larger_than(state, options['type']):
        outline = build(options)
    check_fit(outline, state, name)
    network = build(options)
    _check_tables(network, state, name)
    load_strict(network, state, name)
    return network


class _LinspaceOnCPU(TorchFunctionMode):
    """Keeps `torch.linspace` (stochastic depth rates) on the CPU, because constructors read its values."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
                           ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault('device', 'cpu')
        return func(*args, **kwargs)


@contextmanager
def _no_larger_than(state: State, kind: str) -> Iterator[None]:
    """Stops a constructor in this thread that creates far more modules or parameters than `state` has."""
    thread, parts, elements = threading.get_ident(), 0, 0
    max_parts = 2_000 + 16 * len(state)
    max_elements = (1 << 24) + 4 * sum(tensor.numel() for tensor in state.values())

    def count(_module: nn.Module, _name: str, part: Any) -> None:
        nonlocal parts, elements
        if threading.get_ident() == thread:
            parts += 1
            elements += part.numel() if isinstance(part, Tensor) else 0
            if parts > max_parts or elements > max_elements:
                raise RestoreError(f'{kind} with these arguments is much larger than its weights')

    hooks = [register(count) for register in (torch_module.register_module_parameter_registration_hook,
                                              torch_module.register_module_buffer_registration_hook,
                                              torch_module.register_module_module_registration_hook)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check_tables(network: nn.Module, state: State, name: str) -> None:
    """Checks integer buffers: the class computes these indices; other values could be out of bounds."""
    if type(network).__module__.partition('.')[0] not in ('gavn', 'basicsr'):
        return
    for key, own in network.state_dict().items():
        if not own.is_floating_point() and own.numel() > 1 and not torch.equal(own, state[key]):
            raise CheckpointError(f'weights {name}: {key} differs from what {type(network).__name__} '
                                  'computes\ncreate the bundle again: `gavn bundle -opt FILE.yml -o FILE`')
