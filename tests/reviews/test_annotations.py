"""The book of annotations: found in the archive, placed, kept, and forgotten with their documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from segqa_dicom.archive import Instance
from segqa_dicom.assessment.vocabulary import default_vocabulary
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import PeerUnavailable
from segqa_dicom.findings import reindex
from segqa_dicom.findings.worklist import machine_segment, segmentations
from segqa_dicom.model import SegmentRef
from segqa_dicom.pictures import OpenCases
from segqa_dicom.reviews.exchange.annotations import AnnotationBook, Looked
from segqa_dicom.reviews.workflow.model import Annotation
from tests.findings.making import changed, ohif_document, outgoing, renewed
from tests.phantom_studies import phantom_study
from tests.reviews.machine_cases import reviewed_case
from tests.reviews.office import Office
from tests.servers.process import wait_until

OHIF = Path(__file__).parent / "data" / "ohif_saved.dcm"
"""What OHIF 3.12.10 has stored of arrows and other drawings on the demo of this shape, made by hand in a browser."""
OHIF_SHAPE = (64, 136, 192)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study that the file of OHIF belongs to, reviewed; nobody may change it."""
    folder = tmp_path_factory.mktemp("annotated")
    phantom_study(folder / "dicom", OHIF_SHAPE)
    (folder / "office").mkdir()
    reviewed_case(folder / "dicom", folder / "office").archive.close()
    return folder / "office"


@pytest.fixture
def here(demo: Path, tmp_path: Path) -> Iterator[Office]:
    made = Office(demo, tmp_path / "office")
    yield made
    made.close()


@pytest.fixture
def book_of(tmp_path: Path) -> Iterator[Callable[[Office], AnnotationBook]]:
    closing: list[Callable[[], None]] = []

    def make(office: Office) -> AnnotationBook:
        cases = OpenCases(office.archive, folder=tmp_path / "open", limits=Limits(), max_bytes=500_000_000)
        book = AnnotationBook(
            ledger=office.ledger,
            archive=office.archive,
            index=office.index,
            cases=cases,
            vocabulary=default_vocabulary(),
            folder=tmp_path,
            clock=office.clock,
        )
        closing.extend((book.close, cases.close))
        return book

    yield make
    for close in closing:
        close()


def put(office: Office, *files: bytes) -> None:
    office.archive.store([outgoing(file) for file in files])
    reindex(office.index, office.archive)


def study_of(office: Office) -> str:
    return office.archive.list_series()[0].study_instance_uid


def slices(office: Office) -> list[Dataset]:
    (series,) = office.archive.list_series(modality="CT")
    paths = office.archive.fetch(
        office.archive.list_instances(series.study_instance_uid, series.series_instance_uid), office.folder
    )
    found = [dcmread(path, stop_before_pixels=True) for path in paths.values()]
    return sorted(found, key=lambda one: float(one.ImagePositionPatient[2]))


def by_group(found: list[Annotation]) -> dict[int, list[Annotation]]:
    groups: dict[int, list[Annotation]] = {}
    for one in found:
        groups.setdefault(one.group, []).append(one)
    return groups


def test_drawings_of_ohif_lie_where_they_were_drawn(here: Office, book_of: Callable[[Office], AnnotationBook]) -> None:
    put(here, OHIF.read_bytes())
    book = book_of(here)
    looked = book.look()
    assert (looked.documents, looked.unplaced, looked.waiting) == (1, 0, 0)
    groups = by_group(book.in_study(study_of(here)))
    assert set(groups) == set(range(1, 11))
    images = {str(one.SOPInstanceUID): one for one in slices(here)}
    for group, tool, name, points in drawn(dcmread(OHIF)):
        image = images[name]
        x, y, z = (float(value) for value in image.ImagePositionPatient)
        row_mm, column_mm = (float(value) for value in image.PixelSpacing)
        location = groups[group][0].finding.location
        assert location is not None
        expected = [(x + (c - 0.5) * column_mm, y + (r - 0.5) * row_mm, z) for c, r in points]
        if tool == "ArrowAnnotate":
            assert location.point_mm == pytest.approx(expected[0], abs=1e-3)
        elif tool in ("RectangleROI", "Length"):
            assert location.box_mm is not None
            for axis in range(3):
                values = [point[axis] for point in expected]
                assert location.box_mm[0][axis] == pytest.approx(min(values), abs=1e-3)
                assert location.box_mm[1][axis] == pytest.approx(max(values), abs=1e-3)


