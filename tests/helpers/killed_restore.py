"""Restores a video slowly, to be killed: `python killed_restore.py SOURCE TARGET SEGMENT_FRAMES`."""
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gavn.restoration import job, restore_video, resume_state  # first: it makes basicsr importable

# isort: split
from restore_fakes import fixed_face, make_restorer

if __name__ == '__main__':
    source, target, length = sys.argv[1:]
    resume_state.SEGMENT_FRAMES = int(length)
    job.follow_faces = fixed_face(absent=(3, 20), cuts=(12,))
    finish = resume_state.ResumeState.finish

    def slow(*args):
        finish(*args)
        time.sleep(0.5)

    resume_state.ResumeState.finish = slow
    restorer = make_restorer(inputs=('lq', 'audio'))
    restore_video.restore_video(source, target, restorer)
