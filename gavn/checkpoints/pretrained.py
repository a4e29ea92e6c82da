"""Pretrained weights of the package in `gavn/weights`, each with option file, card and SHA-256."""
from __future__ import annotations

from pathlib import Path

from gavn.checkpoints.hub import ModelError
from gavn.runtime.files import sha256

FOLDER = Path(__file__).resolve().parents[1] / 'weights'
SUMS = 'SHA256SUMS'  # in the format of `sha256sum -c`
WHAT = {
    'mixed': 'videos as they come: blur, low resolution, noise and repeated compression, mixed',
    'compression': 'compression alone, as of H.264 at CRF 45',
    'deblur': 'Gaussian blur alone',
    'sr': 'low resolution alone, two- to eightfold',
}


def list_pretrained() -> list[str]:
    """Returns the names of pretrained weights, for `Restorer.from_pretrained`."""
    return [name for name in WHAT if (FOLDER / f'{name}.safetensors').is_file()]


def weights_of(name: str) -> Path:
    """Returns the verified bundle of a name. Raises ModelError for an unknown name or a damaged file."""
    if name not in list_pretrained():
        raise ModelError(f'no weights called {name} come with gavn; there are {", ".join(list_pretrained())}')
    path = FOLDER / f'{name}.safetensors'
    found, expected = sha256(path), _sums()[path.name]
    if found != expected:
        raise ModelError(f'{path} has SHA-256 {found}, not {expected}\nit is damaged: install gavn again')
    return path


def verify(name: str | None = None) -> None:
    """Verifies the SHA-256 of one or all; prints a line for each. Raises ModelError for a damaged file."""
    for one in [name] if name else list_pretrained():
        path = weights_of(one)
        print(f'{one}: SHA-256 verified ({_sums()[path.name][:12]}...), comes with gavn')


def listing() -> str:
    """Returns lines about all: use, size and card."""
    lines = []
    for name in list_pretrained():
        path = FOLDER / f'{name}.safetensors'
        lines += [f'{name}: comes with gavn, {path.stat().st_size / 2 ** 20:.1f} MiB, for {WHAT[name]}',
                  f'  card: {path.with_suffix(".md")}']
    return '\n'.join(lines)


def _sums() -> dict[str, str]:
    lines = (FOLDER / SUMS).read_text(encoding='utf-8').splitlines()
    return {name: digest for digest, name in map(str.split, lines)}
