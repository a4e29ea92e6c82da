"""The registry of networks, mirrored into BasicSR's registry if BasicSR is used.

Restoring needs no BasicSR, so networks register here. Training builds networks from BasicSR's
`ARCH_REGISTRY`; `gavn.archs.basicsr_archs` joins the two.
"""
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

from torch import nn

Network = TypeVar('Network', bound=type[nn.Module])
Class = TypeVar('Class', bound=type)
_BASICSR = 'basicsr.utils.registry'


class Registry:
    """Networks by class name, with the interface of `basicsr.utils.registry.Registry`."""

    def __init__(self) -> None:
        self._networks: dict[str, type[nn.Module]] = {}
        self._mirror: Any = None  # BasicSR's registry, after `mirror_to`

    def register(self) -> Callable[[Network], Network]:
        """Class decorator. Raises KeyError if the name is taken."""
        def add(network: Network) -> Network:
            name = network.__name__
            if name in self._networks:
                raise KeyError(f'a network named {name} is already registered: {self._networks[name]}')
            self._networks[name] = network
            if self._mirror is not None:
                self._mirror.register(network)
            return network
        return add

    def mirror_to(self, basicsr_registry: Any) -> None:
        """Also registers all present and future networks in BasicSR's registry. Repeats have no effect."""
        if self._mirror is not None:
            return
        for network in self._networks.values():
            basicsr_registry.register(network)
        self._mirror = basicsr_registry

    def get(self, name: str) -> type[nn.Module]:
        """Returns a network. Raises KeyError for an unknown name."""
        return self._networks[name]

    def __contains__(self, name: str) -> bool:
        return name in self._networks

    def __iter__(self) -> Iterator[tuple[str, type[nn.Module]]]:
        return iter(self._networks.items())


ARCH_REGISTRY = Registry()


def replaces_in(registry: Any) -> Callable[[Class], Class]:
    """Class decorator: replaces a class of BasicSR in its registry by a derived class of the same name.

    Option files that name the class then get the derived one. BasicSR's registries accept a name once and
    remove none, so the table is changed directly.

    Raises:
        TypeError: the class is not derived from the registered one.
    """
    def replace(cls: Class) -> Class:
        if not issubclass(cls, registry._obj_map[cls.__name__]):
            raise TypeError(f'{cls.__module__}.{cls.__name__} is not derived from the {cls.__name__} that it '
                            'would replace')
        registry._obj_map[cls.__name__] = cls
        return cls
    return replace


def basicsr_installed() -> bool:
    """Whether BasicSR is installed, without importing it."""
    return find_spec('basicsr') is not None


def known_networks() -> dict[str, type[nn.Module]]:
    """Returns all registered networks by the names for option files.

    They include networks of BasicSR, and of packages that register there, if BasicSR is imported, by their
    names with and without the suffix `_basicsr`.
    """
    imported = sys.modules.get(_BASICSR)
    items = list(imported.ARCH_REGISTRY) if imported else []
    without_suffix = {name.removesuffix('_basicsr'): network for name, network in items}
    return without_suffix | dict(items) | dict(ARCH_REGISTRY)
