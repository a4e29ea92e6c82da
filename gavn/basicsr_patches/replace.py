"""How functions of basicsr are wrapped."""
from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


def wrap(owner: Any, name: str, wrapper: Wrapper) -> None:
    """Wraps `owner.name`, unless it is wrapped already. Wrappers use `functools.wraps`."""
    original = getattr(owner, name)
    if not hasattr(original, '__wrapped__'):
        setattr(owner, name, wrapper(original))


def wrap_everywhere(function: Callable[..., Any], wrapper: Wrapper) -> None:
    """Wraps a function of basicsr in every module of basicsr that imported it by name."""
    if hasattr(function, '__wrapped__'):
        return
    wrapped = wrapper(function)
    for name, module in list(sys.modules.items()):
        if name.startswith('basicsr.') and getattr(module, function.__name__, None) is function:
            setattr(module, function.__name__, wrapped)
