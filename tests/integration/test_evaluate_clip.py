"""Clips in numbers: the restored one, its input and the truth, and what cannot be measured."""
import copy
import importlib.util

import cv2
import numpy as np
import pytest
import torch
import torchvision

from gavn.archs.syncnet_arch import SyncNet
from gavn.metrics import clip_metrics
from gavn.metrics.clip_metrics import MetricFactory, check_metrics, metric_factories, metric_factory
from gavn.metrics.evaluate import RESTORED, EvaluatedFrame, evaluate_clip, is_lower_better
from gavn.metrics.missing import MissingWeightsError, UndefinedMetricError
from gavn.metrics.results_file import DEGRADED, TRUTH, RunInfo
from gavn.metrics.table import COLUMNS, METRICS, STANDARD

PSNR = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}
NME = {'nme': {'type': 'landmark_nme'}}


def flat_image(level: int, side: int = 16) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


def face(shift: float = 0.0) -> torch.Tensor:
    points = torch.rand(68, 2, generator=torch.Generator().manual_seed(0))
    points[36], points[45] = torch.tensor([0.3, 0.4]), torch.tensor([0.7, 0.4])
    return points + torch.tensor([shift, 0.0])


def psnr(error: float) -> float:
    return 20 * np.log10(255 / error)


def evaluate(frames, metrics, **options):
    return evaluate_clip(frames, metric_factories(metrics), **options)


def test_one_pass_measures_result_input_and_truth():
    frames = (EvaluatedFrame(flat_image(100 + error), flat_image(110), flat_image(100), face(0.02), face())
              for error in (2, 4))
    found = evaluate(frames, PSNR | NME)
    assert found.frames == 2 and list(found.subjects) == [RESTORED, DEGRADED, TRUTH]
    restored = found.subjects[RESTORED].values
    assert restored['psnr'] == pytest.approx((psnr(2) + psnr(4)) / 2)
    assert restored['nme'] == pytest.approx(5, rel=1e-4)  # 0.02 of an eye distance of 0.4
    assert restored['nme_mouth'] == pytest.approx(5, rel=1e-4)
    assert found.subjects[DEGRADED].values == {'psnr': pytest.approx(psnr(10))}
    assert found.subjects[TRUTH].values == {}  # it is not compared with itself


