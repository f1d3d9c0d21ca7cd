"""From the page of a reader to OHIF, and back from OHIF to the worklist: one running service, real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from playwright.sync_api import BrowserContext

from segqa_dicom.viewer import document_link
from tests.pages.conftest import Reader
from tests.servers.chromium import Viewer, chromium, viewer
from tests.servers.process import wait_until
from tests.servers.service import Serve
from tests.sr.readers import case_in
from tests.viewer.conftest import Reviewed, reviewed_by
from tests.viewer.test_ohif import no_trouble
from tests.viewer.test_review_documents import COMMENT, STORE

TOLD_MM = 0.01
OHIF_MM = 0.5
"""Less than a pixel: OHIF exchanges row and column spacing where it places marks."""

_DRAW_ARROW = """([text, column, row]) => {
  const services = window.services;
  const active = services.viewportGridService.getState().activeViewportId;
  const viewport = services.cornerstoneViewportService.getCornerstoneViewport(active);
  const image = viewport.getCurrentImageId();
  const at = (x, y) => Array.from(window.cornerstone.utilities.imageToWorldCoords(image, [x, y]));
  window.cornerstoneTools.ArrowAnnotateTool.hydrate(viewport.id, [at(column + 20, row + 10), at(column, row)], text, {});
  viewport.render();
  return at(column, row);
}"""
"""An arrow that points at a place of the image, as somebody draws it: the tip comes last. Returns where that is in mm."""


@pytest.fixture(scope="module")
def serve(ohif: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    settings = {"SEGQA_VIEWER": str(ohif), "SEGQA_REVIEWER": "Anna Alpha"}
    with Serve(tmp_path_factory.mktemp("serve"), settings=settings) as started:
        yield started


def page_of(serve: Serve, path: str) -> str:
    return requests.get(f"{serve.url}{path}", timeout=30).text


@pytest.fixture(scope="module")
def reviewed(serve: Serve, demo: Path) -> Reviewed:
    found = reviewed_by(serve, demo)
    wait_until(lambda: 'class="card ' in page_of(serve, "/"), 60, "the worklist has segments")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with chromium() as context:
        yield context


@pytest.fixture
def seen(browser: BrowserContext, serve: Serve) -> Iterator[Viewer]:
    with viewer(browser, serve.url) as page:
        yield page
        no_trouble(page, serve.url)


def test_what_a_reader_points_at_is_an_arrow_at_that_place_in_ohif(
    browser: BrowserContext, seen: Viewer, serve: Serve, reviewed: Reviewed
) -> None:
    reader = Reader(browser.new_page(), serve.url)
    reader.open_first()
    reader.press("2")
    reader.wait_drawn()
    reader.press("o")
    box = reader.page.locator(".plane canvas").first.bounding_box()
    assert box is not None
    reader.page.mouse.click(box["x"] + 0.4 * box["width"], box["y"] + 0.6 * box["height"])
    reader.wait_saved()
    (finding,) = reader.stored()["content"]["findings"]
    before = {str(one.SOPInstanceUID) for one in serve.documents()}
    reader.finish()
    reader.open("/sign")
    reader.page.wait_for_selector("button.first:focus")
    reader.press("Enter")
    wait_until(lambda: len(serve.documents()) == len(before) + 2, 60, "review and arrows are in the archive")
    reader.no_trouble()
    new = [one for one in serve.documents() if one.SOPInstanceUID not in before]
    (arrows,) = [one for one in new if one.ConceptNameCodeSequence[0].CodeValue == "126000"]
    seen.open(document_link(reviewed.study, str(arrows.SeriesInstanceUID)))
    seen.wait_for("n => window.services.measurementService.getMeasurements().length === n", 1)
    (row,) = seen.measurements()
    assert "Over-segmentation" in row["label"]
    x, y, z = finding["point_mm"]
    image = reviewed.image(row["image"])
    assert abs(float(image.ImagePositionPatient[2]) - z) < TOLD_MM
    seen.wait_for_image(row["image"])
    (tip,) = seen.arrow_tips()
    assert np.hypot(tip[0] - x, tip[1] - y) < float(image.PixelSpacing[0])


def test_what_is_drawn_in_ohif_and_stored_stands_in_the_worklist(
    browser: BrowserContext, seen: Viewer, serve: Serve, reviewed: Reviewed, demo: Path
) -> None:
    case = case_in(demo)
    seen.open_and_draw(document_link(reviewed.study, str(reviewed.ct[0].SeriesInstanceUID)))
    uid = seen.current_image()
    slices = [one.sop_instance_uid for one in case.ct.record.slices]
    chosen = slices[len(slices) // 2]
    if uid != chosen:
        seen.show_image(chosen)
    labels = case.segmentations[0].layers[0][slices.index(chosen)]
    value = int(np.bincount(labels[labels > 0]).argmax())
    rows, columns = np.nonzero(labels == value)
    middle = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    row, column = int(rows[middle]), int(columns[middle])
    tip_mm = seen.page.evaluate(_DRAW_ARROW, [COMMENT, column + 0.5, row + 0.5])
    seen.wait_for("n => window.services.measurementService.getMeasurements().length >= n", 1)
    seen.page.evaluate(STORE)
    place = (
        f"/review/{case.segmentations[0].record.sop_instance_uid}/{case.segmentations[0].segments[value - 1].number}"
    )
    wait_until(lambda: place in page_of(serve, "/?annotated=1"), 60, "the segment is in the worklist")
    reader = Reader(browser.new_page(), serve.url)
    reader.open(place)
    reader.wait_ready()
    line = reader.page.locator("[data-annotation]")
    assert COMMENT in line.inner_text()
    assert "OHIF" in line.inner_text()
    reader.wait_drawn()
    line.click()
    (drawn,) = reader.known()["places"]["annotations"]
    assert np.allclose(drawn["point_mm"], tip_mm, atol=OHIF_MM)

    reader.no_trouble()
