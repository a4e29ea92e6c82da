"""The command line: outputs keep the streams of inputs; bad input gets a message and loses nothing."""
import re
import runpy
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import restore_fakes
import torch
import yaml
from restore_fakes import audio_packets, fixed_face, make_restorer, write_variable, write_video

import gavn
from gavn.checkpoints.checkpoint import save_bundle
from gavn.cli import demo
from gavn.cli import main as cli
from gavn.faces.tracker import NoFace
from gavn.media import probe, read_frames
from gavn.restoration import job, restore_video, resume_state, segment_encoder
from gavn.restoration.restorer import Restorer
from gavn.runtime.project import install_command


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    monkeypatch.setattr(job, 'follow_faces', fixed_face())


@pytest.fixture(scope='module')
def talking(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp('video') / 'in.mp4', 12, audio=0.48)


def run(*args, capsys=None):
    code = cli.main([str(arg) for arg in args])
    return (code, capsys.readouterr()) if capsys else code


def leftovers(folder: Path, *expected: Path) -> bool:
    return sorted(folder.iterdir()) != sorted(expected)


# ---- what comes out has what went in

def test_restores_a_file(tmp_path, talking, weights, capsys):
    out = tmp_path / 'out.mp4'
    code, said = run('restore', talking, '-o', out, '--weights', weights, capsys=capsys)
    assert code == 0 and '12 of 12 frames, 1 face, 12 restored, 0 unchanged' in said.out
    assert not leftovers(tmp_path, out, tmp_path / 'out.mp4.json')
    before, after = probe(talking), probe(out)
    assert (after.width, after.height, after.frames) == (before.width, before.height, 12)
    old, new = list(read_frames(talking)), list(read_frames(out))
    assert [frame.time for frame in new] == [frame.time for frame in old]
    assert audio_packets(out) == audio_packets(talking) and len(audio_packets(out)) > 3
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


# ---- bad input

def test_no_audio_track(tmp_path, weights, caplog):
    source = write_video(tmp_path / 'in.mp4', 4, audio=None)
    assert run('restore', source, '-o', tmp_path / 'out.mp4', '--weights', weights) == 0
    assert 'no readable audio track' in caplog.text
    assert not probe(tmp_path / 'out.mp4').audio_tracks and len(list(read_frames(tmp_path / 'out.mp4'))) == 4


@pytest.mark.parametrize(('audio', 'notice'), [(None, 'audio'), (0.1, 'silence as audio')])
def test_networks_of_images_alone_miss_no_audio(tmp_path, caplog, audio, notice):
    """That they receive silence would be wrong; how the track differs from the video is still reported."""
    make_restorer().save(tmp_path / 'w.safetensors')
    source = write_video(tmp_path / 'in.mp4', 12, audio)
    assert run('restore', source, '-o', tmp_path / 'out.mp4', '--weights', tmp_path / 'w.safetensors') == 0
    assert notice not in caplog.text and (audio is None or 'before the video' in caplog.text)


def test_audio_shorter_than_the_video(tmp_path, weights, caplog):
    source = write_video(tmp_path / 'in.mp4', 25, audio=0.3)
    assert run('restore', source, '-o', tmp_path / 'out.mp4', '--weights', weights) == 0
    assert 'before the video' in caplog.text
    assert len(list(read_frames(tmp_path / 'out.mp4'))) == 25
    assert audio_packets(tmp_path / 'out.mp4') == audio_packets(source)


def test_one_frame(tmp_path, weights):
    source = write_video(tmp_path / 'in.mp4', 1, audio=None)
    assert run('restore', source, '-o', tmp_path / 'out.mp4', '--weights', weights) == 0
    assert len(list(read_frames(tmp_path / 'out.mp4'))) == 1


