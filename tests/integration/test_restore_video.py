"""Restoring a video: which pixels change, which audio belongs to a frame, how much is held in memory."""
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import av
import numpy as np
import pytest
import torch
from audio_blocks import Passing
from restore_fakes import (
    FACE,
    HEIGHT,
    WIDTH,
    Recorder,
    audio_packets,
    fixed_face,
    make_restorer,
    planes,
    same_bits,
    write_variable,
    write_video,
)

from gavn.audio.mfcc import mfcc, mfcc_windows
from gavn.faces.box_array import Boxes
from gavn.faces.geometry import Box, crop_box, feather_mask
from gavn.faces.tracks import ChoiceError, Face
from gavn.media import VideoWriter, read_audio, read_frames
from gavn.restoration import audio_features, job, restore_video, segment_encoder
from gavn.restoration.model_spec import ModelSpec
from gavn.restoration.report import Report
from gavn.restoration.restorer import Restorer
from gavn.restoration.settings import Settings
from gavn.restoration.weight_selection import Choice
from gavn.runtime.windows import Layout


class Silent:
    """What a restoration asks of a restorer but for its residuals."""

    weights, notices, layout, name = {}, [], Layout(1, 2), None
    device, dtype, batch, compile, chunk_size = 'cpu', 'float32', 1, None, 1
    uses_audio = True

    def choose_weights(self, *_: object) -> Choice:
        return Choice(self)


def restore(source: Path, target: Path, restorer: Restorer | Silent, **settings) -> Report:
    target.unlink(missing_ok=True)
    return restore_video.restore_video(source, target, restorer, Settings(**settings))


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    monkeypatch.setattr(job, 'follow_faces', fixed_face())


@pytest.fixture(scope='module')
def talking(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp('video') / 'in.mp4', 12, audio=0.48)


@pytest.fixture
def recorder(monkeypatch) -> Recorder:
    kept = Recorder()
    monkeypatch.setattr(segment_encoder, 'SegmentWriter', kept)
    monkeypatch.setattr(segment_encoder.SegmentEncoder, 'check_muxable', lambda *_: None)
    monkeypatch.setattr(job.RestorationJob, '_join', lambda *_: None)
    return kept


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / 'unused.mp4'


def test_strength_zero_and_zero_network_change_no_bit(talking, out, recorder):
    for restorer, strength in ((make_restorer(20.), 0.), (make_restorer(0.), 1.)):
        recorder.__init__()
        report = restore(talking, out, restorer, strength=strength)
        source = list(read_frames(talking))
        assert report.frames_out == len(source) == len(recorder.video_frames)
        assert all(same_bits(a.av_frame, b) for a, b in zip(source, recorder.video_frames, strict=True))
        assert recorder.stamps == [frame.pts for frame in source]