def test_a_measure_without_truth_needs_none():
    wide = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    niqe = {'niqe': {'type': 'calculate_niqe'}}
    found = evaluate([EvaluatedFrame(wide, wide // 2)], niqe).subjects
    assert list(found) == [RESTORED, DEGRADED] and found[RESTORED].values != found[DEGRADED].values
    true = evaluate([EvaluatedFrame(wide // 2, truth=wide)], niqe).subjects
    assert true[TRUTH].values == found[RESTORED].values


def test_only_the_subjects_that_are_asked_for_are_measured():
    frame = EvaluatedFrame(flat_image(3), flat_image(3), flat_image(4))
    assert list(evaluate([frame], PSNR, subjects=(RESTORED,)).subjects) == [RESTORED]


def test_what_a_clip_lacks_gives_no_column():
    assert evaluate([EvaluatedFrame(flat_image(3))], PSNR | NME).subjects[RESTORED].values == {}
    assert evaluate([EvaluatedFrame(flat_image(3), flat_image(3), flat_image(4))], {}).frames == 1
    assert evaluate([], PSNR).subjects == {}


def test_images_of_different_sizes_are_an_error():
    small, large = flat_image(1, 16), flat_image(1, 20)
    with pytest.raises(ValueError, match='frame 1: the restored image is 16x16, the ground truth'):
        evaluate([EvaluatedFrame(small, truth=small), EvaluatedFrame(small, truth=large)], PSNR)
    with pytest.raises(ValueError, match=r'frame 0: .* the degraded image 20x20'):
        evaluate([EvaluatedFrame(small, large)], {})


def test_psnr_of_the_mouth_alone():
    """Only what lies in the box of the lips counts, and only where these are known."""
    truth, points = flat_image(100, 32), face()
    points[48:68] = torch.linspace(0.4, 0.6, 20)[:, None]
    inside, outside = truth.copy(), truth.copy()
    inside[15:17, 15:17] += 9
    outside[2:4] += 9
    mouth = {'psnr_mouth': {'type': 'mouth_psnr'}}
    spoilt, other, unknown = (
        evaluate([EvaluatedFrame(image, truth=truth, true_landmarks=true)], mouth).subjects[RESTORED].values
        for image, true in ((inside, points), (outside, points), (inside, None)))
    error = np.sqrt(4 * 9**2 / (20 * 10))  # the box is twice as wide as high, and lies inside
    assert spoilt == {'psnr_mouth': pytest.approx(psnr(error))}
    assert other == {'psnr_mouth': 100.0} and unknown == {}


def test_landmark_error_of_the_mouth():
    wrong = face()
    wrong[48:, 1] += 0.04
    frame = EvaluatedFrame(flat_image(3), None, None, wrong, face())
    values = evaluate([frame], NME).subjects[RESTORED].values
    assert values == {'nme': pytest.approx(10 * 20 / 68, rel=1e-4), 'nme_mouth': pytest.approx(10, rel=1e-4)}


@pytest.mark.parametrize(('metrics', 'words'), [
    ({'magic': {'type': 'calculate_magic'}}, 'calculate_magic'),
    ({'psnr': {'type': 'calculate_psnr', 'crop': 1}}, "no option 'crop'"),
    ({'sync': {'type': 'sync', 'weight': 'x'}}, "sync has no option 'weight'"),
    ({'nme': {'type': 'landmark_nme', 'mouth': True}}, "landmark_nme has no option 'mouth'"),
    ({'nme': {'type': 'landmark_nme'}, 'nme_mouth': {'type': 'calculate_niqe'}}, "the column 'nme_mouth'"),
])
def test_metrics_that_are_not_known_are_errors(metrics, words):
    with pytest.raises(ValueError, match=words):
        check_metrics(metrics)


def test_the_usual_metrics_give_the_usual_columns():
    check_metrics(STANDARD)
    columns = [column for key, metric in STANDARD.items()
               for column in METRICS[metric['type']].columns(key)]
    assert columns == list(COLUMNS)
    for key, metric in STANDARD.items():
        first = METRICS[metric['type']].columns(key)[0]
        assert is_lower_better(metric) == (COLUMNS[first].better == 'lower')


# ---- what cannot be measured

def flat():
    return [EvaluatedFrame(flat_image(90, 192), flat_image(80, 192), flat_image(70, 192))]


def test_what_has_no_value_is_noted_and_the_rest_is_measured():
    found = evaluate(flat(), {'niqe': {'type': 'calculate_niqe'}} | PSNR).subjects
    assert found[RESTORED].values == {'niqe': None, 'psnr': pytest.approx(psnr(20))}
    assert found[RESTORED].notes == 'niqe: NIQE needs texture: the image is flat'
    assert found[TRUTH].values == {'niqe': None}


def test_values_that_are_no_numbers_are_not_averaged():
    item = MetricFactory(('x', 'y'), (), lambda _: clip_metrics.MeanOverFrames(lambda _: (1.0, float('nan'))))
    scores = evaluate_clip(flat(), [item]).subjects[RESTORED]
    assert scores.values == {'x': None, 'y': None} and scores.notes.startswith('x, y: ')


def test_missing_weights_are_noted_once_and_make_no_number(monkeypatch):
    def without(device, weights=None):
        raise MissingWeightsError('no weights\nfetch them')

    monkeypatch.setitem(clip_metrics._OF_CLIPS, 'lpips', without)
    told = []
    metrics = {'lpips': {'type': 'lpips'}} | PSNR
    items = metric_factories(metrics, missing=lambda *args: told.append(args))
    assert told == [('lpips', 'no weights\nfetch them')]
    for _ in range(2):
        found = evaluate_clip(flat(), items).subjects
        assert found[RESTORED].values['lpips'] is None and found[RESTORED].values['psnr'] > 0
        assert found[DEGRADED].notes == 'lpips: no weights; fetch them'
        assert found[TRUTH].values == {}  # it would not apply with weights either
    assert len(told) == 1
    with pytest.raises(MissingWeightsError):
        metric_factory('lpips', {'type': 'lpips'})


class AudioMetric:
    """Gives the number of frames and of samples; needs two frames."""

    def __init__(self, audio):
        if audio is None:
            raise UndefinedMetricError('the clip has no audio')
        self.audio, self.count = audio, 0

    def update(self, view):
        self.count += 1

    def result(self):
        if self.count < 2:
            raise UndefinedMetricError(f'{self.count} frames are too few')
        return float(self.count), float(len(self.audio))


def test_clip_metrics_get_audio_and_every_frame():
    item = MetricFactory(('sync_c', 'sync_d'), ('audio',), AudioMetric)
    asked = []

    def audio():
        asked.append(1)
        return np.zeros(640, np.int16)

    found = evaluate_clip(flat() * 3, [item], audio).subjects
    assert [scores.values for scores in found.values()] == [{'sync_c': 3.0, 'sync_d': 640.0}] * 3
    assert len(asked) == 1
    short = evaluate_clip(flat(), [item], audio).subjects[TRUTH]
    assert short.values == dict.fromkeys(('sync_c', 'sync_d'))
    assert short.notes == 'sync_c, sync_d: 1 frames are too few'
    silent = evaluate_clip(flat(), [item]).subjects[RESTORED]
    assert silent.notes == 'sync_c, sync_d: the clip has no audio'
    evaluate_clip(flat(), metric_factories(PSNR), audio)
    assert len(asked) == 2  # no other metric reads audio


def test_every_metric_measures_what_it_can(tmp_path):
    """With random weights: all columns of the three subjects, and the same numbers the second time."""
    torch.save(SyncNet().state_dict(), tmp_path / 'syncnet.pth')
    torch.save({name: value for name, value in torchvision.models.alexnet(weights=None).state_dict().items()
                if name.startswith('features')}, tmp_path / 'alexnet.pth')
    metrics = copy.deepcopy(STANDARD)
    metrics['sync']['weights'], metrics['lpips']['weights'] = (
        str(tmp_path / f'{name}.pth') for name in ('syncnet', 'alexnet'))
    items = metric_factories(metrics)
    texture = np.random.default_rng(0).integers(0, 256, (260, 260, 3), dtype=np.uint8)
    clip = [[cv2.GaussianBlur(texture[i:i + 224, i:i + 224], (0, 0), sigma) for sigma in (2, 3, 1)]
            for i in range(7)]
    first, second = (evaluate_clip((EvaluatedFrame(*images, face(0.1), face()) for images in clip), items,
                                   lambda: np.arange(7 * 640).astype(np.int16)).subjects for _ in range(2))
    lacking = set() if importlib.util.find_spec('dlib') else {'id'}
    alone = {'niqe', 'sync_c', 'sync_d', 'warp'}
    for subject, columns in ((RESTORED, set(COLUMNS)), (DEGRADED, set(COLUMNS) - {'nme', 'nme_mouth'}),
                             (TRUTH, alone)):
        values = first[subject].values
        assert set(values) == columns
        assert {column for column, value in values.items() if value is None} <= lacking
        assert values == second[subject].values
    for column in ('psnr', 'ssim', 'ms_ssim', 'lpips'):
        better, worse = (first[subject].values[column] for subject in (RESTORED, DEGRADED))
        assert (better > worse) == (COLUMNS[column].better == 'higher'), column


def test_rows_of_references_have_no_network_data():
    run = RunInfo('speakers', 'blur', 'GAVN', checkpoint='0123', parameters=5, fps=2.0)
    rows = evaluate(flat(), PSNR).rows(run, 'anna')
    assert [row.run.method for row in rows] == ['GAVN', DEGRADED, TRUTH]
    assert rows[0].run == run and rows[1].run == RunInfo('speakers', 'blur', DEGRADED)
    assert {(row.clip, row.frames) for row in rows} == {('anna', 1)}
