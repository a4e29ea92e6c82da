"""Selection of pretrained weights by the degradation and the size of the faces in a video."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gavn.checkpoints import pretrained
from gavn.errors import ExitCode, GavnError
from gavn.faces.geometry import CROP_SIZE, crop
from gavn.faces.tracks import Face, Faces
from gavn.media import FACTORS, LONGEST_SIDE, Frame
from gavn.restoration.degradation import LABELS, DegradationEstimate, estimate
from gavn.restoration.face_clip import CropRestorer

SAMPLES = 16  # frames that the degradation is estimated from
FOR_ALL = 'mixed'  # the weights for any degradation
QUALITIES = ('best', FAST := 'fast')  # weights for the degradation found, or those for any
CERTAIN = 0.9  # weights are refused if the probability of another degradation is at least this
SMALL = 1.5  # crops enlarged by at least this factor hold so little that enlarging the video shows more
ENLARGED = 2.5  # crops enlarged by at least this factor, without other degradation, are of low resolution
_MAX_NOISE, _MAX_BLOCKING = 2., 0.2  # of crops "without other degradation"


class TaskError(GavnError):
    """The weights are for one kind of degradation and the faces certainly have another.

    Attributes:
        found: describes the mismatch; the message adds command-line advice.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(f'{found}\n{advice}')
        self.found = found


@dataclass(frozen=True)
class Choice:
    """The restorer that was selected for a video.

    Attributes:
        restorer: the restorer.
        degradation: the estimate; None if none was made.
        restores: whether the faces need restoring.
        message: what the user should know about the selection; '' if nothing.
    """

    restorer: CropRestorer
    degradation: DegradationEstimate | None = None
    restores: bool = True
    message: str = ''


def check_task_fits(restorer: CropRestorer, estimator: Callable[[], DegradationEstimate], force: bool
                  ) -> Choice:
    """Checks that pretrained weights suit the degradation; the user's own are used without an estimate."""
    if restorer.name is None:
        return Choice(restorer)
    degradation = estimator()
    message = describe_mismatch(restorer.name, degradation)
    if message and not force and is_certain(restorer.name, degradation):
        effect = 'leaves the faces unchanged' if degradation.kind == 'clean' else 'selects suitable weights'
        raise TaskError(message, f'use --task auto, which {effect}, or --force-task to restore anyway')
    return Choice(restorer, degradation, True, message)


def select_weights(load: Callable[[str], CropRestorer], degradation: DegradationEstimate,
                   quality: str = 'best') -> Choice:
    """Selects the pretrained weights for a degradation.

    Args:
        load: returns the restorer of a name.
        degradation: of the faces.
        quality: one of QUALITIES.
    """
    name = FOR_ALL if quality == FAST else weights_for(degradation)
    found = f'found in the faces: {degradation.describe()}'
    if degradation.kind == 'clean':
        return Choice(load(name), degradation, False,
                      f'{found}; the faces are left unchanged\nuse --task mixed to restore them anyway')
    return Choice(load(name), degradation, True, f'{found}; restored with weights {name}')


def weights_for(degradation: DegradationEstimate) -> str:
    """Returns the name of the pretrained weights that suit a degradation best."""
    return degradation.kind if degradation.kind in pretrained.list_pretrained() else FOR_ALL


def describe_mismatch(task: str, degradation: DegradationEstimate) -> str:
    """Describes how the degradation differs from what weights are for; '' if they agree.

    The weights for all kinds of degradation only disagree with clean faces.
    """
    agree = degradation.kind != 'clean' if task == FOR_ALL else degradation.kind == task
    if agree:
        return ''
    return f'the weights {task} are for {LABELS[task]}, but found in the faces: {degradation.describe()}'


def is_certain(task: str, degradation: DegradationEstimate) -> bool:
    """Returns whether the faces certainly do not have the degradation that weights are for.

    Mixed degradation may include the one in question.
    """
    if task == FOR_ALL:
        return False
    return 1 - (degradation.probabilities[task] + degradation.probabilities[FOR_ALL]) >= CERTAIN