def test_no_frames(tmp_path, talking, weights, capsys):
    """A file with a video stream without a single packet in it."""
    source = tmp_path / 'in.mkv'
    with av.open(str(talking)) as voice, av.open(str(source), 'w') as out:
        out.add_stream_from_template(voice.streams.video[0])
        audio = out.add_stream_from_template(voice.streams.audio[0])
        for packet in voice.demux(audio=0):
            if packet.dts is not None:
                packet.stream = audio
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
    def none(frames, **_):
        raise NoFace(f'no face in {sum(1 for _ in frames)} frames')

    monkeypatch.setattr(job, 'follow_faces', none)
    out = tmp_path / 'out.mp4'
    out.write_bytes(b'precious')
    code, said = run('restore', talking, '-o', out, '--weights', weights, '--force', capsys=capsys)
    assert code == 3 and 'in.mp4: no face in 12 frames' in said.err and 'no output was written' in said.err
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
    monkeypatch.setattr('os.access', lambda *_: False)  # root may write anywhere
    code, said = run('restore', talking, '-o', tmp_path / 'out.mp4', '--weights', weights, capsys=capsys)
    assert code == 2 and 'read-only' in said.err and not leftovers(tmp_path)


@pytest.mark.parametrize('name', ['out', 'out.d/out', '-'])
def test_an_output_without_extension(tmp_path, talking, capsys, monkeypatch, name):
    """It is a folder only with a slash at the end."""
    monkeypatch.chdir(tmp_path)
    code, said = run('restore', talking, '-o', name, capsys=capsys)
    assert code == 2 and f'{name} has no extension\n  use {name}.mp4, or {name}/ for a folder' in said.err


def test_unknown_container(tmp_path, talking, weights, capsys):
    code, said = run('restore', talking, '-o', tmp_path / 'out.xyz', '--weights', weights, capsys=capsys)
    assert code == 4 and 'out.xyz' in said.err and not leftovers(tmp_path)


@pytest.mark.parametrize(('failure', 'code', 'words'), [
    (KeyboardInterrupt(), 130, 'rerun the same command'),
    (OSError(28, 'No space left on device'), 1, 'no space left')])
def test_broken_off(tmp_path, talking, weights, capsys, monkeypatch, failure, code, words):
    """Ctrl-C or a full disk half-way: the old output stays, and the same command resumes."""
    monkeypatch.setattr(resume_state, 'SEGMENT_FRAMES', 5)
    out = tmp_path / 'out.mp4'
    out.write_bytes(b'precious')
    real, done = segment_encoder.changed, []

    def changed(*args):
        done.append(1)
        if len(done) == 7:
            raise failure
        return real(*args)

    monkeypatch.setattr(segment_encoder, 'changed', changed)
    got, said = run('restore', talking, '-o', out, '--weights', weights, '--force', capsys=capsys)
    assert got == code and words in said.err and 'Traceback' not in said.err
    assert out.read_bytes() == b'precious' and not leftovers(tmp_path, out, tmp_path / 'out.mp4.gavn')
    assert run('restore', talking, '-o', out, '--weights', weights, '--force') == 0
    assert probe(out).frames == 12 and not leftovers(tmp_path, out, tmp_path / 'out.mp4.json')
    assert len(done) == 7 + 7


# ---- the parser and the other verbs

