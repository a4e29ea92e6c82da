"""Memory that is too small and numbers that are too coarse: a restoration continues, and says how."""
import numpy as np
import pytest
import torch
from restore_fakes import make_restorer

from gavn.restoration.model_spec import RestoreError
from gavn.restoration.restorer import Restorer


def crops(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(5).integers(0, 200, (count, 32, 32, 3), dtype=np.uint8))


def with_room_for(restorer: Restorer, windows: int, monkeypatch) -> list[int]:
    """The network runs out of memory beyond so many windows; returns what it was asked for."""
    network, asked = restorer.networks['network_g'], []
    forward = network.forward

    def limited(lq: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        asked.append(len(lq))
        if len(lq) > windows:
            raise torch.OutOfMemoryError('out of memory')
        return forward(lq, **inputs)

    monkeypatch.setattr(network, 'forward', limited)
    return asked


def test_the_batch_is_halved_until_it_fits(monkeypatch, caplog):
    restorer, frames = make_restorer(7.), crops(60)
    restorer.batch = 16
    asked = with_room_for(restorer, 4, monkeypatch)
    restored = list(restorer.restore(frames))
    assert all(np.array_equal(a, b + 7) for a, b in zip(restored, frames, strict=True))
    assert asked[:3] == [16, 8, 4] and set(asked[2:]) <= {1, 2, 3, 4} and restorer.batch == 4
    [notice] = restorer.notices
    assert notice.endswith(': the batch is reduced to 4 windows')
    assert 'too small' in caplog.text


def test_no_room_for_one_window_is_reported(monkeypatch):
    restorer = make_restorer(7.)
    restorer.batch = 2
    with_room_for(restorer, 0, monkeypatch)
    with pytest.raises(RestoreError, match=r'(?s)too small for one window.*--device cpu'):
        list(restorer.restore(crops(9)))


def test_coarse_numbers_give_way_to_fine_ones_where_they_overflow(monkeypatch):
    restorer, frames = make_restorer(7.), crops(12)
    restorer.dtype = 'bfloat16'
    forward, types = restorer.networks['network_g'].forward, []

    def overflowing(lq: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        types.append('bfloat16' if torch.is_autocast_enabled('cpu') else 'float32')
        result = forward(lq, **inputs)
        return result / 0 if types == ['bfloat16'] else result

    monkeypatch.setattr(restorer.networks['network_g'], 'forward', overflowing)
    restored = list(restorer.restore(frames))
    assert all(np.array_equal(a, b + 7) for a, b in zip(restored, frames, strict=True))
    assert types[:2] == ['bfloat16', 'float32'] and set(types[2:]) == {'bfloat16'}
    assert len(restorer.notices) == 1
