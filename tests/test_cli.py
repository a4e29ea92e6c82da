"""The command line, and restoring files: what comes out has what went in; bad input loses nothing."""
import re
import runpy
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import restore_fakes
import torch
import yaml

import gavn
from gavn import cli, demo
from gavn.pipeline import video
from gavn.pipeline.face_tracker import NoFace, Track
from gavn.pipeline.recipe import Recipe
from gavn.pipeline.restorer import Restorer
from gavn.utils.audio import mfcc, mfcc_windows
from gavn.utils.checkpoint import save_bundle
from gavn.utils.faces import Box, feather_mask
from gavn.utils.media import VideoWriter, probe, read_audio, read_frames

WIDTH, HEIGHT = 96, 80
FACE = Box(30, 20, 60, 50)
RADIUS = 42  # of the cropped square around its x centre: (1 + 2 * 0.2) * 15 * 2 / 2


def pictures(count: int) -> list[np.ndarray]:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    return [np.stack([(2 * xx + 5 * i) % 200, (2 * yy + 3 * i) % 200, (xx + yy) % 200], -1).astype(np.uint8)
            for i in range(count)]


def tone(seconds: float) -> np.ndarray:
    return (8000 * np.sin(np.arange(round(16000 * seconds)) * 0.2)).astype(np.int16)


def write_video(path: Path, count: int, sound: float | None) -> Path:
    audio = None if sound is None else tone(sound)
    with VideoWriter(path, WIDTH, HEIGHT, 25, audio=audio, crf=12) as writer:
        for image in pictures(count):
            writer.write(image)
    return path


