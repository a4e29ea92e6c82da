"""Which errors cost one video, and which the whole task."""
from pathlib import Path

import cv2
import pytest

from gavn.data.landmark_annotator import AnnotatorError
from gavn.data.preparation import Preparation, RejectedVideoError
from gavn.data.sources import Source

prepare = pytest.importorskip('gavn.cli.prepare_clips', reason='needs datatrove: pip install "gavn[prepare]"')


class Trapped(prepare.ClipStep):
    """A step that one video does not survive."""

    name = 'trap'

    def __init__(self, preparation: Preparation, error: BaseException) -> None:
        super().__init__(preparation)
        self.error = error

    def apply(self, source: Source) -> None:
        if source.clip == 'bad':
            raise self.error


def passed(root: Path, error: BaseException) -> list[str]:
    """The clips that get past Trapped."""
    sources = [Source(clip, Path(f'{clip}.mp4'), 'x', 'train') for clip in ('before', 'bad', 'after')]
    step = Trapped(Preparation(root), error)
    documents = prepare.ListClips(step.preparation, sources, quiet=False).run()
    return [document.id for document in step.run(documents)]


@pytest.mark.parametrize('error', [
    AttributeError("'NoneType' object has no attribute 'shape'"), TypeError('an integer is required'),
    MemoryError('Unable to allocate 18 TiB'), ValueError('odd'), AssertionError('lost'), cv2.error('empty')],
    ids=lambda error: type(error).__name__)
def test_whatever_a_video_sets_off_is_its_own(tmp_path, error):
    assert passed(tmp_path, error) == ['before', 'after']
    record = Preparation(tmp_path).records.read('bad')
    assert (record['status'], record['step']) == ('failed', 'trap')
    assert record['reason'] == f'{type(error).__name__}: {error}'
    assert 'Traceback' in record['traceback'] and 'in apply' in record['traceback']


def test_a_clear_message_needs_no_traceback(tmp_path):
    assert passed(tmp_path, RejectedVideoError('only 3 frames')) == ['before', 'after']
    record = Preparation(tmp_path).records.read('bad')
    assert record['reason'] == 'only 3 frames' and 'traceback' not in record


@pytest.mark.parametrize('error', [OSError(28, 'No space left on device'), AnnotatorError('no weights'),
                                   KeyboardInterrupt()], ids=lambda error: type(error).__name__)
def test_what_is_no_videos_fault_ends_the_task(tmp_path, error):
    with pytest.raises(type(error)):
        passed(tmp_path, error)
    assert Preparation(tmp_path).records.read('bad') == {}


def test_records_of_earlier_versions_are_read(tmp_path):
    preparation = Preparation(tmp_path)
    preparation.records.update('a', sound=True, frames=30)
    preparation.records.update('a', status='ok')
    assert preparation.records.read('a') == {'audio': True, 'frames': 30, 'status': 'ok'}
