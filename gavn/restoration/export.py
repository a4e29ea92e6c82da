"""Export of the landmark detector and the restoration network as one ONNX or TorchScript file.

The exported network maps windows to restored frames. The number of windows is dynamic; the frame size is
fixed. Deformable convolutions are exported in their reference form, which every runtime supports.
"""
from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import gavn
from gavn.archs.inputs import network_inputs, random_inputs
from gavn.errors import GavnError
from gavn.faces.geometry import CROP_SIZE
from gavn.ops.deform_align import DeformableAlignPack
from gavn.restoration.model_spec import DETECTOR, GENERATOR
from gavn.restoration.restorer import Restorer
from gavn.runtime.files import atomic_path
from gavn.runtime.optional_packages import require_packages

FORMATS = {'onnx': '.onnx', 'torchscript': '.pt'}
ONNX_PACKAGES = ('onnx', 'onnxscript')
OPSET = 20
OUTPUT = 'restored'
TOLERANCE = 1e-4  # largest difference of a restored value, in [0, 1]
CHECKED = (1, 3)  # batch sizes that are compared
TRACED = 2  # batch size while tracing; 1 would become a constant
FACTS = 'gavn.json'  # file in a TorchScript archive; its stem is the key in ONNX metadata


class ExportError(GavnError):
    """The network cannot be exported, or the exported one gives other values."""


class FullPipeline(nn.Module):
    """The landmark detector, if there is one, and the restoration network in one graph."""

    def __init__(self, restorer: Restorer) -> None:
        super().__init__()
        self.names = input_names(restorer)
        self.has_time_axis = restorer.layout.mode != 'frame'
        self.uses_audio = 'audio' in restorer.spec.inputs
        networks = copy.deepcopy(restorer.networks)
        self.restoration, self.landmarks = networks[GENERATOR], networks.get(DETECTOR)
        for layer in self.modules():
            if isinstance(layer, DeformableAlignPack):
                layer.backend = 'reference'

    def forward(self, *tensors: Tensor) -> Tensor:
        """Maps the tensors of `input_names`, in that order, to restored frames."""
        batch = dict(zip(self.names, tensors, strict=True))
        inputs = {'audio': batch['audio']} if self.uses_audio else {}
        if self.landmarks is not None:
            inputs['landmarks'] = self._points(self.landmarks, batch['face'], batch['audio'])
        return self.restoration(batch['lq'], **inputs)

    def _points(self, detector: nn.Module, face: Tensor, audio: Tensor) -> Tensor:
        if not self.has_time_axis:
            return detector(face, audio)
        return detector(face.flatten(0, 1), audio.flatten(0, 1)).unflatten(0, audio.shape[:2])


def input_names(restorer: Restorer) -> list[str]:
    """Returns the names of the inputs of the exported network, in order."""
    taken = restorer.spec.inputs
    landmarks = 'landmarks' in taken
    return ['lq', *(['face'] if landmarks else []), *(['audio'] if landmarks or 'audio' in taken else [])]


def example(restorer: Restorer, windows: int, size: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Returns random inputs: `windows` windows of frames `size` x `size`, in the order of `input_names`."""
    return tuple(random_inputs(input_names(restorer), restorer.layout, windows, size, seed).values())


def facts(restorer: Restorer, size: int) -> dict[str, object]:
    """Returns the metadata of the file: inputs, window layout, origin of the weights."""
    layout = restorer.layout
    shapes = {name: ['n', *tensor.shape[1:]] for name, tensor in
              zip(input_names(restorer), example(restorer, 1, size), strict=True)}
    return {'gavn': gavn.__version__, 'task': restorer.spec.task, 'inputs': shapes, 'output': OUTPUT,
            'layout': {'mode': layout.mode, 'outputs': layout.outputs, 'context': layout.context},
            'values': 'lq, face: RGB in [0, 1]; audio: raw MFCC; restored: RGB, not clamped',
            'weights': {Path(path).name: digest for path, digest in restorer.weights.items()}}


def export(restorer: Restorer, target: Path, form: str, size: int = CROP_SIZE) -> float:
    """Exports the networks and compares the results of the file with theirs.

    Args:
        restorer: float32, on the CPU.
        target: the file to write; written only if the results agree.
        form: `onnx` or `torchscript`.

    Returns:
        The largest difference of restored values.

    Raises:
        ExportError: the results differ by more than `TOLERANCE`.
        MissingPackageError: ONNX export needs a package.
    """
    write, load = _WRITERS[form]
    with atomic_path(target) as unfinished, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # tracing warns about shape checks
        write(FullPipeline(restorer).eval(), restorer, unfinished, size)
        largest = max(_difference(restorer, load(unfinished), windows, size) for windows in CHECKED)
        if not largest <= TOLERANCE:
            raise ExportError(f'the values of the {form} file differ by {largest:.1e}, more than '
                              f'{TOLERANCE:.0e}\nno file was written')
    return largest


def _difference(restorer: Restorer, run: Callable[[Sequence[Tensor]], Tensor], windows: int, size: int
                ) -> float:
    tensors = example(restorer, windows, size, seed=windows)
    batch = dict(zip(input_names(restorer), tensors, strict=True))
    inputs = network_inputs(batch, restorer.spec.inputs, restorer.networks.get(DETECTOR))
    expected = restorer.networks[GENERATOR](batch['lq'], **inputs)
    try:
        found = run(tensors)
    except Exception as error:  # a runtime may raise anything
        raise ExportError(f'the exported network fails with {windows} windows\n'
                          f'{" ".join(str(error).split())[:300]}') from error
    if found.shape != expected.shape:
        raise ExportError(f'the exported network returns {tuple(found.shape)} for {windows} windows, not '
                          f'{tuple(expected.shape)}')
    return float((found - expected).abs().max())


def _write_torchscript(whole: FullPipeline, restorer: Restorer, path: Path, size: int) -> None:
    traced = torch.jit.trace(whole, example(restorer, TRACED, size), check_trace=False)
    torch.jit.save(traced, str(path), {FACTS: json.dumps(facts(restorer, size))})


def _load_torchscript(path: Path) -> Callable[[Sequence[Tensor]], Tensor]:
    network = torch.jit.load(str(path))
    return lambda tensors: network(*tensors)


def _write_onnx(whole: FullPipeline, restorer: Restorer, path: Path, size: int) -> None:
    require_packages(ONNX_PACKAGES, 'export', 'ONNX export')
    tensors = example(restorer, TRACED, size)
    windows = torch.export.Dim('n')
    program = torch.onnx.export(
        whole, tensors, dynamo=True, opset_version=OPSET, input_names=whole.names, output_names=[OUTPUT],
        dynamic_shapes=(tuple({0: windows} for _ in tensors),), verbose=False)
    assert program is not None, 'with dynamo=True the exporter returns a program'
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
