"""How functions of basicsr are replaced: by a decorator, when the module with the patch is imported."""
from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar('Function', bound=Callable[..., Any])


def replaces(*owners: Any) -> Callable[[Function], Function]:
    """Decorator: puts a function into classes or modules of basicsr, under its own name."""
    def put(function: Function) -> Function:
        for owner in owners:
            setattr(owner, function.__name__, function)
        return function
    return put


def importers_of(function: Callable[..., Any]) -> list[Any]:
    """The modules of basicsr that imported a function by name. Later ones import the replacement."""
    return [module for name, module in list(sys.modules.items())
            if name.startswith('basicsr.') and getattr(module, function.__name__, None) is function]
