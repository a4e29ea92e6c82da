"""Tiny networks with known answers, small videos and stand-ins for the tests of restoration."""
import os
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from gavn.faces.box_array import Boxes
from gavn.faces.geometry import Box
from gavn.faces.tracks import Face, Faces
from gavn.media import VideoWriter
from gavn.media.frame import ToBGR
from gavn.restoration.model_spec import ModelSpec
from gavn.restoration.restorer import Restorer
from gavn.runtime.windows import Layout


@ARCH_REGISTRY.register()
class FakeRestorer(nn.Module):
    """Adds `gain` (8-bit levels) everywhere, plus audio and landmarks when they are given.

    Each call takes as many seconds more as the environment variable FAKE_PAUSE says.
    """

    def __init__(self, gain: float = 0., radius: int = 1) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain / 255))
        self.layout = Layout(2 * radius + 1, 2, 'sequence')

    def forward(self, lq: Tensor, audio: Tensor | None = None, landmarks: Tensor | None = None) -> Tensor:
        frames = lq[:, 2:-2]
        assert frames.shape[1] == self.layout.outputs
        time.sleep(float(os.environ.get('FAKE_PAUSE', 0)))
        if audio is not None:
            frames = frames + audio.mean((2, 3, 4))[:, :, None, None, None] / 255
        if landmarks is not None:
            frames = frames + landmarks.mean((2, 3))[:, :, None, None, None]
        return frames + self.gain


@ARCH_REGISTRY.register()
class FakeDetector(nn.Module):
    """Every point is at the mean brightness of the face."""

    def __init__(self, num_points: int = 68) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_points, 2))

    def forward(self, face: Tensor, audio: Tensor | None = None) -> Tensor:
        assert face.shape[1:] == (3, 112, 112) and audio.shape[1:] == (1, 13, 20)
        assert not self.training and not torch.is_grad_enabled()
        return face.mean((1, 2, 3))[:, None, None] * self.scale


@ARCH_REGISTRY.register()
class FakePerFrame(nn.Module):
    """A network of single images without a layout of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, lq: Tensor) -> Tensor:
        return lq + self.bias


WIDTH, HEIGHT = 96, 80
FACE = Box(30, 20, 60, 50)


def smooth_images(count: int) -> list[np.ndarray]:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    return [np.stack([(2 * xx + 5 * i) % 200, (2 * yy + 3 * i) % 200, (xx + yy) % 200], -1).astype(np.uint8)
            for i in range(count)]


def tone(seconds: float) -> np.ndarray:
    return (8000 * np.sin(np.arange(round(16000 * seconds)) * 0.2)).astype(np.int16)


def write_video(path: Path, count: int, audio: float | None) -> Path:
    """A video of `count` frames, with `audio` seconds of a tone."""
    samples = None if audio is None else tone(audio)
    with VideoWriter(path, WIDTH, HEIGHT, 25, audio=samples, crf=12) as writer:
        for image in smooth_images(count):
            writer.write(image)
    return path


def write_variable(path: Path, stamps: list[int]) -> Path:
    """A video whose frames stand at `stamps` milliseconds."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 1000)
        for stamp, image in zip(stamps, smooth_images(len(stamps)), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format='bgr24')
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def audio_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [(packet.pts * packet.time_base, bytes(packet))
                for packet in container.demux(audio=0) if packet.pts is not None]


def fixed_face(absent: tuple[int, ...] = (), cuts: tuple[int, ...] = (), box: Box = FACE
               ) -> Callable[..., Faces]:
    """A tracker that finds a face in every frame but those `absent`, another one from each of `cuts` on."""
    def follow(frames: Iterable[np.ndarray], **_: object) -> Faces:
        count = sum(1 for _ in frames)
        seen = [i not in absent for i in range(count)]
        starts = [i for i in range(count) if seen[i] and (i == 0 or not seen[i - 1] or i in cuts)]
        ends = [next((j for j in range(i + 1, count) if not seen[j] or j in cuts), count) for i in starts]
        spans = map(range, starts, ends)
        faces = (Face(id, span, Boxes.repeated(box, len(span)), 1.) for id, span in enumerate(spans))
        return Faces(tuple(faces), count, (WIDTH, HEIGHT), cuts)
    return follow


def make_restorer(gain: float = 20., inputs: tuple[str, ...] = ('lq',)) -> Restorer:
    options = {'network_g': {'type': 'FakeRestorer', 'gain': gain}, 'network_inputs': inputs}
    spec = ModelSpec.parse(options, 'here')
    return Restorer(spec, spec.build(), 'cpu')


class Recorder:
    """Stands in for the writer of pieces: keeps the frames before they are encoded."""

    def __init__(self) -> None:
        self.video_frames, self.stamps = [], []

    def __call__(self, *_):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass

    def write(self, frame, pts) -> None:
        self.video_frames.append(frame)
        self.stamps.append(pts)

    @property
    def frames(self) -> int:
        """How many frames were written."""
        return len(self.video_frames)

    @property
    def images(self) -> list[np.ndarray]:
        """As BGR."""
        to_bgr = ToBGR()
        return [to_bgr(frame) for frame in self.video_frames]


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """The samples of an 8-bit frame, plane by plane (h, w)."""
    return [np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, :plane.width]
            for plane in frame.planes]


def same_bits(one: av.VideoFrame, other: av.VideoFrame) -> bool:
    """Whether two frames are equal sample by sample."""
    return all(map(np.array_equal, planes(one), planes(other)))
