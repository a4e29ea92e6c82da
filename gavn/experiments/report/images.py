"""Images of test runs, `<run>/visualization/<set>/<clip>/<%08d>.png`, and of plain folders."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from gavn.data.clip_store import frame_name
from gavn.experiments.report.results import ReportError
from gavn.metrics.results_file import ResultsError, read_results
from gavn.runtime.file_names import images_in


def restored_frame(run: Path, clip: str, index: int) -> np.ndarray:
    """Reads a frame of a clip as a test restored it, uint8 BGR (h, w, 3).

    Args:
        run: a folder of `results`, or one of the sets in its `visualization`.
        clip: name of the clip.
        index: of the frame.

    Raises:
        ReportError: there is no such image (the message has the command that makes it), or several sets have
            one.
    """
    name = f'{frame_name(clip, index)}.png'
    if not run.is_dir():
        raise ReportError(f'there is no folder {run}: name the folder that a test made in results')
    sets = [folder for folder in (run, *sorted(run.glob('visualization/*'))) if (folder / clip).is_dir()]
    if not sets:
        raise ReportError(f'{run} has no images of clip {clip}\nmake them: {_command(run)}')
    if len(sets) > 1:
        raise ReportError(f'several sets in {run} have clip {clip}: name one of {", ".join(map(str, sets))}')
    image = cv2.imread(str(sets[0] / name), cv2.IMREAD_COLOR) if (sets[0] / name).is_file() else None
    if image is None:
        count = len(list((sets[0] / clip).glob('*.png')))
        raise ReportError(f'there is no readable image {sets[0] / name}; the clip has {count} in this run, '
                          'choose among them with --frames')
    return image


def plain_frame(folder: Path, index: int) -> np.ndarray:
    """Reads an image of a folder by its position, uint8 BGR (h, w, 3).

    Raises:
        ReportError: there is no such image, or it cannot be read.
    """
    names = images_in(folder) if folder.is_dir() else ()
    image = cv2.imread(str(names[index]), cv2.IMREAD_COLOR) if 0 <= index < len(names) else None
    if image is None:
        raise ReportError(f'{folder} has no readable image number {index}; it has {len(names)} images')
    return image


def _command(run: Path) -> str:
    """The test command that writes the images, with the option file in the run's results."""
    for file in sorted(run.glob('*.csv')):
        try:
            names = [row.run.option_file for row in read_results(file) if row.run.option_file]
        except ResultsError:
            continue  # not a results file
        if names:
            return f'python gavn/test.py -opt {names[0]} --force_yml val:save_img=true'
    return f'python gavn/test.py -opt FILE.yml --force_yml val:save_img=true (the option file of {run.name})'
