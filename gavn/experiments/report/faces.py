"""Face images side by side (the paper's figures 5 to 7), with eyes and mouth enlarged."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from gavn.data.clip_store import ClipStore, MissingEntryError, frame_name, layers_of
from gavn.experiments.report.drawing import TEXT, new_figure
from gavn.experiments.report.layout import TASKS
from gavn.experiments.report.results import ReportError
from gavn.faces.landmarks import EYE_CORNERS, MOUTH, box_around
from gavn.metrics.frame import psnr
from gavn.metrics.results_file import DEGRADED, TRUTH
from gavn.runtime.file_names import images_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 1.5  # of a face, in inches
_COLOURS = ('#E69F00', '#56B4E9')  # of the boxes of eyes and mouth
_TASK_OF = {layer: task.token for task in TASKS.values() for layer in (task.layer, *task.levels)}
_EYES = slice(36, 48)
_LIPS = np.array([(61, 67), (62, 66), (63, 65)])  # upper and lower, inside


class ImagePart(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Crops `image` (h, w, 3). Raises ReportError if the box is not inside."""
        height, width = image.shape[:2]
        if not (0 <= self.left <= width - self.width and 0 <= self.top <= height - self.height
                and min(self.width, self.height) > 0):
            raise ReportError(f'the box {" ".join(map(str, self))} (left, top, width, height) is not inside '
                              f'an image of {width}x{height} pixels')
        return image[self.top:self.top + self.height, self.left:self.left + self.width]


@dataclass(frozen=True)
class FigureRow:
    """A row of the figure: one frame of one clip."""

    label: str  # of the row, with newlines
    images: Mapping[str, np.ndarray]  # column heading -> uint8 BGR (h, w, 3), of equal size, left to right
    boxes: tuple[ImagePart, ImagePart]  # of eyes and mouth


@dataclass(frozen=True)
class ImageSource:
    """Where the images and the boxes come from."""

    root: Path  # a data set folder
    # heading -> folder of a test run; `{task}` and `{layer}` are replaced by those of the row
    runs: Mapping[str, str]
    # eyes, mouth: boxes to use instead of those of the landmarks
    eyes: ImagePart | None = None
    mouth: ImagePart | None = None

    def row(self, degradation: str, clip: str, index: int | None) -> FigureRow:
        """Reads the images of a row.

        Videos without ground truth may also be in `root` as a folder of images for each clip.

        Args:
            degradation: layer of the input; '' for videos without ground truth.
            index: of the frame. None: the frame with the widest open mouth.

        Raises:
            ReportError: a layer, clip, image or landmarks are missing, or sizes differ.
        """
        if index is None:
            index = int(openness(self._landmarks(clip, 'say which frames to show (--frames)')).argmax())
        plain = self.root / clip if not degradation and (self.root / clip).is_dir() else None
        images = {DEGRADED: _plain_frame(plain, index) if plain
                  else self._frame(degradation or 'gt', clip, index)}
        for method, run in self.runs.items():
            task = _TASK_OF.get(degradation, degradation)
            folder = run.replace('{task}', task).replace('{layer}', degradation)
            images[method] = _restored_frame(Path(folder), clip, index)
        if degradation:
            images[TRUTH] = self._frame('gt', clip, index)
        height, width = images[DEGRADED].shape[:2]
        for heading, image in images.items():
            if image.shape[:2] != (height, width):
                raise ReportError(f'{clip}, frame {index}: {heading} has {image.shape[1]}x{image.shape[0]} '
                                  f'pixels, the input {width}x{height}; was it made from {self.root}?')
        label = '\n'.join(filter(None, [degradation, f'{clip}, frame {index}']))
        return FigureRow(label, images, self._boxes(clip, index, width, height))

    def _frame(self, layer: str, clip: str, index: int) -> np.ndarray:
        try:
            return ClipStore(self.root, layer).frame(clip, index)
        except (FileNotFoundError, MissingEntryError) as error:
            raise ReportError(f'{error}\n{self.root}/meta_info_*.txt list clips and lengths; '
                              'gavn prepare --degradations makes layers') from error

    def _boxes(self, clip: str, index: int, width: int, height: int) -> tuple[ImagePart, ImagePart]:
        if self.eyes and self.mouth:
            return self.eyes, self.mouth
        points = self._landmarks(clip, 'give both boxes (--eyes and --mouth LEFT TOP WIDTH HEIGHT)')[index]
        return (self.eyes or ImagePart(*box_around(points[_EYES], width, height)),
                self.mouth or ImagePart(*box_around(points[MOUTH], width, height)))

    def _landmarks(self, clip: str, advice: str) -> np.ndarray:
        try:
            if 'landmarks' in layers_of(self.root):
                return ClipStore(self.root, 'landmarks').array(clip)
        except MissingEntryError:
            pass
        raise ReportError(f'{self.root} has no landmarks of {clip}: {advice}')


