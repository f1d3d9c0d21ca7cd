"""Reviews come back from their documents as they were; what people drew elsewhere is read for what it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes as dicom

from segqa_dicom.assessment.model import Location, Purpose, Review, Reviewer, ReviewFinding, SegmentReview
from segqa_dicom.assessment.vocabulary import default_vocabulary, vocabulary_with
from segqa_dicom.findings import FindingsIndex, read_document
from segqa_dicom.findings.filters import Filters
from segqa_dicom.findings.listing import find
from segqa_dicom.model import WHOLE
from segqa_dicom.sr import Kind, Predecessor, as_written, build_documents, reader_text
from segqa_dicom.sr.read_review import (
    considered_reviews,
    own_markers,
    read_annotations,
    read_review,
    reviewed_report,
)
from segqa_dicom.sr.values import MAX_TEXT
from tests.shared import shared
from tests.sr.factories import TITLES, rich_case
from tests.sr.readers import (
    READER,
    REPORT,
    box_around,
    case_in,
    documents,
    documents_on,
    found,
    middle_of,
    model,
    review,
    rich_review,
)
from tests.tiers import examples

from .making import changed, dcmqi_document, highdicom_document, ohif_document

WORDS = default_vocabulary()


def read_back(said: Review, **values: object) -> Review | None:
    return read_review(read_document(documents(said, **values)[0].file), WORDS)


# ------------------------------------------------------------------------------------------------------- our reviews


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(rich_review(), id="everything"),
        pytest.param(rich_review(is_signed=False), id="unsigned"),
        pytest.param(rich_review(purpose=Purpose.REPEAT, reading=3), id="repeat"),
        pytest.param(rich_review(purpose=Purpose.ADJUDICATION, vocabulary_version=""), id="adjudication"),
        pytest.param(review(SegmentReview(WHOLE, "2", comment="noisy")), id="the whole only"),
        pytest.param(review(SegmentReview(1, confidence="low")), id="nothing but confidence"),
        pytest.param(review(reviewer=Reviewer("x", "=\u5c71\u7530^\u592a\u90ce")), id="ideographs"),
        pytest.param(review(made_at="20261121203015.123456-0330"), id="odd time zone"),
    ],
)
def test_a_review_comes_back_as_it_was(said: Review) -> None:
    assert as_written(said) == said
    assert read_back(said) == said


TEXTS = st.text(st.characters(), max_size=80) | st.text(alphabet="a \u00e4\n\r\\^=\x00\u202e\ud800", max_size=40)
NUMBERS = st.floats(-1e17, 1e17) | st.floats(-500, 500) | st.sampled_from([0.1, -0.0, 1e-300, 12.5])
POINTS = st.tuples(NUMBERS, NUMBERS, NUMBERS)
LOCATIONS = st.builds(Location, POINTS, st.none() | st.tuples(POINTS, POINTS))
FINDINGS = st.builds(
    ReviewFinding,
    st.sampled_from(sorted(WORDS.findings)),
    st.sampled_from(["", *WORDS.severities]),
    st.none() | LOCATIONS,
    TEXTS,
)
SEGMENTS = st.builds(
    SegmentReview,
    st.just(0),
    st.sampled_from(["", *WORDS.ratings]),
    st.lists(FINDINGS, max_size=3).map(tuple),
    st.sampled_from(["", *WORDS.actions]),
    st.sampled_from(["", *WORDS.confidences]),
    TEXTS,
    st.floats(0, 1e6) | st.sampled_from([0.0, 1.5, math.inf, math.nan]),
)


@examples(40)
@given(
    st.lists(SEGMENTS, min_size=1, max_size=4),
    st.permutations([0, 1, 2, 3, 4, 5, 9]),
    st.builds(Reviewer, TEXTS, TEXTS, TEXTS),
    st.sampled_from(Purpose),
    st.integers(1, 999),
    st.booleans(),
)
def test_whatever_is_typed_comes_back_as_it_was_written(segments, numbers, reader, purpose, reading, is_signed) -> None:
    numbered = sorted(zip(numbers, segments, strict=False), key=lambda pair: pair[0])
    said = review(
        *(replace(one, segment_number=number) for number, one in numbered),
        *([] if any(not one.is_empty for one in segments) else [SegmentReview(99, "5")]),
        reviewer=reader,
        purpose=purpose,
        reading=reading,
        is_signed=is_signed,
    )
    if not any(not one.is_empty for one in segments) or not as_written(said).segments:
        said = replace(said, segments=(SegmentReview(1, "5"),))
    written = as_written(said)
    found_again = read_back(said)
    assert found_again is not None
    expected = written if written.reviewer.login else replace(written, reviewer=found_again.reviewer)
    assert found_again == expected
    assert as_written(written) == written


def test_a_segment_whose_comment_has_no_character_that_can_be_written_is_left_out() -> None:
    said = review(SegmentReview(0, comment="\ud800"), SegmentReview(1, "5"))
    assert [one.segment_number for one in as_written(said).segments] == [1]
    assert read_back(said) == as_written(said)


def test_comments_of_any_length_come_back() -> None:
    long = "\n".join(["\u00e4\U0001f9e0"] * 2000)
    said = review(SegmentReview(1, "2", (found(comment=long),), comment=long))
    back = read_back(said)
    assert back is not None
    for text in (back.segments[0].comment, back.segments[0].findings[0].comment):
        assert text == reader_text.comment_text(long)
        assert text.endswith(reader_text.CUT)
        assert reader_text.COMMENT_LENGTH * 2 <= MAX_TEXT


def test_pydicom_reads_the_same_review() -> None:
    """From files that another program has written anew, in another transfer syntax."""
    said = rich_review()
    dataset = dcmread(BytesIO(documents(said)[0].file))
    buffer = BytesIO()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    dataset.save_as(buffer, implicit_vr=True, little_endian=True)
    assert read_review(read_document(buffer.getvalue()), WORDS) == said


def test_words_keep_their_ids_whatever_the_vocabulary_is_now() -> None:
    then = vocabulary_with({"findings": {"contrast": {"code": "QF-CONTRAST", "name": "X", "severity": "major"}}})
    said = review(SegmentReview(1, "2", (found("contrast"), found("hole"))))
    document = read_document(documents(said, vocabulary=then)[0].file)
    assert read_review(document, then) == said
    later = vocabulary_with({"findings": {"hole": {"enabled": False}}})
    back = read_review(document, later)
    assert back is not None
    assert [one.type for one in back.segments[0].findings] == ["QF-CONTRAST", "hole"]
    again = read_document(documents(back, vocabulary=later)[0].file)
    assert read_review(again, later) == back


def test_other_documents_are_no_reviews() -> None:
    others = build_documents(rich_case(), rule_titles=TITLES)
    marked = documents(rich_review())[1]
    for document in (*others, marked):
        read = read_document(document.file)
        assert read.kind == document.kind.value
        assert read_review(read, WORDS) is None


def test_the_kind_is_known_without_the_description_of_the_series() -> None:
    for document in (*documents(rich_review()), build_documents(rich_case(), rule_titles=TITLES)[0]):

        def forget(dataset: Dataset) -> None:
            dataset.SeriesDescription = ""

        assert read_document(changed(document.file, forget)).kind == document.kind.value


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda dataset: dataset.ContentSequence.clear(), id="empty"),
        pytest.param(lambda dataset: dataset.ContentSequence[9:].clear(), id="nothing cut"),
        pytest.param(
            lambda dataset: dataset.__delattr__("CurrentRequestedProcedureEvidenceSequence"), id="no evidence"
        ),
    ],
)
def test_a_damaged_review_breaks_nothing(damage: Callable[[Dataset], None]) -> None:
    def change(dataset: Dataset) -> None:
        damage(dataset)
        if not dataset.ContentSequence:
            dataset.ContentSequence = [dcmread(BytesIO(documents(review())[0].file)).ContentSequence[0]]

    document = read_document(changed(documents(review(SegmentReview(WHOLE, "5")))[0].file, change))
    back = read_review(document, WORDS)
    assert back is None or back.segmentation == model().record.sop_instance_uid


def test_what_a_review_cites_can_be_read() -> None:
    considered = (Predecessor("1.2.826.0.1.96.1", "1.2.826.0.1.96"),)
    document = read_document(documents(rich_review(), considered=considered)[0].file)
    assert reviewed_report(document) == REPORT.sop_instance_uid
    assert considered_reviews(document) == ("1.2.826.0.1.96.1",)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["case_A", "case_B"])
def test_places_on_real_cases_come_back_to_the_last_digit(name: str) -> None:
    case = case_in(shared("data", name))
    for at, segmentation in enumerate(case.segmentations):
        numbers = [one.number for one in segmentation.segments if (segmentation.layers[one.layer] > 0).any()][:4]
        segments = []
        for number in numbers:
            voxel = middle_of(case, at, number)
            point = Location(case.ct.geometry.point_at(*map(float, voxel)))
            places = (point, box_around(case, voxel, (0, 7, 5)), box_around(case, voxel, (4, 0, 3)))
            segments.append(
                SegmentReview(number, "3", tuple(found("leak", "minor", place, "\u00fc") for place in places))
            )
        said = Review(segmentation.record.sop_instance_uid, READER, tuple(segments), "20261121203015+0000")
        written, marked = documents_on(case, at, said)
        assert read_review(read_document(written.file), WORDS) == said
        kinds = [one.tool for one in own_markers(read_document(marked.file))]
        assert sorted(kinds) == sorted(["ArrowAnnotate", "RectangleROI", "ArrowAnnotate"] * len(numbers))


# ----------------------------------------------------------------------------------------------------------- the index


@pytest.fixture
def index(tmp_path: Path) -> FindingsIndex:
    filled = FindingsIndex(tmp_path / "findings.sqlite3")
    own = [*build_documents(rich_case(), rule_titles=TITLES), *documents(rich_review())]
    filled.add(read_document(one.file) for one in own)
    return filled


def test_reviews_are_listed_as_what_readers_say(index: FindingsIndex) -> None:
    rows = find(index, Filters(reviewer=("M\u00fcller",)), limit=100).rows
    assert {row.kind for row in rows} == {"evaluation"}
    said = [(row.segment_number, row.title, row.detail) for row in rows]
    assert said[:4] == [
        (0, "Segmentation finding", "Image artefact, minor; at -20.0, -41.0, 7.4 mm"),
        (0, "Proposed action", "Edit"),
        (0, "Confidence of reader", "Low"),
        (0, "Comment", "\u00dcberall verrauscht"),
    ]
    assert (1, "Overall rating", "Major edits needed") in said
    assert (1, "Segmentation finding", "Hole, minor; box of 21.0 x 18.0 x 0.0 mm around -20.0, -41.0, 6.0 mm") in said
    assert (9, "Segmentation finding", "Acceptable variant (11 or 13 ribs, L6, T13), cosmetic") in said
    assert {row.model for row in rows} == {"TotalSegmentator 2.1"}
    assert {row.seg for row in rows} == {model().record.sop_instance_uid}
    assert {row.observer for row in rows} == {READER.name}
    assert len(rows) == find(index, Filters(reviewer=("jmueller",)), limit=0).total == 4 + 8 + 1 + 2 + 1


def test_reviews_do_not_change_what_is_said_of_checks(index: FindingsIndex, tmp_path: Path) -> None:
    machine = FindingsIndex(tmp_path / "machine.sqlite3")
    machine.add(read_document(one.file) for one in build_documents(rich_case(), rule_titles=TITLES))
    for filters in (Filters(kind=("check",)), Filters(verdict=("unusable",)), Filters(outcome=("FAIL",))):
        assert find(index, filters, limit=0).total == find(machine, filters, limit=0).total
    assert find(index, Filters(), limit=0).total > find(machine, Filters(), limit=0).total


def test_an_amended_review_is_the_only_current_one(index: FindingsIndex) -> None:
    first = documents(rich_review())
    earlier = {one.kind: Predecessor(one.sop_instance_uid, one.series_instance_uid) for one in first}
    amended = documents(review(SegmentReview(1, "5")), earlier=earlier)
    index.add(read_document(one.file) for one in amended)
    rows = find(index, Filters(reviewer=("jmueller",)), limit=100).rows
    assert [(row.segment_number, row.detail) for row in rows] == [(1, "Use as is")]
    rows = find(index, Filters(reviewer=("jmueller",), is_current_only=False), limit=100).rows
    assert {row.current for row in rows} == {True, False}


# --------------------------------------------------------------------------------------------------- other programs

CT = "1.2.840.10008.5.1.4.1.1.2"


def image(uid: str = "1.2.826.0.1.3680043.8.498.1.1.3") -> Dataset:
    head = Dataset()
    head.SOPClassUID, head.SOPInstanceUID, head.StudyInstanceUID, head.SeriesInstanceUID = CT, uid, "1.2.3", "1.2.3.4"
    head.PatientID = head.PatientName = head.PatientBirthDate = head.PatientSex = ""
    head.StudyDate = head.StudyTime = head.StudyID = head.AccessionNumber = head.ReferringPhysicianName = ""
    return head


def dcmjs_document(*groups: dict[str, Any], person: str = "unknown^unknown") -> bytes:
    """A measurement report in the form in which OHIF 3.12 stores one (dcmjs): the place under a NUM without meaning."""

    def arrow(one: dict[str, Any]) -> hd.sr.ContainerContentItem:
        contains = hd.sr.RelationshipTypeValues.CONTAINS
        context = hd.sr.RelationshipTypeValues.HAS_OBS_CONTEXT
        tracking = f"Cornerstone3DTools@^0.1.0:{one.get('tool', 'ArrowAnnotate')}"
        items = [
            hd.sr.TextContentItem(dicom.DCM.TrackingIdentifier, tracking, context),
            hd.sr.UIDRefContentItem(dicom.DCM.TrackingUniqueIdentifier, one.get("uid", hd.UID()), context),
        ]
        items += [
            hd.sr.CodeContentItem(name, hd.sr.CodedConcept(*code), contains) for name, code in one.get("codes", ())
        ]
        if "points" in one:
            number = hd.sr.NumContentItem(hd.sr.CodedConcept("1", "X", "label"), 0, dicom.UCUM.NoUnits, None, contains)
            place = hd.sr.ScoordContentItem(
                dicom.DCM.ImageRegion,
                one.get("type", "POLYLINE"),
                np.array(one["points"], float),
                relationship_type=hd.sr.RelationshipTypeValues.INFERRED_FROM,
            )
            drawn_on = one.get("image", image().SOPInstanceUID)
            place.ContentSequence = [
                hd.sr.ImageContentItem(
                    dicom.DCM.SourceOfMeasurement,
                    CT,
                    drawn_on,
                    relationship_type=hd.sr.RelationshipTypeValues.SELECTED_FROM,
                )
            ]
            number.ContentSequence = [place]
            items.append(number)
        if "comment" in one:
            items.append(hd.sr.TextContentItem(dicom.DCM.Comment, one["comment"], contains))
        group = hd.sr.ContainerContentItem(dicom.DCM.MeasurementGroup, False, "1501", relationship_type=contains)
        group.ContentSequence = items
        return group

    def change(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        for item in dataset.ContentSequence:
            if item.ConceptNameCodeSequence[0].CodeValue == "126010":
                item.ContentSequence = [Dataset(arrow(one)) for one in groups]
            if item.ValueType == "PNAME":
                item.PersonName = person

    return changed(ohif_document(image()), change)


def annotations(file: bytes, *own: bytes):
    markers = [marker for one in own for marker in own_markers(read_document(one))]
    return read_annotations(read_document(file), markers)


def test_an_arrow_of_ohif_is_read() -> None:
    free = (dicom.DCM.Finding, ("CS3DTEXT", "99dcmjs", "too much \u00e4"))
    liver = (dicom.SCT.FindingSite, ("10200004", "SCT", "Liver"))
    one, two, three = annotations(
        dcmjs_document(
            {"points": [[10.5, 20.5], [30, 40]], "comment": "island\r\nhere", "codes": [liver]},
            {"points": [[1, 2], [3, 4]], "codes": [free]},
            {"points": [[1, 2], [3, 4]], "tool": "Length"},
        )
    )
    assert (one.text, one.label, one.tool, one.program) == ("island\nhere", "Liver", "ArrowAnnotate", "OHIF")
    assert (one.points[0], one.graphic_type, one.image) == ((10.5, 20.5), "POLYLINE", image().SOPInstanceUID)
    assert (two.text, two.label) == ("too much \u00e4", "")
    assert (three.text, three.tool) == ("", "Length")
    assert {annotation.author for annotation in (one, two, three)} == {""}
    assert not one.is_in_space
    assert [annotation.group for annotation in (one, two, three)] == [1, 2, 3]


def test_authors_are_persons_and_programs_are_none() -> None:
    (one,) = annotations(dcmjs_document({"points": [[1, 2], [3, 4]], "comment": "x"}, person="Reader^Otto"))
    assert one.author == "Reader^Otto"
    (old,) = annotations(ohif_document(image()))
    assert (old.author, old.text) == ("Reader^Otto", "island of the liver, below the bladder")


def test_our_own_markers_stored_again_are_copies_whatever_their_uids_are() -> None:
    machine = [one.file for one in build_documents(rich_case(), rule_titles=TITLES) if one.kind is Kind.KEYIMG]
    files = [documents(rich_review())[1].file, *machine]
    own = [marker for file in files for marker in own_markers(read_document(file))]
    assert len(own) > 6
    again = [
        {"points": [marker.points[0], [50, 60]], "comment": marker.text, "image": marker.image, "tool": marker.tool}
        for marker in own
    ]
    assert all(one.is_copy for one in annotations(dcmjs_document(*again), *files))
    assert not any(one.is_copy for one in annotations(dcmjs_document(*again)))
    column, row = own[0].points[0]
    theirs = dcmjs_document(
        {**again[0], "comment": "I do not agree"},
        {**again[0], "points": [[column + 9, row], [50, 60]]},
        {**again[0], "image": "1.2.3.4"},
        {**again[0], "comment": "x", "uid": own[0].tracking_uid},
    )
    assert [one.is_copy for one in annotations(theirs, *files)] == [False, False, False, True]


def test_what_we_wrote_ourselves_is_no_annotation() -> None:
    for document in (*documents(rich_review()), *build_documents(rich_case(), rule_titles=TITLES)):
        assert read_annotations(read_document(document.file)) == []
    assert own_markers(read_document(documents(rich_review())[0].file)) == []
    assert own_markers(read_document(ohif_document(image()))) == []


def test_a_region_in_space_is_read() -> None:
    region = hd.sr.ImageRegion3D(
        graphic_type="POINT", graphic_data=np.array([[-10.5, 20.25, 300.0]]), frame_of_reference_uid="1.2.3.9"
    )
    group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), "F-1"),
        referenced_region=region,
        finding_type=dicom.SCT.Liver,
    )
    person = hd.sr.ObserverContext(dicom.DCM.Person, hd.sr.PersonObserverIdentifyingAttributes("Reader^Rita"))
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_person_context=person),
        procedure_reported=dicom.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[group],
    )
    document = hd.sr.Comprehensive3DSR(
        evidence=[image()],
        content=content[0],
        series_instance_uid=hd.UID(),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="Somebody",
        manufacturer_model_name="Slicer",
    )
    buffer = BytesIO()
    document.save_as(buffer, enforce_file_format=True)
    (one,) = annotations(buffer.getvalue())
    assert one.is_in_space
    assert (one.points, one.frame_of_reference_uid, one.image) == (((-10.5, 20.25, 300.0),), "1.2.3.9", "")
    assert (one.author, one.program, one.label) == ("Reader^Rita", "Slicer", "Liver")


def test_what_a_program_measured_is_no_finding_of_a_person(ct_and_seg: tuple[list[Dataset], Dataset]) -> None:
    images, seg = ct_and_seg
    assert annotations(highdicom_document(seg, images)) == []


@pytest.fixture
def ct_and_seg() -> tuple[list[Dataset], Dataset]:
    folder = shared("data", "case_B")
    images = [dcmread(path, stop_before_pixels=True) for path in sorted((folder / "ct").iterdir())]
    return images, dcmread(folder / "seg_ts2.1_full.dcm", stop_before_pixels=True)


@pytest.mark.shared
def test_a_report_of_dcmqi_names_the_segment_if_the_person_wrote_something(tmp_path: Path) -> None:
    folder = shared("data", "case_B")
    file = dcmqi_document(tmp_path, folder / "seg_ts2.1_full.dcm", folder / "ct")
    assert annotations(file) == []  # numbers and codes alone are no complaint

    def comment(dataset: Dataset) -> None:
        for container in dataset.ContentSequence:
            if container.ConceptNameCodeSequence[0].CodeValue == "126010":
                text = hd.sr.TextContentItem(dicom.DCM.Comment, "wrong level", hd.sr.RelationshipTypeValues.CONTAINS)
                container.ContentSequence[0].ContentSequence.append(Dataset(text))

    (one,) = annotations(changed(file, comment))
    assert (one.text, one.author, one.segment, one.points) == ("wrong level", "Reader^Rita", 2, ())
    assert one.segmentation == dcmread(folder / "seg_ts2.1_full.dcm", stop_before_pixels=True).SOPInstanceUID