@pytest.mark.parametrize('args', [
    [], ['repair'], ['restore'], ['restore', 'a.mp4', '--task', 'mixed', '--weights', 'w'],
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


def test_the_command_alone_and_help_list_the_verbs(capsys):
    """`gavn` alone named a missing VERB, and none of the verbs; `gavn help` was an unknown verb."""
    said = []
    for args, code in (([], 2), (['help'], 0), (['--help'], 0)):
        with pytest.raises(SystemExit) as stop:
            cli.main(args)
        assert stop.value.code == code
        said.append(capsys.readouterr())
    assert said[0].err == said[1].out == said[2].out
    assert all(f'{verb} ' in said[0].err for verb in cli.VERBS)
    with pytest.raises(SystemExit) as stop:
        cli.main(['help', 'models'])
    assert stop.value.code == 0 and 'usage: gavn models' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(['models'])
    assert 'list,fetch,verify' in capsys.readouterr().err


def test_python_m_gavn_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['gavn', '--version'])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module('gavn', run_name='__main__')
    assert stop.value.code == 0 and capsys.readouterr().out == f'gavn {gavn.__version__}\n'


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


def test_bundle_finds_option_files_as_training_does(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = 'options/train_edvr_car.yml'  # of the checkout, or of an installed package
    assert run('bundle', '-opt', file, '-o', 'b.safetensors', '--weights', 'no.pth') == 5
    monkeypatch.setattr('gavn.restoration.model_spec.project_root', lambda: tmp_path)
    assert run('bundle', '-opt', file, '-o', 'b.safetensors') == 5
    last = 'experiments/train_edvr_car/models/net_g_latest.pth does not exist'
    said = capsys.readouterr().err
    assert re.search(rf'{last} \(looked in .*\)\n  give the checkpoint as --weights\n$', said)


def test_bundle_takes_the_changes_of_a_training(tmp_path, capsys):
    """A run with --with has a name and options that its file alone does not have."""
    opt, overlay, path = tmp_path / 'o.yml', tmp_path / 'small.yml', tmp_path / 'b.safetensors'
    opt.write_text(yaml.safe_dump({
        'name': 'run', 'network_g': {'type': 'FakeRestorer', 'radius': 1}, 'train': {'total_iter': 1}}))
    overlay.write_text('overlay: {suffix: small}\nnetwork_g: {radius: 3}\n')
    last = tmp_path / 'experiments/run_small/models/net_g_latest.pth'
    last.parent.mkdir(parents=True)
    torch.save({'params': restore_fakes.FakeRestorer(9.).state_dict()}, last)
    code, said = run('bundle', '-opt', opt, '--with', overlay, '-o', path, '--force_yml',
                     f'path:experiments_root={tmp_path}/experiments', capsys=capsys)
    assert code == 0 and f'from {last} ' in said.out
    assert Restorer.load(path, 'cpu').layout.outputs == 7


def test_demo(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(demo, 'make_demo', lambda *args: seen.append(args))
    assert run('demo', '--task', 'sr', '--size', 'smallest') == 0 and seen == [('sr', 'smallest')]

    def fail(*_):
        raise demo.DemoError('step 2 ended')

    monkeypatch.setattr(demo, 'make_demo', fail)
    code, said = run('demo', capsys=capsys)
    assert code == 1 and said.err == 'error: step 2 ended\n'


def test_script_is_the_same_command(tmp_path, monkeypatch, capsys):
    script = Path(__file__).resolve().parents[2] / 'inference/restore_video.py'
    args = ['in.mp4', '-o', str(tmp_path / 'out.mp4'), '--weights', 'none.safetensors']
    monkeypatch.setattr(sys, 'argv', [str(script), *args])
    with pytest.raises(SystemExit) as error:
        runpy.run_path(str(script), run_name='__main__')
    assert error.value.code == 5 and capsys.readouterr().err.startswith('error: weights none.safetensors')


def test_public_names():
    assert gavn.Restorer is Restorer and gavn.restore_video is restore_video.restore_video


def test_prepare_says_what_to_install(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, 'datatrove.data', None)
    monkeypatch.delitem(sys.modules, 'gavn.cli.prepare_clips', raising=False)
    assert cli.main(['prepare', '--videos', 'videos', '--out', 'out']) == 2
    assert "'.[prepare]'" in capfd.readouterr().err


@pytest.mark.parametrize('command', [
    'restore talks -o out --executor local',
    'compare --data d --task car --methods gavn --budget 1it --executor local'])
def test_executors_say_what_to_install(monkeypatch, capsys, command):
    monkeypatch.setitem(sys.modules, 'datatrove', None)
    assert run(*command.split()) == 2
    assert capsys.readouterr().err == (
        f'error: --executor needs datatrove: {install_command("cluster")}\n')