def estimate_degradation(frames: Iterable[Frame], faces: Faces, stored: int | None = None
                         ) -> DegradationEstimate:
    """Estimates the degradation of the faces from samples spread over the frames that show one.

    Args:
        frames: the frames, enlarged or as stored.
        faces: the faces in these frames.
        stored: width of the stored image if the frames are enlarged.
    """
    larger = stored is not None and stored < faces.size[0]
    estimated = estimate(sample_crops(frames, faces))
    return adjust_for_enlargement(estimated, enlargement(faces, stored), larger)


def adjust_for_enlargement(degradation: DegradationEstimate, factor: float, larger: bool
                           ) -> DegradationEstimate:
    """Returns low resolution (`sr`) for crops that are enlarged much and show neither noise nor blocking.

    The classifier cannot judge such crops: artifacts are enlarged with them.

    Args:
        degradation: what the classifier found.
        factor: size of the crops relative to what is stored.
        larger: whether an enlarged video was requested. Clean crops change to `sr` only then.
    """
    plain = degradation.noise <= _MAX_NOISE and degradation.blocks <= _MAX_BLOCKING
    unsure = (FOR_ALL, 'clean') if larger else (FOR_ALL,)
    if factor >= ENLARGED and plain and degradation.kind in unsure:
        return replace(degradation, kind='sr', reason=f'enlarged {factor:.1f} times')
    return degradation


def enlargement(faces: Faces, stored: int | None = None) -> float:
    """Returns the mean enlargement of the largest face from the stored image to the network input; >= 1."""
    sides = [float(np.mean([faces.region(face, index).width for index in _spread(face.span)]))
             for face in faces.faces]
    factor = faces.size[0] / (stored or faces.size[0])
    return max(CROP_SIZE * factor / max(sides, default=CROP_SIZE * factor), 1)


def suggest_scale(faces: Faces) -> str:
    """Returns a message that suggests a `--scale` for small faces in a video of stored size; '' if none.

    The median height counts, each face weighted by its frames.
    """
    if not faces.faces:
        return ''
    face = _median_face(faces.faces)
    wanted = enlargement(replace(faces, faces=(face,)))
    possible = [factor for factor in FACTORS if factor * max(faces.size) <= LONGEST_SIDE]
    if wanted < SMALL or not possible:
        return ''
    factor = next((factor for factor in possible if factor >= wanted), possible[-1])
    height = float(face.boxes.heights.mean())
    return (f'faces are small (median height {height:.0f} pixels): restored detail is lost when they are '
            f'reduced to that size\nuse --scale {factor} to enlarge the video and keep the detail')


def _median_face(faces: Sequence[Face]) -> Face:
    """Returns the face of median height, each weighted by its frames."""
    ordered = sorted(faces, key=lambda face: float(face.boxes.heights.mean()))
    frames = np.cumsum([len(face.span) for face in ordered])
    return ordered[int(np.searchsorted(frames, frames[-1] / 2))]


def sample_crops(frames: Iterable[Frame], faces: Faces) -> Iterator[np.ndarray]:
    """Yields crops (h, w, 3) uint8 BGR of the largest face in up to `SAMPLES` frames."""
    wanted = set(_spread(faces.shown.tolist()))
    for frame in frames:
        if frame.index in wanted:
            face = max(faces.present(frame.index), key=lambda face: faces.region(face, frame.index).area)
            yield crop(frame.image, faces.region(face, frame.index))
            wanted.remove(frame.index)
            if not wanted:
                return


def _spread(frames: range | list[int]) -> list[int]:
    """Returns up to SAMPLES of the frames, evenly spaced from the first to the last."""
    chosen = np.linspace(0, len(frames) - 1, min(SAMPLES, len(frames))).round().astype(int)
    return [frames[index] for index in chosen.tolist()]
