"""Weights: safe to read, strict to load, whole on disk."""
import pickle

import pytest
import tiny_peers
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from safetensors.torch import save_file
from torch import nn

from gavn.checkpoints import checkpoint
from gavn.checkpoints.checkpoint import load_bundle, load_state, load_strict, save_bundle
from gavn.errors import CheckpointError, ExitCode
from gavn.runtime.exit_codes import code_of
from gavn.runtime.input_checks import check_weight_file


class Small(nn.Module):
    def __init__(self, width: int = 4, extra: bool = False) -> None:
        super().__init__()
        self.temporal = nn.Conv2d(3, width, 3)
        self.reconstruction = nn.Sequential(nn.Conv2d(width, 3, 1), nn.BatchNorm2d(3))
        if extra:
            self.identity = nn.Linear(2, 2)


class GAVN(Small):
    pass


class PFLDAV(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Linear(3, 4)


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize('maker', sorted({*checkpoint._SIGNATURES, *tiny_peers.PEERS}))
def test_weights_of_another_class_are_recognised(maker):
    options = tiny_peers.PEERS[maker].network if maker in tiny_peers.PEERS else {}
    network = ARCH_REGISTRY.get(maker)(**options)
    with pytest.raises(CheckpointError, match=f'look like weights of {maker}: give them to it, or .* Small'):
        load_strict(Small(), network.state_dict(), 'w.pth')


@pytest.fixture
def state():
    return Small().state_dict()


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_plain_state(tmp_path, state, suffix):
    path = tmp_path / f'w{suffix}'
    torch.save(state, path) if suffix == '.pth' else save_file(state, path)
    assert equal(load_state(path), state)


def test_average_is_preferred_and_key_overrides(tmp_path, state):
    ema = {key: value + 1 for key, value in state.items()}
    torch.save({'params': state, 'params_ema': ema}, tmp_path / 'net_g_1.pth')
    assert equal(load_state(tmp_path / 'net_g_1.pth'), ema)
    assert equal(load_state(tmp_path / 'net_g_1.pth', key='params'), state)
    with pytest.raises(CheckpointError, match=r"no entry 'params_x'.*params, params_ema"):
        load_state(tmp_path / 'net_g_1.pth', key='params_x')


def test_data_parallel_prefix_is_dropped(tmp_path, state):
    torch.save({'params': {f'module.{key}': value for key, value in state.items()}}, tmp_path / 'w.pth')
    assert equal(load_state(tmp_path / 'w.pth'), state)


class Bomb:
    def __reduce__(self):
        return (print, ('executed',))


@pytest.mark.parametrize('content', [Bomb(), {'params': Bomb()}], ids=['bare', 'nested'])
def test_pickled_objects_are_refused_and_not_executed(tmp_path, capsys, content):
    with (tmp_path / 'w.pth').open('wb') as file:
        pickle.dump(content, file, protocol=2)
    torch.save(content, tmp_path / 'zip.pth')
    for name in ('w.pth', 'zip.pth'):
        with pytest.raises(CheckpointError, match='refused'):
            load_state(tmp_path / name)
    assert 'executed' not in capsys.readouterr().out


@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors'])
@pytest.mark.parametrize('content', [b'', b'this is text', b'\x80\x02\x00', bytes(range(256))],
                         ids=['empty', 'text', 'cut', 'bytes'])
def test_damaged_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf'{name}.*\n'):
        load_state(tmp_path / name)


@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors'])
def test_truncated_file(tmp_path, state, name):
    path = tmp_path / name
    torch.save(state, path) if name.endswith('.pth') else save_file(state, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r'damaged|readable'):
        load_state(path)


_NO_NAME = 'not the name of a file|does not exist'  # by the version of Python


@pytest.mark.parametrize('read', [load_state, load_bundle, check_weight_file])
@pytest.mark.parametrize(('name', 'words'), [
    ('none.pth', 'does not exist'), ('', 'is a folder'), ('n' * 300, _NO_NAME), ('a\0b', _NO_NAME)])
def test_what_is_no_file_is_refused(tmp_path, read, name, words):
    """Commands say so before they import torch."""
    with pytest.raises(CheckpointError, match=words) as refused:
        read(tmp_path / name)
    assert code_of(refused.value) == ExitCode.WEIGHTS


