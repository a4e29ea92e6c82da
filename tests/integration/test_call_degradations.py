"""Degradations of video calls and downloads."""
from dataclasses import replace

import cv2
import numpy as np
import pytest

from gavn.data.degradation import degradation, degrade
from gavn.data.video_call import KBITS, LINES, SIDES, VideoCall


@pytest.fixture(scope='module')
def clip():
    """32 frames of a moving, smooth texture with edges."""
    noise = np.random.default_rng(0).uniform(0, 255, (12, 12, 3)).astype(np.float32)
    large = cv2.resize(noise, (160, 160), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    return [np.ascontiguousarray(large[t:t + 112, 2 * (t % 16):2 * (t % 16) + 112]) for t in range(32)]


def _psnr(frames, truth):
    return 10 * np.log10(255**2 / np.mean((np.float32(frames) - np.float32(truth))**2))


def test_draws_are_of_the_name_and_in_their_ranges():
    drawn = [VideoCall.from_name(f'clip{i}') for i in range(300)]
    assert drawn[0] == VideoCall.from_name('clip0') and drawn[0] != drawn[1]
    assert {call.lines for call in drawn} == set(LINES)
    assert {call.codec for call in drawn} == {'h264_call', 'h264_file', 'hevc', 'vp9'}
    for call in drawn:
        assert SIDES[0] <= call.side <= min(SIDES[1], call.lines)
        assert 0 < call.kbits <= KBITS[1]
        assert 50 <= call.keyframe <= 250
        assert (call.rescale is None) == (call.crf_again is None)


@pytest.mark.parametrize('codec', ['h264_call', 'h264_file', 'hevc', 'vp9'])
def test_every_codec_gives_more_quality_for_more_bits(clip, codec):
    call = VideoCall(lines=180, side=112, codec=codec, kbits=30, keyframe=50)
    poor, good = call.apply(clip), replace(call, kbits=400).apply(clip)
    assert len(poor) == len(good) == len(clip)
    assert all(image.shape == clip[0].shape and image.dtype == np.uint8 for image in poor)
    assert _psnr(good, clip) > _psnr(poor, clip) + 1


def test_a_small_face_loses_detail_even_at_a_high_bit_rate(clip):
    call = VideoCall(lines=720, side=112, codec='h264_call', kbits=800, keyframe=50)
    assert _psnr(call.apply(clip), clip) > _psnr(replace(call, side=60).apply(clip), clip)


def test_recompression_after_rescaling_keeps_the_size(clip):
    call = VideoCall(lines=180, side=100, codec='vp9', kbits=60, keyframe=50, rescale=0.77, crf_again=30,
                     sharpen=0.5, noise=2., up='lanczos')
    assert [image.shape for image in call.apply(clip)] == [image.shape for image in clip]


def test_frames_differ_as_those_of_a_whole_clip_do(clip):
    """A rate-limited encoder leaves its keyframe and its later frames at different qualities."""
    restless = [np.roll(image, 5 * t, axis=1) for t, image in enumerate(clip)]
    call = VideoCall(lines=180, side=112, codec='h264_call', kbits=40, keyframe=250)
    each = [_psnr(a, b) for a, b in zip(call.apply(restless), restless, strict=True)]
    assert max(each) - min(each) > 1


def test_call_is_a_layer_and_each_version_is_drawn_anew(clip):
    first, facts = degrade(clip, 'call', 'someone/clip')
    other, more = degrade(clip, 'call_v1', 'someone/clip')
    assert (facts['layer'], facts['task']) == ('call', 'mixed') and 'x264' in facts
    assert {key: facts[key] for key in ('codec', 'kbits')} == {
        key: getattr(VideoCall.from_name('someone/clip\ncall'), key) for key in ('codec', 'kbits')}
    assert facts['kbits'] != more['kbits'] and not np.array_equal(first, other)
    assert degradation('call_v2').layer == 'call_v2'
    with pytest.raises(ValueError, match='did you mean'):
        degradation('call_x')


def test_no_frames_stay_none():
    assert VideoCall.from_name('a').apply([]) == []
