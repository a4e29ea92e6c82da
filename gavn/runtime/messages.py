"""Parts of messages for the user."""
from __future__ import annotations

from collections.abc import Sequence


def shortened(text: str, limit: int) -> str:
    """Returns at most `limit` characters of a text."""
    return text if len(text) <= limit else f'{text[:limit]}...'


def listed(names: Sequence[str], limit: int = 4) -> str:
    """Returns the first names and the number of the others."""
    rest = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {rest} more' if rest > 0 else '')
