"""When the packets of joined pieces are decoded, and how long they last: as plain loops would have it."""
import tracemalloc
from collections.abc import Sequence
from itertools import count

import numpy as np
import pytest

from gavn.media.segments import _packet_times

HOURS = 180_000  # frames of two hours


def plain_times(shown: Sequence[int], step: int, last: int) -> tuple[list[int], list[int]]:
    """The least delay with which no packet is decoded after it is shown, and the times to the next shown."""
    rising = sorted(shown)
    for delay in count():
        decoding = ([rising[0] - step * early for early in range(delay, 0, -1)] + rising)[:len(shown)]
        if all(map(int.__le__, decoding, shown)):
            break
    follows = dict(zip(rising, [*rising[1:], rising[-1] + last], strict=True))
    return decoding, [follows[stamp] - stamp for stamp in shown]


def b_frames(rng: np.random.Generator, length: int) -> list[int]:
    """Uneven time stamps in an order of decoding: each group's last first, those before it in any order."""
    stamps = np.cumsum(rng.integers(1, 3000, length)) - 900
    shown = [int(stamps[0])]
    while len(shown) < length:
        group = stamps[len(shown):len(shown) + int(rng.integers(1, 8))]
        shown += [int(group[-1]), *rng.permutation(group[:-1]).tolist()]
    return shown


def test_one_group_by_hand() -> None:
    decoding, lasting = _packet_times(np.array([0, 30, 10, 20]), 10, 7)
    assert decoding.tolist() == [-10, 0, 10, 20] and lasting.tolist() == [10, 7, 10, 10]


@pytest.mark.parametrize('length', [1, 2, 3, 40, 300])
def test_any_order_of_b_frames(length: int) -> None:
    rng = np.random.default_rng(length)
    for _ in range(10):
        shown = b_frames(rng, length)
        times = _packet_times(np.array(shown), 1001, 555)
        assert tuple(some.tolist() for some in times) == plain_times(shown, 1001, 555)


def test_two_hours_take_little() -> None:
    shown = np.arange(HOURS, dtype=np.int64).reshape(-1, 4)[:, [0, 3, 1, 2]].ravel() * 512
    tracemalloc.start()
    try:
        decoding, _ = _packet_times(shown, 512, 512)
        assert tracemalloc.get_traced_memory()[1] < 12 * shown.nbytes  # a list takes five times its numbers
    finally:
        tracemalloc.stop()
    assert decoding[:3].tolist() == [-512, 0, 512]
