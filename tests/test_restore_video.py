"""Restoring a video: which pixels change, which sound a frame hears, how much is held in memory."""
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from restore_fakes import (
    FACE,
    HEIGHT,
    WIDTH,
    Recorder,
    fixed_face,
    make_restorer,
    sound_packets,
    write_variable,
    write_video,
)
from sound_blocks import Passing

from gavn.pipeline import video
from gavn.pipeline.face_tracker import Track
from gavn.pipeline.recipe import Recipe
from gavn.pipeline.restorer import Restorer
from gavn.utils.audio import mfcc, mfcc_windows
from gavn.utils.faces import feather_mask
from gavn.utils.media import VideoWriter, read_audio, read_frames


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    monkeypatch.setattr(video, 'track_faces', fixed_face())


@pytest.fixture(scope='module')
def talking(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp('video') / 'in.mp4', 12, sound=0.48)


@pytest.fixture
def recorder(monkeypatch) -> Recorder:
    kept = Recorder()
    monkeypatch.setattr(video, 'PieceWriter', lambda *_: kept)
    monkeypatch.setattr(video, 'join', lambda *_: None)
    return kept


def test_strength_zero_and_zero_network_change_no_pixel(talking, recorder):
    for restorer, strength in ((make_restorer(20.), 0.), (make_restorer(0.), 1.)):
        report = video.restore_video(talking, 'unused.mp4', restorer, strength=strength, progress=False)
        source = list(read_frames(talking))
        assert report.frames_out == len(source) == len(recorder.images)
        assert all(np.array_equal(a.image, b) for a, b in zip(source, recorder.images, strict=True))
        assert recorder.stamps == [frame.pts for frame in source]
        recorder.__init__()


def test_pixels_outside_the_mask_are_untouched(talking, recorder):
    video.restore_video(talking, 'unused.mp4', make_restorer(30.), progress=False)
    region = Track((FACE,), (range(1),)).region(0)
    inside = np.zeros((HEIGHT, WIDTH), bool)
    x0, y0 = max(0, int(region.x0)), max(0, int(region.y0))
    inside[y0:int(np.ceil(region.y1)), x0:int(np.ceil(region.x1))] = True
    assert inside.any() and not inside.all()
    for frame, image in zip(read_frames(talking), recorder.images, strict=True):
        assert np.abs(frame.image[~inside].astype(int) - image[~inside]).max() <= 2
        change = image.astype(int) - frame.image
        assert change[35, 45].tolist() == pytest.approx([30, 30, 30], abs=2) and change.min() >= -3
        assert change[int(region.y0)].max() <= 4  # no seam
    assert feather_mask()[112, 112] == 1


def test_half_strength_is_half_the_change(talking, recorder):
    video.restore_video(talking, 'unused.mp4', make_restorer(30.), strength=0.5, progress=False)
    first = next(read_frames(talking)).image
    assert (recorder.images[0].astype(int) - first)[35, 45].tolist() == pytest.approx([15, 15, 15], abs=2)


def test_frames_without_a_face_pass_untouched(talking, recorder, monkeypatch):
    monkeypatch.setattr(video, 'track_faces', fixed_face(absent=(0, 4, 5, 11)))
    report = video.restore_video(talking, 'unused.mp4', make_restorer(30.), progress=False)
    assert (report.frames_in, report.frames_out, report.restored, report.passed_through) == (12, 12, 8, 4)
    same = [np.array_equal(a.image, b) for a, b in zip(read_frames(talking), recorder.images, strict=True)]
    assert [i for i, equal in enumerate(same) if equal] == [0, 4, 5, 11]


def test_a_cut_ends_a_clip(talking, recorder, monkeypatch):
    lengths = []

    class Counting:
        weights = {}  # noqa: RUF012

        def residuals(self, crops, sounds):
            kept = [np.zeros_like(image, np.float32) for image, _ in zip(crops, sounds, strict=True)]
            lengths.append(len(kept))
            return iter(kept)

    monkeypatch.setattr(video, 'track_faces', fixed_face(absent=(2,), cuts=(7,)))
    video.restore_video(talking, 'unused.mp4', Counting(), progress=False)
    assert lengths == [2, 4, 5] and len(recorder.images) == 12


