"""A real abdomen in OHIF: what is written about real segmentations is shown where it lies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext

from segqa_dicom.viewer import document_link
from tests.servers.chromium import Viewer, chromium, viewer
from tests.servers.service import Serve
from tests.shared import shared
from tests.viewer.conftest import Reviewed, content, reviewed_by
from tests.viewer.test_ohif import no_trouble, points_of, world_of

pytestmark = pytest.mark.shared
MODEL = "seg_ts1.3_full.dcm"


@pytest.fixture(scope="module")
def real_case(ohif: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    """Case A with one segmentation, reviewed."""
    folder = tmp_path_factory.mktemp("real")
    shutil.copytree(shared("data", "case_A", "ct"), folder / "case" / "ct")
    shutil.copy(shared("data", "case_A", MODEL), folder / "case")
    with Serve(folder / "serve", settings={"SEGQA_VIEWER": str(ohif)}) as serve:
        yield reviewed_by(serve, folder / "case")


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with chromium() as context:
        yield context


@pytest.fixture
def seen(browser: BrowserContext, real_case: Reviewed) -> Iterator[Viewer]:
    with viewer(browser, real_case.url) as page:
        yield page
        no_trouble(page, real_case.url)


def test_findings_on_a_real_case_lie_where_they_are_said_to(seen: Viewer, real_case: Reviewed, tmp_path: Path) -> None:
    (findings,) = (one for one in real_case.documents if one.SeriesDescription.startswith("Key images: "))
    points = points_of(findings)
    seen.open(document_link(real_case.study, str(findings.SeriesInstanceUID)))
    seen.wait_for("n => window.services.measurementService.getMeasurements().length === n", len(points))
    rows = seen.measurements()
    assert sorted((one["label"], one["image"]) for one in rows) == sorted(point[:2] for point in points)
    (segmentation,) = real_case.segmentations.values()
    seen.put_on_screen(str(segmentation.SeriesInstanceUID))
    seen.wait_for("() => window.services.segmentationService.getSegmentations().length > 0")
    seen.page.locator('[data-cy="trackedMeasurements-btn"]').click()
    last = len(rows) - 1
    seen.page.locator('[data-cy="data-row"]').nth(last).click()
    seen.wait_for_image(rows[last]["image"])
    seen.wait_for_text_on_image(rows[last]["label"])
    seen.wait_for_drawing()
    seen.picture(tmp_path / "together.png")
    image = real_case.image(rows[last]["image"])
    said = [world_of(image, column, row) for _, uid, column, row in points if uid == rows[last]["image"]]
    tips = seen.arrow_tips()
    assert len(tips) == len(said)
    for tip in tips:
        assert min(np.hypot(tip[0] - x, tip[1] - y) for x, y in said) < float(image.PixelSpacing[0])


def test_the_report_on_a_real_case_is_read_as_text(seen: Viewer, real_case: Reviewed, tmp_path: Path) -> None:
    (report,) = (one for one in real_case.documents if one.SeriesDescription.startswith("Report: "))
    seen.open(document_link(real_case.study, str(report.SeriesInstanceUID)))
    summaries = content(report, "55112-7")
    seen.wait_for_text(summaries[0])
    seen.picture(tmp_path / "report.png")
    text = " ".join(seen.text().split())
    for summary in summaries:
        assert " ".join(summary.split()) in text
