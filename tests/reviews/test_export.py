"""What readers want changed: who decides, what is listed, and in which form."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest
from pydicom import dcmread

from segqa_dicom.assessment.model import Purpose, Review, Reviewer, ReviewFinding, SegmentReview
from segqa_dicom.assessment.vocabulary import default_vocabulary
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.exchange.export import (
    COLUMNS,
    Decision,
    MajorEdit,
    MajorOptions,
    as_csv,
    as_references,
    major_edits,
)
from segqa_dicom.reviews.workflow.model import SignedReview
from tests.reviews.office import ANNA, BEN, CARL, LIVER, Office, finish

WORDS = default_vocabulary()
HARMLESS = ReviewFinding("definition", "major")


@pytest.fixture
def places(office: Office) -> list[SegmentRef]:
    return office.places()


def signed(
    reader: Reviewer,
    place: SegmentRef,
    content: SegmentReview,
    *,
    purpose: Purpose = Purpose.READING,
    reading: int = 1,
    is_signed: bool = True,
) -> SignedReview:
    made_at = f"202611212030{15 + len(reader.login)}+0000"
    review = Review(place.segmentation, reader, (content,), made_at, purpose, reading, is_signed)
    document = f"1.2.{len(reader.login)}.{place.segment}.{reading}.{len(purpose)}"
    return SignedReview(document, f"{document}.0", "1.2.3", "1.2.3.1", review)


def rated(place: SegmentRef, rating: str = "", *findings: ReviewFinding, action: str = "") -> SegmentReview:
    return SegmentReview(place.segment, rating, findings, action)


Listing = Callable[..., list[MajorEdit]]


@pytest.fixture
def listing(office: Office) -> Listing:
    def make(*reviews: SignedReview, **options: object) -> list[MajorEdit]:
        return major_edits(reviews, office.index, WORDS, MajorOptions(**options))  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize(
    ("rating", "findings", "action", "is_listed"),
    [
        ("1", (), "", True),
        ("2", (), "accept", True),
        ("3", (), "", False),
        ("na", (), "", False),
        ("4", (LIVER,), "", True),
        ("5", (HARMLESS,), "", False),
        ("5", (ReviewFinding("own word", "critical"),), "", True),
        ("3", (ReviewFinding("leak", "minor"),), "", False),
        ("3", (), "edit", True),
        ("", (), "relabel", True),
        ("5", (), "accept", False),
    ],
)
def test_ratings_findings_and_actions_count(
    listing: Listing,
    places: list[SegmentRef],
    rating: str,
    findings: tuple[ReviewFinding, ...],
    action: str,
    is_listed: bool,
) -> None:
    found = listing(signed(ANNA, places[0], rated(places[0], rating, *findings, action=action)))
    assert [one.machine.place for one in found] == ([places[0]] if is_listed else [])
    assert all(one.decision is Decision.SINGLE for one in found)


def test_what_counts_can_be_chosen(listing: Listing, places: list[SegmentRef]) -> None:
    place = places[0]
    three = signed(ANNA, place, rated(place, "3", ReviewFinding("leak", "minor"), action="edit"))
    assert listing(three, actions=()) == []
    assert len(listing(three, actions=(), worst_rating=3)) == 1
    assert len(listing(three, actions=(), severities=("minor",))) == 1


def test_most_readers_decide(listing: Listing, places: list[SegmentRef]) -> None:
    place = places[0]
    bad, good = rated(place, "1"), rated(place, "5")

    def decided(*contents: SegmentReview, **options: object) -> list[tuple[Decision, int, int]]:
        readers = (ANNA, BEN, CARL)
        reviews = [signed(reader, place, content) for reader, content in zip(readers, contents, strict=False)]
        return [(one.decision, one.n_for, one.n_readers) for one in listing(*reviews, **options)]

    assert decided(bad, bad, good) == [(Decision.MAJORITY, 2, 3)]
    assert decided(bad, good) == [(Decision.SPLIT, 1, 2)]
    assert decided(bad, good, good) == []
    assert decided(bad, good, good, is_any_enough=True) == [(Decision.MINORITY, 1, 3)]
    assert decided(good, good) == []


def test_an_adjudication_decides_alone(listing: Listing, places: list[SegmentRef]) -> None:
    place = places[0]
    readings = [signed(one, place, rated(place, "1")) for one in (ANNA, BEN)]
    good = signed(CARL, place, rated(place, "4"), purpose=Purpose.ADJUDICATION)
    assert listing(*readings, good) == []
    assert listing(*readings, good, is_any_enough=True) == []
    bad = signed(CARL, place, rated(place, "2", LIVER), purpose=Purpose.ADJUDICATION)
    (one,) = listing(*readings, bad)
    assert (one.decision, one.ratings, one.documents) == (Decision.ADJUDICATION, ("2",), ((bad.series, bad.document),))


def test_repeats_and_preliminary_reviews_do_not_count(listing: Listing, places: list[SegmentRef]) -> None:
    place, bad = places[0], rated(places[0], "1")
    assert listing(signed(ANNA, place, bad, purpose=Purpose.REPEAT, reading=2)) == []
    assert listing(signed(ANNA, place, bad, is_signed=False)) == []
    assert listing(signed(ANNA, place, rated(place))) == []
    assert listing() == []


def test_the_worst_stand_first(listing: Listing, places: list[SegmentRef]) -> None:
    last, first = places[-1], places[0]
    reviews = [
        signed(ANNA, first, rated(first, "2")),
        signed(BEN, last, rated(last, "1")),
        signed(CARL, places[1], rated(places[1], "2")),
    ]
    assert [one.machine.place for one in listing(*reviews)] == [last, first, places[1]]


def test_csv_says_what_is_to_be_changed(listing: Listing, office: Office, places: list[SegmentRef]) -> None:
    place = places[0]
    said = SegmentReview(
        place.segment, "1", (LIVER, ReviewFinding("hole")), "edit", comment='=HYPERLINK("x"), see, "this"'
    )
    edits = listing(signed(ANNA, place, said), signed(BEN, place, rated(place, "2", action="rerun")))
    (row,) = csv.DictReader(io.StringIO(as_csv(edits)))
    assert tuple(row) == COLUMNS
    assert (row["segmentation"], row["segment"]) == (place.segmentation, str(place.segment))
    assert row["ratings"] == "2 | 1"
    assert (row["findings"], row["severities"], row["actions"]) == ("leak | hole", "major | -", "rerun | edit")
    assert row["locations_mm"] == "10.0 -20.0 30.5"
    assert row["comments"].startswith("'=HYPERLINK")
    assert row["model"]
    assert "comments" not in as_csv(edits, with_comments=False).splitlines()[0].split(",")
    assert "HYPERLINK" not in as_csv(edits, with_comments=False)
    assert as_csv([]).count("\r\n") == 1


def test_nothing_tells_who_the_patient_or_the_reader_is(
    listing: Listing, office: Office, places: list[SegmentRef]
) -> None:
    place = places[0]
    edits = listing(signed(ANNA, place, rated(place, "1", LIVER)))
    text = as_csv(edits) + json.dumps(as_references(edits, office.archive))
    (instance,) = office.archive.find_instances([place.segmentation])
    seg = dcmread(office.archive.fetch([instance], office.folder)[place.segmentation], stop_before_pixels=True)
    for secret in (str(seg.PatientName), str(seg.PatientID), ANNA.name, "Alpha"):
        assert secret
        assert secret not in text


def test_references_lead_to_the_objects(office: Office, places: list[SegmentRef], listing: Listing) -> None:
    workflow = office.workflow()
    worst = [one for one in places if one.segmentation == places[0].segmentation][:2]
    for place in worst:
        finish(workflow, ANNA, place, "1", LIVER)
    workflow.sign(ANNA, [places[0].segmentation])
    workflow.deliver()
    reviews = workflow.signed(places[0].segmentation)
    (one,) = as_references(listing(*reviews), office.archive)["segmentations"]
    (instance,) = office.archive.find_instances([places[0].segmentation])
    assert one["segmentation"]["path"] == (
        f"/studies/{instance.study_instance_uid}/series/{instance.series_instance_uid}"
        f"/instances/{instance.sop_instance_uid}"
    )
    assert [segment["number"] for segment in one["segments"]] == sorted(place.segment for place in worst)
    assert {tuple(point) for segment in one["segments"] for point in segment["points_mm"]} == {(10.0, -20.0, 30.5)}
    (ct,) = office.archive.list_series(modality="CT")
    assert one["ct"]["series_instance_uid"] == ct.series_instance_uid
    (review,) = one["reviews"]
    (stored,) = office.archive.find_instances([review["sop_instance_uid"]])
    assert review["series_instance_uid"] == stored.series_instance_uid


def test_a_segmentation_that_is_gone_has_no_path(listing: Listing, office: Office) -> None:
    place = SegmentRef("1.2.3.99", 4)
    (edit,) = listing(signed(ANNA, place, rated(place, "1")))
    assert (edit.machine.place, edit.machine.label) == (place, "")
    (one,) = as_references([edit], office.archive)["segmentations"]
    assert (one["segmentation"]["path"], one["segmentation"]["sop_instance_uid"]) == ("", "1.2.3.99")


def test_the_whole_can_be_listed_too(listing: Listing, places: list[SegmentRef]) -> None:
    whole = SegmentRef(places[0].segmentation, 0)
    (edit,) = listing(signed(ANNA, whole, rated(whole, "2")))
    assert edit.machine.place == whole
    assert edit.machine.model
