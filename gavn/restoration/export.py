"""Networks for other runtimes: the landmark detector and the restoration as one ONNX or TorchScript file.

The file takes windows and gives restored frames; the number of windows is free, the size of the frames is
fixed. Deformable convolutions leave in their reference form, which every runtime has (`GridSample`).
"""
from __future__ import annotations

import copy
import importlib.util
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import gavn
from gavn.archs.inputs import network_inputs
from gavn.audio.mfcc import CEPSTRA, WINDOW_COLUMNS
from gavn.errors import GavnError
from gavn.faces.geometry import CROP_SIZE, DETECTOR_SIZE
from gavn.ops.deform_align import DeformableAlignPack
from gavn.restoration.model_spec import DETECTOR, GENERATOR
from gavn.restoration.restorer import Restorer
from gavn.runtime.files import atomic_path

FORMATS = {'onnx': '.onnx', 'torchscript': '.pt'}
NEEDS = ('onnx', 'onnxscript')  # packages, for ONNX alone
OPSET = 20
OUTPUT = 'restored'
TOLERANCE = 1e-4  # of a restored value, in [0, 1]
CHECKED = (1, 3)  # windows at once
TRACED = 2  # windows: one would be taken for a constant
FACTS = 'gavn.json'  # the file in a TorchScript archive, and the key in ONNX's metadata is without ending


class ExportError(GavnError):
    """A network that cannot be exported here, or that does not give the same numbers elsewhere."""


class FullPipeline(nn.Module):
    """Landmark detector, where there is one, and restoration in one graph."""

    def __init__(self, restorer: Restorer) -> None:
        super().__init__()
        self.names = input_names(restorer)
        self.timed = restorer.layout.mode != 'frame'
        self.heard = 'audio' in restorer.recipe.inputs
        networks = copy.deepcopy(restorer.networks)
        self.restoration, self.landmarks = networks[GENERATOR], networks.get(DETECTOR)
        for layer in self.modules():
            if isinstance(layer, DeformableAlignPack):
                layer.backend = 'reference'

    def forward(self, *tensors: Tensor) -> Tensor:
        """What `input_names` says, in that order -> what the restoration returns."""
        batch = dict(zip(self.names, tensors, strict=True))
        inputs = {'audio': batch['audio']} if self.heard else {}
        if self.landmarks is not None:
            inputs['landmarks'] = self._points(batch['face'], batch['audio'])
        return self.restoration(batch['lq'], **inputs)

    def _points(self, face: Tensor, audio: Tensor) -> Tensor:
        if not self.timed:
            return self.landmarks(face, audio)
        return self.landmarks(face.flatten(0, 1), audio.flatten(0, 1)).unflatten(0, audio.shape[:2])


def input_names(restorer: Restorer) -> list[str]:
    """What the exported network takes, in this order."""
    taken = restorer.recipe.inputs
    landmarks = 'landmarks' in taken
    return ['lq', *(['face'] if landmarks else []), *(['audio'] if landmarks or 'audio' in taken else [])]


