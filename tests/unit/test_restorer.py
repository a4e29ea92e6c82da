"""Restorer: built from stored options, streaming, exact where the network adds nothing."""
import numpy as np
import pytest
import restore_fakes
import torch
import yaml
from torch import nn

from gavn.audio.mfcc import silence
from gavn.checkpoints.checkpoint import load_bundle, save_bundle
from gavn.config.option_file import OptionError
from gavn.errors import ArgumentError, CheckpointError
from gavn.faces.geometry import detector_view
from gavn.restoration import auto_restorer
from gavn.restoration import restorer as restorer_module
from gavn.restoration.auto_restorer import AutoRestorer
from gavn.restoration.model_spec import ModelSpec, RestoreError
from gavn.restoration.restorer import Restorer
from gavn.runtime.devices import DeviceError, find_device
from gavn.runtime.tensors import to_tensor

FULL = {'network_g': {'type': 'FakeRestorer', 'gain': 3.}, 'network_l': {'type': 'FakeDetector'},
        'network_inputs': ['lq', 'audio', 'landmarks']}


def faces(count: int, size: int = 32) -> list[np.ndarray]:
    return list(np.random.default_rng(5).integers(0, 200, (count, size, size, 3), dtype=np.uint8))


def audio_windows(count: int) -> list[torch.Tensor]:
    return [torch.full((1, 13, 20), float(i)) for i in range(count)]


def make(gain: float = 0., inputs: tuple[str, ...] = ('lq',), **options) -> Restorer:
    network = {'type': 'FakeRestorer', 'gain': gain}
    spec = ModelSpec.parse({**FULL, 'network_g': network, 'network_inputs': inputs}, 'here')
    return Restorer(spec, spec.build(), device='cpu', **options)


@pytest.mark.parametrize('count', [0, 1, 2, 3, 4, 10])
def test_zero_residual_is_bit_identical(count):
    frames = faces(count)
    got = list(make().restore(frames))
    assert len(got) == count and all(np.array_equal(a, b) for a, b in zip(got, frames, strict=True))
    assert all(not r.any() and r.dtype == np.float32 for r in make().residuals(frames))


def test_gain_is_in_levels_and_saturates():
    frames = [np.full((8, 8, 3), level, np.uint8) for level in (0, 100, 254)]
    assert [int(frame[0, 0, 0]) for frame in make(gain=3.).restore(frames)] == [3, 103, 255]
    assert [round(float(r.mean()), 3) for r in make(gain=3.).residuals(frames)] == [3., 3., 3.]


def test_residual_keeps_colour_order():
    class Blue(nn.Module):
        layout = restore_fakes.Layout(1, 0)

        def forward(self, lq):
            return lq + torch.tensor([0., 0., 10 / 255])[:, None, None]  # RGB

    spec = ModelSpec.parse({**FULL, 'network_inputs': ['lq']}, 'here')
    residual = next(Restorer(spec, {'network_g': Blue()}, 'cpu').residuals(faces(1)))
    assert np.allclose(residual.mean((0, 1)), [10, 0, 0], atol=1e-4)  # BGR


@pytest.mark.parametrize('batch', [1, 4])
def test_each_frame_gets_its_own_audio(batch):
    frames = [np.zeros((8, 8, 3), np.uint8)] * 11
    got = make(inputs=('lq', 'audio'), batch=batch).restore(frames, audio_windows(11))
    assert [int(frame[0, 0, 0]) for frame in got] == list(range(11))


def test_without_audio_there_is_silence():
    residual = next(make(inputs=('lq', 'audio')).residuals(faces(1)))
    assert residual.mean() == pytest.approx(float(silence([0.]).mean()), rel=1e-4)


def test_landmarks_come_from_the_reduced_face():
    frames = [np.full((224, 224, 3), 51, np.uint8)]
    restored = make(inputs=('lq', 'landmarks', 'audio')).restore(frames, audio_windows(1))
    assert int(next(restored)[0, 0, 0]) == 102


def test_the_detector_sees_what_it_was_trained_on():
    """The reduced face is that of the data sets, bit by bit."""
    image = faces(1, 224)[0]
    assert torch.equal(make(inputs=('lq', 'landmarks'))._sample(image, audio_windows(1)[0])['face'],
                       to_tensor(detector_view(image)))


def test_streams():
    pulled = 0

    def endless():
        nonlocal pulled
        while True:
            pulled += 1
            yield faces(1)[0]

    outputs = make().restore(endless())
    for _ in range(6):
        next(outputs)
    assert pulled <= 8
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_more_frames_or_audio_is_an_error():
    for crops, windows in ((4, 3), (3, 4)):
        with pytest.raises(ArgumentError, match='as many audio windows as crops'):
            list(make(inputs=('lq', 'audio')).restore(faces(crops), audio_windows(windows)))


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(RestoreError, match='not finite'):
        list(make(gain=float('nan')).restore(faces(1)))


