"""Times networks, deformable convolution and the loader; prints Markdown tables.

    python scripts/benchmark.py                          a few minutes on two cores
    python scripts/benchmark.py --device cuda --opt options/train_gavn_car.yml
"""
from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gavn.archs.inputs import layout_of
from gavn.archs.pfld_arch import PFLDAV
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.data.clip_store import ClipEntry, ClipWriter, pack
from gavn.ops import modulated_deform_conv2d
from gavn.pipeline.recipe import GENERATOR, Recipe
from gavn.utils.audio import CEPSTRA, MFCC_PER_FRAME, WINDOW_COLUMNS
from gavn.utils.landmarks import N_POINTS
from gavn.utils.option_file import read_options

BACKENDS = ('reference', 'torchvision', 'mmcv')
FEATURES = (1, 64, 56, 56)  # of a deformable layer of GAVN-64 at 224x224
GROUPS = 8
CLIPS, CLIP_FRAMES, WINDOW = 4, 28, 7  # of the set the loader reads


ALL = ('lq', 'audio', 'landmarks')


def _recipe(*inputs: str, window: str | None = None, **network: object) -> Recipe:
    return Recipe({GENERATOR: network}, inputs or ('lq',), window)


RECIPES = {
    'GAVN (N=1, 64 channels)': _recipe(*ALL, type='GAVN'),
    'its first stage': _recipe(type='GAVN', use_identity=False),
    'GAVN (N=1, 16 channels)': _recipe(*ALL, type='GAVN', num_feat=16),
    'GAVN (N=0, 16 channels)': _recipe(*ALL, type='GAVN', num_feat=16, radius=0),
    'EDVR-M (5 frames)': _recipe(type='EDVR', hr_in=True, with_predeblur=True, window='centre'),
}


def read_recipe(path: str) -> Recipe:
    """The networks of an option file, without the landmark detector (it has its own row)."""
    recipe = Recipe.parse(read_options(path)[0], path)
    return Recipe({GENERATOR: recipe.networks[GENERATOR]}, recipe.inputs, recipe.window)


