"""Raw videos for the tests of preparation, and an annotator with known answers."""
from pathlib import Path

import cv2
import numpy as np
import pytest

from gavn.faces.geometry import Box
from gavn.media import VideoWriter


def photo(size: int = 224) -> np.ndarray:
    data = pytest.importorskip('skimage.data')
    face = np.ascontiguousarray(data.astronaut()[0:224, 112:336, ::-1])
    return cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)


def write_raw_video(path: Path, images: list[np.ndarray], audio: bool = True, rate: int = 25) -> Path:
    seconds = len(images) / rate
    tone = (8000 * np.sin(np.arange(round(16000 * seconds)) / 20)).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = images[0].shape[:2]
    with VideoWriter(path, width, height, rate, audio=tone if audio else None, preset='ultrafast') as writer:
        for image in images:
            writer.write(image)
    return path


class Stub:
    """Sees the face where the image is bright; its points spread over the box."""

    def box(self, image):
        return Box(60, 40, 160, 180) if image.mean() > 20 else None

    def points(self, image, box):
        x, y = np.meshgrid(np.linspace(box.x0, box.x1, 17), np.linspace(box.y0, box.y1, 4))
        return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def table(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    path.write_text('file,speaker,split,note\n' + ''.join(f'{",".join(row)},x\n' for row in rows))
    return path


# ---- which videos