def write_variable(path: Path, stamps: list[int]) -> Path:
    """A video whose frames stand at `stamps` milliseconds."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 1000)
        for stamp, image in zip(stamps, pictures(len(stamps)), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format='bgr24')
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def sound_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [(packet.pts * packet.time_base, bytes(packet))
                for packet in container.demux(audio=0) if packet.pts is not None]


def fixed_face(absent: tuple[int, ...] = (), cuts: tuple[int, ...] = ()):
    """A tracker that finds FACE in every frame but those `absent`, with a cut before those of `cuts`."""
    def track(frames) -> Track:
        count = sum(1 for _ in frames)
        boxes = [None if i in absent else FACE for i in range(count)]
        starts = [i for i in range(count) if boxes[i] and (i == 0 or not boxes[i - 1] or i in cuts)]
        ends = [next((j for j in range(i + 1, count) if not boxes[j] or j in cuts), count) for i in starts]
        return Track(tuple(boxes), tuple(map(range, starts, ends)))
    return track


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    monkeypatch.setattr(video, 'track_faces', fixed_face())


def make_restorer(gain: float = 20., inputs=('lq',)) -> Restorer:
    options = {'network_g': {'type': 'FakeRestorer', 'gain': gain}, 'network_inputs': inputs}
    recipe = Recipe.parse(options, 'here')
    return Restorer(recipe, recipe.build(), 'cpu')


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('weights') / 'w.safetensors'
    make_restorer(inputs=('lq', 'audio')).save(path)
    return path


@pytest.fixture(scope='module')
def talking(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp('video') / 'in.mp4', 12, sound=0.48)


def run(*args, capsys=None):
    code = cli.main([str(arg) for arg in args])
    return (code, capsys.readouterr()) if capsys else code


def leftovers(folder: Path, *expected: Path) -> bool:
    return sorted(folder.iterdir()) != sorted(expected)


class Recorder:
    """Stands in for the writer: keeps the pictures before they are encoded."""

    def __init__(self, *_) -> None:
        self.images, self.stamps = [], []

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass

    def write(self, image, pts) -> None:
        self.images.append(image)
        self.stamps.append(pts)


@pytest.fixture
def recorder(monkeypatch) -> Recorder:
    kept = Recorder()
    monkeypatch.setattr(video, 'RemuxWriter', lambda *_: kept)
    return kept


# ---- what comes out has what went in

def test_restores_a_file(tmp_path, talking, weights, capsys):
    out = tmp_path / 'out.mp4'
    code, said = run('restore', talking, '-o', out, '--weights', weights, capsys=capsys)
    assert code == 0 and '12 of 12 frames, 12 restored, 0 without a face' in said.out
    assert not leftovers(tmp_path, out)
    before, after = probe(talking), probe(out)
    assert (after.width, after.height, after.frames) == (before.width, before.height, 12)
    old, new = list(read_frames(talking)), list(read_frames(out))
    assert [frame.time for frame in new] == [frame.time for frame in old]
    assert sound_packets(out) == sound_packets(talking) and len(sound_packets(out)) > 3
    middle = [float(np.mean(b.image[45:55, 40:50].astype(float) - a.image[45:55, 40:50]))
              for a, b in zip(old, new, strict=True)]
    corner = [float(np.abs(b.image[:8, :8].astype(float) - a.image[:8, :8]).mean())
              for a, b in zip(old, new, strict=True)]
    assert min(middle) > 10 and max(corner) < 4


def test_variable_frame_rate_is_kept(tmp_path, weights):
    stamps = [0, 33, 77, 80, 160, 400, 401, 450, 900]
    source = write_variable(tmp_path / 'in.mp4', stamps)
    assert run('restore', source, '-o', tmp_path / 'out.mp4', '--weights', weights) == 0
    times = [frame.time for frame in read_frames(tmp_path / 'out.mp4')]
    assert times == pytest.approx([stamp / 1000 for stamp in stamps], abs=1e-9)


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
        assert np.array_equal(frame.image[~inside], image[~inside])
        change = image.astype(int) - frame.image
        assert change[35, 45].tolist() == [30, 30, 30] and change.min() >= 0
        assert change[int(region.y0)].max() <= 3  # no seam
    assert feather_mask()[112, 112] == 1


def test_half_strength_is_half_the_change(talking, recorder):
    video.restore_video(talking, 'unused.mp4', make_restorer(30.), strength=0.5, progress=False)
    first = next(read_frames(talking)).image
    assert (recorder.images[0].astype(int) - first)[35, 45].tolist() == [15, 15, 15]


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


# ---- bad input

def test_no_sound_track(tmp_path, weights, caplog):
    source = write_video(tmp_path / 'in.mp4', 4, sound=None)
    assert run('restore', source, '-o', tmp_path / 'out.mp4', '--weights', weights) == 0
    assert 'no sound track' in caplog.text
    assert not probe(tmp_path / 'out.mp4').has_audio and len(list(read_frames(tmp_path / 'out.mp4'))) == 4


def test_sound_shorter_than_the_video(tmp_path, weights, caplog):
    source = write_video(tmp_path / 'in.mp4', 25, sound=0.3)
    assert run('restore', source, '-o', tmp_path / 'out.mp4', '--weights', weights) == 0
    assert 'before its picture' in caplog.text
    assert len(list(read_frames(tmp_path / 'out.mp4'))) == 25
    assert sound_packets(tmp_path / 'out.mp4') == sound_packets(source)


def test_one_frame(tmp_path, weights):
    source = write_video(tmp_path / 'in.mp4', 1, sound=None)
    assert run('restore', source, '-o', tmp_path / 'out.mp4', '--weights', weights) == 0
    assert len(list(read_frames(tmp_path / 'out.mp4'))) == 1


def test_no_frames(tmp_path, talking, weights, capsys):
    """A file with a video stream without a single packet in it."""
    source = tmp_path / 'in.mkv'
    with av.open(str(talking)) as voice, av.open(str(source), 'w') as out:
        out.add_stream_from_template(voice.streams.video[0])
        sound = out.add_stream_from_template(voice.streams.audio[0])
        for packet in voice.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                out.mux(packet)
    code, said = run('restore', source, '-o', tmp_path / 'out.mp4', '--weights', weights, capsys=capsys)
    assert code == 4 and said.err.startswith('error: ') and 'no frame' in said.err
    assert not leftovers(tmp_path, source)


@pytest.mark.parametrize('content', [None, b'', b'no video at all' * 50], ids=['absent', 'empty', 'text'])
def test_unreadable_input(tmp_path, weights, capsys, content):
    source, out = tmp_path / 'in.mp4', tmp_path / 'out.mp4'
    if content is not None:
        source.write_bytes(content)
    out.write_bytes(b'precious')
    code, said = run('restore', source, '-o', out, '--weights', weights, '--force', capsys=capsys)
    assert code == 4 and said.err.startswith('error: ') and 'in.mp4' in said.err
    assert 'Traceback' not in said.err
    assert out.read_bytes() == b'precious'


def test_no_face(tmp_path, talking, weights, capsys, monkeypatch):
    def none(frames):
        raise NoFace(f'no face in {sum(1 for _ in frames)} frames')

    monkeypatch.setattr(video, 'track_faces', none)
    out = tmp_path / 'out.mp4'
    out.write_bytes(b'precious')
    code, said = run('restore', talking, '-o', out, '--weights', weights, '--force', capsys=capsys)
    assert code == 3 and 'in.mp4: no face in 12 frames' in said.err and 'nothing was written' in said.err
    assert out.read_bytes() == b'precious' and not leftovers(tmp_path, out)


@pytest.mark.parametrize('kind', ['absent', 'no bundle', 'pickle', 'other class', 'other size', 'diverged'])
def test_wrong_weights(tmp_path, talking, capsys, kind):
    path = tmp_path / 'w.safetensors'
    options, network = {'type': 'FakeRestorer'}, restore_fakes.FakeRestorer()
    if kind == 'no bundle':
        path.write_bytes(b'junk')
    elif kind == 'pickle':
        path = tmp_path / 'w.pth'
        torch.save(network, path)
    elif kind == 'other class':
        save_bundle(path, {'network_g': (options, restore_fakes.FakePerFrame())}, {})
    elif kind == 'other size':
        save_bundle(path, {'network_g': (options, torch.nn.ParameterDict({'gain': torch.zeros(3)}))}, {})
    elif kind == 'diverged':
        save_bundle(path, {'network_g': (options, restore_fakes.FakeRestorer(float('nan')))}, {})
    out = tmp_path / 'out.mp4'
    code, said = run('restore', talking, '-o', out, '--weights', path, capsys=capsys)
    assert code == 5 and re.search(r'^error: .+\n(  .+\n)+$', said.err, re.MULTILINE)
    assert not out.exists() and not list(tmp_path.glob('.*'))


def test_output_is_never_lost(tmp_path, talking, weights, capsys):
    out = tmp_path / 'out.mp4'
    out.write_bytes(b'precious')
    code, said = run('restore', talking, '-o', out, '--weights', weights, capsys=capsys)
    assert code == 2 and '--force' in said.err and out.read_bytes() == b'precious'
    assert run('restore', talking, '-o', out, '--weights', weights, '--force') == 0
    assert probe(out).frames == 12


def test_input_is_never_overwritten(tmp_path, talking, weights, capsys):
    source, link = tmp_path / 'in.mp4', tmp_path / 'link.mp4'
    source.write_bytes(talking.read_bytes())
    link.symlink_to(source)
    for target in (source, link, tmp_path / '..' / tmp_path.name / 'in.mp4'):
        code, said = run('restore', source, '-o', target, '--weights', weights, '--force', capsys=capsys)
        assert code == 2 and 'is the input' in said.err
    assert source.read_bytes() == talking.read_bytes()


def test_target_folder(tmp_path, talking, weights, capsys, monkeypatch):
    code, said = run('restore', talking, '-o', tmp_path / 'none/out.mp4', '--weights', weights, capsys=capsys)
    assert code == 2 and 'does not exist' in said.err and not leftovers(tmp_path)
    code, said = run('restore', talking, '-o', tmp_path, '--weights', weights, capsys=capsys)
    assert code == 2 and 'is a folder' in said.err
    monkeypatch.setattr(video.os, 'access', lambda *_: False)  # root may write anywhere
    code, said = run('restore', talking, '-o', tmp_path / 'out.mp4', '--weights', weights, capsys=capsys)
    assert code == 2 and 'read-only' in said.err and not leftovers(tmp_path)


def test_unknown_container(tmp_path, talking, weights, capsys):
    code, said = run('restore', talking, '-o', tmp_path / 'out.xyz', '--weights', weights, capsys=capsys)
    assert code == 4 and 'out.xyz' in said.err and not leftovers(tmp_path)


@pytest.mark.parametrize(('failure', 'code', 'words'), [
    (KeyboardInterrupt(), 130, 'interrupted'), (OSError(28, 'No space left on device'), 1, 'No space left')])
def test_broken_off(tmp_path, talking, weights, capsys, monkeypatch, failure, code, words):
    """Ctrl-C or a full disk half-way: the old output stays, no part is left."""
    out = tmp_path / 'out.mp4'
    out.write_bytes(b'precious')
    real = video.paste
    done = []

    def paste(*args):
        done.append(1)
        if len(done) == 7:
            raise failure
        return real(*args)

    monkeypatch.setattr(video, 'paste', paste)
    got, said = run('restore', talking, '-o', out, '--weights', weights, '--force', capsys=capsys)
    assert got == code and words in said.err and 'Traceback' not in said.err
    assert out.read_bytes() == b'precious' and not leftovers(tmp_path, out)


# ---- the parser and the other verbs

@pytest.mark.parametrize('args', [
    [], ['repair'], ['restore', 'a.mp4'], ['restore', 'a.mp4', '-o', 'b.mp4'],
    ['restore', 'a.mp4', '-o', 'b.mp4', '--weights', 'w', '--strength', '1.5'],
    ['restore', 'a.mp4', '-o', 'b.mp4', '--weights', 'w', '--crf', '52'],
    ['restore', 'a.mp4', '-o', 'b.mp4', '--weights', 'w', '--batch', '0'],
    ['restore', 'a.mp4', '-o', 'b.mp4', '--weights', 'w', '--preset', 'warp'],
    ['restore', 'a.mp4', '-o', 'b.mp4', '--weights', 'w', '--color', 'x'],
])
def test_usage_errors(args, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(args)
    assert error.value.code == 2 and 'usage: gavn' in capsys.readouterr().err


def test_absent_device(talking, weights, tmp_path, capsys):
    args = 'restore', talking, '-o', tmp_path / 'o.mp4', '--weights', weights, '--device', 'cuda:77'
    code, said = run(*args, capsys=capsys)
    assert code == 2 and 'cuda:77' in said.err


def test_bundle(tmp_path, talking, capsys):
    torch.save({'params': restore_fakes.FakeRestorer(9.).state_dict()}, tmp_path / 'g.pth')
    opt = tmp_path / 'o.yml'
    opt.write_text(yaml.safe_dump({'network_g': {'type': 'FakeRestorer'}, 'network_inputs': ['lq']}))
    path = tmp_path / 'b.safetensors'
    code, said = run('bundle', '-opt', opt, '-o', path, '--weights', tmp_path / 'g.pth', capsys=capsys)
    assert code == 0 and str(path) in said.out and 'sha256' in said.out
    assert run('bundle', '-opt', opt, '-o', path, '--weights', tmp_path / 'g.pth') == 2
    assert run('bundle', '-opt', opt, '-o', tmp_path / 'c.safetensors') == 5
    assert run('bundle', '-opt', tmp_path / 'no.yml', '-o', tmp_path / 'c.safetensors') == 2
    assert run('restore', talking, '-o', tmp_path / 'out.mp4', '--weights', path) == 0


@pytest.mark.parametrize('verb', ['train', 'test'])
def test_train_and_test_pass_their_arguments_on(verb, monkeypatch):
    seen = []
    module = __import__(f'gavn.{verb}', fromlist=['main'])
    monkeypatch.setattr(module, 'main', lambda: seen.append(sys.argv[1:]))
    monkeypatch.setattr(sys, 'argv', ['gavn'])
    assert cli.main([verb, '-opt', 'o.yml', '--auto_resume', '--force_yml', 'a:b=1']) == 0
    assert seen == [['-opt', 'o.yml', '--auto_resume', '--force_yml', 'a:b=1']]


def test_demo(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(demo, 'run', lambda *args: seen.append(args))
    assert run('demo', '--task', 'sr', '--size', 'smallest') == 0 and seen == [('sr', 'smallest')]

    def fail(*_):
        raise demo.DemoError('step 2 ended')

    monkeypatch.setattr(demo, 'run', fail)
    code, said = run('demo', capsys=capsys)
    assert code == 1 and said.err == 'error: step 2 ended\n'


def test_script_is_the_same_command(tmp_path, monkeypatch, capsys):
    script = Path(__file__).resolve().parents[1] / 'inference/restore_video.py'
    args = ['in.mp4', '-o', str(tmp_path / 'out.mp4'), '--weights', 'none.safetensors']
    monkeypatch.setattr(sys, 'argv', [str(script), *args])
    with pytest.raises(SystemExit) as error:
        runpy.run_path(str(script), run_name='__main__')
    assert error.value.code == 5 and capsys.readouterr().err.startswith('error: weights none.safetensors')


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


def test_public_names():
    assert gavn.Restorer is Restorer and gavn.restore_video is video.restore_video