@pytest.mark.parametrize('content', [{'iter': 3, 'list': []}, {'params': {}}, torch.zeros(3), {}], ids=str)
def test_files_without_weights(tmp_path, content):
    torch.save(content, tmp_path / 'w.pth')
    with pytest.raises(CheckpointError, match='holds'):
        load_state(tmp_path / 'w.pth')


def test_strict_loads(state):
    network = Small()
    network.temporal.weight.data.zero_()
    load_strict(network, state, 'w.pth')
    assert equal(network.state_dict(), state)


def test_strict_names_wrong_width_and_changes_nothing():
    network = GAVN(width=8)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_strict(network, GAVN(width=4).state_dict(), 'w.pth')
    words = str(error.value)
    assert 'w.pth' in words and 'temporal.weight is 4x3x3x3, not 8x3x3x3' in words and 'num_feat' in words
    assert equal(network.state_dict(), before)


def test_strict_names_wrong_class():
    with pytest.raises(CheckpointError) as error:
        load_strict(PFLDAV(), GAVN().state_dict(), 'net_g_9.pth')
    words = str(error.value)
    assert 'missing: points.weight, points.bias' in words
    assert 'unknown: temporal.weight' in words and 'and 5 more' in words
    assert 'weights of GAVN' in words


def test_strict_names_other_switches():
    with pytest.raises(CheckpointError, match=r'(?s)missing: identity.weight, identity.bias.*same options'):
        load_strict(GAVN(extra=True), GAVN().state_dict(), 'w.pth')


def test_bundle_round_trip(tmp_path):
    network, detector = Small(), PFLDAV()
    options = {'type': 'Small', 'width': 4, 'extra': None}
    networks = {'network_g': (options, network), 'network_l': ({'type': 'PFLDAV'}, detector)}
    meta = {'task': 'deblur', 'network_inputs': ['lq', 'audio']}
    save_bundle(tmp_path / 'b.safetensors', networks, meta)
    got, states = load_bundle(tmp_path / 'b.safetensors')
    assert got['networks'] == {'network_g': options, 'network_l': {'type': 'PFLDAV'}}
    assert {key: got[key] for key in meta} == meta
    assert got['versions'].keys() == {'gavn', 'python', 'torch', 'basicsr'}
    assert equal(states['network_g'], network.state_dict())
    assert equal(states['network_l'], detector.state_dict())
    assert equal(load_state(tmp_path / 'b.safetensors', key='network_l'), detector.state_dict())
    with pytest.raises(CheckpointError, match='network_g, network_l'):
        load_state(tmp_path / 'b.safetensors')


def test_bundle_of_tied_and_strided_tensors(tmp_path):
    network = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    network[1].weight = network[0].weight
    network[0].bias = nn.Parameter(torch.arange(6.)[::2])
    save_bundle(tmp_path / 'b.safetensors', {'n': ({'type': 'X'}, network)}, {})
    assert equal(load_bundle(tmp_path / 'b.safetensors')[1]['n'], network.state_dict())


def test_no_bundle(tmp_path, state, monkeypatch):
    save_file(state, tmp_path / 'w.safetensors')
    with pytest.raises(CheckpointError, match='gavn bundle'):
        load_bundle(tmp_path / 'w.safetensors')
    torch.save(state, tmp_path / 'w.pth')
    with pytest.raises(CheckpointError, match='gavn bundle'):
        load_bundle(tmp_path / 'w.pth')
    monkeypatch.setattr(checkpoint, 'BUNDLE_FORMAT', 99)
    save_bundle(tmp_path / 'new.safetensors', {'n': ({'type': 'X'}, Small())}, {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match='format 99'):
        load_bundle(tmp_path / 'new.safetensors')


def test_failed_write_keeps_the_old_bundle(tmp_path):
    path = tmp_path / 'b.safetensors'
    save_bundle(path, {'n': ({'type': 'X'}, Small())}, {})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_bundle(path, {'n': ({'type': 'X', 'bad': object()}, Small())}, {})
    with pytest.raises(ValueError, match='name'):
        save_bundle(path, {'a/b': ({'type': 'X'}, Small())}, {})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