def test_sound_is_taken_by_time(tmp_path, talking, recorder):
    """Frames at odd times hear the cepstra of those times."""
    stamps = [0, 100, 130, 310, 420]
    silent = write_variable(tmp_path / 'v.mp4', stamps)
    source = tmp_path / 'in.mp4'
    with av.open(str(silent)) as pixels, av.open(str(talking)) as voice, av.open(str(source), 'w') as out:
        streams = {kind: out.add_stream_from_template(stream)
                   for kind, stream in (('v', pixels.streams.video[0]), ('a', voice.streams.audio[0]))}
        for kind, container in (('v', pixels), ('a', voice)):
            for packet in container.demux(video=0) if kind == 'v' else container.demux(audio=0):
                if packet.dts is not None:
                    packet.stream = streams[kind]
                    out.mux(packet)
    heard = []

    class Listening:
        weights = {}  # noqa: RUF012

        def residuals(self, crops, sounds):
            for image, sound in zip(crops, sounds, strict=True):
                heard.append(sound)
                yield np.zeros_like(image, np.float32)

    video.restore_video(source, 'unused.mp4', Listening(), progress=False)
    wanted = mfcc_windows(mfcc(read_audio(source)), [stamp / 1000 for stamp in stamps])
    assert torch.equal(torch.stack(heard), wanted) and wanted.std(0).max() > 0.1


@pytest.mark.parametrize('seconds', [20, 25, 30])
def test_sound_is_heard_block_by_block(monkeypatch, seconds):
    """Cepstra of the whole, silence up to the picture's end included; most blocks are gone by then."""
    sound = np.random.default_rng(0).integers(-9999, 9999, seconds * 16000).astype(np.int16)
    blocks = Passing(np.split(sound, range(1024, len(sound), 1024)))
    monkeypatch.setattr(video, 'iter_audio', lambda *_: iter(blocks))
    report = video.Report('in.mp4', 'out.mp4')
    cepstra = video._listen(Path('in.mp4'), SimpleNamespace(duration=25.), report)
    assert torch.equal(cepstra, mfcc(np.pad(sound, (0, max(0, 25 - seconds) * 16000))))
    assert [notice.partition(';')[0] for notice in report.notices] == (
        ['the sound of in.mp4 ends 5.0 s before its picture'] if seconds < 25 else [])
    assert blocks.most < 0.6 * len(blocks.blocks)


def test_memory_is_bounded(tmp_path, recorder):
    """Decoded frames waiting for their restoration are a window, however long the video."""
    source = write_video(tmp_path / 'in.mp4', 60, sound=None)
    waiting, written = [], []

    class Watching(Restorer):
        def residuals(self, crops, sounds):
            def counted():
                for image in crops:
                    waiting.append(1)
                    yield image
            for residual in super().residuals(counted(), sounds):
                written.append(len(waiting) - len(written))
                yield residual

    base = make_restorer()
    video.restore_video(source, 'x.mp4', Watching(base.recipe, base.networks, 'cpu', batch=2), progress=False)
    assert len(written) == 60 and max(written) <= 2 * 3 + 2


def test_real_networks_on_a_found_face(tmp_path, monkeypatch):
    """A talking head in a larger picture: the real tracker, GAVN and landmark detector, sound and all."""
    monkeypatch.undo()
    head = pytest.importorskip('gavn.data.talking_head', reason='needs the demo data')
    clip = head.make_clip(head.identities()[0], 3, 0.4)
    frames = head.place_on_background(clip)
    source, out, bundle = tmp_path / 'in.mp4', tmp_path / 'out.mp4', tmp_path / 'w.safetensors'
    with VideoWriter(source, frames.shape[2], frames.shape[1], 25, audio=clip.audio) as writer:
        for frame in frames:
            writer.write(frame)
    options = {'network_g': {'type': 'GAVN', 'num_feat': 8, 'num_reconstruct_block': [1, 1]},
               'network_l': {'type': 'PFLDAV', 'width': 0.25},
               'network_inputs': ['lq', 'audio', 'landmarks', 'region']}
    recipe = Recipe.parse(options, 'here')
    networks = recipe.build()
    networks['network_g'].reconstruction.last.weight.data.mul_(0.01)
    Restorer(recipe, networks, 'cpu').save(bundle)
    report = video.restore_video(source, out, Restorer.load(bundle, 'cpu', batch=2), progress=False)
    assert (report.frames_in, report.frames_out, report.restored) == (10, 10, 10)
    assert sound_packets(out) == sound_packets(source)
    old, new = list(read_frames(source)), list(read_frames(out))
    assert [frame.time for frame in new] == [frame.time for frame in old]
    assert max(np.abs(b.image.astype(int) - a.image).mean() for a, b in zip(old, new, strict=True)) < 6
