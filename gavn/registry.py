"""The registry of networks: gavn's own, mirrored into BasicSR's where BasicSR is used.

Restoring needs no BasicSR, so the networks register here. Training builds its networks from BasicSR's
`ARCH_REGISTRY`; `gavn.archs.basicsr_archs` joins the two, and is imported by everything that trains.
"""
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

from torch import nn

Network = TypeVar('Network', bound=type[nn.Module])
_BASICSR = 'basicsr.utils.registry'


class Registry:
    """Networks by the name of their class, with the interface of `basicsr.utils.registry.Registry`."""

    def __init__(self) -> None:
        self._networks: dict[str, type[nn.Module]] = {}
        self._mirror: Any = None  # BasicSR's registry, once the two are joined

    def register(self) -> Callable[[Network], Network]:
        """Class decorator. Raises KeyError for a name that another class has."""
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
        """Registers all networks, and those that follow, in BasicSR's registry too; a second call is void."""
        if self._mirror is not None:
            return
        for network in self._networks.values():
            basicsr_registry.register(network)
        self._mirror = basicsr_registry

    def get(self, name: str) -> type[nn.Module]:
        """Raises KeyError for a name that no network has."""
        return self._networks[name]

    def __contains__(self, name: str) -> bool:
        return name in self._networks

    def __iter__(self) -> Iterator[tuple[str, type[nn.Module]]]:
        return iter(self._networks.items())


ARCH_REGISTRY = Registry()


def basicsr_installed() -> bool:
    """Whether BasicSR can be imported, without importing it."""
    return find_spec('basicsr') is not None


def known_networks() -> dict[str, type[nn.Module]]:
    """All registered networks by the names that option files may give them.

    Networks of BasicSR, and of packages that register there, are among them once BasicSR is imported. They
    are named with and without the suffix `_basicsr`.
    """
    imported = sys.modules.get(_BASICSR)
    items = list(imported.ARCH_REGISTRY) if imported else []
    without_suffix = {name.removesuffix('_basicsr'): network for name, network in items}
    return without_suffix | dict(items) | dict(ARCH_REGISTRY)
