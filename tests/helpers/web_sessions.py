"""Sessions of the web page with a network that brightens, and uploads to them."""
import asyncio
import threading

from restore_fakes import make_restorer, write_video

from gavn.web.jobs import RestoreRequest
from gavn.web.session_manager import SessionManager
from gavn.web.videos import Video


class Fakes:
    """In place of `Networks`: one that brightens; `gate` holds jobs back."""

    def __init__(self, workers: int = 1) -> None:
        self.tasks, self.weights, self.workers = {'auto': '', 'sr': ''}, None, workers
        self.gate, self.asked = threading.Event(), []
        self.gate.set()

    def restorer(self, task: str, worker: int = 0):
        self.asked.append(task)
        assert self.gate.wait(30)
        return make_restorer(40.)


def upload(sessions: SessionManager, name: str = 'talk.mp4', frames: int = 6, audio: float | None = .24
           ) -> str:
    """The token of a video that was uploaded."""
    path = write_video(sessions.folder.parent / 'made.mp4', frames, audio)
    return sent(sessions, name, path.read_bytes())


def sent(sessions: SessionManager, name: str, content: bytes) -> str:
    async def chunks():
        yield content
    token = sessions.uploads.announce(name, len(content))
    asyncio.run(sessions.uploads.receive(token, chunks()))
    return token


def taken(sessions: SessionManager, session: str = 'me', **what: object) -> Video:
    return sessions.take(session, upload(sessions, **what))


def finished(sessions: SessionManager, request: RestoreRequest, session: str = 'me') -> Video:
    """The session's last video, after restoration."""
    video = sessions.videos(session)[-1]
    sessions.restore(session, request, [video.key]).join()
    return video
