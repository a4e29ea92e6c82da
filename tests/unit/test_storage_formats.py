"""The measurement of stored forms: each has been read back and weighed."""
import numpy as np

from gavn.data.reading_speed import WINDOW, measure_stores
from gavn.data.storage import STORES


def test_every_form_is_read_and_weighed() -> None:
    frames = [np.full((64, 64, 3), i, np.uint8) for i in range(WINDOW + 1)]
    found = {speed.store: speed for speed in measure_stores(frames, repeats=2)}
    assert list(found) == list(STORES)
    assert all(speed.frames_per_second > 0 and speed.pack_ms > 0 for speed in found.values())
    assert 12 < found['raw'].kilobytes < 12.1  # 64 x 64 x 3 bytes and a header
    assert max(found['webp'].kilobytes, found['png'].kilobytes) < 1  # flat images