def test_bundle_round_trip(tmp_path):
    made = make(gain=7., inputs=('lq', 'audio', 'landmarks'))
    made.save(tmp_path / 'b.safetensors')
    got = Restorer.load(tmp_path / 'b.safetensors', device='cpu')
    assert got.spec == made.spec and list(got.weights) == [str(tmp_path / 'b.safetensors')]
    assert [network.training for network in got.networks.values()] == [False, False]
    frames = faces(5, 224)
    assert np.array_equal(list(got.restore(frames)), list(made.restore(frames)))


def test_a_bundle_of_half_the_size_restores_nearly_the_same(tmp_path):
    restorer = make(gain=3.3)
    whole, half = tmp_path / 'whole.safetensors', tmp_path / 'half.safetensors'
    restorer.save(whole)
    restorer.save(half, half=True)
    stored = load_bundle(half)[1]['network_g']['gain']
    assert stored.dtype == torch.float16 and load_bundle(whole)[1]['network_g']['gain'].dtype == torch.float32
    loaded = Restorer.load(half, 'cpu').networks['network_g'].gain
    assert loaded.dtype == torch.float32 and float(loaded) == pytest.approx(3.3 / 255, rel=1e-3)
    with pytest.raises(CheckpointError, match='too large for 16 bits'):
        make(gain=1e8).save(half, half=True)


def test_bundle_with_weights_of_another_size(tmp_path):
    path = tmp_path / 'b.safetensors'
    wrong = {'type': 'FakeDetector', 'num_points': 98}
    save_bundle(path, {'network_g': (FULL['network_g'], restore_fakes.FakeRestorer()),
                       'network_l': (wrong, restore_fakes.FakeDetector(68))},
                {'network_inputs': FULL['network_inputs']})
    with pytest.raises(CheckpointError, match=r'network_l.*\n.*scale is 68x2, not 98x2'):
        Restorer.load(path)


def write(folder, options, name='o.yml'):
    (folder / name).write_text(yaml.safe_dump(options))
    return folder / name


def test_from_test_options(tmp_path):
    torch.save({'params': restore_fakes.FakeRestorer(gain=9.).state_dict()}, tmp_path / 'g.pth')
    torch.save(restore_fakes.FakeDetector().state_dict(), tmp_path / 'l.pth')
    paths = {'pretrain_network_g': str(tmp_path / 'g.pth'), 'pretrain_network_l': str(tmp_path / 'l.pth')}
    opt = write(tmp_path, {**FULL, 'path': paths, 'network_inputs': ['lq']})
    frame = np.full((8, 8, 3), 100, np.uint8)
    assert int(next(Restorer.from_options(opt, device='cpu').restore([frame]))[0, 0, 0]) == 109
    full = Restorer.from_options(write(tmp_path, {**FULL, 'path': paths}), device='cpu')
    assert sorted(full.weights) == sorted(paths.values())


def test_from_training_options_takes_what_training_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = tmp_path / 'experiments/run/models'
    models.mkdir(parents=True)
    torch.save({'params': restore_fakes.FakeRestorer(gain=9.).state_dict()}, models / 'net_g_latest.pth')
    options = {**FULL, 'name': 'run', 'network_inputs': ['lq'], 'train': {},
               'path': {'pretrain_network_g': 'no.pth'}, 'datasets': {'train': {'degradation': 'car_crf45'}}}
    restorer = Restorer.from_options(write(tmp_path, options), device='cpu')
    assert float(restorer.networks['network_g'].gain) == pytest.approx(9 / 255)
    assert restorer.spec.task == 'car_crf45'
    torch.save({'params': restore_fakes.FakeRestorer(gain=4.).state_dict()}, tmp_path / 'other.pth')
    restorer = Restorer.from_options(write(tmp_path, options), weights='other.pth', device='cpu')
    assert float(restorer.networks['network_g'].gain) == pytest.approx(4 / 255)


@pytest.mark.parametrize(('change', 'words'), [
    ({'network_g': {'type': 'FakeRestore'}}, 'the nearest valid name is FakeRestorer'),
    ({'network_g': {'type': 'FakeRestorer', 'gian': 1}}, "cannot be built.*'gian'"),
    ({'network_g': None}, 'network_g has no type'),
    ({'network_l': None}, 'network_l has no type'),
    ({'network_g': {'type': 'GAVN', 'num_feat': 8, 'radius': 2}}, 'without inject'),
    ({'network_g': {'type': 'FakePerFrame'}, 'network_inputs': ['lq']}, 'no `layout`'),
    ({'network_inputs': ['lq', 'speech']}, r"network_inputs is \['lq', 'speech'\]"),
])
def test_unusable_options_are_named(change, words):
    with pytest.raises(RestoreError, match=rf'(?s){words}'):
        spec = ModelSpec.parse({**FULL, **change}, 'o.yml')
        Restorer(spec, spec.build(), 'cpu')


