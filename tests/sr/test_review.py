"""`review` and the markers of a reader: what stands in them, and when they are the same documents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segqa_dicom.assessment.model import Location, Purpose, Reviewer, SegmentReview
from segqa_dicom.assessment.vocabulary import vocabulary_with
from segqa_dicom.errors import Inconsistent
from segqa_dicom.model import WHOLE, Geometry, SegFacts, Segmentation
from segqa_dicom.sr import Document, Kind, Predecessor, build_documents, codes, read_earlier
from segqa_dicom.sr.write.review import MOST_MARKERS

from .factories import TITLES, ct_record, geometry, rich_case, segment
from .readers import (
    BOX_ACROSS,
    BOX_ON_SLICE,
    HERE,
    MADE_AT,
    READER,
    REPORT,
    documents,
    found,
    model,
    review,
    rich_review,
)
from .reading import children, coded, evidence, groups, name, numbers, summary, texts, walk

EARLIER = Predecessor("1.2.826.0.1.98.1", "1.2.826.0.1.98")
EARLIER_MARKERS = Predecessor("1.2.826.0.1.97.1", "1.2.826.0.1.97")


def only(said, **values) -> Document:
    (document,) = [one for one in documents(said, **values) if one.kind is Kind.REVIEW]
    return document


def markers(said, **values) -> Document:
    (document,) = [one for one in documents(said, **values) if one.kind is Kind.REVIEW_KEYIMG]
    return document


def rated(*ratings: str) -> tuple[SegmentReview, ...]:
    return tuple(SegmentReview(number, rating) for number, rating in zip((1, 2, 3, 4, 5, 9), ratings, strict=False))


# ------------------------------------------------------------------------------------------------------------ content


def test_only_segments_that_were_reviewed_have_a_group_under_the_uids_of_the_machine() -> None:
    found_groups = groups(only(rich_review()).dataset)
    of_machine = {
        children(group, "121191.DCM")[0].ReferencedSOPSequence[0].ReferencedSegmentNumber: group
        for group in groups(build_documents(rich_case(), rule_titles=TITLES)[0].dataset)
    }
    assert len(found_groups) == 4
    for group in found_groups:
        number = children(group, "121191.DCM")[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
        for item in ("112039.DCM", "112040.DCM", "121071.DCM"):
            assert children(group, item) == children(of_machine[number], item)
        assert not [item for item in group.ContentSequence if item.ValueType == "NUM"]


def test_a_finding_carries_its_details_below_it_and_in_words_beside_it() -> None:
    group = groups(only(rich_review()).dataset)[0]
    names = [name(item) for item in group.ContentSequence][6:]
    assert names == [
        "RATING.99SEGQA",
        *("SEGFIND.99SEGQA", "FINDNOTE.99SEGQA") * 4,
        "ACTION.99SEGQA",
        "CONFIDENCE.99SEGQA",
        "121106.DCM",
    ]
    assert coded(group, "RATING.99SEGQA") == ["R2"]
    assert coded(group, "SEGFIND.99SEGQA") == ["QF-LEAK", "QF-HOLE", "QF-UNDER", "QF-LEAK"]
    first = children(group, "SEGFIND.99SEGQA")[0]
    assert [(name(item), item.RelationshipType) for item in first.ContentSequence] == [
        ("SEVERITY.99SEGQA", "HAS CONCEPT MOD"),
        *((f"LOC{axis}.99SEGQA", "HAS PROPERTIES") for axis in "XYZ"),
        ("121106.DCM", "HAS PROPERTIES"),
    ]
    assert list(numbers(first).values()) == ["-20", "-41", "7.4"]
    box = children(group, "SEGFIND.99SEGQA")[1]
    corners = numbers(box)
    assert [float(corners[f"HIGH{axis}.99SEGQA"]) - float(corners[f"LOW{axis}.99SEGQA"]) for axis in "XYZ"] == [
        21,
        18,
        0,
    ]
    words = texts(group, "FINDNOTE.99SEGQA")
    assert words[0].startswith("Over-segmentation (leak), major; at -20.0, -41.0, 7.4 mm: l\u00e4uft aus ")
    assert words[1] == "Hole, minor; box of 21.0 x 18.0 x 0.0 mm around -20.0, -41.0, 6.0 mm"
    assert words[3] == "Over-segmentation (leak)"
    assert texts(group, "121106.DCM") == ["Zeile 1\r\nZeile 2"]


def test_what_is_said_about_the_whole_stands_in_the_evaluations() -> None:
    dataset = only(rich_review()).dataset
    (container,) = children(dataset, "C0034375.UMLS")
    assert [name(item) for item in container.ContentSequence] == [
        *("SEGFIND.99SEGQA", "FINDNOTE.99SEGQA", "ACTION.99SEGQA", "CONFIDENCE.99SEGQA", "121106.DCM")
    ]
    alone = only(review(SegmentReview(WHOLE, "2", comment="noisy"))).dataset
    assert groups(alone) == []
    assert alone.SeriesDescription == "Review: whole needs edits TotalSegmentator 2.1"


def test_the_observer_is_the_reader() -> None:
    dataset = only(review()).dataset
    assert coded(dataset, "121005.DCM") == ["121006"]
    assert [str(item.PersonName) for item in children(dataset, "121008.DCM")] == [READER.name]
    assert texts(dataset, "128774.DCM") == ["jmueller"]
    assert texts(dataset, "121009.DCM") == ["Klinikum S\u00fcd"]
    assert coded(dataset, "121011.DCM") == ["121098"]
    anonymous = only(review(reviewer=Reviewer("a", ""))).dataset
    assert [str(item.PersonName) for item in children(anonymous, "121008.DCM")] == ["a"]
    assert children(anonymous, "121009.DCM") == []
    assert not [item for item in walk(dataset) if "ValueType" in item and name(item).startswith("11100")]


def test_the_summary_tells_the_outcome_and_the_worst_first() -> None:
    lines = summary(only(review(*rated("5", "2", "na", "1", "", "3")[:4], SegmentReview(9, "3"))).dataset)
    assert lines[0] == (
        "3 of 5 segments reviewed need edits"
        " (Unusable 1, Major edits needed 1, Minor edits needed 1, Use as is 1, Not assessable 1)."
    )
    assert [line.rpartition(": ")[2] for line in lines[1:]] == [
        *("Unusable", "Major edits needed", "Minor edits needed", "Use as is", "Not assessable")
    ]
    assert all("(segment " in line for line in lines[1:])


def test_the_summary_has_forty_lines_at_most() -> None:
    base = model()
    many = tuple(segment(number, f"s{number}").segment for number in range(1, 61))
    big = Segmentation(base.record, many, (np.zeros(geometry().shape, np.uint8),), SegFacts())
    said = review(*(SegmentReview(number, "5") for number in range(1, 61)))
    lines = summary(only(said, segmentation=big).dataset)
    assert len(lines) == 1 + 40 + 1
    assert lines[-1] == "and 20 more"


@pytest.mark.parametrize(
    ("said", "needs_edits"),
    [
        pytest.param(SegmentReview(1, "4", (found("leak"),)), 0, id="the rating decides"),
        pytest.param(SegmentReview(1, "na", action="edit"), 0, id="not assessable"),
        pytest.param(SegmentReview(1, action="rerun"), 1, id="else the action"),
        pytest.param(SegmentReview(1, "", (found("leak"),), "accept"), 0, id="accepted with a finding"),
        pytest.param(SegmentReview(1, "", (found("fov"),)), 0, id="no fault of the segmentation"),
        pytest.param(SegmentReview(1, "", (found("hole"),)), 1, id="else the findings"),
        pytest.param(SegmentReview(1, comment="hm"), 0, id="a comment alone"),
    ],
)
def test_who_needs_edits_is_said_by_rating_action_or_findings(said: SegmentReview, needs_edits: int) -> None:
    document = only(review(said))
    assert document.dataset.SeriesDescription.startswith(f"Review: {needs_edits} of 1 need edits ")


def test_words_that_were_added_or_switched_off_are_written() -> None:
    words = vocabulary_with(
        {
            "findings": {
                "contrast": {"code": "QF-CONTRAST", "name": "Gef\u00e4\u00df", "severity": "major"},
                "hole": {"enabled": False},
            }
        }
    )
    said = review(SegmentReview(1, "2", (found("contrast"), found("hole"), found("unheard of"))))
    group = groups(only(said, vocabulary=words).dataset)[0]
    codes_found = [item.ConceptCodeSequence[0] for item in children(group, "SEGFIND.99SEGQA")]
    assert [(one.CodeValue, one.CodeMeaning) for one in codes_found] == [
        ("QF-CONTRAST", "Gef\u00e4\u00df"),
        ("QF-HOLE", "Hole"),
        ("unheard of", "unheard of"),
    ]


def test_time_is_stated_in_all_and_by_segment() -> None:
    (spent,) = children(only(rich_review()).dataset, "TIMESPENT.99SEGQA", "NUM")
    assert spent.MeasuredValueSequence[0].NumericValue == 45.9
    parts = [
        (
            int(image.ReferencedSOPSequence[0].ReferencedSegmentNumber),
            float(one.MeasuredValueSequence[0].NumericValue),
        )
        for one in children(spent, "SEGTIME.99SEGQA", "NUM")
        for image in one.ContentSequence
    ]
    assert parts == [(1, 42.5), (2, 3.25), (9, 0.1)]
    assert children(only(review()).dataset, "TIMESPENT.99SEGQA") == []


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(Inconsistent, match="not about"):
        documents(review(segmentation="1.2.3"))
    with pytest.raises(Inconsistent, match="no segment 7"):
        documents(review(SegmentReview(7, "5")))
    with pytest.raises(Inconsistent, match="says nothing"):
        documents(review(SegmentReview(1, seconds=5.0)))
    with pytest.raises(ValueError, match="YYYYMMDDHHMMSS"):
        documents(review(made_at="yesterday"))


# ----------------------------------------------------------------------------------------------------------- headers


def test_a_signed_review_is_verified_and_final() -> None:
    for document in documents(rich_review()):
        dataset = document.dataset
        assert (dataset.CompletionFlag, dataset.VerificationFlag, dataset.PreliminaryFlag) == (
            *("COMPLETE", "VERIFIED", "FINAL"),
        )
        (observer,) = dataset.VerifyingObserverSequence
        assert str(observer.VerifyingObserverName) == READER.name
        assert observer.VerifyingOrganization == READER.organization
        assert str(observer.VerificationDateTime) == MADE_AT
        assert (dataset.ContentDate, dataset.ContentTime) == ("20261121", "203015")
        assert dataset.SeriesDate == dataset.InstanceCreationDate == "20261121"
        assert "TimezoneOffsetFromUTC" not in dataset


def test_a_review_that_is_not_signed_is_preliminary() -> None:
    for document in documents(rich_review(is_signed=False)):
        dataset = document.dataset
        assert (dataset.CompletionFlag, dataset.VerificationFlag, dataset.PreliminaryFlag) == (
            *("COMPLETE", "UNVERIFIED", "PRELIMINARY"),
        )
        assert "VerifyingObserverSequence" not in dataset
        assert any("Preliminary, not signed: " in line for line in summary(dataset))


def test_a_signature_without_an_organization_says_so() -> None:
    (document,) = documents(review(SegmentReview(1, "5"), reviewer=Reviewer("a", "A^B")))
    assert document.dataset.VerifyingObserverSequence[0].VerifyingOrganization == "Not stated"


def test_series_stand_beside_those_of_the_machine() -> None:
    written, marked = documents(rich_review())
    assert (written.dataset.SeriesNumber, marked.dataset.SeriesNumber) == (9014, 9015)
    assert written.dataset.SeriesDescription == "Review: 1 of 4 need edits TotalSegmentator 2.1"
    assert marked.dataset.SeriesDescription == "Review images: 1 of 4 need edits TotalSegmentator 2.1"
    long = replace(model(), record=replace(model().record, series_description="A" * 50 + " 2.1"))
    for document in documents(rich_review(), segmentation=long):
        assert len(document.dataset.SeriesDescription) == 64
        assert document.dataset.SeriesDescription.endswith(" 2.1")


def test_the_reviewed_report_is_cited_and_in_evidence() -> None:
    dataset = only(rich_review()).dataset
    (cited,) = children(dataset, "REVIEWED.99SEGQA", "COMPOSITE")
    assert cited.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == REPORT.sop_instance_uid
    assert evidence(dataset)[-2:] == [model().record.sop_instance_uid, REPORT.sop_instance_uid]
    assert children(only(rich_review(), report=None).dataset, "REVIEWED.99SEGQA") == []


def test_an_adjudication_cites_the_reviews_it_is_about() -> None:
    considered = (Predecessor("1.2.826.0.1.96.1", "1.2.826.0.1.96"), Predecessor("1.2.826.0.1.95.1", "1.2.826.0.1.95"))
    said = review(purpose=Purpose.ADJUDICATION, reading=1)
    dataset = only(said, considered=considered).dataset
    cited = [one.ReferencedSOPSequence[0] for one in children(dataset, "CONSIDERED.99SEGQA", "COMPOSITE")]
    assert [one.ReferencedSOPInstanceUID for one in cited] == [one.sop_instance_uid for one in considered]
    assert set(evidence(dataset)) >= {one.sop_instance_uid for one in considered}
    assert coded(dataset, "PURPOSE.99SEGQA") == ["ADJUDICATION"]
    assert summary(dataset)[0].startswith("Adjudication: ")


def replaced_by(document: Document) -> list[str]:
    return [
        str(instance.ReferencedSOPInstanceUID)
        for study in document.dataset.get("PredecessorDocumentsSequence", ())
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]


def test_an_amended_review_names_what_it_replaces() -> None:
    earlier = {Kind.REVIEW: EARLIER, Kind.REVIEW_KEYIMG: EARLIER_MARKERS}
    written, marked = documents(review(), earlier=earlier)
    assert replaced_by(written) == [EARLIER.sop_instance_uid]
    assert replaced_by(marked) == [EARLIER_MARKERS.sop_instance_uid]
    first, first_marked = documents(review())
    assert replaced_by(first) == replaced_by(first_marked) == []
    assert len({one.sop_instance_uid for one in (written, marked, first, first_marked)}) == 4


def test_markers_that_nothing_new_replaces_are_replaced_by_the_review() -> None:
    earlier = {Kind.REVIEW: EARLIER, Kind.REVIEW_KEYIMG: EARLIER_MARKERS}
    (written,) = documents(review(SegmentReview(1, "5")), earlier=earlier)
    assert replaced_by(written) == [EARLIER.sop_instance_uid, EARLIER_MARKERS.sop_instance_uid]


def test_the_same_review_is_the_same_documents() -> None:
    assert [one.file for one in documents(rich_review())] == [one.file for one in documents(rich_review())]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param((review(SegmentReview(1, "3")), {}), id="other rating"),
        pytest.param((review(made_at="20261121203016+0100"), {}), id="other time"),
        pytest.param((review(reviewer=replace(READER, login="other")), {}), id="other login"),
        pytest.param((review(reviewer=replace(READER, name="Other^Name")), {}), id="other name"),
        pytest.param((review(purpose=Purpose.REPEAT), {}), id="other purpose"),
        pytest.param((review(reading=2), {}), id="other reading"),
        pytest.param((review(is_signed=False), {}), id="not signed"),
        pytest.param((review(), {"earlier": {Kind.REVIEW: EARLIER}}), id="amended"),
        pytest.param((review(), {"report": None}), id="without a report"),
        pytest.param((review(), {"segmentation_rank": 2}), id="other series number"),
        pytest.param((review(), {"ct": ct_record(patient=(("PatientName", "X"),))}), id="other patient"),
    ],
)
def test_other_content_never_shares_a_uid(other) -> None:
    first, second = only(review()), only(other[0], **other[1])
    assert first.file != second.file
    assert first.sop_instance_uid != second.sop_instance_uid
    assert first.series_instance_uid != second.series_instance_uid


def test_documents_of_readers_are_no_revisions_of_the_machine() -> None:
    for document in documents(rich_review()):
        assert read_earlier(document.file) is None


# ----------------------------------------------------------------------------------------------------------- markers


def test_without_places_there_are_no_markers() -> None:
    assert [one.kind for one in documents(review(SegmentReview(1, "2", (found("hole"),))))] == [Kind.REVIEW]


def test_every_located_finding_has_a_marker_that_ohif_loads() -> None:
    written, marked = documents(rich_review())
    dataset = marked.dataset
    found_groups = groups(dataset)
    assert [texts(group, "112039.DCM")[0].removeprefix("Cornerstone3DTools@^0.1.0:") for group in found_groups] == [
        "ArrowAnnotate:QF-UNDER segment 1",
        "ArrowAnnotate:QF-LEAK segment 1",
        "RectangleROI:QF-HOLE segment 1",
        "ArrowAnnotate:QF-ARTEFACT whole",
    ]
    for group in found_groups:
        (num,) = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        (place,) = num.ContentSequence
        (image,) = place.ContentSequence
        assert (place.ValueType, image.ValueType) == ("SCOORD", "IMAGE")
    assert len({children(group, "112040.DCM")[0].UID for group in found_groups}) == len(found_groups)
    assert [numbers(group) for group in found_groups[:3]] == [{"NFIND.99SEGQA": "4"}] * 3
    assert coded(found_groups[-1], "121071.DCM") == ["QF-ARTEFACT"]
    (shown,) = children(dataset, "EXPLAINS.99SEGQA", "COMPOSITE")
    assert shown.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == written.sop_instance_uid
    assert written.sop_instance_uid in evidence(dataset)


def test_a_marker_says_everything_in_its_comment() -> None:
    lines = [texts(group, "121106.DCM")[0] for group in groups(markers(rich_review()).dataset)]
    assert lines == [
        "Liver: Under-segmentation, critical [0.0 x 18.0 x 6.2 mm] - \u4e0b\u6975 (Dr. J\u00fcrgen M\u00fcller)",
        (
            "Liver: Over-segmentation (leak), major - l\u00e4uft aus \u03ba\u03ac\u03c4\u03c9 \u03b1\u03c0\u03cc \\ 3 mm"
            " (Dr. J\u00fcrgen M\u00fcller)"
        ),
        "Liver: Hole, minor (Dr. J\u00fcrgen M\u00fcller)",
        "Whole segmentation: Image artefact, minor (Dr. J\u00fcrgen M\u00fcller)",
    ]


def graphic(document: Document, location: Location):
    (group,) = groups(document.dataset)
    (num,) = [item for item in group.ContentSequence if item.ValueType == "NUM"]
    (place,) = num.ContentSequence
    return place.GraphicType, list(place.GraphicData), place.ContentSequence[0].ReferencedSOPSequence[0]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        pytest.param(HERE, ("POINT", [20.5, 10.0], 2), id="point"),
        pytest.param(
            BOX_ON_SLICE, ("POLYLINE", [13.5, 5.5, 27.5, 5.5, 27.5, 14.5, 13.5, 14.5, 13.5, 5.5], 2), id="box"
        ),
        pytest.param(BOX_ACROSS, ("POINT", [20.5, 10.0], 2), id="box in another plane"),
        pytest.param(
            replace(BOX_ON_SLICE, box_mm=((-30.5, -50.0, 3.0), (-9.5, -32.0, 9.0))), ("POINT", [20.5, 10.0], 2), id="3D"
        ),
        pytest.param(replace(HERE, box_mm=(HERE.point_mm, HERE.point_mm)), ("POINT", [20.5, 10.0], 2), id="no extent"),
        pytest.param(Location((0.0, 0.0, 500.0)), ("POINT", [29.5, 19.5], 5), id="outside"),
    ],
)
def test_places_are_image_coordinates_on_the_nearest_slice(location: Location, expected) -> None:
    kind, data, reference = graphic(markers(review(SegmentReview(1, "2", (found(location=location),)))), location)
    assert (kind, data) == expected[:2]
    assert reference.ReferencedSOPInstanceUID == ct_record().slices[expected[2]].sop_instance_uid


def test_a_box_on_the_slices_of_a_sagittal_ct_is_a_rectangle_there() -> None:
    origins = np.array([[2.0 * k, 0.0, 60.0] for k in range(6)])
    sagittal = Geometry((6, 20, 30), origins, np.array([0.0, 0.0, -1.5]), np.array([0.0, 1.0, 0.0]), 2.0)
    box = Location((4.0, 10.0, 45.0), ((4.0, 5.0, 39.0), (4.0, 15.0, 51.0)))
    document = markers(review(SegmentReview(1, "2", (found(location=box),))), geometry=sagittal)
    kind, data, reference = graphic(document, box)
    assert kind == "POLYLINE"
    assert sorted(zip(data[::2], data[1::2], strict=True)) == sorted(
        [(5.5, 14.5), (15.5, 14.5), (15.5, 6.5), (5.5, 6.5), (5.5, 14.5)]
    )
    assert reference.ReferencedSOPInstanceUID == ct_record().slices[2].sop_instance_uid
    oblique = replace(sagittal, row_step_mm=np.array([0.0, 0.1, -1.5]), column_step_mm=np.array([0.0, 1.5, 0.1]) / 1.5)
    assert graphic(markers(review(SegmentReview(1, "2", (found(location=box),))), geometry=oblique), box)[0] == "POINT"


def test_places_that_are_none_are_left_out() -> None:
    nowhere = Location((float("nan"), 0.0, 0.0))
    (document,) = documents(review(SegmentReview(1, "2", (found(location=nowhere),), seconds=float("inf"))))
    assert children(groups(document.dataset)[0], "SEGFIND.99SEGQA")[0].get("ContentSequence")[0].ValueType == "CODE"
    assert texts(document.dataset, "TIMESPENT.99SEGQA") == []


def test_no_more_markers_than_a_viewer_can_show() -> None:
    many = tuple(found("leak", "minor", HERE) for _ in range(150))
    dataset = markers(review(SegmentReview(1, "2", (*many, found("hole", "critical", HERE))))).dataset
    assert len(groups(dataset)) == MOST_MARKERS
    assert "Hole, critical" in texts(groups(dataset)[0], "121106.DCM")[0]
    assert summary(dataset)[0] == "151 located findings; the worst 100 are shown."


def test_titles_are_those_that_viewers_need() -> None:
    written, marked = documents(rich_review())
    assert name(written.dataset) == codes.QA_REPORT.key
    assert name(marked.dataset) == codes.IMAGING_MEASUREMENT_REPORT.key
