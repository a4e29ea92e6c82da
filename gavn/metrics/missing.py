"""What keeps a measure from giving a number; its cell then reads `n/a`, with these words beside it."""


class WeightsMissing(RuntimeError):  # noqa: N818 (it reads as what is the matter)
    """A measure's network has no weights; the message says why, and where to get them."""


class NotMeasurable(RuntimeError):  # noqa: N818
    """A clip or a picture has no value of this measure; the message says why."""
