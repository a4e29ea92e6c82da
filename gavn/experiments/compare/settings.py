"""What is asked of a comparison, and where in its folder things lie."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gavn.experiments.compare.budget import Budget


@dataclass(frozen=True)
class Settings:
    """What is asked for.

    Attributes:
        data: a prepared data set.
        task: car, deblur, sr ...: ends the names of option files.
        methods: what they are called in names of option files.
        options: the folder of option files, with `ablations`, the overlays of variants.
        overlays, detector_overlays: laid over those of methods, and over that of the landmark detector.
        budget: of each method's training.
        out: folder of all that is made.
        root: of the project: where relative paths begin.
        jobs, threads: processes side by side, and threads of each.
        gpus: as CUDA_VISIBLE_DEVICES names them; none: the CPU.
        amp: 'bf16' to train in that precision, None to leave it to the option files.
        workers: processes that load the data of one training, None to leave it to the option files.
        detectors: whether to train the landmark detector first.
        audio_controls: whether to test with silent and with shuffled sound as well.
        images: whether tests keep their frames.
        frames: of each clip that tests take, None for whole clips.
        timed: iterations of each kind of phase that are timed.
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

    def told(self, path: Path) -> str:
        """A path as option files give it: relative to the project's root where it lies below that."""
        path = path.absolute()
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def name(self, token: str) -> str:
        """Name of a method's runs."""
        return f'{self.out.name}_{token}'

    def weights(self, token: str, network: str = 'g') -> Path:
        """Where a training leaves its last weights."""
        return self.out / 'experiments' / self.name(token) / 'models' / f'net_{network}_latest.pth'

    def file(self, kind: str, token: str, sound: str = '') -> Path:
        """The option file that is made for a method: kind is train or test; tests of `CONTROLS` lie apart."""
        return self.out / 'options' / sound / f'{kind}_{token}_{self.task}.yml'
