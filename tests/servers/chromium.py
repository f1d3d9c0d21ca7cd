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
_VIEWPORT = """(() => {
  const services = window.services;
  const active = services.viewportGridService.getState().activeViewportId;
  return services.cornerstoneViewportService.getCornerstoneViewport(active);
})()"""
_HAS_DRAWN = f"""() => {{
  const viewport = {_VIEWPORT};
  return viewport.getActors().length > 0 && !!viewport.getCurrentImageId();
}}"""
_DISPLAY_SETS = """() => window.services.displaySetService.getActiveDisplaySets().map(one => ({
  uid: one.displaySetInstanceUID, series: one.SeriesInstanceUID, modality: one.Modality }))"""
_SEGMENTATIONS = """() => window.services.segmentationService.getSegmentations().map(one => ({
  label: one.label, segments: Object.values(one.segments).map(segment => segment.label) }))"""
_MEASUREMENTS = """() => window.services.measurementService.getMeasurements().map(one => ({
  tool: one.toolName, label: one.label, image: one.SOPInstanceUID }))"""
_CURRENT_IMAGE = f"""() => {{
  const instance = window.cornerstone.metaData.get('instance', {_VIEWPORT}.getCurrentImageId());
  return instance && instance.SOPInstanceUID;
}}"""
_SHOW_IMAGE = f"""uid => {{
  const viewport = {_VIEWPORT};
  const index = viewport.getImageIds().findIndex(
    one => window.cornerstone.metaData.get('instance', one).SOPInstanceUID === uid);
  if (index < 0) return false;
  window.cornerstone.utilities.jumpToSlice(viewport.element, {{ imageIndex: index }});
  return true;
}}"""
_PLACES = f"""points => points.map(point => Array.from({_VIEWPORT}.worldToCanvas(point)))"""
_ARROW_TIPS = f"""() => window.cornerstoneTools.annotation.state.getAllAnnotations()
  .filter(one => one.metadata.toolName === 'ArrowAnnotate')
  .filter(one => one.metadata.referencedImageId === {_VIEWPORT}.getCurrentImageId())
  .map(one => Array.from(one.data.handles.points[0]))"""
_TEXT_ON_IMAGE = """() => Array.from(document.querySelectorAll('svg.svg-layer text')).map(text =>
  Array.from(text.querySelectorAll('tspan')).map(part => part.textContent).join(' '))"""
_TWO_DRAWINGS = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


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
        self.wait_until_drawn()

    def wait_until_drawn(self) -> None:
        self.wait_for(_HAS_DRAWN)
        self.wait_for_drawing()

    def wait_for_drawing(self) -> None:
        """Wait until what is asked for now is on the screen."""
        self.page.wait_for_load_state("networkidle")
        self.page.evaluate(_TWO_DRAWINGS)

    def show_image(self, sop_instance_uid: str) -> None:
        """Scroll to a slice."""
        self.wait_for(_SHOW_IMAGE, sop_instance_uid)
        self.wait_for_image(sop_instance_uid)
        self.wait_for_drawing()

    def put_on_screen(self, series_instance_uid: str) -> None:
        """As a double-click on the thumbnail does."""
        (uid,) = (one["uid"] for one in self.display_sets() if one["series"] == series_instance_uid)
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
        """What can be put on the screen."""
        return list(self.page.evaluate(_DISPLAY_SETS))

    def segmentations(self) -> list[dict[str, Any]]:
        return list(self.page.evaluate(_SEGMENTATIONS))

    def measurements(self) -> list[dict[str, Any]]:
        return list(self.page.evaluate(_MEASUREMENTS))

    def current_image(self) -> str | None:
        return self.page.evaluate(_CURRENT_IMAGE)  # type: ignore[no-any-return]

    def text_on_image(self) -> list[str]:
        return list(self.page.evaluate(_TEXT_ON_IMAGE))

    def wait_for_text_on_image(self, text: str) -> None:
        self.wait_for(f"text => ({_TEXT_ON_IMAGE})().some(one => one.includes(text))", text)

    def places_of(self, points: list[tuple[float, float, float]]) -> list[tuple[float, float]]:
        """Where points (LPS, mm) are in `picture_of_image`: x and y."""
        return [(x, y) for x, y in self.page.evaluate(_PLACES, points)]

    def arrow_tips(self) -> list[tuple[float, float, float]]:
        """Of the arrows on the slice that is shown: LPS, mm."""
        return [(x, y, z) for x, y, z in self.page.evaluate(_ARROW_TIPS)]

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
        return self.page.locator("svg.svg-layer").first.locator("xpath=..").screenshot(path=path)


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