def drawn(document: Dataset) -> Iterator[tuple[int, str, str, list[tuple[float, float]]]]:
    """Group, tool and image of each drawing with its points, walked through with pydicom."""
    (measurements,) = [one for one in document.ContentSequence if one.ConceptNameCodeSequence[0].CodeValue == "126010"]
    for number, group in enumerate(measurements.ContentSequence, start=1):
        (tracking,) = [one for one in group.ContentSequence if one.ConceptNameCodeSequence[0].CodeValue == "112039"]
        for item in group.ContentSequence:
            for below in item.get("ContentSequence", ()):
                if below.ValueType == "SCOORD":
                    values = [float(value) for value in below.GraphicData]
                    image = str(below.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
                    tool = tracking.TextValue.split(":")[1]
                    points = list(zip(values[::2], values[1::2], strict=True))
                    yield number, tool, image, points


def test_annotations_lie_on_the_segments_at_their_place(
    here: Office, book_of: Callable[[Office], AnnotationBook]
) -> None:
    put(here, OHIF.read_bytes())
    book = book_of(here)
    book.look()
    groups = by_group(book.in_study(study_of(here)))
    # These two are arrows of a review, on the middle of a structure, that OHIF has stored again.
    for group, name in ((1, "spinal_cord"), (2, "vertebrae_T2")):
        labels = {here_label(here, one.place) for one in groups[group] if one.place}
        assert labels == {name}
        assert {one.distance_mm for one in groups[group]} == {0.0}
    assert {one.finding.type for one in groups[1]} == {"leak"}
    for one in groups[1]:
        assert one.place is not None
        assert one in book.of_segment(one.place)
        assert here.ledger.annotation_counts()[one.place.segmentation, one.place.segment] >= 1
    assert {one.author for group in groups.values() for one in group} == {""}  # OHIF names nobody
    assert {one.program for group in groups.values() for one in group} == {"OHIF"}


def here_label(office: Office, place: SegmentRef) -> str:
    found = machine_segment(office.index, place)
    return found.label if found else ""


def test_a_second_round_and_a_restart_look_at_nothing_again(
    office: Office, book_of: Callable[[Office], AnnotationBook]
) -> None:
    put(office, ohif_document(slices(office)[4]))
    assert book_of(office).look().documents == 1
    before = book_of(office).in_study(study_of(office))
    assert book_of(office).look() == Looked()
    assert book_of(office).in_study(study_of(office)) == before != []


def test_a_deleted_document_takes_its_annotations_away(
    office: Office, book_of: Callable[[Office], AnnotationBook]
) -> None:
    file = ohif_document(slices(office)[4])
    put(office, file)
    book = book_of(office)
    book.look()
    office.index.remove([str(dcmread(BytesIO(file)).SOPInstanceUID)])
    assert book.look().forgotten == 1
    assert book.in_study(study_of(office)) == []


def test_a_replaced_document_takes_its_annotations_away(
    office: Office, book_of: Callable[[Office], AnnotationBook]
) -> None:
    file = ohif_document(slices(office)[4])
    put(office, file)
    book = book_of(office)
    book.look()
    put(office, renewed(file, "1.2.3.4.5", str(dcmread(BytesIO(file)).SOPInstanceUID)))
    assert (book.look().forgotten, {one.document for one in book.in_study(study_of(office))}) == (1, {"1.2.3.4.5"})


def test_what_cannot_be_placed_is_remembered_and_stops_nobody(
    office: Office, book_of: Callable[[Office], AnnotationBook]
) -> None:
    def elsewhere(dataset: Dataset) -> None:
        dataset.SOPInstanceUID = generate_uid()
        replace_images(dataset, "1.2.3.4")

    stray = changed(ohif_document(slices(office)[4]), elsewhere)
    put(office, stray, ohif_document(slices(office)[4]))
    book = book_of(office)
    looked = book.look()
    assert (looked.documents, looked.unplaced) == (2, 1)
    (reason,) = book.reasons().values()
    assert "CT" in reason
    assert set(book.reasons()) == {str(dcmread(BytesIO(stray)).SOPInstanceUID)}
    found = book.in_study(study_of(office))
    assert len({one.document for one in found}) == 2
    assert [one.place for one in found if one.document in book.reasons()] == [None]


def replace_images(item: Dataset, uid: str) -> None:
    for child in item.get("ContentSequence", ()):
        if child.ValueType == "IMAGE":
            child.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = uid
        replace_images(child, uid)


def test_an_archive_that_does_not_answer_is_asked_again(
    office: Office, book_of: Callable[[Office], AnnotationBook]
) -> None:
    put(office, ohif_document(slices(office)[4]))
    whole = office.archive

    class Silent:
        def find_instances(self, sop_instance_uids: object) -> list[Instance]:
            raise PeerUnavailable("archive does not answer")

        def fetch(self, instances: object, folder: Path) -> dict[str, Path]:
            raise PeerUnavailable("archive does not answer")

    office.archive = Silent()  # type: ignore[assignment]
    silent = book_of(office)
    assert silent.look() == Looked(waiting=1)
    office.archive = whole
    assert book_of(office).look().documents == 1


def test_another_segmentation_is_a_reason_to_look_again(
    demo: Path, tmp_path: Path, book_of: Callable[[Office], AnnotationBook]
) -> None:
    office = Office(demo, tmp_path / "office")
    put(office, OHIF.read_bytes())
    reports = {one.segmentation: one.report for one in segmentations(office.index)}
    office.index.remove([sorted(reports.values())[0]])
    book = book_of(office)
    assert [book.look().documents, book.look().documents] == [1, 0]
    reindex(office.index, office.archive)
    assert [book.look().documents, book.look().documents] == [1, 0]
    office.close()


def test_in_the_background_annotations_are_found_by_themselves(
    office: Office, book_of: Callable[[Office], AnnotationBook]
) -> None:
    book = book_of(office)
    book.start()
    put(office, ohif_document(slices(office)[4]))
    book.wake()
    wait_until(lambda: bool(book.in_study(study_of(office))), timeout_s=60)
    book.close()


def test_documents_of_devices_and_of_ours_are_not_annotations(
    office: Office, book_of: Callable[[Office], AnnotationBook]
) -> None:
    assert book_of(office).look() == Looked()
