"""What is wrong with the crops of a video: drawn faces, real ones where there are any, and the fit."""
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from gavn.data.clip_store import ClipEntry, ClipWriter
from gavn.data.degradation import downscale, gaussian_blur
from gavn.data.mixture import Mixture
from gavn.experiments.release.classifier_features import SampleFeatures
from gavn.experiments.release.classifier_fit import (
    decision_table,
    fit,
    fit_with_thresholds,
    held_out,
    raise_thresholds,
    thresholds,
)
from gavn.experiments.release.classifier_samples import RECIPES, kind_of, make_samples
from gavn.experiments.synthetic.head import make_clip
from gavn.media import compress, read_frames
from gavn.restoration.degradation import KINDS, DegradationClassifier, DegradationEstimate, estimate

DEGRADATIONS = {
    'clean': lambda frames: frames,
    'compression': lambda frames: compress(frames, 45),
    'deblur': lambda frames: gaussian_blur(frames, 21),
    'sr': lambda frames: downscale(frames, 4),
}


@pytest.fixture(scope='module')
def frames():
    pytest.importorskip('skimage')
    return list(make_clip('ben', 0, 12 / 25).frames)


def noisy(frames, sigma):
    return Mixture(noise=sigma).apply(frames)


@pytest.mark.parametrize('kind', DEGRADATIONS)
def test_drawn_faces_are_reported_apart(frames, kind):
    found = estimate(DEGRADATIONS[kind](frames)[2::3])
    assert found.kind == kind == max(found.probabilities, key=found.probabilities.get)
    assert found.frames == 4 and sum(found.probabilities.values()) == pytest.approx(1)
    assert found.describe().endswith(f'({100 * found.probabilities[kind]:.0f} %)')


def test_what_no_specialist_is_made_for_is_mixed(frames):
    both = noisy(compress(downscale(frames, 3), 35), 8)
    assert estimate(both[2::3]).kind == 'mixed'


def test_a_good_code_leaves_a_face_clean(frames):
    assert estimate(compress(frames, 20)[2::3]).kind == 'clean'


def test_measures_follow_the_degradation(frames):
    def measured(name, versions):
        return [getattr(estimate(version[2:4]), name) for version in versions]

    detail = measured('detail', [frames, *(gaussian_blur(frames, kernel) for kernel in (7, 15, 25))])
    noise = measured('noise', [noisy(frames, sigma) for sigma in (2, 5, 10)])
    blocks = measured('blocks', [frames, compress(frames, 35), compress(frames, 45)])
    assert detail == sorted(detail, reverse=True) and detail[0] > 0.5 and detail[-1] < 0.3
    assert noise == pytest.approx([2, 5, 10], rel=0.3)  # the quietest tenth
    assert blocks == sorted(blocks) and blocks[-1] > 2 * blocks[0]


def test_the_same_crops_give_the_same_answer_in_any_order(frames):
    assert estimate(frames[:3]) == estimate(iter(frames[:3]))
    swapped = estimate(frames[2::-1])
    assert swapped.probabilities == pytest.approx(estimate(frames[:3]).probabilities, abs=1e-9)


@pytest.mark.parametrize(('crops', 'words'), [
    ([], 'no face crops'), ([np.zeros((224, 224), np.uint8)], r'uint8 \(h, w, 3\), not uint8 \(224, 224\)'),
    ([np.zeros((224, 224, 3), np.float32)], 'float32'), ([np.zeros((32, 224, 3), np.uint8)], '64 pixels')])
def test_what_is_no_crop(crops, words):
    with pytest.raises(ValueError, match=words):
        estimate(crops)


def test_a_flat_image_has_neither_detail_nor_noise():
    found = estimate([np.full((224, 224, 3), 90, np.uint8)])
    assert found.detail == found.noise == found.blocks == 0
    assert np.isfinite(list(found.probabilities.values())).all()


@pytest.mark.parametrize('kind', DEGRADATIONS)
def test_a_real_face(shared, kind):
    clip = shared / 'clips/many_speakers/hdtf_radio2.mp4'
    frames = [frame.image[100:324, 144:368] for frame in islice(read_frames(clip), 12)]
    assert estimate(DEGRADATIONS[kind](frames)[2::3]).kind == kind


def test_below_its_threshold_a_kind_is_not_believed():
    model = DegradationClassifier(*[np.zeros(1)] * 4, {'sr': 0.8, 'clean': 0.5})
    assert model.decide(np.array([.1, 0, 0, .8, .1])) == 'sr'
    assert model.decide(np.array([.2, 0, 0, .75, .05])) == 'mixed'
    assert model.decide(np.array([.6, 0, 0, .4, 0])) == 'clean'
    unsure = DegradationEstimate('mixed', dict(zip(KINDS, (.2, 0, 0, .75, .05), strict=True)), 4, 1., 0., 0.)
    assert unsure.describe() == 'unclear: low resolution (75 %) or no degradation (20 %)'


