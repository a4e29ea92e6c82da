"""The example videos of the web page: a synthetic talking head with three degradations."""
from pathlib import Path

from gavn.audio.rates import FRAME_RATE
from gavn.data.degradation import degrade
from gavn.experiments.synthetic.head import identities, make_clip, place_on_background
from gavn.media import VideoWriter
from gavn.web.examples import EXAMPLES

SECONDS = 3.
_SIZE = 480, 360  # pixels
_STORED_CRF = 12  # adds hardly any degradation


def draw(folder: Path, seconds: float = SECONDS) -> list[Path]:
    """Writes the examples as .mp4: the same clip with audio and three degradations."""
    clip = make_clip(identities()[0], seed=1000, seconds=seconds, words='test')
    frames = place_on_background(clip, *_SIZE)
    folder.mkdir(exist_ok=True)
    for example in EXAMPLES:
        degraded, _ = degrade(list(frames), example.degradation, 'example')
        with VideoWriter(folder / f'{example.name}.mp4', *_SIZE, FRAME_RATE, clip.audio,
                         crf=_STORED_CRF) as writer:
            for image in degraded:
                writer.write(image)
    return [folder / f'{example.name}.mp4' for example in EXAMPLES]
