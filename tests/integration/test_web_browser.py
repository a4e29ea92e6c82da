"""The page in a real browser: a video goes in, is previewed, restored, looked at and downloaded."""
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
from restore_fakes import audio_packets, write_video
from web_browser import WAIT, Browser, browsing

from gavn.media import read_frames

pytest.importorskip('gradio', reason='needs gradio (the extra [web])')
HELPERS = Path(__file__).resolve().parents[1] / 'helpers'
FRAMES = 100  # at 25 a second: longer than the preview


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp('browser')) as browser:
        yield browser


@pytest.fixture(scope='module')
def server(browser, tmp_path_factory):
    """The server's address; its temporary folder must be gone when it has been stopped."""
    folder = tmp_path_factory.mktemp('server')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, HELPERS / 'web_server.py', folder, '--port', str(port),
               '--max-mb', '5', '--max-seconds', '10', '--grace', '1']
    places = os.pathsep.join([str(HELPERS.parents[1]), str(HELPERS)])
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True,
                               env={**os.environ, 'TMPDIR': str(folder), 'PYTHONPATH': places})
    try:
        assert 'the page is at' in process.stdout.readline()
        assert list(folder.glob('gavn_web_*'))
        yield f'http://127.0.0.1:{port}/'
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT)
    assert process.returncode == 0
    assert not list(folder.glob('gavn_web_*'))


@pytest.fixture
def page(browser, server) -> Browser:
    browser.open(server)
    return browser


@pytest.fixture
def hold(server, tmp_path_factory) -> Path:
    """While this file is there, restorations stand still."""
    return next(tmp_path_factory.getbasetemp().glob('server*')) / 'hold'


@pytest.fixture(scope='module')
def talk(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp('talk') / 'a talk (1).mp4', FRAMES, audio=4.)


def seen_progress(page: Browser) -> set[str]:
    """What the status says until the job ends."""
    seen, end = set(), time.monotonic() + WAIT
    while 'Done' not in page.text('status'):
        seen.add(page.text('status'))
        assert time.monotonic() < end, seen
        time.sleep(0.05)
    return seen


def duration(page: Browser, name: str) -> float:
    """Of a player, when it has something to show, with audio."""
    player = f'document.querySelector("#{name} video")'
    page.wait(lambda: page.js(f'return {player}?.readyState >= 2'), f'an image in #{name}')
    return page.js(f'return {player}.duration')


def widths(page: Browser, name: str) -> list[int]:
    """Of the images in a part of the page, once all of them are there."""
    found = page.js('return [...document.querySelectorAll(arguments[0])].map(i => i.naturalWidth)',
                    f'#{name} img')
    return found if all(found) else []


def test_a_video_is_previewed_restored_and_downloaded(page, talk):
    page.upload(talk)
    page.wait_for('Ready')
    assert duration(page, 'player') == pytest.approx(4, abs=0.1)
    page.click('#preview')
    page.wait_for('Done')
    assert 'Preview of the first 3 s' in page.text('results')
    assert duration(page, 'side') == pytest.approx(3, abs=0.1)
    page.click('#restore')
    page.wait(lambda: not page.text('results'), 'an end of the preview')
    seen = ' '.join(seen_progress(page))
    for words in ('Finding faces', 'Restoring', f'of {FRAMES} frames', 'frames/s', 'left'):
        assert words in seen
    assert duration(page, 'side') == pytest.approx(4, abs=0.1)
    assert page.js('return document.querySelector("#side video").videoWidth') == 2 * 96
    first, second = page.wait(lambda: widths(page, 'comparison'), 'images')
    assert first == second
    report = page.text('report')
    assert f'{FRAMES} of {FRAMES} written' in report and 'estimates, not evidence' in report
    assert 'Sharpness' in report and '→' in report
    restored = page.downloaded('#download', 'a_talk_1_gavn.mp4')
    frames = [frame.image for frame in read_frames(restored)]
    assert len(frames) == FRAMES
    assert audio_packets(restored) == audio_packets(talk)
    gain = np.mean(frames[50][30:40, 40:50]) - np.mean(list(read_frames(talk))[50].image[30:40, 40:50])
    assert gain > 15
    assert '"frames_out": 100' in page.downloaded('#download-report', 'a_talk_1_gavn.mp4.json').read_text()


def test_an_example_is_restored_and_a_run_cancelled(page, hold):
    page.click('#example-blurred')
    page.wait_for('Ready')
    hold.touch()
    page.click('#restore')
    page.wait_for('Finding faces')
    page.click('#cancel')
    page.wait_for('Cancelled')
    hold.unlink()
    assert not page.text('results')
    page.click('#restore')
    page.wait_for('Done')
    assert '25 of 25 written' in page.text('report')


def test_troubles_are_reported_once(page, tmp_path):
    """In the status, and nowhere else."""
    page.click('#restore')
    page.wait_for('Add a video first')
    (tmp_path / 'words.mp4').write_text('no video at all')
    page.upload(tmp_path / 'words.mp4')
    page.wait_for('words.mp4: no readable media file')
    photo = tmp_path / 'photo.png'
    cv2.imwrite(str(photo), np.zeros((40, 40, 3), np.uint8))
    photo.rename(tmp_path / 'photo.mp4')
    page.upload(tmp_path / 'photo.mp4')
    page.wait_for('photo.mp4: ')
    (tmp_path / 'large.mp4').write_bytes(bytes(5_000_001))
    page.upload(tmp_path / 'large.mp4')
    page.wait_for('too large: 5.0 MB')
    page.upload(write_video(tmp_path / 'long.mp4', 300, audio=None))
    assert 'too long: 12 s' in page.wait_for('too long')
    whole = page.js('return document.body.innerText')
    assert whole.count('too long') == 1 and 'Traceback' not in whole and '<' not in page.text('status')
    assert page.js('return document.querySelectorAll("[role=alert], .toast-wrap > *").length') == 1
    assert page.js('return document.querySelectorAll("#player video").length') == 0


