"""What people see in OHIF: in a real browser, with a folder and with an Orthanc as archive."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext
from pydicom import Dataset, dcmread
from starlette.applications import Starlette
from starlette.routing import Mount

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.inbox import Inbox
from segqa_dicom.viewer import document_link, study_link
from segqa_dicom.web import create_app
from tests.archive.objects import outgoing
from tests.servers.chromium import Viewer, chromium, viewer
from tests.viewer.conftest import SHAPE, Reviewed, content
from tests.web.in_process import running
from tests.web.server import Ledger

WINDOW = (-160, 240)
"""What OHIF shows a CT with that says nothing: level 40, width 400."""


@pytest.fixture(scope="module", params=["embedded", "deployed"])
def reviewed(request: pytest.FixtureRequest, ohif: Path) -> Reviewed:
    """A study in one of the two kinds of archive."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with chromium() as context:
        yield context


@pytest.fixture
def seen(browser: BrowserContext, reviewed: Reviewed) -> Iterator[Viewer]:
    """A page. At the end nothing may have gone wrong in it, seen or unseen, and nobody else been asked."""
    with viewer(browser, reviewed.url) as page:
        yield page
        no_trouble(page, reviewed.url)


def no_trouble(page: Viewer, url: str) -> None:
    """Nothing has gone wrong in the page, seen or unseen, and nobody but the service was asked."""
    assert page.failed == []
    assert page.complaints == []
    assert page.rejections() == []
    assert page.refused_by_policy() == []
    assert page.hosts == {urlsplit(url).netloc}


def pixels(picture: bytes) -> NDArray[np.int16]:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), np.int16)


def points_of(document: Dataset) -> list[tuple[str, str, float, float]]:
    """Comment, SOP Instance UID of the image, column and row of each key finding."""
    found = []
    for group in content(document, "125007", value_type="CONTAINER"):
        (comment, *_) = content(group, "121106")
        measured = next(item for item in group.ContentSequence if item.ValueType == "NUM")
        (point,) = [item for item in measured.ContentSequence if item.ValueType == "SCOORD"]
        image = point.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        found.append((comment, str(image), *(float(value) for value in point.GraphicData[:2])))
    return found


def world_of(image: Dataset, column: float, row: float) -> tuple[float, float]:
    """x and y in mm of a point of an axial image; (0.5, 0.5) is the centre of the first pixel."""
    row_spacing, column_spacing = (float(value) for value in image.PixelSpacing)
    x, y = (float(value) for value in image.ImagePositionPatient[:2])
    return x + (column - 0.5) * column_spacing, y + (row - 0.5) * row_spacing


def test_the_study_is_in_the_list_and_opens_from_it(seen: Viewer, reviewed: Reviewed, tmp_path: Path) -> None:
    seen.open("/")
    seen.page.get_by_role("navigation").get_by_role("link", name="OHIF").click()
    row = seen.page.locator("table tbody tr").first
    row.wait_for()
    seen.picture(tmp_path / "list.png")
    text = seen.text()
    first = reviewed.ct[0]
    for word in (
        first.PatientID,
        first.StudyDescription,
        *("CT", "SEG", "SR"),
        str(SHAPE[0] + len(reviewed.segmentations) + len(reviewed.documents)),
    ):
        assert str(word) in text
    row.click()
    seen.page.get_by_role("button", name="Basic Viewer").or_(
        seen.page.get_by_role("link", name="Basic Viewer")
    ).first.click()
    seen.wait_until_drawn()
    assert reviewed.study in seen.page.url
    assert len(seen.display_sets()) == 1 + len(reviewed.segmentations) + len(reviewed.documents)


