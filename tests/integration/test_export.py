"""Networks as files for other runtimes: the same numbers, any number of windows, facts inside."""
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from gavn.archs.gavn_arch import GAVN
from gavn.archs.pfld_arch import PFLDAV
from gavn.cli.main import main
from gavn.errors import MissingPackageError
from gavn.ops import DeformableAlignPack
from gavn.restoration import export as module
from gavn.restoration.export import FACTS, TOLERANCE, ExportError, FullPipeline, example, export
from gavn.restoration.model_spec import ModelSpec
from gavn.restoration.restorer import Restorer
from gavn.runtime.windows import Layout

SIZE = 32
INPUTS = ('lq', 'audio', 'landmarks')
needs_onnx = pytest.mark.skipif(not all(map(importlib.util.find_spec, module.ONNX_PACKAGES)),
                                reason='needs the extra [export]')


class Bent(nn.Module):
    """A little of what GAVN is: frames, points, a deformable layer; few enough for an exporter in tests."""

    layout = Layout(1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.align = DeformableAlignPack(8, 8, 3, padding=1, deformable_groups=2)
        nn.init.normal_(self.align.conv_offset.weight, std=0.3)

    def forward(self, lq, audio, landmarks):
        before, now, _ = self.first(lq.flatten(0, 1)).unflatten(0, lq.shape[:2]).unbind(1)
        bent = self.last(self.align(before, now)) + landmarks.mean((1, 2, 3))[:, None, None, None]
        return (bent + audio.mean((1, 2, 3, 4))[:, None, None, None]).unsqueeze(1)


def restorer(network: nn.Module) -> Restorer:
    torch.manual_seed(0)
    networks = {'network_g': network, 'network_l': PFLDAV(width=0.125)}
    return Restorer(ModelSpec({}, INPUTS, task='blur'), networks, 'cpu', weights={'/a/b.safetensors': 'abc'})


def moved(network: nn.Module) -> nn.Module:
    """Taps that stay where they are would not test deformable convolution."""
    for layer in network.modules():
        if isinstance(layer, DeformableAlignPack):
            nn.init.normal_(layer.conv_offset.weight, std=0.05)
    return network


def test_torchscript_gives_what_gavn_gives(tmp_path: Path):
    torch.manual_seed(0)
    network = moved(GAVN(num_feat=8, radius=0, num_extract_block=1, num_reconstruct_block=(1, 1)))
    path, made = tmp_path / 'a.pt', restorer(network)
    assert export(made, path, 'torchscript', SIZE) < 1e-5
    extra = {FACTS: ''}
    loaded = torch.jit.load(str(path), _extra_files=extra)
    assert loaded(*example(made, 4, SIZE)).shape == (4, 1, 3, SIZE, SIZE)
    found = json.loads(extra[FACTS])
    assert found['inputs']['lq'] == ['n', 5, 3, SIZE, SIZE]
    assert list(found['inputs']) == ['lq', 'face', 'audio']
    assert found['layout'] == {'mode': 'sequence', 'outputs': 1, 'context': 2}
    assert found['task'] == 'blur' and found['weights'] == {'b.safetensors': 'abc'}


def test_nothing_in_gavn_fixes_the_number_of_windows():
    """What the ONNX exporter begins with; all of it takes too long for a test of the whole network."""
    made = restorer(GAVN(num_feat=8, radius=0, num_extract_block=1, num_reconstruct_block=(1, 1)))
    windows = torch.export.Dim('n')
    free = (tuple({0: windows} for _ in INPUTS),)
    tensors = example(made, 2, SIZE)
    program = torch.export.export(FullPipeline(made).eval(), tensors, dynamic_shapes=free, strict=False)
    assert program.range_constraints


@needs_onnx
def test_onnx_gives_the_same_with_detector_and_deformable_layers(tmp_path: Path):
    import onnxruntime
    path = tmp_path / 'a.onnx'
    assert export(restorer(Bent()), path, 'onnx', SIZE) < 1e-5
    session = onnxruntime.InferenceSession(str(path))
    inputs = [(one.name, one.shape[0]) for one in session.get_inputs()]
    assert inputs == [('lq', 'n'), ('face', 'n'), ('audio', 'n')]
    found = json.loads(session.get_modelmeta().custom_metadata_map['gavn'])
    assert found['layout']['outputs'] == 1 and found['output'] == 'restored'


@pytest.mark.parametrize('wrong', [lambda network: lambda tensors: network(*tensors) + 2 * TOLERANCE,
                                   lambda network: lambda tensors: network(*tensors)[:1],
                                   lambda network: lambda tensors: network(tensors)])
def test_a_file_that_gives_something_else_is_not_written(tmp_path: Path, monkeypatch, wrong):
    write, _ = module._WRITERS['torchscript']

    def load(path: Path):
        return wrong(torch.jit.load(str(path)))

    monkeypatch.setitem(module._WRITERS, 'torchscript', (write, load))
    with pytest.raises(ExportError):
        export(restorer(Bent()), tmp_path / 'a.pt', 'torchscript', SIZE)
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(MissingPackageError, match=r'onnx, onnxscript: .*\[export\]'):
        export(restorer(Bent()), tmp_path / 'a.onnx', 'onnx', SIZE)


def test_the_verb_refuses_what_exists_and_what_is_unknown(tmp_path: Path, capsys):
    there = tmp_path / 'a.pt'
    there.write_text('mine')
    assert main(['export', 'torchscript', '--task', 'mixed', '-o', str(there)]) == 2
    assert there.read_text() == 'mine' and 'exists already' in capsys.readouterr().err
    assert main(['export', 'torchscript', '--task', 'rain', '-o', str(tmp_path / 'b.pt')]) == 5