def openness(points: np.ndarray) -> np.ndarray:
    """Distance between the lips (...,) in outer eye distances, from landmarks (..., 68, 2)."""
    gap = np.linalg.norm(points[..., _LIPS[:, 0], :] - points[..., _LIPS[:, 1], :], axis=-1).mean(-1)
    left, right = EYE_CORNERS
    return gap / np.linalg.norm(points[..., left, :] - points[..., right, :], axis=-1)


def _restored_frame(run: Path, clip: str, index: int) -> np.ndarray:
    """Reads a frame as a test restored it; `run` is a folder of `results`, or a set in its visualization."""
    name = f'{frame_name(clip, index)}.png'
    if not run.is_dir():
        raise ReportError(f'there is no folder {run}: name the folder that a test made in results')
    sets = [folder for folder in (run, *sorted(run.glob('visualization/*'))) if (folder / clip).is_dir()]
    if not sets:
        raise ReportError(f'{run} has no images of clip {clip}\n'
                          'make them: gavn test -opt FILE.yml --force_yml val:save_img=true')
    if len(sets) > 1:
        raise ReportError(f'several sets in {run} have clip {clip}: name one of {", ".join(map(str, sets))}')
    image = cv2.imread(str(sets[0] / name), cv2.IMREAD_COLOR) if (sets[0] / name).is_file() else None
    if image is None:
        count = len(list((sets[0] / clip).glob('*.png')))
        raise ReportError(f'there is no readable image {sets[0] / name}; the clip has {count} in this run, '
                          'choose among them with --frames')
    return image


def _plain_frame(folder: Path, index: int) -> np.ndarray:
    """Reads an image of a folder by its position."""
    names = images_in(folder)
    image = cv2.imread(str(names[index]), cv2.IMREAD_COLOR) if 0 <= index < len(names) else None
    if image is None:
        raise ReportError(f'{folder} has no readable image number {index}; it has {len(names)} images')
    return image


def combine(degradations: Sequence[str], clips: Sequence[str], frames: Sequence[int]
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


def faces_figure(rows: Sequence[FigureRow]) -> Figure:
    """Draws rows of faces with enlarged eyes and mouth below each: three axes per image.

    Boxes in the first face of a row mark the enlarged parts in their colours. With a ground truth, every
    other face shows its PSNR in dB.

    Raises:
        ReportError: a box is outside of the image.
    """
    columns = len(rows[0].images)
    heights = [height for row in rows for height in _heights(row)]
    figure = new_figure(_WIDTH * columns + 0.3, _WIDTH * sum(heights) + 0.05 * len(heights) + 0.2)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    for number, row in enumerate(rows):
        for column, (heading, image) in enumerate(row.images.items()):
            face, *parts = (figure.add_subplot(grid[3 * number + part, column]) for part in range(3))
            _show(face, image)
            if TRUTH in row.images and heading != TRUTH:
                face.text(0.03, 0.03, f'{psnr(image, row.images[TRUTH]):.2f} dB', transform=face.transAxes,
                          fontsize=TEXT, color='white',
                          bbox={'facecolor': 'black', 'alpha': 0.55, 'linewidth': 0, 'pad': 1.5})
            if number == 0:
                face.set_title(heading, fontsize=TEXT + 1)
            if column == 0:
                face.set_ylabel(row.label, fontsize=TEXT)
            for axes, box, colour in zip(parts, row.boxes, _COLOURS, strict=True):
                _show(axes, box.crop(image), colour)
                if column == 0:
                    _mark(face, box, colour)
    figure.set_layout_engine('constrained', w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    return figure


def _heights(row: FigureRow) -> list[float]:
    """Heights of face, eyes and mouth, over the width of a column."""
    height, width = next(iter(row.images.values())).shape[:2]
    return [height / width, *(box.height / box.width for box in row.boxes)]


def _show(axes: Axes, image: np.ndarray, colour: str = 'none') -> None:
    """Shows an image, with a frame of a colour."""
    axes.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), interpolation='bicubic')
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(edgecolor=colour, linewidth=0.8)


def _mark(axes: Axes, box: ImagePart, colour: str) -> None:
    from matplotlib.patches import Rectangle
    axes.add_patch(Rectangle((box.left - 0.5, box.top - 0.5), box.width, box.height, fill=False,
                             edgecolor=colour, linewidth=0.8))
