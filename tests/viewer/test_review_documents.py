"""What a reader has written, in OHIF: the review as text, the markers where they were set."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import BrowserContext
from pydicom import Dataset, dcmread

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.assessment.model import Location, Review, ReviewFinding, SegmentReview
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.findings import read_document
from segqa_dicom.inbox import Inbox
from segqa_dicom.model import Case
from segqa_dicom.sr import Document
from segqa_dicom.sr.read_review import own_markers, read_annotations
from segqa_dicom.viewer import document_link
from segqa_dicom.web import create_app
from tests.archive.objects import outgoing
from tests.findings.making import outgoing as outgoing_file
from tests.servers.chromium import Viewer, chromium, viewer
from tests.shared import shared
from tests.sr.readers import MADE_AT, READER, box_around, case_in, documents_on, middle_of
from tests.viewer.conftest import content
from tests.viewer.test_ohif import no_trouble, world_of
from tests.viewer.test_ohif_real import MODEL
from tests.web.in_process import running
from tests.web.server import Ledger

COMMENT = "l\u00e4uft in die Milz aus"


@dataclass(frozen=True)
class Shown:
    """A study with a review in an archive that OHIF reads."""

    url: str
    archive: FolderArchive
    case: Case
    images: dict[str, Dataset]
    review: Document
    markers: Document

    def link(self, document: Document) -> str:
        return document_link(self.case.ct.record.study_instance_uid, document.series_instance_uid)


def reviewed_case(folder: Path) -> tuple[Case, list[Document]]:
    """A review of the first SEG: a point, a box on a slice, and a box across the slices."""
    case = case_in(folder)
    chosen: dict[int, tuple[int, tuple[int, int, int]]] = {}
    for at, segment in enumerate(case.segmentations[0].segments):
        if (case.segmentations[0].layers[segment.layer] == at + 1).any() and len(chosen) < 3:
            voxel = middle_of(case, 0, segment.number)
            chosen.setdefault(voxel[0], (segment.number, voxel))  # each on a slice of its own
    (first, one), (second, two), (third, three) = sorted(chosen.values())
    point = Location(case.ct.geometry.point_at(*map(float, one)))
    said = Review(
        case.segmentations[0].record.sop_instance_uid,
        READER,
        (
            SegmentReview(first, "1", (ReviewFinding("leak", "critical", point, COMMENT),), "reject", "high", "Bad."),
            SegmentReview(second, "3", (ReviewFinding("hole", "minor", box_around(case, two, (0, 6, 9))),)),
            SegmentReview(third, "3", (ReviewFinding("under", "major", box_around(case, three, (3, 0, 9))),)),
        ),
        MADE_AT,
    )
    return case, documents_on(case, 0, said)


@pytest.fixture(scope="module", params=["phantom", pytest.param("real", marks=pytest.mark.shared)])
def shown(
    request: pytest.FixtureRequest, demo: Path, ohif: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("reviewed")
    study = demo
    if request.param == "real":
        study = folder / "case"
        shutil.copytree(shared("data", "case_A", "ct"), study / "ct")
        shutil.copy(shared("data", "case_A", MODEL), study)
    case, (review, markers) = reviewed_case(study)
    objects = [dcmread(path) for path in sorted(study.rglob("*")) if path.is_file()]
    service = ServiceSettings(min_free_bytes=0, viewer=str(ohif))
    with closing(FolderArchive(folder / "archive")) as archive:
        archive.store([*map(outgoing, objects), outgoing_file(review.file), outgoing_file(markers.file)])
        app = create_app(
            archive=archive, ledger=Ledger(), inbox=Inbox(folder / "inbox"), settings=Settings(), service=service
        )
        with running(app) as server:
            images = {str(one.SOPInstanceUID): one for one in objects if one.Modality == "CT"}
            yield Shown(server.url, archive, case, images, review, markers)


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with chromium() as context:
        yield context


@pytest.fixture
def seen(browser: BrowserContext, shown: Shown) -> Iterator[Viewer]:
    with viewer(browser, shown.url) as page:
        yield page
        no_trouble(page, shown.url)


def test_a_review_is_read_as_text(seen: Viewer, shown: Shown, tmp_path: Path) -> None:
    seen.open(shown.link(shown.review))
    review = shown.review.dataset
    seen.wait_for_text("Overall rating")
    seen.picture(tmp_path / "review.png")
    text = " ".join(seen.text().split())
    for line in (*content(review, "55112-7"), *content(review, "FINDNOTE")):
        assert " ".join(line.split()) in text
    for words in ("Overall rating: Unusable", "Proposed action: Reject", "Confidence of reader: High", COMMENT):
        assert words in text
    assert "Person Observer Name" in text


# Of what the reader's markers have become; OHIF's own display of the document, before it was loaded, is left out.
_SHAPES = """() => window.cornerstoneTools.annotation.state.getAllAnnotations()
  .filter(one => one.metadata.toolName !== 'DICOMSRDisplay')
  .map(one => ({ tool: one.metadata.toolName,
    image: window.cornerstone.metaData.get('instance', one.metadata.referencedImageId).SOPInstanceUID,
    points: one.data.handles.points.map(point => Array.from(point)) }))"""
# An arrow with a text and a length with a label, as somebody draws them.
_DRAW = """text => {
  const services = window.services;
  const active = services.viewportGridService.getState().activeViewportId;
  const viewport = services.cornerstoneViewportService.getCornerstoneViewport(active);
  const image = viewport.getCurrentImageId();
  const at = (column, row) => Array.from(window.cornerstone.utilities.imageToWorldCoords(image, [column, row]));
  const tools = window.cornerstoneTools;
  tools.ArrowAnnotateTool.hydrate(viewport.id, [at(40, 50), at(60, 60)], text, {});
  tools.LengthTool.hydrate(viewport.id, [at(40, 30), at(70, 45)], {});
  viewport.render();
  return window.cornerstone.metaData.get('instance', image).SOPInstanceUID;
}"""
_IS_MEASURED = """() => window.services.measurementService.getMeasurements()
  .filter(one => one.toolName === 'Length').every(one => Object.values(one.data).some(part => part.length > 0))"""
STORE = """async () => (await window.commandsManager.runCommand('storeMeasurements', {
  measurementData: window.services.measurementService.getMeasurements(),
  dataSource: window.extensionManager.getActiveDataSource()[0],
  additionalFindingTypes: ['ArrowAnnotate'],
  options: { SeriesDescription: 'Measurements of a reader', SeriesNumber: 99 },
}, 'CORNERSTONE_STRUCTURED_REPORT')).SOPInstanceUID"""


def loaded(seen: Viewer, shown: Shown) -> list[dict[str, Any]]:
    """Open the markers, and wait until OHIF has made annotations of them."""
    seen.open(shown.link(shown.markers))
    count = len(own_markers(read_document(shown.markers.file)))
    seen.wait_for("n => window.services.measurementService.getMeasurements().length === n", count)
    return seen.measurements()


def test_markers_lie_where_the_reader_set_them(seen: Viewer, shown: Shown, tmp_path: Path) -> None:
    rows = loaded(seen, shown)
    expected = {one.text: one for one in own_markers(read_document(shown.markers.file))}
    assert {row["label"] for row in rows} == set(expected)
    shapes = seen.page.evaluate(_SHAPES)
    assert sorted(one["tool"] for one in shapes) == ["ArrowAnnotate", "ArrowAnnotate", "RectangleROI"]
    for marker in expected.values():
        image = shown.images[marker.image]
        pixel_mm = max(float(value) for value in image.PixelSpacing)
        said = [world_of(image, column, row) for column, row in marker.points[: 1 if len(marker.points) == 1 else 4]]
        (shape,) = [one for one in shapes if one["image"] == marker.image]
        # Of an arrow the tip; of a rectangle all four corners, in an order of OHIF's.
        drawn = shape["points"] if shape["tool"] == "RectangleROI" else shape["points"][:1]
        assert len(drawn) == len(said)
        for x, y in said:
            assert min(np.hypot(x - point[0], y - point[1]) for point in drawn) < pixel_mm
    seen.page.locator('[data-cy="trackedMeasurements-btn"]').click()
    for number, row in enumerate(rows):
        seen.page.locator('[data-cy="data-row"]').filter(has_text=row["label"][:20]).first.click()
        seen.wait_for_image(row["image"])
        seen.wait_for_text_on_image(row["label"] if row["tool"] == "ArrowAnnotate" else "Area:")
        seen.wait_for_drawing()
        seen.picture(tmp_path / f"marker_{number}.png")
        assert " ".join(row["label"].split()) in " ".join(seen.text().split())


@pytest.mark.parametrize("shown", ["phantom"], indirect=True)
def test_what_a_reader_draws_and_stores_in_ohif_is_read_and_copies_are_known(
    seen: Viewer, shown: Shown, tmp_path: Path
) -> None:
    own = own_markers(read_document(shown.markers.file))
    loaded(seen, shown)
    seen.wait_until_drawn()
    image = seen.page.evaluate(_DRAW, COMMENT)
    seen.wait_for("n => window.services.measurementService.getMeasurements().length === n", len(own) + 2)
    seen.wait_for(_IS_MEASURED)
    uid = seen.page.evaluate(STORE)
    (stored,) = shown.archive.find_instances([uid])
    ((_, path),) = shown.archive.fetch([stored], tmp_path / "stored").items()
    found = read_annotations(read_document(path), own)
    assert sorted(one.text for one in found if one.is_copy) == sorted(one.text for one in own)
    arrow, length = (one for one in found if not one.is_copy)
    assert (arrow.tool, arrow.text, arrow.image, arrow.program) == ("ArrowAnnotate", COMMENT, image, "OHIF")
    assert np.allclose(arrow.points[0], (60, 60), atol=0.01)
    assert (length.tool, length.text, length.image) == ("Length", "", image)
    assert length.label.startswith("Length ")
    assert np.allclose(length.points, ((40, 30), (70, 45)), atol=0.01)
    assert {one.author for one in found} == {""}  # OHIF does not know who it is
