"""A headless Chromium for tests of the page, and what it did: requests, and errors in its console."""
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

FLAGS = ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--no-proxy-server', '--window-size=1280,1000')
BROWSERS, DRIVERS = ('chromium', 'chromium-browser', 'google-chrome'), ('chromedriver',)
WAIT = 90  # seconds, for machines that are busy


class Browser:
    """One tab. `requests` are the addresses that pages asked for; they and `complaints` are collected."""

    def __init__(self, driver, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads
        self.requests: set[str] = set()
        self.complaints: list[str] = []

    def open(self, url: str) -> None:
        self.driver.get(url)
        self.wait(lambda: self.text('status'), 'the page')

    def wait(self, true: Callable[[], object], what: str):
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait
        try:
            return WebDriverWait(self.driver, WAIT, 0.05).until(lambda _: true())
        except TimeoutException:
            pytest.fail(f'{what} did not come in {WAIT} s; the status is: {self.text("status")}')

    def js(self, script: str, *arguments: object):
        return self.driver.execute_script(script, *arguments)

    def text(self, name: str) -> str:
        """What is to be read in an element."""
        return self.js('return document.getElementById(arguments[0])?.innerText ?? ""', name)

    def wait_for(self, words: str) -> str:
        """Until the status has the words; returns it."""
        return self.wait(lambda: words in self.text('status') and self.text('status'), words)

    def press(self, *keys: str) -> None:
        """Types on the keyboard, into whatever has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains
        ActionChains(self.driver).send_keys(*keys).perform()

    def tabbed_through(self) -> list[str]:
        """What the tab key reaches, from the beginning of the page: ids, or what else names an element."""
        from selenium.webdriver.common.keys import Keys
        self.js('document.activeElement.blur(); window.scrollTo(0, 0)')
        reached: list[str] = []
        while len(reached) < 200:
            self.press(Keys.TAB)
            name = self.js("""
                const e = document.activeElement, block = e.closest('[id]:not([id^=html-], [id^=range])');
                if (e === document.body) return '';
                return `${block?.id} ${e.type || e.tagName.toLowerCase()} ${e.value ?? ''}`;
            """)
            if not name or name in reached[:1]:
                break
            reached.append(name)
        return reached

    def click(self, selector: str) -> None:
        self.wait(lambda: self.js(
            'const e = document.querySelector(arguments[0]); return e && !e.disabled && e.offsetParent',
            selector), selector)
        self.js('document.querySelector(arguments[0]).click()', selector)

    def upload(self, *paths: Path) -> None:
        self.wait(lambda: self.js('return document.querySelector("#drop input:enabled")'), 'the input')
        self.driver.find_element('css selector', '#drop input').send_keys('\n'.join(map(str, paths)))

    def downloaded(self, selector: str, name: str) -> Path:
        self.click(selector)
        path = self.downloads / name
        self.wait(path.exists, name)
        return path

    def look_at_logs(self) -> None:
        """Adds what happened since the last time to `requests` and `complaints`."""
        for entry in self.driver.get_log('performance'):
            message = json.loads(entry['message'])['message']
            if message['method'] == 'Network.requestWillBeSent':
                self.requests.add(message['params']['request']['url'])
        self.complaints += [entry['message'] for entry in self.driver.get_log('browser')
                            if entry['level'] == 'SEVERE']

    def hosts(self) -> set[str]:
        """Hosts of all requests that go over the network."""
        return {urlsplit(url).hostname for url in self.requests if urlsplit(url).scheme in
                ('http', 'https', 'ws', 'wss')}


def _program(names: tuple[str, ...]) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f'needs {names[0]} (Debian: apt-get install chromium chromium-driver)')
    return found


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in the folder; skips the test where there is none."""
    webdriver = pytest.importorskip('selenium.webdriver', reason="needs selenium (the extra [test])")
    options, downloads = webdriver.ChromeOptions(), folder / 'downloads'
    options.binary_location, driver = _program(BROWSERS), _program(DRIVERS)
    for flag in (*FLAGS, f'--user-data-dir={folder / "profile"}'):
        options.add_argument(flag)
    options.add_experimental_option('prefs', {
        'download.default_directory': str(downloads),
        'profile.default_content_setting_values.automatic_downloads': 1})  # several, without being asked
    options.set_capability('goog:loggingPrefs', {'performance': 'ALL', 'browser': 'ALL'})
    service = webdriver.ChromeService(driver, env={**os.environ, 'NO_PROXY': 'localhost,127.0.0.1'})
    chrome = webdriver.Chrome(options, service)
    try:
        yield Browser(chrome, downloads)
    finally:
        chrome.quit()
