"""Which weights restore the faces of a video: by what is wrong with them, and how large they are."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from gavn.checkpoints import pretrained
from gavn.errors import GavnError
from gavn.faces.geometry import CROP_SIZE, crop
from gavn.faces.tracks import Face, Faces
from gavn.media import FACTORS, LONGEST_SIDE, Frame
from gavn.restoration.degradation import WORDS, DegradationEstimate, estimate
from gavn.restoration.face_clip import CropRestorer

SAMPLES = 16  # frames that are looked at
NEEDS_LOSSLESS = ('deblur',)
FOR_ALL = 'mixed'  # the weights that are for any damage
CERTAIN = 0.9  # probability of not having their damage from which on weights are refused
SMALL = 1.5  # from this enlargement on a crop holds so little that a larger picture shows more
ENLARGED = 2.5  # from this enlargement on a crop without other damage is of low resolution
_QUIET, _UNBROKEN = 2., 0.2  # noise and blocks of such a crop, at most


class TaskError(GavnError):
    """Weights for one kind of damage were asked for, and the faces certainly have another.

    `found` says so; the message goes on with what to do in the terminal.
    """

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(f'{found}\n{advice}')
        self.found = found


@runtime_checkable
class Chooser(Protocol):
    """Has the networks of every damage, as `AutoRestorer`."""

    def named(self, name: str) -> CropRestorer:
        """Those of the weights of a name."""


@dataclass(frozen=True)
class Choice:
    """What restores the faces of a video.

    Attributes:
        restorer: the networks.
        damage: what was found; None where nobody looked.
        restores: whether the faces need it.
        words: what the user should know about it; '' for nothing.
    """

    restorer: CropRestorer
    damage: DegradationEstimate | None = None
    restores: bool = True
    words: str = ''


def choose_weights(
    restorer: CropRestorer | Chooser, look: Callable[[], DegradationEstimate], lossless: bool, force: bool
) -> Choice:
    """The networks for the faces of a video.

    Args:
        restorer: what was asked for. Weights of the user's own are not held to what is found.
        look: finds out what is wrong with the faces.
        lossless: whether the video is stored without loss.
        force: whether weights are used although they are for another damage.

    Raises TaskError for weights that are certainly for another damage, unless `force`.
    """
    if isinstance(restorer, Chooser):
        return _select_restorer(restorer, look(), lossless)
    if restorer.name is None:
        return Choice(restorer)
    damage = look()
    words = disagreement(restorer.name, damage, lossless)
    if words and not force and is_certain(restorer.name, damage):
        better = 'which leaves them as they are' if damage.kind == 'clean' else 'which chooses by that'
        raise TaskError(words, f'give --task auto, {better}, or --force-task to restore all the same')
    return Choice(restorer, damage, True, words)


def _select_restorer(restorer: Chooser, damage: DegradationEstimate, lossless: bool) -> Choice:
    name, found = name_for(damage, lossless), f'found in the faces: {damage.in_words()}'
    if damage.kind == 'clean':
        return Choice(restorer.named(name), damage, False,
                      f'{found}; they stay as they are\n(--task mixed restores them all the same)')
    codec = ', in what a codec left' if damage.kind in NEEDS_LOSSLESS and name != damage.kind else ''
    return Choice(restorer.named(name), damage, True, f'{found}{codec}; restored with the weights {name}')


def name_for(damage: DegradationEstimate, lossless: bool) -> str:
    """Which of the shipped weights suit a damage best: its own, or those for all kinds.

    Those in NEEDS_LOSSLESS are for videos that are stored without loss: what a codec left they take for
    detail, and lose against `mixed` at CRF 18 and worse.
    """
    own = damage.kind in pretrained.names() and (lossless or damage.kind not in NEEDS_LOSSLESS)
    return damage.kind if own else FOR_ALL


def disagreement(task: str, damage: DegradationEstimate, lossless: bool) -> str:
    """In words, how what was found differs from what weights are for; '' where they agree.

    Those for all kinds of damage differ from clean faces alone.
    """
    said = f'the weights {task} are for {WORDS[task]}, but found in the faces: {damage.in_words()}'
    if task == FOR_ALL:
        return said if damage.kind == 'clean' else ''
    if damage.kind != task:
        return said
    if name_for(damage, lossless) != task:
        return (f'the weights {task} are for videos of a lossless codec: what any other left of a face they '
                f'take for detail, and --task {FOR_ALL} restores it better')
    return ''


def is_certain(task: str, damage: DegradationEstimate) -> bool:
    """Whether the faces certainly do not have the damage that weights are for.

    Several kinds of damage may hold that one among others; weights that need lossless videos harm these too.
    """
    if task == FOR_ALL:
        return False
    possible = damage.shares[task] + (0 if task in NEEDS_LOSSLESS else damage.shares[FOR_ALL])
    return 1 - possible >= CERTAIN


def look_at(frames: Iterable[Frame], faces: Faces, stored: int | None = None) -> DegradationEstimate:
    """What is wrong with the faces, by samples spread over all frames that show one.

    `stored` is the width of the picture as it is stored, where the frames are enlarged.
    """
    larger = stored is not None and stored < faces.size[0]
    return told_apart(estimate(samples(frames, faces)), enlargement(faces, stored), larger)


def told_apart(damage: DegradationEstimate, times: float, larger: bool) -> DegradationEstimate:
    """The damage, given how many `times` the crops are as large as what is stored of them.

    A crop that was enlarged much, and shows neither noise nor blocks, is of low resolution whatever the
    classifier makes of the traces that were enlarged with it. Clean ones are left alone unless a `larger`
    picture was asked for.
    """
    plain = damage.noise <= _QUIET and damage.blocks <= _UNBROKEN
    unsure = (FOR_ALL, 'clean') if larger else (FOR_ALL,)
    if times >= ENLARGED and plain and damage.kind in unsure:
        return replace(damage, kind='sr', reason=f'enlarged {times:.1f} times')
    return damage


def enlargement(faces: Faces, stored: int | None = None) -> float:
    """How many times as large as stored the network sees the largest face, on average; 1 at the least."""
    sides = [float(np.mean([faces.region(face, index).width for index in _spread(face.span)]))
             for face in faces.faces]
    factor = faces.size[0] / (stored or faces.size[0])
    return max(CROP_SIZE * factor / max(sides, default=CROP_SIZE * factor), 1)


def scale_in_words(faces: Faces) -> str:
    """Which `--scale` shows more of the faces of a picture that is not enlarged; '' for none.

    What counts is the size that faces have in half of the frames that show them.
    """
    if not faces.faces:
        return ''
    face = _middle(faces.faces)
    times = enlargement(replace(faces, faces=(face,)))
    possible = [factor for factor in FACTORS if factor * max(faces.size) <= LONGEST_SIDE]
    if times < SMALL or not possible:
        return ''
    factor = next((factor for factor in possible if factor >= times), possible[-1])
    height = float(face.boxes.heights.mean())
    return (f'faces are small, {height:.0f} pixels high or less in half of the frames that show them: what '
            'is restored beyond that is lost as they are reduced again\n'
            f'--scale {factor} makes the whole picture larger, and keeps it')


def _middle(faces: Sequence[Face]) -> Face:
    """The face of median height, where each counts by its frames."""
    ordered = sorted(faces, key=lambda face: float(face.boxes.heights.mean()))
    until = np.cumsum([len(face.span) for face in ordered])
    return ordered[int(np.searchsorted(until, until[-1] / 2))]


def samples(frames: Iterable[Frame], faces: Faces) -> Iterator[np.ndarray]:
    """Crops of the largest face in `SAMPLES` frames, or all that show one: uint8 BGR."""
    wanted = set(_spread(faces.shown.tolist()))
    for frame in frames:
        if frame.index in wanted:
            face = max(faces.present(frame.index), key=lambda face: faces.region(face, frame.index).area)
            yield crop(frame.image, faces.region(face, frame.index))
            wanted.remove(frame.index)
            if not wanted:
                return


def _spread(frames: range | list[int]) -> list[int]:
    """SAMPLES of the frames, or all, from the first to the last."""
    some = np.linspace(0, len(frames) - 1, min(SAMPLES, len(frames))).round().astype(int)
    return [frames[index] for index in some.tolist()]
