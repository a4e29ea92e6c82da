"""The weights that come with the package, and the choice among them."""
import shutil
from pathlib import Path

import numpy as np
import pytest
from restore_fakes import Recorder, fixed_face, write_video

from gavn.checkpoints import pretrained
from gavn.checkpoints.hub import ModelError
from gavn.cli import main as cli
from gavn.config.option_file import read_options
from gavn.experiments.release.measure import RESULTS
from gavn.media import read_frames
from gavn.metrics.results_file import DEGRADED, MEAN, read_results
from gavn.restoration import job, restore_video, segment_encoder, weight_selection
from gavn.restoration.auto_restorer import AutoRestorer
from gavn.restoration.degradation import KINDS, DegradationEstimate
from gavn.restoration.restorer import Restorer
from gavn.restoration.weight_selection import SAMPLES, sample_crops, weights_for

LAYERS = {'mixed': 'mixed', 'compression': 'car_crf45', 'deblur': 'blur', 'sr': 'sr'}


@pytest.fixture(scope='module')
def gains() -> dict[tuple[str, str], float]:
    """PSNR by layer and method, means over the clips."""
    rows = read_results(pretrained.FOLDER / RESULTS)
    return {(row.run.degradation, row.run.method): row.values['psnr'] for row in rows if row.clip == MEAN}


@pytest.mark.parametrize('name', pretrained.list_pretrained())
def test_pretrained(name, gains):
    """Small, whole, described, loadable, with its options; and better than its input."""
    path = pretrained.weights_of(name)
    assert path.stat().st_size <= 12e6
    restorer = Restorer.from_pretrained(name, device='cpu')
    options, _ = read_options(path.with_suffix('.yml'))
    assert options['network_g'] == restorer.spec.networks['network_g']
    assert options['network_l'].items() >= restorer.spec.networks['network_l'].items()
    assert path.name.removesuffix('.safetensors') in path.with_suffix('.md').read_text(encoding='utf-8')
    layer = LAYERS[name]
    assert gains[layer, name] > gains[layer, DEGRADED] + 0.1
    image = np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8)
    result = list(restorer.restore([image] * 3))
    assert len(result) == 3 and result[0].shape == image.shape


def test_the_usual_weights_are_there():
    assert 'mixed' in pretrained.list_pretrained()


def test_auto_does_no_harm(gains):
    """Clean faces lose at most 0.2 dB; degraded ones gain, and at most a tenth less than with `mixed`."""
    assert gains['clean', 'auto'] >= gains['clean', DEGRADED] - 0.2
    for layer in (*LAYERS.values(), 'blur_stored', 'sr_stored'):
        assert gains[layer, 'auto'] > gains[layer, DEGRADED]
        assert gains[layer, 'auto'] > gains[layer, 'mixed'] - 0.1


def test_damaged_weights_are_refused(home, capsys):
    assert cli.main(['models', 'verify', 'mixed']) == 0
    assert 'mixed: SHA-256 verified' in capsys.readouterr().out
    content = bytearray((home / 'mixed.safetensors').read_bytes())
    content[-1] ^= 1
    (home / 'mixed.safetensors').write_bytes(content)
    with pytest.raises(ModelError, match='damaged'):
        Restorer.from_pretrained('mixed')
    assert cli.main(['models', 'verify', 'mixed']) == 5
    assert cli.main(['models', 'fetch', 'deblur']) == 0
    assert 'deblur comes with gavn' in capsys.readouterr().out
    with pytest.raises(ModelError, match='no weights called car come with gavn; there are mixed, deblur'):
        Restorer.from_pretrained('car')


def _found(kind: str) -> DegradationEstimate:
    return DegradationEstimate(
        kind, {one: float(one == kind) for one in KINDS}, 7, detail=0.5, noise=4.0, blocks=0.1
    )


@pytest.mark.parametrize(('kind', 'gain', 'weights'), [
    ('deblur', 40, 'deblur'), ('mixed', 20, 'mixed'), ('sr', 20, 'mixed'), ('clean', 0, None)])
def test_chosen_by_what_is_found(home, tmp_path, monkeypatch, kind, gain, weights):
    """Weights of the degradation are used, or `mixed`; clean faces are copied; the report says so."""
    source, looked = write_video(tmp_path / 'in.mp4', 8, audio=None), []

    def estimate(crops):
        looked.extend(crops)
        return _found(kind)

    recorder = Recorder()
    monkeypatch.setattr(weight_selection, 'estimate', estimate)
    monkeypatch.setattr(job, 'follow_faces', fixed_face(absent=(1,)))
    monkeypatch.setattr(segment_encoder, 'SegmentWriter', recorder)
    monkeypatch.setattr(segment_encoder.SegmentEncoder, 'check_muxable', lambda *_: None)
    monkeypatch.setattr(job.RestorationJob, '_join', lambda *_: None)
    report = restore_video.restore_video(source, tmp_path / 'out.mp4')
    before = list(read_frames(source))
    assert len(looked) == 7 and {crop.shape for crop in looked} == {(224, 224, 3)}
    if weights:
        change = recorder.images[4].astype(int) - before[4].image
        assert abs(change.max() - gain) <= 2
    assert report.degradation['kind'] == kind
    assert [Path(path).stem for path in report.weights] == ([weights] if weights else [])
    if not weights:
        assert report.copied and not recorder.video_frames
        assert source.read_bytes() == (tmp_path / 'out.mp4').read_bytes()
        assert report.faces and (report.restored, report.passed_through) == (0, 8)
        assert not any('audio' in words for words in report.notices) and 'no degradation' in report.notices[0]
    else:
        assert f'restored with weights {weights}' in ' '.join(report.notices)


@pytest.mark.parametrize(('kind', 'name'), [
    ('deblur', 'deblur'), ('sr', 'sr'), ('compression', 'compression'), ('clean', 'mixed')])
def test_each_degradation_has_its_weights(kind, name):
    assert weights_for(_found(kind)) == name


def test_samples_are_spread(tmp_path):
    """`SAMPLES` of all frames that show a face, the first and the last among them, and no frame beyond."""
    source = write_video(tmp_path / 'in.mp4', 60, audio=None)
    faces = fixed_face(absent=(0, 1, 58, 59))([None] * 60)
    read = []

    def frames():
        for frame in read_frames(source):
            read.append(frame.index)
            yield frame

    assert len(list(sample_crops(frames(), faces))) == SAMPLES
    assert read[-1] == 57


def test_networks_are_loaded_once(home):
    chooser = AutoRestorer('cpu', batch=3)
    assert chooser.named('mixed') is chooser.named('mixed')
    assert chooser.named('mixed').batch == 3
    shutil.rmtree(home)
    assert chooser.named('mixed').device.type == 'cpu'
