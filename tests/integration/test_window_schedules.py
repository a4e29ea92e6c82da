"""Schedules of GAVN over clips: features once and windows together give what plain windows give."""
import pytest
import torch

from gavn.archs.gavn_arch import GAVN
from gavn.runtime.windows import run

SIZE = 32


def network(**options) -> GAVN:
    """With offsets and attention that are not zero, as after training."""
    torch.manual_seed(0)
    made = GAVN(num_feat=8, num_extract_block=1, num_reconstruct_block=(1, 1), deformable_groups=2,
                use_landmark=False, **options).eval()
    for name, parameter in made.named_parameters():
        if 'conv_offset' in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return made


@pytest.fixture(scope='module', params=[0, 1], ids=['N=0', 'N=1'])
def plain(request):
    """A network, a clip, and what windows one at a time make of its first frames, by their number."""
    made = network(radius=request.param)
    clip = [{'lq': torch.rand(3, SIZE, SIZE), 'audio': torch.randn(1, 13, 20)} for _ in range(40)]
    results = {}
    for length in (*range(1, 12), 19, 40):
        with torch.inference_mode():
            results[length] = list(run(lambda batch: made(**batch), clip[:length], made.layout))
    return made, clip, results


@pytest.mark.parametrize(('batch', 'together'), [(1, False), (1, True), (4, False), (4, True), (16, True)])
def test_schedules_agree(plain, batch, together):
    made, clip, results = plain
    for length, expected in results.items():
        with torch.inference_mode():
            got = list(run(lambda given: made(**given), clip[:length], made.layout, batch,
                           made.features if together else None))
        assert len(got) == len(expected) == length
        torch.testing.assert_close(torch.stack(got), torch.stack(expected), atol=1e-5, rtol=0)
        assert not torch.equal(torch.stack(got), torch.stack([frame['lq'] for frame in clip[:length]]))


def test_known_features_replace_the_extractor(monkeypatch):
    made = network(radius=0)
    lq, audio = torch.rand(2, 5, 3, 20, 24), torch.randn(2, 1, 1, 13, 20)  # padded to 32 on the way
    with torch.inference_mode():
        expected = made(lq, audio)
        known = [level.unflatten(0, (2, 5)) for level in made.features(lq.flatten(0, 1))]
        monkeypatch.setattr(made.temporal.extractor, 'forward', None)
        assert torch.equal(made(lq, audio, features=known), expected)


def test_longer_windows_are_another_function_of_the_same_weights():
    """With `inject`: what a frame shows reaches outputs ten frames away, at five alignments per output."""
    short, long = network(inject=True, radius=1), network(inject=True, radius=10)
    long.load_state_dict(short.state_dict())
    clip = [{'lq': torch.rand(3, SIZE, SIZE), 'audio': torch.randn(1, 13, 20)} for _ in range(21)]
    changed = [{**clip[0], 'lq': 1 - clip[0]['lq']}, *clip[1:]]
    aligned = []
    long.temporal.aligns['all'].register_forward_hook(lambda _, given, __: aligned.append(len(given[0][0])))

    def results(made: GAVN, frames: list) -> torch.Tensor:
        with torch.inference_mode():
            return torch.stack(list(run(lambda given: made(**given), frames, made.layout, 1, made.features)))

    assert torch.equal(results(short, clip)[10], results(short, changed)[10])
    assert not torch.equal(results(long, clip)[10], results(long, changed)[10])
    assert sum(aligned) / 2 / len(clip) == pytest.approx(5, abs=0.1)
