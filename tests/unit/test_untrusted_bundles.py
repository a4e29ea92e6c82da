"""Bundles and checkpoints from strangers: nothing is run, imported or allocated for them."""
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import tiny_peers
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from safetensors.torch import save_file
from torch import nn

from gavn.checkpoints.checkpoint import (
    CheckpointError,
    load_bundle,
    load_state,
    load_strict,
    load_trained,
    training_budget,
)
from gavn.restoration import model_builder
from gavn.restoration.model_builder import RestoreError
from gavn.restoration.restorer import Restorer

GAVN = {'type': 'GAVN', 'num_feat': 8, 'radius': 0, 'num_extract_block': 1, 'num_reconstruct_block': [1, 1],
        'deformable_groups': 2, 'use_identity': False}


def state_of(options: dict[str, Any]) -> dict[str, torch.Tensor]:
    arguments = {key: value for key, value in options.items() if key != 'type'}
    return ARCH_REGISTRY.get(options['type'])(**arguments).state_dict()


@pytest.fixture(scope='module')
def tensors() -> dict[str, torch.Tensor]:
    return {f'network_g/{key}': value for key, value in state_of(GAVN).items()}


def write(path: Path, header: Any, tensors: dict[str, torch.Tensor]) -> Path:
    text = header if isinstance(header, str) else json.dumps(header)
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata={'gavn': text})
    return path


def header(**changes: Any) -> dict[str, Any]:
    return {'format': 1, 'networks': {'network_g': GAVN}, 'network_inputs': ['lq'], **changes}


def network(**changes: Any) -> dict[str, Any]:
    return header(networks={'network_g': {**GAVN, **changes}})


def test_the_bundle_that_all_others_are_made_of(tensors, tmp_path):
    restorer = Restorer.load(write(tmp_path / 'b.safetensors', header(), tensors), 'cpu')
    found = restorer.networks['network_g'].state_dict()
    assert all(torch.equal(found[key.partition('/')[2]], value) for key, value in tensors.items())


def test_older_bundles_may_hold_the_window_sequence(tensors, tmp_path):
    path = write(tmp_path / 'b.safetensors', header(window='sequence'), tensors)
    assert load_bundle(path)[0]['window'] is None
    assert Restorer.load(path, 'cpu').networks.keys() == {'network_g'}


@pytest.mark.parametrize(('content', 'message'), [
    ('null', 'the header must be a section, not None'), ('[]', r'the header must be a section, not \[\]'),
    ('5', 'the header must be a section, not 5'), ('{"format": 1}', 'networks is missing'),
    ('{"format": 1, ', 'not a readable safetensors file'), ('{"format": NaN}', 'NaN is no JSON'),
    ('{"format": ' + '9' * 5000 + '}', 'not a readable safetensors file'),
    ('[' * 100_000, 'not a readable safetensors file'),
    ('{"a": ' + '[' * 200 + ']' * 200 + '}', 'nested deeper than 64 levels'),
    ('{"a": [' + '0,' * 30_000 + '0]}', 'more than 20,000 values'),
    ('{"a": "' + 'x' * (1 << 20) + '"}', 'options are longer than 1,048,576 characters'),
    ('{"task": "\\ud800"}', 'a character that is not text'),
    (header(format=True), 'format is True; it must be a whole number'),
    (header(format=2), 'is a bundle of format 2, this version reads 1'),
    (header(networks=[]), r'networks is \[\]; it must be'), (header(networks={}), 'it names no networks'),
    (header(networks={'network_g': None}), 'network_g'),
    (header(networks={'network_g': {}}), 'network_g names no type'),
    (header(networks={'network_g': {'type': ['GAVN']}}), 'network_g names no type of network'),
    (header(networks={'a/b': GAVN}), "'a/b' cannot name a network"),
    (header(networks={'network_g': GAVN, 'network_l': GAVN}), 'names network_l but holds no weights for it'),
    (header(networks={'network_x': GAVN}), 'names network_x but holds no weights'),
    (header(network_inputs='lq'), 'network_inputs'), (header(network_inputs=[5]), 'network_inputs'),
    (header(window=5), 'window is 5'), (header(task={}), 'task is .*must be text'),
    (header(budget=[1]), 'budget'), (header(budget={'minutes': 'x'}), r'budget.minutes is .x.'),
    (header(sources={'x': 5}), r'sources.x is 5'),
])
def test_headers_that_no_bundle_has(content, message, tensors, tmp_path):
    path = write(tmp_path / 'b.safetensors', content, tensors)
    for read in (Restorer.load, load_state, training_budget):
        with pytest.raises(CheckpointError, match=message):
            read(path)


