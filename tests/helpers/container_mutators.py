"""Damage to files, reproducible: a mutator takes content and a generator, and returns other content."""
from collections.abc import Callable

import numpy as np

Mutator = Callable[[bytearray, np.random.Generator], bytearray]
EXTREMES = (0, 1, 0x7fffffff, 0x80000000, 0xffffffff)  # of a number of 32 bits
_LONGEST = 4096  # bytes that are changed together


def _span(content: bytearray, draw: np.random.Generator) -> tuple[int, int]:
    start = int(draw.integers(len(content)))
    return start, min(len(content), start + int(draw.integers(1, _LONGEST)))


def truncated(content: bytearray, draw: np.random.Generator) -> bytearray:
    return content[:int(draw.integers(len(content)))]


def beheaded(content: bytearray, draw: np.random.Generator) -> bytearray:
    return content[int(draw.integers(1, len(content))):]


def flipped(content: bytearray, draw: np.random.Generator) -> bytearray:
    """Bits, anywhere."""
    for at in draw.integers(len(content), size=int(draw.integers(1, 200))):
        content[at] ^= 1 << int(draw.integers(8))
    return content


def header_flipped(content: bytearray, draw: np.random.Generator) -> bytearray:
    """Bytes at either end, where headers and indices are."""
    reach = min(len(content), 2048)
    for at in draw.integers(reach, size=int(draw.integers(1, 12))):
        content[at if draw.integers(2) else -1 - at] = int(draw.integers(256))
    return content


def extreme(content: bytearray, draw: np.random.Generator) -> bytearray:
    """Numbers that are the least or the largest."""
    for at in draw.integers(max(1, min(len(content) - 4, 4096)), size=3):
        at = int(at) if draw.integers(2) else len(content) - 4 - int(at)
        content[at:at + 4] = EXTREMES[int(draw.integers(len(EXTREMES)))].to_bytes(4, 'big')
    return content


def zeroed(content: bytearray, draw: np.random.Generator) -> bytearray:
    start, end = _span(content, draw)
    content[start:end] = bytes(end - start)
    return content


def removed(content: bytearray, draw: np.random.Generator) -> bytearray:
    start, end = _span(content, draw)
    del content[start:end]
    return content


def repeated(content: bytearray, draw: np.random.Generator) -> bytearray:
    start, end = _span(content, draw)
    content[start:start] = content[start:end]
    return content


def noisy(content: bytearray, draw: np.random.Generator) -> bytearray:
    start, end = _span(content, draw)
    content[start:end] = draw.bytes(end - start)
    return content


MUTATORS: tuple[Mutator, ...] = (
    truncated, beheaded, flipped, header_flipped, extreme, zeroed, removed, repeated, noisy)


def mutant(content: bytes, seed: int) -> tuple[str, bytes]:
    """Damaged content and what was done to it: one or two mutators, as the seed has it."""
    draw = np.random.default_rng(seed)
    names, result = [], bytearray(content)
    for _ in range(int(draw.integers(1, 3))):
        mutate = MUTATORS[int(draw.integers(len(MUTATORS)))]
        names.append(mutate.__name__)
        result = mutate(result, draw) or bytearray(b'\0')
    return ' and '.join(names), bytes(result)
