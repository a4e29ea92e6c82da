"""`gavn doctor`: checks the installation and suggests what to install."""
from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gavn
from gavn.runtime.project import install_command, install_packages

OK, ABSENT, BROKEN = 'ok', 'absent', 'broken'


@dataclass(frozen=True)
class Finding:
    """The result of a check: subject, state, facts, and what to do if the state is not ok."""

    what: str
    state: str
    facts: str
    remedy: str = ''

    def __str__(self) -> str:
        remedy = f'\n{"":>22}  {self.remedy}' if self.remedy and self.state != OK else ''
        return f'{self.what:>14}  {self.state:<6}  {self.facts}{remedy}'


PURPOSES = {
    'train': 'gavn train and test',
    'demo': 'gavn demo',
    'evaluate': 'LPIPS, curves',
    'prepare': 'gavn prepare',
    'cluster': 'gavn restore, prepare and compare --executor',
    'export': 'gavn export onnx',
    'web': 'gavn web',
    'dlib': 'gavn prepare --annotator dlib',
    'mmcv': 'the deformable convolution backend mmcv',
    'peers': 'other tools in scripts/release.py',
    'wandb': 'logger.wandb of an option file',
}
"""Extra -> what it is for. The metadata of the package have its requirements."""
APART = {'train': ['basicsr']}
"""Extra -> packages that are installed with it, but are no requirement."""
MODULES = {'dlib-bin': 'dlib', 'mmcv-full': 'mmcv', 'pillow': 'PIL'}
"""Package -> module that another build of it has too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds no arguments."""
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Prints all findings; returns 1 if restoring or training cannot work."""
    works = True
    for finding in findings():
        print(finding, flush=True)
        works = works and finding.state != BROKEN
    print('gavn works' if works else 'gavn does not work: fix the broken parts')
    return 0 if works else 1


def findings() -> Iterator[Finding]:
    """Yields the findings, the core first; each check runs on demand."""
    machine = f'{platform.system()} {platform.machine()}, {os.cpu_count()} cores'
    yield Finding('gavn', OK, f'{gavn.__version__}, Python {platform.python_version()} on {machine}')
    for what, check, remedy in (
            ('torch', _torch, install_packages('torch torchvision')),
            ('video', _video, install_packages('av')),
            ('face detector', _detector, install_packages('onnxruntime')),
            ('deformable', _deformable, 'unset GAVN_DCN_BACKEND'),
            ('networks', _networks, 'report the message'),
            ('weights', _own_weights, 'reinstall gavn'),
            ('disk', _disk, 'set TMPDIR and GAVN_HOME to writable folders')):
        yield tried(what, check, remedy)
    yield from extras()
    yield from _weights()


def tried(what: str, check: Callable[[], str], remedy: str) -> Finding:
    """Returns the facts of a check, or its error."""
    try:
        return Finding(what, OK, check())
    except Exception as error:  # any error is a finding
        return Finding(what, BROKEN, f'{type(error).__name__}: {error}'.splitlines()[0], remedy)


def extras() -> Iterator[Finding]:
    """Checks the packages of the extras, without importing them."""
    try:
        installed = importlib.metadata.distribution('gavn')
    except importlib.metadata.PackageNotFoundError:
        yield Finding('extras', ABSENT, 'unknown, since gavn is not installed', install_command('train'))
        return
    provided = installed.metadata.get_all('Provides-Extra') or ()
    for name in PURPOSES:
        if name in provided:
            yield extra(name, [*APART.get(name, ()), *_own_packages(name, installed.requires or ())])


def extra(name: str, packages: Sequence[str]) -> Finding:
    """Checks whether the packages of an extra are installed."""
    versions = {package: version for package in packages if (version := _version(package))}
    if missing := [package for package in packages if package not in versions]:
        return Finding(f'[{name}]', ABSENT, f'{", ".join(missing)}: for {PURPOSES[name]}',
                       install_command(name))
    return Finding(f'[{name}]', OK, ', '.join(map(' '.join, versions.items())))


def _own_packages(name: str, requirements: Sequence[str]) -> Iterator[str]:
    """Packages of an extra, without those of the extras that it includes.

    Requirements are as in METADATA: `gradio<7,>=6; extra == "web"`.
    """
    for requirement in requirements:
        package = re.match(r'[\w.-]+', requirement)
        if package and package[0] != 'gavn' and re.search(rf'\bextra == [\'"]{name}[\'"]', requirement):
            yield package[0]


def _version(package: str) -> str | None:
    """Returns the version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        module = MODULES.get(package, package.replace('-', '_'))
        return '(unknown version)' if importlib.util.find_spec(module) else None


