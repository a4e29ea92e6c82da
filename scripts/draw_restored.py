"""Draws docs/restored.jpg, the first image of the README: three degradations, restored with `auto`."""
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gavn import restore_frames
from gavn.audio.rates import FRAME_RATE
from gavn.data.degradation import degrade
from gavn.experiments.synthetic.head import identities, make_clip, place_on_background

TARGET = Path(__file__).resolve().parents[1] / 'docs/restored.jpg'
DEGRADATIONS = {'blur_k17': 'blurred (17 pixels)', 'car_crf42': 'compressed (H.264 at CRF 42)',
                'sr_x4': 'small (a quarter of the size)'}
SECONDS, FRAME = 1.2, 20
FACE = (slice(4, 214), slice(60, 270))  # rows and columns that are drawn
BAND = 26  # pixels; height of a label


def labelled(image: np.ndarray, text: str) -> np.ndarray:
    """The face in a frame, enlarged twofold, below a label."""
    face = cv2.resize(image[FACE], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    band = np.full((BAND, face.shape[1], 3), 255, np.uint8)
    cv2.putText(band, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([band, face])


def row(name: str, original: np.ndarray, audio: np.ndarray) -> np.ndarray:
    """One frame, degraded, restored and original.

    Args:
        name: the degradation.
        original: uint8 BGR frames (t, h, w, 3).
        audio: 16 kHz samples.
    """
    degraded, _ = degrade(original, name, 'restored')
    restored = restore_frames(degraded, FRAME_RATE, audio, channels='bgr')
    images = (degraded[FRAME], restored[FRAME], original[FRAME])
    labels = (DEGRADATIONS[name], 'restored', 'original')
    return np.hstack([labelled(image, label) for image, label in zip(images, labels, strict=True)])


def main() -> None:
    """Draws the image."""
    clip = make_clip(identities()[0], seed=1000, seconds=SECONDS, words='test')
    frames = place_on_background(clip, 320, 288)
    image = np.vstack([row(name, frames, clip.audio) for name in DEGRADATIONS])
    TARGET.write_bytes(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes())


if __name__ == '__main__':
    main()
