"""Which errors cost one video, and which the whole task."""
import pickle
from pathlib import Path

import cv2
import pytest

from gavn.data.landmark_annotator import AnnotatorError
from gavn.data.preparation import Preparation, RejectedVideoError
from gavn.data.sources import ClipSource

prepare = pytest.importorskip('gavn.cli.prepare_clips', reason='needs datatrove: pip install "gavn[prepare]"')


@pytest.fixture
def passed(tmp_path, monkeypatch):
    """The clips that get past a step which one video does not survive."""
    def run(error: BaseException) -> list[str]:
        def trap(_: Preparation, source: ClipSource, __: str) -> None:
            if source.clip == 'bad':
                raise error

        monkeypatch.setitem(prepare.WORK, 'trap', trap)
        sources = [ClipSource(clip, Path(f'{clip}.mp4'), 'x', 'train') for clip in ('before', 'bad', 'after')]
        preparation = Preparation(tmp_path)
        step = pickle.loads(pickle.dumps(prepare.ClipStep(preparation, 'trap')))
        return [clip.id for clip in step.run(prepare.ListClips(preparation, sources, quiet=False).run())]
    return run


@pytest.mark.parametrize('error', [
    AttributeError("'NoneType' object has no attribute 'shape'"), TypeError('an integer is required'),
    MemoryError('Unable to allocate 18 TiB'), ValueError('odd'), AssertionError('lost'), cv2.error('empty')],
    ids=lambda error: type(error).__name__)
def test_whatever_a_video_sets_off_is_its_own(passed, tmp_path, error):
    assert passed(error) == ['before', 'after']
    record = Preparation(tmp_path).records.read('bad')
    assert (record['status'], record['step']) == ('failed', 'trap')
    assert record['reason'] == f'{type(error).__name__}: {error}'
    assert 'Traceback' in record['traceback'] and 'in trap' in record['traceback']


def test_a_clear_message_needs_no_traceback(passed, tmp_path):
    assert passed(RejectedVideoError('only 3 frames')) == ['before', 'after']
    record = Preparation(tmp_path).records.read('bad')
    assert record['reason'] == 'only 3 frames' and 'traceback' not in record


@pytest.mark.parametrize('error', [OSError(28, 'No space left on device'), AnnotatorError('no weights'),
                                   KeyboardInterrupt()], ids=lambda error: type(error).__name__)
def test_what_is_no_videos_fault_ends_the_task(passed, tmp_path, error):
    with pytest.raises(type(error)):
        passed(error)
    assert Preparation(tmp_path).records.read('bad') == {}


def test_records_of_earlier_versions_are_read(tmp_path):
    preparation = Preparation(tmp_path)
    preparation.records.update('a', sound=True, frames=30)
    preparation.records.update('a', status='ok')
    assert preparation.records.read('a') == {'audio': True, 'frames': 30, 'status': 'ok'}
