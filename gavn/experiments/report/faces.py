"""Face images side by side (the paper's figures 5 to 7), with eyes and mouth enlarged."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gavn.data.clip_store import ClipStore, MissingEntryError
from gavn.experiments.report.drawing import TEXT, new_figure
from gavn.experiments.report.images import plain_frame, restored_frame
from gavn.experiments.report.layout import TASKS
from gavn.experiments.report.places import Box, Places
from gavn.experiments.report.results import ReportError
from gavn.metrics.frame import psnr
from gavn.metrics.results_file import DEGRADED, TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _GAP, _LEFT, _TOP = 1.5, 0.04, 0.36, 0.22  # inches: of a face, between images, of the headings
_COLOURS = ('#E69F00', '#56B4E9')  # of the boxes of eyes and mouth
_TASK_OF = {layer: task.token for task in TASKS.values() for layer in (task.layer, *task.levels)}


@dataclass(frozen=True)
class Shot:
    """A row of the figure: one frame of one clip.

    Attributes:
        label: of the row, with newlines.
        images: column heading -> uint8 BGR (h, w, 3), of equal size, left to right.
        boxes: of eyes and mouth.
    """

    label: str
    images: Mapping[str, np.ndarray]
    boxes: tuple[Box, Box]


@dataclass(frozen=True)
class Scene:
    """Source of the images.

    Attributes:
        root, split: a data set folder and its split.
        runs: heading -> folder of a test run; `{task}` and `{layer}` are replaced by those of the row.
        places: of eyes and mouth.
    """

    root: Path
    split: str
    runs: Mapping[str, str]
    places: Places = field(repr=False)

    def shot(self, degradation: str, clip: str, index: int | None) -> Shot:
        """Reads the images of a row.

        Videos without ground truth may also be in `root` as a folder of images for each clip.

        Args:
            degradation: layer of the input; '' for videos without ground truth.
            clip: name of the clip.
            index: of the frame. None: the frame with the widest open mouth.

        Raises:
            ReportError: a layer, clip or image is missing, or sizes differ.
        """
        index = self.places.widest(clip) if index is None else index
        images = {DEGRADED: self._input(degradation, clip, index)}
        for method, run in self.runs.items():
            task = _TASK_OF.get(degradation, degradation)
            folder = run.replace('{task}', task).replace('{layer}', degradation)
            images[method] = restored_frame(Path(folder), clip, index)
        if degradation:
            images[TRUTH] = self._frame('gt', clip, index)
        height, width = images[DEGRADED].shape[:2]
        for heading, image in images.items():
            high, wide = image.shape[:2]
            if (high, wide) != (height, width):
                raise ReportError(f'{clip}, frame {index}: {heading} has {wide}x{high} pixels, the input '
                                  f'{width}x{height}; was it made from {self.root}?')
        label = '\n'.join(filter(None, [degradation, f'{clip}, frame {index}']))
        return Shot(label, images, self.places.boxes(clip, index, width, height))

    def _input(self, degradation: str, clip: str, index: int) -> np.ndarray:
        if not degradation and (self.root / clip).is_dir():
            return plain_frame(self.root / clip, index)
        return self._frame(degradation or 'gt', clip, index)

    def _frame(self, layer: str, clip: str, index: int) -> np.ndarray:
        try:
            return ClipStore(self.root, layer).frame(clip, index)
        except (FileNotFoundError, MissingEntryError) as error:
            raise ReportError(f'{error}\n{self.root}/meta_info_{self.split}.txt lists clips and lengths; '
                              'gavn prepare --degradations makes layers') from error


def rows(degradations: Sequence[str], clips: Sequence[str], frames: Sequence[int]
         ) -> list[tuple[str, str, int | None]]:
    """Combines lists with one entry, or one per row, to rows.

    Raises:
        ReportError: the numbers of entries differ.
    """
    count = max(len(degradations), len(clips), len(frames))
    lists: dict[str, Sequence[Any]] = {
        'degradations': degradations, 'clips': clips, 'frames': frames or [None]}
    for name, values in lists.items():
        if len(values) not in (1, count):
            raise ReportError(f'{len(values)} {name} for {count} rows: give one for all rows or one for each')
    filled = (values if len(values) == count else [*values] * count for values in lists.values())
    return list(zip(*filled, strict=True))


def faces_figure(shots: Sequence[Shot]) -> Figure:
    """Draws rows of faces with enlarged eyes and mouth below each: three axes per image.

    Boxes in the first face of a row mark the enlarged parts in their colours. With a ground truth, every
    other face shows its PSNR in dB.

    Raises:
        ReportError: a box is outside of the image.
    """
    width = _LEFT + len(shots[0].images) * (_WIDTH + _GAP)
    tall = [_tall(shot) for shot in shots]
    height = _TOP + sum(sum(parts) + 5 * _GAP for parts in tall)
    figure = new_figure(width, height)
    top = _TOP
    for shot, parts in zip(shots, tall, strict=True):
        middle = 1 - (top + sum(parts) / 2) / height
        figure.text((_LEFT - 0.06) / width, middle, shot.label, rotation=90, ha='right', va='center',
                    multialignment='center', fontsize=TEXT)
        for column, (heading, image) in enumerate(shot.images.items()):
            face, *details = _column(figure, _LEFT + column * (_WIDTH + _GAP), top, parts)
            _show_face(face, image, shot.images.get(TRUTH) if heading != TRUTH else None)
            if top == _TOP:
                face.set_title(heading, fontsize=TEXT + 1, pad=4)
            if column == 0:
                _show_boxes(face, shot.boxes)
            for axes, box, colour in zip(details, shot.boxes, _COLOURS, strict=True):
                _show_part(axes, box.of(image), colour)
        top += sum(parts) + 5 * _GAP
    return figure


def _tall(shot: Shot) -> list[float]:
    """Heights of face, eyes and mouth in inches, at the width of a column."""
    height, width = next(iter(shot.images.values())).shape[:2]
    return [_WIDTH * height / width, *(_WIDTH * box.height / box.width for box in shot.boxes)]


def _column(figure: Figure, left: float, top: float, parts: Sequence[float]) -> list[Axes]:
    """Adds axes of heights `parts` below one another; all in inches."""
    width, height = figure.get_size_inches()
    made = []
    for part in parts:
        made.append(figure.add_axes((left / width, 1 - (top + part) / height, _WIDTH / width, part / height)))
        top += part + _GAP
    return made


def _show_face(axes: Axes, image: np.ndarray, truth: np.ndarray | None) -> None:
    axes.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), interpolation='bicubic', aspect='auto')
    axes.set_axis_off()
    if truth is not None:
        axes.text(0.03, 0.03, f'{psnr(image, truth):.2f} dB', transform=axes.transAxes, fontsize=TEXT,
                  color='white', bbox={'facecolor': 'black', 'alpha': 0.55, 'linewidth': 0, 'pad': 1.5})


def _show_boxes(axes: Axes, boxes: Sequence[Box]) -> None:
    from matplotlib.patches import Rectangle
    for box, colour in zip(boxes, _COLOURS, strict=True):
        axes.add_patch(Rectangle((box.left - 0.5, box.top - 0.5), box.width, box.height, fill=False,
                                 edgecolor=colour, linewidth=0.8))


def _show_part(axes: Axes, image: np.ndarray, colour: str) -> None:
    axes.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), interpolation='bicubic', aspect='auto')
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_edgecolor(colour)
        spine.set_linewidth(0.8)
