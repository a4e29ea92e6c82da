"""Registers gavn with BasicSR when BasicSR first looks up a name."""
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_REGISTRY = 'basicsr.utils.registry'
_LATER = 'basicsr.train'  # `import basicsr` imports it after its registries


class _Watch:
    """A finder that finds no module. It is asked for every module, and so learns that BasicSR is imported."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
                  ) -> ModuleSpec | None:
        if name == _LATER:
            sys.meta_path.remove(self)
            _register_at_first_lookup()
        return None


def _register_at_first_lookup() -> None:
    registry: Any = sys.modules[_REGISTRY]
    lookup = registry.Registry.get

    def get(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Imports gavn's components, then looks up as before."""
        import_module('gavn.basicsr_plugin')
        registry.Registry.get = lookup
        return lookup(self, *args, **kwargs)

    registry.Registry.get = get


def register() -> None:
    """Has BasicSR import `gavn.basicsr_plugin` at its first lookup. Imports nothing itself."""
    if _REGISTRY in sys.modules:
        _register_at_first_lookup()
    else:
        sys.meta_path.insert(0, _Watch())