@pytest.mark.parametrize(('stray', 'message'), [
    ('loose', "the tensor 'loose' belongs to no network"), ('network_x/w', "tensor 'network_x/w' belongs"),
    ('network_g/', "the tensor 'network_g/' belongs"), ('/w', "the tensor '/w' belongs")])
def test_tensors_of_no_network_are_refused(stray, message, tensors, tmp_path):
    path = write(tmp_path / 'b.safetensors', header(), {**tensors, stray: torch.zeros(1)})
    with pytest.raises(CheckpointError, match=message):
        Restorer.load(path)


@pytest.mark.parametrize(('options', 'message'), [
    ({'type': 'VGGFeatureExtractor', 'layer_name_list': ['relu1_1']}, 'VGGFeatureExtractor is not a network'),
    ({'type': 'SpyNet', 'load_path': '/etc/passwd'}, 'SpyNet is not a network that restores'),
    ({'type': 'DFDNet', 'num_feat': 8, 'dict_path': 'x'}, 'DFDNet is not a network that restores'),
    ({'type': 'SyncNet'}, 'SyncNet is not a network that restores\n *use one of GAVN'),
    ({'type': 'UNetDiscriminatorSN', 'num_in_ch': 3}, 'not a network that restores'),
    ({'type': 'StyleGAN2Generator_basicsr', 'out_size': 8}, 'there is no network called'),
    ({'type': 'os.system'}, 'there is no network called os.system.*\n *import the package that registers'),
    ({**GAVN, 'type': 'GAWN'}, 'the nearest valid name is GAVN'),
    ({'type': 'VRT', 'spynet_path': '/dev/zero'}, 'spynet_path is not allowed'),
    ({'type': 'BasicVSRPlusPlus', 'spynet_path': 'x.pth'}, 'spynet_path is not allowed'),
    ({**GAVN, 'num_feat': None}, 'num_feat is null; it must be'),
    ({**GAVN, 'num_feat': 'x'}, 'num_feat is .x.; it must be'),
    ({**GAVN, 'num_feat': [8]}, 'num_feat is'), ({**GAVN, 'num_feat': {'x': 1}}, 'num_feat is'),
    ({**GAVN, 'num_feat': True}, 'num_feat is True; it must be a whole number'),
    ({**GAVN, 'num_feat': 10 ** 9}, 'num_feat is out of range: the largest number is 65,536'),
    ({**GAVN, 'num_feat': -8}, 'cannot be built'), ({**GAVN, 'num_feat': 0}, 'cannot be built'),
    ({**GAVN, 'num_fet': 8}, 'unknown key num_fet; the nearest valid name is num_feat'),
    ({**GAVN, 'num_reconstruct_block': [1, 10 ** 9]}, 'num_reconstruct_block is out of range'),
    ({**GAVN, 'num_feat': 65536}, 'GAVN with these arguments is much larger than its weights'),
    ({**GAVN, 'num_extract_block': 65536}, 'GAVN with these arguments is much larger than its weights'),
    ({'type': 'BasicVSRPlusPlus', 'min_side': 60000}, 'min_side is 60000; it must be from 1 to 1024'),
    ({'type': 'SwinIR', 'upscale': 1, 'window_size': 8, 'depths': [60000], 'num_heads': [6]},
     'much larger than its weights'),
    ({'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'img_range': float('1e400')}, 'Infinity is no JSON'),
])
def test_networks_that_no_bundle_may_name(options, message, tensors, tmp_path, monkeypatch):
    devices, build = [], model_builder.build

    def watched(options: dict[str, Any]) -> nn.Module:
        devices.append(torch.empty(0).device.type)
        return build(options)

    monkeypatch.setattr(model_builder, 'build', watched)
    path = write(tmp_path / 'b.safetensors', header(networks={'network_g': options}), tensors)
    with pytest.raises((RestoreError, CheckpointError), match=message):
        Restorer.load(path)
    assert set(devices) <= {'meta'}  # nothing was allocated


def test_numbers_beyond_floats_are_refused(tensors, tmp_path):
    text = json.dumps(network(num_feat='@')).replace('"@"', '1e400')
    with pytest.raises(RestoreError, match='num_feat'):
        Restorer.load(write(tmp_path / 'b.safetensors', text, tensors))


def test_a_detector_is_no_restorer(tensors, tmp_path):
    both = {'network_g': GAVN, 'network_l': GAVN}
    more = {key.replace('_g/', '_l/'): value.clone() for key, value in tensors.items()}
    path = write(tmp_path / 'b.safetensors', header(networks=both, network_inputs=['lq', 'landmarks']),
                 tensors | more)
    with pytest.raises(RestoreError, match=r'GAVN is not a network that detects landmarks\nuse one of PFLD'):
        Restorer.load(path)


def test_a_bundle_imports_nothing(tensors, tmp_path, monkeypatch):
    (tmp_path / 'planted.py').write_text('raise SystemExit("ran")')
    monkeypatch.syspath_prepend(tmp_path)
    content = header(custom_imports=['planted'], networks={'network_g': {**GAVN, 'type': 'planted.Net'}})
    with pytest.raises(RestoreError, match=r'called planted.Net.*\n.*a bundle never imports'):
        Restorer.load(write(tmp_path / 'b.safetensors', content, tensors))
    assert 'planted' not in sys.modules


def test_a_registered_network_of_the_users_own_may_be_named(tmp_path, monkeypatch):
    class Mine(nn.Module):
        def __init__(self, width: int = 2, vocabulary_path: str | None = None) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 3, width, padding='same')

        def forward(self, lq: torch.Tensor) -> torch.Tensor:
            return self.body(lq)

    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'Mine', Mine)
    weights = {f'network_g/{key}': value for key, value in Mine(3).state_dict().items()}

    def load(**arguments: Any) -> Restorer:
        content = header(networks={'network_g': {'type': 'Mine', **arguments}}, window='frame')
        return Restorer.load(write(tmp_path / 'b.safetensors', content, weights))

    assert load(width=3).layout.inputs == 1
    with pytest.raises(RestoreError, match='vocabulary_path is not allowed'):
        load(width=3, vocabulary_path='/etc/passwd')
    with pytest.raises(CheckpointError, match=r'body\.weight is 3x3x3x3, not 3x3x5x5'):
        load(width=5)


