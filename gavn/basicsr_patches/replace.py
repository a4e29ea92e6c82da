"""How patches are put in place."""
from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


def wrap(owner: Any, name: str, wrapper: Wrapper) -> None:
    """Replaces `owner.name` by `wrapper(owner.name)`. A second call changes nothing."""
    original = getattr(owner, name)
    if not hasattr(original, '_gavn_patch'):
        setattr(owner, name, _mark(wrapper(original)))


def wrap_everywhere(function: Callable[..., Any], wrapper: Wrapper) -> None:
    """Replaces a function of basicsr in every module of basicsr that imported it by name."""
    if hasattr(function, '_gavn_patch'):
        return
    patched = _mark(wrapper(function))
    for name, module in list(sys.modules.items()):
        if name.startswith('basicsr.') and getattr(module, function.__name__, None) is function:
            setattr(module, function.__name__, patched)


def _mark(function: Callable[..., Any]) -> Callable[..., Any]:
    vars(function)['_gavn_patch'] = True
    return function