def milliseconds(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Median time of a call: one to warm up, then calls for about `seconds`, two at least."""
    times: list[float] = []
    run()
    while len(times) < 2 or sum(times) < seconds:
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def both_ways(forward: Callable[[], Tensor], parameters: Iterable[Tensor], device: torch.device,
              seconds: float) -> tuple[float, float]:
    """Milliseconds of the forward pass alone, and of forward and backward together."""
    parameters = list(parameters)

    def train() -> None:
        for parameter in parameters:
            parameter.grad = None
        forward().square().mean().backward()

    with torch.no_grad():
        alone = milliseconds(forward, device, seconds)
    return alone, milliseconds(train, device, seconds)


def time_network(name: str, recipe: Recipe, size: int, device: torch.device, seconds: float) -> list[str]:
    """A row of the table: name, parameters, frames in and out, milliseconds per output frame."""
    network = recipe.build()[GENERATOR].to(device)
    layout = layout_of(network, recipe.window)
    data = {'lq': torch.rand(1, layout.inputs, 3, size, size, device=device),
            'audio': torch.randn(1, layout.outputs, 1, CEPSTRA, WINDOW_COLUMNS, device=device),
            'landmarks': torch.rand(1, layout.outputs, N_POINTS, 2, device=device)}
    if layout.mode == 'frame':
        data = {name: value[:, 0] for name, value in data.items()}
    inputs = {key: data[key] for key in ('audio', 'landmarks') if key in recipe.inputs}
    alone, both = both_ways(lambda: network(data['lq'], **inputs), network.parameters(), device, seconds)
    return [name, _count(network), f'{layout.inputs} / {layout.outputs}',
            f'{alone / layout.outputs:.1f}', f'{both / layout.outputs:.1f}']


def time_detector(device: torch.device, seconds: float) -> list[str]:
    """The same for the landmark detector, which sees 112x112 whatever the size."""
    network = PFLDAV().to(device).eval()
    face = torch.rand(1, 3, 112, 112, device=device)
    audio = torch.randn(1, 1, CEPSTRA, WINDOW_COLUMNS, device=device)
    alone, both = both_ways(lambda: network(face, audio), network.parameters(), device, seconds)
    return ['PFLD-AV (landmarks, 112x112)', _count(network), '1 / 1', f'{alone:.1f}', f'{both:.1f}']


def time_networks(recipes: Mapping[str, Recipe], size: int, device: torch.device, seconds: float
                  ) -> Iterator[list[str]]:
    """The rows of all networks, the landmark detector last."""
    for name, recipe in recipes.items():
        yield time_network(name, recipe, size, device, seconds)
    yield time_detector(device, seconds)


def _count(network: nn.Module) -> str:
    return f'{sum(parameter.numel() for parameter in network.parameters()):,}'


def time_convolution(backend: str, device: torch.device, seconds: float) -> list[str]:
    """A row: backend and milliseconds of one deformable layer, or that it is not installed."""
    n, c, h, w = FEATURES
    x = torch.randn(FEATURES, device=device, requires_grad=True)
    weight = torch.randn(c, c, 3, 3, device=device, requires_grad=True)
    offset = torch.randn(n, GROUPS * 18, h, w, device=device, requires_grad=True)
    mask = torch.rand(n, GROUPS * 9, h, w, device=device, requires_grad=True)

    def forward() -> Tensor:
        return modulated_deform_conv2d(x, offset, mask, weight, padding=1, deform_groups=GROUPS,
                                       backend=backend)

    try:
        alone, both = both_ways(forward, (x, weight, offset, mask), device, seconds)
    except ImportError:
        return [backend, 'not installed', 'not installed']
    return [backend, f'{alone:.1f}', f'{both:.1f}']


def make_set(root: Path, size: int) -> None:
    """A data set of moving soft shapes with grain, about as compressible as photographs, packed as LMDBs."""
    rng, writer, length = np.random.default_rng(0), ClipWriter(root), MFCC_PER_FRAME * CLIP_FRAMES
    entries = [ClipEntry(f'speaker/{i}', CLIP_FRAMES, (size, size, 3)) for i in range(CLIPS)]
    for entry in entries:
        wide = rng.integers(0, 256, (size // 8, size // 8 + CLIP_FRAMES, 3), dtype=np.uint8)
        wide = cv2.resize(wide, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
        frames = [cv2.add(wide[:, i:i + size], rng.integers(0, 6, (size, size, 3), dtype=np.uint8))
                  for i in range(CLIP_FRAMES)]
        writer.frames('gt', entry.clip, frames)
        writer.frames('blur', entry.clip, [cv2.GaussianBlur(frame, (15, 15), 0) for frame in frames])
        writer.array('mfcc', entry.clip, rng.random((length, CEPSTRA), dtype=np.float32))
        writer.array('landmarks', entry.clip, size * rng.random((CLIP_FRAMES, N_POINTS, 2), dtype=np.float32))
    writer.meta('train', entries)
    pack(root, ['gt', 'blur', 'mfcc', 'landmarks'])


def time_loader(root: Path, workers: int, seconds: float) -> list[str]:
    """A row: workers, and windows and degraded frames a second, one pass to warm up."""
    options = {'root': str(root), 'degradation': 'blur', 'num_frame': WINDOW, 'io_backend': {'type': 'lmdb'}}
    loader = DataLoader(AVClipDataset(options), batch_size=4, num_workers=workers,
                        persistent_workers=workers > 0)
    sum(1 for _ in loader)
    windows, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        windows += sum(len(batch['lq']) for batch in loader)
    rate = windows / (time.perf_counter() - start)
    return [str(workers), f'{rate:.0f}', f'{WINDOW * rate:.0f}']


def table(title: str, head: list[str], rows: Iterable[list[str]]) -> None:
    """Prints a Markdown table, each row as soon as it is known."""
    print(f'\n{title}\n\n| {" | ".join(head)} |\n|{"---|" * len(head)}', flush=True)
    for row in rows:
        print(f'| {" | ".join(row)} |', flush=True)


def main() -> None:
    """Parses the command line and prints the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--size', type=int, default=224, help='side of the frames')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='of the CPU')
    parser.add_argument('--seconds', type=float, default=2., help='per measurement')
    parser.add_argument('--opt', nargs='*', default=[], metavar='FILE.yml',
                        help='option files whose network_g to time as well')
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.set_num_threads(args.threads)
    where = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU, {args.threads} threads'
    print(f'{where}, torch {torch.__version__}, float32, batch 1')
    recipes = {**RECIPES, **{Path(path).stem: read_recipe(path) for path in args.opt}}
    table(f'Networks at {args.size}x{args.size}: milliseconds per output frame',
          ['network', 'parameters', 'frames in / out', 'forward', 'forward + backward'],
          time_networks(recipes, args.size, device, args.seconds))
    table(f'Deformable convolution, {"x".join(map(str, FEATURES))}, {GROUPS} groups: milliseconds',
          ['backend', 'forward', 'forward + backward'],
          (time_convolution(backend, device, args.seconds) for backend in BACKENDS))
    with tempfile.TemporaryDirectory() as folder:
        make_set(Path(folder), args.size)
        table(f'Loader from LMDB (PNG, windows of {WINDOW}): per second',
              ['workers', 'windows', 'degraded frames'],
              (time_loader(Path(folder), workers, args.seconds) for workers in (0, 2)))


if __name__ == '__main__':
    main()