def test_a_fit_finds_its_kinds_again(tmp_path):
    draw = np.random.default_rng(0)
    kinds = [KINDS[index % 5] for index in range(200)]
    features = np.array([[KINDS.index(kind), (KINDS.index(kind) - 2) ** 2] for kind in kinds])
    features = features + draw.normal(0, 0.1, features.shape)
    model = fit(features, kinds)
    assert [KINDS[index] for index in model.probabilities(features).argmax(1)] == kinds
    shares = held_out(features, kinds, [str(index // 10) for index in range(200)])
    assert (shares.argmax(1) == [KINDS.index(kind) for kind in kinds]).mean() > 0.95
    replace(model, thresholds={'sr': 0.5}).write(tmp_path / 'numbers.json')
    again = DegradationClassifier.read(tmp_path / 'numbers.json')
    assert again.thresholds == {'sr': 0.5}
    older = (tmp_path / 'numbers.json').read_text().replace('"thresholds"', '"enough"')
    (tmp_path / 'older.json').write_text(older)
    assert DegradationClassifier.read(tmp_path / 'older.json').thresholds == {'sr': 0.5}
    assert again.probabilities(features) == pytest.approx(model.probabilities(features), abs=1e-3)
    with pytest.raises(ValueError, match='no samples of clean, mixed'):
        fit(features[:3], KINDS[1:4])


def test_thresholds_come_from_held_out_speakers():
    draw = np.random.default_rng(0)

    def sample(index, kind):
        place = np.array([KINDS.index(kind), (KINDS.index(kind) - 2) ** 2]) + draw.normal(0, 0.1, 2)
        return SampleFeatures(f'clip{index}', 'made', kind, place)

    samples = [sample(index, KINDS[index % 5]) for index in range(200)]
    between = replace(samples[0], kind=None)
    model, report = fit_with_thresholds([*samples, between], {f'clip{i}': str(i // 10) for i in range(200)})
    assert model.thresholds == {'clean': 0.5, 'compression': 0.5, 'deblur': 0.9, 'sr': 0.9}
    assert report.startswith('200 samples, thresholds ')
    table = decision_table([*samples, between], model).splitlines()
    assert table[0].split() == list(KINDS) and len(table) == 7
    assert table[-1].split() == ['made', '(between)', '1', '.', '.', '.', '.']


def test_thresholds_by_hand():
    shares = np.array([[0, .52, 0, 0, .4], [0, .62, 0, 0, .3], [0, .9, 0, 0, .1]])

    def threshold(kinds, precision):
        return thresholds(shares, kinds, {'compression': precision})['compression']

    assert threshold(['mixed', 'compression', 'compression'], 0.9) == 0.55
    assert threshold(['mixed', 'mixed', 'compression'], 0.9) == 0.65
    assert threshold(['mixed', 'mixed', 'compression'], 0.3) == 0.5
    assert threshold(['mixed'] * 3, 0.9) > 1
    assert raise_thresholds({'clean': 0.5, 'sr': 0.6, 'deblur': 1.01}) == {
        'clean': 0.5, 'sr': 0.9, 'deblur': 1.01}


@pytest.mark.parametrize(('mixture', 'kind'), [
    (Mixture(), 'clean'), (Mixture(crf=20, noise=2.), 'clean'), (Mixture(crf=26), None),
    (Mixture(crf=20, crf_again=34), 'compression'), (Mixture(crf=35, noise=3.), 'mixed'),
    (Mixture(noise=9.), 'mixed'), (Mixture(factor=2., crf=40), 'mixed'), (Mixture(sigma=(1, 2)), 'mixed')])
def test_what_a_mixture_counts_as(mixture, kind):
    assert kind_of(mixture) == kind


def test_samples_are_a_function_of_clip_and_seed(tmp_path):
    draw = np.random.default_rng(0)
    smooth = gaussian_blur(list(draw.integers(0, 255, (14, 64, 64, 3), np.uint8)), 5)
    ClipWriter(tmp_path).frames('gt', 'a', smooth)
    entry = ClipEntry('a', 14, (64, 64, 3))
    first, again = list(make_samples(tmp_path, entry, 0)), list(islice(make_samples(tmp_path, entry, 0), 4))
    assert len(first) == sum(count for count, _ in RECIPES.values())
    assert {sample.kind for sample in first} >= set(KINDS)
    assert all(np.array_equal(a.crops, b.crops) for a, b in zip(first, again, strict=False))
    assert not np.array_equal(first[0].crops, next(make_samples(tmp_path, entry, 1)).crops)
    with pytest.raises(ValueError, match='11 frames'):
        next(make_samples(tmp_path, ClipEntry('a', 11, (64, 64, 3)), 0))
