"""Documents of readers in the archive do not make the machine review anything again, nor change what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom import dcmread

from segqa_dicom.assessment.model import Location, Review, SegmentReview
from segqa_dicom.sr import Kind, file_name, write
from tests.servers.process import wait_until
from tests.servers.service import Serve, send, uids
from tests.service.cases import small_case
from tests.sr.readers import MADE_AT, READER, case_in, documents_on, found, middle_of

pytestmark = pytest.mark.servers


def test_a_stored_review_does_not_change_what_the_machine_does(tmp_path: Path) -> None:
    folder = small_case(tmp_path / "case")
    case = case_in(folder)
    segmentation = case.segmentations[0]
    number = segmentation.segments[0].number
    place = Location(case.ct.geometry.point_at(*map(float, middle_of(case, 0, number))))
    said = Review(
        segmentation.record.sop_instance_uid,
        READER,
        (SegmentReview(number, "1", (found("leak", "major", place, "\u00fc"),)),),
        MADE_AT,
    )
    written = documents_on(case, 0, said)
    assert {one.kind for one in written} == {Kind.REVIEW, Kind.REVIEW_KEYIMG}
    of_reader = {one.sop_instance_uid for one in written}
    for document in written:
        (tmp_path / "reviews").mkdir(exist_ok=True)
        write(document, tmp_path / "reviews" / file_name(document))
    with Serve(tmp_path / "service") as service:
        assert send(service.dicom_port, folder) == 0
        service.wait_for_cases(1)
        machine = uids(service.documents())
        (before,) = service.cases()
        assert send(service.dicom_port, tmp_path / "reviews") == 0
        wait_until(lambda: of_reader <= set(uids(service.documents())), what="the review is in the archive")
        assert send(service.dicom_port, folder) == 0
        service.segqa("reconcile")
        service.wait_for_cases(1)
        (after,) = service.cases()
        assert (after.case_id, after.revision, after.documents) == (before.case_id, before.revision, before.documents)
        assert service.segqa("replay", before.case_id[:12]).returncode == 0
        service.wait_for_cases(1)
        assert set(uids(service.documents())) == {*machine, *of_reader}
        assert json.loads(service.segqa("status", "--json").stdout)["cases"]["confirmed"] == 1


def test_reviewing_a_folder_with_documents_of_readers_in_it_is_reviewing_it_without_them(tmp_path: Path) -> None:
    folder = small_case(tmp_path / "case")
    case = case_in(folder)
    said = Review(
        case.segmentations[0].record.sop_instance_uid,
        READER,
        (SegmentReview(case.segmentations[0].segments[0].number, "5"),),
        MADE_AT,
    )
    (document,) = documents_on(case, 0, said)
    write(document, folder / "review.dcm")
    again = case_in.__wrapped__(folder)
    assert [one.record.file_digest for one in again.segmentations] == [
        one.record.file_digest for one in case.segmentations
    ]
    assert dcmread(folder / "review.dcm").SOPInstanceUID == document.sop_instance_uid
