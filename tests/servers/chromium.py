"""Chromium without a screen, and OHIF in it: what a user would see, read out of the page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, Playwright, Request, sync_playwright

from tests.servers.process import program

PATIENCE_MS = 150_000
"""WebGL is computed by the processor here, on machines with other work."""
_ARGUMENTS = [
    "--no-sandbox",  # tests run as root in containers
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
_NOTE_REJECTIONS = """
window.rejections = [];
window.addEventListener('unhandledrejection', event =>
  window.rejections.push(String((event.reason && event.reason.stack) || event.reason).slice(0, 500)));
window.refusedByPolicy = [];
window.addEventListener('securitypolicyviolation', event =>
  window.refusedByPolicy.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}`));
"""
_HARMLESS = ("GL Driver Message", "GPU stall", "WebGL", "Automatic fallback to software")
"""What Chromium says about drawing without a graphics card."""

# OHIF puts its services on `window`.
_HAS_DRAWN = """() => {
  const services = window.services;
  if (!services || !services.viewportGridService) return false;
  for (const [id] of services.viewportGridService.getState().viewports) {
    const viewport = services.cornerstoneViewportService.getCornerstoneViewport(id);
    if (viewport && viewport.getActors && viewport.getActors().length) return true;
  }
  return false;
}"""
_DISPLAY_SETS = """() => window.services.displaySetService.getActiveDisplaySets().map(one => ({
  uid: one.displaySetInstanceUID, series: one.SeriesInstanceUID, modality: one.Modality,
  description: one.SeriesDescription || one.label, loaded: one.isLoaded, hydrated: one.isHydrated }))"""
_SEGMENTATIONS = """() => window.services.segmentationService.getSegmentations().map(one => ({
  label: one.label, segments: Object.values(one.segments).map(segment => segment.label) }))"""
_MEASUREMENTS = """() => window.services.measurementService.getMeasurements().map(one => ({
  uid: one.uid, tool: one.toolName, label: one.label, image: one.SOPInstanceUID }))"""
_CURRENT_IMAGE = """() => {
  const services = window.services, grid = services.viewportGridService.getState();
  const viewport = services.cornerstoneViewportService.getCornerstoneViewport(grid.activeViewportId);
  if (!viewport || !viewport.getCurrentImageId || !viewport.getCurrentImageId()) return null;
  const instance = window.cornerstone.metaData.get('instance', viewport.getCurrentImageId());
  return instance && instance.SOPInstanceUID;
}"""
_TEXT_ON_IMAGE = """() => Array.from(document.querySelectorAll('svg.svg-layer text')).map(text =>
  Array.from(text.querySelectorAll('tspan')).map(part => part.textContent).join(' | '))"""
_SHAPES_ON_IMAGE = (
    """() => document.querySelectorAll('svg.svg-layer line, svg.svg-layer path, svg.svg-layer circle').length"""
)


@dataclass
class Viewer:
    """A page with OHIF.

    url : of the service
    """

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.add_init_script(_NOTE_REJECTIONS)
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))
        self.page.on("request", self._note_host)
        self.page.on("response", lambda answer: self._note_status(answer.url, answer.status))

    def _note(self, kind: str, text: str) -> None:
        if kind == "error" and not any(word in text for word in _HARMLESS):
            self.complaints.append(text[:500])

    def _note_host(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data"):
            self.hosts.add(parts.netloc)

    def _note_status(self, url: str, status: int) -> None:
        if status >= 400:
            self.failed.append(f"{status} {url}")

    # Going somewhere

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")

    def open_and_draw(self, path: str) -> None:
        """Open a place within the viewer and wait for an image."""
        self.open(path)
        self.wait_for(_HAS_DRAWN)

    def put_on_screen(self, series_instance_uid: str) -> None:
        """As a double-click on the thumbnail does."""
        (uid,) = [one["uid"] for one in self.display_sets() if one["series"] == series_instance_uid]
        thumbnail = self.page.locator(f'[id="thumbnail-{uid}"]').first
        thumbnail.scroll_into_view_if_needed()
        thumbnail.dblclick()

    def wait_for(self, script: str, argument: Any = None) -> Any:
        """Wait until a script gives something true, and return it; OHIF's services throw until they are set up."""
        patient = f"argument => {{ try {{ return ({script})(argument); }} catch {{ return false; }} }}"
        return self.page.wait_for_function(patient, arg=argument, timeout=PATIENCE_MS).json_value()

    def wait_for_text(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for(timeout=PATIENCE_MS)

    def wait_for_image(self, sop_instance_uid: str) -> None:
        """Wait until that slice is in the active viewport."""
        self.wait_for(f"uid => ({_CURRENT_IMAGE})() === uid", sop_instance_uid)

    # Reading what is there

    def display_sets(self) -> list[dict[str, Any]]:
        return list(self.page.evaluate(_DISPLAY_SETS))

    def segmentations(self) -> list[dict[str, Any]]:
        return list(self.page.evaluate(_SEGMENTATIONS))

    def measurements(self) -> list[dict[str, Any]]:
        return list(self.page.evaluate(_MEASUREMENTS))

    def current_image(self) -> str | None:
        return self.page.evaluate(_CURRENT_IMAGE)  # type: ignore[no-any-return]

    def text_on_image(self) -> list[str]:
        return list(self.page.evaluate(_TEXT_ON_IMAGE))

    def shapes_on_image(self) -> int:
        return int(self.page.evaluate(_SHAPES_ON_IMAGE))

    def text(self) -> str:
        return self.page.inner_text("body")

    def rejections(self) -> list[str]:
        return list(self.page.evaluate("() => window.rejections"))

    def refused_by_policy(self) -> list[str]:
        return list(self.page.evaluate("() => window.refusedByPolicy"))

    def picture(self, path: Path) -> bytes:
        return self.page.screenshot(path=path)

    def picture_of_image(self, path: Path) -> bytes:
        """Of the first viewport only."""
        return self.page.locator('[data-cy="viewport-pane"]').first.screenshot(path=path)


def _launched(playwright: Playwright) -> BrowserContext:
    browser = playwright.chromium.launch(
        executable_path=program("chromium", "chromium-browser"), headless=True, args=_ARGUMENTS
    )
    return browser.new_context(viewport={"width": 1400, "height": 900})


@contextmanager
def chromium() -> Iterator[BrowserContext]:
    """A browser of its own, without history, which asks only hosts of this machine."""
    os.environ.setdefault("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
    program("chromium", "chromium-browser")
    with sync_playwright() as playwright:
        context = _launched(playwright)
        try:
            yield context
        finally:
            context.close()
            if context.browser is not None:
                context.browser.close()


@contextmanager
def viewer(context: BrowserContext, url: str) -> Iterator[Viewer]:
    """A new page."""
    page = context.new_page()
    try:
        yield Viewer(page, url)
    finally:
        page.close()
