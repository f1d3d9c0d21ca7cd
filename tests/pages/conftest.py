"""A service with reviewed studies, and readers in Chromium who look at its pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.servers.chromium import chromium
from tests.servers.process import wait_until
from tests.servers.service import Serve, send
from tests.service.cases import small_case

PATIENCE_MS = 60_000
_NOTE_REFUSALS = """
window.refusedByPolicy = [];
window.addEventListener('securitypolicyviolation', event =>
  window.refusedByPolicy.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


@dataclass
class Reader:
    """A reader with one window open.

    complaints : what the browser's console says is wrong
    is_offline_expected : the service is killed on purpose, which the console notes
    """

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    is_offline_expected: bool = False

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.add_init_script(_NOTE_REFUSALS)
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, kind: str, text: str) -> None:
        is_network = any(word in text for word in ("ERR_CONNECTION", "ERR_EMPTY", "status of 409", "ERR_FAILED"))
        if kind in ("error", "warning") and not (self.is_offline_expected and is_network):
            self.complaints.append(text[:300])

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")

    def open_first(self) -> None:
        """From the worklist to the first segment, by the keyboard."""
        self.open("/")
        self.press("n")
        self.page.wait_for_url("**/review/**")
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until keys mean something; pictures may still be on their way."""
        self.page.wait_for_selector("#main[data-ready=yes]")

    def wait_drawn(self) -> None:
        self.page.wait_for_selector("#main[data-drawn=yes]")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def finish(self) -> None:
        """Enter, until another page is there."""
        before = self.page.url
        self.press("Enter")
        self.page.wait_for_url(lambda url: url != before)

    def wait_saved(self, words: str = "Saved") -> None:
        self.page.wait_for_function(
            "words => document.getElementById('saved').textContent === words", arg=words, timeout=PATIENCE_MS
        )

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def known(self) -> dict[str, Any]:
        """What the page was told by the service."""
        return dict(json.loads(self.page.locator("#main").get_attribute("data-page") or "{}"))

    def stored(self) -> dict[str, Any]:
        """What the service has of this segment: asked for anew, by the same reader."""
        answer = self.page.request.get(self.page.url)
        return dict(_page_of(answer.text())["draft"])

    def scrolls(self) -> bool:
        """Whether the page is larger than its window."""
        size = (
            "[document.documentElement.scrollHeight - innerHeight, document.documentElement.scrollWidth - innerWidth]"
        )
        return max(self.page.evaluate(size)) > 0

    def no_trouble(self) -> None:
        assert self.complaints == []
        assert self.page.evaluate("() => window.refusedByPolicy || []") == []


def _page_of(html: str) -> dict[str, Any]:
    from html import unescape

    start = html.index('data-page="') + len('data-page="')
    return dict(json.loads(unescape(html[start : html.index('"', start)])))


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_case(tmp_path_factory.mktemp("read") / "study")


@pytest.fixture(scope="module")
def serve(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """A service that has reviewed a study; the tests of a module share it."""
    with Serve(tmp_path_factory.mktemp("serve"), settings={"SEGQA_REVIEWER": "Anna Alpha"}) as started:
        filled(started, study)
        yield started


def filled(serve: Serve, folder: Path) -> None:
    """Send a study, and wait until it stands in the worklist."""
    import requests

    assert send(serve.dicom_port, folder) == 0
    serve.wait_for_cases()
    headers = {"X-Segqa-Proxy-Token": "s3cret", "X-User": "watcher"}
    listed = lambda: 'class="card ' in requests.get(f"{serve.url}/", headers=headers, timeout=30).text  # noqa: E731
    wait_until(listed, 60, "the worklist has segments")


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with chromium() as context:
        assert context.browser is not None
        yield context.browser


@pytest.fixture
def browser(chrome: Browser) -> Iterator[BrowserContext]:
    """Cookies and storage of this test."""
    with chrome.new_context() as context:
        yield context


@pytest.fixture
def reader(serve: Serve, browser: BrowserContext) -> Iterator[Reader]:
    """One reader; at the end nothing was wrong in the browser."""
    found = Reader(browser.new_page(), serve.url)
    found.page.set_viewport_size({"width": 1280, "height": 720})
    yield found
    found.no_trouble()


@pytest.fixture
def another(browser: BrowserContext) -> Iterator[Callable[..., Reader]]:
    """More readers, each with cookies and storage of their own."""
    with ExitStack() as stack:

        def opened(url: str, **headers: str) -> Reader:
            assert browser.browser is not None
            context = browser.browser.new_context(viewport={"width": 1280, "height": 720}, extra_http_headers=headers)
            stack.callback(context.close)
            return Reader(context.new_page(), url)

        yield opened