def _torch() -> str:
    import torch
    import torchvision
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    mps = torch.backends.mps.is_available()
    devices = [*(f'cuda:{i} {name}' for i, name in enumerate(gpus)), *(['mps'] if mps else [])]
    threads = f'cpu with {torch.get_num_threads()} threads'
    return f'{torch.__version__}, torchvision {torchvision.__version__}; {", ".join([*devices, threads])}'


def _video() -> str:
    """Encodes, muxes and decodes a few frames with each codec."""
    import av
    import numpy as np

    from gavn.media import SegmentWriter, VideoWriter, join, probe, read_frames
    with tempfile.TemporaryDirectory() as folder:
        source, segment, joined = (Path(folder, name) for name in ('grey.mp4', 'segment.nut', 'joined.mp4'))
        with VideoWriter(source, 64, 64, 25) as writer:
            for _ in range(3):
                writer.write(np.full((64, 64, 3), 120, np.uint8))
        for codec in ('libx264', 'libx265'):
            with SegmentWriter(segment, probe(source), codec=codec) as writer:
                for frame in read_frames(source):
                    writer.write(frame.av_frame, frame.pts)
            join(joined, [segment], source)
            found = [frame.image for frame in read_frames(joined)]
            if len(found) != 3 or abs(int(found[0].mean()) - 120) > 3:
                raise RuntimeError(f'{codec} does not reproduce its input')
    return f'PyAV {av.__version__} with libx264 and libx265; the ffmpeg program is not needed'


def _detector() -> str:
    import numpy as np
    import onnxruntime

    from gavn.faces.detector import RetinaFace
    RetinaFace()(np.zeros((120, 160, 3), np.uint8))
    return f'RetinaFace, onnxruntime {onnxruntime.__version__}'


def _deformable() -> str:
    """Returns the deformable convolution backend of each device, and the installed backends."""
    import torch

    from gavn.ops.deform_conv import installed_backends, resolve_backend
    devices = [f'cuda:{i}' for i in range(torch.cuda.device_count())]
    chosen = [f'{name} {resolve_backend(None, torch.device(name))}' for name in [*devices, 'cpu']]
    installed = installed_backends()
    hint = '' if 'native' in installed else (
        "; the native backend was not built: building needs a C compiler and Python's headers")
    return f'deformable convolution: {", ".join(chosen)}; installed: {", ".join(installed)}{hint}'


def _own_weights() -> str:
    """Checks the SHA-256 of pretrained weights."""
    from gavn.checkpoints import pretrained
    names = pretrained.list_pretrained()
    for name in names:
        pretrained.weights_of(name)
    return f'{", ".join(names)}: installed, SHA-256 correct'


def _networks() -> str:
    """Runs a forward pass of a small GAVN."""
    import torch

    from gavn.archs.gavn_arch import GAVN
    from gavn.runtime.devices import find_device
    device = find_device()
    network = GAVN(num_feat=8, radius=0, use_identity=False).to(device).eval()
    with torch.inference_mode():
        result = network(torch.rand(1, 5, 3, 64, 64, device=device))
    if not torch.isfinite(result).all():
        raise RuntimeError(f'a network returns non-finite values on {device}')
    return f'GAVN runs on {device}'


def _disk() -> str:
    from gavn.checkpoints.hub import folder
    with tempfile.NamedTemporaryFile() as file:
        file.write(b'x')
    free = shutil.disk_usage(tempfile.gettempdir()).free / 2 ** 30
    home = folder()
    existing = next(path for path in (home, *home.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise PermissionError(f'{existing} is not writable')
    return f'{free:.0f} GiB free for temporary files; downloaded weights are stored in {home}'


def _weights() -> Iterator[Finding]:
    from gavn.checkpoints.hub import MODELS, model_path
    for name, model in MODELS.items():
        path = model_path(name)
        facts = str(path) if path else f'for {model.use}'
        yield Finding(name, OK if path else ABSENT, facts, f'gavn models fetch {name}')