@pytest.mark.parametrize('dtype', [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_that_are_no_usual_floats_are_refused(dtype, tensors, tmp_path):
    key = next(iter(tensors))
    path = write(tmp_path / 'b.safetensors', header(), {**tensors, key: tensors[key].to(dtype)})
    with pytest.raises(CheckpointError, match=r'numbers of another kind: .* not float32\n|not a readable'):
        Restorer.load(path)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_usual_floats_are_read(dtype, tensors, tmp_path):
    halved = {key: value.to(dtype) for key, value in tensors.items()}
    path = write(tmp_path / 'b.safetensors', header(), halved)
    weights = Restorer.load(path).networks['network_g'].state_dict().values()
    assert {weight.dtype for weight in weights} == {torch.float32}


@pytest.mark.parametrize('weight', [torch.zeros(3, 3).to_sparse(), torch.zeros(3, 3, device='meta'),
                                    torch.quantize_per_tensor(torch.zeros(3, 3), 1., 0, torch.qint8)])
def test_weights_that_are_not_dense_are_refused(weight, tmp_path):
    torch.save({'weight': weight}, tmp_path / 'w.pth')
    with pytest.raises(CheckpointError):
        load_strict(nn.Linear(3, 3, bias=False), load_state(tmp_path / 'w.pth'), 'w.pth')


def test_index_tables_are_those_of_the_class(tmp_path):
    options = {'type': 'VRT', **tiny_peers.PEERS['VRT'].network}
    state = state_of(options)
    key = next(key for key, value in state.items() if not value.is_floating_point())
    for value, words in ((state[key] + 1000, f'{key} differs from what VRT computes'), (state[key], None)):
        tensors = {f'network_g/{name}': tensor for name, tensor in {**state, key: value}.items()}
        path = write(tmp_path / 'b.safetensors', header(networks={'network_g': options}), tensors)
        if words:
            with pytest.raises(CheckpointError, match=words):
                Restorer.load(path)
        else:
            assert Restorer.load(path).layout.mode == 'clip'


def test_windows_have_a_limit(tmp_path):
    options = {'type': 'BasicVSRPlusPlus', **tiny_peers.PEERS['BasicVSRPlusPlus'].network, 'window': 60_000}
    tensors = {f'network_g/{key}': value for key, value in state_of(options).items()}
    with pytest.raises(RestoreError, match='has 60,000 frames, more than 256'):
        Restorer.load(write(tmp_path / 'b.safetensors', header(networks={'network_g': options}), tensors))


def bomb(path: Path, size: int) -> Path:
    """A checkpoint whose tensor is compressed zeros."""
    torch.save({'w': torch.zeros(4)}, path.with_suffix('.small'))
    with zipfile.ZipFile(path.with_suffix('.small')) as small, \
            zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as large:
        for entry in small.infolist():
            data = bytes(size) if entry.filename.endswith('data/0') else small.read(entry)
            large.writestr(entry.filename, data)
    return path


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path, monkeypatch):
    path = bomb(tmp_path / 'w.pth', 1 << 26)
    monkeypatch.setattr(torch, 'load', lambda *_, **__: pytest.fail('was unpacked'))
    with pytest.raises(CheckpointError, match=r'bytes, but unpacks to 67,\d+,\d+: refused'):
        load_state(path)


def test_entries_that_share_their_bytes_are_refused(tmp_path, monkeypatch):
    """A directory that names the same bytes many times claims more than the file has."""
    torch.save({'w': torch.zeros(1 << 16)}, tmp_path / 'w.pth')
    with zipfile.ZipFile(tmp_path / 'w.pth', 'a') as archive:
        archive.filelist += archive.filelist * 20
        archive._didModify = True
    with pytest.raises(CheckpointError, match='refused'):
        load_state(tmp_path / 'w.pth')


def legacy(path: Path, claimed: int) -> Path:
    """A checkpoint as torch wrote them before 1.6, whose tensor claims to have so many numbers."""
    torch.save({'w': torch.zeros(1000)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b'M\xe8\x03', b'\x8a\x08' + claimed.to_bytes(8, 'little')))
    return path


def test_an_old_checkpoint_that_claims_too_much(tmp_path):
    assert len(load_state(legacy(tmp_path / 'w.pth', 1000))['w']) == 1000
    with pytest.raises(CheckpointError):
        load_state(legacy(tmp_path / 'w.pth', 1 << 50))


@pytest.mark.parametrize(('content', 'read', 'message'), [
    ({'params': {'w': torch.zeros(1)}, 'waiting': 5}, lambda path: load_trained(path, {}), "'waiting' is"),
    ({'params': {'w': torch.zeros(1)}, 'budget': [5]}, training_budget, "'budget' holds more than numbers"),
    ({'params': {'w': torch.zeros(1)}, 'budget': {'minutes': 'x'}}, training_budget, 'more than numbers'),
    ({5: torch.zeros(1)}, load_state, 'holds no weights but 5'),
])
def test_entries_of_other_kinds(content, read, message, tmp_path):
    torch.save(content, tmp_path / 'w.pth')
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path / 'w.pth')


@pytest.mark.parametrize('name', ['a' * 5000, 'a\0b', '/dev/zero', '.'])
def test_what_is_no_file_of_weights(name):
    with pytest.raises(CheckpointError, match='weights'):
        load_state(name)


def test_bytes_without_end(tmp_path):
    """The unpickler may make an array of zeros of any size: more than the memory gets a message."""
    (tmp_path / 'w.pth').write_bytes(b'\x80\x02cbuiltins\nbytearray\n\x8a\x08' + b'\xff' * 7 + b'\x3f\x85R.')
    with pytest.raises(CheckpointError, match='not a readable checkpoint'):
        load_state(tmp_path / 'w.pth')