def test_window_option_serves_networks_without_a_layout():
    options = {'network_g': {'type': 'FakePerFrame'}, 'window': 'frame'}
    spec = ModelSpec.parse(options, 'o.yml')
    frames = faces(4)
    assert np.array_equal(list(Restorer(spec, spec.build(), 'cpu', batch=3).restore(frames)), frames)


@pytest.mark.parametrize('root', ['', 'elsewhere'])
def test_trained_weights_are_found_where_training_writes_them(tmp_path, monkeypatch, root):
    project, options = tmp_path / 'project', {**FULL, 'name': 'run', 'network_inputs': ['lq'], 'train': {}}
    models = project / (root or 'experiments') / 'run/models'
    models.mkdir(parents=True)
    torch.save({'params': restore_fakes.FakeRestorer(gain=9.).state_dict()}, models / 'net_g_latest.pth')
    monkeypatch.setattr('gavn.restoration.model_spec.project_root', lambda: project)
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, options | {'path': {'experiments_root': root}} if root else options)
    assert list(Restorer.from_options(file, device='cpu').weights) == [str(models / 'net_g_latest.pth')]


def test_missing_weights_say_how_to_give_them(tmp_path):
    with pytest.raises(CheckpointError, match=r'no weights for network_g: .*o\.yml names none\n.*--weights'):
        Restorer.from_options(write(tmp_path, {**FULL, 'path': {}}))
    for letter, argument in (('g', '--weights'), ('l', '--landmark-weights')):
        torch.save({'params': restore_fakes.FakeRestorer().state_dict()}, tmp_path / 'g.pth')
        paths = {'pretrain_network_g': str(tmp_path / 'g.pth'), f'pretrain_network_{letter}': 'no/w.pth'}
        words = rf'no weights for network_{letter}: no/w\.pth does not exist \(looked in .*\)\n.* {argument}$'
        with pytest.raises(CheckpointError, match=words):
            Restorer.from_options(write(tmp_path, {**FULL, 'path': paths}))


@pytest.mark.parametrize('text', ['a: [', '- just a list', ''])
def test_option_file_that_is_none(tmp_path, text):
    (tmp_path / 'o.yml').write_text(text)
    with pytest.raises(OptionError, match=r'o\.yml'):
        Restorer.from_options(tmp_path / 'o.yml')


def test_unknown_devices_are_refused_and_bfloat16_restores():
    assert find_device('cpu').type == 'cpu' and find_device('auto').type in ('cpu', 'cuda')
    for name in ('cuda:99', 'abacus'):
        with pytest.raises(DeviceError, match=f'device {name}'):
            find_device(name)
    frames = faces(2)
    assert np.array_equal(list(make(dtype='bfloat16').restore(frames)), frames)


@pytest.mark.parametrize('supported', [True, False])
def test_slow_bfloat16_is_told(monkeypatch, caplog, supported):
    monkeypatch.setattr(restorer_module, 'has_bfloat16', lambda device: supported)
    make(dtype='float32')
    assert not caplog.text
    make(dtype='bfloat16')
    assert ('no instructions' in caplog.text) != supported


def test_dtype_auto_is_quick_for_pretrained_weights_alone(monkeypatch):
    for module in (restorer_module, auto_restorer):
        monkeypatch.setattr(module, 'default_dtype', lambda device: 'bfloat16')
    assert Restorer.from_pretrained('mixed', 'cpu').dtype == 'bfloat16'
    assert Restorer.from_pretrained('mixed', 'cpu', 'float32').dtype == 'float32'
    assert AutoRestorer('cpu').dtype == 'bfloat16' and AutoRestorer('cpu', 'float32').dtype == 'float32'
    assert make().dtype == make(dtype='auto').dtype == 'float32'


def test_what_is_found_in_frames_is_not_rounded():
    """In bfloat16 too: the features that deblurring lives on keep their digits."""
    class Precise(nn.Module):
        layout = restore_fakes.Layout(1, 0)

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            nn.init.dirac_(self.conv.weight)
            nn.init.zeros_(self.conv.bias)
            self.types = []

        def features(self, frames):
            found = self.conv(frames)
            self.types.append(found.dtype)
            return [found]

        def forward(self, lq, features):
            self.types.append(self.conv(lq[:, 0]).dtype)
            return features[0]

    spec, network = ModelSpec.parse({**FULL, 'network_inputs': ['lq']}, 'here'), Precise()
    frames = faces(2)
    restored = list(Restorer(spec, {'network_g': network}, 'cpu', 'bfloat16').restore(frames))
    assert np.array_equal(restored, frames) and network.types == 2 * [torch.float32, torch.bfloat16]


@pytest.mark.parametrize(('layers', 'task'), [('blur', 'blur'), (['mixed', 'mixed_v1', 'gt'], 'mixed')])
def test_the_first_layer_of_the_training_data_names_the_task(layers, task):
    options = {**FULL, 'datasets': {'train': {'degradation': layers}}}
    assert ModelSpec.parse(options, 'o.yml').task == task