def test_the_ct_is_drawn_as_it_is(seen: Viewer, reviewed: Reviewed, tmp_path: Path) -> None:
    seen.open_and_draw(study_link(reviewed.study))
    middle = reviewed.ct[len(reviewed.ct) // 2]
    seen.show_image(str(middle.SOPInstanceUID))
    drawn = pixels(seen.picture_of_image(tmp_path / "ct.png"))
    assert np.ptp(drawn, axis=2).mean() < 8  # grey, but for some words
    expected, shown = [], []
    hu = middle.pixel_array * float(middle.RescaleSlope) + float(middle.RescaleIntercept)
    rows, columns = middle.Rows, middle.Columns
    grid = [
        (row, column)
        for row in range(rows // 4, 3 * rows // 4, 5)
        for column in range(columns // 4, 3 * columns // 4, 5)
    ]
    world = [
        (*world_of(middle, column + 0.5, row + 0.5), float(middle.ImagePositionPatient[2])) for row, column in grid
    ]
    for (row, column), (x, y) in zip(grid, seen.places_of(world), strict=True):
        expected.append(np.clip((hu[row, column] - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), 0, 1) * 255)
        shown.append(drawn[round(y), round(x)].mean())
    assert len(set(expected)) > 20
    assert np.corrcoef(expected, shown)[0, 1] > 0.9


def test_a_segmentation_lies_over_the_ct_with_its_segments_named(
    seen: Viewer, reviewed: Reviewed, tmp_path: Path
) -> None:
    seen.open_and_draw(study_link(reviewed.study))
    middle = str(reviewed.ct[len(reviewed.ct) // 2].SOPInstanceUID)
    seen.show_image(middle)
    before = pixels(seen.picture_of_image(tmp_path / "without.png"))
    model, segmentation = next(iter(reviewed.segmentations.items()))
    seen.put_on_screen(str(segmentation.SeriesInstanceUID))
    seen.wait_for("() => window.services.segmentationService.getSegmentations().length > 0")
    seen.show_image(middle)
    seen.wait_for_drawing()
    (shown,) = seen.segmentations()
    assert shown["label"] == model
    assert shown["segments"] == [str(one.SegmentLabel) for one in segmentation.SegmentSequence]
    after = pixels(seen.picture_of_image(tmp_path / "with.png"))
    coloured = (np.ptp(after, axis=2) > 40).mean()
    assert coloured > 0.02 > (np.ptp(before, axis=2) > 40).mean()


def test_a_report_is_read_as_text(seen: Viewer, reviewed: Reviewed, tmp_path: Path) -> None:
    report = reviewed.document("Report")
    seen.open(document_link(reviewed.study, str(report.SeriesInstanceUID)))
    summaries = content(report, "55112-7")
    seen.wait_for_text(summaries[0])
    seen.picture(tmp_path / "report.png")
    text = " ".join(seen.text().split())
    assert "structures failed" in summaries[0]
    for summary in summaries:
        assert f"Summary: {summary}" in text
    assert "1. Segmentation Quality Report" in text
    assert "1.1. Imaging Measurements" in text
    assert "Volume: " in text


def test_key_findings_are_arrows_that_lead_to_their_slices(seen: Viewer, reviewed: Reviewed, tmp_path: Path) -> None:
    findings = reviewed.document("Key images")
    points = points_of(findings)
    assert len(points) >= 4
    seen.open(document_link(reviewed.study, str(findings.SeriesInstanceUID)))
    seen.wait_for("n => window.services.measurementService.getMeasurements().length === n", len(points))
    rows = seen.measurements()
    assert sorted((one["label"], one["image"]) for one in rows) == sorted(point[:2] for point in points)
    assert {one["tool"] for one in rows} == {"ArrowAnnotate"}

    seen.page.locator('[data-cy="trackedMeasurements-btn"]').click()
    lines = seen.page.locator('[data-cy="data-row"]')
    lines.nth(len(rows) - 1).wait_for()
    for number in (len(rows) - 1, 0):
        lines.nth(number).click()
        seen.wait_for_image(rows[number]["image"])
        seen.wait_for_text_on_image(rows[number]["label"])
        seen.picture(tmp_path / f"finding_{number}.png")
        here = [point for point in points if point[1] == rows[number]["image"]]
        expected = [world_of(reviewed.image(uid), column, row) for _, uid, column, row in here]
        tips = seen.arrow_tips()
        assert len(tips) == len(here)
        for tip in tips:
            assert min(np.hypot(tip[0] - x, tip[1] - y) for x, y in expected) < 1  # less than a pixel, mm

    images = [one["image"] for one in rows]
    for button, number in ((1, 1), (1, 2), (0, 1)):  # from the first row on: > > <
        seen.page.locator('[data-cy="viewport-pane"] div.h-6.flex > div.cursor-pointer > svg').nth(button).click()
        seen.wait_for_image(images[number])


def test_findings_and_segmentation_are_seen_together(seen: Viewer, reviewed: Reviewed, tmp_path: Path) -> None:
    findings = reviewed.document("Key images")
    seen.open(document_link(reviewed.study, str(findings.SeriesInstanceUID)))
    seen.wait_for("() => window.services.measurementService.getMeasurements().length > 0")
    seen.put_on_screen(str(reviewed.segmentations["Model B 1.0"].SeriesInstanceUID))
    seen.wait_for("() => window.services.segmentationService.getSegmentations().length > 0")
    seen.page.locator('[data-cy="trackedMeasurements-btn"]').click()
    first = seen.measurements()[0]
    seen.page.locator('[data-cy="data-row"]').first.click()
    seen.wait_for_image(first["image"])
    seen.wait_for_drawing()
    drawn = pixels(seen.picture_of_image(tmp_path / "together.png"))
    assert (np.ptp(drawn, axis=2) > 40).mean() > 0.02
    seen.wait_for_text_on_image(first["label"])


def test_below_a_path_of_a_proxy_everything_is_found_too(
    browser: BrowserContext, ohif: Path, demo: Path, tmp_path: Path
) -> None:
    service = ServiceSettings(min_free_bytes=0, viewer=str(ohif), public_url="http://127.0.0.1/segqa")
    objects = [dcmread(path) for path in sorted(demo.rglob("*")) if path.is_file()]
    with closing(FolderArchive(tmp_path / "archive")) as archive:
        archive.store([outgoing(one) for one in objects])
        app = create_app(
            archive=archive, ledger=Ledger(), inbox=Inbox(tmp_path / "inbox"), settings=Settings(), service=service
        )
        with (
            running(Starlette(routes=[Mount("/segqa", app=app)])) as server,
            viewer(browser, f"{server.url}/segqa") as page,
        ):
            page.open_and_draw(study_link(str(objects[0].StudyInstanceUID)))
            (segmentation, _) = (one for one in objects if one.Modality == "SEG")
            page.put_on_screen(str(segmentation.SeriesInstanceUID))
            page.wait_for("() => window.services.segmentationService.getSegmentations().length > 0")
            page.picture(tmp_path / "below.png")
            no_trouble(page, server.url)
