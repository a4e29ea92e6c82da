"""The weights that come with the package: `gavn/weights`, each with its option file, card and SHA-256."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gavn.checkpoints.hub import ModelError
from gavn.runtime.files import sha256

FOLDER = Path(__file__).resolve().parents[1] / 'weights'
SUMS = 'SHA256SUMS'  # as `sha256sum -c` reads it
WHAT = {
    'mixed': 'videos as they come: blur, low resolution, noise and repeated compression, mixed',
    'compression': 'compression alone, as of H.264 at CRF 45',
    'deblur': 'Gaussian blur alone',
    'sr': 'low resolution alone, two- to eightfold',
}


def list_pretrained() -> list[str]:
    """Names of the weights that are installed with gavn, for `Restorer.from_pretrained`."""
    return [name for name in WHAT if (FOLDER / f'{name}.safetensors').is_file()]


def weights_of(name: str) -> Path:
    """The bundle of a name, held to its SHA-256. Raises ModelError for an unknown name, or damage."""
    if name not in list_pretrained():
        raise ModelError(f'no weights called {name} come with gavn; there are {", ".join(list_pretrained())}')
    path = FOLDER / f'{name}.safetensors'
    found, expected = sha256(path), _sums()[path.name]
    if found != expected:
        raise ModelError(f'{path} has SHA-256 {found}, not {expected}\nit is damaged: install gavn again')
    return path


def verify(name: str | None = None, report: Callable[[str], None] = print) -> None:
    """Holds one, or all, to their SHA-256, a line for each. Raises ModelError for the first damaged one."""
    for one in [name] if name else list_pretrained():
        path = weights_of(one)
        report(f'{one}: right ({_sums()[path.name][:12]}...), comes with gavn')


def listing() -> str:
    """All of them: what they are for, their size and their card."""
    lines = []
    for name in list_pretrained():
        path = FOLDER / f'{name}.safetensors'
        lines += [f'{name}: comes with gavn, {path.stat().st_size / 2 ** 20:.1f} MiB, for {WHAT[name]}',
                  f'  card: {path.with_suffix(".md")}']
    return '\n'.join(lines)


def _sums() -> dict[str, str]:
    lines = (FOLDER / SUMS).read_text(encoding='utf-8').splitlines()
    return {name: digest for digest, name in map(str.split, lines)}
