"""Settings of a comparison, and the places of its files."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gavn.experiments.compare.budget import Budget


@dataclass(frozen=True)
class Settings:
    """What to compare.

    Attributes:
        data: a prepared data set.
        task: car, deblur, sr ...: suffix of option file names.
        methods: tokens in option file names.
        options: folder of option files, with overlays of variants in `ablations`.
        overlays, detector_overlays: of methods, and of the landmark detector.
        budget: of each method's training.
        out: folder of all outputs.
        root: of the project, to which paths are relative.
        jobs, threads: parallel processes, and threads of each.
        gpus: as in CUDA_VISIBLE_DEVICES; empty for the CPU.
        amp: 'bf16' to train in that precision. None: as in the option files.
        workers: loader processes of each training. None: as in the option files.
        detectors: train the landmark detector first.
        audio_controls: also test with silent and with shuffled audio.
        images: whether tests write their frames.
        frames: of each clip in tests. None: whole clips.
        timed: timed iterations of each kind of phase.
    """

    data: Path
    task: str
    methods: tuple[str, ...]
    options: Path
    budget: Budget
    out: Path
    root: Path
    overlays: tuple[Path, ...] = ()
    detector_overlays: tuple[Path, ...] = ()
    jobs: int = 1
    threads: int = 1
    gpus: tuple[str, ...] = ()
    amp: str | None = None
    workers: int | None = None
    detectors: bool = False
    audio_controls: bool = False
    images: bool = False
    frames: int | None = None
    timed: int = 12

    def relative_path(self, path: Path) -> str:
        """A path as option files have it: relative to the project's root if it is inside."""
        path = path.absolute()
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def name(self, token: str) -> str:
        """Name of a method's runs."""
        return f'{self.out.name}_{token}'

    def weights(self, token: str, network: str = 'g') -> Path:
        """The last weights of a training."""
        return self.out / 'experiments' / self.name(token) / 'models' / f'net_{network}_latest.pth'

    def file(self, kind: str, token: str, sound: str = '') -> Path:
        """The generated option file of a method, for kind train or test, or a test of `CONTROLS`."""
        return self.out / 'options' / sound / f'{kind}_{token}_{self.task}.yml'