def test_pixels_outside_the_mask_are_untouched(talking, out, recorder):
    restore(talking, out, make_restorer(30.))
    region = crop_box(FACE)
    x0, y0 = (max(0, int(corner)) // 2 * 2 for corner in (region.x0, region.y0))
    x1, y1 = (int(np.ceil(corner / 2)) * 2 for corner in (region.x1, region.y1))
    assert 0 < x0 < x1 < WIDTH and 0 <= y0 < y1 < HEIGHT
    for frame, restored in zip(read_frames(talking), recorder.video_frames, strict=True):
        for before, after, step in zip(planes(frame.av_frame), planes(restored), (1, 2, 2), strict=True):
            outside = np.ones(before.shape, bool)
            outside[y0 // step:y1 // step, x0 // step:x1 // step] = False
            assert np.array_equal(before[outside], after[outside])
    for frame, image in zip(read_frames(talking), recorder.images, strict=True):
        change = image.astype(int) - frame.image
        assert np.abs(change[35, 45] - 30).max() <= 2
        assert np.abs(change[int(region.y0), 30:60]).max() <= 4  # no seam
    assert feather_mask()[112, 112] == 1


def test_half_strength_is_half_the_change(talking, out, recorder):
    restore(talking, out, make_restorer(30.), strength=0.5)
    first = next(read_frames(talking)).image
    assert np.abs((recorder.images[0].astype(int) - first)[35, 45] - 15).max() <= 2


def test_frames_without_a_face_pass_untouched(talking, out, recorder, monkeypatch):
    monkeypatch.setattr(job, 'follow_faces', fixed_face(absent=(0, 4, 5, 11)))
    report = restore(talking, out, make_restorer(30.))
    assert (report.frames_in, report.frames_out, report.restored, report.passed_through) == (12, 12, 8, 4)
    shown = zip(read_frames(talking), recorder.video_frames, strict=True)
    same = [same_bits(before.av_frame, after) for before, after in shown]
    assert [i for i, equal in enumerate(same) if equal] == [0, 4, 5, 11]


def test_a_cut_ends_a_clip(talking, out, recorder, monkeypatch):
    lengths = []

    class Counting(Silent):
        def residuals(self, crops, audio):
            kept = [np.zeros_like(image, np.float32) for image, _ in zip(crops, audio, strict=True)]
            lengths.append(len(kept))
            return iter(kept)

    monkeypatch.setattr(job, 'follow_faces', fixed_face(absent=(2,), cuts=(7,)))
    restore(talking, out, Counting())
    assert lengths == [2, 4, 5] and len(recorder.video_frames) == 12


def test_two_faces_are_restored_where_they_are(talking, out, recorder, monkeypatch):
    other = Box(5, 5, 25, 25)

    def two(frames, **_):
        found = fixed_face()(frames)
        second = Face(1, range(3, 9), Boxes.repeated(other, 6), 1.)
        return replace(found, faces=(*found.faces, second))

    monkeypatch.setattr(job, 'follow_faces', two)
    for faces, wanted in (('all', {3, 8}), ('0', set()), ('largest', set())):
        recorder.__init__()
        report = restore(talking, out, make_restorer(30.), faces=faces)
        changes = [image.astype(int) - frame.image
                   for frame, image in zip(read_frames(talking), recorder.images, strict=True)]
        assert {i for i in (2, 3, 8, 9) if np.abs(changes[i][12, 8]).max() > 15} == wanted
        assert all(np.abs(change[40, 55]).max() > 15 for change in changes)
        assert [entry['face'] for entry in report.faces] == ([0, 1] if faces == 'all' else [0])
    with pytest.raises(ChoiceError, match='no face 7'):
        restore(talking, out, make_restorer(30.), faces='0,7')


def test_a_box_replaces_the_search(talking, out, recorder, monkeypatch):
    monkeypatch.setattr(job, 'follow_faces', None)
    assert restore(talking, out, make_restorer(30.), box=FACE).restored == 12
    with pytest.raises(ChoiceError, match='not inside an image'):
        restore(talking, out, make_restorer(30.), box=Box(0, 0, 500, 10))


def test_audio_is_taken_by_time(tmp_path, talking, out, recorder):
    """Frames at irregular times get the MFCCs of those times."""
    stamps = [0, 100, 130, 310, 420]
    silent = write_variable(tmp_path / 'v.mp4', stamps)
    source = tmp_path / 'in.mp4'
    with av.open(str(silent)) as pixels, av.open(str(talking)) as voice, av.open(str(source), 'w') as both:
        streams = {kind: both.add_stream_from_template(stream)
                   for kind, stream in (('v', pixels.streams.video[0]), ('a', voice.streams.audio[0]))}
        for kind, container in (('v', pixels), ('a', voice)):
            for packet in container.demux(video=0) if kind == 'v' else container.demux(audio=0):
                if packet.dts is not None:
                    packet.stream = streams[kind]
                    both.mux(packet)
    received = []

    class RecordingRestorer(Silent):
        def residuals(self, crops, audio):
            for image, window in zip(crops, audio, strict=True):
                received.append(window)
                yield np.zeros_like(image, np.float32)

    restore(source, out, RecordingRestorer())
    wanted = mfcc_windows(mfcc(read_audio(source)), [stamp / 1000 for stamp in stamps])
    assert torch.equal(torch.stack(received), wanted) and wanted.std(0).max() > 0.1


@pytest.mark.parametrize('seconds', [20, 25, 30])
def test_audio_is_read_block_by_block(monkeypatch, tmp_path, seconds):
    """MFCC of the whole audio, with silence up to the end of the video; most blocks are freed by then."""
    audio = np.random.default_rng(0).integers(-9999, 9999, seconds * 16000).astype(np.int16)
    blocks = Passing(np.split(audio, range(1024, len(audio), 1024)))
    monkeypatch.setattr(audio_features, 'iter_audio', lambda *_: iter(blocks))
    notices: list[str] = []
    video = SimpleNamespace(audio_path=Path('in.mp4'), audio=None, info=SimpleNamespace(duration=25.))
    mfcc_frames = audio_features.extract_features(video, notices.append, tmp_path)
    whole = np.pad(audio, (0, max(0, 25 - seconds) * 16000))
    assert torch.equal(mfcc_frames.columns(0, mfcc_frames.count), mfcc(whole))
    assert [notice.partition(';')[0] for notice in notices] == (
        ['the audio of in.mp4 ends 5.0 s before the video'] if seconds < 25 else [])
    assert blocks.most < 0.6 * len(blocks.blocks)


def test_a_preview_reads_no_more_audio_than_it_needs(monkeypatch, tmp_path):
    audio = np.random.default_rng(0).integers(-9999, 9999, 30 * 16000).astype(np.int16)
    read = []

    def blocks(*_):
        for block in np.split(audio, range(1024, len(audio), 1024)):
            read.append(len(block))
            yield block

    monkeypatch.setattr(audio_features, 'iter_audio', blocks)
    video = SimpleNamespace(audio_path=Path('in.mp4'), audio=None,
                            info=SimpleNamespace(duration=25., frames=625, frame_rate=25))
    notices, progress = [], Mock()
    mfcc_frames = audio_features.extract_features(video, notices.append, tmp_path, progress, seconds=2.)
    times = [0., 1., 1.96]
    windows = torch.stack([mfcc_frames.window(time) for time in times])
    assert torch.equal(windows, mfcc_windows(mfcc(audio), times))
    assert 2 * 16000 < sum(read) < 3.1 * 16000 and not notices
    assert progress.step.call_args.args[2] == 76


def test_memory_is_bounded(tmp_path, out, recorder):
    """Decoded frames waiting for their restoration are a window, however long the video."""
    source = write_video(tmp_path / 'in.mp4', 60, audio=None)
    waiting, written = [], []

    class Watching(Restorer):
        def residuals(self, crops, audio):
            def counted():
                for image in crops:
                    waiting.append(1)
                    yield image
            for residual in super().residuals(counted(), audio):
                written.append(len(waiting) - len(written))
                yield residual

    base = make_restorer()
    restore(source, out, Watching(base.spec, base.networks, 'cpu', batch=2))
    assert len(written) == 60 and max(written) <= 2 * 3 + 2


def test_real_networks_on_a_found_face(tmp_path, monkeypatch):
    """A talking head in a larger image: the real tracker, GAVN and landmark detector, with audio."""
    monkeypatch.undo()
    head = pytest.importorskip('gavn.experiments.synthetic.head', reason='needs the demo data')
    clip = head.make_clip(head.identities()[0], 3, 0.4)
    frames = head.place_on_background(clip)
    source, out, bundle = tmp_path / 'in.mp4', tmp_path / 'out.mp4', tmp_path / 'w.safetensors'
    with VideoWriter(source, frames.shape[2], frames.shape[1], 25, audio=clip.audio) as writer:
        for frame in frames:
            writer.write(frame)
    options = {'network_g': {'type': 'GAVN', 'num_feat': 8, 'num_reconstruct_block': [1, 1]},
               'network_l': {'type': 'PFLDAV', 'width': 0.25},
               'network_inputs': ['lq', 'audio', 'landmarks', 'region']}
    spec = ModelSpec.parse(options, 'here')
    networks = spec.build()
    networks['network_g'].reconstruction.last.weight.data.mul_(10)
    Restorer(spec, networks, 'cpu').save(bundle)
    report = restore_video.restore_video(source, out, Restorer.load(bundle, 'cpu', batch=2))
    assert (report.frames_in, report.frames_out, report.restored) == (10, 10, 10)
    assert audio_packets(out) == audio_packets(source)
    old, new = list(read_frames(source)), list(read_frames(out))
    assert [frame.time for frame in new] == [frame.time for frame in old]
    assert max(np.abs(b.image.astype(int) - a.image).mean() for a, b in zip(old, new, strict=True)) < 6
