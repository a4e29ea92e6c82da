"""The one place where a network of ours takes the name of one that comes with basicsr."""

from typing import TypeVar

from basicsr import archs  # noqa: F401  (registers the stock networks, which must be there to be replaced)
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

Network = TypeVar('Network', bound=type[nn.Module])


def in_place_of_stock(network: Network) -> Network:
    """Class decorator: option files that name this class get it, not the stock one that it is derived from.

    A registry refuses a name twice and has no way to take one back, so its table is changed directly.

    Raises TypeError for a class that is not derived from the one registered under its name.
    """
    name = network.__name__
    if not issubclass(network, ARCH_REGISTRY.get(name)):
        raise TypeError(f'{network.__module__}.{name} is not derived from the {name} that it would replace')
    ARCH_REGISTRY._obj_map[name] = network
    return network