def example(restorer: Restorer, windows: int, size: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Noise for so many windows of frames of `size` x `size`, in the order of `input_names`."""
    draw, layout = torch.Generator().manual_seed(seed), restorer.layout
    shapes = {'lq': (layout.inputs, 3, size, size), 'face': (layout.outputs, 3, DETECTOR_SIZE, DETECTOR_SIZE),
              'audio': (layout.outputs, 1, CEPSTRA, WINDOW_COLUMNS)}
    lead = 1 if layout.mode == 'frame' else 0  # networks of single pictures have no axis of time
    return tuple(torch.rand(windows, *shapes[name][lead:], generator=draw) for name in input_names(restorer))


def facts(restorer: Restorer, size: int) -> dict[str, object]:
    """What a user of the file must know, and where its weights come from."""
    layout = restorer.layout
    shapes = {name: ['n', *tensor.shape[1:]] for name, tensor in
              zip(input_names(restorer), example(restorer, 1, size), strict=True)}
    return {'gavn': gavn.__version__, 'task': restorer.recipe.task, 'inputs': shapes, 'output': OUTPUT,
            'layout': {'mode': layout.mode, 'outputs': layout.outputs, 'context': layout.context},
            'values': 'lq, face: RGB in [0, 1]; audio: raw cepstra; restored: RGB, not clamped',
            'weights': {Path(path).name: digest for path, digest in restorer.weights.items()}}


def export(restorer: Restorer, target: Path, form: str, size: int = CROP_SIZE) -> float:
    """Writes the networks of `restorer` (on the CPU) and holds the file to what they give.

    Args:
        restorer: float32, on the CPU.
        target: is written when all is well, or not at all.
        form: `onnx` or `torchscript`.
        size: height and width of the frames.

    Returns the largest difference that was found, in restored values. Raises ExportError where a package is
    missing, and where the file differs by more than `TOLERANCE` with 1 or 3 windows.
    """
    write, load = _WRITERS[form]
    with atomic_path(target) as unfinished, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # tracing warns of every check of a shape
        write(FullPipeline(restorer).eval(), restorer, unfinished, size)
        worst = max(_difference(restorer, load(unfinished), windows, size) for windows in CHECKED)
        if not worst <= TOLERANCE:
            raise ExportError(f'the {form} file gives values that differ by {worst:.1e}, more than '
                              f'{TOLERANCE:.0e}\nnothing was written')
    return worst


def _difference(restorer: Restorer, run: Callable[[Sequence[Tensor]], Tensor], windows: int, size: int
                ) -> float:
    tensors = example(restorer, windows, size, seed=windows)
    batch = dict(zip(input_names(restorer), tensors, strict=True))
    inputs = network_inputs(batch, restorer.recipe.inputs, restorer.networks.get(DETECTOR))
    expected = restorer.networks[GENERATOR](batch['lq'], **inputs)
    try:
        found = run(tensors)
    except Exception as error:  # whatever the runtime raises
        raise ExportError(f'the exported network fails with {windows} windows\n'
                          f'{" ".join(str(error).split())[:300]}') from error
    if found.shape != expected.shape:
        raise ExportError(f'the exported network gives {tuple(found.shape)} for {windows} windows, not '
                          f'{tuple(expected.shape)}')
    return float((found - expected).abs().max())


def _write_torchscript(whole: FullPipeline, restorer: Restorer, path: Path, size: int) -> None:
    traced = torch.jit.trace(whole, example(restorer, TRACED, size), check_trace=False)
    torch.jit.save(traced, str(path), {FACTS: json.dumps(facts(restorer, size))})


def _load_torchscript(path: Path) -> Callable[[Sequence[Tensor]], Tensor]:
    network = torch.jit.load(str(path))
    return lambda tensors: network(*tensors)


def _write_onnx(whole: FullPipeline, restorer: Restorer, path: Path, size: int) -> None:
    if missing := [name for name in NEEDS if not importlib.util.find_spec(name)]:
        raise ExportError(f'ONNX needs {", ".join(missing)}\n'
                          "pip install -c constraints.txt -e '.[export]', or export torchscript")
    tensors = example(restorer, TRACED, size)
    windows = torch.export.Dim('n')
    program = torch.onnx.export(
        whole, tensors, dynamo=True, opset_version=OPSET, input_names=whole.names, output_names=[OUTPUT],
        dynamic_shapes=(tuple({0: windows} for _ in tensors),), verbose=False)
    program.model.metadata_props[Path(FACTS).stem] = json.dumps(facts(restorer, size))
    program.save(str(path), external_data=False)


def _load_onnx(path: Path) -> Callable[[Sequence[Tensor]], Tensor]:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    names = [one.name for one in session.get_inputs()]

    def run(tensors: Sequence[Tensor]) -> Tensor:
        feed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    return run


_WRITERS = {'onnx': (_write_onnx, _load_onnx), 'torchscript': (_write_torchscript, _load_torchscript)}
