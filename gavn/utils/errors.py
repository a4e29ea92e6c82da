"""What ends a run in words."""


class RunError(RuntimeError):
    """A run cannot go on; the message says why, and what to change."""