def test_several_videos_are_taken_and_restored(page, talk, tmp_path):
    short = write_video(tmp_path / 'short.mp4', 30, audio=None)
    (tmp_path / 'words.mp4').write_text('no video at all')
    page.upload(talk, tmp_path / 'words.mp4', short)
    page.wait_for('words.mp4: no readable')
    assert page.js('return [...document.querySelectorAll("#videos label")].map(e => e.innerText)') == [
        'a_talk_1.mp4 · 4 s · 96 × 80', 'short.mp4 · 1 s · 96 × 80']
    assert duration(page, 'player') == pytest.approx(1.2, abs=0.1)
    page.click('#restore-all')
    page.wait_for('1 of 2: a_talk_1.mp4')
    page.wait_for('2 of 2: short.mp4')
    page.wait_for('2 of 2 videos restored')
    assert 'Restored: short.mp4' in page.text('results')
    page.click('#videos label:first-child input')
    page.wait(lambda: 'Restored: a_talk_1.mp4' in page.text('results'), 'the other result')
    assert f'{FRAMES} of {FRAMES} written' in page.text('report')
    with ZipFile(page.downloaded('#download-all', 'gavn_results.zip')) as archive:
        assert sorted(archive.namelist()) == sorted(
            f'{name}_gavn.mp4{more}' for name in ('a_talk_1', 'short') for more in ('', '.json'))
    page.click('#remove')
    page.wait(lambda: 'a_talk' not in page.text('videos'), 'one video less')
    assert not page.js('return document.querySelector("#download-all")')
    assert 'short.mp4' in page.text('videos') and 'Restored: short.mp4' in page.text('results')


def test_a_face_is_chosen_by_its_image(page, talk):
    """Each of the two has an image; the one that is left out stays as it was."""
    page.upload(talk)
    page.wait_for('Ready')
    page.click('#faces input[value=chosen]')
    page.wait_for('Select the faces')
    assert page.wait(lambda: widths(page, 'face-images'), 'faces') == [96, 96]
    assert '0:00 to 0:03' in page.text('face-images')
    page.click('#face-images input[value="0"]')
    page.wait_for('1 face selected')
    page.click('#restore')
    page.wait_for('Done')
    assert f'{FRAMES - 20} with restored faces, 20 unchanged' in page.text('report')
    page.click('#face-images input[value="1"]')
    page.wait_for('0 faces selected')
    page.click('#restore')
    page.wait_for('select at least one face')


def test_the_keyboard_reaches_and_moves_everything(page, talk):
    from selenium.webdriver.common.keys import Keys
    page.upload(talk)
    page.wait_for('Ready')
    page.click('#faces input[value=chosen]')
    page.wait_for('Select the faces')
    page.click('#preview')
    page.wait_for('Done')
    duration(page, 'side')
    reached = page.tabbed_through()
    for control in ('drop file', 'example-compressed', 'example-blurred', 'example-small', 'videos radio',
                    'remove', 'player video', 'faces radio largest', 'faces radio chosen',
                    'face-images checkbox 0',
                    'face-images checkbox 1', 'scale', 'strength number',
                    'strength range', 'preview', 'restore',
                    'comparison range', 'side video', 'download a', 'download-report a'):
        assert [name for name in reached if name.startswith(control)], f'{control} not in {reached}'
    page.js('document.querySelector("#comparison input").focus()')
    page.press(Keys.RIGHT, Keys.RIGHT)
    assert page.js('return document.querySelector(".comparison").style.getPropertyValue("--at")') == '52%'
    page.js('document.querySelector("#face-images input").focus()')
    page.press(Keys.SPACE)
    page.wait_for('1 face selected')
    page.js('document.querySelector("#faces input[value=largest]").focus()')
    page.press(Keys.SPACE)
    page.wait(lambda: not page.text('face-images'), 'the largest face')


def test_unplayable_videos_show_a_frame_and_are_restored(page, tmp_path):
    page.upload(write_video(tmp_path / 'old.avi', 30, audio=None))
    page.wait_for('Ready')
    page.wait(lambda: 'cannot play' in page.text('player'), 'words about it')
    assert page.js('return new URL(document.querySelector("#player video").poster).pathname').endswith('.jpg')
    page.click('#restore')
    page.wait_for('Done')
    assert duration(page, 'side') == pytest.approx(1.2, abs=0.1)


def test_narrow_screens_need_no_scrolling_sideways(page):
    page.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
        'width': 360, 'height': 800, 'deviceScaleFactor': 1, 'mobile': True})
    try:
        assert page.wait(lambda: page.js('return innerWidth') == 360, 'a narrow screen')
        assert page.js('return document.documentElement.scrollWidth') <= 360
    finally:
        page.driver.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})


def test_inputs_have_labels(page):
    unnamed = page.js("""
        return [...document.querySelectorAll('input, select, textarea, button, progress')]
            .filter(e => e.offsetParent && !e.labels?.length && !e.ariaLabel && !e.innerText.trim()
                         && !e.title && !e.getAttribute('aria-labelledby'))
            .map(e => e.outerHTML.slice(0, 200))""")
    assert unnamed == []


def test_no_outside_requests_and_no_console_errors(page):
    page.look_at_logs()
    assert len(page.requests) > 20 and page.hosts() == {'127.0.0.1'}
    assert page.complaints == []
